"""The gate closes when a limit is exceeded, and says which, how far, and for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployer.desired import Strategy
from deployer.outcome import (
    Changed,
    Failed,
    Failure,
    NotAttempted,
    OperatorStopped,
    Outcome,
    Reverted,
    RolledBack,
    Unchanged,
    Unreachable,
)
from deployer.rollout.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILURE = Failure(cause="unhealthy", message="not healthy")
FAILED = Failed(failure=FAILURE, needs_person=False)
AWAY = Unreachable(failure=FAILURE)
FINE: Sequence[Outcome] = (
    Unchanged(),
    Changed(),
    OperatorStopped(services=("app",), changed=True),
    RolledBack(releases=(), failure=None),
    NotAttempted(reason="interrupted"),
)
BAD: Sequence[Outcome] = (
    FAILED,
    Failed(failure=FAILURE, needs_person=True),
    Reverted(failure=FAILURE),
    RolledBack(releases=(), failure=FAILURE),
)


def closed(outcomes: Sequence[Outcome], *, hosts: int = 40, canaries: int = 0, **strategy: Any) -> str:
    """What the gate says of web1, web2 ... with these outcomes; the first `canaries` are the first batch."""
    gate = Gate(
        strategy=Strategy(**strategy),
        hosts=hosts,
        canaries=frozenset(f"web{number}" for number in range(1, canaries + 1)),
    )
    return gate.closed({f"web{number}": outcome for number, outcome in enumerate(outcomes, start=1)})


@pytest.mark.parametrize("outcome", FINE, ids=lambda outcome: type(outcome).__name__)
def test_what_is_no_failure_does_not_close_it(outcome: Outcome) -> None:
    assert closed([outcome] * 40, canaries=1, max_unreachable_percentage=0) == ""


@pytest.mark.parametrize("outcome", BAD, ids=lambda outcome: type(outcome).__name__)
def test_every_failure_counts(outcome: Outcome) -> None:
    assert closed([outcome]) == "1 of 40 hosts failed (2.5%), more than max_fail_percentage: 0"


@pytest.mark.parametrize(
    ("failed", "hosts", "limit", "said"),
    [
        (0, 40, 0, ""),
        (1, 1, 0, "1 of 1 host failed (100%), more than max_fail_percentage: 0"),
        (1, 3, 0, "1 of 3 hosts failed (33.3%), more than max_fail_percentage: 0"),
        (4, 40, 10, ""),  # reached is not exceeded
        (5, 40, 10, "5 of 40 hosts failed (12.5%), more than max_fail_percentage: 10"),
        (1, 40, 2.5, ""),
        (2, 40, 2.5, "2 of 40 hosts failed (5%), more than max_fail_percentage: 2.5"),
        (40, 40, 100, ""),
    ],
)
def test_a_limit_must_be_exceeded_and_counts_over_the_whole_play(
    failed: int, hosts: int, limit: float, said: str
) -> None:
    assert closed([FAILED] * failed, hosts=hosts, max_fail_percentage=limit) == said


@pytest.mark.parametrize(
    ("lost", "canaries", "limit", "said"),
    [
        ([2], 1, None, ""),  # not the canary
        ([1], 1, None, "web1 of the first batch could not be reached"),
        ([1, 2, 3], 3, None, "web1 and 2 more of the first batch could not be reached"),
        ([1, 2], 0, None, ""),  # there is only one batch
        ([1], 1, 2.5, ""),  # a limit that is given counts over the whole play
        (
            [2, 3],
            1,
            2.5,
            "2 of 40 hosts could not be reached (5%), more than max_unreachable_percentage: 2.5",
        ),
        ([2], 1, 0, "1 of 40 hosts could not be reached (2.5%), more than max_unreachable_percentage: 0"),
        ([2], 0, 0, "1 of 40 hosts could not be reached (2.5%), more than max_unreachable_percentage: 0"),
    ],
)
def test_unreachable_hosts_are_counted_apart(
    lost: list[int], canaries: int, limit: float | None, said: str
) -> None:
    outcomes = [AWAY if number in lost else Changed() for number in range(1, 41)]
    found = closed(outcomes, canaries=canaries, max_unreachable_percentage=limit, max_fail_percentage=0)
    assert found == said


def test_it_never_closes_where_the_play_continues_but_for_a_lock() -> None:
    outcomes: list[Outcome] = [FAILED, AWAY, FAILED]
    assert closed(outcomes, canaries=3, max_unreachable_percentage=0, on_failure="continue") == ""
    held = NotAttempted(reason="locked", holder="anna@laptop")
    said = "web1 is locked by anna@laptop"
    assert closed([held], on_failure="continue") == said
    assert closed([held, FAILED, held]) == f"{said} and 1 more"
