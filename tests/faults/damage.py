"""How each kind of fault is done to a host or its controller, and how it is repaired."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.fault import Kind
from tests.faults.stand import FILL
from tests.hosts.programs import CommandFailedError, HostsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.controller import Controller
    from tests.faults.stand import Stand

DISKS = {Kind.OPT_FULL: ("/opt", "128m"), Kind.VAR_FULL: ("/var/lib", "64m")}
READ_ONLY = {Kind.OPT_READ_ONLY: "/opt", Kind.VAR_READ_ONLY: "/var"}
BOOTS = {Kind.POWER_CUT, Kind.REBOOT}
REPAIRED = {
    *(Kind.CONTROLLER_STOP, Kind.LINE_CUT, Kind.SSHD_KILL, Kind.DAEMON_RELOAD),
    *DISKS,
    *READ_ONLY,
}
"""Kinds that last until somebody repairs them."""


class Damage:
    """One fault, from before it to after its repair."""

    def __init__(self, kind: Kind, stand: Stand, *, alone: bool = False) -> None:
        self._kind = kind
        self._alone = alone
        self._stand = stand
        self._host = stand.host
        self._lasting = False
        self._reloading: threading.Thread | None = None
        self.second: Controller | None = None

    @property
    def needs_disk(self) -> bool:
        """Whether the service must be deployed anew, on a small disk."""
        return self._kind in DISKS

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
            case Kind.NONE:
                pass
            case Kind.CONTROLLER_KILL:
                controller.kill()
            case Kind.CONTROLLER_STOP:
                controller.stop()
            case Kind.LINE_CUT:
                self._stand.relay.cut()
            case Kind.SSHD_KILL:
                self._kill_sshd()
            case Kind.POWER_CUT:
                host.power_cut()
                host.boot()
            case Kind.REBOOT:
                self._reboot(release)
            case Kind.OPT_FULL | Kind.VAR_FULL:
                self._stand.on_host(FILL, "fill", DISKS[self._kind][0])
            case Kind.OPT_READ_ONLY | Kind.VAR_READ_ONLY:
                self._stand.on_host(FILL, "lock", READ_ONLY[self._kind])
            case Kind.DAEMON_RELOAD:
                self._reloading = threading.Thread(target=self._reload, daemon=True)
                self._reloading.start()
            case Kind.TWO_CONTROLLERS:
                self.second = self._stand.start(version)
                self.second.wait(3)  # long enough to meet the first one where it waits
        release()

    def repair(self, controller: Controller) -> None:
        """Make it good again; nothing happens when there is nothing to repair."""
        if not self._lasting:
            return
        self._lasting = False
        match self._kind:
            case Kind.CONTROLLER_STOP:
                controller.go_on()
            case Kind.LINE_CUT:
                self._stand.relay.repair()
            case Kind.SSHD_KILL:
                self._host.nsenter(["systemctl", "start", "ssh.service"])
                self._host.wait_until_ready()
            case Kind.OPT_FULL | Kind.VAR_FULL:
                self._stand.on_host(FILL, "empty", DISKS[self._kind][0])
            case Kind.OPT_READ_ONLY | Kind.VAR_READ_ONLY:
                self._stand.on_host(FILL, "unlock", READ_ONLY[self._kind])
            case _:
                if self._reloading is not None:
                    self._reloading.join(timeout=30)

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
                self._host.nsenter(["systemctl", "daemon-reload"])
