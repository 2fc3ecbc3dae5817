"""A first deploy puts everything in its place; a second one finds it there, in one exec."""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import (
    current,
    eventually,
    health,
    main_pid,
    releases,
    shell,
    sshd_with,
    starts_at_boot,
    stat,
    unit,
)
from tests.e2e.site import Run, Site

if TYPE_CHECKING:
    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

SERVICE = "first-deploy"
USER = "first-user"
PORT = 20001
RELEASE = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a host's sshd noted of one run."""

    connections: int
    execs: int
    sudos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """Two runs of one playbook, the second without a change, and what was seen in between and after."""

    site: Site
    sha256: str
    first: Run
    second: Run
    before: dict[str, dict[str, str]]  # the unit, after the first run
    traffic: dict[str, tuple[Traffic, Traffic]]

    @property
    def hosts(self) -> tuple[TestHost, ...]:
        return self.site.lab.hosts


def cursor(host: TestHost) -> str:
    shown = shell(host, "journalctl --sync; journalctl --lines 0 --show-cursor")
    return shown.rpartition("-- cursor: ")[2].strip()


def traffic(host: TestHost, since: str) -> Traffic:
    script = (
        'journalctl --sync; journalctl --quiet --after-cursor "$1" -o cat -t sshd -t sshd-session -t sudo'
    )
    log = shell(host, script, since)
    return Traffic(
        connections=log.count("Accepted publickey for deploy from"),
        execs=len(re.findall(r"Starting session: \S+.* for deploy from", log)),
        sudos=log.count("COMMAND="),
    )


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    site = Site(folder=tmp_path_factory.mktemp("deploy"), lab=lab)
    binary = site.binary("1.0.0")
    (site.folder / "app.env").write_text("GREETING='hello there'\nPORT=1\n")
    task = site.service(SERVICE, binary=binary, port=PORT, env_file="app.env", user=USER)
    # A test that fails costs an exec, from the second on; on a busy machine a start takes its time.
    task["service"]["healthcheck"] |= {"interval": "2s", "start_interval": "2s", "stay_up": "500ms"}
    site.write([task])
    with ExitStack() as talkative:
        for host in lab.hosts:  # "Starting session: command for USER from ..."
            talkative.enter_context(sshd_with(host, "LogLevel VERBOSE"))
        start = {host.name: cursor(host) for host in lab.hosts}
        first = site.run()
        middle = {host.name: cursor(host) for host in lab.hosts}
        before = {host.name: unit(host, SERVICE) for host in lab.hosts}
        counted = {host.name: traffic(host, start[host.name]) for host in lab.hosts}
        second = site.run()
        noted = {host.name: (counted[host.name], traffic(host, middle[host.name])) for host in lab.hosts}
    sha256 = hashlib.sha256((site.folder / binary).read_bytes()).hexdigest()
    return Deployed(site=site, sha256=sha256, first=first, second=second, before=before, traffic=noted)


@pytest.mark.hosts
def test_a_first_run_changes_every_host(deployed: Deployed) -> None:
    assert deployed.first.outcomes == {host.name: "changed" for host in deployed.hosts}, deployed.first
    assert deployed.first.code == 0
    assert deployed.first.stderr == ""
    assert {host.flavour for host in deployed.hosts} == {"debian12", "debian13"}


@pytest.mark.hosts
def test_the_service_answers_at_every_hosts_address(deployed: Deployed) -> None:
    for host in deployed.hosts:
        answer = health(host, PORT)
        assert (answer["status"], answer["version"]) == ("ok", "1.0.0")


@pytest.mark.hosts
def test_what_was_said_is_what_is_there(deployed: Deployed) -> None:
    for host in deployed.hosts:
        release = current(host, SERVICE)
        assert RELEASE.fullmatch(release)
        assert release.endswith(f"-{deployed.sha256[:12]}")
        assert deployed.first.finished[host.name]["releases"] == [[SERVICE, release]]
        assert releases(host, SERVICE) == [release]
        digest = shell(host, f"sha256sum /opt/{SERVICE}/current/gin-api-template").split()[0]
        assert digest == deployed.sha256


@pytest.mark.hosts
def test_files_have_the_owners_and_modes_of_the_layout(deployed: Deployed) -> None:
    for host in deployed.hosts:
        release = f"/opt/{SERVICE}/releases/{current(host, SERVICE)}"
        assert {path: stat(host, path) for path in (
            f"/opt/{SERVICE}",
            f"/opt/{SERVICE}/current",
            release,
            f"{release}/gin-api-template",
            f"{release}/.env",
            f"{release}/release.json",
            f"/etc/systemd/system/{SERVICE}.service",
            f"/var/lib/deployer/{SERVICE}",
        )} == {
            f"/opt/{SERVICE}": "directory 755 root:root",
            f"/opt/{SERVICE}/current": "symbolic link 777 root:root",
            release: "directory 755 root:root",
            f"{release}/gin-api-template": "regular file 755 root:root",
            f"{release}/.env": f"regular file 640 root:{USER}",
            f"{release}/release.json": "regular file 600 root:root",
            f"/etc/systemd/system/{SERVICE}.service": "regular file 644 root:root",
            f"/var/lib/deployer/{SERVICE}": "directory 700 root:root",
        }  # fmt: skip
        installed = host.read(f"/etc/systemd/system/{SERVICE}.service")
        assert installed == host.read(f"{release}/{SERVICE}.service")


@pytest.mark.hosts
def test_nothing_half_made_is_left(deployed: Deployed) -> None:
    for host in deployed.hosts:
        assert shell(host, f"ls -A /opt/{SERVICE}").split() == ["current", "releases"]
        assert shell(host, "find /etc/systemd /usr/local -name '*.new'") == ""


@pytest.mark.hosts
def test_the_service_runs_as_a_system_user_nobody_can_log_in_as(deployed: Deployed) -> None:
    for host in deployed.hosts:
        account = shell(host, 'getent passwd "$1"', USER).strip().split(":")
        assert 0 < int(account[2]) < 1000
        assert account[6] == "/usr/sbin/nologin"
        owner = shell(host, 'stat -c %U:%G "/proc/$1"', str(main_pid(host, SERVICE))).strip()
        assert owner == f"{USER}:{USER}"


@pytest.mark.hosts
def test_the_service_starts_at_boot(deployed: Deployed) -> None:
    for host in deployed.hosts:
        assert starts_at_boot(host, SERVICE)
        assert unit(host, SERVICE)["NeedDaemonReload"] == "no"


@pytest.mark.hosts
def test_a_second_run_changes_nothing_and_restarts_nothing(deployed: Deployed) -> None:
    assert deployed.second.outcomes == {host.name: "unchanged" for host in deployed.hosts}, deployed.second
    assert deployed.second.code == 0
    for host in deployed.hosts:
        assert unit(host, SERVICE) == deployed.before[host.name]
        assert len(releases(host, SERVICE)) == 1


@pytest.mark.hosts
def test_a_first_release_takes_one_connection_and_two_execs(deployed: Deployed) -> None:
    for host in deployed.hosts:
        first, _ = deployed.traffic[host.name]
        assert first.connections == 1
        # observe and stage, switch and commit; all of them as root, so sudo must have counted the same
        assert first.execs == first.sudos == 2


@pytest.mark.hosts
def test_an_unchanged_host_costs_one_connection_and_one_exec(deployed: Deployed) -> None:
    for host in deployed.hosts:
        _, second = deployed.traffic[host.name]
        assert second == Traffic(connections=1, execs=1, sudos=1)


@pytest.mark.hosts
def test_a_run_by_name_reaches_the_hosts_it_is_limited_to(deployed: Deployed) -> None:
    """The same promise at a person's terminal: without --json, with --limit."""
    run = deployed.site.deployer("run", "site", "-l", "host2")
    assert run.code == 0, run
    assert "host2" in run.stdout
    assert "host1" not in run.stdout
    eventually(lambda: health(deployed.hosts[1], PORT)["version"] == "1.0.0")
