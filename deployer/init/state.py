"""The state of a service as its init system tells it, in words every stage understands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """One service; systemd's words (systemctl(1), `show`)."""

    known: bool  # the init system has a definition of it
    source: str  # the file that defines it, or ""
    active: str  # active, activating, deactivating, inactive, failed
    sub: str  # running, start-pre, auto-restart, dead, ...
    result: str  # success, exit-code, signal, timeout, ...
    main_pid: int  # 0: no main process
    restarts: int  # automatic ones since the last start by hand
    exit_code: int  # waitid(2) si_code of the last main process: 1 exited, 2 killed, 3 dumped
    exit_status: int  # its exit status, or the signal's number
    stale: bool  # the definition changed on disk since it was read
    drop_ins: tuple[str, ...] = ()  # files that somebody else put over the definition
    started: int = 0  # of the main process: microseconds since the host's boot
    stopped_by_operator: bool = False

    def __str__(self) -> str:
        text = f"{self.active}/{self.sub}"
        if self.restarts:
            text += f", restarted {self.restarts} time{'s' if self.restarts > 1 else ''}"
        if self.result not in {"success", ""}:
            text += f", result {self.result}"
        if self.exit_code:
            text += f", main process {self.end}"
        if self.drop_ins:
            text += f", changed by {' '.join(self.drop_ins)}"
        return text

    @property
    def end(self) -> str:
        """How the last main process ended."""
        if self.exit_code == 0:  # of the process that runs now, so nothing is known of the one before
            return "ended and was started again"
        how = "exited with status" if self.exit_code == 1 else "was killed by signal"
        return f"{how} {self.exit_status}"
