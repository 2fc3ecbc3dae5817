"""What a run says is true of the process: this release of this service runs, as its operator wants it."""

from __future__ import annotations

import os
import signal
import subprocess
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

    Asked for its name first, for a process begins as the env(1) that takes the environment away.
    """
    said = shell(
        host,
        "for pid in $(cat /sys/fs/cgroup/system.slice/$1.service/cgroup.procs \\\n"
        "  /sys/fs/cgroup/systemd/system.slice/$1.service/cgroup.procs 2>/dev/null); do\n"
        '  [ "$(stat -c %u /proc/$pid)" = 0 ] || continue\n'
        '  name=$(tr "\\0" " " </proc/$pid/cmdline)\n'
        '  case $name in *env* | "") ;; *) echo "$name"; tr "\\0" " " </proc/$pid/environ ;; esac\n'
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
    shell(host, "fallocate -l $(($(df -Pk /run | awk 'END { print $4 }') - 8000))k /run/full")
    changed = version(name, sleeper(site), stop_grace_period="11s")
    site.write([changed], hosts="host2", vars={"v": 1, "trial": "300ms"})
    run = site.run()
    shell(host, "rm /run/full")
    assert (run.code, run.outcomes) == (1, {"host2": "failed"})
    assert "less than 16 MiB free" in run.finished["host2"]["failure"]["message"]
    assert (current(host, name), main_pid(host, name)) == (before, pid)
    assert site.run().outcomes == {"host2": "changed"}
