"""What uploads are made from, kept on the controller between runs; never worth a run."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from deployer.xdg import xdg_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LIMIT = 512 * 1024 * 1024
"""Bytes to keep, at most: about a hundred compressed binaries of 10 MB."""


class Cache:
    """Files by name in `$XDG_CACHE_HOME/deployer/binaries`, which all runs of this user share.

    A file is whole under its name or not there, but whoever reads it must see for himself that it holds what
    it should.  What was not used for the longest time goes first when there is too much.  Trouble with the
    folder is told once, by `note`: then nothing is kept.
    """

    def __init__(
        self, environ: Mapping[str, str], *, note: Callable[[str], None], limit: int = LIMIT
    ) -> None:
        self._environ = environ
        self._note = note
        self._limit = limit
        self._silent = False

    @property
    def folder(self) -> Path:
        """Where the files are.  Raises FileNotFoundError."""
        return xdg_folder(self._environ, "XDG_CACHE_HOME", ".cache") / "binaries"

    def names(self) -> frozenset[str]:
        """Of all files that are there."""
        try:
            return frozenset(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        except OSError:
            return frozenset()

    def read(self, name: str) -> bytes | None:
        """A file, if it is there; it now was used last."""
        with suppress(OSError):
            path = self.folder / name
            content = path.read_bytes()
            with suppress(OSError):  # of another user, or on a read-only disk: read all the same
                os.utime(path)
            return content
        return None

    def write(self, name: str, content: bytes) -> None:
        """Keep a file, and delete what was not used for long."""
        try:
            folder = self.folder
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Of a name of its own, for another run may write the same.  Nothing is synced: a reader who
            # finds half of it after a crash will see that.
            descriptor, partial = tempfile.mkstemp(prefix=".", dir=folder)  # 0600
            try:
                with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor
                    file.write(content)
                os.replace(partial, folder / name)  # noqa: PTH105  mkstemp names a str
            except BaseException:
                os.unlink(partial)  # noqa: PTH108  as above
                raise
            self._prune(folder)
        except OSError as error:
            if not self._silent:
                self._note(f"binaries are not kept for later uploads ({error.strerror})")
            self._silent = True

    def drop(self, name: str) -> None:
        """Delete a file that does not hold what it should."""
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)

    def _prune(self, folder: Path) -> None:
        found = []
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # another run prunes, too
                about = path.stat()
                found.append((about.st_mtime_ns, about.st_size, path))
        left = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if left <= self._limit:
                break
            path.unlink(missing_ok=True)
            left -= size
