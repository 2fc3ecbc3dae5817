"""Transactions that a dead run left open: what they are, and how a later run puts an end to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer import init
from deployer.errors import HostError
from deployer.remote.remote import fields
from deployer.remote.script import read_script
from deployer.transaction.lock import translate

if TYPE_CHECKING:
    from deployer.remote.remote import Remote
    from deployer.transaction.lock import Owner

_SCRIPT = (
    "remote/prelude.sh",
    init.SCRIPT,
    init.ORDERS,
    "transaction/state.sh",
    "transaction/undo.sh",
    "transaction/resolve.sh",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A change in flight, as the host's journal has it."""

    run: str
    by: str
    before: str  # the release to put back; "": there was none
    after: str


class UnfinishedError(HostError):
    """What a dead run left half-way could not be put back: the host is neither as it was nor as desired."""


def parse_transaction(words: list[str]) -> Transaction:
    """The line of observe.sh."""
    said = dict(word.partition("=")[::2] for word in words)
    before = said.get("before", "-")
    return Transaction(
        run=said.get("run", ""),
        by=said.get("by", ""),
        before="" if before == "-" else before,
        after=said.get("after", ""),
    )


def resolve(remote: Remote, owner: Owner, service: str, *, breaking: str) -> bool:
    """Put back what the transaction of `service` found; False if the host has done it meanwhile.

    Raises:
        HeldError: its run lives.
        UnfinishedError: it cannot be put back.
        HostError: the host cannot be asked.

    """
    reply = remote.run(read_script(*_SCRIPT), (owner.by, service, breaking), timeout=150)
    try:
        lines = fields(
            reply, what="putting back what an earlier run left unfinished", done={"resolved", "gone"}
        )
    except HostError as error:
        known = translate(error, service)
        if known is not error:
            raise known from None
        raise UnfinishedError(error.cause, error.message, hint=error.hint, service=service) from None
    return any(line[0] == "resolved" for line in lines)
