"""What the user asked for, resolved for one host: plays, tasks, services.  Plain, picklable data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.secret import Secret
    from deployer.target import Target


_IPV4 = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})")
_LOOPBACK = {"localhost": "localhost", "::1": "00000000000000000000000001000000"}
"""As proc_net_tcp(5) has addresses: words of four bytes, the last byte first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A native executable, or a script with `#!`, on the controller."""

    path: Path
    name: str  # its file name in the release
    sha256: str  # 64 hex digits
    blake2b: str  # 128 hex digits
    size: int  # bytes
    machine: str | None  # what `uname -m` says where it runs; None for a script


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """Compose's `restart:`; `max_retries` belongs to on-failure, None is no limit."""

    name: Literal["no", "on-failure", "always", "unless-stopped"]
    max_retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTest:
    """Healthy when a GET answers with a status of 200 to 399 (Kubernetes' httpGet)."""

    url: str
    tls: bool
    host: str
    port: int
    path: str  # with query, as sent


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpTest:
    """Healthy when a connection is accepted."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecTest:
    """Healthy when the command, run on the host as the service's user, exits 0."""

    argv: tuple[str, ...]


HealthTest = HttpTest | TcpTest | ExecTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """Compose's healthcheck, in seconds, plus the stay-up window.  `test` None checks only staying up."""

    test: HealthTest | None
    interval: float
    timeout: float
    retries: int
    start_period: float
    start_interval: float
    stay_up: float

    def listens(self, address: str) -> str:
        """Where the service must listen for a good answer to be its own, as strangers.sh takes it.

        `address` is the one that the host is connected to; a test of another machine tells nothing of it.
        """
        if not isinstance(self.test, HttpTest | TcpTest):
            return "-"
        host = self.test.host
        where = "any" if host == address else ""
        ip = _IPV4.fullmatch(host)
        if host in _LOOPBACK:
            where = _LOOPBACK[host]
        elif ip and (where or ip[1] == "127"):
            where = "".join(f"{int(octet):02X}" for octet in reversed(ip.groups()))
        return f"{where}:{self.test.port}" if where else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The desired state of one service on one host."""

    name: str
    binary: Binary
    command: tuple[str, ...]  # arguments of the binary
    environment: tuple[tuple[str, Secret], ...]  # what the process must see, in order
    user: str
    restart: RestartPolicy
    ports: tuple[int, ...]  # what it listens on, as far as the playbook says
    healthcheck: Healthcheck
    stop_grace_period: float  # seconds
    keep_releases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTask:
    """Bring one service to its desired state."""

    name: str
    service: Service


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTask:
    """Run a command on hosts where this play changes a service (on all, if it has none)."""

    name: str
    argv: tuple[str, ...]
    run_once: bool = False


Task = ServiceTask | CommandTask


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredHost:
    """Everything one host needs to be worked on."""

    name: str
    target: Target
    tasks: tuple[Task, ...]

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of the host's tasks, in order."""
        return tuple(task.service for task in self.tasks if isinstance(task, ServiceTask))


@dataclass(frozen=True, slots=True, kw_only=True)
class Percent:
    """A share of a play's hosts."""

    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How a play goes over its hosts, and when it goes no further; the words are Ansible's."""

    serial: tuple[
        int | Percent, ...
    ] = ()  # sizes of the batches, the last repeats; 0 or none: all that are left
    max_fail_percentage: float = 0.0  # of all hosts of the play; must be exceeded
    max_unreachable_percentage: float | None = None  # the same; None: none of the first of several batches
    on_failure: Literal["stop", "rollback", "continue"] = "stop"
    pause: float = 0.0  # seconds between two batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One play, its hosts in inventory order."""

    name: str
    hosts: tuple[DesiredHost, ...]
    strategy: Strategy = field(default_factory=Strategy)
