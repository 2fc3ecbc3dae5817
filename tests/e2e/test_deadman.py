"""A host that hears nothing goes back by itself, an operator's order stands, a slow run is waited for."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, environ, eventually, main_pid, shell, starts_at_boot, unit
from tests.e2e.observed import active, exists
from tests.e2e.programs import script, sleeper, task
from tests.e2e.still import still

if TYPE_CHECKING:
    from tests.e2e.site import Site
    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts

SOON = ("--deadline", "4s")
HOSTS = {"debian12": 0, "debian13": 1}  # in the lab of all tests


def version(name: str, binary: str, **keys: Any) -> dict[str, Any]:
    """A service of which -e says what `v` it is, and how long its trial."""
    check = {"disable": True, "stay_up": "{{ trial }}"}
    return task(name, binary, environment={"V": "{{ v }}"}, healthcheck=check, **keys)


def deploy(site: Site, *tasks: dict[str, Any], hosts: str = "host1") -> None:
    site.write(tasks, hosts=hosts, vars={"v": 1, "trial": "300ms"})
    run = site.run()
    assert (run.code, set(run.outcomes.values())) == (0, {"changed"}), run


def in_flight(host: TestHost, name: str) -> bool:
    return exists(host, f"/var/lib/deployer/{name}/transaction")


def last_line(host: TestHost, name: str) -> list[str]:
    """Of the ledger, without its time."""
    return host.read(f"/var/lib/deployer/{name}/ledger").decode().splitlines()[-1].split()[1:]


def wait_for_revert(host: TestHost, name: str) -> None:
    eventually(lambda: not in_flight(host, name), seconds=60, what="the host's own revert")


def killed_after_the_switch(site: Site, name: str, *args: str) -> str:
    """A run that dies as soon as it has switched; its id."""
    with LiveRun(site, "-e", "v=2", "-e", "trial=100s", *SOON, *args) as run:
        run.wait_for("release_switched", service=name)
        os.kill(run.pid, signal.SIGKILL)
        run_id: str = run.wait_for("run_started")["run"]
        run.end()
    return run_id


@pytest.mark.parametrize("flavour", HOSTS)
def test_a_run_that_stood_still_for_too_long_finds_the_host_back_and_says_so(
    site: Site, flavour: str
) -> None:
    name, host = "deadman-still", site.lab.hosts[HOSTS[flavour]]
    deploy(site, version(name, sleeper(site)), hosts=host.name)
    old = current(host, name)
    with LiveRun(site, "-e", "v=2", "-e", "trial=12s", *SOON) as run:
        switched = run.wait_for("release_switched")["release"]
        os.kill(run.pid, signal.SIGSTOP)
        wait_for_revert(host, name)
        assert current(host, name) == old
        eventually(lambda: environ(host, name)["V"] == "1", what="the old release")
        pid = main_pid(host, name)
        os.kill(run.pid, signal.SIGCONT)
        ended = run.end()
    assert (ended.code, ended.outcomes) == (1, {host.name: "reverted"})
    assert ended.finished[host.name]["failure"]["cause"] in {"put_back", "crashed"}
    assert (current(host, name), main_pid(host, name)) == (old, pid)  # it was not put back a second time
    words = ["revert", f"release={switched}", f"before={old}", f"run={ended.events[0]['run']}", "by=host"]
    assert last_line(host, name) == [*words, "outcome=ok", "found=silence"]

    again = site.run("-e", "v=2")
    assert (again.code, again.outcomes) == (0, {host.name: "changed"})
    assert again.named("transaction_resolved") == []
    assert environ(host, name)["V"] == "2"


def test_a_slow_run_that_lives_is_waited_for(site: Site) -> None:
    """The old process takes three deadlines to stop, and the new one three to prove itself."""
    name, host = "deadman-slow", site.lab.hosts[0]
    stubborn = script(site, "stubborn", "trap '' TERM; while :; do sleep 1; done")
    deploy(site, version(name, stubborn, stop_grace_period="18s"))
    run = site.run("-e", "v=2", "-e", "trial=18s", "--deadline", "6s")
    assert (run.code, run.outcomes) == (0, {"host1": "changed"}), run
    assert last_line(host, name)[0] == "deploy"
    assert environ(host, name)["V"] == "2"
    (release,) = (event["release"] for event in run.named("release_switched"))
    assert current(host, name) == release


def test_a_first_release_whose_run_died_is_stopped_for_good(site: Site) -> None:
    name, host = "deadman-first", site.lab.hosts[0]
    site.write([version(name, sleeper(site))], hosts="host1", vars={"v": 1, "trial": "300ms"})
    run_id = killed_after_the_switch(site, name)
    assert active(host, name) == "active"
    wait_for_revert(host, name)
    assert unit(host, name)["ActiveState"] in {"inactive", "failed"}
    assert not starts_at_boot(host, name)
    words = last_line(host, name)
    assert (words[0], words[2:]) == (
        "stop",
        ["before=-", f"run={run_id}", "by=host", "outcome=ok", "found=silence"],
    )

    again = site.run()
    assert (again.code, again.outcomes) == (0, {"host1": "changed"})
    assert environ(host, name)["V"] == "1"
    assert starts_at_boot(host, name)


@pytest.mark.parametrize("flavour", HOSTS)
def test_a_host_comes_up_whatever_stands_in_place_of_its_files(site: Site, flavour: str) -> None:
    name, host = f"deadman-odd-{flavour}", site.lab.hosts[HOSTS[flavour]]
    deploy(site, version(name, sleeper(site)), hosts=host.name)
    old = current(host, name)
    with LiveRun(site, "-e", "v=2", "-e", "trial=100s") as run:
        run.wait_for("release_switched", service=name)
        shell(
            host,
            'cd "/var/lib/deployer/$1"; for file in ledger lock mutex; do rm "$file"; mkfifo "$file"; done; '
            'rm "/etc/systemd/system/$1.service"; mkfifo "/etc/systemd/system/$1.service"; sync',
            name,
        )
        host.power_cut()
        os.kill(run.pid, signal.SIGKILL)
        run.end()
    host.boot()
    eventually(lambda: active(host, name) == "active", what="the service")
    assert (in_flight(host, name), current(host, name), environ(host, name)["V"]) == (False, old, "1")
    assert last_line(host, name)[0] == "revert"
    assert site.run().outcomes == {host.name: "unchanged"}


# -- an operator's order -------------------------------------------------------------------------------------


def assert_stopped(host: TestHost, name: str, release: str) -> None:
    assert current(host, name) == release
    assert (unit(host, name)["ActiveState"], main_pid(host, name)) == ("inactive", 0)


@pytest.mark.parametrize("who", ["run", "host"])
def test_a_stop_that_was_ordered_in_the_middle_is_heeded(site: Site, who: str) -> None:
    name, host = f"deadman-stop-{who}", site.lab.hosts[0]
    deploy(site, version(name, sleeper(site)))
    old = current(host, name)
    if who == "run":
        with LiveRun(site, "-e", "v=2", "-e", "trial=5s") as run:
            run.wait_for("release_switched")
            shell(host, f"systemctl stop {name}")
            ended = run.end()
        assert (ended.code, ended.outcomes) == (1, {"host1": "reverted"}), ended
    else:
        killed_after_the_switch(site, name)
        shell(host, f"systemctl stop {name}")
        wait_for_revert(host, name)
    assert_stopped(host, name, old)

    host.reboot()
    assert_stopped(host, name, old)
    after = site.run()
    assert (after.code, after.outcomes) == (0, {"host1": "operator_stopped"}), after
    assert_stopped(host, name, old)


# -- two services --------------------------------------------------------------------------------------------


def two(site: Site, name: str) -> tuple[str, str]:
    """Two services of one play, which serve; the second one dies if it is the `bad` version."""
    text = '[ "$V" != bad ] || { sleep 0.2; exit 3; }; exec sleep infinity'
    names = (f"{name}-one", f"{name}-two")
    script(site, "picky", text)
    one = version(names[0], sleeper(site))
    deploy(site, one, version(names[1], "picky"))
    return names


def test_the_service_that_fails_takes_the_other_back_as_well(site: Site) -> None:
    one, other = names = two(site, "deadman-both")
    host = site.lab.hosts[0]
    old = {name: current(host, name) for name in names}
    run = site.run("-e", "v=bad", "-e", "trial=1500ms")
    assert (run.code, run.outcomes) == (1, {"host1": "reverted"}), run
    assert run.finished["host1"]["failure"]["service"] == other
    assert [event["service"] for event in run.named("release_switched")] == [one, other]
    assert [event["service"] for event in run.named("release_reverted")] == [other, one]
    assert {name: current(host, name) for name in names} == old
    assert {environ(host, name)["V"] for name in names} == {"1"}


def test_a_run_that_dies_between_two_services_leaves_both_on_the_old_release(site: Site) -> None:
    one, other = names = two(site, "deadman-between")
    host = site.lab.hosts[0]
    old = {name: current(host, name) for name in names}
    with still(site, "switch.before", "-e", "v=2", *SOON) as run:
        run.go_on()
        run.wait_for("release_switched", service=one)
        run.wait_until_still()
        assert (in_flight(host, one), in_flight(host, other)) == (True, False)
        os.kill(run.pid, signal.SIGKILL)
        run.end()
    wait_for_revert(host, one)
    assert {name: current(host, name) for name in names} == old
    assert {environ(host, name)["V"] for name in names} == {"1"}

    again = site.run("-e", "v=3")
    assert (again.code, again.outcomes) == (0, {"host1": "changed"})
    assert {environ(host, name)["V"] for name in names} == {"3"}


def test_a_run_that_dies_after_both_leaves_both_on_the_old_release(site: Site) -> None:
    _, other = names = two(site, "deadman-after")
    host = site.lab.hosts[0]
    old = {name: current(host, name) for name in names}
    with still(site, "commit.before", "-e", "v=2", *SOON) as run:
        assert all(in_flight(host, name) for name in names)
        assert {environ(host, name)["V"] for name in names} == {"2"}
        os.kill(run.pid, signal.SIGKILL)
        run.end()
    for name in names:
        wait_for_revert(host, name)
    assert {name: current(host, name) for name in names} == old
    assert {environ(host, name)["V"] for name in names} == {"1"}
    assert last_line(host, other)[0] == "revert"
