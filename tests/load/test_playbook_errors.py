"""Wrong files are refused before a host is contacted: every mistake, with its place and a way out."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployer.errors import LoadError
from deployer.load import LoadOptions
from deployer.load.load import load

CASES: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("playbook_errors.yml").read_text(encoding="utf-8")
)
HEAD = "- hosts: all\n  tasks:\n    - service:\n"
ELF_OBJECT = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 1, 62) + bytes(44)
FILES: dict[str, bytes] = {
    "hosts.ini": b"[web]\nweb1\nweb2\n",
    "app.env": b"TOKEN=hunter2\n",
    "latin.env": b"TOKEN=hunter2\xe9\n",
    "latin.yml": b"- hosts: all  # \xe9\n",
    "bin/app": b"#!/bin/sh\nexec sleep 1000\n",
    "bin/my app": b"#!/bin/sh\n",
    "bin/empty": b"",
    "bin/text": b"echo hunter2\n",
    "bin/mac": b"\xcf\xfa\xed\xfe" + bytes(60),
    "bin/app.exe": b"MZ" + bytes(62),
    "bin/app.o": ELF_OBJECT,
    "bin/cut": ELF_OBJECT[:19],
    "bin/folder/x": b"",
}


def write(folder: Path, case: dict[str, Any]) -> list[str]:
    """Make the files of a case; returns the words of its command line."""
    files = dict(FILES)
    body = str(case.get("service", "name: app\nbinary: bin/app\n"))
    indented = "".join(f"        {line}\n" for line in body.splitlines())
    files["site.yml"] = str(case.get("playbook", HEAD + indented)).encode()
    files |= {name: text.encode() for name, text in case.get("files", {}).items()}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "dangling.env").symlink_to("nowhere.env")
    return [*case.get("args", ["site.yml", "-i", "hosts.ini"])]


def options(words: list[str]) -> LoadOptions:
    flags = dict(zip(words[1::2], words[2::2], strict=True))
    return LoadOptions(
        playbook=words[0],
        inventory=tuple(flags[flag] for flag in ["-i"] if flag in flags),
        limit=flags.get("--limit"),
        extra_vars=tuple(flags[flag] for flag in ["-e"] if flag in flags),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_mistake_is_told_by_its_place_and_with_a_way_out(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = write(tmp_path, case)
    with pytest.raises(LoadError) as caught:
        load(options(words), environ={})
    assert [str(problem) for problem in caught.value.problems] == case["say"].splitlines()


def test_no_case_shows_a_secret() -> None:
    assert all("hunter2" not in case["say"] for case in CASES)


def validate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployer", "validate", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_all_mistakes_are_printed_and_the_exit_code_is_2(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case["name"].startswith("mistakes of all files at once"))
    done = validate(tmp_path, *write(tmp_path, case))
    said = case["say"].splitlines()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        *(f"error: {line}" for line in said),
        f"{len(said)} errors; no host was contacted",
    ]


def test_a_single_mistake_is_a_single_line(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case["name"] == "a playbook that does not exist")
    done = validate(tmp_path, *write(tmp_path, case))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {case['say']}"


def test_files_without_a_mistake_are_fine(tmp_path: Path) -> None:
    done = validate(tmp_path, *write(tmp_path, {}))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "all: 2 hosts (web1, web2)\nsite.yml is fine\n"


def test_the_same_mistake_is_told_once_however_many_hosts_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case = {
        "files": {"hosts.ini": "[web]\nweb[1:500]\n"},
        "service": "name: app\nbinary: bin/missing\nrestart: '{{ nowhere }}'\n",
    }
    with pytest.raises(LoadError) as caught:
        load(options(write(tmp_path, case)), environ={})
    assert str(caught.value).splitlines() == [
        "site.yml:5:17: binary: bin/missing does not exist; build it first",
        "site.yml:6:18: 'nowhere' is undefined",
    ]


def test_hosts_with_different_mistakes_are_all_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    case = {
        "files": {"hosts.ini": "[web]\nweb1 app=one\nweb2 app=two\n"},
        "service": "name: app\nbinary: bin/{{ app }}\n",
    }
    with pytest.raises(LoadError) as caught:
        load(options(write(tmp_path, case)), environ={})
    assert str(caught.value).splitlines() == [
        "site.yml:5:17: binary: bin/one does not exist; build it first",
        "site.yml:5:17: binary: bin/two does not exist; build it first",
    ]
