"""`deployer history`: the recorded runs of this user, as lines of text or of JSON."""

from __future__ import annotations

import json as json_format
from itertools import islice
from typing import TYPE_CHECKING

from deployer.outcome import ExitCode
from deployer.record.record import as_plain
from deployer.report.columns import columns
from deployer.visible import all_visible, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from deployer.record.record import RunRecord

MEANINGS: dict[int, str] = {
    ExitCode.OK: "fine",
    ExitCode.FAILED: "failed, every host is back",
    ExitCode.USAGE: "wrong usage or files",
    ExitCode.UNREACHABLE: "hosts unreachable, the others fine",
    ExitCode.MIXED: "failed, hosts differ or need a person",
    ExitCode.LOCKED: "a lock was held",
    ExitCode.CHANGES: "there are changes",
    ExitCode.INTERRUPTED: "interrupted",
}
"""Exit codes of past runs, in a few words."""

_HEAD = ("run", "began", "took", "playbook", "hosts", "exit")


def history_lines(
    runs: Iterable[RunRecord], *, playbook: Path | None, here: Path, count: int, json: bool
) -> Iterator[str]:
    """The newest `count` runs, of one playbook if it is given; paths are shown as seen from `here`."""
    wanted = (run for run in runs if playbook is None or run.playbook == str(playbook))
    chosen = list(islice(wanted, count))
    if json:
        yield from (json_format.dumps(as_plain(all_visible(run)), ensure_ascii=False) for run in chosen)
    elif chosen:
        yield from columns([_HEAD, *(_row(run, here) for run in chosen)])
    else:
        yield "no run is recorded" + (f" of {_path(str(playbook), here)}" if playbook else "")


def _row(run: RunRecord, here: Path) -> tuple[str, ...]:
    counts = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in run.counts.items())
    took = f"{(run.ended - run.began).total_seconds():.1f} s" if run.ended else "-"
    if run.exit_code is None:
        end = "-  no end is recorded: it still goes on, or was killed"
    else:
        end = f"{run.exit_code}  {MEANINGS.get(run.exit_code, '')}".rstrip()
    row = (run.run, f"{run.began:%Y-%m-%d %H:%M:%SZ}", took, _path(run.playbook, here), counts, end)
    return tuple(map(one_line, row))


def _path(path: str, here: Path) -> str:
    return path.removeprefix(f"{here}/")
