"""What a run says is true of the process: this release of this service runs, as its operator wants it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, environ, eventually, main_pid, shell, unit
from tests.e2e.observed import active, exists
from tests.e2e.programs import script, sleeper, task
from tests.e2e.still import still

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts

HOST_POINT = "/run/deployer-fault"
HOSTS = {"host1": 0, "host2": 1}  # Debian 12 and 13


def version(name: str, binary: str, **keys: Any) -> dict[str, Any]:
    """A service of which -e says what `v` it is, and how long its trial."""
    check = {"disable": True, "stay_up": "{{ trial }}"}
    return task(name, binary, environment={"V": "{{ v }}"}, healthcheck=check, **keys)


def deploy(site: Site, *tasks: dict[str, Any], hosts: str = "host1") -> None:
    site.write(tasks, hosts=hosts, vars={"v": 1, "trial": "300ms"})
    run = site.run()
    assert (run.code, set(run.outcomes.values())) == (0, {"changed"}), run


def runs(host: TestHost, name: str) -> str:
    """The release that the main process was started from."""
    folder = shell(host, 'readlink "/proc/$1/cwd"', str(main_pid(host, name))).strip()
    assert folder.startswith(f"/opt/{name}/releases/"), folder
    return folder.rpartition("/")[2]


def changes(run: Run) -> str:
    (planned,) = run.named("host_planned")
    return " ".join(planned["changes"])


# -- the look asks the process -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", HOSTS)
def test_a_link_that_somebody_turned_is_a_change_and_its_release_is_started(site: Site, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"turned-{where}"
    deploy(site, version(name, sleeper(site)), hosts=where)
    first = current(host, name)
    assert site.run("-e", "v=2").code == 0
    shell(host, 'ln -sfn "releases/$2" "/opt/$1/current"', name, first)
    assert runs(host, name) != first
    check = site.run("--check", "--detailed-exitcode")
    assert check.code == 10
    assert "it runs " in changes(check)
    assert site.run().outcomes == {where: "changed"}
    assert runs(host, name) == current(host, name) == first
    assert environ(host, name)["V"] == "1"
    assert site.run().outcomes == {where: "unchanged"}


def test_a_binary_that_replaced_itself_by_another_release_is_seen(site: Site) -> None:
    """Not by the link, and not by the folder it works in: by what it executes."""
    host, name = site.lab.hosts[0], "moved-away"
    wanders = script(site, "wanders", "cd /; exec sleep infinity")
    deploy(site, version(name, wanders))
    assert site.run().outcomes == {"host1": "unchanged"}  # nothing can be told, so nothing is said
    assert main_pid(host, name)


# A program that is put in the place of the release's, started, and put away again; $1 is the service.
PUT_AWAY = {
    "executable": 'cd "/opt/$1/current"; mv sleep kept; cp kept sleep; printf x >>sleep; '
    'systemctl restart "$1"; mv kept sleep',
    "folder": 'cd "/opt/$1/releases"; own=$(readlink ../current); own=${own#releases/}; cp -a "$own" kept; '
    'rm -r "$own"; mv kept "$own"',
}


@pytest.mark.parametrize("what", PUT_AWAY)
@pytest.mark.parametrize("where", HOSTS)
def test_a_process_whose_program_was_taken_away_is_started_anew(site: Site, where: str, what: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"taken-{what}-{where}"
    binary = "/usr/bin/sleep" if what == "executable" else sleeper(site)
    deploy(site, version(name, binary, command=["infinity"]), hosts=where)
    shell(host, PUT_AWAY[what], name)
    before = main_pid(host, name)
    check = site.run("--check", "--detailed-exitcode")
    assert check.code == 10
    assert "it runs what was deleted since" in changes(check)
    assert site.run().outcomes == {where: "changed"}
    assert main_pid(host, name) not in {0, before}
    assert site.run().outcomes == {where: "unchanged"}


def test_drop_ins_are_kept_and_named(site: Site) -> None:
    host, name = site.lab.hosts[0], "dropped-in"
    deploy(site, version(name, sleeper(site)))
    file = f"/etc/systemd/system/{name}.service.d/mine.conf"
    shell(host, 'mkdir -p "${1%/*}"; printf "[Service]\\nNice=5\\n" >"$1"; systemctl daemon-reload', file)
    run = site.run("--check")
    (planned,) = run.named("host_planned")
    assert (planned["changes"], planned["notes"]) == (
        [],
        [f"{name}: its unit is changed on this host by {file}"],
    )
    assert site.run("-e", "v=2").code == 0
    assert exists(host, file)


def test_a_program_of_somebody_else_is_named_and_replaced_once_nobody_wants_it(site: Site) -> None:
    host, name = site.lab.hosts[0], "somebody-elses"
    deploy(site, version(name, "/usr/bin/sleep", command=["infinity"]))
    folder = f"/run/systemd/system/{name}.service.d"
    shell(
        host,
        'cp /usr/bin/sleep /opt/older; mkdir -p "$2"\n'
        'printf "[Service]\\nExecStart=\\nExecStart=/opt/older infinity\\n" >"$2/mine.conf"\n'
        'systemctl daemon-reload; systemctl restart "$1"',
        name,
        folder,
    )
    why = "what runs is /opt/older, which is no release's program"
    run = site.run()
    assert run.outcomes == {"host1": "unchanged"}
    assert run.finished["host1"]["notes"] == [f"{name}: {why}"]
    shell(host, 'rm -r "$1"; systemctl daemon-reload', folder)
    run = site.run()
    assert (run.outcomes, changes(run)) == ({"host1": "changed"}, f"{name}: {why}")
    assert runs(host, name) == current(host, name)
    assert site.run().finished["host1"]["notes"] == []


def test_a_program_that_becomes_another_one_is_the_releases(site: Site) -> None:
    name = "becomes"
    deploy(site, version(name, "/usr/bin/env", command=["sleep", "infinity"]))
    for _ in range(2):
        run = site.run()
        assert run.outcomes == {"host1": "unchanged"}, changes(run)
        assert run.finished["host1"]["notes"] == []


def test_a_restart_that_nobody_ordered_is_told(site: Site) -> None:
    host, name = site.lab.hosts[0], "killed-once"
    deploy(site, version(name, sleeper(site)))
    before = main_pid(host, name)
    shell(host, 'kill -9 "$1"', str(before))
    eventually(lambda: main_pid(host, name) not in {0, before}, what="the restart")
    run = site.run()
    assert run.outcomes == {"host1": "unchanged"}
    assert run.finished["host1"]["notes"] == [f"{name}: systemd restarted it once since it was started"]


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


# -- whose answer it is ------------------------------------------------------------------------------------

LISTENER = """
use IO::Socket::INET;
my $port = $ARGV[0] || $ENV{PORT};
if (!fork) {
  my $server = IO::Socket::INET->new(
    Listen => 5, LocalAddr => "127.0.0.1", LocalPort => $port, ReuseAddr => 1);
  while ($server) { my $client = $server->accept; close $client if $client }
}
sleep 1 while 1;
"""


def listening(name: str, binary: str, port: int) -> dict[str, Any]:
    test = f"tcp://127.0.0.1:{port}"
    check = {"test": test, "stay_up": "500ms", "retries": 3, "start_period": "1s"}
    return task(name, binary, environment={"PORT": str(port)}, healthcheck=check)


@pytest.mark.parametrize("where", HOSTS)
def test_an_answer_of_somebody_else_makes_nothing_healthy(site: Site, where: str) -> None:
    host, name, port = site.lab.hosts[HOSTS[where]], f"not-it-{where}", 25411
    shell(host, 'setsid perl -e "$1" "$2" >/dev/null 2>&1 & echo $! >/run/stranger', LISTENER, str(port))
    site.write([listening(name, sleeper(site), port)], hosts=where, vars={"v": 1})
    run = site.run()
    shell(host, "pkill -f '^perl -e' || :")
    failure = run.finished[where]["failure"]
    assert (run.code, run.outcomes, failure["cause"]) == (1, {where: "failed"}, "stranger")
    assert f"port {port} belongs to pid " in failure["message"]
    assert "(perl)" in failure["message"]


def test_who_has_the_port_is_named_when_the_service_ends_for_that(site: Site) -> None:
    host, name, port = site.lab.hosts[0], "no-port", 25414
    dies = script(site, "dies", LETS_GO, shell="/usr/bin/perl")  # noqa: S604  no shell is called
    shell(host, 'setsid perl -e "$1" "$2" >/dev/null 2>&1 & echo $! >/run/stranger', LISTENER, str(port))
    site.write([listening(name, dies, port)], hosts="host1", vars={"v": 1})
    run = site.run()
    shell(host, "pkill -f '^perl -e' || :")
    failure = run.finished["host1"]["failure"]
    assert (run.code, failure["cause"]) == (1, "crashed"), failure
    assert failure["evidence"]["port"].startswith(f"{port} belongs to pid ")
    assert "(perl)" in failure["evidence"]["port"]
    assert "end that process" in failure["hint"]


def test_a_stranger_that_comes_later_is_seen_too(site: Site) -> None:
    host, name, port = site.lab.hosts[0], "not-it-later", 25412
    listener = script(site, "listener", LISTENER, shell="/usr/bin/perl")  # noqa: S604  no shell is called
    site.write([listening(name, listener, port)], hosts="host1", vars={"v": 1})
    assert site.run().outcomes == {"host1": "changed"}  # a child of it listens, which is good enough
    assert site.run().outcomes == {"host1": "unchanged"}
    child = shell(host, 'pgrep -P "$1"', str(main_pid(host, name))).strip()
    shell(host, 'kill "$3"; setsid perl -e "$1" "$2" >/dev/null 2>&1 &', LISTENER, str(port), child)
    eventually(lambda: shell(host, "pgrep -f '^perl -e'", check=False), what="the stranger")
    run = site.run()
    shell(host, "pkill -f '^perl -e' || :")
    assert (run.code, run.outcomes) == (4, {"host1": "failed"})
    assert "is answered by pid " in run.finished["host1"]["failure"]["message"]


# Lets go of its port when it is told to, and lives on.
LETS_GO = """
use IO::Socket::INET;
my $server = IO::Socket::INET->new(Listen => 9, LocalPort => $ENV{PORT}, ReuseAddr => 1) or die $!;
$SIG{USR1} = sub { close $server };
while (1) { my $caller = $server->accept or last; close $caller }
sleep 1000 while 1;
"""


@pytest.mark.parametrize("where", HOSTS)
def test_a_port_that_a_living_service_let_go_of_is_asked_for_again(site: Site, where: str) -> None:
    host, name, port = site.lab.hosts[HOSTS[where]], f"lets-go-{where}", 25413
    listener = script(site, "lets-go", LETS_GO, shell="/usr/bin/perl")  # noqa: S604  no shell is called
    site.write([listening(name, listener, port)], hosts=where, vars={"v": 1})
    assert site.run().outcomes == {where: "changed"}
    pid = str(main_pid(host, name))
    remembered = shell(host, 'cat "/run/deployer-listeners/$1"; ls -l "/proc/$2/fd"', name, pid)
    (kept, listens, socket), files = remembered.split("\n", 1)[0].split(), remembered.split("\n", 1)[1]
    assert (kept, listens) == (f"0100007F:{port}", pid)
    assert socket in files
    assert site.run().outcomes == {where: "unchanged"}

    shell(host, 'kill -USR1 "$3"; setsid perl -e "$1" "$2" >/dev/null 2>&1 &', LISTENER, str(port), pid)
    eventually(lambda: shell(host, "pgrep -f '^perl -e'", check=False), what="the stranger")
    run = site.run()
    shell(host, "pkill -f '^perl -e' || :")
    assert str(main_pid(host, name)) == pid
    assert (run.code, run.outcomes) == (4, {where: "failed"})
    assert "is answered by pid " in run.finished[where]["failure"]["message"]


# -- the way back --------------------------------------------------------------------------------------------


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


# -- what others can hold or change --------------------------------------------------------------------------


def test_a_service_cannot_hold_the_mutex(site: Site) -> None:
    """As root even, for which the modes of folders are no wall: it tries, and says what came of that."""
    host, name = site.lab.hosts[0], "holder"
    holds = script(
        site,
        "holds",
        'flock /var/lib/deployer/holder/mutex echo "it holds" || echo "it does not"\nexec sleep infinity',
    )
    deploy(site, version(name, holds, user="root"))
    assert shell(host, 'stat -c "%a %U" /var/lib/deployer').strip() == "700 root"
    assert "it does not" in shell(host, 'journalctl -u "$1" -o cat --no-pager', name)
    assert site.run("-e", "v=2").outcomes == {"host1": "changed"}


def test_a_host_whose_folders_everybody_could_read_is_mended(site: Site) -> None:
    host, name = site.lab.hosts[0], "mended"
    deploy(site, version(name, sleeper(site)))
    shell(host, 'chmod 755 /var/lib/deployer "/var/lib/deployer/$1"', name)
    assert site.run("-e", "v=2").outcomes == {"host1": "changed"}
    assert shell(host, "stat -c %a /var/lib/deployer").strip() == "700"


def test_a_mutex_that_is_held_ends_a_run_with_a_cause_and_not_the_way_back(site: Site) -> None:
    host, name = site.lab.hosts[0], "held"
    deploy(site, version(name, sleeper(site)))
    first = current(host, name)
    with LiveRun(site, "-e", "v=2", "-e", "trial=100s", "--deadline", "4s") as run:
        run.wait_for("release_switched", service=name)
        file = f"/var/lib/deployer/{name}/mutex"
        shell(host, 'setsid flock "$1" sleep 70 >/dev/null 2>&1 & echo $! >/run/holder', file)
        os.kill(run.pid, signal.SIGKILL)
        run.end()
    eventually(
        lambda: not exists(host, f"/var/lib/deployer/{name}/transaction"), seconds=60, what="the way back"
    )
    assert runs(host, name) == current(host, name) == first
    held = site.run("-e", "v=2")
    assert held.code == 1
    assert held.finished["host1"]["failure"]["cause"] == "mutex_held"
    assert f"fuser -v {file}" in held.finished["host1"]["failure"]["message"]
    shell(host, 'fuser -k "$1" || pkill -f "flock $1"', file, check=False)


@pytest.mark.parametrize("folder", ["/usr/local/libexec", "/etc/systemd/system", "/var/lib", "/opt"])
def test_a_folder_that_anybody_can_hold_keeps_no_deploy_waiting(site: Site, folder: str) -> None:
    host, name = site.lab.hosts[1], f"beside-{folder.rpartition('/')[2]}"
    # As on a first deploy, the helpers are installed.
    shell(host, "rm -f /usr/local/libexec/unless-stopped")
    hold = 'setsid setpriv --reuid nobody --clear-groups flock "$1" sleep 600 >/dev/null 2>&1 & echo $!'
    holder = shell(host, hold, folder).strip()

    def is_held() -> bool:
        return not shell(host, 'flock -n "$1" echo free', folder, check=False)

    try:
        eventually(is_held, what="the lock")
        deploy(site, version(name, sleeper(site)), hosts="host2")
        assert is_held()  # so nobody has waited for it
    finally:
        shell(host, 'pkill -P "$1"; kill "$1"', holder, check=False)


def test_folders_that_a_user_owns_are_refused_with_what_to_type(site: Site) -> None:
    host, name = site.lab.hosts[0], "others"
    deploy(site, version(name, sleeper(site)))
    shell(host, 'chown -R others "/opt/$1"', name)
    for words in (("run", "site.yml", "--json", "-e", "v=2"), ("rollback", "site.yml", "--json")):
        run = site.deployer(*words)
        failure = run.finished["host1"]["failure"]
        assert (run.code, failure["cause"]) == (1, "not_roots")
        assert f"chown -R root:root /opt/{name}" in failure["hint"]
    shell(host, 'chown -R root:root "/opt/$1"', name)
    assert site.run("-e", "v=2").outcomes == {"host1": "changed"}


def test_a_folder_of_somebody_else_is_not_given_to_the_service(site: Site) -> None:
    host, name = site.lab.hosts[0], "foreign"
    shell(host, 'mkdir -p "/var/lib/$1"; echo kept >"/var/lib/$1/file"', name)
    site.write([version(name, sleeper(site))], hosts="host1", vars={"v": 1, "trial": "300ms"})
    run = site.run()
    assert (run.code, run.finished["host1"]["failure"]["cause"]) == (1, "not_ours")
    assert shell(host, 'stat -c %U "/var/lib/$1" "/var/lib/$1/file"', name).split() == ["root", "root"]
    shell(host, 'rm -r "/var/lib/$1"', name)


def test_the_environment_is_for_root_and_the_user_alone(site: Site) -> None:
    host, name = site.lab.hosts[0], "shared-group"
    shell(host, 'useradd --system -g users -M "$1"', name)
    deploy(site, version(name, script(site, "reads", "cat .env >/dev/null && exec sleep infinity")))
    owner, group, mode = shell(host, 'stat -c "%U %G %a" "/opt/$1/current/.env"', name).split()
    assert (owner, group, mode) == ("root", f"deployer-{name}", "640")
    assert shell(host, 'getent group "$1"', group).strip().split(":")[3] == name
    assert active(host, name) == "active"


def test_a_path_in_the_environment_is_not_roots(site: Site) -> None:
    """The hooks are root's; a program that its user plants must not be one of theirs."""
    host, name = site.lab.hosts[0], "planted"
    path = f"/var/lib/{name}/bin:/usr/bin:/bin"
    plants = script(
        site,
        "plants",
        f"/bin/mkdir -p /var/lib/{name}/bin\n"
        f"for tool in systemctl sync sleep mkdir rm; do\n"
        f"  printf '#!/bin/sh\\nid -u >/var/lib/{name}/ran\\n' >/var/lib/{name}/bin/$tool\n"
        f"  /bin/chmod 755 /var/lib/{name}/bin/$tool\n"
        f"done\n"
        f"exec /bin/sleep 2",
    )
    site.write([task(name, plants, environment={"PATH": path})], hosts="host1")
    assert site.run().code == 0
    eventually(lambda: int(unit(host, name)["NRestarts"]) >= 2, seconds=20, what="two restarts")
    assert not exists(host, f"/var/lib/{name}/ran")
    shell(host, 'systemctl stop "$1"', name)
    assert not exists(host, f"/var/lib/{name}/ran")


def test_a_path_that_leads_nowhere_keeps_nothing_from_coming_back(site: Site) -> None:
    host, name = site.lab.hosts[0], "pathless"
    stays = script(site, name, "exec /bin/sleep infinity")
    deploy(site, task(name, stays, environment={"PATH": "/app/bin", "IFS": "/", "ENV": "/nowhere"}))
    host.reboot()
    eventually(lambda: active(host, name) == "active", seconds=60, what="the service")
    assert environ(host, name)["PATH"] == "/app/bin"
    assert site.run().outcomes == {"host1": "unchanged"}
    shell(host, 'kill "$1"', str(main_pid(host, name)))
    eventually(lambda: unit(host, name)["NRestarts"] == "1", what="its restart")


LOADED = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
  int file = open("/tmp/loaded", O_CREAT | O_APPEND | O_WRONLY, 0666);
  if (file >= 0) { dprintf(file, "%d\\n", (int)getuid()); close(file); }
}
unsigned la_version(unsigned version) { return version; }  /* for LD_AUDIT, rtld-audit(7) */
"""


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize("variable", ["LD_PRELOAD", "LD_AUDIT"])
def test_a_library_in_the_environment_is_never_loaded_by_root(site: Site, variable: str, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"loads-{variable[3:].lower()}"
    source, library, at = site.folder / f"{name}.c", site.folder / f"{name}.so", f"/opt/{name}.so"
    source.write_text(LOADED)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    host.nsenter(["sh", "-c", 'cat >"$1" && chmod 755 "$1"', "sh", at], input=library.read_bytes())
    # It dies at once, so that there is a wait; /tmp is its own.
    dies = script(site, f"{name}.sh", "cp /tmp/loaded $STATE_DIRECTORY; exec sleep 2")
    check = {"disable": True, "stay_up": "1s"}
    environment = {variable: at, "MARK": "a word that root has no use for"}
    site.write([task(name, dies, environment=environment, healthcheck=check)], hosts=where)
    assert site.run().code == 0

    found = environ(host, name)
    assert {key: found[key] for key in environment} == environment
    assert shell(host, 'sort -u "/var/lib/$1/loaded"', name).split() == [
        shell(host, 'id -u "$1"', name).strip()
    ]
    eventually(lambda: "sleep" in of_root(host, name), seconds=30, what="a wait before the next start")
    eventually(lambda: int(unit(host, name)["NRestarts"]) >= 2, seconds=20, what="two restarts")
    shell(host, 'systemctl stop "$1"', name)
    assert not exists(host, "/tmp/loaded")


def of_root(host: TestHost, service: str) -> str:
    """The hooks at work, which are root's processes of the service; their environment is not the service's.

    Each is asked for its name before and after, for a process begins as what systemd makes of itself and as
    the env(1) that takes the environment away; and for its user last, for the service's begin as root's.
    """
    said = shell(
        host,
        'name() { tr "\\0" " " </proc/$1/cmdline; }\n'
        "for pid in $(cat /sys/fs/cgroup/system.slice/$1.service/cgroup.procs \\\n"
        "  /sys/fs/cgroup/systemd/system.slice/$1.service/cgroup.procs 2>/dev/null); do\n"
        '  name=$(name "$pid")\n'
        '  environment=$(tr "\\0" " " </proc/$pid/environ)\n'
        '  case $name in *env* | "") continue ;; esac\n'
        '  [ "$(name "$pid")" = "$name" ] && grep -q "^Uid:[^0-9]*0[^0-9]" /proc/$pid/status || continue\n'
        '  echo "$name"; echo "$environment"\n'
        "done",
        service,
        check=False,
    )
    assert "MARK" not in said
    return said


# -- a service that the change does not restart is looked at like one that nothing changes -------------------

CRASHES = "while [ ! -e /srv/crashes ]; do sleep 0.1; done; sleep 0.5; exit 3"


def change_of_another(site: Site, name: str) -> dict[str, Any]:
    return version(f"{name}-changes", sleeper(site))


def change_of_a_helper(site: Site, name: str) -> dict[str, Any]:
    shell(site.lab.hosts[0], "echo '# by hand' >>/usr/local/libexec/unless-stopped")
    return version(f"{name}-stays", sleeper(site))


@pytest.mark.parametrize("change", [change_of_another, change_of_a_helper])
def test_a_crash_loop_beside_a_change_is_no_success(
    site: Site, change: Callable[[Site, str], dict[str, Any]]
) -> None:
    host, name = site.lab.hosts[0], f"loops-{change.__name__.replace('_', '-')}"
    loops = task(name, script(site, name, CRASHES), healthcheck={"disable": True, "stay_up": "1s"})
    deploy(site, loops)
    shell(host, "touch /srv/crashes")
    eventually(lambda: unit(host, name)["NRestarts"] not in {"0", "1"}, what="a crash loop")
    site.write([loops, change(site, name)], hosts="host1", vars={"v": 2, "trial": "300ms"})
    run = site.run()
    shell(host, 'rm /srv/crashes; systemctl stop "$1"', name)
    failure = run.finished["host1"]["failure"]
    assert run.code in {1, 4}
    assert (failure["service"], failure["cause"]) == (name, "crashed")


def test_a_stranger_beside_a_change_is_no_success(site: Site) -> None:
    host, name, port = site.lab.hosts[0], "not-it-beside", 25414
    listener = script(site, "listener", LISTENER, shell="/usr/bin/perl")  # noqa: S604  no shell is called
    site.write([listening(name, listener, port)], hosts="host1", vars={"v": 1})
    assert site.run().outcomes == {"host1": "changed"}
    child = shell(host, 'pgrep -P "$1"', str(main_pid(host, name))).strip()
    shell(host, 'kill "$3"; setsid perl -e "$1" "$2" >/dev/null 2>&1 &', LISTENER, str(port), child)
    eventually(lambda: shell(host, "pgrep -f '^perl -e'", check=False), what="the stranger")
    shell(host, "echo '# by hand' >>/usr/local/libexec/unless-stopped")
    run = site.run()
    shell(host, "pkill -f '^perl -e' || :")
    assert run.code in {1, 4}
    assert "is answered by pid " in run.finished["host1"]["failure"]["message"]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a change"])
def test_a_crash_loop_whose_count_was_reset_is_no_success(site: Site, *, beside: bool) -> None:
    """While it waits to be started again somebody else has its port, and answers."""
    host, name, port = site.lab.hosts[0], f"reset-{'beside' if beside else 'alone'}", 25416 + 2 * beside
    dies = listening(name, script(site, name, LETS_GO, shell="/usr/bin/perl"), port)  # noqa: S604  no shell
    deploy(site, dies)
    shell(host, 'systemctl stop "$1"', name)
    shell(host, 'setsid perl -e "$1" "$2" >/dev/null 2>&1 &', LISTENER, str(port))
    listens = f"0100007F:{port:04X} 00000000:0000 0A"  # /proc/net/tcp, proc_net_tcp.rst
    eventually(lambda: shell(host, 'grep "$1" /proc/net/tcp', listens, check=False), what="the stranger")
    shell(host, 'systemctl start "$1"', name)
    eventually(lambda: int(unit(host, name)["NRestarts"]) > 4, seconds=60, what="a crash loop")
    eventually(lambda: unit(host, name)["SubState"] == "start-pre", seconds=60, what="a wait")
    shell(host, 'systemctl reset-failed "$1"', name)
    site.write(
        [dies, change_of_another(site, name)] if beside else [dies],
        hosts="host1",
        vars={"v": 1, "trial": "300ms"},
    )
    run = site.run()
    shell(host, "pkill -f '^perl -e'; systemctl stop \"$1\"", name, check=False)
    failure = run.finished["host1"]["failure"]
    assert (run.outcomes, failure["service"]) == ({"host1": "failed"}, name)
    assert failure["cause"] in {"crashed", "stranger"}


def test_a_young_process_is_watched_though_its_restart_was_forgotten(site: Site) -> None:
    host, name = site.lab.hosts[0], "young"
    crashes = "while [ ! -e /srv/young ]; do sleep 0.1; done; sleep 2; exit 3"
    deploy(site, task(name, script(site, name, crashes), healthcheck={"disable": True, "stay_up": "4s"}))
    assert site.run().outcomes == {"host1": "unchanged"}
    shell(host, 'touch /srv/young; systemctl kill -s KILL "$1"', name)
    eventually(lambda: unit(host, name)["SubState"] == "running", what="its restart")
    shell(host, 'systemctl reset-failed "$1"', name)
    run = site.run()
    shell(host, 'rm /srv/young; systemctl stop "$1"', name)
    failure = run.finished["host1"]["failure"]
    assert (run.outcomes, failure["cause"]) == ({"host1": "failed"}, "crashed")


def test_a_service_of_the_same_name_of_some_user_is_a_stranger(site: Site) -> None:
    host, name, port = site.lab.hosts[0], "namesake", 25415
    group = f"/sys/fs/cgroup/user.slice/user-1000.slice/{name}.service"
    hold = f'mkdir -p {group} && echo $$ >{group}/cgroup.procs; exec setsid perl -e "$1" "$2" >/dev/null 2>&1'
    shell(host, f"({hold}) & sleep 0.5", LISTENER, str(port))
    site.write([listening(name, sleeper(site), port)], hosts="host1", vars={"v": 1})
    run = site.run()
    shell(host, "pkill -f '^perl -e' || :")
    failure = run.finished["host1"]["failure"]
    assert (run.code, run.outcomes, failure["cause"]) == (1, {"host1": "failed"}, "stranger")


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


# -- what root runs ------------------------------------------------------------------------------------------


def test_a_host_whose_opt_is_anybodys_is_refused(site: Site) -> None:
    host, name = site.lab.hosts[0], "in-an-open-opt"
    deploy(site, version(name, sleeper(site)))
    shell(host, "chmod 777 /opt")
    run = site.run("-e", "v=2")
    shell(host, "chmod 755 /opt")
    assert (run.code, run.finished["host1"]["failure"]["cause"]) == (1, "not_roots")
    assert run.finished["host1"]["failure"]["hint"] == "chown root:root /opt && chmod go-w /opt"


@pytest.mark.parametrize("helper", ["deployer-revert", "unless-stopped"])
def test_a_helper_that_cannot_be_executed_is_put_right(site: Site, helper: str) -> None:
    host, name = site.lab.hosts[0], f"lame-{helper}"
    deploy(site, version(name, sleeper(site)))
    shell(host, 'chmod a-x "$1"', f"/usr/local/libexec/{helper}")
    assert site.run().outcomes == {"host1": "changed"}
    assert shell(host, 'stat -c "%a %U" "$1"', f"/usr/local/libexec/{helper}").split() == ["755", "root"]
    assert site.run().outcomes == {"host1": "unchanged"}


def test_a_host_on_which_systemd_reads_no_units_is_left_as_it_is(site: Site) -> None:
    host, name = site.lab.hosts[1], "no-run"
    deploy(site, version(name, sleeper(site)), hosts="host2")
    before, pid = current(host, name), main_pid(host, name)
    # Made smaller, not filled: it may take as much as a fifth of this machine's memory.
    shell(host, "mount -o remount,size=$(($(df -Pk /run | awk 'END { print $3 }') + 8000))k /run")
    changed = version(name, sleeper(site), stop_grace_period="11s")
    site.write([changed], hosts="host2", vars={"v": 1, "trial": "300ms"})
    run = site.run()
    shell(host, "mount -o remount,size=20% /run")
    assert (run.code, run.outcomes) == (1, {"host2": "failed"})
    assert "less than 16 MiB free" in run.finished["host2"]["failure"]["message"]
    assert (current(host, name), main_pid(host, name)) == (before, pid)
    assert site.run().outcomes == {"host2": "changed"}
