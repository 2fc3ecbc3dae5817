"""A run that a test watches while it goes on, types at, or disturbs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Self

from tests.e2e.site import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.e2e.site import Site


class LiveRun:
    """`deployer run site.yml --json ARGS`, under way.  With `terminal` somebody sits at its keyboard."""

    def __init__(
        self, site: Site, *args: str, env: Mapping[str, str] | None = None, terminal: bool = False
    ) -> None:
        words = [sys.executable, "-m", "deployer", "run", "site.yml", "--json", *args]
        if "-i" not in args:
            words += ["-i", str(site.lab.inventory)]
        self._said: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._news = threading.Condition()
        self._keyboard: int | None = None
        stdin: int = subprocess.DEVNULL
        stderr: int = subprocess.PIPE
        if terminal:
            self._keyboard, stdin = os.openpty()
            stderr = stdin
            words = ["setsid", "--ctty", *words]
        self._process = subprocess.Popen(
            words,
            cwd=site.folder,
            env={**os.environ, **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        if terminal:
            os.close(stdin)
        assert self._process.stdout is not None
        self._readers = [self._reader("stdout", _chunks(self._process.stdout))]
        if self._keyboard is not None:
            self._readers.append(self._reader("stderr", _screen(self._keyboard)))
        else:
            assert self._process.stderr is not None
            self._readers.append(self._reader("stderr", _chunks(self._process.stderr)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.kill()  # nothing happens to one that has ended
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=10)
        if self._keyboard is not None:
            os.close(self._keyboard)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def screen(self) -> str:
        """What it wrote to standard error, or to its terminal."""
        return self._said["stderr"].decode(errors="replace")

    def wait_for(self, event: str, *, within: float = 60, **fields: Any) -> dict[str, Any]:
        """The first event of that name with those fields, once it is there; `within` seconds at most."""

        def found() -> dict[str, Any] | None:
            whole = self._said["stdout"].rpartition(b"\n")[0]
            for line in whole.splitlines():
                record: dict[str, Any] = json.loads(line)
                if record["event"] == event and fields.items() <= record.items():
                    return record
            return None

        record: dict[str, Any] = self._wait(found, f"{event} {fields}", within)
        return record

    def answer(self, prompt: str, words: str, *, seconds: float = 60) -> None:
        """Type `words` and Enter when `prompt` stands on the screen."""
        assert self._keyboard is not None
        self._wait(lambda: prompt in self.screen or None, f"the prompt {prompt!r}", seconds)
        os.write(self._keyboard, f"{words}\n".encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self, *, seconds: float = 120) -> Run:
        """Wait for its end; a run that does not end in time fails the test."""
        code = self._process.wait(timeout=seconds)
        for reader in self._readers:
            reader.join(timeout=10)
        stdout = self._said["stdout"].decode()
        assert "Traceback" not in self.screen, self.screen
        return Run(code=code, stdout=stdout, stderr=self.screen)

    def _wait(self, found: Callable[[], Any], what: str, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        with self._news:
            while (result := found()) is None:
                left = deadline - time.monotonic()
                ended = self._process.poll() is not None and not any(r.is_alive() for r in self._readers)
                assert left > 0, f"no {what} within {seconds:g} s; on the screen: {self.screen}"
                assert not ended, f"it ended without {what}: {self._said}"
                self._news.wait(min(left, 0.2))
        return result

    def _reader(self, name: str, receive: Callable[[], bytes]) -> threading.Thread:
        def read() -> None:
            while piece := receive():
                with self._news:
                    self._said[name] += piece
                    self._news.notify_all()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread


def _chunks(stream: IO[bytes]) -> Callable[[], bytes]:
    return lambda: os.read(stream.fileno(), 65536)


def _screen(keyboard: int) -> Callable[[], bytes]:
    def receive() -> bytes:
        try:
            return os.read(keyboard, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return b""

    return receive
