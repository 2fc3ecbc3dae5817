"""One run of the real command line, that is stopped, continued, killed or left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Controller:
    """`deployer run PLAYBOOK --json ARGS`, under way; what it says goes to files."""

    def __init__(self, folder: Path, name: str, *args: str, env: Mapping[str, str]) -> None:
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        self.began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deployer", "run", "--json", *args],
                cwd=folder,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

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
    def has_begun(self) -> bool:
        """Whether it has said its first word."""
        return self._out.stat().st_size > 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after at most so many seconds."""
        try:
            self._process.wait(timeout=max(seconds, 0.01))
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_until(self, there: Callable[[], bool], *, seconds: float) -> bool:
        """Whether something came to be before the run ended, or so many seconds went by."""
        until = time.monotonic() + seconds
        while not there():
            if self.code is not None or time.monotonic() > until:
                return there()
            time.sleep(0.01)
        return True

    def _events(self) -> list[dict[str, Any]]:
        whole = self._out.read_text(errors="replace").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
