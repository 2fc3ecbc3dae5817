"""Listens to a run and keeps its record: from the start on, so that a killed run leaves one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from deployer.outcome import NAMES, ExitCode
from deployer.record.record import HostRecord
from deployer.report.events import HostFinished, PlayStarted, RunFinished, as_record, outcome_word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from deployer.record.record import RunRecord
    from deployer.record.store import Store
    from deployer.report.events import Event

_EVERY = 1.0  # seconds between two writes while hosts finish
_RANK = {outcome_word(kind): rank for rank, kind in enumerate(NAMES)}
"""Of several outcomes the one with the highest rank counts, as in the summary."""


class Recorder:
    """Writes the record at the start, as hosts finish, and at the end, whatever the end is.

    `plays` are the names of each play's hosts: a host that is fine is unfinished until its last play.
    Trouble with the file is told once, by `note`, and ends no run.
    """

    def __init__(
        self,
        store: Store,
        begun: RunRecord,
        *,
        plays: Sequence[Sequence[str]],
        now: Callable[[], datetime],
        note: Callable[[str], None],
    ) -> None:
        self._store = store
        self._begun = begun
        self._now = now
        self._note = note
        self._silent = False
        self._turns = {name: sum(name in hosts for hosts in plays) for name in begun.hosts}
        self._ended: dict[str, HostRecord] = {}
        self._earlier: dict[str, float] = {}  # seconds in the plays before
        self._written = begun.began
        self._behind = False
        self._exit_code: int | None = None

    def __enter__(self) -> Self:
        self._write(self._begun)
        if not self._silent:
            self._try(self._store.prune)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if self._exit_code is None and kind is not None:
            self._end(ExitCode.INTERRUPTED if issubclass(kind, KeyboardInterrupt) else ExitCode.MIXED)

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        if isinstance(event, PlayStarted):
            self._earlier = {name: host.seconds for name, host in self._ended.items()}
        if isinstance(event, HostFinished):
            self._finished(event)
        if isinstance(event, RunFinished):
            self._end(event.exit_code)
        elif self._behind and abs((self._now() - self._written).total_seconds()) >= _EVERY:
            self._write(replace(self._begun, hosts=self._hosts()))

    def _finished(self, event: HostFinished) -> None:
        plain = as_record(event)
        failure = plain.get("failure") or {}
        before = self._ended.get(event.host)
        took = before.seconds if before else 0.0
        seconds = self._earlier.get(event.host, 0.0) + event.seconds
        ended = HostRecord(
            outcome=plain["outcome"],
            cause=failure.get("cause", ""),
            message=failure.get("message", "") or plain.get("reason", ""),
        )
        if before and _RANK[before.outcome] > _RANK[ended.outcome]:
            ended = before
        self._ended[event.host] = replace(ended, seconds=max(round(seconds, 3), took))
        self._turns[event.host] = self._turns.get(event.host, 1) - 1
        self._behind = True

    def _hosts(self) -> dict[str, HostRecord]:
        unfinished = HostRecord()
        return {
            name: ended
            if (ended := self._ended.get(name, unfinished)).needs_another_try or self._turns[name] <= 0
            else unfinished
            for name in self._begun.hosts
        }

    def _end(self, exit_code: int) -> None:
        self._exit_code = exit_code
        # All is said now: a host whose later plays did not come keeps what it has.
        hosts = {name: self._ended.get(name, HostRecord()) for name in self._begun.hosts}
        self._write(replace(self._begun, hosts=hosts, ended=self._now(), exit_code=int(exit_code)))

    def _write(self, record: RunRecord) -> None:
        self._behind = False
        self._written = self._now()
        self._try(lambda: self._store.write(record))

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  no host may be left half done for a record's sake
            if not self._silent:
                reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                self._note(f"no record of this run is kept ({reason}); --retry will not know it")
            self._silent = True
