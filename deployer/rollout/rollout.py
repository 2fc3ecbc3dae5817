"""A play goes over its hosts: all are prepared, then batch by batch is switched, until a gate closes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from deployer.desired import CommandTask
from deployer.outcome import (
    Failed,
    Failure,
    NotAttempted,
    Outcome,
    RolledBack,
    Unreachable,
    has_failed,
    has_moved,
)
from deployer.pipeline import Context, Goal, Ready, apply, let_go, prepare, roll_back
from deployer.report.events import (
    BatchPaused,
    BatchStarted,
    HostFinished,
    LockAwaited,
    PlayStarted,
    StepAnswered,
    StepAsked,
)
from deployer.rollout.batches import in_batches
from deployer.rollout.crew import AbandonedError, Crew
from deployer.rollout.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.desired import DesiredHost, Play
    from deployer.interrupt import Interrupt

_POLL = 2.0
"""Seconds between two looks at a lock that somebody else holds."""

Answer = Literal["no", "yes", "continue"]

_INTERRUPTED = Failure(
    cause="interrupted",
    message="the run was ended in the middle of its work here; unless the release was committed, the host "
    "goes back by itself when it has heard nothing for the deadline",
    hint="see what runs there after the deadline, or run it again",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is done on one host; none of it raises."""

    prepare: Callable[[DesiredHost, Context], Ready | Outcome] = prepare
    apply: Callable[..., Outcome] = apply  # like `prepare`, with the Ready it made, and `commands`
    roll_back: Callable[[DesiredHost, Context], Outcome] = roll_back
    let_go: Callable[[Ready, Context], None] = let_go


def roll_out(
    plays: Sequence[Play],
    context: Context,
    *,
    forks: int,
    interrupt: Interrupt,
    lock_wait: float = 0.0,
    ask: Callable[[str], Answer] | None = None,
    work: Work | None = None,
) -> list[tuple[str, Outcome]]:
    """Run the plays one after the other, and collect how every host ended in each.

    A host that was lost in one play is left out of those that follow; where a gate closed, no other play
    begins.  `ask` is asked before every batch; `lock_wait` is for how many seconds locks are waited for.
    """
    results: list[tuple[str, Outcome]] = []
    lost: set[str] = set()
    ended = ""
    with Crew(forks, interrupt=interrupt, emit=context.emit, clock=context.clock) as crew:
        for play in plays:
            hosts = tuple(host for host in play.hosts if host.name not in lost)
            if ended:
                outcomes = _leave_out(hosts, ended, {name for name, _ in results}, context)
            else:
                context.emit(PlayStarted(play=play.name, hosts=tuple(host.name for host in hosts)))
                now = _Play(
                    play,
                    hosts,
                    context=context,
                    crew=crew,
                    interrupt=interrupt,
                    lock_wait=lock_wait,
                    ask=ask,
                    work=work or Work(),
                )
                outcomes, ended = now.run()
                ask = now.ask
                if ended and not interrupt:
                    ended = f"the play {play.name!r} was stopped: {ended}"
            results += outcomes
            lost |= {name for name, outcome in outcomes if _is_lost(outcome)}
    return results


def _leave_out(
    hosts: Sequence[DesiredHost], why: str, seen: set[str], context: Context
) -> list[tuple[str, Outcome]]:
    """The hosts of a play that is not begun."""
    outcomes: list[tuple[str, Outcome]] = []
    for host in hosts:
        reason = f"{why}; what an earlier play did here stays" if host.name in seen else why
        outcomes.append((host.name, NotAttempted(reason=reason)))
        context.emit(HostFinished(host=host.name, outcome=outcomes[-1][1], seconds=0.0))
    return outcomes


def _is_lost(outcome: Outcome) -> bool:
    return has_failed(outcome) or isinstance(outcome, Unreachable | NotAttempted)


class _Play:
    """One play on the hosts that are left."""

    def __init__(
        self,
        play: Play,
        hosts: tuple[DesiredHost, ...],
        *,
        context: Context,
        crew: Crew,
        interrupt: Interrupt,
        lock_wait: float,
        ask: Callable[[str], Answer] | None,
        work: Work,
    ) -> None:
        self.ask = ask  # None after "continue"
        self._name = play.name
        self._hosts = hosts
        self._strategy = play.strategy
        self._context = context
        self._crew = crew
        self._interrupt = interrupt
        self._lock_wait = lock_wait
        self._work = work
        self._batches = in_batches(hosts, play.strategy.serial)
        self._gate = Gate(
            strategy=play.strategy,
            hosts=len(hosts),
            canaries=frozenset(host.name for host in self._batches[0]) if self._batches[1:] else frozenset(),
        )
        self._refused = ""  # what was said no to
        self._lock = threading.RLock()
        self._ready: dict[str, Ready] = {}
        self._held: dict[str, NotAttempted] = {}  # hosts that another run works on
        self._in_flight: set[str] = set()  # hosts whose services may be in between
        self._outcomes: dict[str, Outcome] = {}
        self._seconds: dict[str, float] = {}
        self._abandoned = False

    def run(self) -> tuple[list[tuple[str, Outcome]], str]:
        """How each host ended, and why no other play may follow; empty: one may."""
        try:
            self._crew.each(self._hosts, self._prepare)
            self._wait_for_locks()
            if self._context.goal is Goal.APPLY:
                self._switch_batches()
                self._let_go_of_the_rest()
                self._roll_back()
        except AbandonedError:
            self._abandon()
        return [(host.name, self._outcomes[host.name]) for host in self._hosts], self._closed()

    def _closed(self) -> str:
        """Why no other host may be switched; empty: one may."""
        if self._interrupt:
            return "interrupted"
        if self._refused or self._context.goal is Goal.CHECK:
            return self._refused
        with self._lock:
            return self._gate.closed(self._outcomes)

    # -- in the order of a play, on the main thread -----------------------------------------------------

    def _wait_for_locks(self) -> None:
        """Locks that others hold: wait for the first, without keeping any that comes after it.

        All runs take locks in one order, so no two of them wait for each other.
        """
        clock = self._context.clock
        order = sorted(self._hosts, key=lambda host: (host.target.address, host.name))
        until = clock.now() + self._lock_wait
        told: tuple[str, NotAttempted] | None = None
        while self._held and not self._interrupt and (left := until - clock.now()) > 0:
            place = next(number for number, host in enumerate(order) if host.name in self._held)
            first, later = order[place], order[place + 1 :]
            self._crew.each([host for host in later if host.name in self._ready], self._give_back)
            if told != (told := (first.name, self._held[first.name])):
                self._context.emit(LockAwaited(host=first.name, reason=told[1].reason, seconds=left))
            self._crew.rest(min(_POLL, left))
            self._crew.each([first], self._prepare)  # not here, where interrupts are looked for
            if first.name not in self._held:
                settled = self._ready.keys() | self._outcomes.keys()
                self._crew.each([host for host in later if host.name not in settled], self._prepare)
        for host in self._hosts:
            if host.name in self._held:
                self._finish(host, self._held[host.name])

    def _switch_batches(self) -> None:
        switched = False
        for number, batch in enumerate(self._batches, start=1):
            waiting = [host for host in batch if host.name in self._ready]
            if not waiting:
                continue
            if switched and not self._closed():
                self._pause()
            if self._closed() or not self._confirmed(number, waiting):
                return
            self._context.emit(
                BatchStarted(
                    play=self._name,
                    number=number,
                    of=len(self._batches),
                    hosts=tuple(host.name for host in waiting),
                )
            )
            self._crew.each(waiting, self._apply)
            switched = True

    def _pause(self) -> None:
        if self._strategy.pause:
            self._context.emit(BatchPaused(play=self._name, seconds=self._strategy.pause))
            self._crew.rest(self._strategy.pause)

    def _confirmed(self, number: int, waiting: Sequence[DesiredHost]) -> bool:
        if self.ask is None:
            return True
        names = tuple(host.name for host in waiting)
        batch = f"batch {number} of {len(self._batches)}"
        self._context.emit(StepAsked(play=self._name, number=number, of=len(self._batches), hosts=names))
        answer = self.ask(f"{batch}: {', '.join(names)}")
        self._context.emit(StepAnswered(play=self._name, number=number, answer=answer))
        self._crew.look_up()
        if self._interrupt:
            return False
        if answer == "continue":
            self.ask = None
        elif answer == "no":
            self._refused = f"{batch} was not confirmed"
        return answer != "no"

    def _let_go_of_the_rest(self) -> None:
        why = self._closed()
        rest = [host for host in self._hosts if host.name not in self._outcomes]
        self._crew.each(rest, lambda host: self._let_go(host, why))

    def _roll_back(self) -> None:
        """Once the gate is closed, take every host back that this play changed: the last batch first."""
        why = self._gate.closed(self._outcomes)
        if self._strategy.on_failure != "rollback" or not why:
            return
        for batch in reversed(self._batches):
            moved = [host for host in batch if has_moved(self._outcomes[host.name])]
            self._crew.each(moved, lambda host: self._back(host, why))

    def _abandon(self) -> None:
        """Give every host its outcome now; what its thread comes to say later is not heard."""
        with self._lock:
            for host in self._hosts:
                if host.name in self._in_flight:
                    self._finish(host, Failed(failure=_INTERRUPTED, needs_person=True))
                elif host.name not in self._outcomes:
                    self._finish(host, NotAttempted(reason="interrupted"))
            self._abandoned = True

    # -- one host, on a thread of its own ---------------------------------------------------------------

    def _prepare(self, host: DesiredHost) -> None:
        self._held.pop(host.name, None)
        if self._interrupt:
            self._finish(host, NotAttempted(reason="interrupted"))
            return
        began = self._context.clock.now()
        result = self._work.prepare(host, self._context)
        self._spent(host, began)
        if isinstance(result, Ready):
            self._ready[host.name] = result
        elif isinstance(result, NotAttempted) and result.holder:
            self._held[host.name] = result
        else:
            self._finish(host, result)

    def _give_back(self, host: DesiredHost) -> None:
        self._work.let_go(self._ready.pop(host.name), self._context)

    def _apply(self, host: DesiredHost) -> None:
        with self._lock:
            why = self._closed()
            if not why:
                self._in_flight.add(host.name)
        if why:
            self._let_go(host, why)
            return
        began = self._context.clock.now()
        commands = self._once() if host.name == self._first() else frozenset()
        outcome = self._work.apply(host, self._ready[host.name], self._context, commands=commands)
        self._spent(host, began)
        self._finish(host, outcome)

    def _let_go(self, host: DesiredHost, why: str) -> None:
        if host.name in self._ready:  # or it was given back, while another host was waited for
            self._work.let_go(self._ready[host.name], self._context)
        self._finish(host, NotAttempted(reason=why))

    def _back(self, host: DesiredHost, why: str) -> None:
        with self._lock:
            if self._interrupt:
                return  # it stays changed
            self._in_flight.add(host.name)
        began = self._context.clock.now()
        outcome = self._work.roll_back(host, self._context)
        if isinstance(outcome, RolledBack):
            outcome = replace(outcome, failure=Failure(cause="play_stopped", message=why))
        self._spent(host, began)
        self._finish(host, outcome)

    def _spent(self, host: DesiredHost, began: float) -> None:
        now = self._context.clock.now()
        self._seconds[host.name] = self._seconds.get(host.name, 0.0) + now - began

    def _finish(self, host: DesiredHost, outcome: Outcome) -> None:
        with self._lock:
            if self._abandoned:
                return
            self._in_flight.discard(host.name)
            self._outcomes[host.name] = outcome
            seconds = self._seconds.get(host.name, 0.0)
            self._context.emit(HostFinished(host=host.name, outcome=outcome, seconds=seconds))

    # -- run_once ---------------------------------------------------------------------------------------

    def _first(self) -> str:
        """The first host that the play changes: run_once tasks fall to it."""
        return next(host.name for host in self._hosts if host.name in self._ready)

    def _once(self) -> frozenset[str]:
        return frozenset(
            task.name
            for host in self._hosts
            for task in host.tasks
            if isinstance(task, CommandTask) and task.run_once
        )
