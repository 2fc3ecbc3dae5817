"""--step: a question on the terminal, and the answer of whoever sits there, as Ansible asks it."""

from __future__ import annotations

import os
import select
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.rollout import Answer

_ANSWERS: dict[str, Answer] = {
    "": "no",
    "n": "no",
    "no": "no",
    "y": "yes",
    "yes": "yes",
    "c": "continue",
    "continue": "continue",
}
_GLANCE = 0.1  # seconds until `stop` is seen


def ask(question: str, *, stop: Callable[[], bool]) -> Answer:
    """Ask until one of the answers is given; "no" at the end of input, and once `stop` says so.

    What was typed before the question is not an answer to it.
    """
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    while True:
        sys.stderr.write(f"{question}  (N)o/(y)es/(c)ontinue: ")
        sys.stderr.flush()
        line = _line(stop)
        if not line.endswith("\n"):
            sys.stderr.write("\n")
            return "no"
        if (word := line.strip().lower()) in _ANSWERS:
            return _ANSWERS[word]


def _line(stop: Callable[[], bool]) -> str:
    """One line; shorter at the end of input.  Not `input()`, which waits on when a signal was handled."""
    typed = b""
    while not stop():
        if not select.select([sys.stdin], [], [], _GLANCE)[0]:
            continue
        piece = os.read(sys.stdin.fileno(), 1024)
        typed += piece
        if not piece or typed.endswith(b"\n"):
            return typed.decode(errors="replace")
    return ""
