"""A fault prints as the line that repeats it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.fault import NAMED, After, At, Fault, Kind, can_be_alone, parse_fault, possible


@pytest.mark.parametrize("moment", [*NAMED, After(share=0.437)], ids=str)
def test_what_is_printed_is_read_again(moment: At | After) -> None:
    for kind in Kind:
        for bad in (False, True):
            if possible(kind, moment, bad=bad):
                alone = can_be_alone(kind, moment)
                fault = Fault(kind=kind, moment=moment, flavour="debian13", bad=bad, alone=alone, at_once=bad)
                assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("power-cut", "is no fault"),
        ("flood@switch.flipped/debian12", "there is no kind 'flood'"),
        ("power-cut@switch.flopped/debian12", "there is no point 'switch.flopped'"),
        ("power-cut@1.5/debian12", "is no share"),
        ("power-cut@0.5/debian11", "there is no flavour 'debian11'"),
        ("power-cut@0.5/debian12+worse", "there is no mark 'worse'"),
        ("line-cut@0.5/debian12+alone", "cannot happen"),  # nobody is left to hear of it
        ("power-cut@own-revert.begun/debian12+alone", "cannot happen"),  # it is alone already
        ("power-cut@revert.begun/debian12", "cannot happen"),  # a good release is not reverted
        ("flapping@switch.before/debian12", "cannot happen"),  # that release is never a good one
        ("operator-start@switch.before/debian12+bad", "cannot happen"),  # what is not started is not judged
        ("operator-start@verify.before/debian12", "cannot happen"),  # nor tried
        ("cut-up@own-revert.begun/debian12", "cannot happen"),  # there is nobody at the other end
        ("controller-kill@own-revert.begun/debian12", "cannot happen"),  # it is dead already
    ],
)
def test_what_is_no_fault_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_fault(text)


def test_the_manual_says_how_each_kind_is_done() -> None:
    manual = (Path(__file__).parents[2] / "docs/reliability.md").read_text()
    rows = [line for line in manual.partition("| what | how |")[2].splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall("`([a-z-]+)`", row.split("|")[1])}
    assert named == set(Kind)
