"""The benchmark itself, on a real host: its numbers are of jobs that were done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from benchmarks import fleet as fleets
from benchmarks.binary import Builds, build
from benchmarks.campaign import FIRST_PORT, Stand, measure
from benchmarks.contender import DEPLOYS, Command
from benchmarks.contenders.deployer import Deployer
from benchmarks.contenders.script import LoginOnly, Script
from benchmarks.fleet import open_fleet
from benchmarks.job import Job, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.contender import Contender, Site
    from benchmarks.fleet import Fleet
    from benchmarks.results import Cell
    from tests.conftest import FreshLab

SETTING = Setting(hosts=1, rtt=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cheat(Script):
    """Does the first deploy; what it does then instead of the others is `instead`."""

    instead: tuple[str, ...] = ()
    name: str = "cheat"
    jobs: frozenset[Job] = field(default=DEPLOYS)

    def command(self, site: Site, job: Job) -> Command:
        honest = Script.command(self, site, Job.FIRST)
        return honest if job is Job.FIRST else Command(argv=self.instead or honest.argv)


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return build(tmp_path_factory.mktemp("builds"))


@pytest.fixture
def fleet(fresh_lab: FreshLab, tmp_path: Path) -> Iterator[Fleet]:
    with open_fleet(fresh_lab(1), SETTING, tmp_path) as opened:
        yield opened


def run(fleet: Fleet, folder: Path, builds: Builds, *contenders: Contender, rounds: int = 1) -> list[Cell]:
    stands = [
        Stand(contender, fleet, folder, builds, port=FIRST_PORT + index)
        for index, contender in enumerate(contenders)
    ]
    try:
        return list(measure(stands, SETTING, tuple(Job), rounds=rounds, run="now", say=print))
    finally:
        for stand in stands:
            stand.clear()


@pytest.mark.hosts
def test_every_job_of_every_round_is_timed_and_counted(fleet: Fleet, tmp_path: Path, builds: Builds) -> None:
    cells = run(fleet, tmp_path, builds, Deployer(), Script(), LoginOnly(), rounds=2)
    assert [cell.error for cell in cells] == [""] * 9
    by = {(cell.contender, cell.row.job): cell for cell in cells}
    assert set(by) == {(name, job) for name in ("deployer", "script") for job in Job} | {
        ("true", Job.NOTHING)
    }
    for cell in cells:
        assert len(cell.samples) == 2
        assert cell.memory > 1_000_000
        for sample in cell.samples:
            assert sample.wire is not None
            assert sample.wire.connections == 1
            # The handshake is a round trip too, and whatever a contender does takes at least its turns.
            assert sample.wall > (1 + sample.wire.turns) * SETTING.rtt / 1000
            assert 0 < sample.cpu < 60
    # The script sends all of it each time; the deployer compresses, and sends what has changed.
    size = builds.new.path.stat().st_size
    sent = {key: cell.bytes_per_host or 0 for key, cell in by.items()}
    assert sent["script", Job.ENV] > size
    assert sent["deployer", Job.ENV] < 200_000
    assert 1_000_000 < sent["deployer", Job.BINARY] < size
    assert sent["deployer", Job.NOTHING] < 50_000


@pytest.mark.hosts
def test_nothing_is_left_for_the_next_first_deploy(fleet: Fleet, tmp_path: Path, builds: Builds) -> None:
    (host,) = fleet.hosts
    contenders = (Deployer(), Script())
    stands = [Stand(each, fleet, tmp_path, builds, port=FIRST_PORT) for each in contenders]

    def traces() -> str:
        names = ("*bench-*", "*deployer*", "unless-stopped*")
        wanted = [word for name in names for word in ("-o", "-name", name)][1:]
        found = host.nsenter(["find", "/etc", "/opt", "/usr/local", "/var/lib", "(", *wanted, ")"]).stdout
        accounts = host.nsenter(["grep", "bench-", "/etc/passwd"], check=False).stdout
        return (found + accounts).decode()

    assert traces() == ""
    for stand in stands:
        stand.do(Job.FIRST)
        assert f"/{stand.service}.service\n" in traces()
        assert f"\n{stand.service}:x:" in traces()
        stand.clear()
        assert traces() == ""


@pytest.mark.hosts
def test_who_does_nothing_has_no_number(
    fleet: Fleet, tmp_path: Path, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "PATIENCE", 2.0)
    cells = {cell.row.job: cell for cell in run(fleet, tmp_path, builds, Cheat(instead=("true",)))}
    assert cells[Job.FIRST].error == cells[Job.NOTHING].error == ""
    assert "is 1.0.0 and says 'hello' afterwards, not 1.0.0 and 'hello 1'" in cells[Job.ENV].error
    assert "is 1.0.0 and says 'hello' afterwards, not 1.0.1 and 'hello'" in cells[Job.BINARY].error
    assert cells[Job.ENV].samples == ()


@pytest.mark.hosts
def test_who_restarts_what_was_fine_has_no_number(fleet: Fleet, tmp_path: Path, builds: Builds) -> None:
    cells = {cell.row.job: cell for cell in run(fleet, tmp_path, builds, Cheat())}
    assert cells[Job.NOTHING].error == "bench-cheat was restarted though there was nothing to do"
    assert cells[Job.ENV].error == cells[Job.BINARY].error == ""


@pytest.mark.hosts
def test_who_fails_has_no_number_but_its_last_words(fleet: Fleet, tmp_path: Path, builds: Builds) -> None:
    failing = Cheat(instead=("sh", "-c", "echo so it is; exit 7"))
    cells = {cell.row.job: cell for cell in run(fleet, tmp_path, builds, failing)}
    assert cells[Job.NOTHING].error == "sh ended with 7: so it is"
    assert cells[Job.NOTHING].wall is None
