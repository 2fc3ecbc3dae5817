"""--json is one object a line, each with version, time, run and event, and nothing else."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import TYPE_CHECKING

import pytest

from deployer.report.events import UploadProgressed, as_record
from deployer.report.json_lines import JsonLines
from tests.report.test_events import SAMPLES

if TYPE_CHECKING:
    from deployer.report.events import Event


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.name)
def test_an_event_is_one_line(event: Event) -> None:
    out = io.StringIO()
    JsonLines(out, "run-1")(event)
    if isinstance(event, UploadProgressed):
        assert out.getvalue() == ""
        return
    (line,) = out.getvalue().splitlines(keepends=True)
    assert line.endswith("\n")
    record = json.loads(line)
    assert record == {"version": 1, "time": record["time"], "run": "run-1", **as_record(event)}
    assert [*record][:4] == ["version", "time", "run", "event"]


def test_the_time_is_utc_to_the_millisecond() -> None:
    out = io.StringIO()
    JsonLines(out, "r")(SAMPLES[0])
    time = json.loads(out.getvalue())["time"]
    assert len(time) == len("2025-06-01T12:00:00.000Z")
    assert abs(dt.datetime.fromisoformat(time) - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)


def test_letters_of_all_languages_stay_letters() -> None:
    out = io.StringIO()
    for event in SAMPLES:
        JsonLines(out, "r")(event)
    assert "žluť" in out.getvalue()
