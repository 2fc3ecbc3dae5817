"""Look at the file to deploy: what it is, and whether a Linux host can execute it."""

from __future__ import annotations

import hashlib
import re
import stat
import struct
from typing import TYPE_CHECKING

from deployer.desired import Binary

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
# e_machine in elf(5) and linux/elf-em.h -> what uname -m prints
_MACHINES = {
    3: "i686",
    21: "ppc64le",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
_PIECE = 256 * 1024  # bytes read at a time
_MACH_O = {b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe"}


def read_binary(path: Path) -> Binary:
    """Digest and describe `path`.

    Raises:
        ValueError: it cannot be deployed; the message says why and what to do.

    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ValueError(f"{path} is a directory, not a binary")
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path} is not a regular file")
        with path.open("rb") as file:
            head = file.read(64)
            file.seek(0)
            sha256, blake2b = hashlib.sha256(), hashlib.blake2b()
            while piece := file.read(_PIECE):
                sha256.update(piece)
                blake2b.update(piece)
            size = file.tell()
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; build it first") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if size == 0:
        raise ValueError(f"{path} is empty")
    if not _NAME.fullmatch(path.name):
        raise ValueError(f"{path.name!r} is not a safe file name: it must match {_NAME.pattern}")
    return Binary(
        path=path,
        name=path.name,
        sha256=sha256.hexdigest(),
        blake2b=blake2b.hexdigest(),
        size=size,
        machine=_machine(path, head),
    )


def _machine(path: Path, head: bytes) -> str | None:
    if head.startswith(b"#!"):
        return None
    if head[:4] in _MACH_O:
        raise ValueError(f"{path} is a macOS binary; build it for Linux (Go: GOOS=linux)")
    if head.startswith(b"MZ"):
        raise ValueError(f"{path} is a Windows binary; build it for Linux (Go: GOOS=linux)")
    if not head.startswith(b"\x7fELF") or len(head) < 20:  # noqa: PLR2004  up to e_machine, elf(5)
        raise ValueError(f"{path} is neither an ELF binary nor a script that begins with #!")
    order = "<" if head[5] == 1 else ">"
    kind, machine = struct.unpack_from(f"{order}HH", head, 16)
    if kind not in (2, 3):  # ET_EXEC, ET_DYN
        raise ValueError(f"{path} is an ELF file but not an executable (an object file or a core dump?)")
    return _MACHINES.get(machine, f"ELF machine {machine}")
