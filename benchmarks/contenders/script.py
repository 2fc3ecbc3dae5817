"""What people write themselves: a POSIX shell script around parallel OpenSSH."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contender import DEPLOYS, FILES, SSH_OPTIONS, Command, write_rival_files
from benchmarks.job import Job

if TYPE_CHECKING:
    from benchmarks.contender import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Deploys with deploy.sh, and finds nothing to do with check.sh, one connection a host each.

    `key_exchange`: KexAlgorithms of ssh_config(5); OpenSSH's own if empty.
    """

    name: str = "script"
    words: str = "OpenSSH script"
    key_exchange: str = ""
    jobs: frozenset[Job] = DEPLOYS

    def prepare(self) -> str:
        return _openssh()

    def write(self, site: Site) -> None:
        write_rival_files(site)
        _write_hosts(site)
        for name in ("deploy.sh", "check.sh", "install.sh", "verify.sh"):
            shutil.copy(FILES / name, site.folder / name)

    def command(self, site: Site, job: Job) -> Command:
        if job is Job.NOTHING:
            return _shell("check.sh", "hosts", site.service, str(site.port), *self._ssh(site))
        return _shell("deploy.sh", "hosts", site.service, *self._ssh(site))

    def _ssh(self, site: Site) -> tuple[str, ...]:
        chosen = ("-o", f"KexAlgorithms={self.key_exchange}") if self.key_exchange else ()
        return (*chosen, *_ssh(site))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginOnly:
    """`ssh host true`: what there is to reach for."""

    name: str = "true"
    words: str = "ssh host true"
    jobs: frozenset[Job] = frozenset({Job.NOTHING})

    def prepare(self) -> str:
        return _openssh()

    def write(self, site: Site) -> None:
        _write_hosts(site)
        shutil.copy(FILES / "true.sh", site.folder / "true.sh")

    def command(self, site: Site, _job: Job) -> Command:
        return _shell("true.sh", "hosts", *_ssh(site))


def _openssh() -> str:
    return subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()


def _write_hosts(site: Site) -> None:
    lines = (f"{endpoint.address} {endpoint.port}\n" for endpoint in site.fleet.endpoints)
    (site.folder / "hosts").write_text("".join(lines))


def _shell(*argv: str) -> Command:
    return Command(argv=("sh", *argv))


def _ssh(site: Site) -> tuple[str, ...]:
    fleet = site.fleet
    return (
        *("-F", "/dev/null", "-l", fleet.user, "-i", str(fleet.key)),
        *("-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", f"UserKnownHostsFile={fleet.known_hosts}"),
        *SSH_OPTIONS,
    )
