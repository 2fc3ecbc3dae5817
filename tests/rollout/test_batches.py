"""Batches are the ones that Ansible makes of the same `serial`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.desired import Percent
from deployer.rollout.batches import in_batches


def percent(value: int) -> Percent:
    return Percent(value=value)


@pytest.mark.parametrize(
    ("hosts", "serial", "sizes"),
    [
        (3, [], [3]),
        (3, [0], [3]),
        (3, [1], [1, 1, 1]),
        (7, [3], [3, 3, 1]),
        (3, [10], [3]),
        (0, [1], []),
        (10, [1, 5], [1, 5, 4]),
        (12, [1, 2, 5], [1, 2, 5, 4]),
        (10, [1, 0], [1, 9]),
        (40, [1, percent(25), percent(100)], [1, 10, 29]),
        (10, [percent(30)], [3, 3, 3, 1]),
        (3, [percent(1)], [1, 1, 1]),  # at least one
        (7, [percent(25)], [1] * 7),  # rounded down
        (9, [percent(50)], [4, 4, 1]),
        (100, [percent(29)], [28, 28, 28, 16]),  # 29 / 100.0 * 100 is 28.999999999999996, for Ansible too
    ],
)
def test_sizes(hosts: int, serial: list[int | Percent], sizes: list[int]) -> None:
    assert [len(batch) for batch in in_batches(range(hosts), serial)] == sizes


SIZES = st.one_of(st.integers(0, 50), st.builds(percent, st.integers(1, 100)))


@given(st.integers(0, 120), st.lists(SIZES, max_size=5))
def test_every_host_is_in_one_batch_and_in_its_order(hosts: int, serial: list[int | Percent]) -> None:
    batches = in_batches(range(hosts), serial)
    assert [host for batch in batches for host in batch] == [*range(hosts)]
    assert all(batches)
