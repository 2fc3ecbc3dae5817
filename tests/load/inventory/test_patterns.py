"""What `select` refuses; what it finds is compared with Ansible in test_same_as_ansible.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.errors import LoadError, Mark
from deployer.load.inventory import read_inventory, select
from deployer.load.inventory.patterns import split_pattern

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.load.inventory import Inventory


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    hosts = tmp_path / "hosts"
    hosts.write_text("[web]\nweb1\nweb2\nweb3\n[db]\ndb1\nweb3\n[empty]\n[v6]\n2001:db8::1\n")
    return read_inventory([hosts])


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("web", ["web"]),
        ("web:db", ["web", "db"]),
        ("web db", ["web", "db"]),
        (" web , db ,", ["web", "db"]),
        ("web:&prod:!web3", ["web", "&prod", "!web3"]),
        ("web[0:4]:!web[1:2]", ["web[0:4]", "!web[1:2]"]),
        ("web[2:]:db", ["web[2:]", "db"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("2001:db8::1,web", ["2001:db8::1", "web"]),
        ("web:22", ["web:22"]),
        ("~a[:]b:c", ["~a[:]b", "c"]),
        ("~(?:a|b),", ["~(?:a|b)"]),
        ("", []),
        (" ,, ", []),
    ],
)
def test_a_list_comes_apart_where_ansible_takes_it_apart(text: str, pieces: list[str]) -> None:
    assert list(split_pattern(text)) == pieces


@pytest.mark.parametrize(
    ("pattern", "limit", "said"),
    [
        ("wbe", None, ["p.yml:2:10: no group or host is called 'wbe' (did you mean 'web'?)"]),
        (
            "web:!bd1:&emty",
            None,
            [
                "p.yml:2:10: no group or host is called 'bd1' (did you mean 'db1'?)",
                "p.yml:2:10: no group or host is called 'emty' (did you mean 'empty'?)",
            ],
        ),
        ("wbe[0]", None, ["p.yml:2:10: no group or host is called 'wbe' (did you mean 'web'?)"]),
        ("web[3]", None, ["p.yml:2:10: 'web[3]' is out of range: 'web' has 3 hosts"]),
        ("!web[-4]", None, ["p.yml:2:10: 'web[-4]' is out of range: 'web' has 3 hosts"]),
        ("xyz*", None, ["p.yml:2:10: no host matched 'xyz*'"]),
        ("~^eb", None, ["p.yml:2:10: no host matched '~^eb'"]),
        ("empty", None, ["p.yml:2:10: no host matched 'empty' (group 'empty' is empty)"]),
        ("web:!web", None, ["p.yml:2:10: no host matched 'web:!web'"]),
        ("web[7:9]", None, ["p.yml:2:10: no host matched 'web[7:9]'"]),
        ("web:!", None, ["p.yml:2:10: there is no pattern after '!'"]),
        (" , ", None, ["p.yml:2:10: the host pattern is empty ('all' is every host)"]),
        (
            "~web(",
            None,
            [
                (
                    "p.yml:2:10: '~web(' is not a regular expression: missing ), unterminated subpattern"
                    " (a ':' ends a pattern, unless there is a comma in the list: put one at its end)"
                )
            ],
        ),
        (
            "localhost",
            None,
            [
                (
                    "p.yml:2:10: no group or host is called 'localhost'"
                    " (there is no implicit localhost here: add it to the inventory)"
                )
            ],
        ),
        ("web", "db1", ["p.yml:2:10: no host of 'web' is in --limit 'db1'"]),
        ("web", "xyz*", ["no host matched --limit 'xyz*'"]),
        ("web", "dbb", ["--limit: no group or host is called 'dbb' (did you mean 'db'?)"]),
        ("web", "", ["--limit '' is empty"]),
        ("web", "@nowhere", ["cannot read nowhere: No such file or directory"]),
        (
            "wbe",
            "dbb",
            [
                "--limit: no group or host is called 'dbb' (did you mean 'db'?)",
                "p.yml:2:10: no group or host is called 'wbe' (did you mean 'web'?)",
            ],
        ),
    ],
)
def test_a_pattern_without_hosts_is_an_error(
    inventory: Inventory, pattern: str, limit: str | None, said: list[str]
) -> None:
    with pytest.raises(LoadError) as caught:
        select(inventory, pattern, mark=Mark(file="p.yml", line=2, column=10), limit=limit)
    assert [str(problem) for problem in caught.value.problems] == said


def test_a_limit_file_names_the_line_of_a_stranger_and_is_not_all_when_empty(
    inventory: Inventory, tmp_path: Path
) -> None:
    limit = tmp_path / "failed.retry"
    limit.write_text("# left over\nweb1\nwbe2\n")
    with pytest.raises(LoadError, match=rf"{limit}:3:1: no group or host is called 'wbe2'"):
        select(inventory, "all", limit=f"@{limit}")
    limit.write_text("\n")
    with pytest.raises(LoadError, match="is empty"):
        select(inventory, "all", limit=f"@{limit}")
    limit.write_text("web1\ndb\n")
    assert [host.name for host in select(inventory, "all", limit=f"@{limit}:!web3")] == ["web1", "db1"]


def test_local_names_are_one_host(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("localhost\n")
    inventory = read_inventory([tmp_path / "hosts"])
    assert [host.name for host in select(inventory, "127.0.0.1")] == ["localhost"]
    assert [host.name for host in select(inventory, "::1")] == ["localhost"]


def test_a_thousand_unknown_names_are_reported_quickly(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("[web]\nweb[1:1000].example.com\n")
    inventory = read_inventory([tmp_path / "hosts"])
    with pytest.raises(LoadError) as caught:
        select(inventory, ",".join(f"wbe{number}.example.com" for number in range(1000)))
    assert len(caught.value.problems) == 1000
    assert sum(bool(problem.hint) for problem in caught.value.problems) == 10
