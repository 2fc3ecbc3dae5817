"""Merges variables in Ansible's order, and finds those in group_vars and host_vars.

The order is that of "Using variables" (Variable precedence) and the setting VARIABLE_PRECEDENCE: inventory
file groups, then group_vars/all, then the other group_vars, then host variables; on every level the
playbook's folder wins over the inventory's.  A later value replaces an earlier one as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.errors import LoadError, Mark, Problem
from deployer.load.inventory.documents import parse_document
from deployer.load.inventory.draft import Given
from deployer.load.inventory.files import list_folder, read_text
from deployer.load.inventory.model import Host
from deployer.load.inventory.yaml_format import kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployer.load.inventory.draft import Draft, DraftGroup, DraftHost, Variables

_ENDS = ("", ".yml", ".yaml", ".json")  # in Ansible's order: the first that is there is read, alone


def merge_hosts(
    draft: Draft,
    groups: Sequence[DraftGroup],
    beside_inventory: Sequence[Path],
    beside_playbook: Sequence[Path],
) -> tuple[Host, ...]:
    """Every host with its groups and merged variables; `groups` has parents before children.

    Problems in the files are added to the draft's.
    """
    files = _VariableFiles(draft.problems)
    folders = (tuple(beside_inventory), tuple(beside_playbook))
    ranks = _ranks(groups)
    above = _above(groups)
    shared: dict[tuple[str, ...], tuple[tuple[str, ...], Variables]] = {}  # most hosts have twins
    hosts = []
    for host in draft.hosts.values():
        direct = tuple(host.groups)
        if direct not in shared:
            names = sorted(
                above["all"].union(*(above[name] for name in direct)) - {"all"}, key=ranks.__getitem__
            )
            shared[direct] = (tuple(sorted(names)), _group_variables(draft, names, files, folders))
        group_names, variables = shared[direct]
        hosts.append(_finish(host, group_names, variables, files, folders))
    return tuple(hosts)


def _ranks(groups: Sequence[DraftGroup]) -> dict[str, tuple[int, int, str]]:
    """What decides between groups: depth (the longest way from "all"), then priority, then name."""
    depths: dict[str, int] = {}
    for group in groups:
        depths[group.name] = max((depths[parent] + 1 for parent in group.parents), default=0)
    return {group.name: (depths[group.name], group.priority, group.name) for group in groups}


def _above(groups: Sequence[DraftGroup]) -> dict[str, frozenset[str]]:
    """For each group itself and every group it is below."""
    above: dict[str, frozenset[str]] = {}
    for group in groups:
        above[group.name] = frozenset({group.name}).union(*(above[parent] for parent in group.parents))
    return above


def _group_variables(
    draft: Draft,
    names: Sequence[str],
    files: _VariableFiles,
    folders: tuple[tuple[Path, ...], ...],
) -> Variables:
    variables = dict(draft.groups["all"].variables)
    for name in names:
        variables |= draft.groups[name].variables
    for level in (("all",), names):
        for beside in folders:
            for folder in beside:
                for name in level:
                    variables |= files.of(folder / "group_vars", name)
    return variables


def _finish(
    host: DraftHost,
    group_names: tuple[str, ...],
    shared: Variables,
    files: _VariableFiles,
    folders: tuple[tuple[Path, ...], ...],
) -> Host:
    variables = shared | host.variables
    for beside in folders:
        for folder in beside:
            variables |= files.of(folder / "host_vars", host.name)
    return Host(
        name=host.name,
        groups=group_names,
        vars={name: given.value for name, given in variables.items()},
        origins={name: given.mark for name, given in variables.items()},
    )


class _VariableFiles:
    """The group_vars and host_vars folders; each folder is listed once and each file read once."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._names: dict[Path, frozenset[str]] = {}
        self._read: dict[tuple[Path, str], Variables] = {}

    def of(self, folder: Path, name: str) -> Variables:
        """What the folder says about one group or host."""
        if not self._listed(folder) or name.startswith("/"):
            return {}
        if (folder, name) not in self._read:
            variables: Variables = {}
            for path in self._find(folder, name):
                variables |= self._file(path)
            self._read[folder, name] = variables
        return self._read[folder, name]

    def _find(self, folder: Path, name: str) -> list[Path]:
        for end in _ENDS:
            path = folder / f"{name}{end}"
            if path.name in self._listed(path.parent):  # a name may hold a slash
                return self._below(path) if path.is_dir() else [path]
        return []

    def _below(self, folder: Path) -> list[Path]:
        found = []
        for name in sorted(self._listed(folder)):
            path = folder / name
            if name.startswith(".") or name.endswith("~") or path.suffix not in _ENDS:
                continue
            if not path.is_dir():
                found.append(path)
            elif not path.suffix:
                found.extend(self._below(path))
        return found

    def _listed(self, folder: Path) -> frozenset[str]:
        if folder not in self._names:
            self._names[folder] = frozenset()
            try:
                self._names[folder] = frozenset(list_folder(folder))
            except LoadError as error:
                self._problems.extend(error.problems)
        return self._names[folder]

    def _file(self, path: Path) -> Variables:
        file = str(path)
        try:
            document = parse_document(read_text(path), file)
        except LoadError as error:
            self._problems.extend(error.problems)
            return {}
        if not document.value:
            return {}
        if not isinstance(document.value, dict):
            message = f"a file of variables must be a mapping, not {kind(document.value)}"
            self._problems.append(Problem(message=message, mark=document.mark(())))
            return {}
        variables: Variables = {}
        for name, value in document.value.items():
            if isinstance(name, str):
                variables[name] = Given(value, document.mark((name,)))
            else:
                message = f"a variable name must be text, not {kind(name)}"
                mark: Mark = document.key_mark((name,))
                self._problems.append(Problem(message=message, mark=mark, hint="quote it"))
        return variables
