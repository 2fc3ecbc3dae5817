"""A run's record at every moment of the run: what a kill there would leave behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from deployer.outcome import (
    Changed,
    Failed,
    Failure,
    NotAttempted,
    Outcome,
    RolledBack,
    Unchanged,
    Unreachable,
)
from deployer.record.record import HostRecord, RunRecord
from deployer.record.recorder import Recorder
from deployer.record.store import Store
from deployer.report.events import HealthProbed, HostFinished, PlayStarted, RunFinished
from tests.record.runs import BEGAN, RUN, make_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FAILURE = Failure(cause="timed_out", message="it did not answer", hint="ping it")


class Desk:
    """A recorder over real files, with a clock that is set by hand."""

    def __init__(self, folder: Path, *plays: Sequence[str]) -> None:
        self.store = Store({"XDG_STATE_HOME": str(folder)})
        self.time = BEGAN
        self.notes: list[str] = []
        hosts = {name: HostRecord() for play in plays for name in play}
        self.recorder = Recorder(
            self.store, make_run(hosts=hosts), plays=plays, now=self.now, note=self.notes.append
        )

    def now(self) -> datetime:
        return self.time

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def finish(self, host: str, outcome: Outcome, seconds: float = 2.0) -> None:
        self.recorder(HostFinished(host=host, outcome=outcome, seconds=seconds))

    def end(self, code: int = 0) -> None:
        self.recorder(RunFinished(run=RUN, counts={}, hosts={}, exit_code=code, seconds=1.0))

    @property
    def record(self) -> RunRecord:
        found = self.store.find(RUN)
        assert found
        return found

    @property
    def words(self) -> dict[str, str]:
        return {name: host.outcome for name, host in self.record.hosts.items()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, ["web1", "web2", "web3"])


def test_from_the_first_moment_all_hosts_are_unfinished(desk: Desk) -> None:
    with desk.recorder:
        assert desk.words == dict.fromkeys(["web1", "web2", "web3"], "unfinished")
        assert (desk.record.ended, desk.record.exit_code) == (None, None)
        desk.end()


def test_at_the_end_it_says_how_each_host_ended(desk: Desk) -> None:
    with desk.recorder:
        desk.finish("web1", Changed(), seconds=1.23456)
        desk.finish("web2", Unreachable(failure=FAILURE))
        desk.finish("web3", NotAttempted(reason="interrupted"))
        desk.pass_seconds(9)
        desk.end(3)
    assert desk.record == make_run(
        ended=BEGAN + timedelta(seconds=9),
        exit_code=3,
        hosts={
            "web1": HostRecord(outcome="changed", seconds=1.235),
            "web2": HostRecord(
                outcome="unreachable", cause="timed_out", message="it did not answer", seconds=2.0
            ),
            "web3": HostRecord(outcome="not_attempted", message="interrupted", seconds=2.0),
        },
    )


def test_while_hosts_finish_it_is_written_at_most_once_a_second(desk: Desk) -> None:
    with desk.recorder:
        desk.finish("web1", Changed())
        assert desk.words["web1"] == "unfinished"
        desk.pass_seconds(1)
        desk.finish("web2", Changed())
        assert desk.words == {"web1": "changed", "web2": "changed", "web3": "unfinished"}
        desk.finish("web3", Changed())
        assert desk.words["web3"] == "unfinished"
        desk.pass_seconds(1)  # no other host finishes, and yet the news must not wait for the end
        desk.recorder(HealthProbed(host="w", service="s", attempt=1, healthy=True, detail=""))
        assert desk.words["web3"] == "changed"
        desk.end()


def test_a_host_is_unfinished_until_its_last_play(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ["web1", "web2"], ["web1"])
    with desk.recorder:
        desk.finish("web1", Changed())
        desk.finish("web2", Changed())
        desk.pass_seconds(2)
        desk.recorder(HealthProbed(host="w", service="s", attempt=1, healthy=True, detail=""))
        assert desk.words == {"web1": "unfinished", "web2": "changed"}
        desk.recorder(PlayStarted(play="two", hosts=("web1",)))
        desk.finish("web1", Unchanged())
        desk.end()
    assert desk.record.hosts["web1"] == HostRecord(outcome="changed", seconds=4.0)  # what matters of both


def test_a_host_that_was_changed_and_then_rolled_back_is_to_be_tried_again(desk: Desk) -> None:
    with desk.recorder:
        desk.finish("web1", Changed(), seconds=2.0)
        desk.finish("web1", RolledBack(failure=FAILURE), seconds=3.5)  # both in one play
        desk.end(1)
    assert desk.record.hosts["web1"] == HostRecord(
        outcome="rolled_back", cause="timed_out", message="it did not answer", seconds=3.5
    )
    assert desk.record.to_retry == ("web1", "web2", "web3")


def test_a_host_that_never_came_to_its_second_play_keeps_its_seconds(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ["web1"], ["web1"])
    with desk.recorder:
        desk.finish("web1", Changed(), seconds=2.0)
        desk.finish("web1", NotAttempted(reason="an earlier play stopped"), seconds=0.0)
        desk.end(4)
    assert desk.record.hosts["web1"] == HostRecord(
        outcome="not_attempted", message="an earlier play stopped", seconds=2.0
    )


def test_a_host_that_is_lost_in_its_first_play_is_lost_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ["web1"], ["web1"])
    with desk.recorder:
        desk.pass_seconds(2)
        desk.finish("web1", Failed(failure=FAILURE, needs_person=False))
        assert desk.words == {"web1": "failed"}
        desk.end(1)
    assert desk.words == {"web1": "failed"}


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (ZeroDivisionError, 4)])
def test_a_run_that_breaks_off_is_recorded_as_it_stood(
    desk: Desk, error: type[BaseException], code: int
) -> None:
    def break_off() -> None:
        with desk.recorder:
            desk.finish("web1", Changed())
            raise error

    with pytest.raises(error):
        break_off()
    assert desk.words == {"web1": "changed", "web2": "unfinished", "web3": "unfinished"}
    assert desk.record.exit_code == code


def test_what_breaks_after_the_end_changes_nothing(desk: Desk) -> None:
    def break_off() -> None:
        with desk.recorder:
            desk.end(0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert desk.record.exit_code == 0


def test_a_record_that_cannot_be_kept_is_told_once_and_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "deployer").write_text("in the way")
    desk = Desk(tmp_path, ["web1"])
    with desk.recorder:
        desk.pass_seconds(2)
        desk.finish("web1", Changed())
        desk.end()
    assert desk.notes == [
        "no record of this run is kept (Not a directory); --retry will not know it",
    ]


def test_a_disk_that_is_full_for_a_while_costs_only_what_was_not_written(desk: Desk) -> None:
    with desk.recorder:
        blocker = desk.store.folder / f".{RUN}.new"
        blocker.mkdir()
        desk.pass_seconds(2)
        desk.finish("web1", Changed())
        assert desk.words["web1"] == "unfinished"
        blocker.rmdir()
        desk.end()
    assert desk.words["web1"] == "changed"
    assert len(desk.notes) == 1
