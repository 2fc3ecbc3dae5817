"""Which process is meant: a pid alone can be somebody else's by now."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process; `started` (clock ticks since the machine booted) tells it from later users of its pid."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The living process with this pid; None if there is none, or only its zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # proc_pid_stat(5): the name in brackets may hold anything, so count from the last bracket.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZXx" else cls(pid=pid, started=int(fields[19]))

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def wait(self, seconds: float) -> bool:
        """Return whether the process is gone, after at most so many seconds."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # Asked after the handle is held: from here on the handle cannot mean another process.
            return not self.alive or bool(select.select([handle], [], [], seconds)[0])
        finally:
            os.close(handle)

    def kill(self) -> None:
        """SIGKILL this very process, if it still lives."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def machine_boot() -> str:
    """An id of this boot of the machine: processes and networks of an earlier one are gone by themselves."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
