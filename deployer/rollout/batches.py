"""A play's hosts in the batches that `serial` says, as Ansible makes them.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from deployer.desired import Percent

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")


def in_batches(hosts: Sequence[_T], serial: Sequence[int | Percent]) -> tuple[tuple[_T, ...], ...]:
    """The hosts in order, cut into batches; the last size of `serial` repeats until all have one.

    Source: ansible/executor/playbook_executor.py, _get_serialized_batches.
    """
    batches: list[tuple[_T, ...]] = []
    sizes = list(serial) or [0]
    done = 0
    while done < len(hosts):
        size = _size(sizes[min(len(batches), len(sizes) - 1)], len(hosts))
        batches.append(tuple(hosts[done : done + size] if size else hosts[done:]))
        done += len(batches[-1])
    return tuple(batches)


def _size(size: int | Percent, hosts: int) -> int:
    """In hosts; 0 is all that are left.  The arithmetic is Ansible's pct_to_int, floats included."""
    return (int((size.value / 100.0) * hosts) or 1) if isinstance(size, Percent) else size
