"""Which run --retry means, and which hosts are left of the plays."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from deployer.desired import Play
from deployer.errors import LoadError
from deployer.record.retry import find_run, narrow
from deployer.record.store import Store
from tests.made import make_host
from tests.record.runs import BEGAN, PLAYBOOK, RUN, ended, make_run

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "20261122T113000Z-bbbbbb"
ROLLBACK = "20261122T114000Z-cccccc"
LOST = make_run(
    hosts={
        "web1": ended("changed"),
        "web2": ended("unreachable", "timed_out"),
        "web3": ended("not_attempted"),
        "db1": ended("unchanged"),
    }
)


def play(name: str, *hosts: str) -> Play:
    return Play(name=name, hosts=tuple(make_host(host) for host in hosts))


PLAYS = (play("all", "web1", "web2", "web3", "db1"), play("web", "web2", "web1"), play("db", "db1"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One run of the playbook, then one of another, then a rollback."""
    store = Store({"XDG_STATE_HOME": str(tmp_path)})
    store.write(make_run())
    store.write(make_run(run=OTHER, playbook="/srv/other.yml", began=BEGAN + timedelta(minutes=10)))
    store.write(make_run(run=ROLLBACK, goal="rollback", began=BEGAN + timedelta(minutes=20)))
    return store


def test_last_is_the_newest_run_of_the_same_playbook(store: Store) -> None:
    assert find_run("last", PLAYBOOK, store).run == RUN
    newer = make_run(run="20261122T112500Z-dddddd", began=BEGAN + timedelta(minutes=5))
    store.write(newer)
    assert find_run("last", PLAYBOOK, store) == newer


def test_a_run_may_be_named_by_a_part_of_its_id(store: Store) -> None:
    assert find_run("ab1", PLAYBOOK, store).run == RUN


@pytest.mark.parametrize(
    ("word", "playbook", "said"),
    [
        ("last", "/srv/new.yml", "--retry last: no run of /srv/new.yml is recorded"),
        ("nope", PLAYBOOK, f"--retry: there is no record of a run nope (the newest of this playbook: {RUN})"),
        ("nope", "/srv/new.yml", "no record of a run nope (none of this playbook is recorded)"),
        (OTHER, PLAYBOOK, f"--retry: the run {OTHER} was of /srv/other.yml"),
        (ROLLBACK, PLAYBOOK, f"--retry: {ROLLBACK} was no `deployer run` (rollback)"),
    ],
)
def test_a_run_that_cannot_be_meant_is_refused(store: Store, word: str, playbook: str, said: str) -> None:
    with pytest.raises(LoadError) as error:
        find_run(word, playbook, store)
    assert said in str(error.value)


def test_only_lost_hosts_are_left_and_no_empty_play() -> None:
    retry = narrow(PLAYS, LOST, limited=False)
    left = [(play.name, [host.name for host in play.hosts]) for play in retry.plays]
    assert left == [("all", ["web2", "web3"]), ("web", ["web2"])]
    assert (retry.run, retry.note) == (RUN, "")


def test_a_limit_leaves_fewer_and_says_nothing_of_the_others() -> None:
    retry = narrow((play("all", "web1", "web3"),), LOST, limited=True)
    assert [[host.name for host in play.hosts] for play in retry.plays] == [["web3"]]
    assert retry.note == ""


def test_a_run_that_lost_nobody_leaves_nothing() -> None:
    retry = narrow(PLAYS, make_run(hosts={"web1": ended("changed")}), limited=False)
    assert (retry.plays, retry.note) == ((), f"nothing to retry: every host of run {RUN} is fine")


def test_a_limit_that_leaves_nobody_says_whom_it_leaves_out() -> None:
    retry = narrow((play("all", "web1"),), LOST, limited=True)
    assert retry.plays == ()
    assert "lost only web2, web3, and --limit leaves that out" in retry.note


def test_a_lost_host_that_left_the_inventory_is_named() -> None:
    retry = narrow((play("all", "web1", "web3"),), LOST, limited=False)
    assert [[host.name for host in play.hosts] for play in retry.plays] == [["web3"]]
    assert retry.note == "not retried, for no play has it any more: web2"


def test_if_all_of_them_left_it_is_an_error() -> None:
    with pytest.raises(LoadError, match=r"no play has any of the hosts that run .* lost: web2, web3"):
        narrow((play("all", "web1"),), LOST, limited=False)
