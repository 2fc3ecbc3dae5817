"""What a deploy over a slow line waits for: round trips, counted at a relay, and execs, counted by sshd."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from deployer.background import begin
from deployer.desired import TcpTest
from deployer.remote.ssh import Connector
from deployer.target import Become, Target
from deployer.verify.early import EarlyAnswers
from tests.e2e.machine import shell, sshd_with
from tests.e2e.observed import Journal
from tests.e2e.programs import inventory, sleeper, task
from tests.e2e.site import Run, Site
from tests.hosts import secure_shell
from tests.hosts.relay import Counts, Relay
from tests.made import make_healthcheck, make_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

SERVICE = "round-trips"
PORT = 20900
DELAY = 0.25  # seconds in each direction: longer than a host needs to answer, or its work would be counted

# What the budgets below are spent on.  The TCP handshake is a round trip, too: the relay's `connections`.
#
#       | goes out                                              | comes back
#   ----|-------------------------------------------------------|------------------------------------------
#     1 | our banner                                            | its banner, its offer for a key exchange
#     2 | our offer, and our half of the key                    | its half, its host key, which is checked
#     3 | service request, public key and signature,            | accepted,
#       |   open a session                                      |   session
#     4 | start a shell, open the health port                   | greeting and window, port
#     5 | the script that looks, GET                            | what it saw, answer; nothing to do: end
#   ----|-------------------------------------------------------|------------------------------------------
#   6-7 | script, .env, unit, 3.3 MB of binary: two windows     | staged
#     8 | the script that switches, to a shell started beside 6 | switched
#     9 | open the health port                                  | port
#    10 | GET                                                   | healthy
#    11 | the script that commits, to the same shell            | committed
CONNECTION = 3
UNCHANGED = 5
CHANGED = 11
WORK = 3  # an upload that takes longer than a round trip is a stream, and counts one for each


SSHD = make_service(healthcheck=make_healthcheck(test=TcpTest(host="127.0.0.1", port=22), timeout=60.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one command cost: at the relay, in the log of sshd, and on the clock."""

    counts: Counts
    execs: int
    seconds: float
    run: Run | None = None

    def __str__(self) -> str:
        trips = self.counts.connections + self.counts.turns
        return f"{trips} round trips, {self.execs} execs, {self.seconds:.2f} s, {self.counts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Far:
    """A host behind a slow line."""

    lab: Lab
    host: TestHost
    relay: Relay
    site: Site
    target: Target
    known_hosts: Path

    def cost(self, command: Callable[[], Run | None]) -> Cost:
        journal, before = Journal.from_now(self.host), self.relay.counts
        began = time.monotonic()
        run = command()
        seconds, counts = time.monotonic() - began, self.relay.counts - before
        shell(self.host, "journalctl --sync")
        execs = sum(line.startswith("Starting session: ") for line in journal.sshd())
        return Cost(counts=counts, execs=execs, seconds=seconds, run=run)

    def ssh(self, *words: str) -> None:
        """OpenSSH's client, as the yardstick."""
        ssh, *options = secure_shell.client(
            address="127.0.0.1", user="deploy", key=self.lab.key, known_hosts=self.known_hosts
        )
        subprocess.run([ssh, "-p", str(self.relay.port), *options, *words], check=True, capture_output=True)

    def scripts(self, *statuses: int) -> None:
        """A connection, and scripts that are no work and end so."""
        connector = Connector(ask_passphrase=lambda _path: None)
        remote = connector.connect(self.target)
        early = EarlyAnswers(remote, [SSHD] if statuses else [], begin)
        for number, status in enumerate(statuses):
            reply = remote.run(f"echo {number}; echo oops >&2; exit {status}", timeout=60)
            assert (reply.status, reply.stdout) == (status, f"{number}\n")
            if number == 0:
                assert early.healthy(SSHD)
        remote.close()
        connector.close()

    def deploy(self, binary: str) -> Run:
        service = self.site.service(SERVICE, binary=binary, port=PORT)
        # No window to stay up: every answer in it would cost a round trip or two more.
        service["service"]["healthcheck"] |= {"stay_up": "0s", "start_interval": "1s", "interval": "1s"}
        self.site.write([service])
        return self.site.run("-i", str(self.site.folder / "hosts.yml"))


@pytest.fixture(scope="module")
def far(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    host, folder = lab.hosts[0], tmp_path_factory.mktemp("far")
    relay = Relay((host.address, 22), delay=DELAY)
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(lab.known_at(host, f"[127.0.0.1]:{relay.port}"))
    inventory(
        folder / "hosts.yml",
        {host.name: {"ansible_host": "127.0.0.1", "ansible_port": relay.port}},
        ansible_user="deploy",
        ansible_ssh_private_key_file=str(lab.key),
        ansible_ssh_common_args=f"-o UserKnownHostsFile={known_hosts}",
    )
    target = Target(
        address="127.0.0.1",
        port=relay.port,
        user="deploy",
        key_file=lab.key,
        become=Become(),
        known_hosts=(known_hosts,),
    )
    with sshd_with(host, "LogLevel VERBOSE"):  # notes every exec
        yield Far(
            lab=lab,
            host=host,
            relay=relay,
            site=Site(folder=folder, lab=lab),
            target=target,
            known_hosts=known_hosts,
        )
    relay.close()


@pytest.fixture(scope="module")
def costs(far: Far) -> dict[str, Cost]:
    """What each command costs, in order: each begins where the one before it has ended."""
    one, two = far.site.binary("1.0.0"), far.site.binary("2.0.0")
    found = {
        "ssh": far.cost(lambda: far.ssh("true")),
        "connection": far.cost(far.scripts),
        "one script": far.cost(lambda: far.scripts(0)),
        "four": far.cost(lambda: far.scripts(0, 0, 0, 0)),
        "the second fails": far.cost(lambda: far.scripts(0, 7, 0, 0)),
        "first": far.cost(lambda: far.deploy(one)),
        "unchanged": far.cost(lambda: far.deploy(one)),
        "changed": far.cost(lambda: far.deploy(two)),
    }
    for name, cost in found.items():
        print(f"{name:>16}: {cost}")  # noqa: T201  to compare, with pytest -s
    return found


@pytest.mark.hosts
def test_a_connection_takes_a_handshake_and_three_round_trips(costs: dict[str, Cost]) -> None:
    cost = costs["connection"]
    assert (cost.counts.connections, cost.execs) == (1, 0)
    assert cost.counts.turns <= CONNECTION


@pytest.mark.hosts
def test_a_script_takes_two_more_and_a_health_test_beside_it_takes_none(costs: dict[str, Cost]) -> None:
    cost = costs["one script"]
    assert (cost.counts.connections, cost.execs) == (1, 1)
    assert cost.counts.turns <= UNCHANGED


@pytest.mark.hosts
def test_a_script_after_another_finds_its_shell_and_takes_one(costs: dict[str, Cost]) -> None:
    assert costs["four"].execs == 1
    assert costs["four"].counts.turns <= UNCHANGED + 1 + 1 + 1


@pytest.mark.hosts
def test_a_script_that_fails_takes_its_shell_with_it(costs: dict[str, Cost]) -> None:
    assert costs["the second fails"].execs == 2
    assert costs["the second fails"].counts.turns <= UNCHANGED + 1 + 3 + 1


@pytest.mark.hosts
def test_a_host_with_nothing_to_do_takes_one_exec_and_is_asked_for_its_health_beside_it(
    costs: dict[str, Cost],
) -> None:
    cost = costs["unchanged"]
    assert cost.run
    assert set(cost.run.outcomes.values()) == {"unchanged"}, cost.run
    assert (cost.counts.connections, cost.execs) == (1, 1)
    assert cost.counts.turns <= UNCHANGED + 1  # the farewell to the health port, if looking takes that long


@pytest.mark.hosts
@pytest.mark.parametrize("which", ["first", "changed"])
def test_a_release_takes_one_more_exec_and_no_round_trip_for_starting_it(
    costs: dict[str, Cost], which: str
) -> None:
    cost = costs[which]
    assert cost.run
    assert set(cost.run.outcomes.values()) == {"changed"}, cost.run
    assert (cost.counts.connections, cost.execs) == (1, 2)
    probes = len(cost.run.named("health_probed"))  # one that came too early is asked again
    assert cost.counts.turns <= CHANGED + WORK + 2 * (probes - 1)


@pytest.mark.hosts
def test_where_sshd_allows_one_session_at_a_time_everything_still_works(site: Site, lab: Lab) -> None:
    with sshd_with(lab.hosts[1], "MaxSessions 1"):
        site.write([task("one-session", sleeper(site))], hosts=lab.hosts[1].name)
        assert site.run().outcomes == {lab.hosts[1].name: "changed"}
        assert site.run().outcomes == {lab.hosts[1].name: "unchanged"}
