"""Many faults on several hosts at once: one after the other on each host."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.faults.stand import BAD, Settings, Stand, build_versions
from tests.faults.trial import Result, attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.fault import Fault
    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab


def run_campaign(
    faults: Sequence[Fault], lab: Lab, settings: Settings, *, done: Callable[[Result], None]
) -> list[Result]:
    """Try all of them; `done` hears of each as it ends.  Only faults of flavours that the lab has."""
    build_versions(settings)
    queue = _Queue(faults)
    results: list[Result] = []
    lock = threading.Lock()

    def heard(result: Result) -> None:
        with lock:
            results.append(result)
            done(result)

    def work(host: TestHost) -> None:
        _work(Stand(lab, host, settings), queue, heard)

    with ThreadPoolExecutor(max_workers=len(lab.hosts)) as pool:
        list(pool.map(work, lab.hosts))
    for fault in queue.left:
        heard(Result(fault=fault, host="-", broken=["no host was left to try it on"]))
    return results


class _Queue:
    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = deque(faults)
        self._lock = threading.Lock()

    @property
    def left(self) -> list[Fault]:
        return list(self._faults)

    def next(self, flavour: str) -> Fault | None:
        """The next fault for a host of this flavour."""
        with self._lock:
            for fault in self._faults:
                if fault.flavour == flavour:
                    self._faults.remove(fault)
                    return fault
        return None


def _work(stand: Stand, queue: _Queue, done: Callable[[Result], None]) -> None:
    try:
        durations = _measure(stand)
    except Exception:  # noqa: BLE001  the other hosts go on; its faults are theirs
        fault = queue.next(stand.host.flavour)
        if fault is not None:
            broken = ["no undisturbed run"]
            evidence = traceback.format_exc() + stand.evidence()
            done(Result(fault=fault, host=stand.host.name, broken=broken, evidence=evidence))
        return
    while (fault := queue.next(stand.host.flavour)) is not None:
        done(attempt(fault, stand, durations=durations))
        if not stand.host.alive:
            return


def _measure(stand: Stand) -> dict[bool, float]:
    """How long an undisturbed run takes from its first word: of a good release, and of a bad one."""
    stand.deploy(stand.next_version())
    durations: dict[bool, float] = {}
    for bad in (False, True):
        run = stand.start(BAD if bad else stand.next_version())
        run.wait_until(lambda run=run: run.has_begun, seconds=60)  # type: ignore[misc]
        began = time.monotonic()
        if not run.wait(120) or run.code != int(bad):
            run.kill()
            raise RuntimeError(f"an undisturbed run ended with {run.code}:\n{run.said}")
        durations[bad] = time.monotonic() - began
        if not bad:
            stand.version = stand.answer()
    return durations
