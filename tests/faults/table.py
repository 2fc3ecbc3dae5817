"""The measured table: faults tried, hosts broken, locks stuck, outages, by kind."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tests.faults.fault import At, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.trial import Result

HEAD = (
    *("what broke", "faults", "at points", "at random", "ended on old", "on new", "hosts broken"),
    *("locks stuck", "outage, median", "outage, longest"),
)


def render_table(results: Sequence[Result]) -> str:
    """Markdown; a row for each kind that was tried, and one for all."""
    rows = [_row(str(kind), [each for each in results if each.fault.kind is kind]) for kind in Kind]
    rows.append(_row("**all**", results))
    shown = [row for row in rows if row[1] != "0"]
    lines = [HEAD, ("---", *("---:" for _ in HEAD[1:])), *shown]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    outages = [each.outage for each in results] or [0.0]
    at_points = sum(isinstance(each.fault.moment, At) and each.reached for each in results)
    return (
        name,
        str(len(results)),
        str(at_points),
        str(sum(not isinstance(each.fault.moment, At) for each in results)),
        str(sum(each.ended_on == "old" for each in results)),
        str(sum(each.ended_on == "new" for each in results)),
        str(sum(bool(each.broken) for each in results)),
        str(sum(each.stuck for each in results)),
        f"{statistics.median(outages):.1f} s",
        f"{max(outages):.1f} s",
    )
