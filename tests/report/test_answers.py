"""`history --on-host` and `releases`: columns for people, lines of JSON for programs, no tricks of a host."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from deployer.ask.ledger import LedgerEntry, ServiceLedger
from deployer.ask.releases import ReleaseOnDisk, ServiceReleases
from deployer.outcome import Failed, Failure, Unreachable
from deployer.report.columns import columns
from deployer.report.ledgers import ledger_lines
from deployer.report.releases import release_lines

OLD, NEW = "20260101T000000Z-0123456789ab", "20261122T112000Z-0123456789ab"
DEAD = Unreachable(failure=Failure(cause="timed_out", message="it did not answer", hint="ping it"))
DENIED = Failed(failure=Failure(cause="not_root", message="this needs root"), needs_person=False)
LEDGER = ServiceLedger(
    service="app",
    entries=(
        LedgerEntry(
            time="2026-11-22T11:20:00Z",
            action="deploy",
            outcome="ok",
            release=NEW,
            before=OLD,
            by="anna@laptop",
            run="R1",
        ),
        LedgerEntry(
            time="2026-11-22T11:21:00Z",
            action="revert",
            outcome="failed",
            release=NEW,
            before="-",
            by="host",
            more=(("found", "switched"),),
        ),
    ),
)
RELEASES = ServiceReleases(
    service="app",
    releases=(
        ReleaseOnDisk(
            name=NEW,
            current=False,
            state="staged",
            made=datetime(2026, 11, 22, 11, 20, tzinfo=UTC),
            size=12_345_678,
            by="anna@laptop",
            run="R1",
        ),
        ReleaseOnDisk(name="mine", current=True, state="good", made=None, size=None, by="", run=""),
    ),
)


def test_a_ledger_on_a_screen() -> None:
    empty = ServiceLedger(service="worker", entries=())
    assert list(ledger_lines([("web1", (LEDGER, empty)), ("web2", DEAD), ("web3", DENIED)], json=False)) == [
        "web1  app",
        f"  2026-11-22T11:20:00Z  deploy  ok      {NEW} (before: {OLD})  anna@laptop  run=R1",
        f"  2026-11-22T11:21:00Z  revert  failed  {NEW}{' ' * 40}  host         found=switched",
        "web1  worker  nothing is written down",
        "web2  unreachable: it did not answer (ping it)",
        "web3  failed: this needs root",
    ]


def test_a_ledger_for_programs() -> None:
    lines = [json.loads(line) for line in ledger_lines([("web1", (LEDGER,)), ("web2", DEAD)], json=True)]
    assert lines == [
        {
            "version": 1,
            "host": "web1",
            "service": "app",
            "time": "2026-11-22T11:20:00Z",
            "action": "deploy",
            "outcome": "ok",
            "release": NEW,
            "before": OLD,
            "by": "anna@laptop",
            "run": "R1",
        },
        {
            "version": 1,
            "found": "switched",
            "host": "web1",
            "service": "app",
            "time": "2026-11-22T11:21:00Z",
            "action": "revert",
            "outcome": "failed",
            "release": NEW,
            "before": "-",
            "by": "host",
            "run": "",
        },
        {
            "version": 1,
            "host": "web2",
            "outcome": "unreachable",
            "failure": {"cause": "timed_out", "message": "it did not answer", "hint": "ping it"},
        },
    ]


def test_releases_on_a_screen() -> None:
    none = ServiceReleases(service="worker", releases=())
    assert list(release_lines([("web1", (RELEASES, none)), ("web2", DEAD)], json=False)) == [
        "web1  app",
        f"     {NEW}  staged  2026-11-22 11:20:00Z  12.3 MB  anna@laptop  run=R1",
        f"  *  mine{' ' * 25}  good    -                     -        -",
        "web1  worker  no release",
        "web2  unreachable: it did not answer (ping it)",
    ]


def test_releases_for_programs() -> None:
    first, second = (json.loads(line) for line in release_lines([("web1", (RELEASES,))], json=True))
    assert first == {
        "version": 1,
        "host": "web1",
        "service": "app",
        "release": NEW,
        "current": False,
        "state": "staged",
        "made": "2026-11-22T11:20:00Z",
        "size": 12_345_678,
        "by": "anna@laptop",
        "run": "R1",
    }
    assert (second["current"], second["made"], second["size"]) == (True, None, None)


def test_what_a_host_calls_something_is_not_what_we_call_so() -> None:
    more = tuple((name, "99") for name in ("version", "host", "service", "time", "failure", "found"))
    entry = LedgerEntry(time="2026-11-22T11:20:00Z", action="stop", more=more)
    ledger = ServiceLedger(service="app", entries=(entry,))
    (line,) = ledger_lines([("web1", (ledger,))], json=True)
    told = json.loads(line)
    assert (told["version"], told["host"], told["service"]) == (1, "web1", "app")
    assert told["time"] == "2026-11-22T11:20:00Z"
    assert "failure" not in told
    assert told["found"] == "99"


def test_a_long_cell_costs_its_own_row_only() -> None:
    rows = [("a", "x" * 1_000_000, "b"), *[("a", "x", "b")] * 1_000]
    first, *others = columns(rows)
    assert first == f"a  {'x' * 1_000_000}  b"
    assert max(map(len, others)) < 100
