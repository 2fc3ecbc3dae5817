"""Make text from a host fit to show: journals, answers, output of commands, without secrets and escapes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from deployer.secret import Secret

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline
_SHORTEST = 4  # characters; shorter ones hide too little and would blot out half the text
_HARMLESS = re.compile(r"\d{1,5}|true|false|none|null|debug|info|release|production|development|staging")


def redactor(secrets: Iterable[Secret]) -> Callable[[str], str]:
    """A function that puts `***` for each of `secrets` in a text, and for each line of a longer one.

    Control characters become U+FFFD, so that no service can write escape sequences to the terminal.

    Ports, booleans and the usual names of modes stay readable.  Shorten a text only after this: a part of
    a secret is not found any more.
    """
    texts = {line for secret in secrets for line in [secret.reveal(), *secret.reveal().splitlines()]}
    values = {spelling for text in texts for spelling in _spellings(text)}
    hidden = sorted(
        (value for value in values if len(value) >= _SHORTEST and not _HARMLESS.fullmatch(value)),
        key=len,
        reverse=True,
    )
    pattern = re.compile("|".join(map(re.escape, hidden)) or "(?!)")  # (?!) matches nothing
    return lambda text: _CONTROL.sub("\ufffd", pattern.sub("***", text))


def _spellings(text: str) -> Iterator[str]:
    """As it is; in JSON, which many services log; in the double quotes of our own `.env`."""
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield re.sub(r'["\\$]', r"\\\g<0>", text)
