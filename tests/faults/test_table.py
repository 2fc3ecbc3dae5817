"""The table counts what was seen, and takes its place in a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.fault import parse_fault
from tests.faults.table import BEGIN, END, render_table, write_table
from tests.faults.trial import Result

if TYPE_CHECKING:
    from pathlib import Path


def result(fault: str, *, outage: float = 0.5, broken: str = "", stuck: bool = False) -> Result:
    return Result(
        fault=parse_fault(fault),
        host="host1",
        reached=True,
        broken=[broken] if broken else [],
        stuck=stuck,
        outage=outage,
        ended_on="old",
    )


def test_a_row_for_each_kind_and_one_for_all() -> None:
    lines = render_table(
        [
            result("power-cut@switch.flipped/debian12", outage=3),
            result("power-cut@0.5/debian13", outage=9, broken="down"),
            result("reboot@0.5/debian13", stuck=True),
        ]
    ).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert rows == [
        ["power-cut", "2", "1", "1", "2", "0", "1", "0", "6.0 s", "9.0 s"],
        ["reboot", "1", "0", "1", "1", "0", "0", "1", "0.5 s", "0.5 s"],
        ["**all**", "3", "1", "2", "3", "0", "1", "1", "3.0 s", "9.0 s"],
    ]


def test_the_table_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Above\n{BEGIN}\nold\n{END}\nbelow\n")
    write_table(page, "| new |\n")
    assert page.read_text() == f"# Above\n{BEGIN}\n| new |\n{END}\nbelow\n"
    bare = tmp_path / "bare.md"
    write_table(bare, "| new |\n")
    assert bare.read_text() == "| new |\n"
