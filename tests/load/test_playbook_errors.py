"""Files that are wrong are refused before any host is contacted: every mistake, with its place and a way out."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployer.errors import LoadError
from deployer.load import LoadOptions, load

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
    return case.get("args", ["site.yml", "-i", "hosts.ini"])


def options(words: list[str]) -> LoadOptions:
    flags = dict(zip(words[1::2], words[2::2], strict=True))
    return LoadOptions(
        playbook=words[0],
        inventory=tuple(flags[flag] for flag in ["-i"] if flag in flags),
        limit=flags.get("--limit"),
        extra_vars=tuple(flags[flag] for flag in ["-e"] if flag in flags),
    )
