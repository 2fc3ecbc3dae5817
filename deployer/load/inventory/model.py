"""What an inventory says once it is read: hosts, their merged variables, and who is in which group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.errors import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host with everything its groups and files say about it.

    `name` is Ansible's `inventory_hostname`, `groups` its `group_names`: sorted, without "all".
    `vars` are merged and not yet templated: Jinja text is still text.  They hold `inventory_file` and
    `inventory_dir`, as in Ansible.  `origins` says for each of them where the winning value was written.
    """

    name: str
    groups: tuple[str, ...]
    vars: Mapping[str, Any]
    origins: Mapping[str, Mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All hosts in the order the sources first name them, and every group with all hosts below it.

    `groups` has "all" and "ungrouped" too; the hosts of a group are in the order in which Ansible
    would run a play on it, which for "all" differs from the order of `hosts`: group by group.
    """

    hosts: tuple[Host, ...]
    groups: Mapping[str, tuple[str, ...]]
