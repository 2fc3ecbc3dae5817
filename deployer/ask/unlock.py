"""Break the locks of a host's services, whoever holds them, and have the host write that down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.ask.ask import for_each
from deployer.remote.remote import fields
from deployer.remote.script import read_script
from deployer.transaction.lock import Holder, parse_holder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.remote.remote import Remote

_SCRIPT = ("remote/prelude.sh", "transaction/state.sh", "ask/unlock.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    """One service; `holder` is who had the lock, None if nobody had."""

    service: str
    holder: Holder | None


def break_locks(remote: Remote, services: Sequence[str], *, by: str) -> tuple[Unlocked, ...]:
    """Break the lock of each service; the host itself then undoes what its holder has not committed.

    Raises:
        HostError: no root, no answer.

    """
    reply = remote.run(read_script(*_SCRIPT), (by, *services), timeout=60)
    return parse_unlocked(fields(reply, what="breaking the lock"), services)


def parse_unlocked(lines: Sequence[Sequence[str]], services: Sequence[str]) -> tuple[Unlocked, ...]:
    """Read the words of unlock.sh.  Raises ValueError: they say nothing about a service."""
    found = {
        words[1]: Unlocked(service=words[1], holder=parse_holder(words[2:]) if words[0] == "broken" else None)
        for words in lines
        if words[0] in {"broken", "free"}
    }
    return for_each(services, found)
