"""A host that lives in memory and says what a test wants it to, and a clock that does not wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer import init
from deployer.remote.remote import Reply
from deployer.remote.script import read_script
from deployer.verify.verify import Clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployer.remote.remote import TcpChannel

_ASKS = ("remote/prelude.sh", init.SCRIPT)
_FULL = (*_ASKS, init.ORDERS)
_STATE = "transaction/state.sh"
_NAMES = {
    read_script(*_ASKS, _STATE, init.STRANGERS, "observe/observe.sh"): "observe",
    read_script("remote/prelude.sh", _STATE, "stage/stage.sh"): "stage",
    read_script("remote/prelude.sh", _STATE, "transaction/lock.sh"): "lock",
    read_script("remote/prelude.sh", _STATE, "transaction/renew.sh"): "renew",
    read_script("remote/prelude.sh", _STATE, "transaction/free.sh"): "free",
    read_script(*_FULL, _STATE, "transaction/undo.sh", "transaction/resolve.sh"): "resolve",
    read_script(*_FULL, _STATE, "switch/switch.sh"): "switch",
    read_script(*_ASKS, init.STRANGERS, "verify/status.sh"): "status",
    read_script("remote/prelude.sh", "verify/probe.sh"): "probe",
    read_script(*_ASKS, _STATE, init.STRANGERS, "commit/commit.sh"): "commit",
    read_script(*_FULL, _STATE, "transaction/undo.sh", "commit/revert.sh"): "revert",
    read_script(*_FULL, _STATE, "commit/withdraw.sh"): "withdraw",
    read_script("command/command.sh"): "command",
}

EMPTY_HOST = """\
fact uid 0
fact machine x86_64
fact init systemd 252
tool flock
service app
at_boot no
= digests
= stat
= units
= disks
/opt 99999999 /
"""


def unit(**properties: object) -> str:
    """What `systemctl show` says of a unit that runs, or as `properties` say."""
    usual = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "MainPID": 42}
    return "".join(f"{key}={value}\n" for key, value in (usual | properties).items())


def switched(args: tuple[str, ...]) -> str:
    """The reply of switch.sh."""
    return f"start {'yes' if args[9] == 'anyway' else args[9]}\n{unit()}"


def state(**properties: object) -> str:
    """The reply of status.sh."""
    return f"= state\n{unit(**properties)}= journal\nit says something\n"


class Bytes:
    """A connection on which a whole answer waits."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def sendall(self, data: bytes, /) -> None:
        """Ask; nobody listens."""

    def recv(self, size: int, /) -> bytes:
        piece, self._answer = self._answer[:size], self._answer[size:]
        return piece

    def settimeout(self, seconds: float, /) -> None:
        """Nothing here waits."""

    def close(self) -> None:
        """Nothing is open."""


Said = str | Exception | Reply
Says = Said | Callable[[tuple[str, ...]], Said]
Answers = bytes | Exception | Callable[[], bytes | Exception]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SICK = b"HTTP/1.1 503 Service Unavailable\r\n\r\nsick"


@dataclass(slots=True, kw_only=True)
class MemoryHost:
    """A `Remote` without a machine: `says` by script, `answers` to health tests; `ran` is what was asked."""

    says: dict[str, Says] = field(default_factory=dict)
    answers: Answers = OK
    ran: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    closed: bool = False

    def run(
        self,
        script: str,
        args: tuple[str, ...] = (),
        *,
        stdin: Iterable[bytes | memoryview] | None = None,
        timeout: float,  # noqa: ARG002  part of the protocol
        longest: float = 0.0,  # noqa: ARG002  as above
        keep: int = 0,  # noqa: ARG002  as above
    ) -> Reply:
        name = _NAMES[script]
        self.ran.append((name, args))
        for _ in stdin or ():
            pass
        usual: dict[str, Says] = {
            "observe": EMPTY_HOST,
            "switch": switched,
            "status": state(),
            "revert": f"undone\n= state\n{unit()}= about\n",
            "stage": "staged r1\n",
            "lock": "locked\n",
            "commit": "committed\n",
            "withdraw": "withdrawn\n",
        }
        says = {**usual, **self.says}.get(name, "fine\n")
        said = says(args) if callable(says) else says
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Reply):
            return said
        return Reply(status=int(said.split(maxsplit=1)[:1] == ["failed"]), stdout=said, stderr="")

    def expect(self, runs: int) -> None:
        """Nothing takes time here."""

    def connect_tcp(self, host: str, port: int, *, timeout: float) -> TcpChannel:  # noqa: ARG002  as above
        self.ran.append(("connect", (host, str(port))))
        answer = self.answers() if callable(self.answers) else self.answers
        if isinstance(answer, Exception):
            raise answer
        return Bytes(answer)

    def close(self) -> None:
        self.closed = True

    def names(self) -> list[str]:
        """The scripts that ran, in order."""
        return [name for name, _ in self.ran]


@dataclass(slots=True)
class Time:
    """Time that passes only when somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds
