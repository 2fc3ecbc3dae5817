"""Take secrets out of text that came from a host: journals, answers, output of commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deployer.secret import Secret

_SHORTEST = 4  # characters; shorter ones hide too little and would blot out half the text
_HARMLESS = re.compile(r"\d{1,5}|true|false|none|null|debug|info|release|production|development|staging")


def redactor(secrets: Iterable[Secret]) -> Callable[[str], str]:
    """A function that puts `***` for each of `secrets` in a text, and for each line of a longer one.

    Ports, booleans and the usual names of modes stay readable.
    """
    values = {line for secret in secrets for line in [secret.reveal(), *secret.reveal().splitlines()]}
    hidden = sorted(
        (value for value in values if len(value) >= _SHORTEST and not _HARMLESS.fullmatch(value)),
        key=len,
        reverse=True,
    )
    if not hidden:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, hidden)))
    return lambda text: pattern.sub("***", text)
