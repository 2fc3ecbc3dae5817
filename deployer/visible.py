"""Text from elsewhere, made harmless: what steers a terminal, or hides on it, is shown; long text is cut."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

# C0 but tab and newline, DEL, C1; zero-width and bidirectional characters (Unicode TR 9, CVE-2021-42574),
# line separators, tags, and lone surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

_BREAKS = str.maketrans("\t\n", "\ufffd\ufffd")

LONGEST = 2000
"""Characters of a text that a person is to read, or a program to look into."""


def cut(text: str) -> str:
    """`text`, or its beginning and how long it was."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


def visible(text: str) -> str:
    """`text` with U+FFFD for each character that a terminal would obey or not show."""
    return _HIDDEN.sub("\ufffd", text)


def one_line(text: str) -> str:
    """`text` as it may stand in a line with others: not long, and its own lines and tabs can be seen."""
    return visible(cut(text)).translate(_BREAKS)


def all_visible(value: _T, by: Callable[[str], str] = visible) -> _T:
    """The same for every text in an event, or in any other frozen dataclass, tuple or mapping."""
    if isinstance(value, str):
        return cast("_T", by(value))
    if isinstance(value, tuple):
        items = tuple(all_visible(item, by) for item in value)
        return cast("_T", items) if items != value else value
    if isinstance(value, dict):
        return cast("_T", {all_visible(key, by): all_visible(item, by) for key, item in value.items()})
    if is_dataclass(value) and not isinstance(value, type):
        changed: dict[str, Any] = {}
        for field in fields(value):
            old = getattr(value, field.name)
            new = all_visible(old, by)
            if new is not old and new != old:
                changed[field.name] = new
        return cast("_T", replace(value, **changed)) if changed else value
    return value
