"""A run that stands still at a named point (deployer/fault.py), while a test does something to it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e.live import LiveRun
from tests.e2e.machine import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.site import Site

HOST_POINT = "/run/deployer-fault"
"""Is there while a script on the host stands at its point (deployer/fault.py), until somebody removes it."""


class StillRun(LiveRun):
    """`deployer run site.yml --json ARGS` that stops whenever it comes to `point` of the controller."""

    def __init__(self, site: Site, point: str, *args: str) -> None:
        self._flag: Path = site.folder / f"still-at-{point}"
        env = {"DEPLOYER_FAULT_POINT": point, "DEPLOYER_FAULT_FILE": str(self._flag)}
        super().__init__(site, *args, env=env)

    def wait_until_still(self) -> None:
        """Until it stands at its point."""
        eventually(self._flag.exists, seconds=60, what="the point")

    def go_on(self) -> None:
        """Let it go on, to the next time it comes there."""
        self._flag.unlink()


@contextmanager
def still(site: Site, point: str, *args: str) -> Iterator[StillRun]:
    """A run that stands at `point`; it is killed in the end, if it is still there."""
    with StillRun(site, point, *args) as run:
        run.wait_until_still()
        yield run
