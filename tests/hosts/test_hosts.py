"""The test hosts keep what they promise; other tests believe them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.hosts import places, recipe
from tests.hosts.cgroups import hierarchies
from tests.hosts.inside import locate
from tests.hosts.lab import Lab, reap
from tests.hosts.processes import Process
from tests.hosts.programs import CommandFailedError, HostsError, check_machine
from tests.hosts.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import FreshLab
    from tests.hosts.host import TestHost

REPOSITORY = Path(__file__).parents[2]

OWNER = """
import os, signal
from tests.hosts.lab import Lab
lab = Lab.up(1, flavours=["debian12"], owner_pid=os.getpid())
print(lab.folder, flush=True)
signal.pause()
"""


def eventually(fact: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def read_all(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def boot_id(host: TestHost) -> bytes:
    return host.ssh("cat /proc/sys/kernel/random/boot_id").stdout


def locks(lab: Lab) -> list[Path]:
    seen = [host.root.stat() for host in lab.hosts]
    return [Path(f"/run/systemd/nspawn/locks/inode-{stat.st_dev}:{stat.st_ino}") for stat in seen]


def traces(lab: Lab) -> list[str]:
    """Whatever the machine still shows of a lab."""
    tag = f"{lab.network.tag}-"
    found = [str(path) for path in (lab.folder, Path("/sys/class/net", lab.network.tag)) if path.exists()]
    for folder in ("/run/netns", "/sys/class/net", "/run/systemd/nspawn/propagate"):
        found += [str(path) for path in Path(folder).glob(f"{tag}*")]
    for top in hierarchies():
        found += [folder for folder, _, _ in os.walk(top) if Path(folder).name == lab.network.tag]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if f"{lab.folder}/" in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if f"{lab.folder}" in command or tag in command:
            found.append(f"{process}: {command}")
    return found


def hosts_command(*argv: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(REPOSITORY / "scripts/hosts"), *argv],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.hosts
def test_a_host_is_a_real_debian_with_nothing_a_deployer_could_lean_on(fresh_lab: FreshLab) -> None:
    # Fresh, for "running" means that no unit has failed, and other tests make theirs fail on shared hosts.
    lab = fresh_lab(2, flavours=("debian12", "debian13"))
    for host in lab.hosts:
        wanted = recipe.FLAVOURS[host.flavour].systemd
        assert host.ssh("cat /proc/1/comm").stdout == b"systemd\n"
        assert host.ssh("systemctl --version").stdout.startswith(f"systemd {wanted} ".encode())
        assert host.ssh("systemctl is-system-running --wait").stdout == b"running\n"
        for name in ("python", "python3", "curl", "wget"):
            assert host.ssh(f"command -v {name}", check=False).returncode != 0


@pytest.mark.hosts
def test_hosts_are_told_apart_by_everything_that_should_tell_hosts_apart(lab: Lab) -> None:
    for command in (
        "hostname",
        "cat /etc/machine-id",
        "cat /proc/sys/kernel/random/boot_id",
        "cat /etc/ssh/ssh_host_*.pub",
    ):
        assert len({host.ssh(command).stdout for host in lab.hosts}) == len(lab.hosts)
    assert len({host.address for host in lab.hosts}) == len(lab.hosts)


@pytest.mark.hosts
def test_an_inventory_of_ansible_s_leads_to_the_hosts(lab: Lab) -> None:
    web = yaml.safe_load(lab.inventory.read_text())["web"]
    assert web["hosts"] == {host.name: {"ansible_host": host.address} for host in lab.hosts}
    assert web["vars"] == {
        "ansible_user": "deploy",
        "ansible_ssh_private_key_file": str(lab.key),
        "ansible_become": True,
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={lab.known_hosts}",
    }
    known = lab.known_hosts.read_text().splitlines()
    assert [line.split()[:2] for line in known] == [
        [f"{host.name},{host.address}", "ssh-ed25519"] for host in lab.hosts
    ]


@pytest.mark.hosts
def test_sudo_lets_deploy_through_and_asks_asker_for_the_password(lab: Lab) -> None:
    for host in lab.hosts[:2]:
        assert host.ssh("sudo -n id -u", user="deploy").stdout == b"0\n"
        assert host.ssh("sudo -n id -u", user="asker", check=False).returncode != 0
        right = host.ssh("sudo -S id -u", user="asker", input=f"{lab.sudo_password}\n".encode())
        assert right.stdout == b"0\n"
        wrong = host.ssh("sudo -S id -u", user="asker", input=b"guess\n", check=False)
        assert wrong.returncode != 0
        assert wrong.stdout == b""


@pytest.mark.hosts
def test_only_keys_open_sshd_and_its_limits_are_the_shipped_ones(lab: Lab) -> None:
    for host in lab.hosts[:2]:
        settings = dict(line.split(" ", 1) for line in host.ssh("sshd -T").stdout.decode().splitlines())
        assert settings["passwordauthentication"] == "no"
        assert settings["permitrootlogin"] == "without-password"
        assert settings["maxstartups"] == "10:30:100"
        assert settings["maxsessions"] == "10"


@pytest.mark.hosts
def test_a_failing_command_shows_what_it_said(lab: Lab) -> None:
    with pytest.raises(CommandFailedError, match="the disk is full"):
        lab.hosts[0].ssh("echo the disk is full >&2; exit 7")
    assert lab.hosts[0].ssh("exit 7", check=False).returncode == 7


@pytest.mark.hosts
def test_services_of_one_name_on_several_hosts_do_not_meet(lab: Lab) -> None:
    for host in lab.hosts:
        host.ssh("systemd-run --quiet --unit=hosts-same-name sleep infinity")
    lab.hosts[0].ssh("systemctl kill --signal=KILL hosts-same-name; systemctl stop hosts-same-name")
    for host in lab.hosts[1:]:
        assert host.ssh("systemctl show --value -p NRestarts,SubState hosts-same-name").stdout.split() == [
            b"0",
            b"running",
        ]
        host.ssh("systemctl stop hosts-same-name")


@pytest.mark.hosts
def test_the_journal_keeps_what_a_service_says(lab: Lab) -> None:
    for host in lab.hosts[:2]:
        host.ssh("systemd-run --quiet --wait --unit=hosts-talker echo good morning")

        def heard(host: TestHost = host) -> bool:
            return b"good morning" in host.ssh("journalctl --quiet -o cat -u hosts-talker").stdout

        eventually(heard)


@pytest.mark.hosts
def test_root_can_mount_inside_a_host(lab: Lab) -> None:
    for host in lab.hosts[:2]:
        host.ssh("mkdir /srv/hosts-mount && mount -t tmpfs -o noexec,size=1M none /srv/hosts-mount")
        host.ssh("cp /bin/true /srv/hosts-mount/")
        refused = host.ssh("/srv/hosts-mount/true", check=False)
        assert refused.returncode == 126
        full = host.ssh("head -c 2M /dev/zero >/srv/hosts-mount/big", check=False)
        assert b"No space left" in full.stderr
        host.ssh("umount /srv/hosts-mount && rmdir /srv/hosts-mount")


SANDBOX = {
    # what a unit asks for -> a command in it, and what only shows where that is enforced
    "ProtectSystem=strict": ("touch /etc/hosts-x; rm -f /etc/hosts-x", "Read-only file system"),
    "ProtectHome=yes": ("cat /root/.profile", "No such file"),
    "PrivateTmp=yes": ("ls /tmp/hosts-sandbox", "No such file"),
    "PrivateDevices=yes": ("ls /dev/console", "No such file"),
    "DevicePolicy=closed": ("mknod /var/tmp/kmsg c 1 11; rm -f /var/tmp/kmsg", "Operation not permitted"),
    "SystemCallFilter=~@mount\nSystemCallErrorNumber=EPERM": (
        "mount -t tmpfs none /mnt && umount /mnt",
        "permission denied",
    ),
    "RestrictAddressFamilies=AF_UNIX": ("bash -c ': </dev/tcp/127.0.0.1/22'", "not supported by protocol"),
    "IPAddressDeny=any": ("timeout 0.5 bash -c ': </dev/tcp/127.0.0.1/22' || echo exit $?", "exit 124"),
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE": ("chown daemon /tmp/hosts-sandbox", "not permitted"),
    "User=daemon\nAmbientCapabilities=CAP_NET_BIND_SERVICE": (
        "grep CapEff /proc/self/status",
        "0000000000000400",
    ),
    "User=daemon\nStateDirectory=hosts-state": ("stat -c %U $STATE_DIRECTORY", "daemon"),
    "ReadOnlyPaths=/opt": ("touch /opt/hosts-x; rm -f /opt/hosts-x", "Read-only file system"),
    "InaccessiblePaths=/srv": ("stat -c mode=%a /srv", "mode=0"),
    "RestrictNamespaces=yes": ("unshare --mount true", "not permitted"),
    "NoNewPrivileges=yes": ("grep NoNewPrivs /proc/self/status", "1"),
    "LimitNOFILE=1234": ("echo files=$(ulimit -n)", "files=1234"),
    "DynamicUser=yes": ("id -u | grep -E '^6[1-5]...$'", "6"),
}


@pytest.mark.hosts
@pytest.mark.parametrize("asked", SANDBOX)
def test_a_unit_s_sandbox_holds_as_on_a_real_machine(lab: Lab, asked: str) -> None:
    command, shown = SANDBOX[asked]
    settings = [word for line in asked.splitlines() for word in ("-p", line)]
    for host in lab.hosts[:2]:
        host.nsenter(["touch", "/tmp/hosts-sandbox"])

        def run(*settings: str, host: TestHost = host) -> str:
            unit = ("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *settings)
            done = host.nsenter([*unit, "sh", "-c", command], check=False)
            return (done.stdout + done.stderr).decode()

        assert shown in run(*settings)
        assert shown not in run()


@pytest.mark.hosts
def test_a_file_reads_the_same_from_outside(lab: Lab) -> None:
    host = lab.hosts[0]
    host.ssh(
        "mkdir -p /opt/hosts-read/a && echo here >/opt/hosts-read/a/file &&"
        " ln -s /opt/hosts-read/a /opt/hosts-read/b"
    )
    assert host.read("/opt/hosts-read/b/file") == b"here\n"
    assert (host.root / "opt/hosts-read/a/file").read_bytes() == b"here\n"
    with pytest.raises(FileNotFoundError):
        host.read("/opt/hosts-read/none")


@pytest.mark.hosts
def test_a_power_cut_keeps_the_disk_and_nothing_else(fresh_lab: FreshLab) -> None:
    (host,) = fresh_lab(1).hosts
    before = boot_id(host)
    host.ssh("echo written >/root/file && sync && echo gone >/run/file && systemd-run --quiet sleep infinity")
    with socket.create_connection((host.address, 22), timeout=5) as connection:
        assert connection.recv(4) == b"SSH-"
        host.power_cut()
        assert not host.alive
        assert host.read("/root/file") == b"written\n"
        # No farewell: a host without power sends nothing, neither to old connections nor to new ones.
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            read_all(connection)
    with pytest.raises(TimeoutError):
        socket.create_connection((host.address, 22), timeout=0.5)
    with pytest.raises(HostsError, match="is off"):
        host.nsenter(["true"])
    host.boot()
    assert boot_id(host) != before
    assert host.ssh(
        "cat /root/file; cat /run/file; systemctl is-system-running --wait", check=False
    ).stdout == (b"written\nrunning\n")


@pytest.mark.hosts
def test_a_reboot_comes_back_as_the_same_host_in_a_new_boot(fresh_lab: FreshLab) -> None:
    for host in fresh_lab(2, flavours=("debian12", "debian13")).hosts:
        ids = {boot_id(host)}
        host.ssh("echo kept >/root/file")
        for _ in range(2):
            host.reboot()
            ids.add(boot_id(host))
        assert len(ids) == 3
        assert host.ssh("cat /root/file; systemctl is-system-running --wait").stdout == b"kept\nrunning\n"


@pytest.mark.hosts
def test_a_host_that_was_switched_off_from_inside_stays_off_until_somebody_boots_it(
    fresh_lab: FreshLab,
) -> None:
    (host,) = fresh_lab(1).hosts
    host.ssh("systemctl poweroff", check=False)
    eventually(lambda: not host.alive)
    host.boot()
    assert host.alive


@pytest.mark.hosts
def test_a_dropped_network_is_silence_and_comes_back(fresh_lab: FreshLab) -> None:
    (host,) = fresh_lab(1).hosts
    held = subprocess.Popen(
        [*host.ssh_client(user="root"), "echo before; read line; echo after"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert held.stdin is not None
    assert held.stdout is not None
    assert held.stdout.readline() == b"before\n"
    host.drop_network()
    with pytest.raises(TimeoutError):
        socket.create_connection((host.address, 22), timeout=0.5)
    assert host.nsenter(["cat", "/sys/class/net/eth0/carrier"]).stdout == b"1\n"
    held.stdin.write(b"go on\n")
    held.stdin.flush()
    assert held.poll() is None
    host.restore_network()
    assert host.ssh("echo back").stdout == b"back\n"
    assert held.stdout.readline() == b"after\n"
    held.stdin.close()
    held.stdout.close()
    assert held.wait(timeout=10) == 0


@pytest.mark.hosts
def test_down_leaves_nothing() -> None:
    lab = Lab.up(2, flavours=("debian12", "debian13"), owner_pid=os.getpid())
    locked = locks(lab)
    lab.hosts[0].ssh("mount -t tmpfs none /mnt; systemd-run --quiet sleep infinity")
    lab.hosts[1].power_cut()
    assert len(traces(lab)) > 10  # or it could not see anything left either
    assert all(file.exists() for file in locked)
    lab.down()
    assert traces(lab) == []
    assert not any(file.exists() for file in locked)
    lab.down()  # twice is no error


@pytest.mark.hosts
@pytest.mark.parametrize("watched", [True, False], ids=["watcher lives", "watcher killed too"])
def test_nothing_outlives_a_killed_owner(watched: bool) -> None:  # noqa: FBT001
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
    ) as owner:
        assert owner.stdout is not None
        lab = Lab.load(Path(owner.stdout.readline().strip()))
        assert lab is not None

        def watcher() -> Process | None:
            record = lab.record
            return None if record is None else record.watcher

        eventually(lambda: watcher() is not None)
        if not watched:
            process = watcher()
            assert process is not None
            process.kill()
            assert process.wait(seconds=5)
        owner.kill()
    if watched:
        eventually(lambda: traces(lab) == [])
    else:
        assert traces(lab) != []
        reap()
        assert traces(lab) == []


@pytest.mark.hosts
def test_what_a_reboot_of_the_machine_left_of_a_lab_is_cleared(fresh_lab: FreshLab) -> None:
    living = fresh_lab(1)
    folder = places.state() / f"old-{os.getpid()}"
    (folder / "host1/upper").mkdir(parents=True)
    Record(
        name=folder.name,
        number=living.network.number,  # numbers are given again
        flavours=("debian12",),
        sudo_password="",
        machine_boot="before",
    ).write(folder)
    reap()
    assert not folder.exists()
    assert living.hosts[0].ssh("echo fine").stdout == b"fine\n"


@pytest.mark.hosts
def test_two_labs_do_not_know_each_other(lab: Lab, fresh_lab: FreshLab) -> None:
    other = fresh_lab(1)
    assert other.name != lab.name
    assert {host.address for host in other.hosts}.isdisjoint(host.address for host in lab.hosts)
    assert lab.key.read_bytes() != other.key.read_bytes()
    assert other.hosts[0].ssh("hostname").stdout == lab.hosts[0].ssh("hostname").stdout == b"host1\n"
    other.down()
    assert traces(other) == []
    assert all(host.ssh("echo fine").stdout == b"fine\n" for host in lab.hosts)


@pytest.mark.hosts
def test_who_takes_a_lab_down_twice_does_not_hit_the_next_one_of_that_name() -> None:
    name = f"again-{os.getpid()}"
    first, second = None, None
    try:
        first = Lab.up(1, flavours=["debian12"], owner_pid=os.getpid(), name=name)
        first.down()
        second = Lab.up(1, flavours=["debian12"], owner_pid=os.getpid(), name=name)
        first.down()
        assert second.hosts[0].ssh("echo fine").stdout == b"fine\n"
    finally:
        for lab in (first, second):
            if lab is not None:
                lab.down()


@pytest.mark.hosts
def test_the_command_does_what_it_says(tmp_path: Path) -> None:
    name, inventory = f"cli-{os.getpid()}", tmp_path / "inventory.yml"
    try:
        wanted = ("--flavour", "debian13", "--name", name, "--inventory", inventory.name)
        up = hosts_command("up", "1", *wanted, folder=tmp_path)
        assert up.returncode == 0, up.stderr
        address = yaml.safe_load(inventory.read_text())["web"]["hosts"]["host1"]["ansible_host"]
        host = f"{name}/host1"
        assert address in hosts_command("list").stdout
        assert hosts_command("ssh", host, "id", "-un").stdout == "root\n"
        assert hosts_command("ssh", host, "--user", "deploy", "id", "-un").stdout == "deploy\n"
        assert hosts_command("ssh", host, "exit 7").returncode == 7
        again = hosts_command("up", "1", "--name", name)
        assert (again.returncode, again.stderr) == (1, f"hosts: a lab {name} is up already\n")
        for command in ("power-cut", "boot", "reboot"):
            assert hosts_command(command, host).returncode == 0
        assert hosts_command("ssh", host, "systemctl is-system-running --wait").stdout == "running\n"
    finally:
        down = hosts_command("down", name)
    assert (down.returncode, down.stderr) == (0, "")
    assert name not in hosts_command("list").stdout
    gone = hosts_command("boot", f"{name}/host1")
    assert (gone.returncode, gone.stderr) == (1, f"hosts: there is no host {name}/host1: see `list`\n")


@pytest.mark.hosts
def test_a_host_that_cannot_boot_says_why_at_once(fresh_lab: FreshLab) -> None:
    (host,) = fresh_lab(1).hosts
    host.power_cut()
    (host.root / "usr/lib/systemd/systemd").unlink()
    (host.root / "usr/sbin/init").unlink()
    began = time.monotonic()
    with pytest.raises(HostsError, match=r"host1 did not start: it ended; its console: .*execv"):
        host.boot()
    assert time.monotonic() - began < 5


@pytest.mark.hosts
def test_a_lab_that_cannot_come_up_leaves_nothing() -> None:
    before = {lab.folder for lab in Lab.all()}
    with pytest.raises(HostsError, match="no flavour debian1: there are debian12, debian13"):
        Lab.up(1, flavours=["debian1"], owner_pid=None)
    with pytest.raises(HostsError, match="is no name for a lab"):
        Lab.up(1, flavours=["debian12"], owner_pid=None, name="../etc")
    assert {lab.folder for lab in Lab.all()} <= before


def test_a_machine_that_cannot_run_hosts_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostsError, match="need root"):
        check_machine()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "alpine"})
    with pytest.raises(HostsError, match="need Debian 12 or newer, this is alpine"):
        check_machine()
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "debian"})
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostsError, match=r"apt-get install .*mmdebstrap .*systemd-container"):
        check_machine()


def test_a_pid_that_somebody_else_has_now_is_not_the_process() -> None:
    me = Process.of(os.getpid())
    assert me is not None
    assert me.alive
    predecessor = Process(pid=me.pid, started=me.started - 1)
    assert not predecessor.alive
    assert predecessor.wait(seconds=0)
    predecessor.kill()  # and we are still here
    child = subprocess.Popen(["sleep", "60"])
    its = Process.of(child.pid)
    assert its is not None
    assert not its.wait(seconds=0)
    its.kill()
    assert its.wait(seconds=5)
    assert not its.alive  # a zombie is dead
    assert child.wait() == -signal.SIGKILL


def test_links_lead_where_they_lead_on_the_host(tmp_path: Path) -> None:
    (tmp_path / "opt/app/one").mkdir(parents=True)
    (tmp_path / "opt/app/current").symlink_to("/opt/app/one")
    (tmp_path / "opt/app/relative").symlink_to("../app/current")
    (tmp_path / "escape").symlink_to("../../../etc")
    (tmp_path / "loop").symlink_to("loop")
    assert locate(tmp_path, "/opt/app/current/file") == tmp_path / "opt/app/one/file"
    assert locate(tmp_path, "opt/app/relative/file") == tmp_path / "opt/app/one/file"
    assert locate(tmp_path, "/escape/passwd") == tmp_path / "etc/passwd"
    with pytest.raises(OSError, match="too many symbolic links"):
        locate(tmp_path, "/loop")


def test_hosts_on_demand_have_what_they_were_asked_for_and_are_in_no_test() -> None:
    assert set(recipe.FLAVOURS) == {"debian12", "debian13"}
    for flavour in recipe.FLAVOURS.values():
        assert flavour.packages == (*recipe.PACKAGES, *flavour.more)
        assert flavour.forbidden == recipe.FORBIDDEN
    with_python = recipe.ON_DEMAND["python-debian12"]
    assert with_python.packages == (*recipe.PACKAGES, "python3")
    assert with_python.forbidden == ("python2", "curl", "wget")
