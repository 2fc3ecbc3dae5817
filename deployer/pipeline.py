"""The stages of a deploy on one host, in order: connect, observe, plan, stage | switch, verify, commit.

`prepare` is harmless and ends before anything that runs is touched, with the locks of what is to be changed;
`apply` does the rest, or undoes it.  A host that is prepared and not applied is `let_go`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from deployer import fault
from deployer.command.command import run_command
from deployer.commit.commit import Switched, commit
from deployer.commit.revert import How, revert
from deployer.commit.withdraw import withdraw
from deployer.desired import CommandTask, ServiceTask
from deployer.errors import HostError
from deployer.observe.observe import Also, observe
from deployer.outcome import (
    Changed,
    Evidence,
    Failed,
    Failure,
    NotAttempted,
    OperatorStopped,
    Outcome,
    Reverted,
    RolledBack,
    Unchanged,
    Unreachable,
    WouldChange,
)
from deployer.plan.diff import render_diff
from deployer.plan.plan import ServicePlan, plan_return
from deployer.plan.release import deployed_files, read_healthcheck
from deployer.report.events import HostPlanned, StageStarted, TransactionResolved
from deployer.report.redact import redactor
from deployer.stage.stage import Stager, stage
from deployer.switch.switch import switch
from deployer.transaction.lock import HeldError, StaleError, free_locks, take_locks
from deployer.transaction.resolve import UnfinishedError, resolve
from deployer.verify.early import EarlyAnswers
from deployer.verify.sandbox import sandbox_hint
from deployer.verify.status import ask_state, gather_evidence
from deployer.verify.verify import Clock, UnhealthyError, await_process, check_alive, check_running, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.background import Begin
    from deployer.desired import DesiredHost, Service
    from deployer.init import UnitState
    from deployer.observe.observation import Observation
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.target import Target
    from deployer.transaction.keeper import Keeper
    from deployer.transaction.lock import Owner


_LOST = {"connection_lost", "timed_out"}
"""Causes after which the connection is of no more use."""

_LOOKS = 4
"""Times a host is looked at that changes between the look and the lock."""

_COMMITS = 3
"""Times a release is committed whose operator restarts it meanwhile."""

_WATCHES = 3
"""Times a young process is watched whose operator restarts it meanwhile."""

_LOOK = "look at the host now"
_RETURNS = 3
"""Times a host is told to go back that could not be asked, before that is left to itself."""

_MAY_GO_BACK_LATER = _LOST | {"cannot_ask", "mutex_held"}
"""Causes for which a way back did not end; the host's own watch goes on with it."""

_REDIALS = (0.0, 1.0, 3.0, 6.0)
"""Seconds to wait before each attempt to reach a host again that was lost after its switch."""


class Goal(Enum):
    """How far to go."""

    CHECK = "check"  # up to the plan
    APPLY = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the hosts of a run share."""

    goal: Goal
    also: Also  # what to ask hosts beyond the usual
    plan: Callable[[Service, Observation], ServicePlan]
    connect: Callable[[Target], Remote]
    emit: Listener
    clock: Clock
    begin: Begin
    stager: Stager
    keeper: Keeper

    @property
    def owner(self) -> Owner:
        """This run, as the locks it takes name it."""
        return self.stager.owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A host whose releases are staged and locked, and that waits for its turn to switch."""

    host: str
    remote: Remote
    plans: tuple[ServicePlan, ...]

    @property
    def locked(self) -> tuple[str, ...]:
        """The services whose locks this run holds there."""
        return tuple(plan.service.name for plan in self.plans if plan.changed)


def prepare(desired: DesiredHost, context: Context) -> Ready | Outcome:
    """Look at a host, lock and stage what it lacks; an Outcome if there is nothing (more) to do.

    NotAttempted with a holder: another run works there.  Never raises.
    """
    try:
        context.emit(StageStarted(host=desired.name, stage="connect"))
        remote = context.connect(desired.target)
    except HostError as error:
        return Unreachable(failure=_failure(error))
    except Exception as error:  # noqa: BLE001  one host's trouble, whatever it is, ends no other's work
        return Failed(failure=_failure(error), needs_person=False)
    result: Ready | Outcome
    try:
        result = _prepare(desired, remote, context)
    except HeldError as error:
        result = NotAttempted(reason=error.message, holder=str(error.holder))
    except Exception as error:  # noqa: BLE001  as above
        failure = _failure(error, getattr(error, "service", ""))
        lost = failure.cause in _LOST
        unfinished = isinstance(error, UnfinishedError)
        result = Unreachable(failure=failure) if lost else Failed(failure=failure, needs_person=unfinished)
    if not isinstance(result, Ready):
        remote.close()
    return result


def let_go(ready: Ready, context: Context) -> None:
    """Give up what `prepare` took; the staged releases stay, unused.  Never raises."""
    context.keeper.drop(ready.host)
    with suppress(Exception):  # its lease ends by itself
        free_locks(ready.remote, context.owner, ready.locked)
    ready.remote.close()


def _prepare(desired: DesiredHost, remote: Remote, context: Context) -> Ready | Outcome:
    for look in range(_LOOKS):
        context.emit(StageStarted(host=desired.name, stage="observe"))
        early = EarlyAnswers(remote, desired.services, context.begin)
        files = {
            path: digest for service in desired.services for path, digest in deployed_files(service).items()
        }
        observation = observe(
            remote, desired.services, files=files, address=desired.target.address, also=context.also
        )
        try:
            breaking = _clear(desired, observation, remote, context)
            return _plan_and_stage(desired, observation, remote, context, early=early, breaking=breaking)
        except StaleError:
            if look == _LOOKS - 1:
                raise
    raise AssertionError("unreachable: the last look returns or raises")


def _clear(
    desired: DesiredHost, observation: Observation, remote: Remote, context: Context
) -> dict[str, str]:
    """Put an end to what dead runs left; the runs whose locks may be broken, by service.

    Raises:
        HeldError: a run that lives works there.
        StaleError: something was put back, so look again.

    """
    breaking: dict[str, str] = {}
    if context.goal is Goal.CHECK:
        return breaking
    stale: StaleError | None = None
    for service in desired.services:
        seen = observation.services[service.name]
        if seen.lock and not seen.lock.expired and seen.lock.run != context.owner.run:
            if not seen.lock.is_dead():
                raise HeldError(service.name, seen.lock)
            breaking[service.name] = seen.lock.run
        if seen.transaction:
            left = seen.transaction
            by_us = resolve(remote, context.owner, service.name, breaking=breaking.get(service.name, "-"))
            context.emit(
                TransactionResolved(
                    host=desired.name,
                    service=service.name,
                    dead_run=left.run,
                    by=left.by,
                    release=left.after,
                    to=left.before,
                    by_host=not by_us,
                )
            )
            stale = StaleError("stale", "the host was put back", service=service.name)
    if stale:
        raise stale
    return breaking


def _plan_and_stage(
    desired: DesiredHost,
    observation: Observation,
    remote: Remote,
    context: Context,
    *,
    early: EarlyAnswers,
    breaking: dict[str, str],
) -> Ready | Outcome:
    host = desired.name
    plans = tuple(context.plan(service, observation) for service in desired.services)
    changes = tuple(f"{plan.service.name}: {change.detail}" for plan in plans for change in plan.changes)
    if not plans:
        changes = tuple(f"command: {task.name}" for task in desired.tasks)
    diff = ""
    if context.also == "contents":
        diff = "\n".join(filter(None, (render_diff(plan, observation) for plan in plans)))
    notes = tuple(f"{plan.service.name}: {note}" for plan in plans for note in plan.notes)
    context.emit(HostPlanned(host=host, changes=changes, diff=diff, notes=notes))
    if not changes:
        return _unchanged(desired, plans, early=early, remote=remote, context=context)
    if context.goal is Goal.CHECK:
        return WouldChange()
    for plan in plans:
        if not plan.changed:
            _await_process(remote, plan, context)
    ready = Ready(host=host, remote=remote, plans=plans)
    commands = sum(isinstance(task, CommandTask) and not task.run_once for task in desired.tasks)
    remote.expect(2 * len(ready.locked) + bool(ready.locked) + commands)  # stage and switch; commit
    context.keeper.hold(host, remote, ready.locked)  # from here on, for an upload may outlast a lease
    try:
        for plan in plans:
            if plan.stage:
                stage(remote, host, plan, context.stager, breaking=breaking.get(plan.service.name, "-"))
        return _lock_the_rest(ready, context, breaking)
    except BaseException:
        context.keeper.drop(host)
        with suppress(Exception):
            free_locks(remote, context.owner, ready.locked)
        raise


def _lock_the_rest(ready: Ready, context: Context, breaking: dict[str, str]) -> Ready:
    """Lock what nothing was staged for; a release that was there is judged by its own health check."""
    rest = [plan for plan in ready.plans if plan.changed and not plan.stage]
    about = take_locks(ready.remote, context.owner, rest, breaking)
    plans = []
    for plan in ready.plans:
        check = read_healthcheck(about.get(plan.service.name, "")) if plan.kind == "rollback" else None
        plans.append(replace(plan, service=replace(plan.service, healthcheck=check)) if check else plan)
    return replace(ready, plans=tuple(plans))


def _unchanged(
    desired: DesiredHost,
    plans: tuple[ServicePlan, ...],
    *,
    early: EarlyAnswers,
    remote: Remote,
    context: Context,
) -> Outcome:
    """Nothing to do; but exit code 0 promises that the service is healthy, too, and that it is this one."""
    redact = _redactor(desired)
    notes: list[str] = []
    for plan in plans:
        restarts = plan.unit.restarts if plan.unit else 0
        if plan.oddity:
            notes.append(f"{plan.service.name}: {plan.oddity}")
        try:
            _await_process(remote, plan, context)
            if plan.stopped_by_operator or (
                early.healthy(plan.service) and not restarts and not plan.stranger and not _trial(plan)
            ):
                continue
            _check_kept(remote, desired.name, plan, redact=redact, context=context)
        except UnhealthyError as error:
            listens = plan.service.healthcheck.listens(desired.target.address)
            evidence = gather_evidence(
                remote, plan.service.name, answer=error.answer, listens=listens, redact=redact
            )
            failure = _failure(error, plan.service.name, evidence)
            hint = failure.hint or _what_to_do(failure) or f"as root there: journalctl -u {failure.service}"
            return Failed(failure=replace(failure, hint=hint), needs_person=True)
        if restarts:
            notes.append(f"{plan.service.name}: systemd restarted it {_times(restarts)} since it was started")
    stopped = tuple(plan.service.name for plan in plans if plan.stopped_by_operator)
    return OperatorStopped(services=stopped, changed=False) if stopped else Unchanged(notes=tuple(notes))


def _await_process(remote: Remote, plan: ServicePlan, context: Context) -> None:
    """A service between two processes says neither that it stays up nor whose its port is.

    Raises:
        StaleError: it is over, so look again.
        UnhealthyError: it comes to no end.

    """
    unit = plan.unit
    if unit is None or unit.main_pid or unit.active == "active" or plan.stopped_by_operator:
        return
    await_process(remote, plan.service, unit, clock=context.clock)
    raise StaleError("stale", "it was between two processes", service=plan.service.name)


def _check_kept(
    remote: Remote, host: str, plan: ServicePlan, *, redact: Callable[[str], str], context: Context
) -> None:
    """A service that is not restarted must be well, too, and be the one that answers.

    Raises UnhealthyError.
    """
    if plan.stranger:
        raise _strange(plan.service, plan.stranger)
    if plan.unit and (trial := _trial(plan)):
        _watch(remote, plan.service, plan.unit, trial, context.clock)
    # Last, for it is to be true of what is still there; and of one that hangs, too.
    check_running(remote, host, plan.service, redact=redact, emit=context.emit, clock=context.clock)


def _watch(remote: Remote, service: Service, unit: UnitState, seconds: float, clock: Clock) -> None:
    """See that the process stays up; one that its operator starts meanwhile is as young as any.

    Raises UnhealthyError.
    """
    for _ in range(_WATCHES):
        clock.sleep(seconds)
        now = check_alive(remote, service, unit, clock=clock)
        if now.main_pid == unit.main_pid:
            return
        unit, seconds = now, service.healthcheck.stay_up


def _trial(plan: ServicePlan) -> float:
    """Seconds to watch a service for that may crash again and again, and be well each time it is asked.

    Restarts are counted until somebody lets systemd forget them; the age of a process is always true.
    """
    stay_up = plan.service.healthcheck.stay_up
    if plan.unit and plan.unit.restarts:
        return stay_up
    return max(stay_up - plan.age, 0.0) if plan.age is not None else 0.0


def apply(desired: DesiredHost, ready: Ready, context: Context, *, commands: frozenset[str]) -> Outcome:
    """Switch, verify and commit what was staged, or put everything back.

    `commands` are the run_once tasks that fall to this host.  Never raises.
    """
    work = _Apply(desired, ready, context)
    try:
        work.forward(commands)
    except Exception as error:  # noqa: BLE001  whatever it is, the host must not be left between releases
        outcome = work.back(error)
        let_go(replace(ready, remote=work.remote), context)
        return outcome
    context.keeper.drop(desired.name)  # the commit let go of the locks
    work.remote.close()
    return work.done()


def roll_back(desired: DesiredHost, context: Context) -> Outcome:
    """Undo what this run committed on a host, because of a failure elsewhere.  Never raises.

    The release that was current before comes back by the same stages and health checks; a service that
    had none is stopped.
    """
    services = replace(desired, tasks=tuple(task for task in desired.tasks if isinstance(task, ServiceTask)))
    back = replace(context, also="before", plan=partial(plan_return, run=context.owner.run))
    result = prepare(services, back)
    releases: tuple[tuple[str, str], ...] = ()
    if isinstance(result, Ready):
        releases = tuple((plan.service.name, plan.release) for plan in result.plans if plan.changed)
        result = apply(services, result, back, commands=frozenset())
    match result:
        case RolledBack():
            return result
        case Unchanged() | OperatorStopped():  # it was only started; or it is back, and as stopped as before
            return RolledBack(releases=releases)
        case NotAttempted(reason=reason):
            failure = Failure(cause="locked", message=f"rolling back failed: {reason}")
        case Reverted(failure=failure) | Failed(failure=failure) | Unreachable(failure=failure):
            failure = replace(failure, message=f"rolling back failed: {failure.message}")
        case _:
            return result
    return Failed(failure=failure, needs_person=True)


class _Apply:
    """The part of a deploy that can be undone, on one host."""

    def __init__(self, desired: DesiredHost, ready: Ready, context: Context) -> None:
        self.remote = ready.remote
        self._desired = desired
        self._ready = ready
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
            if plan.kind == "withdraw":
                withdraw(
                    self.remote, self._desired.name, plan, owner=self._context.owner, emit=self._context.emit
                )
            elif plan.changed:
                self._touched.append(plan)
                switched.append(self._switch(plan))
            elif not plan.stopped_by_operator:
                self._check_kept(plan)
        self._commit(switched)

    def _commit(self, switched: list[Switched]) -> None:
        """Commit; what its operator starts or restarts in this moment is verified once more."""
        for tries_left in reversed(range(_COMMITS)):
            try:
                commit(
                    self.remote,
                    self._desired.name,
                    switched,
                    owner=self._context.owner,
                    emit=self._context.emit,
                )
            except HostError as error:
                if error.cause != "restarted" or not tries_left:
                    raise
                switched = [
                    self._again(item) if item.plan.service.name == error.service else item
                    for item in switched
                ]
            else:
                return

    def _again(self, item: Switched) -> Switched:
        """Verify what its operator started or restarted since."""
        plan = self._told(item.plan, started=True, stopped=False)
        return self._verified(plan, ask_state(self.remote, plan.service.name))

    def done(self) -> Outcome:
        """What became of the host if all went well."""
        plans = tuple(self._plans.values())
        changed = tuple((plan.service.name, plan.release) for plan in plans if plan.changed)
        stopped = tuple(plan.service.name for plan in plans if plan.stopped_by_operator)
        if stopped:  # first of all, for nobody must think that it runs
            return OperatorStopped(services=stopped, changed=True)
        if any(plan.kind in {"rollback", "withdraw"} for plan in plans):
            return RolledBack(releases=changed)
        return Changed(releases=changed)

    def _switch(self, plan: ServicePlan) -> Switched:
        context, host = self._context, self._desired.name
        start = switch(self.remote, host, plan, owner=context.owner, emit=context.emit)
        plan = self._told(plan, started=start.started, stopped=start.stopped)
        if plan.stopped_by_operator:
            return Switched(plan=plan, pid=0)
        if not plan.start:
            self._check_kept(plan)
            return self._switched(plan, start.unit)
        fault.point("verify.before")
        done = self._verified(plan, start.unit)
        fault.point("verify.after")
        return done

    def _told(self, plan: ServicePlan, *, started: bool, stopped: bool) -> ServicePlan:
        """The plan as it is once its operator gave an order after the look; the same if nobody did."""
        if (started, stopped) == (plan.start, plan.stopped_by_operator):
            return plan
        told = replace(plan, start=started, stopped_by_operator=stopped)
        self._plans[plan.service.name] = told
        self._touched = [told if each is plan else each for each in self._touched]
        return told

    def _verified(self, plan: ServicePlan, state: UnitState) -> Switched:
        state = verify(
            self.remote,
            self._desired.name,
            plan.service,
            state,
            redact=self._redact,
            emit=self._context.emit,
            clock=self._context.clock,
        )
        return self._switched(plan, state)

    def _switched(self, plan: ServicePlan, state: UnitState) -> Switched:
        where = plan.service.healthcheck.listens(self._desired.target.address)
        return Switched(plan=plan, pid=state.main_pid, restarts=state.restarts, listens=where)

    def _check_kept(self, plan: ServicePlan) -> None:
        _check_kept(self.remote, self._desired.name, plan, redact=self._redact, context=self._context)

    def back(self, error: Exception) -> Outcome:
        """Undo what was done, the last first; says how that went."""
        last = self._touched[-1].service.name if self._touched else ""
        failure = _failure(error, getattr(error, "service", "") or last)
        if not failure.service:
            return Failed(failure=failure, needs_person=False)
        if failure.cause in _LOST and (second := self._redial()):
            return self._left_to_the_host(failure, second)
        failure = replace(failure, evidence=self._evidence(failure.service, getattr(error, "answer", "")))
        failure = replace(failure, hint=failure.hint or _what_to_do(failure))
        troubles: list[Failure] = []
        went: list[How] = []
        for plan in reversed(self._touched):
            try:
                went.append(self._return(plan))
            except UnhealthyError as second:
                message = f"{plan.previous} is put back, but {second.message}"
                troubles.append(replace(_failure(second, plan.service.name), message=message))
            except Exception as second:  # noqa: BLE001  the others must go back all the same
                troubles.append(_failure(second, plan.service.name))
        if troubles:
            later = all(trouble.cause in _MAY_GO_BACK_LATER for trouble in troubles)
            words = [f"{trouble.service}: {trouble.message}" for trouble in troubles]
            return _not_back(failure, words, hint=self._by_itself() if later else _LOOK)
        return self._went_back(failure, went)

    def _went_back(self, failure: Failure, went: list[How]) -> Outcome:
        if failure.cause == "operator_stopped" and all(plan.kind == "start" for plan in self._touched):
            names = tuple(plan.service.name for plan in self._touched)
            return OperatorStopped(services=names, changed=False)
        if went and set(went) == {"committed"}:  # only the answer was lost
            return self.done()
        if "committed" in went:
            return _not_back(failure, ["some services of this host were committed already"])
        only_started = any(plan.start and plan.kind == "start" for plan in self._touched)
        if not {"undone", "put_back"} & set(went):
            if failure.cause in _LOST and not only_started:  # on the way to the switch
                message = f"{failure.message}; nothing was switched there"
                return Unreachable(failure=replace(failure, message=message, evidence=None))
            if only_started and not failure.hint:
                failure = replace(failure, hint=f"to stop it again: systemctl stop {failure.service}")
            return Failed(failure=failure, needs_person=only_started)
        if all(plan.previous is not None or not plan.start for plan in self._touched):
            return Reverted(failure=failure)
        return Failed(failure=failure, needs_person=only_started)

    def _redial(self) -> Failure | None:
        """A fresh connection, or why there is none."""
        self.remote.close()
        last: Failure | None = None
        for pause in _REDIALS:
            self._context.clock.sleep(pause)
            try:
                self.remote = self._context.connect(self._desired.target)
            except Exception as error:  # noqa: BLE001  the host must not be left for any
                last = _failure(error)
            else:
                self._context.keeper.hold(self._desired.name, self.remote, self._ready.locked)
                return None
        return last

    def _left_to_the_host(self, failure: Failure, second: Failure) -> Failed:
        message = f"{failure.message}, and not found again: {second.message}"
        return Failed(failure=replace(failure, message=message, hint=self._by_itself()), needs_person=True)

    def _by_itself(self) -> str:
        lease = self._context.owner.lease
        when = f"{lease} s after it heard of this run last"
        return f"unless it is down, the host goes back by itself {when}; run again to see"

    def _evidence(self, service: str, answer: str) -> Evidence | None:
        try:
            listens = self._plans[service].service.healthcheck.listens(self._desired.target.address)
            return gather_evidence(self.remote, service, answer=answer, listens=listens, redact=self._redact)
        except Exception:  # noqa: BLE001  going back is what matters now
            return None

    def _return(self, plan: ServicePlan) -> How:
        """Put back; once more if the host could not be asked, or was lost and is found again."""
        for tries_left in reversed(range(_RETURNS)):
            try:
                return self._put_back(plan)
            except HostError as error:
                if not tries_left or error.cause not in _MAY_GO_BACK_LATER:
                    raise
                if error.cause in _LOST and self._redial():
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _put_back(self, plan: ServicePlan) -> How:
        if plan.kind == "start":
            return "untouched"  # the release was there before; only its start failed
        context, host = self._context, self._desired.name
        back = revert(self.remote, host, plan, owner=context.owner, emit=context.emit)
        if back.how == "committed" or plan.previous is None or not plan.start or back.stopped_by_operator:
            return back.how
        before = replace(plan.service, healthcheck=back.healthcheck)
        state = verify(
            self.remote,
            host,
            before,
            back.state,
            redact=self._redact,
            emit=context.emit,
            clock=context.clock,
        )
        check_alive(self.remote, before, state, clock=context.clock)  # no commit comes that would
        return back.how


def _not_back(failure: Failure, troubles: list[str], *, hint: str = _LOOK) -> Failed:
    message = f"{failure.message}; and going back failed: {'; '.join(troubles)}"
    return Failed(failure=replace(failure, message=message, hint=hint), needs_person=True)


def _what_to_do(failure: Failure) -> str:
    """As far as the evidence tells; else empty."""
    if failure.evidence and failure.evidence.port:
        return f"end that process, or give {failure.service} another port"
    return sandbox_hint(failure.service, failure.evidence)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _strange(service: Service, who: str) -> UnhealthyError:
    message = f"its port is answered by {who}, not by {service.name}"
    return UnhealthyError("stranger", message, service=service.name, answer="")


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
