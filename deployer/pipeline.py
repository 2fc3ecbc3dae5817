"""The stages of a deploy on one host, in order: connect, observe, plan, stage | switch, verify, commit.

`prepare` is harmless and ends before anything that runs is touched; `apply` does the rest, or undoes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from deployer.command.command import run_command
from deployer.commit.commit import Switched, commit
from deployer.commit.revert import revert
from deployer.desired import CommandTask
from deployer.errors import HostError
from deployer.observe.observe import observe
from deployer.outcome import (
    Changed,
    Evidence,
    Failed,
    Failure,
    OperatorStopped,
    Outcome,
    Reverted,
    Unchanged,
    Unreachable,
    WouldChange,
)
from deployer.plan.diff import render_diff
from deployer.plan.plan import ServicePlan, plan_service
from deployer.report.events import HostPlanned, StageStarted
from deployer.report.redact import redactor
from deployer.stage.stage import Origin, stage
from deployer.switch.switch import switch
from deployer.verify.status import gather_evidence
from deployer.verify.verify import Clock, UnhealthyError, check_alive, check_running, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from deployer.desired import DesiredHost
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.stage.encode import Payloads
    from deployer.target import Target


_LOST = {"connection_lost", "timed_out"}
"""Causes after which the connection is of no more use."""


class Goal(Enum):
    """How far to go."""

    CHECK = "check"  # up to the plan
    APPLY = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the hosts of a run share."""

    goal: Goal
    diff: bool
    connect: Callable[[Target], Remote]
    emit: Listener
    clock: Clock
    now: datetime
    origin: Origin
    payloads: Payloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A host whose releases are staged and that waits for its turn to switch."""

    remote: Remote
    plans: tuple[ServicePlan, ...]


def prepare(desired: DesiredHost, context: Context) -> Ready | Outcome:
    """Look at a host and stage what it lacks; an Outcome if there is nothing (more) to do.  Never raises."""
    try:
        context.emit(StageStarted(host=desired.name, stage="connect"))
        remote = context.connect(desired.target)
    except HostError as error:
        return Unreachable(failure=_failure(error))
    except Exception as error:  # noqa: BLE001  one host's trouble, whatever it is, ends no other's work
        return Failed(failure=_failure(error), needs_person=False)
    try:
        result = _prepare(desired, remote, context)
    except Exception as error:  # noqa: BLE001  as above
        failure = _failure(error)
        lost = failure.cause in _LOST
        result = Unreachable(failure=failure) if lost else Failed(failure=failure, needs_person=False)
    if not isinstance(result, Ready):
        remote.close()
    return result


def _prepare(desired: DesiredHost, remote: Remote, context: Context) -> Ready | Outcome:
    host, emit = desired.name, context.emit
    emit(StageStarted(host=host, stage="observe"))
    observation = observe(remote, desired.services, contents=context.diff)
    plans = tuple(plan_service(service, observation, now=context.now) for service in desired.services)
    changes = tuple(f"{plan.service.name}: {change.detail}" for plan in plans for change in plan.changes)
    if not plans:
        changes = tuple(f"command: {task.name}" for task in desired.tasks)
    diff = "\n".join(filter(None, (render_diff(plan, observation) for plan in plans))) if context.diff else ""
    emit(HostPlanned(host=host, changes=changes, diff=diff))
    if context.goal is Goal.CHECK:
        return WouldChange() if changes else Unchanged()
    for plan in plans:
        if plan.stage:
            stage(remote, host, plan, payloads=context.payloads, origin=context.origin, emit=emit)
    if changes:
        return Ready(remote=remote, plans=plans)
    return _unchanged(desired, plans, remote, context)


def _unchanged(
    desired: DesiredHost, plans: tuple[ServicePlan, ...], remote: Remote, context: Context
) -> Outcome:
    """Nothing to do; but exit code 0 promises that the service is healthy, too."""
    redact = _redactor(desired)
    for plan in plans:
        if plan.stopped_by_operator:
            continue
        try:
            check_running(
                remote, desired.name, plan.service, redact=redact, emit=context.emit, clock=context.clock
            )
        except UnhealthyError as error:
            evidence = gather_evidence(remote, plan.service.name, answer=error.answer, redact=redact)
            return Failed(failure=_failure(error, plan.service.name, evidence), needs_person=True)
    stopped = tuple(plan.service.name for plan in plans if plan.stopped_by_operator)
    return OperatorStopped(services=stopped, changed=False) if stopped else Unchanged()


def apply(desired: DesiredHost, ready: Ready, context: Context, *, commands: frozenset[str]) -> Outcome:
    """Switch, verify and commit what was staged, or put everything back.

    `commands` are the run_once tasks that fall to this host.  Never raises.
    """
    work = _Apply(desired, ready, context)
    try:
        work.forward(commands)
    except Exception as error:  # noqa: BLE001  whatever it is, the host must not be left between releases
        return work.back(error)
    finally:
        work.remote.close()
    stopped = tuple(plan.service.name for plan in ready.plans if plan.stopped_by_operator)
    if stopped:
        return OperatorStopped(services=stopped, changed=True)
    return Changed(releases=tuple((plan.service.name, plan.release) for plan in ready.plans if plan.changed))


class _Apply:
    """The part of a deploy that can be undone, on one host."""

    def __init__(self, desired: DesiredHost, ready: Ready, context: Context) -> None:
        self.remote = ready.remote
        self._desired = desired
        self._plans = {plan.service.name: plan for plan in ready.plans}
        self._context = context
        self._redact = _redactor(desired)
        self._touched: list[ServicePlan] = []  # switched or half switched, in order

    def forward(self, commands: frozenset[str]) -> None:
        switched: list[Switched] = []
        for task in self._desired.tasks:
            if isinstance(task, CommandTask):
                if not task.run_once or task.name in commands:
                    run_command(
                        self.remote, self._desired.name, task, redact=self._redact, emit=self._context.emit
                    )
                continue
            plan = self._plans[task.service.name]
            if plan.changed:
                self._touched.append(plan)
                switched.append(Switched(plan=plan, pid=self._switch(plan)))
            elif not plan.stopped_by_operator:
                self._check_running(plan)
        commit(self.remote, self._desired.name, switched, emit=self._context.emit)

    def _switch(self, plan: ServicePlan) -> int:
        state = switch(self.remote, self._desired.name, plan, emit=self._context.emit)
        if not plan.start:
            if not plan.stopped_by_operator:
                self._check_running(plan)
            return 0
        verify(
            self.remote,
            self._desired.name,
            plan.service,
            state,
            redact=self._redact,
            emit=self._context.emit,
            clock=self._context.clock,
        )
        return state.main_pid

    def _check_running(self, plan: ServicePlan) -> None:
        context, host = self._context, self._desired.name
        check_running(
            self.remote, host, plan.service, redact=self._redact, emit=context.emit, clock=context.clock
        )

    def back(self, error: Exception) -> Outcome:
        """Undo what was done, the last first; says how that went."""
        last = self._touched[-1].service.name if self._touched else ""
        failure = _failure(error, getattr(error, "service", "") or last)
        if not failure.service:
            return Failed(failure=failure, needs_person=False)
        if failure.cause in _LOST:
            try:
                self.remote = self._context.connect(self._desired.target)
            except HostError as second:
                return _not_back(failure, [second.message])
        failure = replace(failure, evidence=self._evidence(failure.service, getattr(error, "answer", "")))
        troubles: list[str] = []
        for plan in reversed(self._touched):
            try:
                self._put_back(plan)
            except Exception as second:  # noqa: BLE001  the others must go back all the same
                troubles.append(f"{plan.service.name}: {_failure(second).message}")
        if troubles:
            return _not_back(failure, troubles)
        if self._touched and all(plan.previous is not None or not plan.start for plan in self._touched):
            return Reverted(failure=failure)
        only_started = any(plan.start and not plan.stage for plan in self._touched)
        return Failed(failure=failure, needs_person=only_started)

    def _evidence(self, service: str, answer: str) -> Evidence | None:
        try:
            return gather_evidence(self.remote, service, answer=answer, redact=self._redact)
        except HostError:
            return None  # going back is what matters now

    def _put_back(self, plan: ServicePlan) -> None:
        if not plan.stage:
            return  # the release was there before; only its start failed
        context, host = self._context, self._desired.name
        back = revert(self.remote, host, plan, emit=context.emit)
        if plan.previous is not None and plan.start and back.state is not None:
            before = replace(plan.service, healthcheck=back.healthcheck)
            verify(
                self.remote,
                host,
                before,
                back.state,
                redact=self._redact,
                emit=context.emit,
                clock=context.clock,
            )
            check_alive(self.remote, before, back.state)  # no commit comes that would


def _not_back(failure: Failure, troubles: list[str]) -> Failed:
    message = f"{failure.message}; and going back failed: {'; '.join(troubles)}"
    return Failed(failure=replace(failure, message=message, hint="look at the host now"), needs_person=True)


def _redactor(desired: DesiredHost) -> Callable[[str], str]:
    return redactor(secret for service in desired.services for _, secret in service.environment)


def _failure(error: Exception, service: str = "", evidence: Evidence | None = None) -> Failure:
    if isinstance(error, HostError):
        return Failure(
            cause=error.cause, message=error.message, hint=error.hint, service=service, evidence=evidence
        )
    return Failure(
        cause="internal",
        message=f"a bug in deployer: {type(error).__name__}: {error}",
        hint="run it again with DEPLOYER_DEBUG=1 and report what it prints",
        service=service,
        evidence=evidence,
    )
