"""Hosts that cannot be reached or cannot take a release say why; for the others the play decides."""

from __future__ import annotations

import hashlib
import random
import struct
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, eventually, health, releases, shell
from tests.e2e.observed import Journal, active, exists, show
from tests.e2e.programs import inventory, script, sleeper, task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

pytestmark = pytest.mark.hosts


def refused(run: Run, host: str, cause: str) -> dict[str, Any]:
    """The failure of a host that could not take the release, after checking that nothing was sent there."""
    assert run.outcomes[host] == "failed", run.finished[host]
    failure: dict[str, Any] = run.finished[host]["failure"]
    assert failure["cause"] == cause, failure
    assert not [
        event for event in run.named("stage_started") if (event["host"], event["stage"]) == (host, "stage")
    ]
    return failure


def stopped_before_it_began(run: Run, bad: str, good: TestHost, *names: str) -> None:
    """By default one host that cannot take the release keeps it from all: nothing was switched anywhere."""
    assert (run.code, run.outcomes) == (1, {bad: "failed", good.name: "not_attempted"}), run.finished
    reason = "1 of 2 hosts failed (50%), more than max_fail_percentage: 0"
    assert run.finished[good.name]["reason"] == reason
    assert not run.named("batch_started")
    for name in names:
        assert not exists(good, f"/opt/{name}/current")
        assert active(good, name) == "inactive"


@contextmanager
def mounted(host: TestHost, *words: str, at: str) -> Iterator[None]:
    """A file system over a folder of the host, for a while."""
    host.nsenter(["mount", *words, at])
    try:
        yield
    finally:
        # Lazily: a session that is just ending may stand in it.
        host.nsenter(["umount", "--lazy", at])


# -- hosts that cannot be reached -----------------------------------------------------------------------


def test_hosts_out_of_reach_each_say_why_and_the_others_are_deployed(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    silent, good = lab.hosts[1], lab.hosts[2]
    nobody = good.address.rpartition(".")[0] + ".250"
    listed = inventory(
        tmp_path / "hosts.yml",
        {
            "good": {"ansible_host": good.address},
            "silent": {"ansible_host": silent.address},
            "nobody": {"ansible_host": nobody},
            "no-sshd": {"ansible_host": good.address, "ansible_port": 25099},
            "no-name": {"ansible_host": "no-such-host.invalid"},
        },
        ansible_user="deploy",
        ansible_ssh_private_key_file=str(lab.key),
        ansible_ssh_common_args=f"-o UserKnownHostsFile={lab.known_hosts}",
    )
    site.write([task("trouble-reach", sleeper(site))])
    silent.drop_network()
    try:
        run = site.run("-i", listed, "-T", "2")
        as_text = site.deployer("run", "site.yml", "-i", listed, "-T", "2")
    finally:
        silent.restore_network()

    assert run.code == 3
    assert run.outcomes.pop("good") == "changed"
    causes = {name: record["failure"]["cause"] for name, record in run.finished.items() if name != "good"}
    assert causes == {
        "silent": "timed_out",
        "nobody": "timed_out",
        "no-sshd": "refused",
        "no-name": "unknown_host",
    }
    assert run.finished["silent"]["seconds"] < 5
    assert active(good, "trouble-reach") == "active"
    assert as_text.code == 3
    for words in (
        "silent",
        f"{silent.address} port 22 did not answer",
        "25099 refused",
        "no-such-host.invalid",
    ):
        assert words in as_text.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "site.yml", "-l", "nobody"], "nobody"),
        (["run", "site.yml", "-e", "grace=soon"], "site.yml:"),
        (["rollback", "site.yml", "--deadline", "1s"], "--deadline"),
        (["unlock", "none.yml"], "none.yml"),
    ],
)
def test_what_is_wrong_here_is_said_here_and_no_host_is_contacted(
    site: Site, lab: Lab, words: list[str], said: str
) -> None:
    service = task("trouble-usage", sleeper(site), stop_grace_period="{{ grace }}")
    site.write([service], hosts="host1", vars={"grace": "5s"})
    journal = Journal.from_now(lab.hosts[0])
    run = site.deployer(*words)
    assert (run.code, run.stdout) == (2, "")
    assert said in run.stderr
    assert journal.sshd() == []


def test_a_port_that_does_not_speak_ssh_is_named(site: Site, lab: Lab, tmp_path: Path) -> None:
    host = lab.hosts[0]
    talker = "exec perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(Listen => 9, LocalPort => 25100, ReuseAddr => 1) or die; while (my $c = $s->accept) { print $c \"220 mail\\r\\n\" x 200; close $c }'"  # noqa: E501
    site.write([task("trouble-mail", script(site, "mail", talker))], hosts="host1")
    assert site.run().code == 0
    listed = inventory(
        tmp_path / "hosts.yml", {"mail": {"ansible_host": host.address, "ansible_port": 25100}}
    )
    site.write([task("trouble-none", sleeper(site))])

    run = site.run("-i", listed, "-T", "2")

    assert (run.code, run.outcomes) == (3, {"mail": "unreachable"})
    assert run.finished["mail"]["failure"]["cause"] == "connect_failed"
    assert f"{host.address} port 25100" in run.finished["mail"]["failure"]["message"]


# -- disks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system mounted over `at`, and what the deployer is to say of it."""

    at: str
    mount: tuple[str, ...]
    cause: str
    message: str


DISKS = {
    "opt-is-full": Disk(
        at="/opt", mount=("-t", "tmpfs", "-o", "size=4m", "tmpfs"), cause="disk_full", message="/opt has "
    ),
    "state-is-full": Disk(
        at="/var/lib",
        mount=("-t", "tmpfs", "-o", "size=512k", "tmpfs"),
        cause="disk_full",
        message="/var/lib has ",
    ),
    "opt-is-read-only": Disk(
        at="/opt",
        mount=("-t", "tmpfs", "-o", "ro", "tmpfs"),
        cause="read_only",
        message="/opt is mounted read-only",
    ),
    "etc-is-read-only": Disk(
        at="/etc",
        mount=("--bind", "-o", "ro", "/etc"),
        cause="read_only",
        message="/etc is mounted read-only",
    ),
    "opt-is-noexec": Disk(
        at="/opt",
        mount=("-t", "tmpfs", "-o", "noexec", "tmpfs"),
        cause="noexec",
        message="/opt is mounted noexec",
    ),
}


@pytest.mark.parametrize("case", DISKS)
def test_a_disk_that_cannot_take_the_release_is_seen_before_anything_is_sent(
    site: Site, lab: Lab, case: str
) -> None:
    disk = DISKS[case]
    bad, good = lab.hosts[0], lab.hosts[2]
    name = f"trouble-{case}"
    service = site.service(name, binary=site.binary("1.0.0"), port=25101)
    service["service"]["healthcheck"]["stay_up"] = "300ms"
    site.write([service], hosts="host1,host3")
    with mounted(bad, *disk.mount, at=disk.at):
        run = site.run()
        alone = site.run("-l", "host1")
        left = shell(bad, 'ls -d "/opt/$1" "/var/lib/deployer/$1" 2>/dev/null', name, check=False)

    stopped_before_it_began(run, "host1", good, name)
    assert disk.message in refused(run, "host1", disk.cause)["message"]
    assert alone.code == 1
    assert left == ""
    assert not exists(bad, f"/etc/systemd/system/{name}.service")


def test_a_disk_that_fills_up_during_the_upload_leaves_nothing_half_done(site: Site, lab: Lab) -> None:
    # Each fits alone, and both together do not.
    bad, good = lab.hosts[0], lab.hosts[2]
    noise = random.Random(1).randbytes(6_000_000).hex()[:6_000_000]  # noqa: S311  only has to be large
    large = script(site, "large", f"exec sleep infinity\n{noise}")
    other = script(site, "other", f"exec sleep 1000000\n{noise}")
    site.write([task("trouble-fill-a", large), task("trouble-fill-b", other)], hosts="host1,host3")
    with mounted(bad, "-t", "tmpfs", "-o", "size=10m", "tmpfs", at="/opt"):
        run = site.run()
        links = [exists(bad, f"/opt/trouble-fill-{letter}/current") for letter in "ab"]
        left = releases(bad, "trouble-fill-b")

    stopped_before_it_began(run, "host1", good, "trouble-fill-a", "trouble-fill-b")
    failure = run.finished["host1"]["failure"]
    assert failure["cause"] == "cannot_write"
    assert "No space left on device" in failure["message"]
    assert links == [False, False]
    assert left == []
    for letter in "ab":
        assert active(bad, f"trouble-fill-{letter}") == "inactive"


def test_a_disk_without_inodes_says_so(site: Site, lab: Lab) -> None:
    bad = lab.hosts[0]
    site.write([task("trouble-inodes", sleeper(site))], hosts="host1,host3")
    with mounted(bad, "-t", "tmpfs", "-o", "size=100m,nr_inodes=4", "tmpfs", at="/opt"):
        run = site.run()

    stopped_before_it_began(run, "host1", lab.hosts[2], "trouble-inodes")
    failure = run.finished["host1"]["failure"]
    assert failure["cause"] == "cannot_write"
    assert "No space left on device" in failure["message"]
    assert active(bad, "trouble-inodes") == "inactive"


def test_a_file_where_the_folder_should_be_says_so(site: Site, lab: Lab) -> None:
    bad = lab.hosts[0]
    shell(bad, "echo precious >/opt/trouble-file")
    site.write([task("trouble-file", sleeper(site))], hosts="host1,host3", on_failure="continue")

    run = site.run()

    assert (run.code, run.outcomes) == (4, {"host1": "failed", "host3": "changed"})
    failure = run.finished["host1"]["failure"]
    assert failure["cause"] == "cannot_write"
    assert "/opt/trouble-file" in failure["message"]
    assert shell(bad, "cat /opt/trouble-file") == "precious\n"


# -- machines -------------------------------------------------------------------------------------------


NO_SYSTEMD = """\
[Service]
TemporaryFileSystem=/run/systemd
BindPaths=/run/systemd/notify /run/systemd/journal
"""
"""For those who log in the machine looks as if something else had booted it (sd_booted(3))."""


def test_a_machine_without_systemd_is_refused(site: Site, lab: Lab) -> None:
    bad = lab.hosts[2]
    drop_in = "/run/systemd/system/ssh.service.d/hidden.conf"
    site.write([task("trouble-init", sleeper(site))], hosts="host1,host3", on_failure="continue")
    shell(bad, 'mkdir -p "${1%/*}"; printf %s "$2" >"$1"; systemctl daemon-reload', drop_in, NO_SYSTEMD)
    try:
        shell(bad, "systemctl restart ssh.service")
        bad.wait_until_ready()
        run = site.run()
    finally:
        shell(bad, 'rm -r "${1%/*}"; systemctl daemon-reload; systemctl restart ssh.service', drop_in)
        bad.wait_until_ready()

    assert (run.code, run.outcomes) == (4, {"host1": "changed", "host3": "failed"})
    assert "systemd" in refused(run, "host3", "no_init")["message"]
    assert not exists(bad, "/opt/trouble-init")


def test_a_binary_for_another_machine_is_refused(site: Site, lab: Lab) -> None:
    path = site.folder / site.binary("1.0.0")
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 18, 183)  # e_machine: EM_AARCH64, elf(5)
    path.write_bytes(content)
    ours = task("trouble-ours", sleeper(site))
    theirs = site.service("trouble-machine", binary="1.0.0/gin-api-template", port=25102)
    site.write([ours, theirs])

    run = site.run()

    assert run.code == 1
    for host in lab.hosts:
        failure = refused(run, host.name, "wrong_machine")
        assert "aarch64" in failure["message"]
        assert "x86_64" in failure["message"]
        assert "GOARCH" in failure["hint"]
        assert not exists(host, "/opt/trouble-machine")
        assert not exists(host, "/opt/trouble-ours")


# -- what is not ours -----------------------------------------------------------------------------------


def test_a_unit_of_the_system_is_not_touched(site: Site, lab: Lab) -> None:
    name = "debug-shell"
    before = [show(host, name, "FragmentPath", "MainPID", "InvocationID") for host in lab.hosts]
    site.write([task(name, sleeper(site), user="trouble")])

    run = site.run()

    assert run.code == 1
    for host in lab.hosts:
        failure = refused(run, host.name, "not_ours")
        assert name in failure["message"]
        assert "another name" in failure["hint"]
        assert not exists(host, f"/opt/{name}")
        assert not exists(host, f"/etc/systemd/system/{name}.service")
    assert [show(host, name, "FragmentPath", "MainPID", "InvocationID") for host in lab.hosts] == before


@pytest.mark.parametrize("there", ["a unit", "a masked unit", "an alias", "a folder"])
def test_what_somebody_put_there_by_hand_is_not_touched(site: Site, lab: Lab, there: str) -> None:
    bad, good = lab.hosts[0], lab.hosts[2]
    name = f"trouble-{there.replace(' ', '-')}"
    unit = f"/etc/systemd/system/{name}.service"
    made = {
        "a unit": 'printf "[Service]\\nExecStart=/bin/sleep infinity\\n" >"$2"',
        "a masked unit": 'systemctl mask "$1.service"',
        "an alias": 'ln -s /usr/lib/systemd/system/systemd-journald.service "$2"',
        "a folder": 'mkdir -p "/opt/$1/current" && echo precious >"/opt/$1/current/file"',
    }
    shell(bad, f"{made[there]}; systemctl daemon-reload", name, unit)
    listing = 'ls -lA --time-style=full-iso "$2"* "/opt/$1/current/"* 2>&1; cat "$2" "/opt/$1/current/"* 2>&1'
    before = shell(bad, listing, name, unit, check=False)
    site.write([task(name, sleeper(site))], hosts="host1,host3")

    run = site.run()
    alone = site.run("-l", "host1")

    stopped_before_it_began(run, "host1", good, name)
    assert name in refused(run, "host1", "not_ours")["message"]
    assert alone.code == 1
    assert shell(bad, listing, name, unit, check=False) == before


# -- connections that die -------------------------------------------------------------------------------


def large_service(site: Site, name: str) -> dict[str, Any]:
    """One whose upload takes long enough to be disturbed, for no tool can make it smaller."""
    content = b"#!/bin/sh\nexec sleep infinity\n" + random.Random(2).randbytes(40_000_000)  # noqa: S311
    file = site.folder / "large"
    file.write_bytes(content)
    file.chmod(0o755)
    return task(name, "large")


def sshd_sessions(host: TestHost) -> list[str]:
    """The processes of sshd that serve `deploy`, by their numbers on the host."""
    script = (
        "for place in /proc/[0-9]*; do case $(tr '\\0' ' ' 2>/dev/null <$place/cmdline) in "
        '"sshd: deploy"*|"sshd-session: deploy"*) echo "${place#/proc/}" ;; esac; done'
    )
    return shell(host, script, check=False).split()


def wait_for_upload(live: LiveRun, host: TestHost, name: str) -> None:
    """Until the first megabytes of the binary are on the host's disk."""
    live.wait_for("stage_started", host=host.name, stage="stage")
    script = (
        '[ "$(cat "/opt/$1/releases/.staging-"*/large | head -c 1000000 | wc -c)" = 1000000 ] && echo yes'
    )
    eventually(lambda: shell(host, script, name, check=False), what="the upload")


def test_connections_that_die_during_the_upload_are_noticed_and_the_next_run_succeeds(
    site: Site, lab: Lab
) -> None:
    killed, silent, good = lab.hosts
    name = "trouble-dies"
    site.write([large_service(site, name)])
    with LiveRun(site, "-T", "2") as live:
        wait_for_upload(live, silent, name)
        silent.drop_network()
        disturbed = time.monotonic()
        try:
            wait_for_upload(live, killed, name)
            sessions = sshd_sessions(killed)
            assert sessions
            shell(killed, 'kill -KILL "$@" 2>/dev/null', *sessions, check=False)
            run = live.end(seconds=75)
        finally:
            silent.restore_network()

    assert time.monotonic() - disturbed < 75
    assert run.code == 3
    assert run.outcomes == {"host1": "unreachable", "host2": "unreachable", "host3": "changed"}
    for host in (killed, silent):
        assert run.finished[host.name]["failure"]["cause"] == "connection_lost"
        assert not exists(host, f"/opt/{name}/current")
        assert active(host, name) == "inactive"
    assert active(good, name) == "active"

    again = site.run()
    assert (again.code, again.outcomes) == (0, {"host1": "changed", "host2": "changed", "host3": "unchanged"})
    wanted = hashlib.sha256((site.folder / "large").read_bytes()).hexdigest()
    for host in (killed, silent):
        # A line may die after the last byte arrived and before the reply left: then the release of the first
        # run is there too.  Half a release never is, not even as a leftover of the upload.
        there = shell(host, 'cd "/opt/$1/releases" && ls -A && sha256sum -- */large', name).splitlines()
        names = releases(host, name)
        assert there == [*names, *(f"{wanted}  {release}/large" for release in names)]
        assert current(host, name) == names[-1]
        assert active(host, name) == "active"


# -- Ctrl-C ---------------------------------------------------------------------------------------------


def test_after_ctrl_c_hosts_that_are_being_switched_finish(site: Site, lab: Lab) -> None:
    site.write([site.service("trouble-int", binary=site.binary("1.0.0"), port=25103)], hosts="host1,host2")
    with LiveRun(site) as live:
        live.wait_for("release_switched", host="host1")
        live.wait_for("release_switched", host="host2")
        live.interrupt()
        run = live.end()

    assert (run.code, run.outcomes) == (130, {"host1": "changed", "host2": "changed"})
    for host in lab.hosts[:2]:
        assert health(host, 25103)["version"] == "1.0.0"
    again = site.run()
    assert (again.code, again.outcomes) == (0, {"host1": "unchanged", "host2": "unchanged"})


def test_after_ctrl_c_during_the_upload_nothing_is_switched(site: Site, lab: Lab) -> None:
    site.write([large_service(site, "trouble-int-upload")], hosts="host1,host3")
    journal = Journal.from_now(lab.hosts[0])
    with LiveRun(site) as live:
        wait_for_upload(live, lab.hosts[0], "trouble-int-upload")
        live.interrupt()
        run = live.end()

    assert (run.code, run.outcomes) == (130, {"host1": "not_attempted", "host3": "not_attempted"})
    for host in (lab.hosts[0], lab.hosts[2]):
        assert not exists(host, "/opt/trouble-int-upload/current")
        assert active(host, "trouble-int-upload") == "inactive"
    eventually(lambda: not sshd_sessions(lab.hosts[0]), what="the end of the session")
    assert not [line for line in journal.of("systemd") if "trouble-int-upload" in line]
