"""Every host is asked once, and what one says or does not say changes nothing for the others."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer.ask.ask import ask, hosts_with_services
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
