"""What happened to a host's services, as the host wrote it down: one logfmt line per event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.ask.ask import for_each
from deployer.remote.remote import fields, sections
from deployer.remote.script import read_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.remote.remote import Remote

_SCRIPT = ("remote/prelude.sh", "ask/ledger.sh")
_NAMED = ("outcome", "release", "before", "by", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One line.  A part that is not given is empty; `more` are the pairs that have no field here."""

    time: str  # UTC, as written
    action: str  # deploy, start, revert, stop, rollback, unlock
    outcome: str = ""
    release: str = ""
    before: str = ""  # the release before; "-" for none
    by: str = ""  # who; "host" when the host did it by itself
    run: str = ""
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLedger:
    """The last entries of one service, the newest last."""

    service: str
    entries: tuple[LedgerEntry, ...]


def ask_ledger(remote: Remote, services: Sequence[str], *, count: int) -> tuple[ServiceLedger, ...]:
    """The last `count` entries of each service.

    Raises:
        HostError: no root, no answer.

    """
    reply = remote.run(read_script(*_SCRIPT), (str(count), *services), timeout=60)
    fields(reply, what="reading the ledger")
    return parse_ledgers(reply.stdout, services, count=count)


def parse_ledgers(stdout: str, services: Sequence[str], *, count: int) -> tuple[ServiceLedger, ...]:
    """Read the reply of ledger.sh.  Raises ValueError: it says nothing about a service."""
    return tuple(
        ServiceLedger(service=service, entries=tuple(map(parse_entry, [*filter(str.strip, lines)][-count:])))
        for service, lines in zip(services, for_each(services, sections(stdout)), strict=True)
    )


def parse_entry(line: str) -> LedgerEntry:
    """Read one line; what is not understood is kept in `more` and loses nothing."""
    words = line.split()
    head = [word for word in words[:2] if "=" not in word]
    pairs = [(key, value) for key, _, value in (word.partition("=") for word in words[len(head) :])]
    named = dict(pair for pair in pairs if pair[0] in _NAMED)
    more = tuple(pair for pair in pairs if pair[0] not in named)
    time, action = [*head, "", ""][:2]
    return LedgerEntry(time=time, action=action, more=more, **named)
