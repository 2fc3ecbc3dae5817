"""A cgroup per host.

Hosts started from one shell would share its cgroup; systemd in each then takes the services of the others
for its own, and kills them.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts.programs import HostsError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNT = Path("/sys/fs/cgroup")


def hierarchies() -> tuple[Path, ...]:
    """The mounted hierarchies that systemd-nspawn uses; the first one is cgroup2."""
    if (MOUNT / "cgroup.controllers").exists():
        return (MOUNT,)
    hybrid = (MOUNT / "unified", MOUNT / "systemd")
    if (hybrid[0] / "cgroup.controllers").exists() and hybrid[1].is_dir():
        return hybrid
    raise HostsError("no cgroup2 below /sys/fs/cgroup: mount it at /sys/fs/cgroup or /sys/fs/cgroup/unified")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """A cgroup of the same name in every hierarchy."""

    name: str

    def below(self, name: str) -> Cgroup:
        return Cgroup(name=f"{self.name}/{name}")

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(hierarchy / self.name for hierarchy in hierarchies())

    def create(self) -> None:
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)

    def delegate(self) -> None:
        """Hand the controllers there are (memory, pids ...) down, so that limits in units work.

        Those that a hybrid machine uses in cgroup v1 are not there: such limits hold nowhere in its hosts.
        """
        folder = self.folders[0]
        for controller in (folder / "cgroup.controllers").read_text().split():
            # The kernel may refuse one, such as cpu while realtime processes run; a host does without it.
            with suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")

    def processes(self) -> Iterator[int]:
        """The pids in this cgroup and all below it."""
        # os.walk, unlike Path.rglob, does not mind that a folder goes away meanwhile.
        for folder, _, _ in os.walk(self.folders[0]):
            with suppress(OSError):
                yield from map(int, Path(folder, "cgroup.procs").read_text().split())

    @property
    def populated(self) -> bool:
        try:
            return "populated 1" in (self.folders[0] / "cgroup.events").read_text()
        except OSError:
            return False

    def kill(self, *, seconds: float = 30) -> None:
        """SIGKILL everything in it at one moment, and wait until it is dead; only members can be hit."""
        try:
            (self.folders[0] / "cgroup.kill").write_text("1")
        except FileNotFoundError:
            return
        deadline = time.monotonic() + seconds
        while self.populated:
            if time.monotonic() > deadline:
                raise HostsError(f"processes in {self.folders[0]} do not die")
            time.sleep(0.005)

    def freeze(self) -> None:
        """Stop every process in it at one moment; only members are stopped."""
        (self.folders[0] / "cgroup.freeze").write_text("1")

    def thaw(self) -> None:
        """Let them go on."""
        with suppress(FileNotFoundError):
            (self.folders[0] / "cgroup.freeze").write_text("0")

    def remove(self, *, seconds: float = 10) -> None:
        """Kill everything in it, and remove it and all below it."""
        deadline = time.monotonic() + seconds
        for top in self.folders:
            while top.exists():
                # Again and again: a process may just be moving in, and one being buried answers EBUSY.
                self.kill()
                for folder, _, _ in os.walk(top, topdown=False):
                    with suppress(OSError):
                        Path(folder).rmdir()
                if top.exists() and time.monotonic() > deadline:
                    raise HostsError(f"cannot remove the cgroup {top}")
                time.sleep(0.005)
