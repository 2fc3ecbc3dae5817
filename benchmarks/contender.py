"""What a contender is, and what it is given: the same hosts, files and account for all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.job import Job

if TYPE_CHECKING:
    from benchmarks.fleet import Fleet

FILES = Path(__file__).parent / "contenders/files"
DEPLOYS = frozenset(Job)

# Nothing of the user's own set-up has a say.
SSH_OPTIONS = (
    *("-o", "StrictHostKeyChecking=yes"),
    *("-o", "GlobalKnownHostsFile=/dev/null"),
    *("-o", "IdentitiesOnly=yes"),
    *("-o", "IdentityAgent=none"),
)


class BenchError(Exception):
    """What a person must know, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is to run: a build of the sample service, and a value that stands in its .env."""

    binary: Path
    version: str
    greeting: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A contender's own folder, and what it has to bring where.

    Each has a service of its own on the same hosts, so that none disturbs another's.
    """

    folder: Path
    fleet: Fleet
    service: str
    port: int
    inputs: Inputs

    @property
    def env(self) -> str:
        """The text of the .env file."""
        return f'PORT={self.port}\nGIN_MODE=release\nGREETING="{self.inputs.greeting}"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A process to time, run in the site's folder."""

    argv: tuple[str, ...]


class Contender(Protocol):
    """One way to do the jobs."""

    @property
    def name(self) -> str:
        """Short; part of the names of its service and folder."""

    @property
    def words(self) -> str:
        """For people."""

    @property
    def jobs(self) -> frozenset[Job]:
        """Those it can do."""

    def prepare(self) -> str:
        """Make its environment if need be; return the versions in it.  Raises HostsError."""

    def write(self, site: Site) -> None:
        """Write its files into the site's folder, as its user would have them; not timed."""

    def command(self, site: Site, job: Job) -> Command:
        """The process that does the job."""


def write_rival_files(site: Site) -> None:
    """Binary, .env and unit, as all but the deployer take them there: into /usr/local/bin and /etc."""
    binary = site.folder / "binary"
    binary.unlink(missing_ok=True)
    binary.symlink_to(site.inputs.binary)
    (site.folder / "env").write_text(site.env)
    unit = (FILES / "unit.service").read_text().replace("SERVICE", site.service)
    (site.folder / "unit").write_text(unit)
