"""Started is not alive: a release is good when it answers its health test and has stayed up for a while."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import HostError
from deployer.report.events import HealthProbed, ProbeFellBack, StageStarted
from deployer.verify.probe import Answer, Prober
from deployer.verify.status import ask_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.desired import Healthcheck, Service
    from deployer.init import UnitState
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener


_BY_HAND = 15.0  # seconds that a restart by hand may take
_MOMENT = 0.2  # seconds between two looks at one
_LOOKS = 10  # or more, in a window that `interval` alone would leave with fewer
_GOLDEN = (5**0.5 - 1) / 2


class UnhealthyError(HostError):
    """The service does not pass; `answer` is what its health test said last."""

    def __init__(self, cause: str, message: str, *, service: str, answer: str) -> None:
        self.answer = answer
        super().__init__(cause, message, service=service)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Seconds that only go forward, and a way to let them pass."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class Patience:
    """How long answers are waited for, and how often they are asked for.

    The start period is Compose's: failures in it do not count, and the first good answer ends it.  After it,
    `retries` failures are the end.  They are counted in all, not in a row: whoever falls over and gets up for
    ever would never have that many in a row.
    """

    check: Healthcheck
    started: float  # seconds, on the clock that `after` is told
    attempts: int = 0
    failures: int = 0
    answered: bool = False
    good_since: float | None = None  # when the first of the good answers came that no bad one has followed

    def after(self, answer: Answer, now: float) -> bool:
        """Take in one answer; False when patience is at its end."""
        self.attempts += 1
        if answer.healthy:
            self.answered = True
            if self.good_since is None:
                self.good_since = now
        else:
            self.good_since = None
            if self.answered or now - self.started >= self.check.start_period:
                self.failures += 1
        return self.failures < self.check.retries

    def left(self, now: float) -> float:
        """Seconds for which answers must go on to be good."""
        since = now if self.good_since is None else self.good_since
        return since + self.check.stay_up - now

    def pause(self, now: float) -> float:
        """Seconds until the next attempt."""
        check = self.check
        if self.good_since is not None and check.test is not None:
            # Many looks in the window, and never at an even pace: a service that is well for a part of every
            # second would be asked in the same part of each.  Multiples of the golden ratio fall everywhere.
            longest = min(check.interval, max(check.start_interval, check.stay_up / _LOOKS))
            return longest * (1 + self.attempts * _GOLDEN % 1) / 2
        elapsed = now - self.started
        if self.answered or elapsed >= check.start_period:
            return check.interval
        # A quick start is seen quickly, and a slow one is not asked ten times a second.
        return min(max(check.start_interval, elapsed / 4), check.interval)


def verify(
    remote: Remote,
    host: str,
    service: Service,
    state: UnitState,
    *,
    redact: Callable[[str], str],
    emit: Listener,
    clock: Clock,
) -> UnitState:
    """Wait until the process that `state` shows has answered well for `stay_up`, without a break.

    Returns the unit with that process, or with one that its operator started instead; the commit checks,
    on the host, whether that still runs.

    Raises:
        UnhealthyError: patience ended, or the main process did.
        HostError: the host cannot be asked any more.

    """
    emit(StageStarted(host=host, stage="verify", service=service.name))
    started = clock.now()
    patience = Patience(check=service.healthcheck, started=started)
    prober = _prober(remote, host, service, redact, emit)
    if state.main_pid == 0:  # already; but was that its end, or an order?
        state = check_alive(remote, service, state, clock=clock)
    while True:
        answer = prober.ask()
        now = clock.now()
        enough = not patience.after(answer, now)
        emit(
            HealthProbed(
                host=host,
                service=service.name,
                attempt=patience.attempts,
                healthy=answer.healthy,
                detail=answer.detail,
            )
        )
        if not answer.healthy and patience.attempts > 1:  # the first may be too early, and an exec costs
            state = check_alive(remote, service, state, clock=clock, answer=answer.detail)
        if enough:
            message = f"not healthy after {patience.attempts} attempts in {now - started:.1f} s"
            raise UnhealthyError("unhealthy", message, service=service.name, answer=answer.detail)
        left = patience.left(now)
        if answer.healthy and left <= 0:
            return state
        # The last answer before a commit is always a fresh one, at the end of the window.
        pause = patience.pause(now)
        clock.sleep(min(pause, left) if answer.healthy else pause)


def check_running(
    remote: Remote, host: str, service: Service, *, redact: Callable[[str], str], emit: Listener, clock: Clock
) -> None:
    """A service that nothing was done to: does it answer?  One good answer is enough.

    Raises UnhealthyError.
    """
    prober = _prober(remote, host, service, redact, emit)
    patience = Patience(check=service.healthcheck, started=clock.now() - service.healthcheck.start_period)
    while True:
        answer = prober.ask()
        if answer.healthy:
            return
        going_on = patience.after(answer, clock.now())
        emit(
            HealthProbed(
                host=host,
                service=service.name,
                attempt=patience.attempts,
                healthy=False,
                detail=answer.detail,
            )
        )
        if not going_on:
            message = f"the release is in place but not healthy after {patience.attempts} attempts"
            raise UnhealthyError("unhealthy", message, service=service.name, answer=answer.detail)
        clock.sleep(patience.pause(clock.now()))


def _prober(
    remote: Remote, host: str, service: Service, redact: Callable[[str], str], emit: Listener
) -> Prober:
    def fell_back(detail: str) -> None:
        emit(ProbeFellBack(host=host, service=service.name, detail=detail))

    return Prober(remote, service, redact=redact, fell_back=fell_back)


def check_alive(
    remote: Remote, service: Service, before: UnitState, *, clock: Clock, answer: str = ""
) -> UnitState:
    """The unit now: the process that `before` shows, if it shows one, or one that its operator started since.

    systemd counts automatic restarts (NRestarts); one by hand begins that count anew.

    Raises:
        UnhealthyError: the process ended by itself, or its operator stopped it.

    """
    until = clock.now() + _BY_HAND
    while True:
        state = ask_state(remote, service.name)
        # Not restarts alone: a crash of the release before, in the moment it was replaced, counts as one.
        if before.main_pid and (state.main_pid, state.restarts) == (before.main_pid, before.restarts):
            return state
        if state.stopped_by_operator:
            message = "its operator stopped it while it was on trial, and so it stays stopped"
            raise UnhealthyError("operator_stopped", message, service=service.name, answer=answer)
        if state.restarts > before.restarts or state.active not in {"active", "activating", "deactivating"}:
            raise _died(service, state, answer)
        if state.active == "active" and state.main_pid:
            return state
        if state.sub == "auto-restart" or clock.now() > until:
            raise _died(service, state, answer)
        clock.sleep(_MOMENT)


def await_process(remote: Remote, service: Service, before: UnitState, *, clock: Clock) -> None:
    """Wait until a service that has no main process has one, or is known to have none.

    Raises UnhealthyError: neither, for as long as a restart by hand may take.
    """
    until = clock.now() + _BY_HAND
    while True:
        state = ask_state(remote, service.name)
        if state.main_pid or state.stopped_by_operator or state.restarts > before.restarts:
            return
        if state.active not in {"activating", "deactivating"}:
            return
        if clock.now() > until:
            raise _died(service, state, "")
        clock.sleep(_MOMENT)


def _died(service: Service, state: UnitState, answer: str) -> UnhealthyError:
    message = f"it did not stay up: its process {state.end}"
    return UnhealthyError("crashed", message, service=service.name, answer=answer)
