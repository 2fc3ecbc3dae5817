"""A rollback brings a whole release back that hosts have, by the same gates and checks as a deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, environ, inode, main_pid, releases, shell, starts_at_boot, unit
from tests.e2e.programs import script, task

if TYPE_CHECKING:
    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts


def deploy(site: Site, name: str, version: str, *, hosts: str = "host1", **keys: Any) -> str:
    """Deploy a release that differs from all others in binary, .env and unit; its name on host1.

    It lives as long as there is the file that its environment names.
    """
    script(site, "needy", f'# {version}\nwhile [ -e "$NEEDS" ]; do sleep 0.1; done; exit 3')
    (site.folder / ".env").write_text(f"V={version}\n")
    keys = {"environment": {"NEEDS": f"/srv/{name}-{version}"}, "stop_grace_period": f"{version}s", **keys}
    check = {"disable": True, "stay_up": "700ms"}
    play = {"serial": keys.pop("serial")} if "serial" in keys else {}
    site.write([task(name, "needy", env_file=".env", healthcheck=check, **keys)], hosts=hosts, **play)
    for host in site.lab.hosts:
        shell(host, 'touch "$1"', f"/srv/{name}-{version}")
    run = site.run()
    assert (run.code, set(run.outcomes.values())) == (0, {"changed"}), run
    return current(site.lab.hosts[0], name)


def break_release(host: TestHost, name: str, version: str) -> None:
    """From now on that version cannot live there."""
    shell(host, 'rm "$1"', f"/srv/{name}-{version}")


def rollback(site: Site, *args: str, **kwargs: Any) -> Run:
    return site.deployer("rollback", "site.yml", "--json", *args, **kwargs)


def assert_serves(host: TestHost, name: str, release: str, version: str) -> None:
    """Everything that the host shows is of that release."""
    folder = f"/opt/{name}/releases/{release}"
    assert current(host, name) == release
    assert host.read(f"/etc/systemd/system/{name}.service") == host.read(f"{folder}/{name}.service")
    state = unit(host, name)
    assert (state["ActiveState"], state["NRestarts"], state["NeedDaemonReload"]) == ("active", "0", "no")
    assert environ(host, name)["V"] == version
    assert f"# {version}\n".encode() in host.read(f"{folder}/needy")
    assert f"\nTimeoutStopSec={version}000ms\n".encode() in host.read(f"/etc/systemd/system/{name}.service")
    assert starts_at_boot(host, name)


def ledger(host: TestHost, name: str) -> list[str]:
    """Its lines, as ACTION RELEASE BEFORE OUTCOME."""
    lines = host.read(f"/var/lib/deployer/{name}/ledger").decode().splitlines()
    found = []
    for line in lines:
        words = dict(word.split("=") for word in line.split()[2:])
        found.append(f"{line.split()[1]} {words['release']} {words['before']} {words['outcome']}")
    return found


def marks(site: Site) -> dict[str, str]:
    """What `deployer releases` says of each release of host1; * is the current one."""
    run = site.deployer("releases", "site.yml", "--json", "-l", "host1")
    assert run.code == 0
    return {item["release"]: f"{item['state']}{'*' * item['current']}" for item in run.events}


# -- where it goes -------------------------------------------------------------------------------------------


def test_it_brings_back_all_of_the_release_before_and_sends_nothing(site: Site) -> None:
    name, hosts = "back-whole", site.lab.hosts
    old = deploy(site, name, "1", hosts="all")
    before = {host.name: releases(host, name) for host in hosts}
    new = deploy(site, name, "2", hosts="all")
    assert old != new
    for path in ("needy", ".env"):  # as after a clean checkout, on the morning after
        (site.folder / path).unlink()

    check = rollback(site, "--check", "--detailed-exitcode")
    assert (check.code, set(check.outcomes.values())) == (10, {"would_change"})
    planned = {event["host"]: event["changes"] for event in check.named("host_planned")}
    assert planned["host1"] == [f"{name}: {new} -> {old}"]
    assert_serves(hosts[0], name, new, "2")
    shown = {host.name: releases(host, name) for host in hosts}

    run = rollback(site)

    assert (run.code, set(run.outcomes.values())) == (0, {"rolled_back"}), run
    assert run.named("run_started")[0]["goal"] == "rollback"
    assert run.named("release_staged") == run.named("upload_progressed") == []
    assert "stage" not in {event["stage"] for event in run.named("stage_started")}
    assert {host.name: releases(host, name) for host in hosts} == shown
    for host in hosts:
        (first,) = before[host.name]
        assert_serves(host, name, first, "1")
        assert ledger(host, name)[-1] == f"rollback {first} {(set(shown[host.name]) - {first}).pop()} ok"
    assert marks(site) == {old: "good*", new: "good"}


def test_twice_in_a_row_it_goes_further_back_until_there_is_nothing(site: Site) -> None:
    name, host = "back-twice", site.lab.hosts[0]
    first, second, third = (deploy(site, name, version) for version in "123")
    for release, version in ((second, "2"), (first, "1")):
        run = rollback(site)
        assert (run.code, run.outcomes) == (0, {"host1": "rolled_back"}), run
        assert_serves(host, name, release, version)
    assert marks(site) == {first: "good*", second: "good", third: "good"}

    pid, lines = main_pid(host, name), ledger(host, name)
    run = rollback(site)
    assert (run.code, run.outcomes) == (1, {"host1": "failed"})
    failure = run.finished["host1"]["failure"]
    assert failure["cause"] == "no_release"
    assert failure["message"] == "there is no earlier good release on this host"
    assert run.finished["host1"]["needs_person"] is False
    assert (main_pid(host, name), ledger(host, name)) == (pid, lines)


def test_after_a_new_deploy_it_goes_to_what_was_current_and_not_to_what_was_left(site: Site) -> None:
    name, host = "back-left", site.lab.hosts[0]
    first = deploy(site, name, "1")
    deploy(site, name, "2")
    assert rollback(site).code == 0
    deploy(site, name, "3")
    run = rollback(site)
    assert (run.code, run.outcomes) == (0, {"host1": "rolled_back"}), run
    assert_serves(host, name, first, "1")


def test_it_goes_where_it_is_told_to_and_only_to_what_was_good(site: Site) -> None:
    name, host = "back-to", site.lab.hosts[0]
    first, second, third = (deploy(site, name, version) for version in "123")
    run = rollback(site, "--to", first)
    assert (run.code, run.outcomes) == (0, {"host1": "rolled_back"}), run
    assert_serves(host, name, first, "1")
    run = rollback(site, "--to", third)  # which is forward, and as good as any
    assert (run.code, run.outcomes) == (0, {"host1": "rolled_back"}), run
    assert_serves(host, name, third, "3")
    pid, lines = main_pid(host, name), ledger(host, name)
    run = rollback(site, "--to", third)
    assert (run.code, run.outcomes) == (0, {"host1": "unchanged"}), run

    break_release(host, name, "2")
    site.write([task(name, "needy", environment={"NEEDS": f"/srv/{name}-2"})], hosts="host1")
    assert site.run().code == 1
    bad = releases(host, name)[-1]
    assert marks(site) == {first: "good", second: "good", third: "good*", bad: "failed"}
    pid, lines = main_pid(host, name), ledger(host, name)
    for to, cause, message in (
        (bad, "bad_release", f"the release {bad} failed on this host"),
        ("20200101T000000Z-0123456789ab", "no_release", "is not on this host"),
    ):
        run = rollback(site, "--to", to)
        assert (run.code, run.outcomes) == (1, {"host1": "failed"}), run
        failure = run.finished["host1"]["failure"]
        assert failure["cause"] == cause
        assert message in failure["message"]
    assert (main_pid(host, name), ledger(host, name)) == (pid, lines)
    assert_serves(host, name, third, "3")


# -- how it goes ---------------------------------------------------------------------------------------------


def test_what_does_not_get_well_again_is_not_gone_back_to(site: Site) -> None:
    name, host = "back-sick", site.lab.hosts[0]
    old = deploy(site, name, "1")
    new = deploy(site, name, "2")
    break_release(host, name, "1")

    run = rollback(site)

    assert (run.code, run.outcomes) == (1, {"host1": "reverted"}), run
    failure = run.finished["host1"]["failure"]
    assert (failure["cause"], failure["service"]) == ("crashed", name)
    assert "status 3" in failure["evidence"]["state"]
    assert_serves(host, name, new, "2")
    assert marks(site) == {old: "failed", new: "good*"}
    again = rollback(site)
    assert (again.code, again.finished["host1"]["failure"]["cause"]) == (1, "no_release")


def test_a_canary_that_fails_keeps_the_others_where_they_are(site: Site) -> None:
    name, hosts = "back-canary", site.lab.hosts
    deploy(site, name, "1", hosts="all", serial=[1, "100%"])
    new = deploy(site, name, "2", hosts="all", serial=[1, "100%"])
    pids = [main_pid(host, name) for host in hosts[1:]]
    break_release(hosts[0], name, "1")
    run = rollback(site)
    assert run.code == 1
    assert run.outcomes == {"host1": "reverted", "host2": "not_attempted", "host3": "not_attempted"}
    assert [main_pid(host, name) for host in hosts[1:]] == pids
    assert_serves(hosts[0], name, new, "2")
    # Where it is known to be bad it is not tried again, and that is found before any host is switched.
    run = rollback(site)
    assert run.code == 1
    assert run.outcomes == {"host1": "failed", "host2": "not_attempted", "host3": "not_attempted"}
    assert run.named("release_switched") == []


def test_hosts_that_differ_in_the_end_are_4_and_hosts_that_are_away_3(site: Site) -> None:
    name, (first, second, third) = "back-codes", site.lab.hosts
    deploy(site, name, "1", hosts="all", serial=1)
    deploy(site, name, "2", hosts="all", serial=1)
    break_release(second, name, "1")
    third.drop_network()
    try:
        run = rollback(site, "-T", "2")
        assert run.code == 4
        assert run.outcomes == {"host1": "rolled_back", "host2": "reverted", "host3": "unreachable"}
        run = rollback(site, "-T", "2", "--to", current(first, name), "-l", "host1,host3")
    finally:
        third.restore_network()
    assert run.code == 3
    assert run.outcomes == {"host1": "unchanged", "host3": "unreachable"}


def test_another_run_that_works_there_is_not_disturbed(site: Site) -> None:
    name, host = "back-locked", site.lab.hosts[0]
    deploy(site, name, "1")
    deploy(site, name, "2")
    # Not for a time that a busy machine may need for the other run: it works there until it is let go.
    waits = {"test": ["CMD", "test", "-e", f"/srv/{name}-go"], "start_period": "300s", "stay_up": "0s"}
    keys = {"environment": {"NEEDS": f"/srv/{name}-1", "NEW": "1"}, "healthcheck": waits}
    site.write([task(name, "needy", env_file=".env", **keys)], hosts="host1")
    with LiveRun(site) as live:
        live.wait_for("release_switched")
        locked = rollback(site)
        assert (locked.code, locked.outcomes) == (5, {"host1": "not_attempted"})
        shell(host, f"touch /srv/{name}-go")
        ended = live.end()
    assert (ended.code, ended.outcomes) == (0, {"host1": "changed"})
    assert environ(host, name)["NEW"] == "1"


# -- services that their operator stopped --------------------------------------------------------------------


def test_a_service_that_was_stopped_goes_back_and_stays_stopped(site: Site) -> None:
    name, host = "back-stopped", site.lab.hosts[0]
    first = deploy(site, name, "1")
    second = deploy(site, name, "2")
    shell(host, f"systemctl stop {name}")
    run = rollback(site)
    assert (run.code, run.outcomes) == (0, {"host1": "operator_stopped"}), run
    assert (current(host, name), main_pid(host, name)) == (first, 0)
    assert unit(host, name)["ActiveState"] == "inactive"
    host.reboot()
    assert (current(host, name), main_pid(host, name)) == (first, 0)

    run = rollback(site, "--to", second, "--start")
    assert (run.code, run.outcomes) == (0, {"host1": "rolled_back"}), run
    assert_serves(host, name, second, "2")


def test_a_run_starts_a_stopped_service_only_if_it_is_told_to(site: Site) -> None:
    name, host = "back-start", site.lab.hosts[0]
    deploy(site, name, "1")
    shell(host, f"systemctl stop {name}")
    binary = inode(host, f"/opt/{name}/current/needy")
    for _ in range(2):
        run = site.run()
        assert (run.code, run.outcomes) == (0, {"host1": "operator_stopped"}), run
        assert (main_pid(host, name), unit(host, name)["ActiveState"]) == (0, "inactive")
    check = site.run("--check", "--start")
    assert check.outcomes == {"host1": "would_change"}
    run = site.run("--start")
    assert (run.code, run.outcomes) == (0, {"host1": "changed"}), run
    assert unit(host, name)["ActiveState"] == "active"
    assert inode(host, f"/opt/{name}/current/needy") == binary  # it was only started
    run = site.run()
    assert (run.code, run.outcomes) == (0, {"host1": "unchanged"}), run
