"""What is remembered of a run, as data, and its form in a file.  No secrets: it is made of events."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
"""Of the file's form; it changes when a field goes or changes its meaning, not when one is added."""

UNFINISHED = "unfinished"
"""The word for a host of which no outcome was seen: the run still works on it, or was killed."""

_LOST = {"failed", "reverted", "unreachable", "not_attempted", UNFINISHED}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """How one host ended: the outcome's word as in the JSON output, and why if it did not go well."""

    outcome: str = UNFINISHED
    cause: str = ""
    message: str = ""
    seconds: float = 0.0

    @property
    def needs_another_try(self) -> bool:
        """Whether --retry means this host.  Rolled back without a cause is what somebody asked for."""
        return self.outcome in _LOST or (self.outcome == "rolled_back" and bool(self.cause))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run; `ended` and `exit_code` are None until its end."""

    run: str
    playbook: str  # absolute
    goal: str
    began: datetime
    by: str
    hosts: Mapping[str, HostRecord]
    ended: datetime | None = None
    exit_code: int | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """Hosts by outcome, the most frequent one first."""
        return dict(Counter(host.outcome for host in self.hosts.values()).most_common())

    @property
    def to_retry(self) -> tuple[str, ...]:
        """The hosts that need another try, in the order of the run."""
        return tuple(name for name, host in self.hosts.items() if host.needs_another_try)


def as_plain(record: RunRecord) -> dict[str, Any]:
    """The record as JSON has it."""
    return {
        "version": VERSION,
        "run": record.run,
        "playbook": record.playbook,
        "goal": record.goal,
        "began": _stamp(record.began),
        "ended": record.ended and _stamp(record.ended),
        "by": record.by,
        "exit_code": record.exit_code,
        "hosts": {name: asdict(host) for name, host in record.hosts.items()},
    }


def parse_record(text: str) -> RunRecord:
    """Read what `as_plain` made.  Raises ValueError, with words for a person."""
    try:
        plain = json.loads(text)
        if plain["version"] != VERSION:
            raise ValueError(f"its version is {plain['version']}, and this deployer knows {VERSION}")
        return RunRecord(
            run=_text(plain, "run"),
            playbook=_text(plain, "playbook"),
            goal=_text(plain, "goal"),
            began=_moment(_text(plain, "began")),
            ended=_moment(_text(plain, "ended")) if plain["ended"] else None,
            by=_text(plain, "by"),
            exit_code=int(_number(plain, "exit_code")) if plain["exit_code"] is not None else None,
            hosts={name: _host(host) for name, host in plain["hosts"].items()},
        )
    # RecursionError: JSON that is nested a thousand times; OverflowError: a time before the first.
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"it is no record of a run: {error}") from None


def _host(plain: Mapping[str, Any]) -> HostRecord:
    return HostRecord(
        outcome=_text(plain, "outcome"),
        cause=_text(plain, "cause"),
        message=_text(plain, "message"),
        seconds=_number(plain, "seconds"),
    )


def _text(plain: Mapping[str, Any], name: str) -> str:
    value = plain[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _number(plain: Mapping[str, Any], name: str) -> float:
    value = plain[name]
    if not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"{name} is no number")
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text} has no zone")
    return moment.astimezone(UTC)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
