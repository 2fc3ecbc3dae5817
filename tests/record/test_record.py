"""A record says which hosts need another try, and comes back from its file as it went in."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from deployer.outcome import NAMES
from deployer.record.record import HostRecord, as_plain, parse_record
from deployer.report.events import outcome_word
from tests.record.runs import BEGAN, RUN, ended, make_run


@pytest.mark.parametrize(
    ("host", "again"),
    [
        (ended("unchanged"), False),
        (ended("changed"), False),
        (ended("operator_stopped"), False),
        (ended("reverted", "unhealthy"), True),
        (ended("failed", "disk_full"), True),
        (ended("unreachable", "timed_out"), True),
        (ended("not_attempted"), True),
        (ended("rolled_back", "unhealthy"), True),
        (ended("rolled_back"), False),  # somebody asked for it
        (HostRecord(), True),  # unfinished
    ],
)
def test_who_needs_another_try(host: HostRecord, *, again: bool) -> None:
    assert host.needs_another_try is again


def test_every_outcome_that_lost_a_host_is_tried_again() -> None:
    fine = {"unchanged", "changed", "would_change", "operator_stopped"}
    for kind in NAMES:
        word = outcome_word(kind)
        assert ended(word, "some_cause").needs_another_try is (word not in fine), word


def test_hosts_to_retry_come_in_the_order_of_the_run() -> None:
    hosts = {"z": ended("failed"), "b": ended("changed"), "a": HostRecord(), "m": ended("unreachable")}
    assert make_run(hosts=hosts).to_retry == ("z", "a", "m")
    assert make_run(hosts=hosts).counts == {"failed": 1, "changed": 1, "unfinished": 1, "unreachable": 1}


@pytest.mark.parametrize("parts", [{}, {"ended": BEGAN + timedelta(seconds=4.25), "exit_code": 3}])
def test_a_record_comes_back_as_it_went_in(parts: dict[str, object]) -> None:
    record = make_run(**parts)
    text = json.dumps(as_plain(record))
    assert parse_record(text) == record


def test_the_form_of_the_file() -> None:
    assert as_plain(make_run()) == {
        "version": 1,
        "run": RUN,
        "playbook": "/srv/deploy/prod.yml",
        "goal": "apply",
        "began": "2026-11-22T11:20:00.000Z",
        "ended": None,
        "by": "anna@laptop",
        "exit_code": None,
        "hosts": {
            "web1": {"outcome": "changed", "cause": "", "message": "", "seconds": 3.5},
            "web2": {"outcome": "unfinished", "cause": "", "message": "", "seconds": 0.0},
        },
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[]", "no record of a run"),
        ("null", "no record of a run"),
        ('{"version": 2}', "its version is 2, and this deployer knows 1"),
        ('{"version": 1}', "no record of a run: 'run'"),
    ],
)
def test_what_is_no_record_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_record(text)


WRONG: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("run", "playbook", "goal", "by"), (5, None, ["x"], {})),
    "began": (5, None, "", "today", "2026-11-22", "2026-11-22T11:20:00", "0001-01-01T00:00:00+14:00"),
    "ended": ("2026-11-22T11:20:00", [1]),
    "exit_code": ([1], "1", {}, float("nan"), 10**400),
    "hosts": (5, None, ["web1"], {"web1": 5}, {"web1": {}}),
    **dict.fromkeys(("outcome", "cause", "message"), (5, None, ["x"])),
    "seconds": ("1", None, [1], float("inf")),
}


@pytest.mark.parametrize(("part", "value"), [(part, one) for part, values in WRONG.items() for one in values])
def test_a_part_that_is_not_what_it_should_be_is_told(part: str, value: object) -> None:
    plain = as_plain(make_run())
    (plain if part in plain else plain["hosts"]["web1"])[part] = value
    with pytest.raises(ValueError, match=r".+"):
        parse_record(json.dumps(plain))


def test_what_is_nested_without_end_is_told() -> None:
    with pytest.raises(ValueError, match="no record of a run"):
        parse_record("[" * 100_000)
