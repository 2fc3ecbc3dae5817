"""The hosts of one setting: how contenders reach them, and how the benchmark itself does, past their sshd."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contender import BenchError
from tests.hosts.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.job import Setting
    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab
    from tests.hosts.relay import Counts

USER = "deploy"
SSH_PORT = 22
RESET = Path(__file__).with_name("reset.sh")
WORKERS = 8
PATIENCE = 15.0  # seconds until a service that was only restarted must answer
TIMEOUT = 2.0
OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a host's sshd is reached; `relay` stands before it if there is a round trip to add."""

    host: TestHost
    address: str
    port: int
    relay: Relay | None

    @property
    def known_as(self) -> str:
        """Its name in known_hosts."""
        return self.address if self.relay is None else f"[{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service says of itself."""

    version: str
    greeting: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Hosts, and what is needed to log in on them."""

    endpoints: tuple[Endpoint, ...]
    key: Path
    known_hosts: Path
    user: str = USER

    @property
    def hosts(self) -> tuple[TestHost, ...]:
        return tuple(endpoint.host for endpoint in self.endpoints)

    @property
    def counts(self) -> tuple[Counts, ...]:
        """What the relay before each host has carried until now; nothing without relays."""
        return tuple(each.relay.counts for each in self.endpoints if each.relay is not None)


@contextmanager
def open_fleet(lab: Lab, setting: Setting, folder: Path) -> Iterator[Fleet]:
    """The first hosts of `lab`, behind lines of the setting's round trip."""
    hosts = lab.hosts[: setting.hosts]
    known_hosts = folder / "known_hosts"
    with ExitStack() as relays:
        endpoints = []
        for host in hosts:
            if setting.rtt:
                relay = Relay((host.address, SSH_PORT), delay=setting.rtt / 2000)
                relays.callback(relay.close)
                endpoints.append(Endpoint(host=host, address="127.0.0.1", port=relay.port, relay=relay))
            else:
                endpoints.append(Endpoint(host=host, address=host.address, port=SSH_PORT, relay=None))
        known_hosts.write_text("".join(lab.known_at(each.host, each.known_as) for each in endpoints))
        yield Fleet(endpoints=tuple(endpoints), key=lab.key, known_hosts=known_hosts)


# -- past sshd, untimed --


def on_all(hosts: Sequence[TestHost], *argv: str) -> None:
    """Run reset.sh on every host.  Raises CommandFailedError."""

    def run(host: TestHost) -> None:
        host.nsenter(["sh", "-s", *argv], input=RESET.read_bytes(), timeout=120)

    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        list(workers.map(run, hosts))


def answers(hosts: Sequence[TestHost], port: int) -> tuple[Answer | None, ...]:
    """What the service says on every host; None where it does not answer within PATIENCE."""
    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        return tuple(workers.map(lambda host: _answer(host.address, port), hosts))


def _answer(address: str, port: int) -> Answer | None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            health = json.loads(_get(address, port, "/health"))
            return Answer(
                version=str(health["version"]),
                greeting=_get(address, port, "/").decode(),
                pid=int(health["pid"]),
            )
        except (OSError, HTTPException, BenchError, ValueError, KeyError):
            time.sleep(0.05)
    return None


def _get(address: str, port: int, path: str) -> bytes:
    connection = HTTPConnection(address, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != OK:
        raise BenchError(f"http://{address}:{port}{path} answered {response.status}")
    return body
