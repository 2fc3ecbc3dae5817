"""Every host is asked once, and what one says or does not say changes nothing for the others."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer.ask.ask import INTERRUPTED, ask, hosts_with_services
from deployer.desired import CommandTask, DesiredHost, Play
from deployer.errors import HostError, UnreachableError
from deployer.outcome import Failed, Failure, Unreachable
from tests.made import make_host, make_service
from tests.memory import MemoryHost

if TYPE_CHECKING:
    from deployer.remote.remote import Remote
    from deployer.target import Target

APP, WORKER = make_service(name="app"), make_service(name="worker")


@dataclass(slots=True)
class Fleet:
    """Hosts in memory, by address; `dead` do not answer."""

    dead: frozenset[str] = frozenset()
    opened: dict[str, MemoryHost] = field(default_factory=dict)

    def connect(self, target: Target) -> Remote:
        if target.address in self.dead:
            raise UnreachableError("timed_out", f"{target.address} did not answer", hint="ping it")
        self.opened[target.address] = MemoryHost()
        return self.opened[target.address]


def name_of(_remote: Remote, host: DesiredHost) -> str:
    return host.name.upper()


def test_answers_come_in_the_order_of_the_inventory() -> None:
    fleet = Fleet()
    first_may_answer = threading.Event()

    def slowly(_remote: Remote, host: DesiredHost) -> str:
        if host.name == "web1":
            assert first_may_answer.wait(10)
        else:
            first_may_answer.set()
        return host.name

    hosts = [make_host("web1", APP), make_host("web2", APP)]
    assert ask(hosts, slowly, connect=fleet.connect, forks=2) == [("web1", "web1"), ("web2", "web2")]
    assert all(remote.closed for remote in fleet.opened.values())


def test_a_host_that_cannot_be_reached_is_a_value() -> None:
    fleet = Fleet(dead=frozenset({"web1"}))
    answers = ask([make_host("web1"), make_host("web2")], name_of, connect=fleet.connect, forks=1)
    failure = Failure(cause="timed_out", message="web1 did not answer", hint="ping it")
    assert answers == [("web1", Unreachable(failure=failure)), ("web2", "WEB2")]


def test_a_host_that_fails_in_the_middle_is_a_value_and_let_go_of() -> None:
    fleet = Fleet()

    def refuse(_remote: Remote, host: DesiredHost) -> str:
        if host.name == "web3":
            return "fine"
        raise HostError("connection_lost" if host.name == "web1" else "not_root", "no")

    hosts = [make_host(name) for name in ("web1", "web2", "web3")]
    answers = dict(ask(hosts, refuse, connect=fleet.connect, forks=3))
    assert answers == {
        "web1": Unreachable(failure=Failure(cause="connection_lost", message="no")),
        "web2": Failed(failure=Failure(cause="not_root", message="no"), needs_person=False),
        "web3": "fine",
    }
    assert all(remote.closed for remote in fleet.opened.values())


def test_what_nobody_expected_of_one_host_takes_no_answer_of_another() -> None:
    def connect(target: Target) -> Remote:
        if target.address == "web1":
            raise RuntimeError("no")
        return fleet.connect(target)

    def fall_over(_remote: Remote, host: DesiredHost) -> str:
        if host.name == "web2":
            raise OSError("no")
        return "fine"

    fleet = Fleet()
    hosts = [make_host(name) for name in ("web1", "web2", "web3")]
    answers = dict(ask(hosts, fall_over, connect=connect, forks=3))
    told = {name: answer.failure for name, answer in answers.items() if isinstance(answer, Failed)}
    assert told == {
        "web1": Failure(cause="internal", message="a bug in deployer: RuntimeError: no"),
        "web2": Failure(cause="internal", message="a bug in deployer: OSError: no"),
    }
    assert answers["web3"] == "fine"
    assert all(remote.closed for remote in fleet.opened.values())


def test_a_reply_that_is_none_is_a_bad_answer() -> None:
    def nothing(_remote: Remote, _host: DesiredHost) -> str:
        raise ValueError("nothing about app")

    ((_, answer),) = ask([make_host("web1")], nothing, connect=Fleet().connect, forks=1)
    assert isinstance(answer, Failed)
    assert answer.failure.cause == "bad_answer"
    assert "nothing about app" in answer.failure.message


def test_after_an_interrupt_those_answers_are_there_that_are_in() -> None:
    in_the_middle, released = threading.Event(), threading.Event()

    def slowly(_remote: Remote, host: DesiredHost) -> str:
        if host.name == "web2":
            in_the_middle.set()
            assert released.wait(10)
        return "fine"

    hosts = [make_host(name) for name in ("web1", "web2", "web3")]
    began = time.monotonic()
    answers = dict(ask(hosts, slowly, connect=Fleet().connect, forks=1, stop=in_the_middle.is_set))
    assert time.monotonic() - began < 5  # it is not waited for
    released.set()
    assert answers.pop("web1") == "fine"
    failures = {name: answer.failure for name, answer in answers.items() if isinstance(answer, Failed)}
    assert {failure.cause for failure in failures.values()} == {INTERRUPTED}
    assert failures["web2"].message == "interrupted before it answered"
    assert failures["web3"].message == "interrupted before it was asked"


def test_a_host_of_several_plays_is_asked_once_for_all_its_services() -> None:
    command = CommandTask(name="date", argv=("date",))
    plays = [
        Play(name="one", hosts=(make_host("web1", APP, commands=(command,)), make_host("web2", APP))),
        Play(name="two", hosts=(make_host("web1", WORKER, APP), make_host("db1", commands=(command,)))),
    ]
    hosts = hosts_with_services(plays)
    found = {host.name: [service.name for service in host.services] for host in hosts}
    assert found == {"web1": ["app", "worker"], "web2": ["app"]}
    assert all(len(host.tasks) == len(host.services) for host in hosts)


def test_nobody_to_ask_is_no_trouble() -> None:
    assert ask([], name_of, connect=Fleet().connect, forks=3) == []
