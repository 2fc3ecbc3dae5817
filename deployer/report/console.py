"""On a terminal: a live line for each host at work, then a short summary."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from deployer.outcome import (
    NAMES,
    Changed,
    ExitCode,
    Failed,
    NotAttempted,
    OperatorStopped,
    Outcome,
    Reverted,
    RolledBack,
    Unchanged,
    Unreachable,
    WouldChange,
)
from deployer.report.events import (
    BatchPaused,
    BatchStarted,
    CommandFinished,
    HealthProbed,
    HostFinished,
    HostPlanned,
    LockAwaited,
    PlayStarted,
    ProbeFellBack,
    ReleaseReverted,
    ReleaseStaged,
    RunAbandoned,
    RunFinished,
    RunInterrupted,
    RunStarted,
    StageStarted,
    StepAnswered,
    StepAsked,
    TransactionResolved,
    UploadFellBack,
    UploadProgressed,
)

if TYPE_CHECKING:
    from deployer.outcome import Failure
    from deployer.report.events import Event

_SHOWN = 20
"""Hosts with a live line of their own; the rest are counted."""

_MANY = 10
"""Hosts of a play from which on those that nothing was done to share a line."""

_LOCKED = (
    "wait for it with --lock-wait 5m; the lock of a dead run is free after its --deadline; or deployer unlock"
)

_WORDS = {
    "connect": "connecting",
    "observe": "looking",
    "stage": "staging",
    "switch": "restarting",
    "verify": "checking health",
    "commit": "committing",
    "revert": "going back",
    "command": "running",
}
_STYLES: dict[type[Outcome], tuple[str, str]] = {
    Unchanged: ("=", "green"),
    WouldChange: ("~", "yellow"),
    Changed: ("+", "bold green"),
    OperatorStopped: ("-", "yellow"),
    Reverted: ("<", "bold red"),
    RolledBack: ("<", "bold yellow"),
    Failed: ("!", "bold red"),
    Unreachable: ("?", "bold magenta"),
    NotAttempted: (".", "dim"),
}


@dataclass(slots=True)
class _Line:
    stage: str = ""
    service: str = ""
    detail: str = ""
    since: float = 0.0


class ConsoleReport:
    """Draws events with rich.  Use as a context manager, so that the terminal is given back."""

    def __init__(self, console: Console, *, check: bool) -> None:
        self._console = console
        self._check = check
        self._working: dict[str, _Line] = {}
        self._details: dict[str, tuple[str, ...]] = {}
        self._went: dict[str, tuple[str, ...]] = {}  # where services of a host went back to
        self._shown: dict[tuple[str, str], str] = {}  # service and cause -> the host whose evidence was shown
        self._quiet: dict[tuple[type[Outcome], str], list[str]] = {}  # outcome and reason -> hosts to be told
        self._many = False
        self._ended: set[str] = set()  # hosts that have a line
        self._repeated = False  # a host has had a second one
        self._live = self._new_live()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case RunStarted():
                if event.retry:
                    self._print(f"[dim]again, what run {escape(event.retry)} lost[/]")
            case PlayStarted():
                self._tell_quiet()
                self._many = len(event.hosts) > _MANY
                self._print(f"[bold]{escape(event.play)}[/]  {_hosts(len(event.hosts))}")
            case BatchStarted():
                self._working.clear()  # all are prepared; those of other batches wait
                if event.of > 1:
                    self._print(f"  [bold]batch {event.number} of {event.of}[/]  {_hosts(len(event.hosts))}")
            case BatchPaused():
                self._working.clear()
                self._print(f"  [dim]waiting {event.seconds:g} s before the next batch[/]")
            case StepAsked():
                self._live.stop()  # the question would be drawn over
            case StepAnswered():
                self._live = self._new_live()
                self._live.start()
            case StageStarted():
                self._working[event.host] = _Line(
                    stage=_WORDS[event.stage], service=event.service, since=time.monotonic()
                )
            case UploadProgressed():
                saved = f", {_size(event.saved)} saved" if event.saved else ""
                self._detail(event.host, f"{_size(event.sent)} of {_size(event.total)}{saved}")
            case HealthProbed():
                self._detail(event.host, f"attempt {event.attempt}: {event.detail}")
            case HostPlanned():
                self._details[event.host] = event.changes
                if self._check:
                    self._planned(event)
            case ReleaseStaged():
                what = f"{_size(event.sent)} sent"
                if event.saved:
                    what += f", {_size(event.saved)} saved ({event.encoding})"
                self._details[event.host] = (*self._details.get(event.host, ()), what)
            case LockAwaited():
                waits = f"waits for at most {event.seconds:.0f} s"
                self._print(f"  [yellow]lock[/] {escape(event.host)} {waits}: {escape(event.reason)}")
            case TransactionResolved():
                went = f"{event.to} is back" if event.to else "the service is stopped"
                what = f"{event.service} {event.release}; {went}"
                died = f"run {event.dead_run} by {event.by} died half-way through {what}"
                self._print(f"  [yellow]note[/] {escape(event.host)}: {escape(died)}")
            case UploadFellBack():
                what = f"{event.encoding}: {event.detail}; the whole binary is sent"
                self._print(f"  [yellow]note[/] {escape(event.host)}: {escape(what)}")
            case ProbeFellBack():
                self._print(f"  [yellow]note[/] {escape(event.host)}: {escape(event.detail)}")
            case CommandFinished():
                status = "" if event.status == 0 else f" [red]exit status {event.status}[/]"
                self._print(f"  [dim]$[/] {escape(event.host)}: {escape(event.task)}{status}")
                for line in event.output.splitlines()[-20:]:
                    self._print(f"      [dim]{escape(line)}[/]")
            case ReleaseReverted():
                went = f"back on {event.to}" if event.to else "stopped, there is no release to go back to"
                self._went[event.host] = (*self._went.get(event.host, ()), f"{event.service} {went}")
            case HostFinished():
                self._working.pop(event.host, None)
                self._finished(event)
            case RunInterrupted():
                count = len(self._working)
                self._print(
                    f"[yellow]stopping[/]: {_hosts(count)} in flight finish; Ctrl-C again leaves them"
                )
            case RunAbandoned():
                self._print("[yellow]leaving[/]: hosts whose release is not committed go back by themselves")
            case RunFinished():
                self._tell_quiet()
                self._live.stop()
                self._summary(event)
            case _:
                pass

    # -- live -------------------------------------------------------------------------------------------

    def _new_live(self) -> Live:
        return Live(console=self._console, get_renderable=self._draw, refresh_per_second=8, transient=True)

    def _detail(self, host: str, detail: str) -> None:
        if host in self._working:
            self._working[host].detail = detail

    def _draw(self) -> Group:
        table = Table.grid(padding=(0, 1))
        working = list(self._working.items())  # other threads add to it
        now = time.monotonic()
        for host, line in working[:_SHOWN]:
            table.add_row(
                " ",
                Text(host, style="bold"),
                Text(line.stage, style="cyan"),
                Text(line.service),
                Text(line.detail, overflow="ellipsis", no_wrap=True),
                Text(f"{now - line.since:.0f} s", style="dim"),
            )
        rest = len(working) - _SHOWN
        return Group(table, Text(f"  and {rest} more", style="dim")) if rest > 0 else Group(table)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    # -- results ----------------------------------------------------------------------------------------

    def _planned(self, event: HostPlanned) -> None:
        for change in event.changes:
            self._print(f"  [yellow]~[/] {escape(event.host)}: {escape(change)}")
        for note in event.notes:
            self._print(f"  [yellow]![/] {escape(event.host)}: {escape(note)}")
        for line in event.diff.splitlines():
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
            self._console.print(Text(f"      {line}", style=style), soft_wrap=True)

    def _finished(self, event: HostFinished) -> None:
        outcome = event.outcome
        self._repeated = self._repeated or event.host in self._ended
        self._ended.add(event.host)
        odd = isinstance(outcome, Unchanged) and outcome.notes
        if self._many and isinstance(outcome, Unchanged | NotAttempted) and not odd:
            reason = outcome.reason if isinstance(outcome, NotAttempted) else ""
            self._quiet.setdefault((type(outcome), reason), []).append(event.host)
            return
        sign, style = _STYLES[type(outcome)]
        head = f"  [{style}]{sign} {escape(event.host):<20} {NAMES[type(outcome)]:<16}[/]"
        match outcome:
            case Unchanged():
                detail = "; ".join(outcome.notes)
            case Changed():
                detail = "; ".join(self._details.get(event.host, ()))
            case OperatorStopped():
                names = ", ".join(outcome.services)
                place = "the release is in place" if outcome.changed else "as desired"
                detail = (
                    f"{place}, but an operator stopped {names}: systemctl start {names}, or run with --start"
                )
            case NotAttempted():
                detail = outcome.reason
            case Reverted() | Failed():
                detail = "; ".join((outcome.failure.message, *self._went.pop(event.host, ())))
            case RolledBack():
                back = (f"{service} back on {release}" for service, release in outcome.releases)
                detail = "; ".join((*back, *((outcome.failure.message,) if outcome.failure else ())))
            case Unreachable():
                detail = outcome.failure.message
            case _:
                detail = ""
        self._print(f"{head} [dim]{event.seconds:5.1f} s[/]  {escape(detail)}".rstrip())
        if isinstance(outcome, Reverted | Failed | Unreachable):
            self._failure(event.host, outcome.failure)

    def _tell_quiet(self) -> None:
        """One line for all hosts of a large play that nothing was done to, and nothing is wrong with."""
        for (kind, reason), hosts in self._quiet.items():
            sign, style = _STYLES[kind]
            head = f"  [{style}]{sign} {_hosts(len(hosts)):<20} {NAMES[kind]:<16}[/]"
            self._print(f"{head}          {escape(reason)}".rstrip())
            if kind is NotAttempted:
                self._print(f"      [dim]{escape(' '.join(hosts))}[/]")
        self._quiet.clear()

    def _failure(self, host: str, failure: Failure) -> None:
        if failure.hint:
            self._print(f"      [bold]do[/]      {escape(failure.hint)}")
        evidence = failure.evidence
        if evidence is None:
            return
        # Forty hosts that fail alike need one journal, not forty.
        first = self._shown.setdefault((failure.service, failure.cause), host)
        if first != host:
            self._print(f"      [dim]evidence as on {escape(first)}; --json shows that of every host[/]")
            return
        if evidence.answer:
            self._print(f"      [bold]answer[/]  {escape(evidence.answer)}")
        if evidence.state:
            self._print(f"      [bold]unit[/]    {escape(evidence.state)}")
        if evidence.port:
            self._print(f"      [bold]port[/]    {escape(evidence.port)}")
        for line in evidence.journal:
            self._print(f"      [dim]{escape(line)}[/]")

    def _summary(self, event: RunFinished) -> None:
        if event.exit_code == ExitCode.LOCKED:
            self._print(f"      [bold]do[/]      {_LOCKED}")
        if self._repeated:  # else every host has one line already
            for name, hosts in event.hosts.items():
                self._print(f"  {name:<16} {escape(' '.join(hosts))}")
        parts = [f"{count} {name}" for name, count in event.counts.items() if count]
        style = "green" if event.exit_code in {0, 10} else "red"
        line = f"[bold {style}]{', '.join(parts) or 'nothing to do'}[/] in {event.seconds:.1f} s"
        self._print(line + (f"  [dim]exit {event.exit_code}[/]" if event.exit_code else ""))


def _hosts(count: int) -> str:
    return f"{count} host{'s' if count != 1 else ''}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"  # noqa: PLR2004  SI units
