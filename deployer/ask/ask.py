"""Put one question to every host: connect, one exec; and each answer, or why there is none, is a value."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from deployer.desired import ServiceTask
from deployer.errors import HostError
from deployer.outcome import Failed, Failure, Unreachable
from deployer.remote.remote import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.desired import DesiredHost, Play
    from deployer.remote.remote import Remote
    from deployer.target import Target

_T = TypeVar("_T")
_LOST = {"connection_lost", "timed_out"}

NoAnswer = Unreachable | Failed


def hosts_with_services(plays: Sequence[Play]) -> tuple[DesiredHost, ...]:
    """Every host that has a service in one of the plays, once, with each of its services once."""
    found: dict[str, DesiredHost] = {}
    for host in (host for play in plays for host in play.hosts if host.services):
        before = found.get(host.name)
        tasks = (*(before.tasks if before else ()), *host.tasks)
        services = {task.service.name: task for task in tasks if isinstance(task, ServiceTask)}
        found[host.name] = replace(before or host, tasks=tuple(services.values()))
    return tuple(found.values())


def ask(
    hosts: Sequence[DesiredHost],
    question: Callable[[Remote, DesiredHost], _T],
    *,
    connect: Callable[[Target], Remote],
    forks: int,
) -> list[tuple[str, _T | NoAnswer]]:
    """The answers by host, in the order of `hosts`."""

    def one(host: DesiredHost) -> _T | NoAnswer:
        try:
            remote = connect(host.target)
        except HostError as error:
            return Unreachable(failure=_failure(error))
        try:
            with reading("asking the host"):
                return question(remote, host)
        except HostError as error:
            failure = _failure(error)
            if error.cause in _LOST:
                return Unreachable(failure=failure)
            return Failed(failure=failure, needs_person=False)
        finally:
            remote.close()

    pool = ThreadPoolExecutor(max_workers=forks, thread_name_prefix="host")
    try:
        return list(zip((host.name for host in hosts), pool.map(one, hosts), strict=True))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after a Ctrl-C nobody waits


def _failure(error: HostError) -> Failure:
    return Failure(cause=error.cause, message=error.message, hint=error.hint)
