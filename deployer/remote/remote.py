"""What the stages may ask of a host; `ssh.connect` answers with the real thing."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from deployer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_SHOWN = 200  # characters of what cannot be read
_LINES = 100_000  # of a reply; each is an object of its own here
_CAUSE = re.compile("[a-z][a-z_]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a script said: exit status, and its output as text (undecodable bytes replaced)."""

    status: int
    stdout: str
    stderr: str


class ForwardingRefusedError(Exception):
    """The server does not allow TCP forwarding (sshd_config(5), AllowTcpForwarding, DisableForwarding)."""


class TcpChannel(Protocol):
    """A byte stream to a port as seen from the host; the part of a socket that http.client and ssl need."""

    def sendall(self, data: bytes, /) -> None: ...  # noqa: D102
    def recv(self, size: int, /) -> bytes: ...  # noqa: D102
    def settimeout(self, seconds: float, /) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Remote(Protocol):
    """One host, connected and trusted."""

    def run(
        self,
        script: str,
        args: tuple[str, ...] = (),
        *,
        stdin: Iterable[bytes | memoryview] | None = None,
        timeout: float,
        longest: float = 0.0,
        keep: int = 0,
    ) -> Reply:
        """Run `script` as root; `timeout` is seconds without any sign of life.

        `longest` is seconds for all of it, 0 for twice `timeout`: who says a byte now and then is no more
        alive than who says nothing.  They begin anew when `stdin` was sent, which may take as long as it
        takes at 1 KiB a second.
        A reply that is longer than any answer of a script of ours is an error; of what other programs say
        only the last `keep` bytes (up to twice as many) are wanted, 0 for all.

        It takes an exec of its own only where there is none that waits, since a script before it.
        Each part of `stdin` is asked for when the one before was sent; whoever makes it may take its time.

        Raises HostError: sudo refused, connection lost, timed out, said too much.
        """
        ...

    def expect(self, runs: int) -> None:
        """About so many runs will follow: a shell that is started ahead saves round trips."""
        ...

    def connect_tcp(self, host: str, port: int, *, timeout: float) -> TcpChannel:
        """Open a connection from the host.

        Raises:
            ForwardingRefusedError: the server forbids it.
            OSError: the connection was refused or not answered.

        """
        ...

    def close(self) -> None:
        """Let go of the connection; never raises."""
        ...


@contextmanager
def reading(what: str) -> Iterator[None]:
    """For code that reads what a host said: what cannot be read is that host's trouble, and no bug.

    Raises:
        HostError: `bad_answer`.

    """
    try:
        yield
    # RecursionError: JSON that is nested a thousand times.
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
        detail = f"{type(error).__name__}: {error}"[:_SHOWN]
        message = f"{what}: what the host said cannot be understood ({detail})"
        hint = "see what its login files and its sh, stat, ls and systemctl print"
        raise HostError("bad_answer", message, hint=hint) from None


def fields(reply: Reply, *, what: str, done: Collection[str] = ()) -> list[list[str]]:
    """The reply's lines, split into words.

    A script that fails ends with a line `failed CAUSE MESSAGE` and an exit status; that is raised.  Only the
    last line counts, for others may be what a file says.  `done`: words of which a script says one, at the
    beginning of a line, when it has done its work; silence is no success.

    Raises:
        HostError: with the script's own cause and message, and the last line of stderr as detail;
            `bad_answer` if none of `done` was said.

    """
    lines = _lines(reply.stdout)
    if reply.status != 0:
        detail = telling_line(reply.stderr)
        word, _, rest = (lines or [""])[-1].partition(" ")
        if word != "failed":
            raise HostError("script_failed", f"{what} failed: {detail or f'exit status {reply.status}'}")
        cause, _, message = rest.partition(" ")
        if not _CAUSE.fullmatch(cause):
            cause, message = "bad_answer", f"{what} failed, and the host gave no cause"
        raise HostError(cause, message + (f": {detail}" if detail else ""))
    words = [line.split(" ") for line in lines]
    if done and not any(line[0] in done for line in words):
        raise HostError("bad_answer", f"{what}: the host did not say that it was done")
    return words


def sections(stdout: str) -> dict[str, list[str]]:
    """The lines of a reply by the `= NAME` above them; "" are those before the first."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in _lines(stdout):
        if line.startswith("= "):
            name = line[2:]
            found[name] = []
        else:
            found[name].append(line)
    return found


def _lines(text: str) -> list[str]:
    """As a script ended them; str.splitlines ends one at U+2028 and others too, in the middle of a log."""
    if text.count("\n") > _LINES:
        raise HostError("bad_answer", f"the host said more than {_LINES} lines")
    return text.removesuffix("\n").split("\n") if text else []


def telling_line(text: str) -> str:
    """The line of a stderr that says why: the last one, but of systemctl the one before where to look."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("See ", "Hint: ", 'See "systemctl'))]
    return (told or lines or [""])[-1]


def last_line(text: str) -> str:
    """The last line of `text` that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
