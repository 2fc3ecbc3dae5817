"""The measured part of docs/performance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.results import OURS, Cell, Results, Wire, rows
from benchmarks.targets import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.job import Row


def render(results: Results, words: dict[str, str], *, chart: str) -> str:
    """Markdown; `words` are all contenders in order, with their names for people."""
    present = {cell.contender for cell in results.cells}
    shown = {name: each for name, each in words.items() if name in present}
    parts = [
        ("Targets", _targets(results, words)),
        ("Seconds", _grid(results, shown, lambda cell: _time(results, cell))),
        ("Controller: CPU a host, and peak memory of all its processes", _grid(results, shown, _cost)),
        ("On the line, for each host", _grid(results, shown, _on_wire)),
        ("Many names", _many(results)),
        ("Runs", _runs(results)),
    ]
    sections = [f"### {title}\n\n{text}" for title, text in parts if text]
    errors = "".join(
        f"- {cell.row.words}, {words.get(cell.contender, cell.contender)}: `{' '.join(cell.error.split())}`\n"
        for cell in results.cells
        if cell.error
    )
    if errors:
        sections.append(f"### Errors\n\n{errors}")
    return f"![The same jobs, side by side]({chart})\n\n" + "\n".join(sections)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    body = [f"| {' | '.join(line)} |\n" for line in lines]
    ruler = ("---", *("---:" for _ in head[1:]))
    return "".join((f"| {' | '.join(head)} |\n", f"| {' | '.join(ruler)} |\n", *body)) if body else ""


def _targets(results: Results, words: dict[str, str]) -> str:
    verdicts = judge(results, words)
    return _table(
        ("target", "at most", "measured", ""),
        (
            (
                each.words,
                f"{each.limit:g}{each.unit}",
                "" if each.value is None else f"{each.value:.2f}{each.unit}",
                each.missed_by if each.reached else f"**{each.missed_by}**",
            )
            for each in verdicts
        ),
    )


def _grid(results: Results, words: dict[str, str], show: Callable[[Cell], str]) -> str:
    """A line for each row of which `show` has something to say, a column for each contender."""
    lines = []
    for row in rows(results.cells):
        shown = [_shown(results, row, name, show) for name in words]
        if any(text not in ("", "error") for text in shown):
            lines.append((row.words, *shown))
    return _table(("", *words.values()), lines)


def _shown(results: Results, row: Row, name: str, show: Callable[[Cell], str]) -> str:
    cell = results.cell(row, name)
    if cell is None:
        return ""
    return "error" if cell.error else show(cell)


def _time(results: Results, cell: Cell) -> str:
    wall = cell.wall
    if wall is None:
        return ""
    if cell.contender == OURS:
        return f"**{wall:.2f}**"
    ratio = results.ratio(cell.row, cell.contender)
    return f"{wall:.2f}" if ratio is None else f"{wall:.2f} ({ratio:.2f}x)"


def _cost(cell: Cell) -> str:
    cpu = cell.cpu_per_host
    if cell.row.setting.rtt or cpu is None:
        return ""
    return f"{cpu * 1000:.0f} ms, {cell.memory / 1e6:.0f} MB"


def _on_wire(cell: Cell) -> str:
    wires = [sample.wire for sample in cell.samples if sample.wire]
    if not wires:
        return ""

    def middle(of: Callable[[Wire], float]) -> float:
        return cell.median(lambda sample: of(sample.wire) if sample.wire else 0) or 0

    return (
        f"{middle(lambda wire: wire.connections):.3g} conn., {middle(lambda wire: wire.turns):.3g} turns, "
        f"{_size(middle(lambda wire: wire.up))} up, {_size(middle(lambda wire: wire.down))} down"
    )


def _size(count: float) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"  # noqa: PLR2004  a million


def _many(results: Results) -> str:
    return _table(
        ("names", "real hosts", "wall", "wall a name", "CPU a name", "peak memory", "threads"),
        (
            (
                str(each.names),
                str(each.hosts),
                f"{each.wall:.2f} s",
                f"{each.wall / each.names * 1000:.1f} ms",
                f"{each.cpu / each.names * 1000:.1f} ms",
                f"{each.memory / 1e6:.0f} MB",
                str(each.threads),
            )
            for each in results.many
        ),
    )


def _runs(results: Results) -> str:
    return "".join(
        f"- {name}: {run.rounds} rounds, {run.machine}; {run.binary}; "
        f"{'; '.join(dict.fromkeys(run.versions.values()))}\n"
        for name, run in results.runs.items()
    )


def chart_data(results: Results, words: dict[str, str]) -> dict[str, list[Any]]:
    """What chart.py draws: a panel for each setting without zstd, with contenders by time.

    Of each row only what was measured together with the deployer.
    """
    panels: dict[str, list[dict[str, object]]] = {}
    for row in rows(results.cells):
        if row.setting.zstd:
            continue
        cells = [results.cell(row, name) for name in words if results.ratio(row, name) is not None]
        bars = sorted(
            ((words[cell.contender], cell.wall) for cell in cells if cell), key=lambda bar: bar[1] or 0
        )
        if bars:
            panels.setdefault(row.setting.words, []).append({"label": row.job.words, "bars": bars})
    return {
        "names": list(words.values()),
        "panels": [{"title": title, "groups": groups} for title, groups in panels.items()],
    }
