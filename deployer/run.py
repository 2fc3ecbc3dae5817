"""One run, from its options to its exit code: load, begin to connect, and hand over to `execute`."""

from __future__ import annotations

import gc
import getpass
import os
import socket
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployer import init
from deployer.load.beside import begin_to_load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deployer.desired import Play, Service
    from deployer.load import Loaded, LoadOptions
    from deployer.outcome import ExitCode
    from deployer.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run what is loaded."""

    check: bool = False  # only say what would change
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
    began, now = time.monotonic(), datetime.now(UTC)
    loading = begin_to_load(load_options, environ=os.environ, then=_units)
    from deployer.execute import execute  # noqa: PLC0415  meanwhile
    from deployer.outcome import ExitCode  # noqa: PLC0415
    from deployer.remote.ssh import Connector  # noqa: PLC0415

    loaded, units = loading()
    init.know_units(units)
    retry = ""
    if options.retry:
        loaded, retry = _retry(loaded, options.retry, limited=load_options.limit is not None, note=note)
        if not loaded.plays:
            return ExitCode.OK
    if options.rollback:
        plays = (_services_only(play) for play in loaded.plays)
        loaded = replace(loaded, plays=tuple(play for play in plays if play.hosts))
    connector = Connector(ask_passphrase=ask_passphrase)
    connector.prepare([host.target for play in loaded.plays for host in play.hosts])
    connector.begin([host.target for play in loaded.plays[:1] for host in play.hosts[: options.forks]])
    gc.enable()  # cli.main turned it off
    return execute(loaded, options, connector=connector, retry=retry, began=began, now=now, note=note)


def _units(loaded: Loaded) -> dict[Service, str]:
    """The units of all services: rendered where they are loaded, for there Jinja is needed anyway."""
    hosts = (host for play in loaded.plays for host in play.hosts)
    return init.render_units(service for host in hosts for service in host.services)


def _retry(loaded: Loaded, run: str, *, limited: bool, note: Callable[[str], None]) -> tuple[Loaded, str]:
    """Only the hosts that `run` lost, and that run's whole id."""
    from deployer.record.retry import find_run, narrow  # noqa: PLC0415
    from deployer.record.store import Store  # noqa: PLC0415

    lost = find_run(run, str(loaded.playbook.resolve()), Store(os.environ))
    again = narrow(loaded.plays, lost, limited=limited)
    if again.note:
        note(again.note)
    return replace(loaded, plays=again.plays), again.run


def _services_only(play: Play) -> Play:
    """What a rollback is about: no commands, and what fails is not taken to the release it came from."""
    from deployer.desired import ServiceTask  # noqa: PLC0415

    hosts = (
        replace(host, tasks=tuple(t for t in host.tasks if isinstance(t, ServiceTask))) for host in play.hosts
    )
    strategy = play.strategy
    if strategy.on_failure == "rollback":
        strategy = replace(strategy, on_failure="stop")
    return replace(play, hosts=tuple(host for host in hosts if host.tasks), strategy=strategy)


def whoami() -> str:
    """Whoever runs this, as locks and ledgers name them."""
    return f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
