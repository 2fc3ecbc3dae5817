"""The program, as `deployer` and as `python -m deployer`; light, so that a Ctrl-C is soon understood."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = 130  # outcome.ExitCode, which takes its time to import


def command() -> NoReturn:
    """Import the command line, which takes a tenth of a second, and run it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup`, or a shell's `&`
            signal.signal(number, _end)
    from deployer.cli import command as run  # noqa: PLC0415  that is what must not be interrupted by a traceback

    run()


def _end(_signal: int, _frame: FrameType | None) -> None:
    try:
        os.write(2, b"deployer: interrupted; nothing was changed\n")
    finally:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    command()
