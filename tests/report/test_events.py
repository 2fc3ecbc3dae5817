"""Every event of a run has one name and one plain form, which programs can rely on."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args

import pytest

from deployer.outcome import (
    NAMES,
    Changed,
    Evidence,
    Failed,
    Failure,
    NotAttempted,
    OperatorStopped,
    Outcome,
    Reverted,
    RolledBack,
    Unchanged,
    Unreachable,
    WouldChange,
)
from deployer.report import events
from deployer.report.events import Event, HostFinished, as_record

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILURE = Failure(
    cause="unhealthy",
    message="not healthy after 3 attempts",
    hint="look",
    service="app",
    evidence=Evidence(answer="503 sick", state="active/running", journal=("one", "two")),
)
OUTCOMES: Sequence[Outcome] = (
    Unchanged(),
    WouldChange(),
    Changed(releases=(("app", "r1"), ("db", "r2"))),
    OperatorStopped(services=("app",), changed=True),
    Reverted(failure=FAILURE),
    RolledBack(releases=(("app", "r0"),), failure=FAILURE),
    Failed(failure=FAILURE, needs_person=True),
    Unreachable(failure=Failure(cause="refused", message="refused the connection")),
    NotAttempted(reason="interrupted"),
)
SAMPLES: Sequence[Event] = (
    events.RunStarted(run="r", playbook="prod.yml", hosts=2, goal="apply"),
    events.PlayStarted(play="Roll out", hosts=("web1", "web2")),
    events.BatchStarted(play="Roll out", number=1, of=2, hosts=("web1",)),
    events.BatchPaused(play="Roll out", seconds=1.5),
    events.StepAsked(play="Roll out", number=2, of=2, hosts=("web2",)),
    events.StepAnswered(play="Roll out", number=2, answer="yes"),
    events.StageStarted(host="web1", stage="observe", service="app"),
    events.HostPlanned(host="web1", changes=("app: unit",), diff="-a\n+b"),
    events.TransactionResolved(
        host="web1", service="app", dead_run="r0", by="anna@laptop", release="r1", to="r0", by_host=False
    ),
    events.LockAwaited(host="web1", reason="app is locked by bob@ci", seconds=300.0),
    events.UploadProgressed(host="web1", service="app", sent=1, total=2, saved=0),
    events.UploadFellBack(host="web1", service="app", encoding="patch", detail="server arrived damaged"),
    events.ReleaseStaged(
        host="web1", service="app", release="r1", sent=5, size=10, encoding="patch", saved=5
    ),
    events.ReleaseSwitched(host="web1", service="app", release="r1", previous="r0", pid=42),
    events.HealthProbed(host="web1", service="app", attempt=1, healthy=False, detail="503"),
    events.ProbeFellBack(host="web1", service="app", detail="no forwarding"),
    events.CommandFinished(host="web1", task="warm", status=0, output="ok\nžluť"),
    events.ReleaseCommitted(host="web1", service="app", release="r1"),
    events.ReleaseReverted(host="web1", service="app", release="r1", to="r0"),
    *(HostFinished(host="web1", outcome=outcome, seconds=1.5) for outcome in OUTCOMES),
    events.RunInterrupted(),
    events.RunAbandoned(),
    events.RunFinished(
        run="r",
        counts={"changed": 2, "failed": 1},
        hosts={"changed": ("web1", "web2"), "failed": ("web3",)},
        exit_code=4,
        seconds=2.5,
    ),
)
KINDS: Sequence[type[Any]] = get_args(Event)


def test_the_samples_hold_every_event_and_every_outcome() -> None:
    assert {type(sample) for sample in SAMPLES} == set(KINDS)
    assert {type(outcome) for outcome in OUTCOMES} == set(get_args(Outcome)) == set(NAMES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_event_is_named_in_the_past_tense_as_its_class_is(kind: type[Any]) -> None:
    words = "_".join(re.findall(r"[A-Z][a-z]+", kind.__name__)).lower()
    assert kind.name == words
    assert re.search(r"(ed|back)$", words)


def test_names_are_not_shared() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.name)
def test_an_event_is_plain_data(event: Event) -> None:
    record = as_record(event)
    assert json.loads(json.dumps(record)) == record
    assert record["event"] == event.name
    assert {field.name for field in fields(event)} <= record.keys()


@pytest.mark.parametrize(
    ("outcome", "record"),
    [
        (Unchanged(), {"outcome": "unchanged", "notes": []}),
        (Unchanged(notes=("odd",)), {"outcome": "unchanged", "notes": ["odd"]}),
        (WouldChange(), {"outcome": "would_change"}),
        (Changed(releases=(("app", "r1"),)), {"outcome": "changed", "releases": [["app", "r1"]]}),
        (
            OperatorStopped(services=("app",), changed=False),
            {"outcome": "operator_stopped", "services": ["app"], "changed": False},
        ),
        (
            NotAttempted(reason="interrupted"),
            {"outcome": "not_attempted", "reason": "interrupted", "holder": ""},
        ),
        (
            RolledBack(releases=(("app", "r0"),), failure=None),
            {"outcome": "rolled_back", "releases": [["app", "r0"]], "failure": None},
        ),
        (
            Failed(failure=FAILURE, needs_person=True),
            {
                "outcome": "failed",
                "needs_person": True,
                "failure": {
                    "cause": "unhealthy",
                    "message": "not healthy after 3 attempts",
                    "hint": "look",
                    "service": "app",
                    "evidence": {
                        "answer": "503 sick",
                        "state": "active/running",
                        "port": "",
                        "journal": ["one", "two"],
                    },
                },
            },
        ),
    ],
)
def test_an_outcome_is_a_word_with_its_fields_beside_it(outcome: Outcome, record: dict[str, Any]) -> None:
    event = HostFinished(host="web1", outcome=outcome, seconds=1.5)
    assert as_record(event) == {"event": "host_finished", "host": "web1", "seconds": 1.5, **record}
