"""Fixtures that any test may use."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.hosts.lab import Lab
from tests.hosts.programs import HostsError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from tests.hosts.host import TestHost

LONGEST = ("tests/faults/test_quick.py", "tests/restart/test_unless_stopped.py")
HOST_FIXTURES = {"lab", "fresh_lab"}


class FreshLab(Protocol):
    """Starts a lab for one test."""

    def __call__(self, count: int, *, flavours: Sequence[str] = ("debian12",)) -> Lab: ...


def pytest_configure() -> None:
    """A shell starts what it runs in the background with SIGINT ignored, and our Ctrl-C would be, too.

    So does nohup with SIGHUP.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that none is waited for in the end.

    Refuse a test that starts hosts and does not say so: `-m "not hosts"` must mean what it says.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    unmarked = [
        item.nodeid
        for item in items
        if HOST_FIXTURES.intersection(getattr(item, "fixturenames", ()))
        and item.get_closest_marker("hosts") is None
    ]
    if unmarked:
        raise pytest.UsageError(f"mark with @pytest.mark.hosts: {', '.join(unmarked)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what its hosts wrote to their journals last."""
    del call
    report = yield
    if report.when == "call" and report.failed:
        used = getattr(item, "funcargs", {}).values()
        labs = {lab.name: lab for each in used if isinstance(lab := getattr(each, "lab", each), Lab)}
        for lab in labs.values():
            report.sections += [(f"journal of {host.name}", _journal(host)) for host in lab.hosts]
    return report


def _journal(host: TestHost) -> str:
    try:
        last = ["journalctl", "--no-pager", "--output=short-precise", "--lines=60"]
        return host.nsenter(last, check=False, timeout=10).stdout.decode(errors="replace")
    except (HostsError, OSError, subprocess.TimeoutExpired) as error:
        return str(error)


@pytest.fixture(autouse=True, scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Records and binaries of the tests' runs are none of the developer's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three hosts that all tests of this process share: give what you put on them names of your own."""
    shared = _up(3, ("debian12", "debian13", "debian12"))
    yield shared
    shared.down()


@pytest.fixture
def fresh_lab() -> Iterator[FreshLab]:
    """Hosts that only this test has."""
    started: list[Lab] = []

    def start(count: int, *, flavours: Sequence[str] = ("debian12",)) -> Lab:
        started.append(_up(count, flavours))
        return started[-1]

    yield start
    for each in started:
        each.down()


def _up(count: int, flavours: Sequence[str]) -> Lab:
    try:
        return Lab.up(count, flavours=flavours, owner_pid=os.getpid())
    except HostsError as error:
        # Never a skip: a promise that was not tested must not look kept.
        pytest.fail(str(error), pytrace=False)
