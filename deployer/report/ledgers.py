"""`deployer history --on-host`: what hosts wrote down themselves, as lines of text or of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.report.answers import as_line, no_answer
from deployer.report.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.ask.ask import NoAnswer
    from deployer.ask.ledger import LedgerEntry, ServiceLedger


def ledger_lines(
    answers: Sequence[tuple[str, tuple[ServiceLedger, ...] | NoAnswer]], *, json: bool
) -> Iterator[str]:
    """By host and service, the newest last."""
    for host, answer in answers:
        if not isinstance(answer, tuple):
            yield no_answer(host, answer, json_wanted=json)
            continue
        for ledger in answer:
            if json:
                yield from (_json(host, ledger.service, entry) for entry in ledger.entries)
                continue
            nothing = "" if ledger.entries else "  nothing is written down"
            yield f"{host}  {ledger.service}{nothing}"
            yield from columns([_row(entry) for entry in ledger.entries], indent="  ")


def _row(entry: LedgerEntry) -> tuple[str, ...]:
    release = entry.release
    if entry.before not in {"", "-"}:
        release += f" (before: {entry.before})"
    rest = [f"{key}={value}" for key, value in entry.more]
    rest = [f"run={entry.run}", *rest] if entry.run else rest
    return (entry.time, entry.action, entry.outcome, release, entry.by, " ".join(rest))


def _json(host: str, service: str, entry: LedgerEntry) -> str:
    told = {
        "host": host,
        "service": service,
        "time": entry.time,
        "action": entry.action,
        "outcome": entry.outcome,
        "release": entry.release,
        "before": entry.before,
        "by": entry.by,
        "run": entry.run,
    }
    return as_line(told, entry.more)
