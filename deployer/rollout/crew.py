"""The threads that work on hosts, and the one that waits for them and for Ctrl-C."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self, TypeVar

from deployer.report.events import RunAbandoned, RunInterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deployer.interrupt import Interrupt
    from deployer.report.events import Listener
    from deployer.verify.verify import Clock

_T = TypeVar("_T")
_GLANCE = 0.1  # seconds until an interrupt is noticed


class AbandonedError(Exception):
    """A second interrupt: what is under way is left to itself."""


class Crew:
    """Runs work on many hosts at a time.  Use as a context manager."""

    def __init__(self, forks: int, *, interrupt: Interrupt, emit: Listener, clock: Clock) -> None:
        self._pool = ThreadPoolExecutor(max_workers=forks, thread_name_prefix="host")
        self._interrupt = interrupt
        self._emit = emit
        self._clock = clock
        self._said = 0  # how many requests to end were told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)  # after a second Ctrl-C nobody waits

    def each(self, items: Iterable[_T], work: Callable[[_T], None]) -> None:
        """Run `work` on all items in parallel and wait for all.

        Raises:
            AbandonedError: the second interrupt came; the work goes on, and must not be waited for.

        """
        pending = {self._pool.submit(work, item) for item in items}
        while pending:
            done, pending = wait(pending, timeout=_GLANCE)
            self.look_up()
            for future in done:
                future.result()

    def rest(self, seconds: float) -> None:
        """Let time pass; an interrupt ends it.  Raises AbandonedError."""
        until = self._clock.now() + seconds
        while not self._interrupt and (left := until - self._clock.now()) > 0:
            self._clock.sleep(min(_GLANCE, left))
        self.look_up()

    def look_up(self) -> None:
        """Tell of an interrupt, once.  Raises AbandonedError on the second."""
        if self._interrupt and self._said < 1:
            self._said = 1
            self._emit(RunInterrupted())
        if self._interrupt.twice:
            if self._said < 2:  # noqa: PLR2004  requests
                self._said = 2
                self._emit(RunAbandoned())
            raise AbandonedError
