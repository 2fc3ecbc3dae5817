"""What was done is known afterwards: to the controller, which tries again what it lost, and to the hosts."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, eventually, releases, shell
from tests.e2e.observed import Journal, active
from tests.e2e.programs import inventory, script, sleeper, task

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

pytestmark = pytest.mark.hosts


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def history(site: Site, *args: str) -> list[dict[str, Any]]:
    """The local records, the newest first."""
    run = site.deployer("history", "site.yml", "--json", *args)
    assert (run.code, run.stderr) == (0, "")
    return [json.loads(line) for line in run.stdout.splitlines()]


def asked(site: Site, *args: str, code: int = 0) -> list[dict[str, Any]]:
    """What hosts answered."""
    run = site.deployer(*args, "--json")
    assert run.code == code, run
    return [json.loads(line) for line in run.stdout.splitlines()]


def worked_on(run: Run) -> set[str]:
    return {record["host"] for record in run.events if "host" in record}


def outcomes(record: dict[str, Any]) -> dict[str, str]:
    return {name: host["outcome"] for name, host in record["hosts"].items()}


def execs(journal: Journal) -> int:
    """How often sudo was used, which is once for each exec."""
    shell(journal.host, "journalctl --sync")
    return sum("COMMAND=" in line for line in journal.of("sudo"))


# -- the controller's records ----------------------------------------------------------------------------


def test_a_retry_touches_only_the_host_that_was_lost(site: Site, lab: Lab) -> None:
    fine, dead = lab.hosts[0], lab.hosts[1]
    site.write([task("history-retry", sleeper(site))], hosts="host1,host2")
    dead.drop_network()
    try:
        lost = site.run("-T", "2")
    finally:
        dead.restore_network()
    assert (lost.code, lost.outcomes) == (3, {"host1": "changed", "host2": "unreachable"})
    (record,) = history(site)
    assert outcomes(record) == lost.outcomes
    assert record["exit_code"] == 3
    assert record["hosts"]["host2"]["cause"] == "timed_out"
    assert record["run"] == lost.named("run_started")[0]["run"]

    on_fine = Journal.from_now(fine)
    again = site.run("--retry", "last")

    assert (again.code, again.outcomes) == (0, {"host2": "changed"})
    assert worked_on(again) == {"host2"}
    assert on_fine.sshd() == []
    assert active(dead, "history-retry") == "active"
    assert [outcomes(record) for record in history(site)] == [{"host2": "changed"}, lost.outcomes]

    third = site.run("--retry", "last")
    assert (third.code, third.stdout) == (0, "")
    assert "nothing to retry" in third.stderr
    # The first run is still there to be meant; what it lost is well by now.
    by_id = site.run("--retry", record["run"].partition("-")[2])
    assert (by_id.code, by_id.outcomes) == (0, {"host2": "unchanged"})


def two_paces(site: Site, lab: Lab, name: str, *, slow: str) -> str:
    """A service that is good after 1.5 s on host1, and after `slow` on host2; the inventory for `-i`."""
    check = {"disable": True, "stay_up": "{{ stay_up }}"}
    site.write([task(name, sleeper(site), healthcheck=check)], hosts="host1,host2")
    return inventory(
        site.folder / "paces.yml",
        {
            "host1": {"ansible_host": lab.hosts[0].address, "stay_up": "1500ms"},
            "host2": {"ansible_host": lab.hosts[1].address, "stay_up": slow},
        },
        ansible_user="deploy",
        ansible_ssh_private_key_file=str(lab.key),
        ansible_ssh_common_args=f"-o UserKnownHostsFile={lab.known_hosts}",
    )


def test_a_killed_run_leaves_a_record_that_can_be_retried(site: Site, lab: Lab) -> None:
    listed = two_paces(site, lab, "history-killed", slow="100s")
    with LiveRun(site, "-i", listed) as run:
        run.wait_for("host_finished", host="host1")
        run.wait_for("release_switched", host="host2")
        eventually(lambda: outcomes(history(site)[0])["host1"] == "changed", what="host1 in the record")
        os.kill(run.pid, signal.SIGKILL)
        assert run.end().code == -signal.SIGKILL

    (record,) = history(site)
    assert outcomes(record) == {"host1": "changed", "host2": "unfinished"}
    assert (record["exit_code"], record["ended"]) == (None, None)
    assert "no end is recorded" in site.deployer("history", "site.yml").stdout

    again = site.run("-i", listed, "--retry", "last", "-e", "stay_up=300ms")

    assert (again.code, worked_on(again)) == (0, {"host2"}), again
    assert active(lab.hosts[1], "history-killed") == "active"


def test_an_interrupted_run_is_recorded_as_it_ended(site: Site, lab: Lab) -> None:
    listed = two_paces(site, lab, "history-stop", slow="1500ms")
    with LiveRun(site, "-i", listed, "--forks", "1") as live:
        first = live.wait_for("release_switched")["host"]
        live.interrupt()
        run = live.end()

    assert run.code == 130
    (record,) = history(site)
    assert record["exit_code"] == 130
    assert (
        outcomes(record)
        == run.outcomes
        == {
            first: "changed",
            ({"host1", "host2"} - {first}).pop(): "not_attempted",
        }
    )


# -- what hosts know -------------------------------------------------------------------------------------


def crashing(site: Site) -> str:
    return script(site, "sleeper", "exit 3")


def test_releases_of_every_host_in_one_exec_each(site: Site, lab: Lab) -> None:
    name = "history-releases"
    first, second = lab.hosts[:2]
    site.write([task(name, sleeper(site))], hosts="host1,host2")
    one = site.run()
    site.write([task(name, sleeper(site), environment={"A": "1"})], hosts="host1,host2")
    two = site.run("-l", "host1")
    crashing(site)
    three = site.run("-l", "host1")
    assert [run.code for run in (one, two, three)] == [0, 0, 1], three

    journals = [Journal.from_now(host) for host in (first, second)]
    found = asked(site, "releases", "site.yml")

    assert [execs(journal) for journal in journals] == [1, 1]
    told = [(item["host"], item["current"], item["state"], item["run"]) for item in found]
    ids = [run.named("run_started")[0]["run"] for run in (one, two, three)]
    assert told == [
        ("host1", False, "failed", ids[2]),
        ("host1", True, "good", ids[1]),
        ("host1", False, "good", ids[0]),
        ("host2", True, "good", ids[0]),
    ]
    assert {item["service"] for item in found} == {name}
    on_first = [item["release"] for item in found if item["host"] == "host1"]
    assert on_first == releases(first, name)[::-1]
    assert found[1]["release"] == current(first, name)
    size = shell(first, 'stat -L -c %s "/opt/$1/current/sleeper"', name)
    assert found[1]["size"] == int(size)
    assert "@" in found[1]["by"]
    shown = site.deployer("releases", "site.yml").stdout
    assert f"host1  {name}" in shown
    assert f"  *  {found[1]['release']}  good " in shown

    # The hosts wrote down the same story.
    lines = [
        (item["host"], item["action"], item["outcome"], item["release"], item["before"], item["run"])
        for item in asked(site, "history", "site.yml", "--on-host")
    ]
    r1, r2, r3 = releases(first, name)
    assert lines == [
        ("host1", "deploy", "ok", r1, "-", ids[0]),
        ("host1", "deploy", "ok", r2, r1, ids[1]),
        ("host1", "revert", "ok", r3, r2, ids[2]),
        ("host2", "deploy", "ok", releases(second, name)[0], "-", ids[0]),
    ]


def test_a_host_without_the_service_has_no_release(site: Site) -> None:
    site.write([task("history-none", sleeper(site))], hosts="host1")
    run = site.deployer("releases", "site.yml")
    assert (run.code, run.stdout) == (0, "host1  history-none  no release\n")
    run = site.deployer("history", "site.yml", "--on-host")
    assert (run.code, run.stdout) == (0, "host1  history-none  nothing is written down\n")


def write_down(host: TestHost, service: str, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    shell(
        host,
        'mkdir -p "/var/lib/deployer/$1" && printf %s "$2" >>"/var/lib/deployer/$1/ledger"',
        service,
        text,
    )


def test_the_ledgers_of_all_hosts_and_the_one_that_is_down(site: Site, lab: Lab) -> None:
    name, (first, second, third) = "history-ledger", lab.hosts
    site.write([task(name, sleeper(site)), task("history-empty", sleeper(site))])
    lines = [
        f"2026-11-22T11:2{n}:00Z deploy release=R{n} before=- by=anna@laptop outcome=ok" for n in range(3)
    ]
    write_down(first, name, *lines)
    write_down(
        second, name, "2026-11-22T11:30:00Z revert release=R1 before=R0 by=host outcome=ok found=switched"
    )
    third.drop_network()
    journal = Journal.from_now(first)
    try:
        found = asked(site, "history", "site.yml", "--on-host", "-n", "2", "-T", "2", code=3)
        text = site.deployer("history", "site.yml", "--on-host", "-T", "2", "-l", "host2,host3")
    finally:
        third.restore_network()

    assert execs(journal) == 1
    assert [(item["host"], item.get("action"), item.get("release")) for item in found] == [
        ("host1", "deploy", "R1"),
        ("host1", "deploy", "R2"),
        ("host2", "revert", "R1"),
        ("host3", None, None),
    ]
    assert (found[2]["by"], found[2]["found"]) == ("host", "switched")
    assert found[3]["failure"]["cause"] == "timed_out"
    assert text.code == 3
    assert text.stdout.splitlines()[:3] == [
        f"host2  {name}",
        "  2026-11-22T11:30:00Z  revert  ok  R1 (before: R0)  host  found=switched",
        "host2  history-empty  nothing is written down",
    ]
    assert "host3  unreachable: " in text.stdout


def test_without_root_a_host_cannot_say(site: Site, lab: Lab) -> None:
    site.write([task("history-root", sleeper(site))], hosts="host1", become=False)
    listed = inventory(
        site.folder / "plain.yml",
        {"host1": {"ansible_host": lab.hosts[0].address}},
        ansible_user="deploy",
        ansible_ssh_private_key_file=str(lab.key),
        ansible_ssh_common_args=f"-o UserKnownHostsFile={lab.known_hosts}",
    )
    for words in (["releases", "site.yml"], ["history", "site.yml", "--on-host"]):
        run = site.deployer(*words, "-i", listed)
        assert run.code == 1
        assert run.stdout == ("host1  failed: this needs root: set become: true, or connect as root\n")
