"""Inventories in YAML: groups at the top, each with hosts, vars and children.

The rules are those of Ansible's `yaml` inventory plugin; what it skips with a warning is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.errors import did_you_mean
from deployer.load.inventory.ranges import HostNameError, expand_host

if TYPE_CHECKING:
    from deployer.load.inventory.draft import Draft, Source
    from deployer.load.yaml import Document, Place

_SECTIONS = ("hosts", "vars", "children")


def read_yaml_groups(document: Document, *, source: Source, draft: Draft) -> None:
    """Add everything a YAML inventory says to the draft, in the order of the file."""
    groups = document.value
    if groups is None:
        return
    if not isinstance(groups, dict):
        draft.refuse(
            f"an inventory must be a mapping of groups, not {kind(groups)}",
            document.mark(()),
            hint="an INI inventory has no .yml, .yaml or .json at the end of its name",
        )
        return
    if groups.get("plugin"):
        draft.refuse(
            "inventory plugins (dynamic inventories) are not supported",
            document.key_mark(("plugin",)),
            hint="write what it finds to a file: ansible-inventory --list --export",
        )
        return
    reader = _GroupReader(document, source, draft)
    for name, group in groups.items():
        reader.group(name, group, (name,))


def kind(value: Any) -> str:
    """What a value is, in YAML's words; never the value, which may be a secret."""
    match value:
        case None:
            return "empty"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return f"a {type(value).__name__}"


class _GroupReader:
    def __init__(self, document: Document, source: Source, draft: Draft) -> None:
        self._document = document
        self._source = source
        self._draft = draft

    def group(self, name: Any, group: Any, place: Place) -> bool:
        """Read one group and all below it; False if it cannot be one."""
        at = self._document.key_mark(place)
        if not isinstance(name, str) or not name:
            self._draft.refuse(f"a group name must be text, not {kind(name)}", at, hint="quote it")
            return False
        if group is not None and not isinstance(group, dict):
            self._draft.refuse(
                f"group {name!r} must be a mapping with hosts, vars or children, not {kind(group)}",
                self._document.mark(place),
                hint=did_you_mean(name, _SECTIONS) if len(place) == 1 else "",
            )
            return False
        self._draft.add_group(name)
        for key, section in (group or {}).items():
            self._section(name, key, section, (*place, key))
        return True

    def _section(self, group: str, key: Any, section: Any, place: Place) -> None:
        if key not in _SECTIONS:
            self._draft.refuse(
                f"unknown key {key!r} in group {group!r}",
                self._document.key_mark(place),
                hint=did_you_mean(str(key), _SECTIONS)
                or "a group has hosts, vars and children; groups below it go under children",
            )
            return
        if isinstance(section, str) and key != "vars":
            section = {section: None}  # `hosts: web1`, one name without a colon
        if section is None:
            return
        if not isinstance(section, dict):
            self._draft.refuse(
                f"{key} of group {group!r} must be a mapping, not {kind(section)}",
                self._document.mark(place),
                hint="" if key == "vars" else "write each name with a colon after it, without a dash",
            )
        elif key == "vars":
            self._variables((group,), section, place)
        elif key == "hosts":
            for pattern, variables in section.items():
                self._host(group, pattern, variables, (*place, pattern))
        else:
            for child, content in section.items():
                if self.group(child, content, (*place, child)):
                    mark = self._document.key_mark((*place, child))
                    self._draft.add_child(group, child, mark=mark)

    def _host(self, group: str, pattern: Any, variables: Any, place: Place) -> None:
        at = self._document.key_mark(place)
        if not isinstance(pattern, str):
            self._draft.refuse(f"a host name must be text, not {kind(pattern)}", at, hint="quote it")
            return
        try:
            names, port = expand_host(pattern)
        except HostNameError as error:
            self._draft.refuse(str(error), at, hint=error.hint)
            return
        if variables and not isinstance(variables, dict):
            self._draft.refuse(
                f"variables of host {pattern!r} must be a mapping, not {kind(variables)}",
                self._document.mark(place),
                hint="an address goes under the host: ansible_host: ...",
            )
            variables = None
        for name in names:
            self._draft.add_host(name, group=group, port=port, source=self._source, mark=at)
        self._variables(names, variables or {}, place)

    def _variables(self, owners: tuple[str, ...], variables: dict[Any, Any], place: Place) -> None:
        for name, value in variables.items():
            if not isinstance(name, str):
                at = self._document.key_mark((*place, name))
                self._draft.refuse(f"a variable name must be text, not {kind(name)}", at, hint="quote it")
                continue
            mark = self._document.mark((*place, name))
            for owner in owners:
                self._draft.set_variable(owner, name, value, mark)
