"""One test host's life: real systemd and a real sshd in a container, from a fresh overlay to nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tests.hosts import recipe, secure_shell
from tests.hosts.cgroups import Cgroup, hierarchies
from tests.hosts.inside import locate
from tests.hosts.processes import Process
from tests.hosts.programs import HostsError, observe, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.hosts.network import Port

SUPERVISE = Path(__file__).with_name("supervise.sh")
NSPAWN_STATE = Path("/run/systemd/nspawn")
POLL = 0.02
READ = 4096

# What a login gets; the caller's own environment stays outside.
ENVIRONMENT = {
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "LOGNAME": "root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "USER": "root",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestHost:
    """A host of a lab.  Every answer comes from the machine, so any process can ask."""

    __test__: ClassVar[bool] = False  # pytest must not collect it

    name: str
    flavour: str
    folder: Path
    port: Port
    key: Path
    known_hosts: Path

    @property
    def address(self) -> str:
        return self.port.address

    @property
    def root(self) -> Path:
        """The root folder as seen from outside: all that is on the host's disk, none of what it mounted."""
        return self.folder / "root"

    @property
    def machine(self) -> str:
        return f"{self.port.network.tag}-{self.name}"

    @property
    def cgroup(self) -> Cgroup:
        return Cgroup(name=f"{self.port.network.tag}/{self.name}")

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    # -- what it shows --

    @property
    def init(self) -> Process | None:
        """The host's PID 1, by its number out here."""
        for pid in self.cgroup.below("container").processes():
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    # Two numbers: ours, and the host's own.  More are a process namespace inside the host.
                    if line.startswith("NSpid:") and line.split()[2:] == ["1"]:
                        return Process.of(pid)
        return None

    @property
    def alive(self) -> bool:
        return self.init is not None

    def ssh(
        self,
        command: str,
        *,
        user: str = "root",
        check: bool = True,
        input: bytes | None = None,  # noqa: A002  # as subprocess.run calls it
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command line on the host over a connection of its own."""
        return observe((*self.ssh_client(user=user), command), check=check, stdin=input, timeout=timeout)

    def ssh_client(self, *, user: str) -> tuple[str, ...]:
        return secure_shell.client(
            address=self.address, user=user, key=self.key, known_hosts=self.known_hosts
        )

    def nsenter(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: bytes | None = None,  # noqa: A002  # as subprocess.run calls it
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside the host as root, without network and sshd."""
        return observe(self._inside(argv), check=check, stdin=input, timeout=timeout, env=ENVIRONMENT)

    def begin(self, argv: Sequence[str], script: Path) -> subprocess.Popen[bytes]:
        """The same, with `script` as its standard input, and do not wait for its end.

        The caller ends it by its group: a child inside the host does not end with what entered it.
        """
        with script.open("rb") as file:
            return subprocess.Popen(
                self._inside(argv),
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                start_new_session=True,
            )

    def _inside(self, argv: Sequence[str]) -> tuple[str, ...]:
        init = self.init
        if init is None:
            raise HostsError(f"{self.name} is off")
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ("nsenter", f"--target={init.pid}", *namespaces, "--", *argv)

    def read(self, path: str) -> bytes:
        """The bytes of a file on the host's disk, running or not; not of what it mounted, such as /run."""
        return locate(self.root, path).read_bytes()

    # -- what can happen to it --

    def power_cut(self) -> None:
        """End everything on the host at one moment, without a word on the network; its disk stays as it is.

        The machine below is not cut: what the host wrote but did not sync is still there afterwards.
        """
        if self.port.namespace.exists():
            self.port.drop()
        self.cgroup.kill()
        self.port.remove()

    def boot(self) -> None:
        """Switch it on and wait until people can log in; nothing happens to a host that is on."""
        # One that is on its way up or down is neither yet.
        self._wait_for(lambda: self.alive or not self.cgroup.populated, what="settle", seconds=120)
        if not self.cgroup.populated:
            self.switch_on()
        self.wait_until_ready()

    def reboot(self) -> None:
        """Reboot from inside, and wait until people can log in again."""
        before = self.init
        # The answer may be lost: the host goes down while systemctl still talks.
        self.nsenter(["systemctl", "reboot"], check=False)
        self._wait_for(lambda: self.init not in (None, before), what="reboot", seconds=180)
        self.wait_until_ready()

    def drop_network(self) -> None:
        """From now on packets from and to it vanish silently."""
        self.port.drop()

    def restore_network(self) -> None:
        self.port.restore()

    # -- its making and its end --

    def create(self, lower: Path, *, authorized_key: str, sudo_hash: str) -> str:
        """Lay out its disk; return its public host key."""
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True)
        layers = f"lowerdir={lower},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        run("mount", "-t", "overlay", "-o", layers, self.machine, str(self.root))
        etc = self.root / "etc"
        host_key = secure_shell.make_key(etc / "ssh/ssh_host_ed25519_key", comment=f"root@{self.name}")
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n::1 localhost\n")
        (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        shadow = (etc / "shadow").read_text()
        (etc / "shadow").write_text(shadow.replace("\nasker:*:", f"\nasker:{sudo_hash}:"))
        self._authorize("root", 0, authorized_key)
        for user, uid in recipe.USERS.items():
            self._authorize(f"home/{user}", uid, authorized_key)
        return host_key

    def _authorize(self, home: str, uid: int, key: str) -> None:
        folder = self.root / home / ".ssh"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        file = folder / "authorized_keys"
        file.write_text(key)
        file.chmod(0o600)
        for path in (folder, file):
            os.chown(path, uid, uid)

    def switch_on(self) -> None:
        """Start it, and do not wait."""
        self.cgroup.remove()
        for name in ("supervise", "container"):
            self.cgroup.below(name).create()
        for inner in (Cgroup(name=self.port.network.tag), self.cgroup):
            inner.delegate()
        self.port.remove()
        self.port.create()
        run(
            # setsid --fork: the host must not end with us, nor be our zombie when it ends before us.
            *("setsid", "--fork", "sh", str(SUPERVISE), str(self.console)),
            *(self.cgroup.name, *map(str, hierarchies()), "--"),
            # The guest is to see pure cgroup2, and its own /tmp rather than a tmpfs of systemd-nspawn's.
            *("env", "-i", f"PATH={ENVIRONMENT['PATH']}"),
            *("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_TMPFS_TMP=0"),
            *("systemd-nspawn", "--quiet", "--directory", str(self.root)),
            *("--machine", self.machine, "--hostname", self.name),
            *("--register=no", "--keep-unit", f"--network-namespace-path={self.port.namespace}"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only"),
            # DeviceAllow=, PrivateDevices= and IPAddressDeny= are BPF programs: without these two options
            # systemd in the host silently leaves them out.  Keyrings stay closed: the kernel counts them per
            # uid for the whole machine, so that hosts would use up each other's quota.
            *("--capability=CAP_BPF", "--system-call-filter=bpf"),
            "--boot",
        )

    def wait_until_ready(self, *, seconds: float = 60) -> None:
        """Wait until sshd answers and systemd lets everybody log in."""
        self._wait_for(self._ready, what="start", seconds=seconds)

    def _ready(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                if not connection.recv(READ).startswith(b"SSH-"):
                    return False
        except OSError:
            return False
        init = self.init
        # pam_nologin(8): until this file is gone only root gets in, even though sshd accepts.
        return init is not None and not Path(f"/proc/{init.pid}/root/run/nologin").exists()

    def _wait_for(self, done: Callable[[], bool], *, what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            on = self.cgroup.populated
            if done():
                return
            late = time.monotonic() > deadline
            if late or not on:
                why = f"not within {seconds:.0f} s" if late else "it ended"
                raise HostsError(f"{self.name} did not {what}: {why}; its console: {self._last_words()}")
            time.sleep(POLL)

    def _last_words(self) -> str:
        try:
            lines = self.console.read_text(errors="replace").split("\n")
        except FileNotFoundError:
            return "nothing"
        return " | ".join(line.strip() for line in lines[-6:] if line.strip())

    def destroy(self) -> None:
        """Leave nothing of a dead host but its folder, and that without mounts."""
        with suppress(FileNotFoundError):
            seen = self.root.stat()
            # systemd-nspawn clears these itself unless it is killed, which is how our hosts end.
            (NSPAWN_STATE / "locks" / f"inode-{seen.st_dev}:{seen.st_ino}").unlink(missing_ok=True)
        for name in ("propagate", "unix-export"):
            place = NSPAWN_STATE / name / self.machine
            while os.path.ismount(place):
                run("umount", "--lazy", str(place))
            shutil.rmtree(place, ignore_errors=True)
        while os.path.ismount(self.root):
            # Lazily, for a shell of somebody's may stand in it; the kernel lets it go with that shell.
            run("umount", "--lazy", str(self.root))
        self.port.remove()
