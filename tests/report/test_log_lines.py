"""Without a terminal every event is one line of key=value, and what has lines of its own follows it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from deployer.outcome import (
    Changed,
    Failed,
    Failure,
    NotAttempted,
    Reverted,
    RolledBack,
    Unchanged,
    Unreachable,
)
from deployer.report.events import (
    CommandFinished,
    HealthProbed,
    HostFinished,
    HostPlanned,
    PlayStarted,
    RunFinished,
    RunInterrupted,
    StageStarted,
    UploadProgressed,
)
from deployer.report.log_lines import LogLines
from tests.report.test_events import FAILURE, SAMPLES

if TYPE_CHECKING:
    from deployer.outcome import Outcome
    from deployer.report.events import Event


def log(*events: Event) -> list[str]:
    """The lines of some events, without their time."""
    out = io.StringIO()
    listener = LogLines(out, "run-1")
    for event in events:
        listener(event)
    return [
        re.sub(r"^timestamp=\d{4}-\d\d-\d\dT[0-9:.]+Z ", "", line) for line in out.getvalue().splitlines()
    ]


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.name)
def test_every_event_that_is_no_tick_has_a_line_with_level_event_and_run(event: Event) -> None:
    lines = log(event)
    if isinstance(event, StageStarted | UploadProgressed):
        assert lines == []
    else:
        assert re.match(rf"level=(info|warning|error) event={event.name} ", lines[0])
        assert re.search(r" run=(run-1|r)( |$)", lines[0])
        assert all(line.startswith("    ") for line in lines[1:])


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (
            PlayStarted(play="Roll out", hosts=("web1", "web2")),
            ['level=info event=play_started run=run-1 play="Roll out" hosts="web1, web2"'],
        ),
        (
            HostPlanned(host="web1", changes=("app: unit", "app: environment"), diff="-a\n+b"),
            [
                'level=info event=host_planned host=web1 run=run-1 changes="app: unit, app: environment"',
                "    -a",
                "    +b",
            ],
        ),
        (
            CommandFinished(host="web1", task="warm", status=3, output="one\ntwo"),
            [
                "level=info event=command_finished host=web1 run=run-1 task=warm status=3",
                "    one",
                "    two",
            ],
        ),
        (
            HostFinished(host="web1", outcome=Changed(releases=(("app", "r1"),)), seconds=1.23456),
            [
                (
                    "level=info event=host_finished host=web1 run=run-1 outcome=changed"
                    ' releases="app r1" seconds=1.23'
                )
            ],
        ),
        (
            HostFinished(host="web1", outcome=Failed(failure=FAILURE, needs_person=True), seconds=1.0),
            [
                (
                    "level=error event=host_finished host=web1 service=app run=run-1 outcome=failed"
                    ' needs_person seconds=1.0 cause=unhealthy message="not healthy after 3 attempts"'
                    ' hint=look answer="503 sick" state=active/running'
                ),
                "    one",
                "    two",
            ],
        ),
        (RunInterrupted(), ["level=info event=run_interrupted run=run-1"]),
        (
            RunFinished(
                run="r",
                counts={"changed": 1, "not attempted": 2},
                hosts={"changed": ("web1",), "not attempted": ("web2", "web3")},
                exit_code=4,
                seconds=2.0,
            ),
            [
                (
                    'level=info event=run_finished run=r counts="changed 1, not attempted 2"'
                    ' hosts="changed: web1, not attempted: web2 web3" exit_code=4 seconds=2.0'
                )
            ],
        ),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
def test_a_line_says_what_happened(event: Event, lines: list[str]) -> None:
    assert log(event) == lines


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Unchanged(), "info"),
        (Changed(), "info"),
        (Reverted(failure=FAILURE), "error"),
        (Failed(failure=FAILURE, needs_person=False), "error"),
        (RolledBack(releases=(), failure=FAILURE), "error"),
        (RolledBack(releases=(), failure=None), "info"),
        (Unreachable(failure=Failure(cause="refused", message="x")), "error"),
        (NotAttempted(reason="interrupted"), "error"),
    ],
)
def test_what_went_wrong_is_an_error(outcome: Outcome, level: str) -> None:
    line, *_ = log(HostFinished(host="web1", outcome=outcome, seconds=0.0))
    assert line.startswith(f"level={level} ")


def probed(*, healthy: bool, host: str = "web1", attempt: int = 1) -> HealthProbed:
    return HealthProbed(host=host, service="app", attempt=attempt, healthy=healthy, detail="d")


def test_a_health_test_that_answers_as_before_is_no_news() -> None:
    bad, good = probed(healthy=False), probed(healthy=True)
    lines = log(bad, bad, bad, good, good, bad, probed(healthy=False, host="web2"))
    assert [line.split()[0] for line in lines] == [
        "level=warning",
        "level=info",
        "level=warning",
        "level=warning",
    ]


def test_text_with_newlines_does_not_break_out_of_its_line() -> None:
    lines = log(HealthProbed(host="web1", service="app", attempt=1, healthy=True, detail='a "b"\nc=d'))
    assert len(lines) == 1
