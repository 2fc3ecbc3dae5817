"""Get a service's main process killed by the kernel for want of memory, from outside its host.

`python -m tests.restart.out_of_memory LAB_FOLDER HOST SERVICE`: limits the memory of its cgroup, or gives it
one with a limit, and tells it (SIGALRM, see ustest.c) to allocate until it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts.cgroups import MOUNT
from tests.hosts.lab import Lab
from tests.hosts.processes import Process

if TYPE_CHECKING:
    from tests.hosts.host import TestHost

LIMIT = 64 << 20
SECONDS = 20


def outside(host: TestHost, pid: int) -> int:
    """Our number of a host's process."""
    for ours in host.cgroup.below("container").processes():
        status = Path(f"/proc/{ours}/status").read_text().splitlines()
        if any(line.split()[2:] == [str(pid)] for line in status if line.startswith("NSpid:")):
            return ours
    raise ProcessLookupError(pid)


def starve(pid: int) -> None:
    """Return when the process is dead."""
    process = Process.of(pid)
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    groups = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    if "memory" in groups:
        group = MOUNT / "memory" / groups["memory"].lstrip("/") / f"starved-{pid}"
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
        (group / "cgroup.procs").write_text(str(pid))
    else:  # the cgroup of its unit, which goes away with it
        group = MOUNT / groups[""].lstrip("/")
        (group / "memory.max").write_text(str(LIMIT))
    os.kill(pid, signal.SIGALRM)
    try:
        if process is not None and not process.wait(SECONDS):
            raise TimeoutError(f"{pid} lives")
    finally:
        if "memory" in groups:
            group.rmdir()


def main(folder: str, name: str, service: str) -> None:
    lab = Lab.load(Path(folder))
    assert lab is not None
    host = next(host for host in lab.hosts if host.name == name)
    pid = host.nsenter(["systemctl", "show", "--value", "--property=MainPID", service]).stdout
    starve(outside(host, int(pid)))


if __name__ == "__main__":
    main(*sys.argv[1:])
