"""Commands of one question: load, ask every host of the playbook, show the answers."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from deployer.ask.ask import ask, hosts_with_services
from deployer.ask.ledger import ask_ledger
from deployer.ask.releases import ask_releases
from deployer.ask.unlock import break_locks
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
    answers = _answers(load_options, options, lambda remote, names: ask_ledger(remote, names, count=count))
    return _shown(ledger_lines(answers, json=options.json), answers, options)


def show_releases(load_options: LoadOptions, options: ShowOptions) -> ExitCode:
    """The releases on the hosts' disks, of the playbook's services.  Raises LoadError, as above."""
    answers = _answers(load_options, options, ask_releases)
    return _shown(release_lines(answers, json=options.json), answers, options)


def unlock(load_options: LoadOptions, options: ShowOptions, *, by: str) -> ExitCode:
    """Break the locks of the playbook's services; `by` is written into the ledgers.  Raises LoadError."""
    answers = _answers(load_options, options, lambda remote, names: break_locks(remote, names, by=by))
    return _shown(unlocked_lines(answers, json=options.json), answers, options)


def _answers(
    load_options: LoadOptions, options: ShowOptions, question: Callable[[Remote, Sequence[str]], _T]
) -> list[tuple[str, _T | NoAnswer]]:
    hosts = hosts_with_services(load(load_options, environ=os.environ).plays)
    connector = Connector(ask_passphrase=options.ask_passphrase)
    connector.prepare([host.target for host in hosts])
    gc.enable()  # cli.main turned it off

    def one(remote: Remote, host: DesiredHost) -> _T:
        return question(remote, [service.name for service in host.services])

    try:
        return ask(hosts, one, connect=connector.connect, forks=options.forks)
    finally:
        connector.close()


def _shown(lines: Iterable[str], answers: Sequence[tuple[str, object]], options: ShowOptions) -> ExitCode:
    for line in lines:
        options.say(line)
    kinds = {type(answer) for _, answer in answers}
    if Failed in kinds:
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if Unreachable in kinds else ExitCode.OK
