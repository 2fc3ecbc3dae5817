"""Commands of one question: load, ask every host of the playbook, show the answers."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from deployer.ask.ask import INTERRUPTED, ask, hosts_with_services
from deployer.ask.ledger import ask_ledger
from deployer.ask.releases import ask_releases
from deployer.ask.unlock import break_locks
from deployer.interrupt import Interrupt, heeding
from deployer.load.load import load
from deployer.outcome import ExitCode, Failed, Unreachable
from deployer.remote.ssh import Connector
from deployer.report.ledgers import ledger_lines
from deployer.report.releases import release_lines
from deployer.report.unlocked import unlocked_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from deployer.ask.ask import NoAnswer
    from deployer.desired import DesiredHost
    from deployer.load import LoadOptions
    from deployer.remote.remote import Remote
    from deployer.secret import Secret

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """How to ask, and where to show."""

    json: bool
    forks: int
    say: Callable[[str], None]
    ask_passphrase: Callable[[Path], Secret | None]


def show_ledgers(load_options: LoadOptions, options: ShowOptions, *, count: int) -> ExitCode:
    """What the hosts wrote down of the playbook's services; no more than `count` lines of each.

    Raises:
        LoadError: the user's files are wrong; nothing was contacted.

    """
    lines = partial(ledger_lines, json=options.json)
    return _show(load_options, options, partial(ask_ledger, count=count), lines)


def show_releases(load_options: LoadOptions, options: ShowOptions) -> ExitCode:
    """The releases on the hosts' disks, of the playbook's services.  Raises LoadError, as above."""
    return _show(load_options, options, ask_releases, partial(release_lines, json=options.json))


def unlock(load_options: LoadOptions, options: ShowOptions, *, by: str) -> ExitCode:
    """Break the locks of the playbook's services; `by` is written into the ledgers.  Raises LoadError."""
    lines = partial(unlocked_lines, json=options.json)
    return _show(load_options, options, partial(break_locks, by=by), lines)


def _show(
    load_options: LoadOptions,
    options: ShowOptions,
    question: Callable[[Remote, Sequence[str]], _T],
    lines: Callable[[Sequence[tuple[str, _T | NoAnswer]]], Iterable[str]],
) -> ExitCode:
    """Ask every host, and show what they say; after an interrupt, what they have said so far."""
    hosts = hosts_with_services(load(load_options, environ=os.environ).plays)
    connector = Connector(ask_passphrase=options.ask_passphrase)
    connector.prepare([host.target for host in hosts])
    gc.enable()  # cli.main turned it off

    def one(remote: Remote, host: DesiredHost) -> _T:
        return question(remote, [service.name for service in host.services])

    interrupt = Interrupt()
    with heeding(interrupt):  # until all is said: a lock that is broken must not go untold
        try:
            answers = ask(
                hosts, one, connect=connector.connect, forks=options.forks, stop=lambda: bool(interrupt)
            )
        finally:
            connector.close()
        for line in lines(answers):
            options.say(line)
        return _exit_code([answer for _, answer in answers])


def _exit_code(answers: Sequence[object]) -> ExitCode:
    if any(isinstance(answer, Failed) and answer.failure.cause == INTERRUPTED for answer in answers):
        return ExitCode.INTERRUPTED
    kinds = set(map(type, answers))
    if Failed in kinds:
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if Unreachable in kinds else ExitCode.OK
