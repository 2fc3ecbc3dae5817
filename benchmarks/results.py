"""Results of all runs, kept in a file: what a run measured replaces what was there, and nothing else."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from benchmarks.job import Row  # noqa: TC001  pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

OURS = "deployer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What the lines have carried, for each host on average; `turns` are those of the slowest host."""

    connections: float
    up: float  # bytes
    down: float  # bytes
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One timed process: seconds of wall clock, seconds of CPU, bytes of its largest process."""

    wall: float
    cpu: float
    largest: int
    wire: Wire | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one contender took for one job; with an error there are no samples.

    `memory` is the peak of all its processes together, in bytes, from a process that was watched, not timed.
    """

    row: Row
    contender: str
    run: str
    samples: tuple[Sample, ...] = ()
    memory: int = 0
    error: str = ""

    @property
    def key(self) -> tuple[Row, str]:
        return self.row, self.contender

    def median(self, of: Callable[[Sample], float]) -> float | None:
        """None if there is no sample."""
        return statistics.median(map(of, self.samples)) if self.samples else None

    @property
    def wall(self) -> float | None:
        return self.median(lambda sample: sample.wall)

    @property
    def cpu_per_host(self) -> float | None:
        cpu = self.median(lambda sample: sample.cpu)
        return None if cpu is None else cpu / self.row.setting.hosts

    @property
    def bytes_per_host(self) -> float | None:
        """Both directions; None if no relay counted them."""
        if not all(sample.wire for sample in self.samples):
            return None
        return self.median(lambda sample: sample.wire.up + sample.wire.down if sample.wire else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """So many unchanged names over a few hosts; `memory` is of one process, `threads` a peak."""

    names: int
    hosts: int
    run: str
    samples: tuple[Sample, ...]
    threads: int

    @property
    def wall(self) -> float:
        return statistics.median(sample.wall for sample in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(sample.cpu for sample in self.samples)

    @property
    def memory(self) -> int:
        return max(sample.largest for sample in self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One invocation: where and what it was."""

    date: str
    machine: str
    versions: dict[str, str]
    rounds: int
    binary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All there is."""

    runs: dict[str, Run] = field(default_factory=dict)
    cells: tuple[Cell, ...] = ()
    many: tuple[Many, ...] = ()

    def cell(self, row: Row, contender: str) -> Cell | None:
        return next((cell for cell in self.cells if cell.key == (row, contender)), None)

    def ratio(self, row: Row, contender: str) -> float | None:
        """The deployer's median as a part of the contender's; None unless both are of one run."""
        ours, theirs = self.cell(row, OURS), self.cell(row, contender)
        if ours is None or theirs is None or ours.run != theirs.run:
            return None
        return ours.wall / theirs.wall if ours.wall and theirs.wall else None

    def merged(self, newer: Results) -> Results:
        """With what `newer` has in place of what is here; runs that nothing is of any more are dropped."""
        fresh = {cell.key for cell in newer.cells}
        sizes = {each.names for each in newer.many}
        cells = (*(cell for cell in self.cells if cell.key not in fresh), *newer.cells)
        many = (*(each for each in self.many if each.names not in sizes), *newer.many)
        runs = self.runs | newer.runs
        used = {cell.run for cell in cells} | {each.run for each in many}
        return replace(
            newer,
            runs={name: run for name, run in sorted(runs.items()) if name in used},
            cells=tuple(sorted(cells, key=_order)),
            many=tuple(sorted(many, key=lambda each: each.names)),
        )


def _order(cell: Cell) -> tuple[Any, ...]:
    return (cell.row.setting, list(type(cell.row.job)).index(cell.row.job), cell.contender)


_ADAPTER = TypeAdapter(Results)


def read(file: Path) -> Results:
    """What is in the file; nothing if there is none.  Raises pydantic.ValidationError."""
    return _ADAPTER.validate_json(file.read_bytes()) if file.exists() else Results()


def write(file: Path, results: Results) -> None:
    """With medians and ratios beside the samples, for whoever reads the file without us."""
    content = _ADAPTER.dump_python(results, mode="json")
    for plain, cell in zip(content["cells"], results.cells, strict=True):
        plain["median_wall"] = cell.wall
        plain["deployer_to_this"] = results.ratio(cell.row, cell.contender)
    file.write_text(json.dumps(_rounded(content), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return round(value, 4)
        case dict():
            return {key: _rounded(each) for key, each in value.items()}
        case list():
            return [_rounded(each) for each in value]
        case _:
            return value


def rows(cells: Sequence[Cell]) -> list[Row]:
    """Each row once, in order."""
    return list(dict.fromkeys(cell.row for cell in sorted(cells, key=_order)))
