"""Two runs never work on one service of one host together, and a run that died is in nobody's way."""

from __future__ import annotations

import getpass
import os
import re
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, environ, eventually, main_pid, shell
from tests.e2e.observed import active, exists
from tests.e2e.programs import inventory, sleeper, task
from tests.e2e.still import StillRun, still

if TYPE_CHECKING:
    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts

ME = f"{getpass.getuser()}@{socket.gethostname()}"


def deploy(site: Site, name: str, *, hosts: str = "host1", **keys: Any) -> None:
    """Deploy the first of many releases, which differ in what -e says of `v`."""
    keys = {"environment": {"V": "{{ v }}"}, **keys}
    site.write([task(name, sleeper(site), **keys)], hosts=hosts, vars={"v": 1})
    run = site.run()
    assert (run.code, set(run.outcomes.values())) == (0, {"changed"}), run


def versions(site: Site, name: str) -> dict[str, str]:
    """What the service of each host was started with."""
    return {host.name: environ(host, name)["V"] for host in site.lab.hosts}


def locked(host: TestHost, name: str) -> bool:
    return exists(host, f"/var/lib/deployer/{name}/lock")


def in_flight(host: TestHost, name: str) -> bool:
    return exists(host, f"/var/lib/deployer/{name}/transaction")


def ledger(host: TestHost, name: str) -> list[dict[str, str]]:
    """Its lines, the action as `what`."""
    lines = host.read(f"/var/lib/deployer/{name}/ledger").decode().splitlines()
    return [
        {"what": line.split()[1], **dict(word.split("=", 1) for word in line.split()[2:])} for line in lines
    ]


def id_of(run: LiveRun) -> str:
    return str(run.wait_for("run_started")["run"])


def kill(run: StillRun) -> None:
    """As a laptop dies, not as a run ends."""
    os.kill(run.pid, signal.SIGKILL)
    assert run.end().code == -signal.SIGKILL


def let_end(run: StillRun) -> Run:
    run.go_on()
    return run.end()


# -- a run that lives ----------------------------------------------------------------------------------------


def test_where_one_host_is_locked_nothing_is_switched_on_any(site: Site) -> None:
    name = "lock-held"
    first, second, third = site.lab.hosts
    deploy(site, name, hosts="all")
    before = [(current(host, name), main_pid(host, name)) for host in site.lab.hosts]
    with still(site, "switch.before", "-e", "v=2", "-l", "host2") as one:
        other = site.run("-e", "v=3")

        assert other.code == 5
        assert set(other.outcomes.values()) == {"not_attempted"}
        assert other.named("batch_started") == other.named("release_switched") == []
        assert [(current(host, name), main_pid(host, name)) for host in site.lab.hosts] == before
        assert [locked(host, name) for host in (first, second, third)] == [False, True, False]
        held = other.finished["host2"]
        since = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
        who = rf"{re.escape(ME)} \(run {id_of(one)}, pid {one.pid}\) since {since}"
        assert re.fullmatch(who, held["holder"])
        assert re.fullmatch(rf"{name} is locked by {who}", held["reason"])
        for free in ("host1", "host3"):
            assert (other.finished[free]["reason"], other.finished[free]["holder"]) == (
                f"host2 is locked by {held['holder']}",
                "",
            )
        assert "host2 is locked by" in site.deployer("run", "site.yml", "-e", "v=3").stdout

        ended = let_end(one)
    assert (ended.code, ended.outcomes) == (0, {"host2": "changed"})
    assert versions(site, name) == {"host1": "1", "host2": "2", "host3": "1"}
    assert not any(locked(host, name) for host in site.lab.hosts)
    third_run = site.run("-e", "v=3")
    assert (third_run.code, set(versions(site, name).values())) == (0, {"3"}), third_run


def test_a_check_asks_for_no_lock(site: Site) -> None:
    name = "lock-check"
    deploy(site, name)
    with still(site, "switch.before", "-e", "v=2") as one:
        check = site.run("-e", "v=3", "--check")
        assert (check.code, check.outcomes) == (0, {"host1": "would_change"})
        check = site.run("-e", "v=3", "--check", "--detailed-exitcode")
        assert (check.code, check.outcomes) == (10, {"host1": "would_change"})
        assert let_end(one).code == 0


def test_a_run_can_wait_until_the_other_is_done(site: Site) -> None:
    name = "lock-wait"
    deploy(site, name)
    with still(site, "switch.before", "-e", "v=2") as one:
        tired = site.run("-e", "v=4", "--lock-wait", "3s")
        assert (tired.code, tired.outcomes) == (5, {"host1": "not_attempted"})
        assert len(tired.named("lock_awaited")) == 1

        with LiveRun(site, "-e", "v=3", "--lock-wait", "100s") as other:
            told = other.wait_for("lock_awaited", host="host1")
            assert id_of(one) in told["reason"]
            first = let_end(one)
            second = other.end()
    assert [(run.code, run.outcomes) for run in (first, second)] == [(0, {"host1": "changed"})] * 2
    host = site.lab.hosts[0]
    assert environ(host, name)["V"] == "3"
    # The second looked again after it had waited: it knows what it replaces.
    assert [line["what"] for line in ledger(host, name)] == ["deploy"] * 3
    assert ledger(host, name)[2]["before"] == ledger(host, name)[1]["release"]


def test_runs_that_wait_for_each_other_both_get_there_in_whatever_order_they_go(site: Site) -> None:
    name = "lock-order"
    hosts = site.lab.hosts
    deploy(site, name, hosts="all")
    listed = [
        inventory(
            site.folder / f"order{number}.yml",
            {host.name: {"ansible_host": host.address} for host in order},
            ansible_user="deploy",
            ansible_ssh_private_key_file=str(site.lab.key),
            ansible_ssh_common_args=f"-o UserKnownHostsFile={site.lab.known_hosts}",
        )
        for number, order in enumerate((hosts, hosts[::-1]))
    ]
    for turn in ("a", "b"):
        words = [("-i", where, "-e", f"v={turn}{number}") for number, where in enumerate(listed)]
        with (
            LiveRun(site, *words[0], "--lock-wait", "100s", "-f", "1") as one,
            LiveRun(site, *words[1], "--lock-wait", "100s", "-f", "1") as other,
        ):
            runs = [one.end(seconds=170), other.end(seconds=170)]
        assert [run.code for run in runs] == [0, 0], [run.finished for run in runs]
        assert all(set(run.outcomes.values()) == {"changed"} for run in runs)
        # One after the other on the whole fleet, not host by host.
        assert len(set(versions(site, name).values())) == 1


# -- a run that died -----------------------------------------------------------------------------------------


def test_the_lock_of_a_run_that_died_on_this_machine_is_taken_over_at_once(site: Site) -> None:
    name, host = "lock-dead", site.lab.hosts[0]
    deploy(site, name)
    with still(site, "switch.before", "-e", "v=2", "--deadline", "1h") as dead:
        kill(dead)
    assert locked(host, name)

    after = site.run("-e", "v=3")

    assert (after.code, after.outcomes) == (0, {"host1": "changed"})
    assert environ(host, name)["V"] == "3"
    assert after.named("transaction_resolved") == []  # it had switched nothing


def test_the_lock_of_a_run_that_died_on_another_machine_ends_by_itself(site: Site) -> None:
    name, host = "lock-elsewhere", site.lab.hosts[0]
    deploy(site, name)
    with still(site, "switch.before", "-e", "v=2", "--deadline", "12s") as dead:
        shell(host, 'sed -i "s/ from=[^ ]* / from=b00t-7 /" "/var/lib/deployer/$1/lock"', name)
        kill(dead)

    with LiveRun(site, "-e", "v=3", "--lock-wait", "100s") as after:
        after.wait_for("lock_awaited", host="host1")
        run = after.end()

    assert (run.code, run.outcomes) == (0, {"host1": "changed"})
    assert environ(host, name)["V"] == "3"


def test_a_later_run_finishes_what_a_dead_one_left_open_and_says_so(site: Site) -> None:
    name, host = "lock-open", site.lab.hosts[0]
    deploy(site, name)
    old = current(host, name)
    with still(site, "verify.before", "-e", "v=2", "--deadline", "1h") as dead:
        left, dead_id = current(host, name), id_of(dead)
        kill(dead)
    assert left != old
    assert in_flight(host, name)

    after = site.run("-e", "v=3")

    assert (after.code, after.outcomes) == (0, {"host1": "changed"})
    (said,) = after.named("transaction_resolved")
    assert {key: said[key] for key in ("host", "service", "dead_run", "by", "release", "to", "by_host")} == {
        "host": "host1",
        "service": name,
        "dead_run": dead_id,
        "by": ME,
        "release": left,
        "to": old,
        "by_host": False,
    }
    assert environ(host, name)["V"] == "3"
    assert [(line["what"], line["run"], line.get("found")) for line in ledger(host, name)[1:]] == [
        ("revert", dead_id, "unfinished"),
        ("deploy", after.events[0]["run"], None),
    ]
    assert ledger(host, name)[-1]["before"] == old
    assert (locked(host, name), in_flight(host, name)) == (False, False)


# -- deployer unlock -----------------------------------------------------------------------------------------


def test_unlock_breaks_a_lock_and_the_host_puts_back_what_was_under_way(site: Site) -> None:
    name, host = "lock-break", site.lab.hosts[0]
    deploy(site, name)
    old = current(host, name)
    with still(site, "verify.before", "-e", "v=2", "--deadline", "1h") as one:
        assert environ(host, name)["V"] == "2"
        broken = site.deployer("unlock", "site.yml")
        assert broken.code == 0
        assert broken.stdout.startswith(
            f"host1  {name}  unlocked; it was held by {ME} (run {id_of(one)}, pid "
        )
        # Long before its deadline, and while its run still stands there.
        eventually(lambda: not in_flight(host, name), seconds=60, what="the host's own revert")
        assert current(host, name) == old
        eventually(lambda: environ(host, name)["V"] == "1", what="the old release")
        ended = let_end(one)

    assert (ended.code, ended.outcomes) == (1, {"host1": "reverted"})
    assert ended.finished["host1"]["failure"]["cause"] in {"put_back", "crashed"}
    lines = [(line["what"], line["run"], line["by"], line["outcome"]) for line in ledger(host, name)[1:]]
    assert lines == [("unlock", id_of(one), ME, "ok"), ("revert", id_of(one), "host", "ok")]
    assert ledger(host, name)[1]["held-by"] == ME

    again = site.deployer("unlock", "site.yml")
    assert (again.code, again.stdout) == (0, f"host1  {name}  was not locked\n")
    assert len(ledger(host, name)) == 3


def test_a_run_whose_lock_was_broken_changes_nothing_of_what_another_did(site: Site) -> None:
    name, host = "lock-broken", site.lab.hosts[0]
    deploy(site, name)
    with still(site, "switch.before", "-e", "v=2") as one:
        assert site.deployer("unlock", "site.yml").code == 0
        other = site.run("-e", "v=3")
        assert (other.code, other.outcomes) == (0, {"host1": "changed"})
        pid = main_pid(host, name)
        ended = let_end(one)

    assert (ended.code, ended.outcomes) == (1, {"host1": "failed"})
    failure = ended.finished["host1"]["failure"]
    assert (failure["cause"], failure["service"]) == ("lock_lost", name)
    assert ended.finished["host1"]["needs_person"] is False
    assert (main_pid(host, name), environ(host, name)["V"]) == (pid, "3")
    assert active(host, name) == "active"


def test_unlock_as_json_and_where_a_host_is_down(site: Site) -> None:
    name, away = "lock-json", site.lab.hosts[2]
    deploy(site, name, hosts="host1,host3")
    with still(site, "switch.before", "-e", "v=2", "-l", "host1") as one:
        away.drop_network()
        try:
            broken = site.deployer("unlock", "site.yml", "--json", "-T", "2")
        finally:
            away.restore_network()
        assert broken.code == 3
        mine, other = broken.events
        assert mine.pop("since").endswith("Z")
        assert mine == {
            "version": 1,
            "host": "host1",
            "service": name,
            "unlocked": True,
            "run": id_of(one),
            "by": ME,
        }
        assert other["host"] == "host3"
        assert other["failure"]["cause"] == "timed_out"
        assert let_end(one).code == 1
