"""Pages of the manual with a part that is measured, between two marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_part(file: Path, name: str, text: str) -> None:
    """Replace what stands between the two marks of `name` in `file`; a file without them becomes the text."""
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = file.read_text() if file.exists() else ""
    before, begin, rest = old.partition(first)
    _, end, after = rest.partition(last)
    file.write_text(f"{before}{first}\n{text}{last}{after}" if begin and end else text)
