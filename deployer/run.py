"""One run, from its options to its exit code: load, roll out, report."""

from __future__ import annotations

import getpass
import math
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from deployer import __version__
from deployer.load import load
from deployer.outcome import NAMES, ExitCode, WouldChange, exit_code, final
from deployer.pipeline import Context, Goal
from deployer.plan.plan import plan_service
from deployer.remote.ssh import Connector
from deployer.report.events import RunFinished, RunStarted
from deployer.report.question import ask
from deployer.report.report import reporting
from deployer.rollout import Interrupt, heeding, roll_out
from deployer.stage.encode import Payloads
from deployer.stage.stage import Stager
from deployer.transaction.keeper import Keeper
from deployer.transaction.lock import Owner
from deployer.verify.verify import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deployer.load import LoadOptions
    from deployer.outcome import Outcome
    from deployer.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run what is loaded."""

    goal: Goal
    diff: bool = False
    detailed_exitcode: bool = False
    json: bool = False
    step: bool = False
    forks: int = 50
    start: bool = False  # services that their operator stopped, too
    lock_wait: float = 0.0  # seconds
    deadline: float = 60.0  # seconds of silence after which hosts go back by themselves and locks are free


def run(
    load_options: LoadOptions, options: RunOptions, *, ask_passphrase: Callable[[Path], Secret | None]
) -> ExitCode:
    """Do it, and say how it went.

    Raises:
        LoadError: the user's files are wrong; nothing was contacted.

    """
    clock = Clock()
    began = clock.now()
    now = datetime.now(UTC)
    loaded = load(load_options, environ=os.environ)
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    interrupt = Interrupt()
    connector = Connector(ask_passphrase=ask_passphrase)
    connector.prepare([host.target for play in loaded.plays for host in play.hosts])
    check = options.goal is Goal.CHECK
    with heeding(interrupt), reporting(run=run_id, json=options.json, check=check) as emit:
        hosts = {host.name for play in loaded.plays for host in play.hosts}
        emit(RunStarted(run=run_id, playbook=str(loaded.playbook), hosts=len(hosts), goal=options.goal.value))
        owner = Owner.of_this_process(
            run=run_id, by=f"{_user()}@{socket.gethostname()}", lease=math.ceil(options.deadline)
        )
        context = Context(
            goal=options.goal,
            also="contents" if options.diff else "nothing",
            plan=partial(plan_service, now=now, start=options.start),
            connect=connector.connect,
            emit=emit,
            clock=clock,
            stager=Stager(owner=owner, version=__version__, payloads=Payloads(), emit=emit),
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


def _finished(
    run_id: str, results: Sequence[tuple[str, Outcome]], code: ExitCode, seconds: float
) -> RunFinished:
    hosts: dict[str, tuple[str, ...]] = dict.fromkeys(NAMES.values(), ())
    for host, outcome in final(results).items():
        hosts[NAMES[type(outcome)]] += (host,)
    hosts = {name: members for name, members in hosts.items() if members}
    counts = {name: len(members) for name, members in hosts.items()}
    return RunFinished(run=run_id, counts=counts, hosts=hosts, exit_code=code, seconds=seconds)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
