"""From inventory sources (files, folders, lists of hosts) to one Inventory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import LoadError, Mark
from deployer.load.inventory.documents import parse_document
from deployer.load.inventory.draft import Draft, DraftGroup, Source
from deployer.load.inventory.files import decode, exists, is_script, list_folder, read_bytes
from deployer.load.inventory.ini_format import decode_ini, read_ini_groups
from deployer.load.inventory.model import Inventory
from deployer.load.inventory.ranges import split_port
from deployer.load.inventory.variables import merge_hosts
from deployer.load.inventory.yaml_format import read_yaml_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_YAML = (".yml", ".yaml", ".json")

# What Ansible passes over in a folder (INVENTORY_IGNORE_EXTS), so that a README does not become hosts.
_IGNORED_ENDS = tuple(".pyc .pyo .swp .bak ~ .rpm .md .txt .rst .orig .cfg .retry".split())  # noqa: SIM905  # reads better
_IGNORED_NAMES = frozenset({"group_vars", "host_vars", "vars_plugins"})


def read_inventory(sources: Sequence[str | Path], *, playbook_dir: Path | None = None) -> Inventory:
    """Read all sources in their order, and the group_vars and host_vars beside them and the playbook.

    A source is a file, a folder of such files, or a list of hosts with at least one comma: `web1,web2,`.

    Raises:
        LoadError: with everything that is wrong in any of them.

    """
    draft = Draft()
    folders: list[Path] = []
    if not sources:
        draft.refuse("no inventory is given", None)
    for source in map(str, sources):
        path = Path(source).expanduser()
        if exists(path):
            folder = path.is_dir()
            folders.append(path if folder else path.parent)
            _read_folder(path, draft) if folder else _read_file(path, draft)
        elif "," in source:
            _read_list(source, draft)
        else:
            hint = f"a list of hosts needs a comma: '{source},'" if split_port(source) else ""
            draft.refuse(f"there is no inventory {source!r}", None, hint=hint)
    groups = draft.settle()
    hosts = merge_hosts(draft, groups, folders, [playbook_dir] if playbook_dir else [])
    if draft.problems:
        raise LoadError(draft.problems)
    return Inventory(hosts=hosts, groups={name: _members(name, draft.groups) for name in draft.groups})


def _read_folder(folder: Path, draft: Draft) -> None:
    found = False
    try:
        names = list_folder(folder)
    except LoadError as error:
        draft.problems.extend(error.problems)
        return
    for name in names:
        if name.startswith(".") or name.endswith(_IGNORED_ENDS) or name in _IGNORED_NAMES:
            continue
        found = True
        path = folder / name
        _read_folder(path, draft) if path.is_dir() else _read_file(path, draft)
    if not found:
        draft.refuse(f"there is no inventory file in {folder}", None)


def _read_file(path: Path, draft: Draft) -> None:
    file = str(path)
    try:
        data = read_bytes(path)
        if is_script(path, data):
            hint = "write what it prints to a file: ansible-inventory --list --export"
            draft.refuse(f"{file} is a program; dynamic inventories are not supported", None, hint=hint)
        elif path.suffix == ".toml":
            draft.refuse(f"{file} is TOML; inventories are YAML or INI", None)
        else:
            _read_groups(data, path, draft)
    except LoadError as error:
        draft.problems.extend(error.problems)


def _read_groups(data: bytes, path: Path, draft: Draft) -> None:
    file = str(path)
    whole = os.path.abspath(path)  # noqa: PTH100  # takes `..` out and follows no symlinks, as Ansible does
    source = Source(inventory_file=whole, inventory_dir=os.path.dirname(whole))  # noqa: PTH120  # as above
    if path.suffix in _YAML or data.startswith(b"$ANSIBLE_VAULT"):
        read_yaml_groups(parse_document(decode(data, file), file), source=source, draft=draft)
        return
    text = decode_ini(data, file)
    not_yaml: LoadError | None = None
    if not path.suffix:
        try:
            document = parse_document(text, file)
        except LoadError as error:
            not_yaml = error
        else:
            if isinstance(document.value, dict):
                read_yaml_groups(document, source=source, draft=draft)
                return
    before = len(draft.problems)
    read_ini_groups(text, file, source=source, draft=draft)
    if not_yaml and len(draft.problems) > before and _looks_like_yaml(text):
        draft.problems[before:] = not_yaml.problems


def _looks_like_yaml(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return first.startswith(("---", "{")) or first.endswith(":")


def _read_list(text: str, draft: Draft) -> None:
    source = Source(inventory_file=text, inventory_dir=None)
    column = 1
    for piece in text.split(","):
        word = piece.strip()
        mark = Mark(file=text, line=1, column=column + len(piece) - len(piece.lstrip()))
        column += len(piece) + 1
        name, port = split_port(word) or (word, None)
        if "[" in name or "=" in name:
            # Ansible takes such a word for a host's name, which then cannot be reached.
            hint = "ranges and variables need an inventory file"
            draft.refuse("a list of hosts can hold names and ports only", mark, hint=hint)
        elif name and name not in draft.hosts:
            draft.add_host(name, group="ungrouped", port=port, source=source, mark=mark)


def _members(name: str, groups: Mapping[str, DraftGroup]) -> tuple[str, ...]:
    """The hosts of a group and of all below it, level by level, each level in the order of the sources.

    Ansible has the same levels, but from the third one on it walks a set of them, in no fixed order.
    """
    below = {name: None}
    level = [name]
    while level:
        level = list(
            dict.fromkeys(child for up in level for child in groups[up].children if child not in below)
        )
        below.update(dict.fromkeys(level))
    return tuple(dict.fromkeys(host for group in below for host in groups[group].hosts))
