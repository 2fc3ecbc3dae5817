"""The scripts that only look show what is there and change nothing, with coreutils and with busybox alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.ask.ledger import parse_ledgers
from deployer.ask.releases import parse_releases
from tests.host_scripts.sandbox import FLAVOURS, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.hosts  # root, for a mount namespace

LEDGER = ("remote/prelude.sh", "ask/ledger.sh")
RELEASES = ("remote/prelude.sh", "ask/releases.sh")
TIME = "2026-11-22T11:20:00Z"


@pytest.fixture(params=FLAVOURS)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    made = Sandbox(flavour=request.param, root=tmp_path)
    made.prepare()
    return made


def everything(sandbox: Sandbox) -> dict[str, int]:
    """Each file and folder that a script could change, and when it was changed last."""
    folders = (sandbox.opt, sandbox.root / "var/lib")
    return {str(path): path.lstat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


def test_the_end_of_a_ledger(sandbox: Sandbox) -> None:
    state = sandbox.root / "var/lib/deployer"
    (state / "app").mkdir(parents=True)
    (state / "app/ledger").write_text("".join(f"{TIME} deploy release=R{n}\n" for n in range(5)))
    (state / "cut").mkdir()
    (state / "cut/ledger").write_text(f"{TIME} deploy release=R1\n{TIME} dep")
    (state / "empty").mkdir()
    (state / "empty/ledger").touch()
    before = everything(sandbox)

    services = ["app", "cut", "none", "empty"]
    ledgers = parse_ledgers(sandbox.run(LEDGER, ["2", *services]), services, count=2)

    assert {ledger.service: [entry.release for entry in ledger.entries] for ledger in ledgers} == {
        "app": ["R3", "R4"],
        "cut": ["R1", ""],
        "none": [],
        "empty": [],
    }
    assert everything(sandbox) == before


def test_a_ledger_that_cannot_be_read_is_no_empty_one(sandbox: Sandbox) -> None:
    (sandbox.root / "var/lib/deployer/app/ledger").mkdir(parents=True)
    assert "failed cannot_read cannot read /var/lib/deployer/app/ledger" in sandbox.run(LEDGER, ["2", "app"])


def test_releases_and_their_marks(sandbox: Sandbox) -> None:
    releases = sandbox.opt / "app/releases"
    for name in ("r1", "r2", "r3", "r4", "r5"):
        (releases / name).mkdir(parents=True)
        (releases / name / "release.json").write_text(f'{{"run": "of-{name}"}}')
    (releases / "half").mkdir()
    (releases / ".staging-r6").mkdir()
    (releases / ".staging-r6/release.json").write_text("{}")
    (sandbox.opt / "app/current").symlink_to("releases/r2")
    marks = sandbox.root / "var/lib/deployer/app/unproven"
    marks.mkdir(parents=True)
    (marks / "r3").write_text("staged\n")
    (marks / "r4").write_text("failed\n")
    (marks / "r5").touch()
    before = everything(sandbox)

    app, none = parse_releases(sandbox.run(RELEASES, ["app", "none"]), ["app", "none"])

    assert [(one.name, one.state, one.current, one.run) for one in app.releases] == [
        ("r5", "failed", False, "of-r5"),
        ("r4", "failed", False, "of-r4"),
        ("r3", "staged", False, "of-r3"),
        ("r2", "good", True, "of-r2"),
        ("r1", "good", False, "of-r1"),
    ]
    assert (none.service, none.releases) == ("none", ())
    assert everything(sandbox) == before
