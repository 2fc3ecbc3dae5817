"""Ctrl-C, SIGTERM and SIGHUP while hosts are worked on are counted, and the rollout looks at the count."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # CI cancels with SIGTERM
_GONE = signal.SIGHUP  # the terminal was closed, or the connection to it was lost


@dataclass(slots=True)
class Interrupt:
    """How often somebody asked the run to end.

    A plain number: a signal handler that took a lock could wait for the very thread that it interrupts.
    """

    count: int = 0

    def __bool__(self) -> bool:
        """Hosts in flight finish, no other one starts."""
        return self.count > 0

    @property
    def twice(self) -> bool:
        """Hosts in flight are not waited for either."""
        return self.count > 1

    def request(self) -> None:
        """Ask once more."""
        self.count += 1


@contextmanager
def heeding(interrupt: Interrupt) -> Iterator[None]:
    """Let signals ask for an end instead of raising; from the third on they end the process on the spot.

    A terminal that is gone asks once at most: it tells twice, by the shell and by the kernel, and there is
    nobody who would have lost patience.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == _GONE and interrupt:
            return
        interrupt.request()
        if interrupt.twice:
            for each in before.keys() - {_GONE}:
                signal.signal(each, signal.SIG_DFL)

    # What is ignored stays so: a shell without job control starts `deployer ... &` that way, and nohup does.
    before = {
        number: handler
        for number in (*_SIGNALS, _GONE)
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
