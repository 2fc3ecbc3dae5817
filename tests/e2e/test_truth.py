"""What a run says is true of the process: this release of this service runs, and its port is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine import current, environ, eventually, main_pid, shell, unit
from tests.e2e.observed import exists, runs
from tests.e2e.programs import LISTENER, deploy, listening, script, sleeper, task, version

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.site import Run, Site

pytestmark = pytest.mark.hosts

HOSTS = {"host1": 0, "host2": 1}  # Debian 12 and 13


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


# -- whose answer it is ------------------------------------------------------------------------------------


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
