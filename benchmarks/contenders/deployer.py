"""The deployer itself, from this checkout; fsync, verification and the way back are on, as always."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks.contender import DEPLOYS, Command
from benchmarks.job import Job
from deployer import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.contender import Site
    from benchmarks.fleet import Fleet

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployer:
    """`stay_up`: how long a new release must live before it is committed.

    `names`: so many names in the inventory, which are the hosts in turn; 0: one name each.
    """

    name: str = "deployer"
    words: str = "deployer"
    stay_up: str = "0s"
    names: int = 0
    jobs: frozenset[Job] = DEPLOYS

    def prepare(self) -> str:
        commit = _git("describe", "--always")
        changed = ", changed since" if _git("status", "--porcelain", "--", "deployer") else ""
        return f"deployer {__version__} {commit}{changed}"

    def write(self, site: Site) -> None:
        binary = site.folder / "gin-api"
        binary.unlink(missing_ok=True)
        binary.symlink_to(site.inputs.binary)
        (site.folder / ".env").write_text(site.env)
        write_inventory(site.folder / "hosts.yml", site.fleet, names=self.names)
        service = {
            "name": site.service,
            "binary": "gin-api",
            "env_file": ".env",
            "healthcheck": {"test": f"http://127.0.0.1:{site.port}/health", "stay_up": self.stay_up},
        }
        play = {"name": "bench", "hosts": "all", "become": True, "tasks": [{"service": service}]}
        (site.folder / "site.yml").write_text(yaml.safe_dump([play], sort_keys=False))

    def command(self, site: Site, job: Job) -> Command:
        cache = site.folder / "cache"
        if job is Job.FIRST:
            shutil.rmtree(cache, ignore_errors=True)  # nobody has compressed a new program before
        program = str(Path(sys.executable).with_name("deployer"))
        argv = ("env", f"XDG_CACHE_HOME={cache}", program, "run", "site.yml", "-i", "hosts.yml")
        return Command(argv=argv)


def _git(*words: str) -> str:
    """What it says, without the line's end; nothing where there is no repository."""
    done = subprocess.run(("git", *words), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def write_inventory(
    file: Path, fleet: Fleet, *, names: int = 0, variables: Mapping[str, object] | None = None
) -> None:
    """An inventory for the deployer and Ansible; `names` as Deployer has them."""
    shared = {
        "ansible_user": fleet.user,
        "ansible_ssh_private_key_file": str(fleet.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={fleet.known_hosts}",
    }
    endpoints = itertools.islice(itertools.cycle(fleet.endpoints), names or len(fleet.endpoints))
    hosts = {
        f"web{number:04}": {"ansible_host": endpoint.address, "ansible_port": endpoint.port}
        for number, endpoint in enumerate(endpoints, start=1)
    }
    file.write_text(
        yaml.safe_dump({"all": {"hosts": hosts, "vars": {**shared, **(variables or {})}}}, sort_keys=False)
    )
