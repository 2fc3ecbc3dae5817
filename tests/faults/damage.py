"""How each kind of fault is done to a host or its controller, and how it is repaired."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from tests.faults.fault import Kind
from tests.faults.stand import BY_HAND_SCRIPT, FILL, SERVICE
from tests.hosts.programs import CommandFailedError, HostsError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.faults.controller import Controller
    from tests.faults.stand import Stand

EVERYWHERE = "/opt:/var/lib:/var/tmp:/tmp:/etc/systemd/system:/usr/local:/root:/home"
DISKS = {
    Kind.OPT_FULL: ("/opt", "128m"),
    Kind.VAR_FULL: ("/var/lib", "64m"),
    Kind.ROOT_FULL: (EVERYWHERE, "128m"),
    Kind.INODES_FULL: (EVERYWHERE, "128m"),
}
READ_ONLY = {Kind.OPT_READ_ONLY: "/opt", Kind.VAR_READ_ONLY: "/var"}
BOOTS = {Kind.POWER_CUT, Kind.REBOOT}
CUTS = {Kind.CONTROLLER_STOP, Kind.LINE_CUT, Kind.CUT_UP, Kind.CUT_DOWN, Kind.SSHD_KILL}
"""Kinds in which host and controller hear nothing of each other until the repair."""
REPAIRED = {
    *CUTS,
    *DISKS,
    *READ_ONLY,
    *(Kind.LOSSY, Kind.HOST_THROTTLED, Kind.DAEMON_RELOAD, Kind.DAEMON_REEXEC, Kind.LOCK_HOLDER),
}
"""Kinds that last until somebody repairs them."""
BY_HAND = {
    Kind.OPERATOR_STOP: "stop",
    Kind.OPERATOR_START: "start",
    Kind.OPERATOR_RESTART: "restart",
    Kind.OPERATOR_EDIT: "edit",
    Kind.OPERATOR_MASK: "mask",
    Kind.OPERATOR_DELETE: "delete",
    Kind.OPERATOR_WIPE: "wipe",
    Kind.UNREADABLE_UNIT: "unreadable",
}
DEAF = 7
"""Seconds; deployer asks a systemd that it cannot reach again for 15."""
THROTTLED = 15.0
"""Seconds, unless it is repaired before."""
SHARE = (0.03, 0.27)
"""Seconds for which the processes of a throttled host run, and stand still, in turn."""
REEXEC_PAUSE = 0.4
HELD = 40
"""Seconds for which locks are held, unless it is repaired before."""


class Damage:
    """One fault, from before it to after its repair."""

    def __init__(self, kind: Kind, stand: Stand, *, alone: bool = False) -> None:
        self._kind = kind
        self._alone = alone
        self._stand = stand
        self._host = stand.host
        self._lasting = False
        self._worker: threading.Thread | None = None  # what goes on in the meantime
        self._holder: subprocess.Popen[bytes] | None = None
        self._left: tuple[str, ...] = ()  # how to remove, in the end, what is left on the host
        self.second: Controller | None = None

    @property
    def needs_disk(self) -> bool:
        """Whether the service must be deployed anew, on a small disk."""
        return self._kind in DISKS

    def prepare(self) -> None:
        """Before the run begins: bring the host into the state in which this can happen to it."""
        if self._kind is Kind.OPERATOR_START:
            self._by_hand("stop", SERVICE)

    def mount(self) -> None:
        """Put the small disk in."""
        self._stand.on_host(FILL, "mount", *DISKS[self._kind])

    def unmount(self) -> None:
        """Take it out again."""
        self._stand.on_host(FILL, "unmount", DISKS[self._kind][0])

    def begin(self, controller: Controller, version: str, release: Callable[[], None]) -> None:
        """Do it.  `release` lets what waits at a point go on; it is called when the damage is done."""
        self._lasting = self._kind in REPAIRED
        host = self._host
        if self._alone:
            controller.kill()
        match self._kind:
            case Kind.NONE | Kind.FLAPPING:
                pass  # a release that flaps needs nobody to break it
            case Kind.CONTROLLER_KILL:
                controller.kill()
            case Kind.CONTROLLER_STOP:
                controller.stop()
            case Kind.CONTROLLER_HUP:
                controller.hang_up()
            case Kind.CONTROLLER_CLOSED:
                controller.close()
            case Kind.LINE_CUT:
                self._stand.relay.cut()
            case Kind.CUT_UP:
                self._stand.relay.cut(down=False)
            case Kind.CUT_DOWN:
                self._stand.relay.cut(up=False)
            case Kind.LOSSY:
                self._stand.relay.lose()
            case Kind.SSHD_KILL:
                self._kill_sshd()
            case Kind.POWER_CUT:
                host.power_cut()
                host.boot()
            case Kind.REBOOT:
                self._reboot(release)
            case Kind.HOST_FROZEN:
                self._freeze(release)
            case Kind.HOST_THROTTLED:
                self._go_on_with(self._throttle)
            case Kind.OPT_FULL | Kind.VAR_FULL | Kind.ROOT_FULL:
                self._stand.on_host(FILL, "fill")
            case Kind.INODES_FULL:
                self._stand.on_host(FILL, "crowd")
            case Kind.OPT_READ_ONLY | Kind.VAR_READ_ONLY:
                self._stand.on_host(FILL, "lock", READ_ONLY[self._kind])
            case Kind.DAEMON_RELOAD | Kind.DAEMON_REEXEC:
                self._go_on_with(self._reload)
            case Kind.SYSTEMCTL_DEAF:
                self._left = ("hearing",)
                self._by_hand("deaf", str(DEAF))
            case Kind.OPERATOR_EDIT:
                self._left = ("unedit", SERVICE)
                self._by_hand("edit", SERVICE)
            case (
                Kind.OPERATOR_STOP
                | Kind.OPERATOR_START
                | Kind.OPERATOR_RESTART
                | Kind.OPERATOR_MASK
                | Kind.OPERATOR_DELETE
                | Kind.OPERATOR_WIPE
                | Kind.UNREADABLE_UNIT
            ):
                self._by_hand(BY_HAND[self._kind], SERVICE)
            case Kind.LOCK_HOLDER:
                self._hold()
            case Kind.TWO_CONTROLLERS:
                self.second = self._stand.start(version)
                self.second.wait(3)  # long enough to meet the first one where it waits
            case _:
                assert_never(self._kind)
        release()

    def wait(self) -> None:
        """Until it is over, if it ends by itself."""
        if self._kind is Kind.HOST_THROTTLED and self._worker is not None:
            self._worker.join()

    def repair(self, controller: Controller) -> None:
        """Make it good again; nothing happens when there is nothing to repair."""
        if not self._lasting:
            return
        self._lasting = False
        match self._kind:
            case Kind.CONTROLLER_STOP:
                controller.go_on()
            case Kind.LINE_CUT | Kind.CUT_UP | Kind.CUT_DOWN | Kind.LOSSY:
                self._stand.relay.repair()
            case Kind.SSHD_KILL:
                self._host.nsenter(["systemctl", "start", "ssh.service"])
                self._host.wait_until_ready()
            case Kind.OPT_FULL | Kind.VAR_FULL | Kind.ROOT_FULL | Kind.INODES_FULL:
                self._stand.on_host(FILL, "empty")
            case Kind.OPT_READ_ONLY | Kind.VAR_READ_ONLY:
                self._stand.on_host(FILL, "unlock", READ_ONLY[self._kind])
            case Kind.LOCK_HOLDER:
                if self._holder is not None:
                    with suppress(ProcessLookupError):
                        os.killpg(self._holder.pid, signal.SIGKILL)
                    self._holder.communicate()
            case _:
                if self._worker is not None:
                    self._worker.join(timeout=30)

    def clean_up(self) -> None:
        """Remove what stays after the repair, for nobody has to repair it."""
        left, self._left = self._left, ()
        if left and self._host.alive:
            self._by_hand(*left)

    @property
    def is_kept(self) -> bool:
        """Whether what somebody changed on the host, and deployer must leave alone, is still there."""
        if self._kind is not Kind.OPERATOR_EDIT:
            return True
        words = ["sh", "-s", "edited", SERVICE]
        return self._host.nsenter(words, check=False, input=BY_HAND_SCRIPT.read_bytes()).returncode == 0

    def _by_hand(self, *words: str) -> None:
        self._stand.on_host(BY_HAND_SCRIPT, *words)

    def _go_on_with(self, work: Callable[[], None]) -> None:
        self._worker = threading.Thread(target=work, daemon=True)
        self._worker.start()

    def _kill_sshd(self) -> None:
        # First the unit, which would start it again; its main process only, as KillMode=process says.
        self._host.nsenter(["systemctl", "stop", "ssh.service"])
        for pid in self._host.cgroup.below("container").processes():
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, signal.SIGKILL)

    def _reboot(self, release: Callable[[], None]) -> None:
        before = self._host.init
        # The answer may be lost: the host goes down while systemctl still talks.
        self._host.nsenter(["systemctl", "reboot"], check=False)
        release()
        until = time.monotonic() + 180
        while self._host.init in (None, before):
            if time.monotonic() > until:
                raise HostsError(f"{self._host.name} did not reboot")
            time.sleep(0.02)
        self._host.wait_until_ready()

    def _reload(self) -> None:
        while self._lasting:
            with suppress(CommandFailedError, HostsError):
                self._host.nsenter(["systemctl", str(self._kind)])  # it is called as the order is
            if self._kind is Kind.DAEMON_REEXEC:
                time.sleep(REEXEC_PAUSE)

    def _freeze(self, release: Callable[[], None]) -> None:
        # The controller is to meet a host that stands still; but what it asks of that host itself waits.
        releasing = threading.Thread(target=release, daemon=True)
        self._host.cgroup.freeze()
        try:
            releasing.start()
            time.sleep(self._stand.settings.deadline + 2)
        finally:
            self._host.cgroup.thaw()
        releasing.join(timeout=30)

    def _throttle(self) -> None:
        # Quotas of the kernel are in other places on other machines; this is the same to a process.
        runs, stands = SHARE
        until = time.monotonic() + THROTTLED
        try:
            while self._lasting and time.monotonic() < until:
                self._host.cgroup.freeze()
                time.sleep(stands)
                self._host.cgroup.thaw()
                time.sleep(runs)
        finally:
            self._host.cgroup.thaw()

    def _hold(self) -> None:
        words = ["sh", "-s", "hold", SERVICE, str(HELD)]
        self._holder = self._host.begin(words, BY_HAND_SCRIPT)
        # It says how many it has; before that, it has not all of them.
        if self._holder.stdout is None or not self._holder.stdout.readline().strip().isdigit():
            raise HostsError("nobody could hold any lock")
