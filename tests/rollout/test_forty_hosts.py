"""Forty hosts, some dead, and a bad release: the run ends exactly as on_failure and the limits say."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import pytest

from deployer import outcome as ends
from deployer.desired import CommandTask, Percent, Play, Strategy
from deployer.outcome import (
    ExitCode,
    NotAttempted,
    RolledBack,
    exit_code,
    has_failed,
    has_moved,
)
from deployer.report.events import (
    BatchPaused,
    BatchStarted,
    HostFinished,
    PlayStarted,
    StepAnswered,
    StepAsked,
)
from deployer.rollout.batches import in_batches
from tests.made import make_host
from tests.rollout.forty import NAMES, Forty, web

CANARY = (1, Percent(value=25), Percent(value=100))  # 1, 10, 29 hosts
TENS = (10,)
ALL = frozenset(NAMES)
OK, FAILED, UNREACHABLE, MIXED = ExitCode.OK, ExitCode.FAILED, ExitCode.UNREACHABLE, ExitCode.MIXED


def too_many(count: int, limit: float = 0) -> str:
    share = f"{count * 2.5:.1f}".removesuffix(".0")
    return f"{count} of 40 hosts failed ({share}%), more than max_fail_percentage: {limit:g}"


ROWS: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, int], ExitCode, str]] = [
    # what it shows | strategy | what is wrong | hosts by outcome | exit code | why it stopped
    ("a good day", {"serial": CANARY}, {}, {"changed": 40}, OK, ""),
    (
        "a bad release, all at once",  # with one fork the second host does not start any more
        {},
        {"bad": ALL, "dead": web(7, 23)},
        {"reverted": 1, "unreachable": 2, "not attempted": 37},
        FAILED,
        too_many(1),
    ),
    (
        "a bad release ends at the canary",
        {"serial": CANARY},
        {"bad": ALL, "dead": web(7, 23)},
        {"reverted": 1, "unreachable": 2, "not attempted": 37},
        FAILED,
        too_many(1),
    ),
    (
        "stop: what was changed stays",
        {"serial": CANARY},
        {"bad": web(5), "dead": web(23)},
        {"changed": 4, "reverted": 1, "unreachable": 1, "not attempted": 34},
        MIXED,
        too_many(1),
    ),
    (
        "rollback: what was changed goes back",
        {"serial": CANARY, "on_failure": "rollback"},
        {"bad": web(5), "dead": web(23)},
        {"rolled back": 4, "reverted": 1, "unreachable": 1, "not attempted": 34},
        FAILED,
        too_many(1),
    ),
    (
        "rollback: the very last host counts too",
        {"serial": CANARY, "on_failure": "rollback"},
        {"bad": web(40)},
        {"rolled back": 39, "reverted": 1},
        FAILED,
        too_many(1),
    ),
    (
        "rollback: a host that cannot go back needs a person",
        {"serial": CANARY, "on_failure": "rollback"},
        {"bad": web(5), "stuck": web(2)},
        {"rolled back": 3, "reverted": 1, "failed": 1, "not attempted": 35},
        MIXED,
        too_many(1),
    ),
    (
        "rollback: nothing was changed yet",
        {"serial": CANARY, "on_failure": "rollback"},
        {"full": web(30)},
        {"failed": 1, "not attempted": 39},
        FAILED,
        too_many(1),
    ),
    (
        "continue: every host is tried",
        {"serial": CANARY, "on_failure": "continue"},
        {"bad": web(1, 5), "dead": web(23), "full": web(30)},
        {"changed": 36, "reverted": 2, "failed": 1, "unreachable": 1},
        MIXED,
        "",
    ),
    (
        "continue: a bad release everywhere",
        {"serial": CANARY, "on_failure": "continue"},
        {"bad": ALL, "dead": web(1)},
        {"reverted": 39, "unreachable": 1},
        FAILED,
        "",
    ),
    (
        "a limit that is reached is not exceeded",
        {"serial": TENS, "max_fail_percentage": 10},
        {"bad": web(1, 11, 21, 31)},
        {"changed": 36, "reverted": 4},
        MIXED,
        "",
    ),
    (
        "the limit counts over all batches, not within one",
        {"serial": TENS, "max_fail_percentage": 10},
        {"bad": web(1, 11, 21, 31, 33)},
        {"changed": 28, "reverted": 5, "not attempted": 7},
        MIXED,
        too_many(5, 10),
    ),
    (
        "a limit exceeded in the middle of a batch",
        {"serial": TENS, "max_fail_percentage": 5, "on_failure": "rollback"},
        {"bad": web(12, 13, 14, 15)},
        {"rolled back": 11, "reverted": 3, "not attempted": 26},
        FAILED,
        too_many(3, 5),
    ),
    (
        "a full disk stops the play before anything is switched",
        {"serial": CANARY},
        {"full": web(40)},
        {"failed": 1, "not attempted": 39},
        FAILED,
        too_many(1),
    ),
    (
        "failures of both halves are counted together",
        {"serial": CANARY, "max_fail_percentage": 2.5},
        {"full": web(40), "bad": web(2)},
        {"failed": 1, "changed": 1, "reverted": 1, "not attempted": 37},
        MIXED,
        too_many(2, 2.5),
    ),
    (
        "an unreachable canary stops it",
        {"serial": CANARY, "max_fail_percentage": 100},
        {"dead": web(1)},
        {"unreachable": 1, "not attempted": 39},
        FAILED,
        "web01 of the first batch could not be reached",
    ),
    (
        "unreachable hosts after the canary do not",
        {"serial": CANARY},
        {"dead": web(2, 3, 40)},
        {"changed": 37, "unreachable": 3},
        UNREACHABLE,
        "",
    ),
    (
        "with one batch there is no canary",
        {},
        {"dead": web(1, 2)},
        {"changed": 38, "unreachable": 2},
        UNREACHABLE,
        "",
    ),
    (
        "a limit for the unreachable counts over the whole play",
        {"serial": CANARY, "max_unreachable_percentage": 5},
        {"dead": web(1, 2)},
        {"changed": 38, "unreachable": 2},
        UNREACHABLE,
        "",
    ),
    (
        "and closes the gate when it is exceeded",
        {"serial": CANARY, "max_unreachable_percentage": 5},
        {"dead": web(1, 2, 40)},
        {"unreachable": 3, "not attempted": 37},
        FAILED,
        "3 of 40 hosts could not be reached (7.5%), more than max_unreachable_percentage: 5",
    ),
    (
        "a lock that another run holds",
        {"serial": CANARY, "on_failure": "continue"},
        {"held": web(33)},
        {"not attempted": 40},
        ExitCode.LOCKED,
        "web33 is locked by anna@laptop",
    ),
]


@pytest.mark.parametrize(
    ("strategy", "wrong", "counts", "code", "why"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_it_ends_as_the_strategy_says(
    strategy: dict[str, Any], wrong: dict[str, Any], counts: dict[str, int], code: ExitCode, why: str
) -> None:
    fleet = Forty(**wrong)
    outcomes = fleet.run(strategy=Strategy(**strategy))
    assert Counter(ends.NAMES[type(outcome)] for outcome in outcomes.values()) == counts
    assert exit_code(outcomes.values()) is code
    reasons = {o.reason for o in outcomes.values() if isinstance(o, NotAttempted) and not o.holder}
    assert reasons <= {why}
    for outcome in outcomes.values():
        if isinstance(outcome, RolledBack):
            assert outcome.failure
            assert outcome.failure.message == why


WRONG: list[dict[str, Any]] = [
    {"bad": web(1)},
    {"bad": web(5, 12), "dead": web(23)},
    {"bad": ALL - web(1), "dead": web(3)},
    {"bad": web(39, 40), "dead": web(1, 2, 3, 4, 5)},
    {"full": web(8), "bad": web(31), "stuck": web(2)},
]
STRATEGIES: list[dict[str, Any]] = [
    {"serial": serial, "on_failure": action, "max_fail_percentage": fail, "max_unreachable_percentage": lost}
    for serial, action, fail, lost in product(
        [(), (1,), CANARY, TENS], ["stop", "rollback", "continue"], [0, 5, 100], [None, 0, 10]
    )
]


@pytest.mark.parametrize("forks", [1, 4])
@pytest.mark.parametrize("wrong", WRONG, ids="+".join)
def test_whatever_the_strategy_no_host_starts_behind_a_closed_gate(wrong: dict[str, Any], forks: int) -> None:
    for words in STRATEGIES:
        strategy = Strategy(**words)
        fleet = Forty(**wrong, forks=forks)
        outcomes = fleet.run(strategy=strategy)
        check_order(fleet, strategy)
        check_ends(fleet, strategy, outcomes)


def check_order(fleet: Forty, strategy: Strategy) -> None:
    """All are prepared first, a batch ends before the next, and nobody starts with too many failures."""
    steps = [step for step, _ in fleet.done]
    assert steps[: len(NAMES)] == ["prepare"] * len(NAMES)
    assert "prepare" not in steps[len(NAMES) :]
    batch_of = {
        host: number for number, batch in enumerate(in_batches(NAMES, strategy.serial)) for host in batch
    }
    failed = len(fleet.full)
    running: set[str] = set()
    for step, host in fleet.done:
        if step == "apply":
            assert {batch_of[other] for other in running} <= {batch_of[host]}
            if strategy.on_failure != "continue":
                # Outcomes of hosts that are just ending may not be counted yet; those that ended are.
                assert (failed - fleet.forks + 1) * 100 <= strategy.max_fail_percentage * len(NAMES)
            running.add(host)
        elif step == "end":
            running.discard(host)
            failed += host in fleet.bad
    started = [batch_of[host] for host in fleet.did("apply")]
    assert started == sorted(started)
    back = [batch_of[host] for host in fleet.did("roll back")]
    assert back == sorted(back, reverse=True)


def check_ends(fleet: Forty, strategy: Strategy, outcomes: dict[str, Any]) -> None:
    """Every host ends once, what was not attempted is let go of, and rollback leaves no host moved."""
    assert [*outcomes] == [*NAMES]
    said = [event.host for event in fleet.events if isinstance(event, HostFinished)]
    again = Counter(said)
    assert set(again) == set(NAMES)
    assert {host for host, count in again.items() if count > 1} == set(fleet.did("roll back"))
    skipped = {host for host, outcome in outcomes.items() if isinstance(outcome, NotAttempted)}
    assert sorted(fleet.did("let go")) == sorted(skipped)
    assert skipped.isdisjoint(fleet.did("apply"))
    assert set(fleet.did("prepare")) == set(NAMES)
    assert skipped | set(fleet.did("apply")) == set(NAMES) - fleet.dead - fleet.full
    failed = sum(has_failed(outcome) for host, outcome in outcomes.items() if host in fleet.bad | fleet.full)
    if strategy.on_failure == "continue":
        assert not skipped
        assert not fleet.did("roll back")
    elif failed * 100 > strategy.max_fail_percentage * len(NAMES):
        moved = [host for host, outcome in outcomes.items() if has_moved(outcome)]
        assert not (moved and strategy.on_failure == "rollback")


# -- what comes after --------------------------------------------------------------------------------------


def second(*hosts: str) -> Play:
    task = CommandTask(name="after", argv=("true",))
    return Play(name="after", hosts=tuple(make_host(name, commands=(task,)) for name in hosts))


def test_plays_after_one_that_stopped_are_not_begun() -> None:
    fleet = Forty(bad=web(2))
    outcomes = fleet.run(second("web01", "web02", "db1"), hosts=("web01", "web02", "web03"))
    why = "the play 'web' was stopped: 1 of 3 hosts failed (33.3%), more than max_fail_percentage: 0"
    assert outcomes["db1"] == NotAttempted(reason=why)
    assert outcomes["web01"] == NotAttempted(reason=f"{why}; what an earlier play did here stays")
    assert [event.play for event in fleet.events if isinstance(event, PlayStarted)] == ["web"]
    assert "db1" not in fleet.did("prepare")
    finished = [event.host for event in fleet.events if isinstance(event, HostFinished)]
    assert sorted(finished) == ["db1", "web01", "web01", "web02", "web03"]


def test_a_play_whose_limits_held_is_followed_by_the_next() -> None:
    fleet = Forty(bad=web(2))
    lenient = Strategy(max_fail_percentage=50)
    outcomes = fleet.run(second("web01", "web02", "db1"), hosts=("web01", "web02", "web03"), strategy=lenient)
    assert fleet.did("prepare") == ["web01", "web02", "web03", "web01", "db1"]
    assert {host for host, outcome in outcomes.items() if has_moved(outcome)} == {"web01", "web03", "db1"}


# -- between batches ---------------------------------------------------------------------------------------


def test_it_pauses_between_batches_that_have_something_to_do() -> None:
    fleet = Forty(dead=web(11, 12, 13, 14, 15, 16, 17, 18, 19, 20))
    fleet.run(strategy=Strategy(serial=TENS, pause=30.0))
    batches = [event for event in fleet.events if isinstance(event, BatchStarted | BatchPaused)]
    assert [event.number if isinstance(event, BatchStarted) else event.seconds for event in batches] == [
        *(1, 30.0, 3, 30.0, 4),
    ]
    assert fleet.time.now == pytest.approx(60.0)


def test_there_is_no_pause_before_a_closed_gate() -> None:
    fleet = Forty(bad=web(1))
    fleet.run(strategy=Strategy(serial=TENS, pause=30.0))
    assert fleet.time.now == 0.0


@pytest.mark.parametrize(
    ("answers", "asked", "changed"),
    [
        (["no"], [1], 0),
        (["yes", "no"], [1, 2], 1),
        (["yes", "yes", "yes"], [1, 2, 3], 40),
        (["yes", "continue"], [1, 2], 40),
    ],
)
def test_a_step_asks_before_each_batch(answers: list[Any], asked: list[int], changed: int) -> None:
    questions: list[str] = []
    left = iter(answers)

    def ask(question: str) -> Any:
        questions.append(question)
        return next(left)

    fleet = Forty(ask=ask)
    outcomes = fleet.run(strategy=Strategy(serial=CANARY))
    assert sum(map(has_moved, outcomes.values())) == changed
    assert questions[0] == "batch 1 of 3: web01"
    assert [event.number for event in fleet.events if isinstance(event, StepAsked)] == asked
    assert [event.answer for event in fleet.events if isinstance(event, StepAnswered)] == answers
    reasons = {o.reason for o in outcomes.values() if isinstance(o, NotAttempted)}
    assert reasons == ({f"batch {len(asked)} of 3 was not confirmed"} if answers[-1] == "no" else set())
    if answers[-1] == "no":
        assert exit_code(outcomes.values()) is (MIXED if changed else FAILED)


def test_continue_holds_for_the_plays_that_follow() -> None:
    asked: list[str] = []

    def ask(question: str) -> Any:
        asked.append(question)
        return "continue"

    fleet = Forty(ask=ask)
    fleet.run(second("db1"))
    assert len(asked) == 1
    assert "db1" in fleet.did("apply")


# -- locks that others hold ----------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [web(1), web(2), web(17), web(40), web(3, 4, 39)])
@pytest.mark.parametrize("strategy", [Strategy(), Strategy(on_failure="continue")], ids=["stop", "continue"])
@pytest.mark.parametrize("forks", [1, 8])
def test_a_lock_that_is_waited_for_in_vain_gives_every_host_its_outcome(
    held: frozenset[str], forks: int, strategy: Strategy
) -> None:
    fleet = Forty(held=held, lock_wait=30, forks=forks)
    outcomes = fleet.run(strategy=strategy)
    assert {*outcomes} == {*NAMES}
    assert all(isinstance(outcome, NotAttempted) for outcome in outcomes.values())
    assert {
        name for name, outcome in outcomes.items() if isinstance(outcome, NotAttempted) and outcome.holder
    } == held
    assert fleet.did("apply") == []
    assert fleet.time.now >= 30


def test_an_interrupt_while_a_lock_is_waited_for_gives_every_host_its_outcome() -> None:
    fleet = Forty(held=web(2), lock_wait=300)
    fleet.during = lambda step, _host: fleet.interrupt.request() if step == "let go" else None
    outcomes = fleet.run()
    assert {*outcomes} == {*NAMES}
    assert all(isinstance(outcome, NotAttempted) for outcome in outcomes.values())
