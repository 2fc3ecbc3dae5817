"""What is alike in the answers of hosts, whatever was asked: none at all, and JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployer.outcome import Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployer.ask.ask import NoAnswer

VERSION = 1
"""Of the JSON form of answers; it changes when a field goes or changes its meaning."""

_FAILURE = "failure"


def no_answer(host: str, answer: NoAnswer, *, json_wanted: bool) -> str:
    """The one line for a host that could not be asked."""
    failure = answer.failure
    word = "unreachable" if isinstance(answer, Unreachable) else "failed"
    if json_wanted:
        plain = {"cause": failure.cause, "message": failure.message, "hint": failure.hint}
        return as_line({"host": host, "outcome": word, _FAILURE: plain})
    return f"{host}  {word}: {failure.message}" + (f" ({failure.hint})" if failure.hint else "")


def as_line(fields: dict[str, Any], more: Iterable[tuple[str, str]] = ()) -> str:
    """One JSON object on a line of its own.

    `more` has names that a host has given: none takes the place of one of ours, or tells of a failure.
    """
    ours = {"version": VERSION} | fields
    others = {name: value for name, value in more if name not in ours and name != _FAILURE}
    return json.dumps(ours | others, ensure_ascii=False)
