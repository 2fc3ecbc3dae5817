"""A campaign covers every kind and every point before it repeats, and a seed gives the same one again."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.choice import choose
from tests.faults.fault import LOOKED, NAMED, OPERATOR, After, At, Kind, possible
from tests.hosts import recipe

QUICK = 66
SEEDS = range(1, 6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_quick_set_covers_every_kind_point_and_flavour(seed: int) -> None:
    faults = choose(QUICK, seed=seed)
    assert {fault.kind for fault in faults} == set(Kind)
    assert {fault.moment for fault in faults if isinstance(fault.moment, At)} == set(NAMED)
    assert {fault.flavour for fault in faults} == set(recipe.FLAVOURS)
    assert (
        {fault.bad for fault in faults}
        == {fault.at_once for fault in faults}
        == {fault.alone for fault in faults}
        == {False, True}
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_kind_is_left_far_behind(seed: int) -> None:
    counts = Counter(fault.kind for fault in choose(QUICK, seed=seed))
    assert max(counts.values()) - min(counts.values()) <= 3, counts


def test_a_long_campaign_tries_every_kind_at_every_point() -> None:
    faults = choose(2600, seed=1)
    tried = {(fault.kind, fault.moment) for fault in faults if isinstance(fault.moment, At)}
    wanted = {
        (kind, at)
        for kind in Kind
        for at in NAMED
        if any(possible(kind, at, bad=bad) for bad in (False, True))
    }
    assert tried == wanted


def test_operators_come_most_of_all_between_look_and_switch() -> None:
    faults = choose(1300, seed=1)
    at = Counter(
        fault.moment in {At(point=point) for point in LOOKED} for fault in faults if fault.kind in OPERATOR
    )
    others = Counter(
        fault.moment in {At(point=point) for point in LOOKED}
        for fault in faults
        if fault.kind not in OPERATOR
    )
    assert at[True] > at[False] / 2
    assert others[True] < others[False] / 4


def test_every_fault_can_happen() -> None:
    for fault in choose(900, seed=2):
        assert possible(fault.kind, fault.moment, bad=fault.bad), fault


def test_random_moments_are_spread_over_the_run() -> None:
    shares = [fault.moment.share for fault in choose(900, seed=3) if isinstance(fault.moment, After)]
    assert len(shares) > 300
    assert all(any(low <= share < low + 0.1 for share in shares) for low in (n / 10 for n in range(10)))


def test_a_seed_gives_the_same_faults_and_another_gives_others() -> None:
    assert choose(QUICK, seed=4) == choose(QUICK, seed=4)
    assert choose(QUICK, seed=4) != choose(QUICK, seed=5)


def test_only_what_was_asked_for_is_chosen() -> None:
    at = At(point="switch.flipped")
    faults = choose(9, seed=1, kinds=[Kind.POWER_CUT], moments=[at], flavours=["debian13"])
    assert {(fault.kind, fault.moment, fault.flavour) for fault in faults} == {
        (Kind.POWER_CUT, at, "debian13")
    }
    with pytest.raises(ValueError, match="can happen"):
        choose(1, seed=1, kinds=[Kind.LINE_CUT], moments=[At(point="revert.begun", own=True)])
