"""A ProxyCommand: a program whose standard input and output are the connection to a host."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from time import monotonic
from typing import TYPE_CHECKING

from deployer.background import begin
from deployer.remote.remote import telling_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

_SHOWN = 4096  # bytes of the end of its stderr
_STANDS_STILL = 60.0  # seconds in which it takes nothing, after which it is dead
_LAST_WORDS = 0.5  # seconds to wait for them, once the connection has ended


class Taking:
    """Whether what is sent is taken.

    Paramiko tries for ever to send what is only not taken in time.  For TCP the kernel has an end to that
    (TCP_USER_TIMEOUT); of the line behind a program or a jump host it knows nothing.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._stood_since: float | None = None

    def send(self, send: Callable[[], int]) -> int:
        """What `send` returns; raises ConnectionAbortedError if that is a TimeoutError for too long."""
        try:
            sent = send()
        except TimeoutError:
            now = monotonic()
            self._stood_since = self._stood_since or now
            if now - self._stood_since < _STANDS_STILL:
                raise
            raise ConnectionAbortedError(f"{self._who} took nothing for {_STANDS_STILL:.0f} s") from None
        self._stood_since = None
        return sent


class ProxyCommand(socket.socket):
    """One end of a pair of sockets, of which the program has the other: to be used as any connection is.

    What it says on stderr is read all the time, for a full pipe would make it wait.
    """

    def __init__(self, command: str) -> None:
        """Start it, without a shell.

        Raises:
            OSError: it cannot be started.
            ValueError: it is no command.

        """
        words = [os.path.expanduser(word) for word in shlex.split(command)]  # noqa: PTH111  not all are paths
        if not words:
            raise ValueError("it has no words")
        near, far = socket.socketpair()
        super().__init__(near.family, near.type, near.proto, fileno=near.detach())
        try:
            with far:
                self._program: subprocess.Popen[bytes] = subprocess.Popen(
                    words,
                    stdin=far.fileno(),
                    stdout=far.fileno(),
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # a Ctrl-C asks this run to end in good order
                )
        except BaseException:
            super().close()
            raise
        self._taking = Taking("its ProxyCommand")
        self._said = b""
        self._end = begin(self._listen)

    def close(self) -> None:
        """Close it, and end the program."""
        super().close()
        self._program.terminate()  # of one that has ended, nothing is heard

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """As any socket's; raises ConnectionAbortedError when the program takes nothing for too long."""
        return self._taking.send(lambda: super(ProxyCommand, self).send(data, flags))

    def failure(self) -> str:
        """With what the program ended by itself: its status and its last words; empty for no failure."""
        try:
            status = self._end.result(_LAST_WORDS)
        except TimeoutError:
            return ""
        said = telling_line(self._said.decode(errors="replace")) or "nothing"
        return f"its ProxyCommand ended with status {status} and said: {said}" if status else ""

    def _listen(self) -> int:
        assert self._program.stderr  # noqa: S101  it is a pipe
        with self._program.stderr as stderr:
            while piece := os.read(stderr.fileno(), _SHOWN):
                self._said = (self._said + piece)[-_SHOWN:]
        status: int = self._program.wait()
        return status
