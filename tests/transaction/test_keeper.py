"""The locks of a run are renewed as long as it holds them, whatever other hosts do."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from deployer.errors import HostError
from deployer.transaction.keeper import Keeper
from tests.made import make_owner
from tests.memory import MemoryHost

LONG = 60.0  # seconds; no test waits for so long unless it fails


@dataclass(slots=True)
class Renewals:
    """Counts how often a host was told of its run's life, and what it was told."""

    told: list[tuple[str, ...]] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def host(self, *, hangs: threading.Event | None = None, fails: bool = False) -> MemoryHost:
        def renewed(args: tuple[str, ...]) -> str | Exception:
            with self.news:
                self.told.append(args)
                self.news.notify_all()
            if hangs:
                assert hangs.wait(LONG)
            return HostError("timed_out", "no answer") if fails else "renewed app\n"

        return MemoryHost(says={"renew": renewed})

    def wait_for(self, more: int) -> None:
        """Until so many came in from now on."""
        with self.news:
            wanted = len(self.told) + more
            assert self.news.wait_for(lambda: len(self.told) >= wanted, timeout=LONG), self.told


def keeper(lease: float = 0.03) -> Keeper:
    return Keeper(make_owner(run="r1", lease=lease))


def test_what_is_held_is_renewed_three_times_a_lease() -> None:
    lease, told = 0.9, Renewals()
    kept = keeper(lease)
    kept.hold("web1", told.host(), ("app", "worker"))
    began = time.monotonic()
    with kept.keeping():
        told.wait_for(4)
    took = time.monotonic() - began
    assert 4 * lease / 3 <= took < 4 * lease
    assert set(told.told) == {("r1", "app", "worker")}


def test_a_host_where_nothing_is_locked_is_not_told() -> None:
    told, other = Renewals(), Renewals()
    kept = keeper()
    kept.hold("web1", told.host(), ())
    kept.hold("web2", other.host(), ("app",))
    with kept.keeping():
        other.wait_for(3)
    assert told.told == []


def test_what_was_let_go_of_is_renewed_no_more() -> None:
    told, other = Renewals(), Renewals()
    kept = keeper()
    kept.hold("web1", told.host(), ("app",))
    kept.hold("web2", other.host(), ("app",))
    with kept.keeping():
        told.wait_for(1)
        kept.drop("web1")
        other.wait_for(2)  # one may be under way
        told.told.clear()
        other.wait_for(3)
    assert told.told == []


def test_after_a_reconnect_the_new_connection_is_used() -> None:
    old, new = Renewals(), Renewals()
    kept = keeper()
    kept.hold("web1", old.host(), ("app",))
    with kept.keeping():
        old.wait_for(1)
        kept.hold("web1", new.host(), ("app",))
        new.wait_for(1)
        old.told.clear()
        new.wait_for(3)
    assert old.told == []


def test_a_host_that_does_not_answer_is_told_again() -> None:
    told = Renewals()
    kept = keeper()
    kept.hold("web1", told.host(fails=True), ("app",))
    with kept.keeping():
        told.wait_for(3)


def test_hosts_that_hang_keep_no_other_from_being_told() -> None:
    """A network switch fails, thirty hosts are behind it: the others must not go back because of that."""
    hung, told, end = Renewals(), Renewals(), threading.Event()
    kept = keeper()
    for number in range(30):
        kept.hold(f"hung{number}", hung.host(hangs=end), ("app",))
    try:
        with kept.keeping():
            hung.wait_for(8)
            kept.hold("web1", told.host(), ("app",))
            told.wait_for(3)
            assert len(hung.told) <= 30  # and none is asked twice
    finally:
        end.set()


def test_nothing_is_renewed_when_the_run_is_over() -> None:
    told = Renewals()
    kept = keeper()
    kept.hold("web1", told.host(), ("app",))
    with kept.keeping():
        told.wait_for(1)
    time.sleep(0.1)  # for the one under way
    told.told.clear()
    time.sleep(0.2)  # twenty thirds of a lease
    assert told.told == []
