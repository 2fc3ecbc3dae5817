"""Rows of text as columns of even width, for a person's eyes; a long cell moves only its own row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDEST = 80  # characters; else one cell would decide how much is written for all others


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> Iterator[str]:
    """One line for each row; all rows have as many cells."""
    widths = [min(max(map(len, cells)), _WIDEST) for cells in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"{indent}{line}".rstrip()
