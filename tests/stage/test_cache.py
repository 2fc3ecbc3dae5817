"""What is kept for later uploads is for its owner only, bounded, shared by runs, and in nobody's way."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from deployer.stage.cache import Cache

if TYPE_CHECKING:
    from pathlib import Path


def make_cache(folder: Path, *, limit: int = 10_000, notes: list[str] | None = None) -> Cache:
    def note(text: str) -> None:
        if notes is None:
            pytest.fail(text)
        notes.append(text)

    return Cache({"XDG_CACHE_HOME": str(folder)}, note=note, limit=limit)


def use(cache: Cache, name: str, second: int) -> None:
    """As if it was used at that second."""
    os.utime(cache.folder / name, (second, second))


def test_where_it_is() -> None:
    folder = Cache({"XDG_CACHE_HOME": "/x"}, note=pytest.fail).folder
    assert str(folder) == "/x/deployer/binaries"
    usual = os.path.expanduser("~/.cache/deployer/binaries")  # noqa: PTH111
    assert str(Cache({"XDG_CACHE_HOME": "not/absolute"}, note=pytest.fail).folder) == usual


def test_what_is_kept_is_there_for_another_run(tmp_path: Path) -> None:
    make_cache(tmp_path).write("a", b"one")
    make_cache(tmp_path).write("a", b"two")
    assert make_cache(tmp_path).read("a") == b"two"
    assert make_cache(tmp_path).names() == {"a"}
    make_cache(tmp_path).drop("a")
    assert make_cache(tmp_path).read("a") is None
    make_cache(tmp_path).drop("a")


def test_it_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache = make_cache(tmp_path)
        cache.write("a", b"one")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (cache.folder, cache.folder / "a")]
    assert modes == [0o700, 0o600]


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=300)
    for second, name in enumerate("abc", start=1):
        cache.write(name, bytes(100))
        use(cache, name, second)
    assert cache.read("a") == bytes(100)  # used now
    cache.write("d", bytes(150))
    assert cache.names() == {"a", "d"}


def test_what_a_killed_run_left_half_written_goes_too_and_is_never_read(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=300)
    cache.write("a", bytes(100))
    (cache.folder / ".half").write_bytes(bytes(250))
    use(cache, ".half", 1)
    assert cache.names() == {"a"}
    cache.write("b", bytes(100))
    assert sorted(path.name for path in cache.folder.iterdir()) == ["a", "b"]


def test_without_a_home_or_with_a_full_disk_nothing_is_kept_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    (tmp_path / "file").write_text("in the way")
    blocked = make_cache(tmp_path / "file", notes=notes)
    for _ in range(2):
        blocked.write("a", b"one")
        assert (blocked.read("a"), blocked.names()) == (None, frozenset())
    assert notes == ["binaries are not kept for later uploads (Not a directory)"]

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    homeless = Cache({}, note=notes.append)
    homeless.write("a", b"one")
    homeless.drop("a")
    assert (homeless.read("a"), homeless.names()) == (None, frozenset())
    assert notes[1:] == [
        "binaries are not kept for later uploads (there is no home directory; set XDG_CACHE_HOME)"
    ]


def test_runs_that_write_and_prune_at_once_do_not_hurt_each_other(tmp_path: Path) -> None:
    """Whoever reads finds one of the whole files, or none."""
    contents = [bytes([number]) * 1000 for number in range(8)]
    seen: list[bytes | None] = []

    def work(content: bytes) -> None:
        cache = make_cache(tmp_path, limit=5000, notes=[])  # its own half file may be pruned away
        for turn in range(50):
            cache.write(f"file{turn % 10}", content)
            seen.append(cache.read(f"file{(turn + 5) % 10}"))

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 400
    assert {*seen} <= {None, *contents}
    assert {*seen} & {*contents}
    cache = make_cache(tmp_path)
    assert all(not path.name.startswith(".") for path in cache.folder.iterdir())
