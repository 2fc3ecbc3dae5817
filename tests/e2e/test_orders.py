"""What an operator orders while a host is changed is heard, whenever it comes."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, environ, eventually, main_pid, shell, unit
from tests.e2e.observed import active, exists, runs
from tests.e2e.programs import deploy, script, sleeper, task, version
from tests.e2e.still import HOST_POINT, still

if TYPE_CHECKING:
    from tests.e2e.site import Site

pytestmark = pytest.mark.hosts

HOSTS = {"host1": 0, "host2": 1}  # Debian 12 and 13


# -- an operator's order that comes between look and switch ------------------------------------------------


@pytest.mark.parametrize("where", HOSTS)
def test_a_stop_between_look_and_switch_is_heard(site: Site, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"stopped-before-{where}"
    deploy(site, version(name, sleeper(site)), hosts=where)
    with still(site, "switch.before", "-e", "v=2") as run:
        shell(host, 'systemctl stop "$1"', name)
        run.go_on()
        ended = run.end()
    assert (ended.code, ended.outcomes) == (0, {where: "operator_stopped"})
    assert active(host, name) == "inactive"
    assert exists(host, f"/var/lib/unless-stopped/{name}.service")
    assert b"V=2" in host.read(f"/opt/{name}/current/.env")
    shell(host, 'systemctl start "$1"', name)
    assert environ(host, name)["V"] == "2"


def test_a_start_between_look_and_switch_is_heard(site: Site) -> None:
    host, name = site.lab.hosts[0], "started-before"
    deploy(site, version(name, sleeper(site)))
    shell(host, 'systemctl stop "$1"', name)
    with still(site, "switch.before", "-e", "v=2") as run:
        shell(host, 'systemctl start "$1"', name)
        run.go_on()
        ended = run.end()
    assert (ended.code, ended.outcomes) == (0, {"host1": "changed"})
    assert environ(host, name)["V"] == "2"
    assert runs(host, name) == current(host, name)


SWITCHING = ("switch.locked", "switch.journaled", "switch.installed", "switch.flipped")


@pytest.mark.parametrize("point", SWITCHING)
def test_a_stop_is_heard_until_the_restart_itself(site: Site, point: str) -> None:
    host, name = site.lab.hosts[0], f"stopped-at-{point.rpartition('.')[2]}"
    deploy(site, version(name, sleeper(site)))
    with LiveRun(site, "-e", "v=2", env={"DEPLOYER_FAULT_POINT": point}) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what=point)
        shell(host, 'systemctl stop "$1"; rm "$2"', name, HOST_POINT)
        ended = run.end()
    assert (ended.code, ended.outcomes) == (0, {"host1": "operator_stopped"})
    assert active(host, name) == "inactive"
    assert exists(host, f"/var/lib/unless-stopped/{name}.service")
    shell(host, 'systemctl start "$1"', name)
    assert (environ(host, name)["V"], runs(host, name)) == ("2", current(host, name))


# The stop is ordered, and its hook takes a second before it remembers that.
SLOW_STOP = """
mkdir "/run/systemd/system/$1.service.d"
hook=/usr/local/libexec/unless-stopped
printf '%s\\n' '[Service]' ExecStop= 'ExecStop=/bin/sleep 1' "ExecStop=-+$hook stop %n" \\
  >"/run/systemd/system/$1.service.d/slow.conf"
systemctl daemon-reload
systemctl stop --no-block "$1"
rm -r "$2" "/run/systemd/system/$1.service.d"
"""


@pytest.mark.parametrize("where", HOSTS)
def test_a_stop_that_waits_to_be_carried_out_is_no_less_an_order(site: Site, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"stopping-{where}"
    deploy(site, version(name, sleeper(site)), hosts=where)
    with LiveRun(site, "-e", "v=2", env={"DEPLOYER_FAULT_POINT": "switch.flipped"}) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what="the point")
        shell(host, SLOW_STOP, name, HOST_POINT)
        ended = run.end()
    assert (ended.code, ended.outcomes) == (0, {where: "operator_stopped"})
    assert active(host, name) == "inactive"
    assert exists(host, f"/var/lib/unless-stopped/{name}.service")
    assert b"V=2" in host.read(f"/opt/{name}/current/.env")


def test_a_stop_that_waits_is_heard_on_the_way_back_too(site: Site) -> None:
    host, name = site.lab.hosts[0], "stopping-back"
    check = {"test": ["CMD", "/usr/bin/test", "v{{ v }}", "=", "v1"], "interval": "100ms", "retries": 1}
    deploy(site, task(name, sleeper(site), environment={"V": "{{ v }}"}, healthcheck=check))
    with LiveRun(site, "-e", "v=2", env={"DEPLOYER_FAULT_POINT": "revert.installed"}) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what="the point")
        shell(host, SLOW_STOP, name, HOST_POINT)
        ended = run.end()
    assert (ended.code, ended.outcomes) == (1, {"host1": "reverted"})
    assert active(host, name) == "inactive"
    assert exists(host, f"/var/lib/unless-stopped/{name}.service")
    assert b"V=1" in host.read(f"/opt/{name}/current/.env")


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize("point", ["revert.begun", "revert.flipped", "revert.installed"])
def test_what_is_back_runs_by_its_own_unit_whenever_the_bad_one_crashes(
    site: Site, point: str, where: str
) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"crashing-at-{point.rpartition('.')[2]}-{where}"
    test = ["CMD", "/usr/bin/test", "v{{ v }}", "=", "v1"]
    check = {"test": test, "interval": "100ms", "retries": 1, "start_period": "0s"}
    tell = script(site, name, "echo $V $1 $2 >$STATE_DIRECTORY/said; exec sleep infinity")
    keys = {"command": ["by the unit of", "{{ v }}"], "environment": {"V": "{{ v }}"}}
    deploy(site, task(name, tell, healthcheck=check, **keys), hosts=where)
    with LiveRun(site, "-e", "v=2", env={"DEPLOYER_FAULT_POINT": point}) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what="the point")
        bad = main_pid(host, name)
        shell(host, 'kill -KILL "$1"', str(bad))
        eventually(lambda: main_pid(host, name) not in {0, bad}, what="systemd's own restart")
        shell(host, 'rm "$1"', HOST_POINT)
        ended = run.end()
    assert (ended.code, ended.outcomes) == (1, {where: "reverted"})
    assert shell(host, 'cat "/var/lib/$1/said"', name) == "1 by the unit of 1\n"
    assert (unit(host, name)["NRestarts"], runs(host, name)) == ("0", current(host, name))


def test_a_stop_that_takes_the_place_of_the_restart_on_the_way_back_is_an_order(site: Site) -> None:
    host, name = site.lab.hosts[0], "stopped-meanwhile"
    check = {"test": ["CMD", "/usr/bin/test", "v{{ v }}", "=", "v1"], "interval": "100ms", "retries": 1}
    slow = script(site, name, "trap 'sleep 3; exit 0' TERM; sleep infinity & wait")
    deploy(site, task(name, slow, environment={"V": "{{ v }}"}, healthcheck=check))
    with LiveRun(site, "-e", "v=2", env={"DEPLOYER_FAULT_POINT": "revert.installed"}) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what="the point")
        waits = (
            'rm "$2"; until systemctl list-jobs --plain | grep -q "$1.service *restart"; do sleep 0.1; done'
        )
        shell(host, f'{waits}; systemctl stop "$1"', name, HOST_POINT)
        ended = run.end()
    assert (ended.code, ended.outcomes) == (1, {"host1": "reverted"}), ended.finished
    assert active(host, name) == "inactive"
    assert exists(host, f"/var/lib/unless-stopped/{name}.service")
    assert b"V=1" in host.read(f"/opt/{name}/current/.env")


def test_start_means_start_whatever_waits(site: Site) -> None:
    host, name = site.lab.hosts[0], "stopping-anyway"
    deploy(site, version(name, sleeper(site)))
    with LiveRun(site, "-e", "v=2", "--start", env={"DEPLOYER_FAULT_POINT": "switch.flipped"}) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what="the point")
        shell(host, SLOW_STOP, name, HOST_POINT)
        assert run.end().outcomes == {"host1": "changed"}
    assert environ(host, name)["V"] == "2"


@pytest.mark.parametrize("point", [*SWITCHING, "switch.restarted"])
@pytest.mark.parametrize("good", [True, False])
def test_a_start_is_heard_until_the_commit(site: Site, point: str, good: bool) -> None:  # noqa: FBT001
    host, name = site.lab.hosts[1], f"started-at-{point.rpartition('.')[2]}-{good}".lower()
    deploy(site, version(name, script(site, name, '[ "$V" != bad ] && exec sleep infinity')), hosts="host2")
    shell(host, 'systemctl stop "$1"', name)
    wanted = "2" if good else "bad"
    with LiveRun(site, "-e", f"v={wanted}", env={"DEPLOYER_FAULT_POINT": point}) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what=point)
        shell(host, 'systemctl start "$1"; rm "$2"', name, HOST_POINT)
        ended = run.end()
    assert (ended.code, ended.outcomes) == ((0, {"host2": "changed"}) if good else (1, {"host2": "reverted"}))
    assert (active(host, name), runs(host, name)) == ("active", current(host, name))
    assert environ(host, name)["V"] == ("2" if good else "1")


def test_a_start_on_a_host_that_was_left_alone_goes_back_with_the_rest(site: Site) -> None:
    host, name = site.lab.hosts[0], "started-alone"
    deploy(site, version(name, sleeper(site)))
    before = current(host, name)
    shell(host, 'systemctl stop "$1"', name)
    with still(site, "commit.before", "-e", "v=2", "--deadline", "5s") as run:
        os.kill(run.pid, signal.SIGKILL)
        shell(host, 'systemctl start "$1"', name)
        assert environ(host, name)["V"] == "2"
        eventually(lambda: current(host, name) == before, seconds=40, what="the way back")
        link = 'readlink "/proc/$(systemctl show --value -p MainPID "$1")/cwd"'
        eventually(lambda: before in shell(host, link, name, check=False), seconds=20, what="the old process")
    assert (active(host, name), runs(host, name)) == ("active", before)


def test_start_means_start_whatever_comes_between(site: Site) -> None:
    host, name = site.lab.hosts[0], "start-anyway"
    deploy(site, version(name, sleeper(site)))
    with still(site, "switch.before", "-e", "v=2", "--start") as run:
        shell(host, 'systemctl stop "$1"', name)
        run.go_on()
        assert run.end().outcomes == {"host1": "changed"}
    assert environ(host, name)["V"] == "2"


# The gate of the boot is started with the service, and here it takes a second.  The stop takes $2 seconds
# before its hook remembers it.
SLOW_GATE = """
cd /run/systemd/system && mkdir "unless-stopped@$1.service.d" "$1.service.d"
printf '%s\\n' '[Service]' ExecStartPre='/bin/sleep 1' >"unless-stopped@$1.service.d/slow.conf"
hook=/usr/local/libexec/unless-stopped
printf '%s\\n' '[Service]' ExecStop= "ExecStop=/bin/sleep $2" "ExecStop=-+$hook stop %n" \\
  >"$1.service.d/slow.conf"
systemctl stop "$1" "unless-stopped@$1"
systemctl daemon-reload
systemctl start "$1"
"""


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize("seconds", [0, 3])
def test_a_stop_just_after_the_first_start_is_not_taken_back(site: Site, seconds: int, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"gated-{seconds}-{where}"
    deploy(site, version(name, sleeper(site)), hosts=where)
    shell(host, SLOW_GATE, name, str(seconds))
    shell(host, 'systemctl stop "$1"', name)
    eventually(lambda: active(host, f"unless-stopped@{name}") == "active", what="the gate")
    time.sleep(0.5)
    assert (active(host, name), exists(host, f"/var/lib/unless-stopped/{name}.service")) == ("inactive", True)
    shell(
        host,
        'rm -r "/run/systemd/system/$1.service.d" "/run/systemd/system/unless-stopped@$1.service.d"',
        name,
    )


# -- and one that comes while the release is on trial ------------------------------------------------------


def test_a_stop_on_trial_is_no_crash(site: Site) -> None:
    host, name = site.lab.hosts[0], "stopped-on-trial"
    deploy(site, version(name, sleeper(site)))
    with still(site, "verify.after", "-e", "v=2") as run:
        shell(host, 'systemctl stop "$1"', name)
        run.go_on()
        ended = run.end()
    assert (ended.code, ended.outcomes) == (1, {"host1": "reverted"})
    assert "stopped by its operator" in ended.finished["host1"]["failure"]["message"]
    assert "signal" not in ended.finished["host1"]["failure"]["message"]
    assert active(host, name) == "inactive"


@pytest.mark.parametrize("where", HOSTS)
def test_a_restart_on_trial_takes_no_good_release_back(site: Site, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"restarted-on-trial-{where}"
    deploy(site, version(name, sleeper(site)), hosts=where)
    with still(site, "verify.after", "-e", "v=2") as run:
        before = main_pid(host, name)
        shell(host, 'systemctl restart "$1"', name)
        assert main_pid(host, name) != before
        run.go_on()
        ended = run.end()
    assert (ended.code, ended.outcomes) == (0, {where: "changed"})
    assert environ(host, name)["V"] == "2"


# -- an order of the operator outlives the way back ----------------------------------------------------------


@pytest.mark.parametrize("point", ["verify.before", "verify.after"])
def test_a_first_release_that_its_operator_stopped_stays_stopped(site: Site, point: str) -> None:
    host, name = site.lab.hosts[1], f"stopped-first-{point.rpartition('.')[2]}"
    site.write([version(name, sleeper(site))], hosts="host2", vars={"v": 1, "trial": "300ms"})
    with still(site, point) as run:
        shell(host, 'systemctl stop "$1"', name)
        run.go_on()
        ended = run.end()
    assert ended.code == 1
    assert exists(host, f"/var/lib/unless-stopped/{name}.service")
    again = site.run()
    assert (again.code, again.outcomes) == (0, {"host2": "operator_stopped"})
    assert active(host, name) == "inactive"
    assert site.run("--start").outcomes == {"host2": "changed"}
