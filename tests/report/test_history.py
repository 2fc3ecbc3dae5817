"""`deployer history` on a screen and for programs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from deployer.outcome import ExitCode
from deployer.record.record import as_plain
from deployer.report.history import MEANINGS, history_lines
from deployer.visible import one_line
from tests.record.runs import BEGAN, RUN, ended, make_run

HERE = Path("/srv/deploy")
OTHER = "20261122T101500Z-00ff00"
RUNS = [
    make_run(),
    make_run(
        run=OTHER,
        playbook="/elsewhere/long/site.yml",
        ended=BEGAN + timedelta(seconds=72.25),
        exit_code=3,
        hosts={"a": ended("not_attempted"), "b": ended("unchanged"), "c": ended("unchanged")},
    ),
    make_run(run="20261122T101000Z-123456", exit_code=99, ended=BEGAN),
]


def lines(*, playbook: str = "", count: int = 20, json_wanted: bool = False) -> list[str]:
    wanted = Path(playbook) if playbook else None
    return list(history_lines(iter(RUNS), playbook=wanted, here=HERE, count=count, json=json_wanted))


def test_a_line_for_each_run() -> None:
    head, going, ended = (line.split("  ") for line in lines(count=2))
    assert [cell.strip() for cell in head if cell] == ["run", "began", "took", "playbook", "hosts", "exit"]
    assert [cell.strip() for cell in going if cell] == [
        *(RUN, "2026-11-22 11:20:00Z", "-", "prod.yml", "1 changed, 1 unfinished"),
        *("-", "no end is recorded: it still goes on, or was killed"),
    ]
    assert [cell.strip() for cell in ended if cell] == [
        *(OTHER, "2026-11-22 11:20:00Z", "72.2 s", "/elsewhere/long/site.yml"),
        *("2 unchanged, 1 not attempted", "3", "hosts unreachable, the others fine"),
    ]


def test_columns_are_even() -> None:
    places = [
        line.index(word) for line, word in zip(lines(count=2), ["hosts", "1 changed", "2 unch"], strict=True)
    ]
    assert len(set(places)) == 1


def test_one_playbook_only() -> None:
    assert [line.split()[0] for line in lines(playbook="/elsewhere/long/site.yml")] == ["run", OTHER]
    assert lines(playbook="/srv/deploy/new.yml") == ["no run is recorded of new.yml"]


def test_a_code_of_another_version_is_shown_as_it_is() -> None:
    assert lines()[-1].endswith("  99")


def test_for_programs_each_run_is_an_object_on_a_line() -> None:
    assert [json.loads(line) for line in lines(json_wanted=True)] == [as_plain(run) for run in RUNS]
    assert lines(json_wanted=True, playbook="/srv/deploy/new.yml") == []


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) >= {int(code) for code in ExitCode}


def test_what_stands_in_a_record_steers_nothing() -> None:
    evil = "\x1b[2J\ud800\u202e"
    run = make_run(playbook=f"/srv\n{evil}", by=evil, hosts={evil: ended(f"failed\n{evil}", evil, evil)})
    for json_wanted in (False, True):
        told = list(history_lines([run], playbook=None, here=HERE, count=1, json=json_wanted))
        assert len(told) == (1 if json_wanted else 2)
        assert all(one_line(line) == line for line in told)
        assert "\\u001b" not in told[-1]
