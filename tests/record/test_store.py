"""Records on disk: for their owner only, whole or not at all, the newest hundred."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from deployer.errors import LoadError
from deployer.record.store import KEPT, Store
from tests.record.runs import BEGAN, RUN, make_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store({"XDG_STATE_HOME": str(tmp_path / "state")})


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def test_where_records_are() -> None:
    assert str(Store({"XDG_STATE_HOME": "/x"}).folder) == "/x/deployer/runs"
    for environ in ({}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}):  # as the specification says
        assert str(Store(environ).folder) == os.path.expanduser("~/.local/state/deployer/runs")  # noqa: PTH111


def test_without_a_home_there_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)  # a container run as any user
    with pytest.raises(FileNotFoundError, match="set XDG_STATE_HOME"):
        Store({}).write(make_run())


def test_a_record_is_for_its_owner_only(store: Store) -> None:
    before = os.umask(0)
    try:
        store.write(make_run())
    finally:
        os.umask(before)
    assert mode(store.folder) == "700"
    (file,) = store.folder.iterdir()
    assert (file.name, mode(file)) == (f"{RUN}.json", "600")
    assert store.find(RUN) == make_run()


def test_a_record_that_cannot_be_written_leaves_the_one_before(store: Store) -> None:
    store.write(make_run())
    (store.folder / f".{RUN}.new").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        store.write(make_run(exit_code=4))
    assert store.find(RUN) == make_run()


def test_a_link_in_the_way_is_not_followed(store: Store, tmp_path: Path) -> None:
    store.write(make_run())
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (store.folder / f".{RUN}.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        store.write(make_run())
    assert victim.read_text() == "mine"


def test_the_newest_hundred_are_kept(store: Store) -> None:
    store.folder.mkdir(parents=True)
    runs = [f"20261122T11{second // 60:02}{second % 60:02}Z-ab12cd" for second in range(KEPT + 5)]
    for run in runs:
        (store.folder / f"{run}.json").touch()
    (store.folder / f".{runs[0]}.new").touch()  # left behind by a kill
    (store.folder / "notes.txt").touch()
    store.prune()
    assert store.ids() == runs[: -KEPT - 1 : -1]
    others = {path.name for path in store.folder.iterdir()} - {f"{run}.json" for run in runs}
    assert others == {"notes.txt"}


def test_the_newest_come_first_even_within_a_second(store: Store) -> None:
    first = make_run(run="20261122T112000Z-ffffff")
    second = make_run(run="20261122T112000Z-000000", began=BEGAN + timedelta(milliseconds=400))
    later = make_run(run="20261122T112001Z-888888", began=BEGAN + timedelta(seconds=1))
    for record in (later, first, second):
        store.write(record)
    assert list(store.newest()) == [later, second, first]


def test_no_folder_is_no_records(store: Store) -> None:
    assert list(store.newest()) == []
    assert store.find("x") is None


@pytest.mark.parametrize(
    ("word", "found"),
    [
        (RUN, RUN),
        ("20261122T112000", RUN),
        ("ab", RUN),
        ("ab12cd", RUN),
        ("cd", None),
        ("20261123", "20261123T000000Z-99ffee"),
    ],
)
def test_an_id_may_be_abbreviated(store: Store, word: str, found: str | None) -> None:
    store.write(make_run())
    store.write(make_run(run="20261123T000000Z-99ffee"))
    record = store.find(word)
    assert (record and record.run) == found


def test_an_id_that_means_several_runs_is_refused_with_their_names(store: Store) -> None:
    other = replace(make_run(), run="20261122T112000Z-ab99")
    store.write(make_run())
    store.write(other)
    with pytest.raises(LoadError) as error:
        store.find("ab")
    assert str(error.value) == f"several runs begin with 'ab' ({other.run}, {RUN})"


def test_a_damaged_record_is_named(store: Store) -> None:
    store.write(make_run())
    file = store.folder / f"{RUN}.json"
    file.write_text('{"version": 7}')
    with pytest.raises(LoadError) as error:
        list(store.newest())
    assert str(file) in str(error.value)
    assert "version is 7" in str(error.value)


def test_a_damaged_record_is_passed_over_if_somebody_is_told(store: Store) -> None:
    store.write(make_run())
    for number, text in enumerate(("", "[" * 100_000, '{"version": 1, "run": "x"}')):
        (store.folder / f"2026112{number}T112000Z-000000.json").write_text(text)
    told: list[LoadError] = []
    assert list(store.newest(told.append)) == [make_run()]
    assert [str(error).startswith("cannot read the record ") for error in told] == [True] * 3
