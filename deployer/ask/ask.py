"""Put one question to every host: connect, one exec; and each answer, or why there is none, is a value."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from deployer.desired import ServiceTask
from deployer.errors import HostError
from deployer.outcome import Failed, Failure, Unreachable
from deployer.remote.remote import reading
from deployer.visible import all_visible, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from deployer.desired import DesiredHost, Play
    from deployer.remote.remote import Remote
    from deployer.target import Target

_T = TypeVar("_T")
_LOST = {"connection_lost", "timed_out"}
_GLANCE = 0.1  # seconds until `stop` is seen

INTERRUPTED = "interrupted"
"""The cause of a host whose answer was not waited for any more."""

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
    stop: Callable[[], bool] = lambda: False,
) -> list[tuple[str, _T | NoAnswer]]:
    """The answers by host, in the order of `hosts`; once `stop` says so, those that are in.

    Every text in them is short, and harmless in a line of any output.
    """

    def one(host: DesiredHost) -> _T | NoAnswer:
        try:
            remote = connect(host.target)
        except Exception as error:  # noqa: BLE001  one host's trouble, whatever it is, ends no other's answer
            return _no_answer(error, lost=isinstance(error, HostError))
        try:
            with reading("asking the host"):
                return question(remote, host)
        except Exception as error:  # noqa: BLE001  as above
            return _no_answer(error, lost=isinstance(error, HostError) and error.cause in _LOST)
        finally:
            remote.close()

    pool = ThreadPoolExecutor(max_workers=forks, thread_name_prefix="host")
    try:
        asked = [(host.name, pool.submit(one, host)) for host in hosts]
        pending = {future for _, future in asked}
        while pending and not stop():
            _, pending = wait(pending, timeout=_GLANCE)
        return [(name, _so_far(future)) for name, future in asked]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after a Ctrl-C nobody waits


def for_each(services: Sequence[str], found: Mapping[str, _T]) -> tuple[_T, ...]:
    """What was found for each of `services`: a host that passes over one of them has not answered.

    Raises ValueError.
    """
    missing = [service for service in services if service not in found]
    if missing:
        raise ValueError(f"nothing about {', '.join(missing)}")
    return tuple(found[service] for service in services)


def _so_far(future: Future[_T | NoAnswer]) -> _T | NoAnswer:
    """The answer, or that it was not waited for."""
    if future.cancel():
        message, hint = "interrupted before it was asked", ""
    elif future.done():
        return all_visible(future.result(), one_line)
    else:
        message, hint = "interrupted before it answered", "what it was asked for may be done; ask again"
    return Failed(failure=Failure(cause=INTERRUPTED, message=message, hint=hint), needs_person=False)


def _no_answer(error: Exception, *, lost: bool) -> NoAnswer:
    if isinstance(error, HostError):
        failure = Failure(cause=error.cause, message=error.message, hint=error.hint)
    else:
        failure = Failure(cause="internal", message=f"a bug in deployer: {type(error).__name__}: {error}")
    return Unreachable(failure=failure) if lost else Failed(failure=failure, needs_person=False)
