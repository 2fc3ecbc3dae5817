"""Everything a run says, as it happens: typed, named in the past tense, and without secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar

from deployer.outcome import NAMES, Outcome

VERSION = 1
"""Of the JSON form; it changes when a field goes or changes its meaning, not when one is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The playbook is read and sound; hosts will be contacted."""

    name: ClassVar[str] = "run_started"
    run: str
    playbook: str
    hosts: int
    goal: str
    retry: str = ""  # the run whose lost hosts this one takes up


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayStarted:
    """A play begins on these hosts."""

    name: ClassVar[str] = "play_started"
    play: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStarted:
    """These hosts of a play are switched now; `number` counts from 1."""

    name: ClassVar[str] = "batch_started"
    play: str
    number: int
    of: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPaused:
    """The play waits so long before its next batch."""

    name: ClassVar[str] = "batch_paused"
    play: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAsked:
    """--step: somebody is asked whether this batch may begin."""

    name: ClassVar[str] = "step_asked"
    play: str
    number: int
    of: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAnswered:
    """What they said: no, yes, or continue, which is yes to all that follow."""

    name: ClassVar[str] = "step_answered"
    play: str
    number: int
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A host entered a stage: connect, observe, stage, switch, verify, commit, revert, command."""

    name: ClassVar[str] = "stage_started"
    host: str
    stage: str
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlanned:
    """What must change on a host; no changes: it is as desired.  `diff` on request, secrets as names."""

    name: ClassVar[str] = "host_planned"
    host: str
    changes: tuple[str, ...]
    diff: str = ""
    notes: tuple[str, ...] = ()  # what somebody else changed there, and what stays


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionResolved:
    """An earlier run died between switch and commit; its release was put back before this run went on."""

    name: ClassVar[str] = "transaction_resolved"
    host: str
    service: str
    dead_run: str
    by: str
    release: str
    to: str  # the release that is current again; "": the service is stopped, there was none
    by_host: bool  # the host was doing it by itself already


@dataclass(frozen=True, slots=True, kw_only=True)
class LockAwaited:
    """Another run works on this host, and is waited for."""

    name: ClassVar[str] = "lock_awaited"
    host: str
    reason: str
    seconds: float  # for how long at most


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgressed:
    """Bytes sent so far, of all to be sent, and those that need not be."""

    name: ClassVar[str] = "upload_progressed"
    host: str
    service: str
    sent: int
    total: int
    saved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadFellBack:
    """A link or a patch did not give the binary that it should, so the whole is sent."""

    name: ClassVar[str] = "upload_fell_back"
    host: str
    service: str
    encoding: str  # link, patch
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStaged:
    """A release lies on the host, whole and verified, and nothing uses it yet."""

    name: ClassVar[str] = "release_staged"
    host: str
    service: str
    release: str
    sent: int  # bytes, those of what fell back as well
    size: int  # bytes of the binary
    encoding: str  # how the binary travelled: link (not at all), patch, zstd, gzip, plain
    saved: int  # bytes that were not sent, thanks to that


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSwitched:
    """The release is current and its process was started (pid 0: it was not)."""

    name: ClassVar[str] = "release_switched"
    host: str
    service: str
    release: str
    previous: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthProbed:
    """One answer to the health test."""

    name: ClassVar[str] = "health_probed"
    host: str
    service: str
    attempt: int
    healthy: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFellBack:
    """The server forbids forwarding, so the test runs on the host with what it has."""

    name: ClassVar[str] = "probe_fell_back"
    host: str
    service: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFinished:
    """A command task ran."""

    name: ClassVar[str] = "command_finished"
    host: str
    task: str
    status: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCommitted:
    """The release stayed healthy and stays."""

    name: ClassVar[str] = "release_committed"
    host: str
    service: str
    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReverted:
    """The release failed; `to` is current again, or the service is stopped if there is none."""

    name: ClassVar[str] = "release_reverted"
    host: str
    service: str
    release: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFinished:
    """How a host ended in a play; a second one for a host that the play took back afterwards."""

    name: ClassVar[str] = "host_finished"
    host: str
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInterrupted:
    """Somebody asked the run to end: hosts in flight finish or go back, no other host is touched."""

    name: ClassVar[str] = "run_interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAbandoned:
    """Somebody asked again: hosts in flight are left to themselves, and go back at their deadline."""

    name: ClassVar[str] = "run_abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The end of it all; `counts` by outcome, and `hosts`: each once, under the worst of its plays."""

    name: ClassVar[str] = "run_finished"
    run: str
    counts: dict[str, int]
    hosts: dict[str, tuple[str, ...]]
    exit_code: int
    seconds: float


Event = (
    RunStarted
    | PlayStarted
    | BatchStarted
    | BatchPaused
    | StepAsked
    | StepAnswered
    | StageStarted
    | HostPlanned
    | TransactionResolved
    | LockAwaited
    | UploadProgressed
    | UploadFellBack
    | ReleaseStaged
    | ReleaseSwitched
    | HealthProbed
    | ProbeFellBack
    | CommandFinished
    | ReleaseCommitted
    | ReleaseReverted
    | HostFinished
    | RunInterrupted
    | RunAbandoned
    | RunFinished
)

Listener = Callable[[Event], None]
"""Is told every event, one at a time."""


def outcome_word(kind: type[Outcome]) -> str:
    """The outcome's name as programs see it."""
    return NAMES[kind].replace(" ", "_").replace("-", "_")


def as_record(event: Event) -> dict[str, Any]:
    """The event as plain data, the way JSON and logs show it."""
    record: dict[str, Any] = {"event": event.name}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(event, HostFinished) and field.name == "outcome":
            record["outcome"] = outcome_word(type(value))
            record |= _plain(value)
        else:
            record[field.name] = _plain(value)
    return record


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
