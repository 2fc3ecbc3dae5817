"""`--retry`: which recorded run is meant, and what is left of the plays when only its lost hosts remain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from deployer.errors import LoadError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.desired import Play
    from deployer.record.record import RunRecord
    from deployer.record.store import Store

LAST = "last"
_GOAL = "apply"  # other commands leave records as well, and a failed rollback is no reason to deploy
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What to run again; no plays: nothing, and `note` says why.  Else it is what else there is to say."""

    run: str
    plays: tuple[Play, ...]
    note: str = ""


def find_run(word: str, playbook: str, store: Store) -> RunRecord:
    """The run that `--retry WORD` means; `playbook` is an absolute path.

    Raises:
        LoadError: there is none; with the newest few of this playbook.

    """
    runs = (record for record in store.newest() if (record.playbook, record.goal) == (playbook, _GOAL))
    if word == LAST:
        record = next(runs, None)
        if record is None:
            raise LoadError([Problem(message=f"--retry last: no run of {playbook} is recorded")])
        return record
    record = store.find(word)
    if record is None:
        newest = ", ".join(record.run for record in islice(runs, _SHOWN))
        hint = f"the newest of this playbook: {newest}" if newest else "none of this playbook is recorded"
        raise LoadError([Problem(message=f"--retry: there is no record of a run {word}", hint=hint)])
    if record.playbook != playbook:
        raise LoadError([Problem(message=f"--retry: the run {record.run} was of {record.playbook}")])
    if record.goal != _GOAL:
        raise LoadError([Problem(message=f"--retry: {record.run} was no `deployer run` ({record.goal})")])
    return record


def narrow(plays: Sequence[Play], record: RunRecord, *, limited: bool) -> Retry:
    """The plays with only those hosts that need another try; `limited`: --limit has taken hosts out before.

    Raises:
        LoadError: there are such hosts, and the inventory has none of them any more.

    """
    lost = record.to_retry
    if not lost:
        return Retry(
            run=record.run, plays=(), note=f"nothing to retry: every host of run {record.run} is fine"
        )
    here = {host.name for play in plays for host in play.hosts}
    gone = ", ".join(name for name in lost if name not in here)
    if here.isdisjoint(lost):
        if limited:
            note = f"nothing to retry: run {record.run} lost only {gone}, and --limit leaves that out"
            return Retry(run=record.run, plays=(), note=note)
        message = f"--retry: no play has any of the hosts that run {record.run} lost: {gone}"
        raise LoadError([Problem(message=message, hint="are they still in the inventory?")])
    left = (replace(play, hosts=tuple(h for h in play.hosts if h.name in lost)) for play in plays)
    note = f"not retried, for no play has it any more: {gone}" if gone and not limited else ""
    return Retry(run=record.run, plays=tuple(play for play in left if play.hosts), note=note)
