"""Medians, ratios, and what a partial run may replace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.job import Job, Row, Setting
from benchmarks.results import Cell, Many, Results, Run, Sample, Wire, read, write

if TYPE_CHECKING:
    from pathlib import Path

ROW = Row(job=Job.NOTHING, setting=Setting(hosts=10, rtt=0))
OTHER = Row(job=Job.FIRST, setting=Setting(hosts=10, rtt=0))


def run(date: str) -> dict[str, Run]:
    return {date: Run(date=date, machine="m", versions={"deployer": "deployer 1"}, rounds=3, binary="b")}


def cell(contender: str, *walls: float, row: Row = ROW, of: str = "monday", cpu: float = 1.0) -> Cell:
    samples = tuple(Sample(wall=wall, cpu=cpu, largest=1_000_000) for wall in walls)
    return Cell(row=row, contender=contender, run=of, samples=samples)


def test_the_middle_of_three_is_the_median_and_one_slow_round_does_not_matter() -> None:
    assert cell("deployer", 0.5, 9.0, 0.4).wall == 0.5
    assert cell("deployer", 0.5, 0.5, cpu=2.0).cpu_per_host == 0.2


def test_a_cell_with_an_error_has_no_number() -> None:
    failed = Cell(row=ROW, contender="script", run="monday", error="ended with 1")
    assert failed.wall is None
    assert failed.cpu_per_host is None
    assert Results(cells=(cell("deployer", 1.0), failed)).ratio(ROW, "script") is None


def test_a_ratio_is_the_deployer_s_part_of_the_other_s_time() -> None:
    results = Results(cells=(cell("deployer", 1.0), cell("script", 2.0)))
    assert results.ratio(ROW, "script") == 0.5
    assert results.ratio(ROW, "pyinfra") is None
    assert results.ratio(OTHER, "script") is None


def test_no_ratio_is_taken_between_two_runs() -> None:
    results = Results(cells=(cell("deployer", 1.0), cell("script", 2.0, of="tuesday")))
    assert results.ratio(ROW, "script") is None


def test_a_partial_run_replaces_what_it_measured_and_nothing_else() -> None:
    old = Results(
        runs=run("monday"),
        cells=(cell("deployer", 1.0), cell("script", 2.0), cell("script", 3.0, row=OTHER)),
        many=(Many(names=100, hosts=10, run="monday", samples=(), threads=50),),
    )
    new = Results(
        runs=run("tuesday"), cells=(cell("deployer", 5.0, of="tuesday"), cell("script", 6.0, of="tuesday"))
    )
    merged = old.merged(new)
    assert {(each.row.job, each.contender): each.wall for each in merged.cells} == {
        (Job.NOTHING, "deployer"): 5.0,
        (Job.NOTHING, "script"): 6.0,
        (Job.FIRST, "script"): 3.0,
    }
    assert merged.many == old.many
    assert set(merged.runs) == {"monday", "tuesday"}


def test_a_run_of_which_nothing_is_left_is_forgotten() -> None:
    old = Results(runs=run("monday"), cells=(cell("deployer", 1.0),))
    merged = old.merged(Results(runs=run("tuesday"), cells=(cell("deployer", 2.0, of="tuesday"),)))
    assert set(merged.runs) == {"tuesday"}


def test_both_directions_count_as_bytes() -> None:
    wires = [Wire(connections=1, up=size, down=5.0, turns=9) for size in (10.0, 20.0, 90.0)]
    samples = tuple(Sample(wall=1, cpu=1, largest=1, wire=wire) for wire in wires)
    assert Cell(row=ROW, contender="x", run="monday", samples=samples).bytes_per_host == 25.0
    assert cell("deployer", 1.0).bytes_per_host is None


def test_what_is_written_is_read_again_and_says_its_medians(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    wired = Sample(wall=1.0, cpu=0.5, largest=7, wire=Wire(connections=1, up=2.0, down=3.0, turns=4))
    results = Results(
        runs=run("monday"),
        cells=(
            cell("deployer", 1.0, 2.0, 3.0),
            cell("script", 4.0),
            Cell(row=OTHER, contender="x", run="monday", samples=(wired,)),
        ),
        many=(Many(names=100, hosts=10, run="monday", samples=(wired,), threads=50),),
    )
    write(file, results)
    assert read(file) == results
    first, second, _ = json.loads(file.read_text())["cells"]
    assert (first["median_wall"], second["median_wall"]) == (2.0, 4.0)
    assert second["deployer_to_this"] == pytest.approx(0.5)


def test_no_file_is_no_results(tmp_path: Path) -> None:
    assert read(tmp_path / "none.json") == Results()
