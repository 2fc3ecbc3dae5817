"""Some sixty faults, every kind and every point among them, on both flavours: none leaves a host broken."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults.__main__ import describe, settings
from tests.faults.campaign import run_campaign
from tests.faults.choice import choose
from tests.faults.fault import NAMED, At, Kind
from tests.faults.table import render_table
from tests.hosts import recipe
from tests.hosts.lab import Lab

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = 66
SEED = 1
HOSTS = 4


@pytest.mark.hosts
@pytest.mark.timeout(3600)
def test_some_sixty_faults_leave_no_host_broken_and_no_lock_stuck(tmp_path: Path) -> None:
    lab = Lab.up(HOSTS, flavours=tuple(recipe.FLAVOURS), owner_pid=os.getpid())
    try:
        results = run_campaign(
            choose(FAULTS, seed=SEED),
            lab,
            settings(tmp_path),
            done=lambda result: print(describe(result), file=sys.stderr, flush=True),  # noqa: T201  a log
        )
    finally:
        lab.down()

    print(render_table(results), file=sys.stderr)  # noqa: T201  what CI keeps of it
    assert [str(each.fault) for each in results if not each.good] == []
    # A fault at a point that never came has proved nothing.
    assert [str(each.fault) for each in results if not each.reached] == []
    assert {each.fault.kind for each in results} == set(Kind)
    assert {each.fault.moment for each in results if isinstance(each.fault.moment, At)} == set(NAMED)
