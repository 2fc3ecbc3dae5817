"""What is wrong in an inventory is said with its place and without the values: all of it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.errors import LoadError
from deployer.load.inventory import Inventory, read_inventory

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t"


def problems(folder: Path, files: dict[str, str], source: str) -> list[str]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(LoadError) as caught:
        read_inventory([folder / source])
    said = [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]
    assert SECRET not in "".join(said)
    return said


GROUP_HINT = "a group has hosts, vars and children; groups below it go under children"
NAMES_HINT = "write each name with a colon after it, without a dash"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "web:\n  host:\n    a:\n  var: {x: s3cr3t}\n  childern:\n  nonsense: 1\n",
            [
                "x.yml:2:3: unknown key 'host' in group 'web' (did you mean 'hosts'?)",
                "x.yml:4:3: unknown key 'var' in group 'web' (did you mean 'vars'?)",
                "x.yml:5:3: unknown key 'childern' in group 'web' (did you mean 'children'?)",
                f"x.yml:6:3: unknown key 'nonsense' in group 'web' ({GROUP_HINT})",
            ],
        ),
        (
            "web:\n  hosts: [a, b]\n  vars:\n    - x: s3cr3t\n  children:\n    - db\n",
            [
                f"x.yml:2:10: hosts of group 'web' must be a mapping, not a list ({NAMES_HINT})",
                "x.yml:4:5: vars of group 'web' must be a mapping, not a list",
                f"x.yml:6:5: children of group 'web' must be a mapping, not a list ({NAMES_HINT})",
            ],
        ),
        ("web:\n  vars: s3cr3t\n", ["x.yml:2:9: vars of group 'web' must be a mapping, not text"]),
        (
            "hosts:\n  a: 1\nweb: s3cr3t\n5: {}\n",
            [
                f"x.yml:2:3: unknown key 'a' in group 'hosts' ({GROUP_HINT})",
                "x.yml:3:6: group 'web' must be a mapping with hosts, vars or children, not text",
                "x.yml:4:1: a group name must be text, not a number (quote it)",
            ],
        ),
        (
            "web:\n  hosts:\n    a: s3cr3t\n    5:\n    b[2:1]:\n    c: {1: s3cr3t}\n    d p=s3cr3t:\n",
            [
                (
                    "x.yml:3:8: variables of host 'a' must be a mapping, not text"
                    " (an address goes under the host: ansible_host: ...)"
                ),
                "x.yml:4:5: a host name must be text, not a number (quote it)",
                "x.yml:5:5: range [2:1] counts down (write [1:2])",
                "x.yml:6:9: a variable name must be text, not a number (quote it)",
                "x.yml:7:5: a host name cannot hold '=' (is this a variable outside of vars?)",
            ],
        ),
        (
            "web:\n  vars:\n    a: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n    b: !unsafe '{{'\n",
            [
                "x.yml:3:8: vault-encrypted values are not supported yet",
                "x.yml:5:8: !unsafe values are not supported yet",
            ],
        ),
        ("$ANSIBLE_VAULT;1.1;AES256\n3132\n", ["x.yml:1:1: vault-encrypted files are not supported yet"]),
        ("web:\n  hosts:\n    a:\n    a:\n", ["x.yml:4:5: duplicate key 'a' (first given at line 3)"]),
        (
            "[web]\na\n",
            ["x.yml:2:1: not valid YAML: did not find expected <document start>"],
        ),
        (
            "- web\n",
            [
                (
                    "x.yml:1:1: an inventory must be a mapping of groups, not a list"
                    " (an INI inventory has no .yml, .yaml or .json at the end of its name)"
                )
            ],
        ),
        (
            "plugin: aws_ec2\nregions: [x]\n",
            [
                (
                    "x.yml:1:1: inventory plugins (dynamic inventories) are not supported"
                    " (write what it finds to a file: ansible-inventory --list --export)"
                )
            ],
        ),
        (
            "a: {children: {b: {children: {c: {children: {a: }}}}}}\n",
            ["x.yml:1:46: group 'a' cannot be a child of 'c': they go in a circle (a -> b -> c -> a)"],
        ),
        (
            "a:\n  children:\n    a:\nb:\n  children:\n    all:\n    ungrouped:\n",
            [
                "x.yml:3:5: group 'a' cannot be a child of 'a': they go in a circle (a -> a)",
                "x.yml:6:5: group 'all' cannot be a child of 'b': they go in a circle (all -> b -> all)",
                (
                    "x.yml:7:5: 'ungrouped' cannot be a child of 'b'"
                    " (a host in another group is not ungrouped; Ansible loses such hosts without a word)"
                ),
            ],
        ),
        (
            "a:\n  vars:\n    ansible_group_priority: s3cr3t\n",
            ["x.yml:3:29: ansible_group_priority of group 'a' must be a whole number"],
        ),
    ],
)
def test_mistakes_in_yaml(tmp_path: Path, text: str, said: list[str]) -> None:
    assert problems(tmp_path, {"x.yml": text}, "x.yml") == said


SECTION_HINT = "sections are [name], [name:children], [name:vars]; a comment after one begins with #"
QUOTE_HINT = "quote a value with spaces as a whole: 'name=a b' or name='a b'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[web:children]\ndbb\n[db]\n[wbe:vars]\nx=s3cr3t\n",
            [
                "x.ini:2:1: [web:children] names group 'dbb', which is defined nowhere (did you mean 'db'?)",
                "x.ini:4:1: [wbe:vars] is for group 'wbe', which is defined nowhere (did you mean 'web'?)",
            ],
        ),
        (
            "[web:var]\npassword=s3cr3t\n[web]\n  a[3:1] x=1\n",
            [
                "x.ini:1:1: section [web:var] is of unknown type 'var' (did you mean 'vars'?)",
                "x.ini:4:3: range [3:1] counts down (write [1:3])",
            ],
        ),
        (
            "[web]\na password=s3cr3t s3cr3t\nb password='s3cr3t\nc =s3cr3t\npassword=s3cr3t\nd:\n",
            [
                f"x.ini:2:1: expected name=value after the host name ({QUOTE_HINT})",
                "x.ini:3:1: a quote is not closed",
                f"x.ini:4:1: expected name=value after the host name ({QUOTE_HINT})",
                "x.ini:5:1: a host name cannot hold '=' (variables of a group go under [web:vars])",
                "x.ini:6:1: host 'd:' ends in ':' without a port",
            ],
        ),
        (
            "[web:vars]\ns3cr3t\n=s3cr3t\nx={[]: 's3cr3t'}\n[web:children]\npassword=s3cr3t\na b\n[web]\n",
            [
                "x.ini:2:1: expected name=value under [web:vars]",
                "x.ini:3:1: expected name=value under [web:vars]",
                "x.ini:4:3: the value of 'x' looks like Python but cannot be read",
                (
                    "x.ini:6:1: expected the name of a group under [web:children]"
                    " (variables go under [web:vars])"
                ),
                "x.ini:7:1: expected the name of a group under [web:children]",
            ],
        ),
        (
            "[my group]\nx\n[a] ; = s3cr3t\n[a]\n[1:2] x=1\n[a:vars] ; x\n[a:vars]\n[b] ; = s3cr3t\n[1:]\n",
            [f"x.ini:{line}:1: not a section ({SECTION_HINT})" for line in (1, 3, 6, 8, 9)],
        ),
        (
            "[a:children]\nb\n[b:children]\na\n",
            ["x.ini:4:1: group 'a' cannot be a child of 'b': they go in a circle (a -> b -> a)"],
        ),
        (
            "[a:vars]\nansible_group_priority=high\n[a]\n",
            ["x.ini:2:24: ansible_group_priority of group 'a' must be a whole number"],
        ),
        (
            "---\nweb:\n",
            [
                "x.ini:1:1: this is a YAML file, not an INI file (give the file a name that ends in .yml)",
                "x.ini:2:1: host 'web:' ends in ':' without a port",
            ],
        ),
        ("$ANSIBLE_VAULT;1.1;AES256\n3132\n", ["x.ini:1:1: vault-encrypted files are not supported yet"]),
    ],
)
def test_mistakes_in_ini(tmp_path: Path, text: str, said: list[str]) -> None:
    assert problems(tmp_path, {"x.ini": text}, "x.ini") == said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("group_vars/web.yml", "- x: s3cr3t\n", "1:1: a file of variables must be a mapping, not a list"),
        ("group_vars/web", "x: !vault |\n  s3cr3t\n", "1:4: vault-encrypted values are not supported yet"),
        ("host_vars/a.yml", "$ANSIBLE_VAULT;1.1\n", "1:1: vault-encrypted files are not supported yet"),
        ("host_vars/a/b.json", '{"x": 1, "x": 2}', "1:10: duplicate key 'x' (first given at line 1)"),
        (
            "group_vars/all.yml",
            "true: s3cr3t\n",
            "1:1: a variable name must be text, not true or false (quote it)",
        ),
    ],
)
def test_mistakes_in_files_of_variables(tmp_path: Path, name: str, text: str, said: str) -> None:
    assert problems(tmp_path, {"hosts": "[web]\na\n", name: text}, "hosts") == [f"{name}:{said}"]


def test_files_of_strangers_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "elsewhere.yml").write_text("{")
    (tmp_path / "hosts").write_text("a\n")
    assert read_inventory([tmp_path / "hosts"]).hosts[0].name == "a"


def test_a_file_in_place_of_group_vars_is_said_once(tmp_path: Path) -> None:
    files = {"hosts": "[web]\na\nb\n[db]\nc\n", "group_vars": ""}
    assert problems(tmp_path, files, "hosts") == [
        f"{tmp_path}/group_vars must be a folder".replace(f"{tmp_path}/", "")
    ]


def test_a_file_without_ending_that_is_broken_yaml_is_reported_as_yaml(tmp_path: Path) -> None:
    said = problems(tmp_path, {"hosts": "web:\n  hosts:\n    a: {\n"}, "hosts")
    assert len(said) == 1
    assert "not valid YAML" in said[0]


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    files = {
        "inventory/a.yml": "web:\n  host:\n",
        "inventory/b.ini": "[db:children]\nnowhere\n",
        "inventory/c.toml": "",
        "inventory/d": "x[2:1]\ny\n",
        "inventory/group_vars/all.yml": "- 1\n",
    }
    said = problems(tmp_path, files, "inventory")
    assert [line.partition(":")[0] for line in said] == [
        "inventory/c.toml is TOML; inventories are YAML or INI",
        "inventory/a.yml",
        "inventory/b.ini",
        "inventory/d",
        "inventory/group_vars/all.yml",
    ]


def test_text_that_is_not_utf8_is_reported_with_its_line_but_may_be_in_a_comment(tmp_path: Path) -> None:
    (tmp_path / "x.ini").write_bytes(b"# caf\xe9\na\n")
    assert [host.name for host in read_inventory([tmp_path / "x.ini"]).hosts] == ["a"]
    (tmp_path / "x.ini").write_bytes(b"# caf\xe9\na\nb x=\xe9\n")
    with pytest.raises(LoadError, match=r"x\.ini:3:5: not UTF-8 text"):
        read_inventory([tmp_path / "x.ini"])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "there is no inventory 'nowhere' (a list of hosts needs a comma: 'nowhere,')"),
        ("no/where.yml", "there is no inventory 'no/where.yml'"),
        ("a, b[1:3],c", "a, b[1:3],c:1:4: a list of hosts can hold names and ports only"),
        ("a,x=s3cr3t", "a,x=s3cr3t:1:3: a list of hosts can hold names and ports only"),
    ],
)
def test_a_source_that_cannot_be_one(source: str, said: str) -> None:
    with pytest.raises(LoadError) as caught:
        read_inventory([source])
    assert str(caught.value).startswith(said)


def test_no_source_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no inventory is given"):
        read_inventory([])
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(LoadError, match="there is no inventory file in"):
        read_inventory([tmp_path])


def test_a_program_is_refused_and_never_run(tmp_path: Path) -> None:
    script = tmp_path / "hosts.py"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    script.chmod(0o755)
    with pytest.raises(LoadError, match=r"hosts\.py is a program; dynamic inventories are not supported"):
        read_inventory([script])
    assert not (tmp_path / "ran").exists()


def test_the_executable_bit_alone_makes_no_program(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("a\n")
    hosts.chmod(0o777)
    assert [host.name for host in read_inventory([hosts]).hosts] == ["a"]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts").symlink_to(tmp_path / "nowhere")
    with pytest.raises(LoadError, match=r"cannot read .*hosts: No such file or directory"):
        read_inventory([tmp_path / "inventory"])


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "all:\n", "all:\n  hosts:\n"])
def test_an_empty_inventory_is_one_without_hosts(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yml").write_text(text)
    assert read_inventory([tmp_path / "x.yml"]) == Inventory(hosts=(), groups={"all": (), "ungrouped": ()})
