"""A test stand: one host, one service on it, the versions it can have, and the line its controller uses."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from deployer.load import LoadOptions
from deployer.load.load import load
from deployer.plan.release import release_files
from tests.faults.controller import Controller
from tests.faults.judge import Version
from tests.faults.state import State, look
from tests.faults.traffic import ask
from tests.hosts.relay import Relay
from tests.sample import BINARY, build_sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

SERVICE = "faulty"
PORT = 20400
GOOD = ("1.0.0", "2.0.0", "3.0.0", "4.0.0")
BAD = "9.9.9"  # listens, and never gets healthy
FLAPPING = "8.8.8"  # says in turn that it is well and that it is not
KEEP = 2  # releases: a version's turn comes again when its binary is gone, so that it is sent again
POINT = Path("/run/deployer-fault")
TRANSACTION = Path(f"/var/lib/deployer/{SERVICE}/transaction")

RESET = Path(__file__).with_name("reset.sh")
FILL = Path(__file__).with_name("fill.sh")
BY_HAND_SCRIPT = Path(__file__).with_name("by_hand.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is the same for all stands of a campaign."""

    folder: Path
    deadline: float  # seconds
    options: tuple[str, ...]  # of `deployer run`, for that deadline

    @property
    def binaries(self) -> Path:
        return self.folder / "bin"


def build_versions(settings: Settings) -> None:
    """Build every version's binary, once for all stands."""
    for version in GOOD:
        build_sample(settings.binaries / version, version=version)
    build_sample(settings.binaries / BAD, version=BAD, fault="never-healthy")
    build_sample(settings.binaries / FLAPPING, version=FLAPPING, fault="flapping")


class Stand:
    """One host to break things on, one after the other."""

    def __init__(self, lab: Lab, host: TestHost, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.folder = settings.folder / host.name
        self.folder.mkdir(parents=True)
        self.relay = Relay((host.address, 22))
        self.point = self.folder / "point"
        self.version = ""  # what the host has, whole and at rest; empty if it has nothing
        self._own_point = ""
        self._numbers = itertools.count(1)
        self._turn = itertools.cycle(GOOD)
        self._write_inventory(lab)
        self._versions = {name: self._write_playbook(name) for name in (*GOOD, BAD, FLAPPING)}

    def _write_inventory(self, lab: Lab) -> None:
        known_hosts = self.folder / "known_hosts"
        known_hosts.write_text(lab.known_at(self.host, f"[127.0.0.1]:{self.relay.port}"))
        variables = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.relay.port,
            "ansible_user": "deploy",
            "ansible_become": True,
            "ansible_ssh_private_key_file": str(lab.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts}",
        }
        content = {"all": {"hosts": {self.host.name: variables}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(content))

    def _write_playbook(self, version: str) -> Version:
        """Every version differs from all others in its binary, its .env and its unit."""
        binary = self.settings.binaries / version / BINARY
        # Without a state directory it needs no disk: what then keeps it from starting is not itself.
        environment = {
            "PORT": str(PORT),
            "GIN_MODE": "release",
            "RELEASE_VERSION": version,
            "STATE_DIRECTORY": "",
        }
        service = {
            "name": SERVICE,
            "binary": str(binary),
            "environment": environment,
            "healthcheck": {
                "test": f"http://127.0.0.1:{PORT}/health",
                "interval": "250ms",
                "timeout": "1s",
                "retries": 6,
                "start_period": "1s",
                "stay_up": "1s",
            },
            "stop_grace_period": f"{10 + int(version[0])}s",
            "keep_releases": KEEP,
        }
        play = {"name": "fault", "hosts": "all", "become": True, "tasks": [{"service": service}]}
        playbook = self.folder / f"{version}.yml"
        playbook.write_text(yaml.safe_dump([play], sort_keys=False))
        options = LoadOptions(playbook=str(playbook), inventory=(str(self.folder / "hosts.yml"),))
        loaded = load(options, environ={})
        files = release_files(loaded.plays[0].hosts[0].services[0])
        lines = sorted(f"{name}={value}\n" for name, value in environment.items())
        contents = (files.env.reveal(), files.unit, "".join(lines))
        env, unit, variables = (hashlib.sha256(content.encode()).hexdigest() for content in contents)
        digest = hashlib.sha256(binary.read_bytes()).hexdigest()
        return Version(version=version, binary=digest, env=env, unit=unit, variables=variables)

    def versions(self, *names: str) -> tuple[Version, ...]:
        return tuple(self._versions[name] for name in names)

    def next_version(self, *other_than: str) -> str:
        """The good version whose turn it is."""
        taken = {self.version, *other_than}
        return next(version for version in self._turn if version not in taken)

    # -- runs --

    def start(
        self, version: str, *options: str, env: Mapping[str, str] | None = None, piped: bool = False
    ) -> Controller:
        """Start a run that is to bring `version`; `piped`: somebody could stop reading what it says."""
        words = (f"{version}.yml", "-i", "hosts.yml", "-T", "5", *self.settings.options, *options)
        name = f"run{next(self._numbers)}-{version}"
        own = {"XDG_STATE_HOME": str(self.folder / "state"), "XDG_CACHE_HOME": str(self.folder / "cache")}
        return Controller(self.folder, name, *words, env={**own, **(env or {})}, piped=piped)

    def deploy(self, version: str) -> Controller:
        """Bring `version`, undisturbed.  Raises RuntimeError if that fails."""
        run = self.start(version)
        if not run.wait(120) or run.code != 0:
            code = run.code
            run.kill()
            raise RuntimeError(f"an undisturbed run to {version} ended with {code}:\n{run.said}")
        self.version = version
        return run

    # -- what the host shows --

    def look(self) -> State:
        return look(self.host, SERVICE, BINARY)

    def answer(self) -> str:
        return ask(self.host.address, PORT)

    @property
    def host_point(self) -> Path | None:
        """The file by which a script on the host says that it waits at a point, as seen from here."""
        return self._seen_from_here(POINT)

    @property
    def in_flight(self) -> bool:
        """Whether a transaction is open there; cheaper to ask than all of its state."""
        journal = self._seen_from_here(TRANSACTION)
        return journal is not None and journal.exists()

    def _seen_from_here(self, path: Path) -> Path | None:
        """A file of the running host, with all that it has mounted; None while it is off."""
        init = self.host.init
        return None if init is None else Path(f"/proc/{init.pid}/root{path}")

    # -- by hand, behind the deployer's back --

    def on_host(self, script: Path, *args: str) -> str:
        """Run a script of this folder as root on the host, past its sshd."""
        done = self.host.nsenter(["sh", "-s", *args], input=script.read_bytes(), timeout=120)
        return done.stdout.decode(errors="replace")

    def own_point(self, point: str) -> None:
        """Have the revert that the host does by itself stop at `point`; or nowhere, if that is empty."""
        if point != self._own_point and self.host.alive:
            self.on_host(RESET, "own_point", SERVICE, point)
        self._own_point = point

    def reset(self) -> None:
        """Remove every trace of the service; after it the host has no version."""
        self.version = ""
        self.on_host(RESET, "clear", SERVICE)

    def evidence(self) -> str:
        """Everything on the host that may say what went wrong."""
        return self.on_host(RESET, "evidence", SERVICE) if self.host.alive else "the host is off"
