"""pyinfra, with a deploy of its own operations."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contender import DEPLOYS, FILES, Command, write_rival_files
from benchmarks.environment import ensure, versions

if TYPE_CHECKING:
    from benchmarks.contender import Site
    from benchmarks.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyinfra:
    """All hosts in parallel, as it does by itself."""

    name: str = "pyinfra"
    words: str = "pyinfra"
    jobs: frozenset[Job] = DEPLOYS

    def prepare(self) -> str:
        return versions(ensure("pyinfra"), "pyinfra", "paramiko")

    def write(self, site: Site) -> None:
        write_rival_files(site)
        shutil.copy(FILES / "pyinfra_deploy.py", site.folder / "deploy.py")
        shared = {
            "ssh_user": site.fleet.user,
            "ssh_key": str(site.fleet.key),
            "ssh_known_hosts_file": str(site.fleet.known_hosts),
            "ssh_strict_host_key_checking": "yes",
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
            "_sudo": True,
            "service": site.service,
            "service_port": site.port,
            "health": (FILES / "health.sh").read_text(),
        }
        hosts = [
            (endpoint.host.name, {"ssh_hostname": endpoint.address, "ssh_port": endpoint.port})
            for endpoint in site.fleet.endpoints
        ]
        (site.folder / "inventory.py").write_text(f"hosts = ({hosts!r}, {shared!r})\n")

    def command(self, _site: Site, _job: Job) -> Command:
        return Command(argv=(str(ensure("pyinfra") / "bin/pyinfra"), "-y", "inventory.py", "deploy.py"))
