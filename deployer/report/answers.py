"""What is alike in the answers of hosts, whatever was asked: none at all, JSON lines, no escape sequences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployer.outcome import Unreachable
from deployer.report.redact import redactor

if TYPE_CHECKING:
    from deployer.ask.ask import NoAnswer

VERSION = 1
"""Of the JSON form of answers; it changes when a field goes or changes its meaning."""

visible = redactor(())
"""Text without control characters, so that no host can write escape sequences to the terminal."""


def no_answer(host: str, answer: NoAnswer, *, json_wanted: bool) -> str:
    """The one line for a host that could not be asked."""
    failure = answer.failure
    word = "unreachable" if isinstance(answer, Unreachable) else "failed"
    if json_wanted:
        plain = {"cause": failure.cause, "message": failure.message, "hint": failure.hint}
        return as_line({"host": host, "outcome": word, "failure": plain})
    return visible(f"{host}  {word}: {failure.message}" + (f" ({failure.hint})" if failure.hint else ""))


def as_line(fields: dict[str, Any]) -> str:
    """One JSON object on a line of its own."""
    return json.dumps({"version": VERSION} | fields, ensure_ascii=False)
