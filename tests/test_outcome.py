"""The exit code tells a program how a run ended; failure is never told as success."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.outcome import (
    Changed,
    ExitCode,
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
    exit_code,
    final,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILURE = Failure(cause="unhealthy", message="not healthy")
SAME = Unchanged()
DONE = Changed()
WOULD = WouldChange()
STOPPED = OperatorStopped(services=("app",), changed=False)
STOPPED_NEW = OperatorStopped(services=("app",), changed=True)
BACK = Reverted(failure=FAILURE)
FAILED = Failed(failure=FAILURE, needs_person=False)
BROKEN = Failed(failure=FAILURE, needs_person=True)
AWAY = Unreachable(failure=FAILURE)
SKIPPED = NotAttempted(reason="interrupted")
LOCKED = NotAttempted(reason="web1 is locked by anna@laptop", holder="anna@laptop")
TAKEN_BACK = RolledBack(releases=(("app", "r0"),), failure=FAILURE)
WANTED_BACK = RolledBack(releases=(("app", "r0"),), failure=None)
ALL: Sequence[Outcome] = (
    *(SAME, DONE, WOULD, STOPPED, STOPPED_NEW, BACK, TAKEN_BACK, WANTED_BACK, FAILED, BROKEN, AWAY, SKIPPED),
    LOCKED,
)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], ExitCode.OK),
        ([SAME, SAME], ExitCode.OK),
        ([DONE, SAME, STOPPED, STOPPED_NEW], ExitCode.OK),
        ([WOULD, SAME], ExitCode.OK),
        # Failed, and every touched host is back.
        ([FAILED], ExitCode.FAILED),
        ([BACK, BACK], ExitCode.FAILED),
        ([BACK, FAILED, SAME, STOPPED], ExitCode.FAILED),
        ([BACK, AWAY], ExitCode.FAILED),
        # Failed, and hosts differ or one needs a person.
        ([BROKEN], ExitCode.MIXED),
        ([BACK, DONE], ExitCode.MIXED),
        ([FAILED, DONE, AWAY], ExitCode.MIXED),
        ([FAILED, STOPPED_NEW], ExitCode.MIXED),
        ([BROKEN, AWAY, SAME], ExitCode.MIXED),
        ([BACK, TAKEN_BACK, SAME], ExitCode.FAILED),
        ([TAKEN_BACK, DONE], ExitCode.MIXED),
        ([TAKEN_BACK, BROKEN], ExitCode.MIXED),
        ([BACK, SKIPPED], ExitCode.FAILED),
        ([WANTED_BACK, SAME], ExitCode.OK),
        ([WANTED_BACK, FAILED], ExitCode.MIXED),
        # Somebody else is at work; a person is needed more.
        ([LOCKED, SKIPPED, SAME], ExitCode.LOCKED),
        ([LOCKED, DONE, AWAY], ExitCode.LOCKED),
        ([LOCKED, FAILED], ExitCode.LOCKED),
        ([LOCKED, BROKEN], ExitCode.MIXED),
        # All others are fine.
        ([AWAY], ExitCode.UNREACHABLE),
        ([AWAY, DONE, SAME, STOPPED_NEW], ExitCode.UNREACHABLE),
        ([AWAY, WOULD], ExitCode.UNREACHABLE),
    ],
)
def test_the_worst_outcome_decides(outcomes: list[Outcome], code: ExitCode) -> None:
    assert exit_code(outcomes) is code
    assert exit_code([*reversed(outcomes)]) is code


@given(st.lists(st.sampled_from(ALL)))
def test_failure_is_never_told_as_success(outcomes: list[Outcome]) -> None:
    kinds = Failed | Reverted | Unreachable | NotAttempted
    bad = any(isinstance(outcome, kinds) or outcome == TAKEN_BACK for outcome in outcomes)
    assert (exit_code(outcomes) is ExitCode.OK) is not bad


@given(st.lists(st.sampled_from(ALL)))
def test_an_interrupted_run_says_so_whatever_else_happened(outcomes: list[Outcome]) -> None:
    assert exit_code(outcomes, interrupted=True) is ExitCode.INTERRUPTED


@given(st.lists(st.sampled_from(ALL)))
def test_one_host_more_that_is_fine_makes_nothing_better(outcomes: list[Outcome]) -> None:
    assert (exit_code([*outcomes, SAME]) is ExitCode.OK) is (exit_code(outcomes) is ExitCode.OK)


@given(st.lists(st.sampled_from(ALL)))
def test_back_on_the_previous_release_is_only_said_where_no_host_moved_on(outcomes: list[Outcome]) -> None:
    if exit_code(outcomes) is ExitCode.FAILED:
        assert not {DONE, STOPPED_NEW, BROKEN} & set(outcomes)


@pytest.mark.parametrize(
    ("in_order", "last"),
    [
        ([SAME], SAME),
        ([DONE, SAME], DONE),
        ([SAME, DONE], DONE),
        ([DONE, BACK], BACK),
        ([DONE, SKIPPED], SKIPPED),
        ([STOPPED_NEW, DONE], STOPPED_NEW),
        ([STOPPED, STOPPED_NEW], STOPPED_NEW),
    ],
)
def test_of_several_plays_a_host_ends_as_in_the_worst(in_order: list[Outcome], last: Outcome) -> None:
    results = [("web1", SAME), *(("web2", outcome) for outcome in in_order), ("web3", AWAY)]
    assert final(results) == {"web1": SAME, "web2": last, "web3": AWAY}


def test_the_numbers_are_what_the_manual_says() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "MIXED": 4,
        "LOCKED": 5,
        "CHANGES": 10,
        "INTERRUPTED": 130,
    }
