"""The only place of this package that touches the disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployer.errors import LoadError, Mark, Problem

if TYPE_CHECKING:
    from pathlib import Path


def read_bytes(path: Path) -> bytes:
    """A file's content.  Raises LoadError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LoadError([Problem(message=f"cannot read {path}: {error.strerror}")]) from None


def decode(data: bytes, file: str) -> str:
    """UTF-8 text.  Raises LoadError with the line that is not."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        mark = Mark(file=file, line=before.count(b"\n") + 1, column=len(before) - before.rfind(b"\n"))
        raise LoadError([Problem(message="not UTF-8 text", mark=mark)]) from None


def read_text(path: Path) -> str:
    """A file's content as UTF-8 text.  Raises LoadError."""
    return decode(read_bytes(path), str(path))


def exists(path: Path) -> bool:
    """Whether there is anything at this path; a name too long for a file is not there."""
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises for a list of 300 hosts


def list_folder(path: Path) -> tuple[str, ...]:
    """The names in a folder, sorted; nothing if there is no such folder.  Raises LoadError."""
    try:
        return tuple(sorted(os.listdir(path)))  # noqa: PTH208  # names, a thousand of them: no Path objects
    except FileNotFoundError:
        return ()
    except NotADirectoryError:
        raise LoadError([Problem(message=f"{path} must be a folder")]) from None
    except OSError as error:
        raise LoadError([Problem(message=f"cannot read {path}: {error.strerror}")]) from None


def is_script(path: Path, data: bytes) -> bool:
    """Whether Ansible would get hosts out of this file by running it.

    The executable bit alone says little: on shared folders (Vagrant, WSL) every file has it.
    """
    return os.access(path, os.X_OK) and (data.startswith(b"#!") or b"\0" in data)
