"""Only what a Linux host can execute is deployed, and the rest is refused with what to do."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
from pathlib import Path

import pytest

from deployer.desired import Binary
from deployer.load.binary import read_binary


def elf(*, machine: int, kind: int = 2, big: bool = False) -> bytes:
    order = ">" if big else "<"
    return b"\x7fELF\x02" + bytes([2 if big else 1]) + bytes(10) + struct.pack(f"{order}HH", kind, machine)


@pytest.mark.parametrize(
    ("content", "machine"),
    [
        (elf(machine=62), "x86_64"),
        (elf(machine=62, kind=3), "x86_64"),  # position independent
        (elf(machine=183), "aarch64"),
        (elf(machine=40), "armv7l"),
        (elf(machine=3), "i686"),
        (elf(machine=243), "riscv64"),
        (elf(machine=22, big=True), "s390x"),
        (elf(machine=21), "ppc64le"),
        (elf(machine=8), "ELF machine 8"),
        (b"#!/bin/sh\n", None),
    ],
)
def test_a_binary_is_described(tmp_path: Path, content: bytes, machine: str | None) -> None:
    path = tmp_path / "server"
    path.write_bytes(content)
    assert read_binary(path) == Binary(
        path=path,
        name="server",
        sha256=hashlib.sha256(content).hexdigest(),
        blake2b=hashlib.blake2b(content).hexdigest(),
        size=len(content),
        machine=machine,
    )


def test_the_running_interpreter_can_be_executed_here() -> None:
    path = Path(sys.executable).resolve()
    assert read_binary(path).machine == os.uname().machine


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"echo\n", "is neither an ELF binary nor a script that begins with #!"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "is neither an ELF binary nor a script that begins with #!"),
        (b"\x7fELF", "is neither an ELF binary nor a script that begins with #!"),
        (elf(machine=62)[:19], "is neither an ELF binary nor a script that begins with #!"),
        (
            elf(machine=62, kind=1),
            "is an ELF file but not an executable (an object file or a core dump?)",
        ),
        (
            elf(machine=62, kind=4),
            "is an ELF file but not an executable (an object file or a core dump?)",
        ),
        (b"\xcf\xfa\xed\xfe" + bytes(60), "is a macOS binary; build it for Linux (Go: GOOS=linux)"),
        (b"\xca\xfe\xba\xbe" + bytes(60), "is a macOS binary; build it for Linux (Go: GOOS=linux)"),
        (b"MZ" + bytes(60), "is a Windows binary; build it for Linux (Go: GOOS=linux)"),
    ],
)
def test_what_no_host_can_execute_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "server"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="server") as caught:
        read_binary(path)
    assert str(caught.value) == f"{path} {why}"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")  # must not wait for somebody to write to it
    for name, why in [
        ("missing", "{} does not exist; build it first"),
        ("link", "{} does not exist; build it first"),
        ("", "{} is a directory, not a binary"),
        ("pipe", "{} is not a regular file"),
    ]:
        path = tmp_path / name
        with pytest.raises(ValueError, match=r".") as caught:
            read_binary(path)
        assert str(caught.value) == why.format(path)


@pytest.mark.parametrize("name", ["my app", "-rf", "a;b", ".env", "žluť", "a\nb", "x" * 129])
def test_an_unsafe_file_name_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(ValueError, match="is not a safe file name"):
        read_binary(path)
