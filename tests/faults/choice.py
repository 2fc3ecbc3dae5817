"""Which faults a campaign tries: by chance from a seed, every kind and every point before any again."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from tests.faults.fault import LOOKED, NAMED, OPERATOR, After, At, Fault, Kind, Moment, can_be_alone, possible
from tests.hosts import recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_T = TypeVar("_T")

RANDOM_SLOTS = 24
"""Random moments for each round of all named points: more than one in three."""
BAD = 0.3
ALONE = 0.5
AT_ONCE = 0.35


def choose(
    count: int,
    *,
    seed: int,
    kinds: Collection[Kind] = tuple(Kind),
    moments: Collection[Moment] | None = None,
    flavours: Collection[str] = tuple(recipe.FLAVOURS),
) -> list[Fault]:
    """`count` faults; the same for the same arguments.  Only from `kinds`, `moments`, `flavours`."""
    chance = random.Random(seed)  # noqa: S311  to be repeated, not to be secret
    slots = _slots(kinds) if moments is None else [(moment, kinds) for moment in moments]
    fitting = [[kind for kind in own if _fits(kind, moment)] for moment, own in slots]
    if not any(fitting):
        raise ValueError("none of these kinds can happen at any of these moments")
    used_kinds: Counter[Kind] = Counter()
    used_slots: Counter[int] = Counter()
    used_pairs: Counter[tuple[Kind, int]] = Counter()
    used_flavours: Counter[tuple[str, Kind]] = Counter()
    faults: list[Fault] = []
    for _ in range(count):
        # A point of its own comes before the balance of kinds, for there are more points than kinds.
        fewest = min(used_slots[slot] for slot, own in enumerate(fitting) if own)
        free = [slot for slot, own in enumerate(fitting) if own and used_slots[slot] == fewest]
        kind, slot = _least(
            [(kind, slot) for slot in free for kind in fitting[slot]],
            lambda pair: (used_pairs[pair], used_kinds[pair[0]]),
            chance,
        )
        flavour = _least(sorted(flavours), lambda name, kind=kind: (used_flavours[name, kind],), chance)  # type: ignore[misc]
        used_kinds[kind] += 1
        used_slots[slot] += 1
        used_pairs[kind, slot] += 1
        used_flavours[flavour, kind] += 1
        moment, _ = slots[slot]
        if moment is None:
            moment = After(share=round(chance.random(), 3))
        faults.append(
            Fault(
                kind=kind,
                moment=moment,
                flavour=flavour,
                bad=_bad(kind, moment, wanted=chance.random() < BAD),
                alone=chance.random() < ALONE and can_be_alone(kind, moment),
                at_once=chance.random() < AT_ONCE,
            )
        )
    return faults


def _slots(kinds: Collection[Kind]) -> list[tuple[Moment | None, Collection[Kind]]]:
    """One round of moments, and what may happen there; None is a random moment."""
    by_hand = [kind for kind in kinds if kind in OPERATOR]
    return [
        *((at, kinds) for at in NAMED),
        *((None, kinds) for _ in range(RANDOM_SLOTS)),
        # The worst that an operator does comes between look and switch: once more for each point.
        *((At(point=point), by_hand) for point in LOOKED),
    ]


def _fits(kind: Kind, moment: Moment | None) -> bool:
    return moment is None or any(possible(kind, moment, bad=bad) for bad in (False, True))


def _bad(kind: Kind, moment: Moment, *, wanted: bool) -> bool:
    return wanted if possible(kind, moment, bad=wanted) else not wanted


def _least(items: list[_T], cost: Callable[[_T], tuple[int, ...]], chance: random.Random) -> _T:
    lowest = min(map(cost, items))
    return chance.choice([item for item in items if cost(item) == lowest])
