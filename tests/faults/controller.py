"""One run of the real command line, that is stopped, continued, killed or left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any

from tests.faults.judge import Words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Controller:
    """`deployer run PLAYBOOK --json ARGS`, under way; what it says goes to files.

    `piped`: through pipes, of which `close` ends the reader.
    """

    def __init__(
        self, folder: Path, name: str, *args: str, env: Mapping[str, str], piped: bool = False
    ) -> None:
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        self._readers: list[subprocess.Popen[bytes]] = []
        self.began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err, ExitStack() as ends:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deployer", "run", "--json", *args],
                cwd=folder,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=ends.enter_context(self._pipe(out)) if piped else out,
                stderr=ends.enter_context(self._pipe(err)) if piped else err,
                start_new_session=True,
            )

    def _pipe(self, file: IO[bytes]) -> IO[bytes]:
        # A process of its own: when it is dead, nobody at all has the other end.
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        self._readers.append(reader)
        assert reader.stdin is not None
        return reader.stdin

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """Everything it wrote."""
        return f"{self._out.read_text(errors='replace')}{self._err.read_text(errors='replace')}"

    @property
    def outcome(self) -> str:
        """What it says of the host; empty if it has not said."""
        for event in self._events():
            if event["event"] == "host_finished":
                return str(event["outcome"])
        return ""

    @property
    def run_id(self) -> str:
        """As locks and journals name it."""
        return next((str(event["run"]) for event in self._events()), "")

    @property
    def locked_out(self) -> bool:
        """Whether it did nothing because another run holds the lock."""
        return any(event["event"] == "host_finished" and event.get("holder") for event in self._events())

    @property
    def message(self) -> str:
        """Why it failed, in its own words."""
        for event in self._events():
            if event["event"] == "host_finished":
                return str((event.get("failure") or {}).get("message") or event.get("reason") or "")
        return ""

    @property
    def cause(self) -> str:
        """The word for it, if the host has failed."""
        failures = [event.get("failure") for event in self._events() if event["event"] == "host_finished"]
        return str((failures[0] or {}).get("cause", "")) if failures else ""

    @property
    def words(self) -> Words:
        """What it said of the host; only when it has ended."""
        assert self.code is not None
        return Words(code=self.code, outcome=self.outcome, cause=self.cause, message=self.message)

    @property
    def met_a_bug(self) -> bool:
        """Whether it ended in a way that nobody had thought of."""
        return "Traceback" in self.said or "a bug in deployer" in self.said

    @property
    def has_begun(self) -> bool:
        """Whether it has said its first word."""
        return self._out.stat().st_size > 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._hear_the_rest()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def hang_up(self) -> None:
        """Send it what a terminal sends when it is closed."""
        self._process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        """From now on what it says is refused: both streams are pipes that nobody reads."""
        for reader in self._readers:
            reader.kill()
            reader.wait()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after at most so many seconds."""
        try:
            self._process.wait(timeout=max(seconds, 0.01))
        except subprocess.TimeoutExpired:
            return False
        self._hear_the_rest()
        return True

    def wait_until(self, there: Callable[[], bool], *, seconds: float) -> bool:
        """Whether something came to be before the run ended, or so many seconds went by."""
        until = time.monotonic() + seconds
        while not there():
            if self.code is not None or time.monotonic() > until:
                return there()
            time.sleep(0.01)
        return True

    def _hear_the_rest(self) -> None:
        for reader in self._readers:
            with suppress(subprocess.TimeoutExpired):
                reader.wait(5)

    def _events(self) -> list[dict[str, Any]]:
        whole = self._out.read_text(errors="replace").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
