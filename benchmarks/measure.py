"""Run one process with all that it starts, and see what it took."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contender import BenchError
from tests.hosts.cgroups import Cgroup

if TYPE_CHECKING:
    from benchmarks.contender import Command

LIMIT = 900.0  # seconds
LOOK = 0.1  # seconds between two looks at the memory
LAST_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Seconds of wall clock and of CPU; bytes of the largest process; what it printed.

    `cpu` is that of all processes, those too that outlive the first one, such as masters of OpenSSH.
    `memory` (bytes of all of them together, shared pages once) and `threads` are peaks, if it was watched.
    """

    wall: float
    cpu: float
    largest: int
    memory: int
    threads: int
    output: str


def take(command: Command, folder: Path, *, watch: bool = False) -> Taken:
    """Run it in `folder`, with that as its home, to its end.

    Nothing of it lives on.  Watching costs CPU, so that times of a watched process are not worth much.
    Raises BenchError when its status is not 0, with the last lines it printed.
    """
    group = Cgroup(name=f"deployer-bench-{os.getpid()}")
    group.create()
    # A shell that moves itself, and becomes the process: all it starts is then in the group.
    joined = ("sh", "-c", 'echo 0 >"$0" && exec "$@"', str(group.folders[0] / "cgroup.procs"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    try:
        with tempfile.TemporaryFile() as output:
            began = time.monotonic()
            process = subprocess.Popen(
                (*joined, *command.argv),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            limit = threading.Timer(LIMIT, group.kill)
            limit.start()
            watcher = _Watcher(group) if watch else None
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu = _cpu(group)
            limit.cancel()
            memory, threads = watcher.end() if watcher else (0, 0)
            output.seek(0)
            said = output.read().decode(errors="replace")
    finally:
        group.remove()
    if process.returncode != 0:
        last = "\n".join(said.splitlines()[-LAST_LINES:])
        raise BenchError(f"{Path(command.argv[0]).name} ended with {process.returncode}: {last}")
    return Taken(
        wall=wall,
        cpu=cpu,
        largest=usage.ru_maxrss * 1024,
        memory=memory,
        threads=threads,
        output=said,
    )


def _cpu(group: Cgroup) -> float:
    """Seconds that all processes which were ever in it have used."""
    lines = (group.folders[0] / "cpu.stat").read_text().splitlines()
    return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6


class _Watcher:
    """Looks at all processes of a group, ten times a second."""

    def __init__(self, group: Cgroup) -> None:
        self._group = group
        self._ended = threading.Event()
        self._memory = 0
        self._threads = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> tuple[int, int]:
        """Peaks: bytes, threads."""
        self._ended.set()
        self._thread.join()
        return self._memory, self._threads

    def _watch(self) -> None:
        while not self._ended.wait(LOOK):
            memory, threads = 0, 0
            for pid in self._group.processes():
                # The proportional set size: a page that two processes share counts half for each.
                memory += _field(pid, "smaps_rollup", "Pss:") * 1024
                threads += _field(pid, "status", "Threads:")
            self._memory = max(self._memory, memory)
            self._threads = max(self._threads, threads)


def _field(pid: int, file: str, name: str) -> int:
    """A number of a process; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0)
