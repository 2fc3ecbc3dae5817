"""Targets are judged, and the page shows what there is."""

from __future__ import annotations

from benchmarks.job import Job, Row, Setting
from benchmarks.page import chart_data, render
from benchmarks.results import Cell, Many, Results, Run, Sample, Wire
from benchmarks.targets import Verdict, judge

WORDS = {"deployer": "deployer", "script": "OpenSSH script", "ansible": "Ansible"}
TEN = Row(job=Job.NOTHING, setting=Setting(hosts=10, rtt=0))
UPGRADE = Row(job=Job.BINARY, setting=Setting(hosts=1, rtt=100, zstd=True))


def cell(contender: str, wall: float, *, row: Row = TEN, up: float = 0) -> Cell:
    wire = Wire(connections=1, up=up, down=100_000, turns=9) if up else None
    sample = Sample(wall=wall, cpu=0.3, largest=1, wire=wire)
    return Cell(row=row, contender=contender, run="monday", samples=(sample,), memory=60_000_000)


def many(names: int, wall: float) -> Many:
    sample = Sample(wall=wall, cpu=wall / 2, largest=200_000_000)
    return Many(names=names, hosts=10, run="monday", samples=(sample,), threads=53)


RESULTS = Results(
    runs={
        "monday": Run(
            date="monday",
            machine="2 cores",
            versions={"deployer": "deployer 1", "stay-up": "deployer 1"},
            rounds=5,
            binary="10 MB",
        )
    },
    cells=(
        cell("deployer", 0.9),
        cell("script", 1.0),
        Cell(row=TEN, contender="ansible", run="monday", error="ended with 2:\n no route"),
        cell("deployer", 2.0, row=UPGRADE, up=2_500_000),
    ),
    many=(many(100, 3.0), many(1000, 45.0)),
)


def verdicts(results: Results) -> dict[str, Verdict]:
    return {each.words: each for each in judge(results, WORDS)}


def test_a_target_is_reached_or_missed_by_so_much() -> None:
    judged = verdicts(RESULTS)
    missed = judged["nothing to do, 10 hosts, 0 ms: to OpenSSH script"]
    assert (missed.value, missed.limit, missed.missed_by) == (0.9, 0.85, "missed by 6 %")
    assert judged["small upgrade on the wire, with zstd on the host"].missed_by == "reached"
    assert judged["1000 unchanged hosts: wall per host"].value == 45.0
    grown = judged["1000 unchanged hosts: per host, to 100 hosts"]
    assert (grown.value, grown.missed_by) == (1.5, "missed by 15 %")


def test_what_failed_or_was_not_measured_is_never_reached() -> None:
    judged = verdicts(RESULTS)
    assert judged["nothing to do, 10 hosts, 0 ms: to Ansible"].missed_by == "not measured"
    assert {each.missed_by for each in judge(Results(), WORDS)} == {"not measured"}


def test_every_row_has_its_line_and_every_contender_its_column() -> None:
    text = render(RESULTS, WORDS, chart="chart.svg")
    assert text.startswith("![The same jobs, side by side](chart.svg)\n")
    assert "|  | deployer | OpenSSH script | Ansible |\n" in text
    assert "| nothing to do, 10 hosts, 0 ms | **0.90** | 1.00 (0.90x) | error |\n" in text
    assert "| nothing to do, 10 hosts, 0 ms | 30 ms, 60 MB | 30 ms, 60 MB | error |\n" in text
    assert "| new binary, 1 host, 100 ms, zstd | 1 conn., 9 turns, 2.50 MB up, 100 kB down |  |  |\n" in text
    assert "| 1000 | 10 | 45.00 s | 45.0 ms | 22.5 ms | 200 MB | 53 |\n" in text
    assert "- nothing to do, 10 hosts, 0 ms, Ansible: `ended with 2: no route`\n" in text
    assert "- monday: 5 rounds, 2 cores; 10 MB; deployer 1\n" in text


def test_the_chart_has_the_fastest_first_and_neither_errors_nor_what_another_run_measured() -> None:
    apart = Cell(row=TEN, contender="pyinfra", run="tuesday", samples=RESULTS.cells[0].samples)
    results = RESULTS.merged(Results(runs=RESULTS.runs, cells=(apart,)))
    assert chart_data(results, WORDS | {"pyinfra": "pyinfra"}) == {
        "names": ["deployer", "OpenSSH script", "Ansible", "pyinfra"],
        "panels": [
            {
                "title": "10 hosts, 0 ms",
                "groups": [{"label": "nothing to do", "bars": [("deployer", 0.9), ("OpenSSH script", 1.0)]}],
            }
        ],
    }
