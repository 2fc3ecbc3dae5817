"""What steers a terminal or hides on it can be seen, in every text of every event."""

from __future__ import annotations

import pytest

from deployer.outcome import Evidence, Failed, Failure
from deployer.report.events import HostFinished, HostPlanned, RunFinished
from deployer.visible import LONGEST, all_visible, cut, one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "plain, \u00e4\u00f6\u00fc \u65e5\u672c \U0001f600",
            "plain, \u00e4\u00f6\u00fc \u65e5\u672c \U0001f600",
        ),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[31mred\x1b]0;title\x07", "\ufffd[31mred\ufffd]0;title\ufffd"),
        ("over\rwritten", "over\ufffdwritten"),
        ("\x9b2J and \x7f", "\ufffd2J and \ufffd"),
        ("\u202egnp.exe\u2066", "\ufffdgnp.exe\ufffd"),
        ("zero\u200bwidth\ufeff", "zero\ufffdwidth\ufffd"),
        ("a\u2028line", "a\ufffdline"),
        ("half \ud800 a pair", "half \ufffd a pair"),
        ("a\U000e0041tag", "a\ufffdtag"),
        *((f"a{character}b", "a\ufffdb") for character in "\ufe00\ufe0f\U000e0100\U000e01ef"),
        *((f"a{character}b", "a\ufffdb") for character in "\u034f\u115f\u1160\u3164\uffa0\u17b4\u180b"),
    ],
)
def test_each_kind_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_every_text_of_an_event_is_reached() -> None:
    bad, good = "\x1b[2J", "\ufffd[2J"
    evidence = Evidence(answer=bad, state=bad, journal=(bad, "fine"))
    failure = Failure(cause=bad, message=bad, hint=bad, service=bad, evidence=evidence)
    event = all_visible(
        HostFinished(host=bad, outcome=Failed(failure=failure, needs_person=True), seconds=1.5)
    )
    seen = Evidence(answer=good, state=good, journal=(good, "fine"))
    outcome = Failed(
        failure=Failure(cause=good, message=good, hint=good, service=good, evidence=seen), needs_person=True
    )
    assert event == HostFinished(host=good, outcome=outcome, seconds=1.5)
    planned = all_visible(HostPlanned(host="a", changes=(bad,), diff=bad, notes=(bad,)))
    assert planned == HostPlanned(host="a", changes=(good,), diff=good, notes=(good,))
    finished = RunFinished(run="r", counts={bad: 1}, hosts={bad: (bad,)}, exit_code=0, seconds=0.0)
    assert all_visible(finished).hosts == {good: (good,)}


def test_what_is_harmless_is_handed_on_as_it_is() -> None:
    event = HostPlanned(host="a", changes=("b",), diff="c\n+d", notes=())
    assert all_visible(event) is event


def test_what_is_long_is_cut_and_says_so() -> None:
    assert cut("x" * LONGEST) == "x" * LONGEST
    assert cut("x" * 48_000) == "x" * LONGEST + "... (48000 characters)"


def test_in_a_line_all_of_a_text_is_in_that_line() -> None:
    assert one_line("a\tb\nweb2  fine\x1b[2J") == "a\ufffdb\ufffdweb2  fine\ufffd[2J"
    assert len(one_line("x\n" * 3_000_000)) < LONGEST + 100
    planned = HostPlanned(host="a", changes=("b\nc",), diff="", notes=())
    assert all_visible(planned, one_line).changes == ("b\ufffdc",)
