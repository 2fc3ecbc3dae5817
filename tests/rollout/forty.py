"""A fleet of forty hosts of which only the outcomes are real: some are dead, full, locked or turn bad."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer.desired import Play, Strategy
from deployer.outcome import (
    Changed,
    Failed,
    Failure,
    NotAttempted,
    Outcome,
    Reverted,
    RolledBack,
    Unreachable,
)
from deployer.pipeline import Ready
from deployer.rollout import Interrupt, Work, roll_out
from tests.made import make_context, make_host
from tests.memory import MemoryHost, Time

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.desired import DesiredHost
    from deployer.pipeline import Context
    from deployer.remote.remote import Remote
    from deployer.report.events import Event
    from deployer.rollout import Answer
    from deployer.target import Target

NAMES = tuple(f"web{number:02}" for number in range(1, 41))


def web(*numbers: int) -> frozenset[str]:
    """Names of hosts by number."""
    return frozenset(f"web{number:02}" for number in numbers)


@dataclass(slots=True, kw_only=True)
class Forty:
    """What is wrong with which hosts; after a run: what was done, in order, and what was said."""

    dead: frozenset[str] = frozenset()
    full: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    bad: frozenset[str] = frozenset()  # the new release fails there
    stuck: frozenset[str] = frozenset()  # and these cannot be rolled back
    forks: int = 1
    lock_wait: float = 0.0
    interrupt: Interrupt = field(default_factory=Interrupt)
    ask: Callable[[str], Answer] | None = None
    during: Callable[[str, str], None] | None = None  # is told the step and the host while it is done
    time: Time = field(default_factory=Time)
    done: list[tuple[str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, *more: Play, hosts: tuple[str, ...] = NAMES, strategy: Strategy | None = None
    ) -> dict[str, Outcome]:
        """One outcome a host; a host that ends twice fails the test."""
        desired = tuple(make_host(name) for name in hosts)
        plays = (Play(name="web", hosts=desired, strategy=strategy or Strategy()), *more)
        context = make_context(connect=_nobody_connects, emit=self._emit, clock=self.time.clock)
        work = Work(prepare=self._prepare, apply=self._apply, roll_back=self._roll_back, let_go=self._let_go)
        results = roll_out(
            plays,
            context,
            forks=self.forks,
            interrupt=self.interrupt,
            lock_wait=self.lock_wait,
            ask=self.ask,
            work=work,
        )
        assert more or len(results) == len(dict(results))
        return dict(results)

    def did(self, step: str) -> list[str]:
        """The hosts of one step, in order."""
        return [host for name, host in self.done if name == step]

    def _emit(self, event: Event) -> None:
        with self.lock:
            self.events.append(event)

    def _note(self, step: str, host: str) -> None:
        with self.lock:
            self.done.append((step, host))
        if self.during:
            self.during(step, host)

    def _prepare(self, desired: DesiredHost, _context: Context) -> Ready | Outcome:
        host = desired.name
        self._note("prepare", host)
        if host in self.dead:
            return Unreachable(failure=Failure(cause="timed_out", message="did not answer"))
        if host in self.full:
            return Failed(failure=Failure(cause="disk_full", message="no space"), needs_person=False)
        if host in self.held:
            return NotAttempted(reason="locked", holder="anna@laptop")
        return Ready(host=host, remote=_Named(host), plans=())

    def _apply(
        self, desired: DesiredHost, ready: Ready, _context: Context, *, commands: frozenset[str]
    ) -> Outcome:
        assert not commands
        assert isinstance(ready.remote, _Named)
        assert ready.remote.name == desired.name
        self._note("apply", desired.name)
        bad = desired.name in self.bad
        outcome = Reverted(failure=Failure(cause="unhealthy", message="not healthy")) if bad else Changed()
        self._note("end", desired.name)
        return outcome

    def _roll_back(self, desired: DesiredHost, _context: Context) -> Outcome:
        self._note("roll back", desired.name)
        if desired.name in self.stuck:
            return Failed(failure=Failure(cause="rollback_failed", message="stuck"), needs_person=True)
        return RolledBack(releases=(("app", "r0"),), failure=None)

    def _let_go(self, ready: Ready, _context: Context) -> None:
        assert isinstance(ready.remote, _Named)
        self._note("let go", ready.remote.name)


class _Named(MemoryHost):
    """A connection that knows whose it is."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def _nobody_connects(_target: Target) -> Remote:
    raise AssertionError
