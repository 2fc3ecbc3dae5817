"""A ledger's lines are read whole, whatever stands in them."""

from __future__ import annotations

import pytest

from deployer.ask.ledger import LedgerEntry, ServiceLedger, parse_entry, parse_ledgers

TIME = "2026-11-22T11:20:00Z"


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (
            f"{TIME} deploy release=R2 before=R1 run=ID by=anna@laptop outcome=ok",
            LedgerEntry(
                time=TIME,
                action="deploy",
                release="R2",
                before="R1",
                run="ID",
                by="anna@laptop",
                outcome="ok",
            ),
        ),
        (
            f"{TIME} revert release=R2 before=- by=host outcome=ok found=switched kind=a=b",
            LedgerEntry(
                time=TIME,
                action="revert",
                release="R2",
                before="-",
                by="host",
                outcome="ok",
                more=(("found", "switched"), ("kind", "a=b")),
            ),
        ),
        (f"{TIME} unlock", LedgerEntry(time=TIME, action="unlock")),
        (TIME, LedgerEntry(time=TIME, action="")),  # cut off by a power failure
        (
            f"{TIME} deploy release=R2 befo",
            LedgerEntry(time=TIME, action="deploy", release="R2", more=(("befo", ""),)),
        ),
        ("outcome=ok", LedgerEntry(time="", action="", outcome="ok")),
        ("time=now", LedgerEntry(time="", action="", more=(("time", "now"),))),
    ],
)
def test_a_line(line: str, entry: LedgerEntry) -> None:
    assert parse_entry(line) == entry


def test_a_reply_has_a_ledger_for_each_service() -> None:
    reply = f"= gin-api\n{TIME} deploy release=R1\n{TIME} stop\n\n= worker\n"
    assert parse_ledgers(reply, ["gin-api", "worker"], count=20) == (
        ServiceLedger(
            service="gin-api",
            entries=(
                LedgerEntry(time=TIME, action="deploy", release="R1"),
                LedgerEntry(time=TIME, action="stop"),
            ),
        ),
        ServiceLedger(service="worker", entries=()),
    )


@pytest.mark.parametrize("reply", ["", "Welcome!\n", f"= gin-api\n{TIME} stop\n", f"= worker\n{TIME} stop\n"])
def test_a_reply_that_passes_over_a_service_is_none(reply: str) -> None:
    with pytest.raises(ValueError, match="nothing about"):
        parse_ledgers(reply, ["gin-api", "worker"], count=20)


def test_no_more_lines_than_were_asked_for() -> None:
    reply = "= app\n" + "x\n" * 90_000 + f"{TIME} stop\n\n"
    (ledger,) = parse_ledgers(reply, ["app"], count=2)
    assert [entry.action for entry in ledger.entries] == ["", "stop"]
