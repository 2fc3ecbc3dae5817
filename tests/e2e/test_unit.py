"""The unit that is installed: sound, locked in, restarted as Docker would, its arguments untouched."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import eventually, health, main_pid, shell
from tests.e2e.observed import show
from tests.e2e.programs import script, task
from tests.e2e.site import Site

if TYPE_CHECKING:
    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

pytestmark = pytest.mark.hosts

HIGH, LOW = "unit-high", "unit-low"
PORTS = {HIGH: 25201, LOW: 81}
NET_BIND_SERVICE = 1 << 10  # capabilities(7)
FLAVOURS = [0, 1]  # of the shared lab: debian12, debian13
IDS = ["debian12", "debian13"]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Lab:
    """The sample service on a high and on a low port, on a host of each flavour."""
    site = Site(folder=tmp_path_factory.mktemp("unit"), lab=lab)
    binary = site.binary("1.0.0")
    tasks = [site.service(name, binary=binary, port=port) for name, port in PORTS.items()]
    for entry in tasks:
        entry["service"]["healthcheck"]["stay_up"] = "300ms"
    site.write(tasks, hosts="host1,host2")
    run = site.run()
    assert run.code == 0, run.finished
    return lab


def written(host: TestHost, path: str) -> str:
    """What the service writes to `path`, once it is there."""
    return eventually(lambda: shell(host, 'cat "$1" 2>/dev/null', path, check=False), what=path)


# -- what it may do -------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", FLAVOURS, ids=IDS)
@pytest.mark.parametrize("service", [HIGH, LOW])
def test_systemd_finds_nothing_wrong_with_the_unit(deployed: Lab, index: int, service: str) -> None:
    words = ["systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{service}.service"]
    done = deployed.hosts[index].nsenter(words, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("index", FLAVOURS, ids=IDS)
@pytest.mark.parametrize("service", [HIGH, LOW])
def test_the_service_is_locked_in(deployed: Lab, index: int, service: str) -> None:
    said = shell(deployed.hosts[index], 'systemd-analyze security --no-pager "$1.service"', service)
    found = re.search(rf"Overall exposure level for {service}\.service: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= 2.0, said


@pytest.mark.parametrize("index", FLAVOURS, ids=IDS)
@pytest.mark.parametrize("service", [HIGH, LOW])
def test_only_a_low_port_brings_a_capability_and_only_that_one(
    deployed: Lab, index: int, service: str
) -> None:
    host = deployed.hosts[index]
    assert health(host, PORTS[service])["version"] == "1.0.0"
    status = shell(host, 'cat "/proc/$1/status"', str(main_pid(host, service)))
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    wanted = NET_BIND_SERVICE if service == LOW else 0
    assert {name: int(lines[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == dict.fromkeys(
        ("CapEff", "CapPrm", "CapBnd", "CapAmb"), wanted
    )
    assert lines["NoNewPrivs"] == "1"
    assert lines["Seccomp"] == "2"  # proc(5): filtered
    assert "0" not in lines["Uid"].split()


@pytest.mark.parametrize("index", FLAVOURS, ids=IDS)
def test_the_state_directory_survives_a_restart(deployed: Lab, index: int) -> None:
    host = deployed.hosts[index]
    before = health(host, PORTS[HIGH])["starts"]
    shell(host, 'systemctl restart "$1"', HIGH)
    assert eventually(lambda: health(host, PORTS[HIGH])["starts"], what="an answer") == before + 1
    assert shell(host, 'stat -c "%U" "/var/lib/$1"', HIGH).strip() == HIGH


WRITER = """
for place in /opt/unit-writer /opt/unit-writer/current /opt/unit-writer/releases /opt /etc /usr/local/bin \\
  /var/lib /var/lib/deployer/unit-writer /var/log /home /root /boot /run /sys/fs/cgroup /proc/sys/kernel /
do
  (: >$place/unit-writer-was-here) 2>/dev/null && echo "wrote $place"
done >$STATE_DIRECTORY/new
(: >>.env) 2>/dev/null && echo "wrote .env" >>$STATE_DIRECTORY/new
(: >/tmp/unit-writer-was-here) 2>/dev/null && echo "wrote /tmp" >>$STATE_DIRECTORY/new
mv $STATE_DIRECTORY/new $STATE_DIRECTORY/report
exec sleep infinity
"""


def test_nothing_but_its_state_can_be_written(site: Site, lab: Lab) -> None:
    writer = script(site, "writer", WRITER)
    site.write([task("unit-writer", writer)], hosts="host1,host2")

    assert site.run().code == 0

    for host in lab.hosts[:2]:
        assert written(host, "/var/lib/unit-writer/report") == "wrote /tmp\n"
        assert shell(host, "ls /tmp/unit-writer-was-here 2>/dev/null; true") == ""  # its /tmp is its own


# -- arguments ------------------------------------------------------------------------------------------

ARGUMENTS = [
    "two words",
    "",
    " ",
    'a "quoted" word',
    "it's",
    "100%",
    "%n %% %H %i",
    "$HOME",
    "${HOME}",
    "$$",
    "back\\slash \\n \\x41 \\",
    "tab\there",
    "two\nlines",
    "ünï©ødé 漢字 🚀",
    ";",
    "&& echo no",
    "*",
    "-x=1",
    "@+!:-",
    "#no comment",
    "a\x7fb\x1bc",
    "{ } [ ]",
]


def test_arguments_reach_the_process_exactly(site: Site, lab: Lab) -> None:
    dumper = script(
        site,
        "dumper",
        "printf '%s\\0' \"$@\" >$STATE_DIRECTORY/new\n"
        "mv $STATE_DIRECTORY/new $STATE_DIRECTORY/arguments\n"
        "exec sleep infinity",
    )
    site.write([task("unit-arguments", dumper, command=ARGUMENTS)], hosts="host1,host2")

    assert site.run().code == 0

    for host in lab.hosts[:2]:
        words = written(host, "/var/lib/unit-arguments/arguments").split("\0")[:-1]
        assert words == ARGUMENTS
    assert site.run().outcomes == {"host1": "unchanged", "host2": "unchanged"}


# -- stopping -------------------------------------------------------------------------------------------


def test_a_service_that_ignores_the_stop_is_killed_after_its_grace_period(site: Site, lab: Lab) -> None:
    deaf = script(site, "deaf", "trap '' TERM\nwhile :; do sleep 0.2; done")
    site.write([task("unit-deaf", deaf, stop_grace_period="1s")], hosts="host1,host2")
    assert site.run().code == 0

    for host in lab.hosts[:2]:
        pid = main_pid(host, "unit-deaf")
        began = time.monotonic()
        shell(host, "systemctl stop unit-deaf")
        assert 0.9 < time.monotonic() - began < 5
        assert show(host, "unit-deaf", "Result")["Result"] == "timeout"
        assert shell(host, 'ls -d "/proc/$1" 2>/dev/null; true', str(pid)) == ""


def test_a_service_that_stops_by_itself_is_given_its_time(site: Site, lab: Lab) -> None:
    slow = script(
        site,
        "slow",
        "trap 'sleep 1.5; echo bye >$STATE_DIRECTORY/bye; exit 0' TERM\nwhile :; do sleep 0.1; done",
    )
    site.write([task("unit-slow", slow, stop_grace_period="10s")], hosts="host1,host2")
    assert site.run().code == 0

    for host in lab.hosts[:2]:
        shell(host, "systemctl stop unit-slow")
        assert shell(host, "cat /var/lib/unit-slow/bye") == "bye\n"
        assert show(host, "unit-slow", "Result")["Result"] == "success"
