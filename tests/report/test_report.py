"""Who listens to a run; and whatever happens to its output, the work on hosts goes on."""

from __future__ import annotations

import io
import json
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from deployer.report.events import HealthProbed, PlayStarted, RunFinished
from deployer.report.report import reporting

if TYPE_CHECKING:
    from deployer.report.events import Event

EVENT = PlayStarted(play="p", hosts=("web1",))


class Closed(io.StringIO):
    """A pipe whose reader has gone, or a full disk."""

    def __init__(self, *, after: int) -> None:
        super().__init__()
        self._left = after

    def write(self, text: str, /) -> int:
        self._left -= 1
        if self._left < 0:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize(("json_wanted", "first"), [(True, "{"), (False, "timestamp=")])
def test_programs_get_json_and_pipes_get_log_lines(
    capsys: pytest.CaptureFixture[str], first: str, *, json_wanted: bool
) -> None:
    with reporting(run="r", json=json_wanted, check=False) as emit:
        emit(EVENT)
    assert capsys.readouterr().out.startswith(first)


@pytest.mark.parametrize("json_wanted", [True, False])
def test_output_that_fails_ends_no_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, json_wanted: bool
) -> None:
    out = Closed(after=2)
    monkeypatch.setattr(sys, "stdout", out)
    with reporting(run="r", json=json_wanted, check=False) as emit:
        for _ in range(5):
            emit(EVENT)
    said = capsys.readouterr().err.splitlines()
    assert said == ["deployer: no more output (Broken pipe); the run goes on"]


def test_nothing_is_said_after_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    end = RunFinished(run="r", counts={}, hosts={}, exit_code=130, seconds=1.0)
    heard: list[Event] = []
    with reporting(run="r", json=True, check=False, also=[heard.append]) as emit:
        for event in (EVENT, end, EVENT):
            emit(event)
    said = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert said == [event.name for event in heard] == ["play_started", "run_finished"]


def test_who_listens_beside_the_output_hears_on_when_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Closed(after=2))
    heard: list[Event] = []
    with reporting(run="r", json=True, check=False, also=[heard.append]) as emit:
        for _ in range(5):
            emit(EVENT)
    assert heard == [EVENT] * 5


def test_events_of_many_hosts_come_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)

    def work(host: str, emit: object) -> None:
        for attempt in range(50):
            event: Event = HealthProbed(
                host=host, service="s", attempt=attempt, healthy=True, detail="x" * 1000
            )
            assert callable(emit)
            emit(event)

    with reporting(run="r", json=True, check=False) as emit:
        threads = [threading.Thread(target=work, args=(f"web{number}", emit)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(records) == 400
    assert capsys.readouterr().err == ""
