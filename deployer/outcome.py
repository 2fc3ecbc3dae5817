"""How a host ended, as values; and the exit code that a set of them means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a failed release left behind, secrets removed."""

    answer: str = ""  # the last answer to the health test
    state: str = ""  # of the unit, with the exit status of its main process
    port: str = ""  # who has the port of its health test, if that is not the service
    journal: tuple[str, ...] = ()  # its last lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why something did not work: a stable word, a sentence, and what to do."""

    cause: str
    message: str
    hint: str = ""
    service: str = ""
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """The host was as desired, and healthy.  `notes`: what is odd there all the same."""

    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldChange:
    """--check: the host is not as desired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The host is as desired now, and healthy.  `releases`: service -> release."""

    releases: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorStopped:
    """The release is in place and not started, because an operator had stopped the service."""

    services: tuple[str, ...]
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """The new release failed; the previous one is back, and healthy."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """A release that was good here is gone back from.  `releases`: service -> release that is back.

    `failure` is why; None: because somebody wanted it.
    """

    releases: tuple[tuple[str, str], ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It failed.  `needs_person`: the host is not as it was before, and not as desired."""

    failure: Failure
    needs_person: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """No connection that can be trusted and used; nothing was done."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAttempted:
    """The run ended before its turn came.  `holder`: because of a lock, and who holds it."""

    reason: str
    holder: str = ""


Outcome = (
    Unchanged
    | WouldChange
    | Changed
    | OperatorStopped
    | Reverted
    | RolledBack
    | Failed
    | Unreachable
    | NotAttempted
)

NAMES: dict[type[Outcome], str] = {
    Unchanged: "unchanged",
    WouldChange: "would change",
    Changed: "changed",
    OperatorStopped: "operator-stopped",
    Reverted: "reverted",
    RolledBack: "rolled back",
    Failed: "failed",
    Unreachable: "unreachable",
    NotAttempted: "not attempted",
}
"""The word for each outcome, in output, JSON and docs, from best to worst."""


class ExitCode(IntEnum):
    """What the process says to whoever started it."""

    OK = 0
    FAILED = 1  # and every touched host is back on its previous release
    USAGE = 2  # nothing was contacted
    UNREACHABLE = 3  # some hosts; all others are fine
    MIXED = 4  # failed, and hosts differ or one needs a person
    LOCKED = 5  # another run holds the lock of a host, so nothing was switched there
    CHANGES = 10  # --check --detailed-exitcode
    INTERRUPTED = 130


def has_failed(outcome: Outcome) -> bool:
    """Whether a host counts as failed; one that could not be reached does not."""
    match outcome:
        case Failed() | Reverted():
            return True
        case RolledBack():
            return outcome.failure is not None
        case _:
            return False


def has_moved(outcome: Outcome) -> bool:
    """Whether a play put the host on another release, and left it there."""
    match outcome:
        case Changed() | OperatorStopped(changed=True) | RolledBack(failure=None):
            return True
        case _:
            return False


def final(results: Iterable[tuple[str, Outcome]]) -> dict[str, Outcome]:
    """One outcome for each host: of several plays, the one that is last in NAMES."""
    rank = {kind: number for number, kind in enumerate(NAMES)}
    found: dict[str, Outcome] = {}
    for host, outcome in results:
        if host not in found or rank[type(outcome)] >= rank[type(found[host])]:
            found[host] = outcome
    return found


def exit_code(outcomes: Collection[Outcome], *, interrupted: bool = False) -> ExitCode:
    """The exit code of a run with these outcomes, one or more for each host."""
    if interrupted:
        return ExitCode.INTERRUPTED
    if any(isinstance(outcome, Failed) and outcome.needs_person for outcome in outcomes):
        return ExitCode.MIXED
    if any(isinstance(outcome, NotAttempted) and outcome.holder for outcome in outcomes):
        return ExitCode.LOCKED
    if any(has_failed(outcome) or isinstance(outcome, NotAttempted) for outcome in outcomes):
        return ExitCode.MIXED if any(map(has_moved, outcomes)) else ExitCode.FAILED
    if any(isinstance(outcome, Unreachable) for outcome in outcomes):
        return ExitCode.UNREACHABLE
    return ExitCode.OK
