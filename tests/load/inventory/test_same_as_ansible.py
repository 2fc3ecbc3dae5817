"""Every case folder holds an inventory and what Ansible said about it (see cases/record.py)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployer.errors import LoadError
from deployer.load.inventory import read_inventory, select

if TYPE_CHECKING:
    from deployer.load.inventory import Inventory

CASES = sorted(path.parent for path in Path(__file__).parent.glob("cases/*/case.json"))


def load(case: Path) -> tuple[Inventory, Any]:
    asked = json.loads((case / "case.json").read_text())
    sources = [source if "," in source else case / source for source in asked["sources"]]
    playbook_dir = case / asked["playbook_dir"] if "playbook_dir" in asked else None
    inventory = read_inventory(sources, playbook_dir=playbook_dir)
    return inventory, json.loads((case / "ansible.json").read_text())


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def chosen(inventory: Inventory, pattern: str, limit: str | None = None) -> list[str]:
    try:
        return [host.name for host in select(inventory, pattern, limit=limit)]
    except LoadError as error:
        # No host: for Ansible a warning, for us an error.  Any other error fails the test.
        assert all(re.match("no host (matched|of) ", problem.message) for problem in error.problems)  # noqa: PT017
        return []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hosts_have_the_variables_ansible_gives_them(case: Path) -> None:
    inventory, ansible = load(case)
    ours = {
        host.name: {
            name: as_json(value)
            for name, value in host.vars.items()
            if name not in {"inventory_dir", "inventory_file"}  # ansible-inventory leaves them out
        }
        for host in inventory.hosts
    }
    assert ours == ansible["vars"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hosts_are_in_the_groups_ansible_puts_them_in(case: Path) -> None:
    inventory, ansible = load(case)
    assert {host.name: list(host.groups) for host in inventory.hosts} == ansible["group_names"]
    unordered = set(ansible["unordered"])
    assert {name: sorted(hosts) for name, hosts in inventory.groups.items()} == {
        name: sorted(hosts) for name, hosts in ansible["groups"].items()
    }
    for name in ansible["groups"].keys() - unordered:
        assert list(inventory.groups[name]) == ansible["groups"][name]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_patterns_choose_the_hosts_ansible_chooses(case: Path) -> None:
    inventory, ansible = load(case)
    ours = {pattern: chosen(inventory, pattern) for pattern in ansible["patterns"]}
    if ansible["unordered"]:
        ours = {pattern: sorted(hosts) for pattern, hosts in ours.items()}
        ansible["patterns"] = {pattern: sorted(hosts) for pattern, hosts in ansible["patterns"].items()}
    assert ours == ansible["patterns"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_limits_leave_the_hosts_ansible_leaves(case: Path) -> None:
    inventory, ansible = load(case)
    for pattern, limit, hosts in ansible["limits"]:
        ours = re.sub("^@", f"@{case}/", limit)
        assert chosen(inventory, pattern, ours) == hosts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_variable_says_where_it_was_written(case: Path) -> None:
    inventory, _ = load(case)
    for host in inventory.hosts:
        assert host.origins.keys() == host.vars.keys()
        for name, mark in host.origins.items():
            if name in {"inventory_dir", "inventory_file"} or not Path(mark.file).exists():
                continue
            written = Path(mark.file).read_text().splitlines()
            before = "\n".join((*written[: mark.line - 1], written[mark.line - 1][: mark.column - 1]))
            assert name == "ansible_port" or re.search(rf"\b{name}['\"]?\s*[:=]\s*['\"]?(&\w+ )?$", before), (
                name,
                mark,
            )
