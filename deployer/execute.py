"""What a run does once its files are read: wires stages, rollout, record and report together."""

from __future__ import annotations

import math
import os
import secrets
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from deployer import __version__
from deployer.background import begin
from deployer.outcome import NAMES, ExitCode, WouldChange, exit_code, final
from deployer.pipeline import Context, Goal
from deployer.plan.plan import plan_rollback, plan_service
from deployer.record.record import HostRecord, RunRecord
from deployer.record.recorder import Recorder
from deployer.record.store import Store
from deployer.report.events import RunFinished, RunStarted
from deployer.report.question import ask
from deployer.report.report import reporting
from deployer.rollout import Interrupt, heeding, roll_out
from deployer.run import whoami
from deployer.stage.bandwidth import Bandwidth
from deployer.stage.cache import Cache
from deployer.stage.encode import Payloads
from deployer.stage.stage import Stager
from deployer.transaction.keeper import Keeper
from deployer.transaction.lock import Owner
from deployer.verify.verify import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deployer.desired import Service
    from deployer.load import Loaded
    from deployer.observe.observation import Observation
    from deployer.observe.observe import Also
    from deployer.outcome import Outcome
    from deployer.plan.plan import ServicePlan
    from deployer.remote.ssh import Connector
    from deployer.report.events import Listener
    from deployer.run import RunOptions


def execute(
    loaded: Loaded,
    options: RunOptions,
    *,
    connector: Connector,
    retry: str,
    began: float,
    now: datetime,
    note: Callable[[str], None],
) -> ExitCode:
    """Roll the plays out, and say how it went.

    `retry` is the run whose lost hosts these are; `began`, on the monotonic clock, and `now` are when this
    one was started.
    """
    clock = Clock()
    store = Store(os.environ)
    interrupt = Interrupt()
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    goal = Goal.CHECK if options.check else Goal.APPLY
    by = whoami()
    called = "rollback" if options.rollback and not options.check else goal.value
    begun = _begun(loaded, run=run_id, by=by, goal=called, now=now)
    with (
        heeding(interrupt),
        _recording(begun, loaded, store=store, note=note) as also,
        reporting(run=run_id, json=options.json, check=options.check, also=also) as emit,
    ):
        hosts = {host.name for play in loaded.plays for host in play.hosts}
        emit(
            RunStarted(
                run=run_id,
                playbook=str(loaded.playbook),
                hosts=len(hosts),
                goal=called,
                retry=retry,
            )
        )
        owner = Owner.of_this_process(run=run_id, by=by, lease=math.ceil(options.deadline))
        payloads = Payloads(Cache(os.environ, note=note))
        context = Context(
            goal=goal,
            also=_also(options),
            plan=_planner(options, now, payloads),
            connect=connector.connect,
            emit=emit,
            clock=clock,
            begin=begin,
            stager=Stager(
                owner=owner,
                version=__version__,
                payloads=payloads,
                bandwidth=Bandwidth(options.bwlimit, clock),
                emit=emit,
            ),
            keeper=Keeper(owner),
        )
        with context.keeper.keeping():
            results = roll_out(
                loaded.plays,
                context,
                forks=options.forks,
                interrupt=interrupt,
                lock_wait=options.lock_wait,
                ask=partial(ask, stop=lambda: bool(interrupt)) if options.step else None,
            )
        if not interrupt.twice:
            connector.close()
        outcomes = [outcome for _, outcome in results]
        code = exit_code(outcomes, interrupted=bool(interrupt))
        if code is ExitCode.OK and options.detailed_exitcode and WouldChange in map(type, outcomes):
            code = ExitCode.CHANGES
        emit(_finished(run_id, results, code, clock.now() - began))
    return code


def _planner(
    options: RunOptions, now: datetime, payloads: Payloads
) -> Callable[[Service, Observation], ServicePlan]:
    if options.rollback:
        return partial(plan_rollback, to=options.to, start=options.start)
    return partial(plan_service, now=now, start=options.start, references=payloads.references())


def _also(options: RunOptions) -> Also:
    if options.rollback:
        return "before"
    return "contents" if options.diff else "nothing"


def _finished(
    run_id: str, results: Sequence[tuple[str, Outcome]], code: ExitCode, seconds: float
) -> RunFinished:
    hosts: dict[str, tuple[str, ...]] = dict.fromkeys(NAMES.values(), ())
    for host, outcome in final(results).items():
        hosts[NAMES[type(outcome)]] += (host,)
    hosts = {name: members for name, members in hosts.items() if members}
    counts = {name: len(members) for name, members in hosts.items()}
    return RunFinished(run=run_id, counts=counts, hosts=hosts, exit_code=code, seconds=seconds)


def _begun(loaded: Loaded, *, run: str, by: str, goal: str, now: datetime) -> RunRecord:
    return RunRecord(
        run=run,
        playbook=str(loaded.playbook.resolve()),
        goal=goal,
        began=now,
        by=by,
        hosts={host.name: HostRecord() for play in loaded.plays for host in play.hosts},
    )


@contextmanager
def _recording(
    begun: RunRecord, loaded: Loaded, *, store: Store, note: Callable[[str], None]
) -> Iterator[Sequence[Listener]]:
    """Keep the record while the run goes on; --check leaves none, for it changes nothing."""
    if begun.goal == Goal.CHECK.value:
        yield ()
        return
    plays = [tuple(host.name for host in play.hosts) for play in loaded.plays]
    with Recorder(store, begun, plays=plays, now=lambda: datetime.now(UTC), note=note) as recorder:
        yield (recorder,)
