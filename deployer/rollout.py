"""Which hosts, in which order: all are prepared before any is switched, and every outcome is collected."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from deployer.desired import CommandTask
from deployer.outcome import Failed, NotAttempted, Outcome, Reverted, Unreachable
from deployer.pipeline import Context, Goal, Ready, apply, prepare
from deployer.report.events import HostFinished, PlayStarted, RunInterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.desired import DesiredHost, Play

_T = TypeVar("_T")
_LOST = (Failed, Reverted, Unreachable, NotAttempted)


@dataclass(slots=True)
class Interrupt:
    """Set once somebody asks the run to end: hosts in flight finish, no new one starts."""

    event: threading.Event = field(default_factory=threading.Event)

    def __bool__(self) -> bool:
        return self.event.is_set()


def roll_out(
    plays: Sequence[Play], context: Context, *, forks: int, interrupt: Interrupt
) -> list[tuple[str, Outcome]]:
    """Run the plays one after the other; a host that was lost in one is left out of those that follow."""
    results: list[tuple[str, Outcome]] = []
    lost: set[str] = set()
    pool = ThreadPoolExecutor(max_workers=forks, thread_name_prefix="host")
    try:
        for play in plays:
            hosts = [host for host in play.hosts if host.name not in lost]
            context.emit(PlayStarted(play=play.name, hosts=tuple(host.name for host in hosts)))
            outcomes = _Play(pool, context, interrupt).run(hosts)
            results += outcomes
            lost |= {name for name, outcome in outcomes if isinstance(outcome, _LOST)}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after a second Ctrl-C nobody waits
    return results


class _Play:
    """One play: prepare all hosts, then apply to those that need it."""

    def __init__(self, pool: ThreadPoolExecutor, context: Context, interrupt: Interrupt) -> None:
        self._pool = pool
        self._context = context
        self._interrupt = interrupt
        self._started: dict[str, float] = {}
        self._outcomes: dict[str, Outcome] = {}

    def run(self, hosts: Sequence[DesiredHost]) -> list[tuple[str, Outcome]]:
        prepared = self._each(hosts, self._prepare)
        ready = [
            (host, result) for host, result in zip(hosts, prepared, strict=True) if isinstance(result, Ready)
        ]
        if self._context.goal is Goal.APPLY:
            once = _run_once(hosts)
            first = ready[0][0].name if ready else ""
            self._each(
                ready,
                lambda item: self._apply(*item, commands=once if item[0].name == first else frozenset()),
            )
        return [(host.name, self._outcomes[host.name]) for host in hosts]

    def _prepare(self, host: DesiredHost) -> Ready | None:
        self._started[host.name] = self._context.clock.now()
        if self._interrupt:
            self._finish(host, NotAttempted(reason="interrupted"))
            return None
        result = prepare(host, self._context)
        if isinstance(result, Ready):
            return result
        self._finish(host, result)
        return None

    def _apply(self, host: DesiredHost, ready: Ready, *, commands: frozenset[str]) -> None:
        if self._interrupt:
            ready.remote.close()
            self._finish(
                host, NotAttempted(reason="interrupted; its release is staged, nothing was switched")
            )
        else:
            self._finish(host, apply(host, ready, self._context, commands=commands))

    def _finish(self, host: DesiredHost, outcome: Outcome) -> None:
        self._outcomes[host.name] = outcome
        seconds = self._context.clock.now() - self._started[host.name]
        self._context.emit(HostFinished(host=host.name, outcome=outcome, seconds=seconds))

    def _each(self, items: Sequence[_T], work: Callable[[_T], object]) -> list[object]:
        """Run `work` on all items in parallel and wait for all; Ctrl-C asks for an end and waits on."""
        futures = [self._pool.submit(work, item) for item in items]
        while True:
            try:
                wait(futures)
                return [future.result() for future in futures]
            except KeyboardInterrupt:
                if self._interrupt:
                    raise
                self._interrupt.event.set()
                self._context.emit(RunInterrupted())


def _run_once(hosts: Sequence[DesiredHost]) -> frozenset[str]:
    return frozenset(
        task.name for host in hosts for task in host.tasks if isinstance(task, CommandTask) and task.run_once
    )
