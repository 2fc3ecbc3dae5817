"""The folder of run records: one file a run, for its owner only, each written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from itertools import groupby
from typing import TYPE_CHECKING

from deployer.errors import LoadError, Problem
from deployer.record.record import as_plain, parse_record
from deployer.xdg import xdg_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from deployer.record.record import RunRecord

KEPT = 100
_FILE = re.compile(r"(\d{8}T\d{6}Z-[0-9a-f]+)\.json")
_PARTIAL = re.compile(r"\.(\d{8}T\d{6}Z-[0-9a-f]+)\.new")


class Store:
    """Records of this user's runs."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    @property
    def folder(self) -> Path:
        """`$XDG_STATE_HOME/deployer/runs`.  Raises FileNotFoundError."""
        return xdg_folder(self._environ, "XDG_STATE_HOME", ".local/state") / "runs"

    def write(self, record: RunRecord) -> None:
        """Put the record in the place of the one before.  Raises OSError."""
        folder = self.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = folder / f".{record.run}.new"
        text = json.dumps(as_plain(record), ensure_ascii=False) + "\n"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  a Path cannot give the mode
            file.write(text)
            file.flush()
            os.fsync(descriptor)  # else a crash may leave an empty file under the name
        partial.rename(folder / f"{record.run}.json")

    def prune(self) -> None:
        """Delete all but the newest.  Raises OSError."""
        kept = set(self.ids()[:KEPT])
        for path in self.folder.iterdir():
            found = _FILE.fullmatch(path.name) or _PARTIAL.fullmatch(path.name)
            if found and found[1] not in kept:
                path.unlink(missing_ok=True)  # another run may prune as well

    def ids(self) -> list[str]:
        """The ids of all recorded runs, the newest first.  Raises OSError."""
        folder = self.folder
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return sorted((found[1] for found in map(_FILE.fullmatch, names) if found), reverse=True)

    def newest(self, pass_over: Callable[[LoadError], None] | None = None) -> Iterator[RunRecord]:
        """All records, the newest first; each is read when its turn comes.

        Raises LoadError; of a record that cannot be read only if nobody is told: `pass_over`.
        """
        # Ids count seconds, and two runs can begin within one.
        for _, ids in groupby(self._ids(), key=lambda run: run.partition("-")[0]):
            yield from sorted(self._readable(ids, pass_over), key=lambda record: record.began, reverse=True)

    def _readable(
        self, ids: Iterable[str], pass_over: Callable[[LoadError], None] | None
    ) -> Iterator[RunRecord]:
        for run in ids:
            try:
                yield self._read(run)
            except LoadError as error:
                if pass_over is None:
                    raise
                pass_over(error)

    def find(self, word: str) -> RunRecord | None:
        """The run whose id, or the part of it after the time, begins with `word`.

        Raises:
            LoadError: several do, or the record cannot be read.

        """
        found = [run for run in self._ids() if run.startswith(word) or run.partition("-")[2].startswith(word)]
        if word in found:
            return self._read(word)
        if len(found) > 1:
            message = f"several runs begin with {word!r}"
            raise LoadError([Problem(message=message, hint=", ".join(found[:5]))])
        return self._read(found[0]) if found else None

    def _ids(self) -> list[str]:
        try:
            return self.ids()
        except OSError as error:
            raise LoadError([Problem(message=f"cannot read the records of runs: {error}")]) from None

    def _read(self, run: str) -> RunRecord:
        path = self.folder / f"{run}.json"
        try:
            return parse_record(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            message = f"cannot read the record {path}: {reason}"
            raise LoadError([Problem(message=message, hint="delete it, if it is of no use")]) from None
