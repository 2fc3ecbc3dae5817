"""The way back depends on nothing that it undoes, and on nobody who is in its way."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, environ, eventually, shell, unit
from tests.e2e.observed import active, exists, runs
from tests.e2e.programs import LISTENER, deploy, listening, script, sleeper, version
from tests.e2e.still import HOST_POINT, still

if TYPE_CHECKING:
    from tests.e2e.site import Site
    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts

HOSTS = {"host1": 0, "host2": 1}  # Debian 12 and 13


@pytest.mark.parametrize("where", HOSTS)
def test_a_unit_that_systemd_cannot_read_is_replaced(site: Site, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"unreadable-{where}"
    deploy(site, version(name, sleeper(site)), hosts=where)
    shell(
        host,
        'head -c 2000 /dev/urandom >"/etc/systemd/system/$1.service"; systemctl daemon-reload',
        name,
    )
    assert site.run().outcomes == {where: "changed"}
    assert site.run().outcomes == {where: "unchanged"}
    assert unit(host, name)["ActiveState"] == "active"


def test_a_unit_that_is_broken_while_its_release_is_on_trial_is_undone(site: Site) -> None:
    host, name = site.lab.hosts[0], "broken-on-trial"
    deploy(site, version(name, sleeper(site)))
    first = current(host, name)
    with still(site, "verify.after", "-e", "v=2") as run:
        shell(host, 'echo "[Install" >"/etc/systemd/system/$1.service"; systemctl daemon-reload', name)
        run.go_on()
        ended = run.end()
    assert (ended.code, ended.outcomes) == (1, {"host1": "reverted"})
    assert runs(host, name) == current(host, name) == first
    assert site.run().outcomes == {"host1": "unchanged"}


# The process of $1 takes two seconds to be executed, and meanwhile $2 is done to its unit file.
TAKEN_AWAY = """
printf '%s\\n' 'account required pam_exec.so /bin/sleep 2' 'session required pam_permit.so' >/etc/pam.d/slowly
mkdir "/run/systemd/system/$1.service.d"
printf '%s\\n' '[Service]' PAMName=slowly >"/run/systemd/system/$1.service.d/slowly.conf"
systemctl daemon-reload
rm "$3"
until systemctl show -p SubState "$1" | grep -qx SubState=start; do sleep 0.1; done
unit=/etc/systemd/system/$1.service
case $2 in
  delete) rm "$unit" ;;
  mask) ln -sfn /dev/null "$unit" ;;
  break) echo '[Install' >"$unit" ;;
esac
rm -r "/run/systemd/system/$1.service.d"
systemctl daemon-reload
"""


@pytest.mark.parametrize(("what", "where"), [("delete", "host1"), ("break", "host2")])
def test_a_unit_that_is_taken_away_while_it_is_started_is_put_back(site: Site, what: str, where: str) -> None:
    """systemd forgets that it waits for execve(2): 90 s later it would kill what serves."""
    host, name, port = site.lab.hosts[HOSTS[where]], f"away-{what}", 25417
    listens = script(site, name, LISTENER, shell="/usr/bin/perl")  # noqa: S604  no shell is called
    job = listening(name, listens, port)
    job["service"]["environment"]["V"] = "{{ v }}"
    deploy(site, job, hosts=where)
    first = current(host, name)
    with LiveRun(site, "-e", "v=2", env={"DEPLOYER_FAULT_POINT": "switch.flipped"}) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what="the point")
        began = time.monotonic()
        shell(host, TAKEN_AWAY, name, what, HOST_POINT)
        ended = run.end()
    assert (ended.code, ended.outcomes) == (1, {where: "reverted"}), ended.finished
    assert time.monotonic() - began < 60
    failure = ended.finished[where]["failure"]
    assert "was taken away while it was started" in failure["message"]
    assert not failure["evidence"]["port"]  # it is its own, although it never became active
    assert runs(host, name) == current(host, name) == first
    assert site.run().outcomes == {where: "unchanged"}


@pytest.mark.parametrize(("what", "where"), [("delete", "host1"), ("mask", "host2")])
def test_a_unit_that_is_taken_away_while_it_is_started_keeps_no_other_run_waiting(
    site: Site, what: str, where: str
) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"away-alone-{what}"
    deploy(site, version(name, sleeper(site)), hosts=where)
    point = {"DEPLOYER_FAULT_POINT": "switch.flipped"}
    with LiveRun(site, "-e", "v=2", "--deadline", "4s", env=point) as run:
        eventually(lambda: exists(host, HOST_POINT), seconds=60, what="the point")
        os.kill(run.pid, signal.SIGKILL)
        shell(host, TAKEN_AWAY, name, what, HOST_POINT)
        run.end()
    while (again := site.run("-e", "v=2")).code == 5:  # until the lease of the dead run is over
        time.sleep(0.3)
    assert (again.code, again.outcomes) == (0, {where: "changed"}), again
    assert (environ(host, name)["V"], runs(host, name)) == ("2", current(host, name))


def test_a_service_that_takes_long_to_stop_is_waited_for(site: Site) -> None:
    host, name = site.lab.hosts[1], "takes-its-time"
    slow = script(site, name, "trap 'sleep 17; exit' TERM; sleep infinity & wait")
    deploy(site, version(name, slow, stop_grace_period="40s"), hosts="host2")
    run = site.run("-e", "v=2")
    assert (run.code, run.outcomes) == (0, {"host2": "changed"}), run
    assert (environ(host, name)["V"], unit(host, name)["NRestarts"]) == ("2", "0")
    shell(host, 'systemctl kill -s KILL "$1"', name)


# What somebody puts in place of a file that the way back reads or writes; $1 is the service.
IN_PLACE_OF_FILES = {
    "unit": 'at=/etc/systemd/system/$1.service; rm "$at"; mkfifo "$at"',
    "unit-link": 'at=/etc/systemd/system/$1.service; mkdir "/srv/$1"; rm "$at"; ln -s "/srv/$1" "$at"',
    "kept-unit": 'at=/etc/systemd/system/$1.service.before; rm -f "$at"; mkfifo "$at"; '
    'echo >>"/etc/systemd/system/$1.service"',
    "new-unit": 'mkdir "/etc/systemd/system/$1.service.new"; echo >>"/etc/systemd/system/$1.service"',
    "ledger": 'at=/var/lib/deployer/$1/ledger; mv "$at" "$at.old"; mkfifo "$at"',
    "lock": 'at=/var/lib/deployer/$1/lock; rm "$at"; mkfifo "$at"',
    "mutex": 'at=/var/lib/deployer/$1/mutex; rm "$at"; mkdir "$at"',
    "current": 'cd "/opt/$1"; to=$(readlink -f current); rm current; cp -a "$to" current',
    "arm": "at=/etc/systemd/system/basic.target.wants/deployer-revert.service; "
    'to=$(readlink -f "$at"); rm "$at"; cp "$to" "$at"',
    "boot": "cd /etc/systemd/system/multi-user.target.wants; at=unless-stopped@$1.service; "
    'to=$(readlink -f "$at"); rm "$at"; cp "$to" "$at"; echo >>"/etc/systemd/system/$1.service"',
    "link": 'cd "/opt/$1"; rm .current.before; mkdir -p .current.before/x; rm current; mkfifo current',
}


def is_over(host: TestHost, name: str) -> bool:
    return not exists(host, f"/var/lib/deployer/{name}/transaction")


@pytest.mark.parametrize("who", ["run", "host"])
def test_nothing_that_stands_in_place_of_a_file_stops_the_way_back(site: Site, who: str) -> None:
    host = site.lab.hosts[0]
    places = {f"odd-{what}-{who}": commands for what, commands in IN_PLACE_OF_FILES.items()}
    deploy(site, *(version(name, sleeper(site)) for name in places))
    first = {name: current(host, name) for name in places}
    with still(site, "commit.before", "-e", "v=2", "--deadline", "4s") as run:
        for name, commands in places.items():
            shell(host, commands, name)
        if who == "host":
            os.kill(run.pid, signal.SIGKILL)
            run.end()
        else:
            run.go_on()
            ended = run.end()
            assert (ended.code, ended.outcomes) == (1, {"host1": "reverted"}), ended.finished
    for name in places:
        eventually(partial(is_over, host, name), seconds=60, what=f"the way back of {name}")
        assert runs(host, name) == current(host, name) == first[name]
        assert environ(host, name)["V"] == "1"
    assert set(site.run().outcomes.values()) <= {"changed", "unchanged"}
    assert site.run().outcomes == {"host1": "unchanged"}


@pytest.mark.parametrize("who", ["run", "host"])
def test_a_link_for_the_boot_that_cannot_be_made_keeps_nothing_from_coming_back(site: Site, who: str) -> None:
    """As on a disk without inodes; the new release has a policy that needs no link, so it is gone."""
    host, name = site.lab.hosts[0], f"unlinked-{who}"
    task_of = version(name, sleeper(site))
    deploy(site, task_of)
    first = current(host, name)
    task_of["service"]["restart"] = "no"
    site.write([task_of], hosts="host1", vars={"v": 1, "trial": "300ms"})
    wants = "/etc/systemd/system/multi-user.target.wants"
    with still(site, "commit.before", "-e", "v=2", "--deadline", "4s") as run:
        shell(host, 'mv "$1" "$1.away"; touch "$1"', wants)
        try:
            if who == "host":
                os.kill(run.pid, signal.SIGKILL)
                run.end()
            else:
                shell(host, 'systemctl kill -s KILL "$1"', name)
                run.go_on()
                ended = run.end()
                assert (ended.code, ended.outcomes) == (4, {"host1": "failed"}), ended.finished
            eventually(partial(is_over, host, name), seconds=60, what="the way back")
            assert runs(host, name) == current(host, name) == first
            assert environ(host, name)["V"] == "1"
        finally:
            shell(host, 'rm "$1"; mv "$1.away" "$1"', wants)
    site.write([version(name, sleeper(site))], hosts="host1", vars={"v": 1, "trial": "300ms"})
    assert site.run().outcomes == {"host1": "changed"}
    assert site.run().outcomes == {"host1": "unchanged"}


@pytest.mark.parametrize(("before", "after"), [("unless-stopped", "inactive"), ("always", "active")])
def test_what_a_stop_means_after_a_power_cut_is_what_the_policy_says_that_is_back(
    site: Site, before: str, after: str
) -> None:
    """The new one is `always`, and has ordered a start for this boot."""
    host, name = site.lab.hosts[1], f"cut-{before}"
    task_of = version(name, sleeper(site), restart=before)
    deploy(site, task_of, hosts="host2")
    first = current(host, name)
    shell(host, 'systemctl stop "$1"', name)
    task_of["service"]["restart"] = "always"
    beside = version(f"{name}-beside", sleeper(site))
    site.write([task_of, beside], hosts="host2", vars={"v": 1, "trial": "300ms"})
    with still(site, "commit.before", "-e", "v=2", "--deadline", "60s") as run:
        host.power_cut()
        host.boot()
        os.kill(run.pid, signal.SIGKILL)
        run.end()
    eventually(partial(is_over, host, name), seconds=60, what="the way back")
    eventually(
        lambda: shell(host, "systemctl is-system-running", check=False).strip() in {"running", "degraded"},
        seconds=60,
    )
    assert current(host, name) == first
    assert unit(host, name)["ActiveState"] == after


@pytest.mark.parametrize("end", ["commit", "revert"])
def test_a_guess_that_was_never_taken_back_ends_with_the_change(site: Site, end: str) -> None:
    """As after a disk that took no change for a moment: the next boot would take it for a stop."""
    host, name = site.lab.hosts[0], f"guessed-{end}"
    deploy(site, version(name, sleeper(site)))
    with still(site, "commit.before", "-e", "v=2") as run:
        shell(host, ': >"/var/lib/unless-stopped/$1.service"', name)
        if end == "revert":
            shell(host, 'echo >>"/etc/systemd/system/$1.service"', name)
        run.go_on()
        outcomes = run.end().outcomes
    assert outcomes == {"host1": "changed" if end == "commit" else "reverted"}
    assert active(host, name) == "active"
    assert not exists(host, f"/var/lib/unless-stopped/{name}.service")


def test_a_folder_that_was_deleted_is_deployed_again(site: Site) -> None:
    host, name = site.lab.hosts[0], "deleted"
    deploy(site, version(name, sleeper(site)))
    shell(host, 'rm -rf "/opt/$1"', name)
    assert site.run().outcomes == {"host1": "changed"}
    assert runs(host, name) == current(host, name)
    assert site.run().outcomes == {"host1": "unchanged"}


@pytest.mark.parametrize("where", HOSTS)
def test_systemd_that_executes_itself_anew_costs_no_release(site: Site, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"anew-{where}"
    deploy(site, version(name, sleeper(site)), hosts=where)
    loop = "/run/reexec-goes-on"
    shell(
        host,
        ': >"$1"; setsid sh -c "while [ -e $1 ]; do systemctl daemon-reexec; sleep 0.4; done" '
        ">/dev/null 2>&1 &",
        loop,
    )
    try:
        for number in range(2, 5):
            run = site.run("-e", f"v={number}")
            assert (run.code, run.outcomes) == (0, {where: "changed"}), run
            assert f"V={number}" in host.read(f"/opt/{name}/current/.env").decode()
    finally:
        shell(host, 'rm "$1"', loop)
    eventually(lambda: shell(host, "pgrep -f '^sh -c while'", check=False) == "", what="the last of them")
    assert environ(host, name)["V"] == "4"
    assert runs(host, name) == current(host, name)
    eventually(lambda: site.run("-e", "v=4").outcomes == {where: "unchanged"}, what="an unchanged host")
