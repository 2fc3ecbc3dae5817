"""ansible-core, as it is and with Mitogen."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contender import DEPLOYS, FILES, SSH_OPTIONS, Command, write_rival_files
from benchmarks.contenders.deployer import write_inventory
from benchmarks.environment import ensure, versions

if TYPE_CHECKING:
    from benchmarks.contender import Site
    from benchmarks.job import Job

# Masters of OpenSSH end with the run that started them: each run connects anew, as all contenders do.
CONFIG = """\
[defaults]
forks = {forks}
gathering = explicit
interpreter_python = /usr/bin/python3
retry_files_enabled = False
{strategy}
[ssh_connection]
pipelining = True
ssh_args = -F /dev/null -o ControlMaster=auto -o ControlPersist=60s {options}
control_path_dir = {folder}/cp
"""
MITOGEN = """\
strategy_plugins = {plugins}
strategy = mitogen_linear
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ansible:
    """Pipelining, as many forks as hosts, no facts, a known interpreter."""

    name: str = "ansible"
    words: str = "Ansible"
    mitogen: bool = False
    jobs: frozenset[Job] = DEPLOYS

    def prepare(self) -> str:
        names = ("ansible-core", "mitogen") if self.mitogen else ("ansible-core",)
        return versions(ensure(self.name), *names)

    def write(self, site: Site) -> None:
        write_rival_files(site)
        shutil.copy(FILES / "ansible.yml", site.folder / "site.yml")
        shutil.copy(FILES / "health.sh", site.folder / "health.sh")
        variables = {
            "service": site.service,
            "service_port": site.port,
            "mitogen_ssh_compression": False,  # nor does anybody else's ssh compress: the lines are fast
        }
        write_inventory(site.folder / "hosts.yml", site.fleet, variables=variables)
        (site.folder / "ansible.cfg").write_text(
            CONFIG.format(
                forks=len(site.fleet.endpoints),
                strategy=self._strategy(),
                options=" ".join(SSH_OPTIONS),
                folder=site.folder,
            )
        )
        shutil.rmtree(site.folder / "cp", ignore_errors=True)

    def _strategy(self) -> str:
        if not self.mitogen:
            return ""
        (plugins,) = ensure(self.name).glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy")
        return MITOGEN.format(plugins=plugins)

    def command(self, _site: Site, _job: Job) -> Command:
        return Command(argv=(str(ensure(self.name) / "bin/ansible-playbook"), "-i", "hosts.yml", "site.yml"))
