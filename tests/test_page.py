"""The measured part of a page stands between its marks, and nothing else of it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.page import write_part

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_measured_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Above\n<!-- it: begin -->\nold\n<!-- it: end -->\nbelow\n<!-- other: begin -->\n")
    write_part(page, "it", "| new |\n")
    assert page.read_text() == (
        "# Above\n<!-- it: begin -->\n| new |\n<!-- it: end -->\nbelow\n<!-- other: begin -->\n"
    )
    bare = tmp_path / "bare.md"
    write_part(bare, "it", "| new |\n")
    assert bare.read_text() == "| new |\n"
