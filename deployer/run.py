"""One run, from its options to its exit code: load, roll out, report."""

from __future__ import annotations

import gc
import getpass
import math
import os
import secrets
import socket
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from deployer import __version__
from deployer.background import begin
from deployer.desired import ServiceTask
from deployer.load import load
from deployer.outcome import NAMES, ExitCode, WouldChange, exit_code, final
from deployer.pipeline import Context, Goal
from deployer.plan.plan import plan_rollback, plan_service
from deployer.record.record import HostRecord, RunRecord
from deployer.record.recorder import Recorder
from deployer.record.retry import find_run, narrow
from deployer.record.store import Store
from deployer.remote.ssh import Connector
from deployer.report.events import RunFinished, RunStarted
from deployer.report.question import ask
from deployer.report.report import reporting
from deployer.rollout import Interrupt, heeding, roll_out
from deployer.stage.bandwidth import Bandwidth
from deployer.stage.cache import Cache
from deployer.stage.encode import Payloads
from deployer.stage.stage import Stager
from deployer.transaction.keeper import Keeper
from deployer.transaction.lock import Owner
from deployer.verify.verify import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deployer.desired import Play, Service
    from deployer.load import Loaded, LoadOptions
    from deployer.observe.observation import Observation
    from deployer.observe.observe import Also
    from deployer.outcome import Outcome
    from deployer.plan.plan import ServicePlan
    from deployer.record.retry import Retry
    from deployer.report.events import Listener
    from deployer.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run what is loaded."""

    goal: Goal
    rollback: bool = False  # go to a release that the hosts have, and deploy nothing
    to: str | None = None  # which; None: the one that was current before
    diff: bool = False
    detailed_exitcode: bool = False
    json: bool = False
    step: bool = False
    forks: int = 50
    start: bool = False  # services that their operator stopped, too
    lock_wait: float = 0.0  # seconds
    deadline: float = 60.0  # seconds of silence after which hosts go back by themselves and locks are free
    bwlimit: float = 0.0  # bytes per second of all uploads together; 0: no limit
    retry: str = ""  # the id of a run, or "last": only the hosts that it lost


def run(
    load_options: LoadOptions,
    options: RunOptions,
    *,
    ask_passphrase: Callable[[Path], Secret | None],
    note: Callable[[str], None],
) -> ExitCode:
    """Do it, and say how it went; `note` takes what is no part of the run's own output.

    Raises:
        LoadError: the user's files are wrong; nothing was contacted.

    """
    clock = Clock()
    began = clock.now()
    now = datetime.now(UTC)
    loaded = load(load_options, environ=os.environ)
    store = Store(os.environ)
    again: Retry | None = None
    if options.retry:
        lost = find_run(options.retry, str(loaded.playbook.resolve()), store)
        again = narrow(loaded.plays, lost, limited=load_options.limit is not None)
        if again.note:
            note(again.note)
        if not again.plays:
            return ExitCode.OK
        loaded = replace(loaded, plays=again.plays)
    if options.rollback:
        plays = (_services_only(play) for play in loaded.plays)
        loaded = replace(loaded, plays=tuple(play for play in plays if play.hosts))
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    interrupt = Interrupt()
    connector = Connector(ask_passphrase=ask_passphrase)
    connector.prepare([host.target for play in loaded.plays for host in play.hosts])
    gc.enable()  # cli.main turned it off
    check = options.goal is Goal.CHECK
    by = whoami()
    goal = "rollback" if options.rollback and not check else options.goal.value
    begun = _begun(loaded, run=run_id, by=by, goal=goal, now=now)
    with (
        heeding(interrupt),
        _recording(begun, loaded, store=store, note=note) as also,
        reporting(run=run_id, json=options.json, check=check, also=also) as emit,
    ):
        hosts = {host.name for play in loaded.plays for host in play.hosts}
        emit(
            RunStarted(
                run=run_id,
                playbook=str(loaded.playbook),
                hosts=len(hosts),
                goal=goal,
                retry=again.run if again else "",
            )
        )
        owner = Owner.of_this_process(run=run_id, by=by, lease=math.ceil(options.deadline))
        payloads = Payloads(Cache(os.environ, note=note))
        context = Context(
            goal=options.goal,
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


def _services_only(play: Play) -> Play:
    """What a rollback is about: no commands, and what fails is not taken to the release it came from."""
    hosts = (
        replace(host, tasks=tuple(t for t in host.tasks if isinstance(t, ServiceTask))) for host in play.hosts
    )
    strategy = play.strategy
    if strategy.on_failure == "rollback":
        strategy = replace(strategy, on_failure="stop")
    return replace(play, hosts=tuple(host for host in hosts if host.tasks), strategy=strategy)


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


def whoami() -> str:
    """Whoever runs this, as locks and ledgers name them."""
    return f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
