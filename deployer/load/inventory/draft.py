"""The inventory while its sources are read: who was named in which order, and what was set on whom.

Keeps the rules that hold between sources and formats, as in Ansible's `InventoryData`: a later value
replaces an earlier one, a port counts only where a host is first named, every group is below "all",
and a host in no group of its own is in "ungrouped".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from deployer.errors import Problem

if TYPE_CHECKING:
    from deployer.errors import Mark

_ALWAYS = ("all", "ungrouped")


class Given(NamedTuple):
    """A variable's value and where it was written.  A tuple, because there are many and they are merged."""

    value: Any
    mark: Mark


Variables = dict[str, Given]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What Ansible tells a host about the place it was first named in; a comma list has no folder."""

    inventory_file: str
    inventory_dir: str | None


@dataclass(slots=True, kw_only=True)
class DraftGroup:
    """A group as the sources build it up; dicts stand for ordered sets."""

    name: str
    priority: int = 1
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, Mark | None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    variables: Variables = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class DraftHost:
    """A host as the sources build it up."""

    name: str
    groups: dict[str, None] = field(default_factory=dict)  # those that name it, without their parents
    variables: Variables = field(default_factory=dict)


class Draft:
    """Collects groups, hosts, variables, and the problems of all sources."""

    def __init__(self) -> None:
        self.groups: dict[str, DraftGroup] = {}
        self.hosts: dict[str, DraftHost] = {}
        self.problems: list[Problem] = []
        for name in _ALWAYS:
            self.add_group(name)
        self.add_child("all", "ungrouped", mark=None)

    def refuse(self, message: str, mark: Mark | None, *, hint: str = "") -> None:
        """Note one problem and go on, so that all of them are found."""
        self.problems.append(Problem(message=message, mark=mark, hint=hint))

    def add_group(self, name: str) -> None:
        """Declare a group; one that is known already stays as it is."""
        if name not in self.groups:
            self.groups[name] = DraftGroup(name=name)

    def add_child(self, parent: str, child: str, *, mark: Mark | None) -> None:
        """Put one declared group below another."""
        if child == "ungrouped" and parent != "all":
            self.refuse(
                f"'ungrouped' cannot be a child of {parent!r}",
                mark,
                hint="a host in another group is not ungrouped; Ansible loses such hosts without a word",
            )
            return
        self.groups[parent].children.setdefault(child, mark)
        self.groups[child].parents.setdefault(parent)

    def add_host(self, name: str, *, group: str, port: int | None, source: Source, mark: Mark) -> None:
        """Put a host into a group that is declared; `port` counts only where the host is first named."""
        host = self.hosts.get(name)
        if host is None:
            host = self.hosts[name] = DraftHost(name=name)
            host.variables["inventory_file"] = Given(source.inventory_file, mark)
            host.variables["inventory_dir"] = Given(source.inventory_dir, mark)
            if port:
                host.variables["ansible_port"] = Given(port, mark)
        self.groups[group].hosts[name] = None
        host.groups[group] = None

    def set_variable(self, owner: str, name: str, value: Any, mark: Mark) -> None:
        """Set a variable of a group or host; where both have the name it is the group's, as in Ansible."""
        group = self.groups.get(owner)
        if group is None:
            self.hosts[owner].variables[name] = Given(value, mark)
        elif name == "ansible_group_priority":
            try:
                group.priority = int(value)
            except (TypeError, ValueError):
                self.refuse(f"ansible_group_priority of group {owner!r} must be a whole number", mark)
        else:
            group.variables[name] = Given(value, mark)

    def settle(self) -> tuple[DraftGroup, ...]:
        """Apply the rules that need all sources.  Every group, parents before their children."""
        for group in self.groups.values():
            if group.name != "all" and not group.parents:
                self.add_child("all", group.name, mark=None)
        ungrouped = self.groups["ungrouped"]
        for host in self.hosts.values():
            if host.groups.keys() - set(_ALWAYS):
                host.groups.pop("ungrouped", None)
                ungrouped.hosts.pop(host.name, None)
            else:
                host.groups["ungrouped"] = None
                ungrouped.hosts[host.name] = None
        while True:
            try:
                order = TopologicalSorter({name: group.parents for name, group in self.groups.items()})
                return tuple(self.groups[name] for name in order.static_order())
            except CycleError as error:
                self._refuse_cycle(error.args[1])

    def _refuse_cycle(self, cycle: list[str]) -> None:
        # Of the steps in the circle the one written last is the mistake, as it is in Ansible.
        marked = [
            (mark, step) for step in pairwise(cycle) if (mark := self.groups[step[0]].children[step[1]])
        ]
        mark, (parent, child) = max(marked)
        at = cycle.index(child)
        way = " -> ".join((*cycle[at:-1], *cycle[:at], child))
        self.refuse(f"group {child!r} cannot be a child of {parent!r}: they go in a circle", mark, hint=way)
        del self.groups[parent].children[child]
        del self.groups[child].parents[parent]
