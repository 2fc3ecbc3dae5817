"""Text from elsewhere, made harmless: what steers a terminal, or hides on it, is shown; long text is cut."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

# C0 but tab and newline, DEL, C1; line separators, the marks of annotations, and lone surrogates.
_STEERING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufff9-\ufffb\ud800-\udfff"
# What Unicode says need not be shown, zero-width, bidirectional (TR 9, CVE-2021-42574), fillers, tags and
# variation selectors: Default_Ignorable_Code_Point in DerivedCoreProperties.txt.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HIDDEN = re.compile(f"[{_STEERING}{_IGNORABLE}]")
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
