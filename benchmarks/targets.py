"""What the deployer is to reach, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.job import Job, Row, Setting
from benchmarks.results import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Results

# (job, hosts, milliseconds) -> contender -> the deployer's time as a part of the contender's, at most
RATIOS: dict[tuple[Job, int, int], dict[str, float]] = {
    (Job.NOTHING, 10, 0): {"script": 0.85, "pyinfra": 0.2, "ansible": 0.05},
    (Job.NOTHING, 40, 0): {"script": 0.65},
    (Job.FIRST, 10, 0): {"script": 1.0},
    (Job.FIRST, 40, 0): {"script": 1.0},
    (Job.NOTHING, 1, 100): {"true": 1.2},
    (Job.FIRST, 1, 100): {"script": 1.4},
}
WIRE = {True: 2.7, False: 5.6}  # MB of a small upgrade, with and without zstd on the host
CPU = 20.0  # ms a host
CPU_HOSTS = 40
MANY, FEW = 1000, 100  # names
MANY_WALL = 50.0  # ms a host
MANY_MEMORY = 300.0  # MB
MANY_GROWTH = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`value` and `limit` are in `unit`; None was not measured."""

    words: str
    unit: str
    limit: float
    value: float | None

    @property
    def reached(self) -> bool | None:
        """None if nobody knows."""
        return None if self.value is None else self.value <= self.limit

    @property
    def missed_by(self) -> str:
        """How far from the limit: `reached`, `missed by 12 %`, `not measured`."""
        if self.value is None:
            return "not measured"
        if self.reached:
            return "reached"
        return f"missed by {(self.value / self.limit - 1) * 100:.0f} %"


def judge(results: Results, words: dict[str, str]) -> list[Verdict]:
    """All targets; `words` are contenders' names for people."""
    return [*_ratios(results, words), *_wire(results), _cpu(results), *_many(results)]


def _ratios(results: Results, words: dict[str, str]) -> Iterator[Verdict]:
    for (job, hosts, rtt), limits in RATIOS.items():
        row = Row(job=job, setting=Setting(hosts=hosts, rtt=rtt))
        for contender, limit in limits.items():
            yield Verdict(
                words=f"{row.words}: to {words.get(contender, contender)}",
                unit="x",
                limit=limit,
                value=results.ratio(row, contender),
            )


def _wire(results: Results) -> Iterator[Verdict]:
    for zstd, limit in WIRE.items():
        row = Row(job=Job.BINARY, setting=Setting(hosts=1, rtt=100, zstd=zstd))
        cell = results.cell(row, OURS)
        size = cell.bytes_per_host if cell else None
        yield Verdict(
            words=f"small upgrade on the wire, {'with' if zstd else 'without'} zstd on the host",
            unit=" MB",
            limit=limit,
            value=None if size is None else size / 1e6,
        )


def _cpu(results: Results) -> Verdict:
    row = Row(job=Job.NOTHING, setting=Setting(hosts=CPU_HOSTS, rtt=0))
    cell = results.cell(row, OURS)
    seconds = cell.cpu_per_host if cell else None
    return Verdict(
        words=f"controller CPU per unchanged host, of {CPU_HOSTS}",
        unit=" ms",
        limit=CPU,
        value=None if seconds is None else seconds * 1000,
    )


def _many(results: Results) -> Iterator[Verdict]:
    found = {each.names: each for each in results.many}
    many, few = found.get(MANY), found.get(FEW)
    wall = None if many is None else many.wall / MANY * 1000
    memory = None if many is None else many.memory / 1e6
    growth = None
    if many is not None and few is not None and many.run == few.run:
        growth = (many.wall / MANY) / (few.wall / FEW)
    what = f"{MANY} unchanged hosts"
    yield Verdict(words=f"{what}: wall per host", unit=" ms", limit=MANY_WALL, value=wall)
    yield Verdict(words=f"{what}: memory", unit=" MB", limit=MANY_MEMORY, value=memory)
    yield Verdict(words=f"{what}: per host, to {FEW} hosts", unit="x", limit=MANY_GROWTH, value=growth)
