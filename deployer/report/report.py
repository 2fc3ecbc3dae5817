"""Choose who listens: a live console, log lines or JSON; and make sure events come one at a time."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from deployer.report.events import RunFinished
from deployer.visible import all_visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.report.events import Event, Listener


@contextmanager
def reporting(*, run: str, json: bool, check: bool, also: Sequence[Listener] = ()) -> Iterator[Listener]:
    """The listener for this run, writing to standard output; closed when the run ends, however it ends.

    `also` are told first, and as long as the run lasts; they must not raise.
    """
    if json:
        from deployer.report.json_lines import JsonLines  # noqa: PLC0415  only what is used is imported

        yield _one_at_a_time(JsonLines(sys.stdout, run), also)
    elif not sys.stdout.isatty():
        from deployer.report.log_lines import LogLines  # noqa: PLC0415

        yield _one_at_a_time(LogLines(sys.stdout, run), also)
    else:
        from rich.console import Console  # noqa: PLC0415

        from deployer.report.console import ConsoleReport  # noqa: PLC0415

        with ConsoleReport(Console(), check=check) as console:
            yield _one_at_a_time(console, also)


def _one_at_a_time(listener: Listener, also: Sequence[Listener]) -> Listener:
    lock = threading.Lock()
    silent = ended = False

    def tell(event: Event) -> None:
        nonlocal silent, ended
        event = all_visible(event)  # whoever listens
        with lock:
            if ended:
                return
            ended = isinstance(event, RunFinished)  # threads that nobody waits for may talk on
            for other in also:
                other(event)
            if silent:
                return
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  whatever it is, no host may be left half done for it
                silent = True
                _give_up(error)

    return tell


def _give_up(error: Exception) -> None:
    """Standard output is gone (`deployer run ... | head`, a full disk): the run goes on without it."""
    reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    with suppress(OSError, ValueError):
        print(f"deployer: no more output ({reason}); the run goes on", file=sys.stderr)  # noqa: T201  the last resort
    if isinstance(error, OSError):
        with suppress(OSError, ValueError):  # else Python fails once more when it flushes at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
