"""What our reading adds to Ansible's: places, the folder a host is from, and speed."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from deployer.errors import Mark
from deployer.load.inventory import read_inventory, select

INI = """\
[web]
  web1 port=80 'motd=a b' ansible_user=deploy  # x=1
web2:2222
[web:vars]
user  =  "x"
"""

YAML = """\
web:
  hosts:
    web1: {port: 80}
  vars:
    user: x
    nested:
      a: 1
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_variables_say_where_they_were_written(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"a.ini": INI, "b.yml": YAML, "group_vars/web.yml": "file: true\n", "host_vars/web2": "port: 1\n"},
    )
    ini, yml = tmp_path / "a.ini", tmp_path / "b.yml"
    web1, web2 = read_inventory([ini]).hosts
    places = {name: (Path(mark.file).name, mark.line, mark.column) for name, mark in web1.origins.items()}
    assert places == {
        "inventory_file": ("a.ini", 2, 3),
        "inventory_dir": ("a.ini", 2, 3),
        "port": ("a.ini", 2, 13),
        "motd": ("a.ini", 2, 22),
        "ansible_user": ("a.ini", 2, 40),
        "user": ("a.ini", 5, 10),
        "file": ("web.yml", 1, 7),
    }
    assert web2.origins["ansible_port"] == Mark(file=str(ini), line=3, column=1)
    assert web2.origins["port"] == Mark(file=str(tmp_path / "host_vars" / "web2"), line=1, column=7)
    (host,) = read_inventory([yml]).hosts
    assert host.origins["port"] == Mark(file=str(yml), line=3, column=18)
    assert host.origins["user"] == Mark(file=str(yml), line=5, column=11)
    assert host.origins["nested"] == Mark(file=str(yml), line=7, column=7)


def test_a_host_knows_the_folder_it_was_first_named_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a/hosts": "x\n", "b/hosts": "x\ny\nz inventory_dir=/mine\n"})
    monkeypatch.chdir(tmp_path)
    x, y, z, listed = read_inventory(["a/hosts", "a/../b/hosts", "listed,x"]).hosts
    assert (x.vars["inventory_file"], x.vars["inventory_dir"]) == (f"{tmp_path}/a/hosts", f"{tmp_path}/a")
    assert (y.vars["inventory_file"], y.vars["inventory_dir"]) == (f"{tmp_path}/b/hosts", f"{tmp_path}/b")
    assert z.vars["inventory_dir"] == "/mine"
    assert (listed.vars["inventory_file"], listed.vars["inventory_dir"]) == ("listed,x", None)
    assert y.origins["inventory_dir"].file == "a/../b/hosts"


def test_the_folder_of_the_working_directory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"hosts": "x\n", "group_vars/all.yml": "a: 1\n"})
    monkeypatch.chdir(tmp_path)
    (host,) = read_inventory(["hosts"], playbook_dir=Path()).hosts
    assert host.vars["a"] == 1
    assert str(host.origins["a"]) == "group_vars/all.yml:1:4"


def test_hosts_are_in_the_order_of_the_sources_and_groups_in_the_order_of_a_run(tmp_path: Path) -> None:
    write(tmp_path, {"hosts": "[b]\nb1\n[a]\na1\n[all]\nlast\n[b]\nb2\n"})
    inventory = read_inventory([tmp_path / "hosts"])
    assert [host.name for host in inventory.hosts] == ["b1", "a1", "last", "b2"]
    assert inventory.groups["all"] == ("last", "b1", "b2", "a1")
    assert [host.name for host in select(inventory, "all")] == ["last", "b1", "b2", "a1"]


def test_a_long_list_of_hosts_is_no_file_name(tmp_path: Path) -> None:
    names = [f"web{number}.example.com" for number in range(1000)]
    write(tmp_path, {"a,b": "from-file\n"})
    assert [host.name for host in read_inventory([",".join(names)]).hosts] == names
    assert [host.name for host in read_inventory([tmp_path / "a,b"]).hosts] == ["from-file"]


def test_an_inventory_can_be_sent_to_another_process(tmp_path: Path) -> None:
    write(tmp_path, {"b.yml": YAML})
    inventory = read_inventory([tmp_path / "b.yml"])
    assert pickle.loads(pickle.dumps(inventory)) == inventory  # noqa: S301  # our own bytes


LINES = {
    "ranges.ini": "[web]\nweb[0001:1000].example.com\n",
    "lines.ini": "[web]\n"
    + "".join(f"web{n} ansible_host=10.0.{n // 250}.{n % 250} m='a b'\n" for n in range(1000)),
    "lines.yml": "web:\n  hosts:\n"
    + "".join(f"    web{n}:\n      ansible_user: deploy\n      port: {n}\n" for n in range(1000)),
}


@pytest.mark.parametrize("name", LINES)
def test_reading_a_thousand_hosts_is_a_little_work_for_each(tmp_path: Path, name: str) -> None:
    variables = "".join(f"variable_{n}: {n}\n" for n in range(50))
    write(tmp_path, {name: LINES[name], "group_vars/all.yml": variables})
    (tmp_path / "host_vars").mkdir()
    calls = 0

    def count(_frame: object, _event: str, _argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)  # counted, for the clock of a busy machine says nothing
    try:
        inventory = read_inventory([tmp_path / name])
    finally:
        sys.setprofile(None)
    assert len(select(inventory, "all")) == 1000
    assert calls < 1000 * 600  # it is 400; a loop over hosts for each host would be far above
