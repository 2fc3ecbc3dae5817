"""Every restart policy on real hosts: after each way to end, over deploys, reboots and power cuts."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import current, eventually, main_pid, shell
from tests.e2e.observed import active, show
from tests.e2e.programs import script, task
from tests.e2e.site import Site
from tests.hosts.lab import Lab
from tests.hosts.recipe import FLAVOURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts

POLICIES = {
    "policy-no": "no",
    "policy-failure": "on-failure",
    "policy-limited": "on-failure:3",
    "policy-always": "always",
    "policy-unless": "unless-stopped",
}
NO, FAILURE, LIMITED, ALWAYS, UNLESS = POLICIES
RETRIES = 3

# Exits as it is told to, and again when it is started again.
OBEDIENT = """
echo $$ >>$STATE_DIRECTORY/starts
while :; do
  [ ! -e $STATE_DIRECTORY/exit ] || { read -r status <$STATE_DIRECTORY/exit; exit $status; }
  sleep 0.05
done
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service of each policy on a host of each flavour."""
    lab = Lab.up(len(FLAVOURS), flavours=tuple(FLAVOURS), owner_pid=os.getpid())
    try:
        site = Site(folder=tmp_path_factory.mktemp("policies"), lab=lab)
        deploy(site, version="1")
        yield site
    finally:
        lab.down()


@pytest.fixture(params=FLAVOURS)
def host(site: Site, request: pytest.FixtureRequest) -> TestHost:
    """All services run there, as after a deploy."""
    host = next(host for host in site.lab.hosts if host.flavour == request.param)
    # One that has just begun would write its start down after the file is gone.
    shell(host, 'systemctl stop "$@"; systemctl reset-failed "$@" 2>/dev/null || :', *POLICIES)
    for name in POLICIES:
        shell(host, 'rm -f "/var/lib/$1/exit" "/var/lib/$1/starts"', name)
    shell(host, 'systemctl start "$@"', *POLICIES)
    for name in POLICIES:
        is_up(host, name)
    return host


def deploy(site: Site, *, version: str, limit: str = "all") -> None:
    binary = script(site, "obedient", OBEDIENT)
    site.write(
        [
            task(name, binary, restart=policy, environment={"VERSION": version})
            for name, policy in POLICIES.items()
        ]
    )
    run = site.run("-l", limit)
    assert run.code == 0, run.finished


def tell(host: TestHost, service: str, status: int) -> None:
    """Make the service exit, now and after every start."""
    shell(host, 'echo "$2" >"/var/lib/$1/exit"', service, str(status))


def leave_alone(host: TestHost, service: str) -> None:
    shell(host, 'rm "/var/lib/$1/exit"', service)


def starts(host: TestHost, service: str) -> int:
    return len(shell(host, 'cat "/var/lib/$1/starts" 2>/dev/null', service, check=False).split())


def becomes(host: TestHost, service: str, state: str) -> None:
    eventually(lambda: active(host, service) == state, what=f"{service} {state} on {host.name}")


def is_up(host: TestHost, service: str) -> None:
    """It is active, and has written its start down, which comes some time after that on a busy machine."""

    def wrote() -> bool:
        lines = shell(host, 'cat "/var/lib/$1/starts" 2>/dev/null', service, check=False).split()
        return lines[-1:] == [str(main_pid(host, service))] and active(host, service) == "active"

    eventually(wrote, what=f"a start of {service} on {host.name}")


def is_restarted(host: TestHost, service: str, *, count: int = 1) -> None:
    eventually(lambda: starts(host, service) > count, what=f"a restart of {service} on {host.name}")


def restarts(host: TestHost, service: str) -> int:
    return int(show(host, service, "NRestarts")["NRestarts"])


def mark(host: TestHost, service: str) -> str:
    """What is remembered of the operator's stop: nothing, "tentative" or "stopped"."""
    said = shell(host, 'cat "/var/lib/unless-stopped/$1.service" 2>/dev/null && echo .', service, check=False)
    return {"": "nothing", ".": "tentative", "stopped\n.": "stopped"}[said.strip()]


def up(host: TestHost) -> set[str]:
    """The services that run once the host has booted."""
    eventually(lambda: shell(host, "systemctl list-jobs --no-legend") == "", what="the end of the boot")
    return {name for name in POLICIES if active(host, name) == "active"}


# -- after an end of the process ------------------------------------------------------------------------

# How it ends, and the state it is left in by the policies that leave it.
STAYS_DOWN = {
    "exit 0": {NO: "inactive", FAILURE: "inactive", LIMITED: "inactive"},
    "exit 3": {NO: "failed"},
    "KILL": {NO: "failed"},
    # A clean end to systemd, a failure to Docker.
    "TERM": {NO: "inactive"},
}


@pytest.mark.parametrize("end", STAYS_DOWN)
def test_an_end_of_the_process(host: TestHost, end: str) -> None:
    pids = {name: main_pid(host, name) for name in POLICIES}
    assert all(pids.values())
    for name, pid in pids.items():
        if end.startswith("exit "):
            tell(host, name, int(end.removeprefix("exit ")))
        else:
            shell(host, 'kill -s "$1" "$2"', end, str(pid))

    down = STAYS_DOWN[end]
    for name in POLICIES.keys() - down.keys():
        is_restarted(host, name)
    for name, state in down.items():
        becomes(host, name, state)
    time.sleep(1)
    for name, state in down.items():
        assert (active(host, name), starts(host, name), restarts(host, name)) == (state, 1, 0), name
        assert mark(host, name) == "nothing"  # nobody stopped it


def test_on_failure_is_retried_so_often_and_counted_anew_after_a_start_by_hand(host: TestHost) -> None:
    begun = 1
    for order in ("start", "restart"):
        tell(host, LIMITED, 3)
        gives_up(host, LIMITED, starts_before=begun - 1)
        begun = starts(host, LIMITED) + 1
        leave_alone(host, LIMITED)
        shell(host, 'systemctl "$1" "$2"', order, LIMITED)
        assert (active(host, LIMITED), restarts(host, LIMITED)) == ("active", 0)

    # Restarted by hand while it still had retries.
    tell(host, LIMITED, 3)
    is_restarted(host, LIMITED, count=begun)
    leave_alone(host, LIMITED)
    becomes(host, LIMITED, "active")
    assert restarts(host, LIMITED) >= 1
    shell(host, 'systemctl restart "$1"', LIMITED)
    assert restarts(host, LIMITED) == 0
    is_up(host, LIMITED)
    begun = starts(host, LIMITED)
    tell(host, LIMITED, 3)
    gives_up(host, LIMITED, starts_before=begun - 1)


def gives_up(host: TestHost, service: str, *, starts_before: int) -> None:
    """See all retries and no more, however often systemd reads its units anew meanwhile."""
    shell(
        host,
        "systemctl daemon-reexec\n"
        'until systemctl -q is-failed "$1"; do systemctl daemon-reload; sleep 0.3; done',
        service,
    )
    for _ in range(3):
        shell(host, "systemctl daemon-reload")
        time.sleep(0.5)
    assert starts(host, service) - starts_before == 1 + RETRIES
    assert show(host, service, "ActiveState", "Result") == {"ActiveState": "failed", "Result": "exit-code"}
    assert mark(host, service) == "nothing"


def test_a_restart_that_systemd_counts_again_and_again_is_one_retry(host: TestHost) -> None:
    """systemd 252 counts a queued restart once more at each daemon-reload; here one waits for its turn."""
    waits = "until ! [ -e /run/later ]; do sleep 0.1; done"
    shell(
        host,
        'touch /run/later; systemd-run -q --unit later -p After="$1.service" -p "ExecStop=/bin/sh -c \'$2\'" '
        "-p TimeoutStopSec=300 sleep infinity\n"
        "systemctl stop --no-block later",
        LIMITED,
        waits,
    )
    tell(host, LIMITED, 3)
    becomes(host, LIMITED, "activating")
    for _ in range(4):
        time.sleep(0.3)
        shell(host, "systemctl daemon-reload")
    assert starts(host, LIMITED) == 1
    shell(host, "rm /run/later")
    becomes(host, LIMITED, "failed")
    assert starts(host, LIMITED) == 1 + RETRIES


# Lets a hook of one service take its time before it asks systemctl for a verb.
# Hooks look there first, whatever the service's own PATH says, and everybody else goes by.
SLOW_SYSTEMCTL = """#!/bin/sh
case "$(tr "\\0" " " </proc/$PPID/cmdline)" in
*"/usr/local/libexec/unless-stopped "*" %s.service"*) [ "$1" != %s ] || { : >/run/slow/asked; sleep 2; } ;;
esac
exec /usr/bin/systemctl "$@"
"""


def slow(host: TestHost, service: str, verb: str) -> None:
    shell(
        host,
        "mkdir -p /run/slow /usr/local/sbin\n"
        'printf %s "$2" >/usr/local/sbin/systemctl; chmod +x /usr/local/sbin/systemctl\n'
        'systemctl restart "$1"\n'
        "rm -f /run/slow/asked",
        service,
        SLOW_SYSTEMCTL % (service, verb),
    )


def asked(host: TestHost) -> None:
    eventually(lambda: "asked" in shell(host, "ls /run/slow"), what="the question")


def test_giving_up_never_takes_the_place_of_a_restart_by_hand(host: TestHost) -> None:
    slow(host, LIMITED, "stop")
    try:
        tell(host, LIMITED, 3)
        asked(host)
        leave_alone(host, LIMITED)
        shell(host, 'systemctl restart "$1"', LIMITED)  # "Job canceled" fails it
        time.sleep(2.5)
        assert (active(host, LIMITED), restarts(host, LIMITED)) == ("active", 0)
    finally:
        shell(host, 'rm -r /run/slow "/run/systemd/system/$1.service.d"; systemctl daemon-reload', LIMITED)


def test_on_failure_without_a_number_goes_on_and_on(host: TestHost) -> None:
    tell(host, FAILURE, 3)
    is_restarted(host, FAILURE, count=1 + RETRIES + 1)


def test_a_limited_service_that_cannot_even_be_executed_is_given_up_too(host: TestHost) -> None:
    # Without its environment systemd executes nothing of it, not even the hook that counts.
    # It has failed before, which must be forgotten before it is waited for.
    shell(host, 'systemctl reset-failed "$1"; mv "/opt/$1/current/.env" /opt/kept', LIMITED)
    shell(host, 'systemctl restart --no-block "$1"', LIMITED)
    eventually(lambda: active(host, LIMITED) == "failed", seconds=40, what="giving up")
    shell(host, 'mv /opt/kept "/opt/$1/current/.env"', LIMITED)
    assert 4 < restarts(host, LIMITED) <= 20


# -- after a stop by hand -------------------------------------------------------------------------------


def test_a_stopped_service_stays_down_over_a_deploy_and_a_boot(site: Site, host: TestHost) -> None:
    before = {name: current(host, name) for name in POLICIES}
    shell(host, 'systemctl stop "$@"', *POLICIES)
    assert {name: mark(host, name) for name in POLICIES} == dict.fromkeys(POLICIES, "stopped")

    deploy(site, version=f"stopped {host.flavour}", limit=host.name)

    for name in POLICIES:
        assert current(host, name) != before[name]
        assert (active(host, name), mark(host, name)) == ("inactive", "stopped"), name
    host.reboot()
    assert up(host) == {ALWAYS}  # which forgets it, as in Docker
    deploy(site, version=f"stopped {host.flavour}", limit=host.name)
    assert up(host) == {ALWAYS}
    shell(host, 'systemctl start "$@"', *POLICIES)
    assert up(host) == set(POLICIES)
    assert {name: mark(host, name) for name in POLICIES} == dict.fromkeys(POLICIES, "nothing")


def test_a_stop_between_an_end_and_its_restart_is_remembered(site: Site, host: TestHost) -> None:
    # systemd runs no hook then: only the tentative mark that the end left says so.
    for name in (FAILURE, ALWAYS, UNLESS):
        eventually(lambda name=name: stop_in_auto_restart(host, name), what="a stop in time")  # type: ignore[misc]

    deploy(site, version="1", limit=host.name)
    deploy(site, version=f"between {host.flavour}", limit=host.name)

    for name in (FAILURE, ALWAYS, UNLESS):
        assert active(host, name) in {"inactive", "failed"}, name
        shell(host, 'systemctl start "$1"', name)
        assert (active(host, name), restarts(host, name), mark(host, name)) == ("active", 0, "nothing")


def stop_in_auto_restart(host: TestHost, service: str) -> bool:
    """Whether the stop came in the 100 ms of this state; started again, if not."""
    shell(
        host,
        'systemctl start "$1"; pid=$(systemctl show --value -p MainPID "$1"); kill -9 "$pid"\n'
        'until systemctl show -p SubState "$1" | grep -qx -e .*=auto-restart -e .*=start-pre; do :; done\n'
        'systemctl stop "$1"',
        service,
    )
    return mark(host, service) == "tentative"


def test_a_reboot_in_the_middle_of_a_restart_is_not_a_stop_by_hand(host: TestHost) -> None:
    # The machine's way down takes the place of the restart, just when its hook wants to know why it stops.
    slow(host, UNLESS, "list-jobs")
    shell(host, 'systemctl restart --no-block "$1"', UNLESS)
    asked(host)
    host.reboot()
    assert mark(host, UNLESS) == "nothing"
    assert up(host) == {ALWAYS, UNLESS}


def test_a_stop_by_hand_just_before_a_reboot_is_one(host: TestHost) -> None:
    slow(host, UNLESS, "list-jobs")
    shell(host, 'systemctl stop --no-block "$1"', UNLESS)
    asked(host)
    host.reboot()
    assert mark(host, UNLESS) == "stopped"
    assert up(host) == {ALWAYS}
    shell(host, 'systemctl start "$1"', UNLESS)


# -- after a boot ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", ["reboot", "power cut"])
@pytest.mark.parametrize(
    ("stopped", "wanted"), [(False, {ALWAYS, UNLESS}), (True, {ALWAYS})], ids=["running", "stopped"]
)
def test_a_boot(site: Site, host: TestHost, power: str, wanted: set[str], *, stopped: bool) -> None:
    if stopped:
        shell(host, 'systemctl stop "$@"', *POLICIES)
    if power == "reboot":
        host.reboot()
    else:
        host.power_cut()
        host.boot()
    assert up(host) == wanted

    # What only the boot left down is the next run's to start.
    site.run("-l", host.name)
    assert up(host) == (wanted if stopped else set(POLICIES))
