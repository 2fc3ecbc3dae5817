"""The table counts what was seen."""

from __future__ import annotations

from tests.faults.fault import parse_fault
from tests.faults.table import render_table
from tests.faults.trial import Result


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
