"""What is sent is made once, gives the binary again, and is what it was when the playbook was read."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from deployer.errors import HostError
from deployer.load.binary import read_binary
from deployer.plan.plan import Encoding
from deployer.stage import encode
from deployer.stage.cache import Cache
from deployer.stage.encode import Payloads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deployer.desired import Binary

SCRIPT = b"#!/bin/sh\n" + b"echo it runs\n" * 1000
ZSTD, GZIP, PLAIN = Encoding(kind="zstd"), Encoding(kind="gzip"), Encoding(kind="plain")


def make_binary(folder: Path, content: bytes, name: str = "app") -> Binary:
    (folder / name).write_bytes(content)
    return read_binary(folder / name)


def patch(reference: Binary) -> Encoding:
    return Encoding(kind="patch", release="r1", reference=reference.sha256)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache({"XDG_CACHE_HOME": str(tmp_path / "cache")}, note=pytest.fail)


def unpack(payload: bytes | None, *options: str) -> bytes:
    """What a host makes of it."""
    assert payload is not None
    return subprocess.run(
        ["zstd", "-dcq", *options], input=payload, stdout=subprocess.PIPE, check=True
    ).stdout


def test_what_is_sent_unpacks_to_the_binary(tmp_path: Path, cache: Cache) -> None:
    payloads, binary = Payloads(cache), make_binary(tmp_path, SCRIPT)
    assert payloads.get(binary, PLAIN) == SCRIPT
    assert gzip.decompress(payloads.get(binary, GZIP) or b"") == SCRIPT
    assert unpack(payloads.get(binary, ZSTD)) == SCRIPT
    assert payloads.get(binary, Encoding(kind="link", release="r1")) == b""


def test_a_patch_is_small_and_gives_the_new_binary_from_the_old_one(tmp_path: Path, cache: Cache) -> None:
    noise = os.urandom(10_000_000)  # larger than any window that zstd uses by itself
    old = make_binary(tmp_path, b"#!/bin/sh\n" + noise, "old")
    new = make_binary(tmp_path, b"#!/bin/sh\n" + noise[5_000_000:] + b"new" + noise[:5_000_000], "new")
    Payloads(cache).get(old, ZSTD)
    payload = Payloads(cache).get(new, patch(old))
    assert payload is not None
    assert len(payload) < 20_000
    assert unpack(payload, f"--patch-from={old.path}") == new.path.read_bytes()


def test_it_is_made_once_for_all_hosts_and_all_runs(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    compress, make_patch = encode._compress, encode._patch

    def counted(content: bytes, kind: str) -> bytes:
        made.append(kind)
        return compress(content, kind)

    def counted_patch(old: bytes, new: bytes) -> bytes:
        made.append("patch")
        return make_patch(old, new)

    monkeypatch.setattr(encode, "_compress", counted)
    monkeypatch.setattr(encode, "_patch", counted_patch)
    old, new = make_binary(tmp_path, SCRIPT, "old"), make_binary(tmp_path, SCRIPT + b"exit\n", "new")
    Payloads(cache).get(old, ZSTD)
    assert made == ["zstd"]
    for _ in range(2):
        payloads = Payloads(cache)
        wanted = [patch(old), ZSTD, GZIP] * 40
        with ThreadPoolExecutor(max_workers=40) as pool:
            got = list(pool.map(lambda encoding, of=payloads: of.get(new, encoding), wanted))
        assert len({id(payload) for payload in got}) == 3
    assert sorted(made) == ["gzip", "patch", "patch", "zstd", "zstd"]  # patches are for one run
    assert Payloads(cache).references() == {old.sha256, new.sha256}


def test_hosts_that_need_something_else_do_not_wait(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress, began, goes_on = encode._compress, threading.Event(), threading.Event()

    def slow(content: bytes, kind: str) -> bytes:
        if kind == "gzip":
            began.set()
            assert goes_on.wait(30)
        return compress(content, kind)

    monkeypatch.setattr(encode, "_compress", slow)
    payloads, binary = Payloads(cache), make_binary(tmp_path, SCRIPT)
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = pool.submit(payloads.get, binary, GZIP)
        assert began.wait(30)
        assert unpack(payloads.get(binary, ZSTD)) == SCRIPT
        assert not waiting.done()
        goes_on.set()
        assert gzip.decompress(waiting.result() or b"") == SCRIPT


def test_what_is_kept_is_sent_though_the_file_is_not_what_it_was(tmp_path: Path, cache: Cache) -> None:
    """The digest says what is sent, not the path."""
    binary = make_binary(tmp_path, SCRIPT)
    Payloads(cache).get(binary, ZSTD)
    binary.path.write_bytes(SCRIPT + b"# newer\n")
    assert unpack(Payloads(cache).get(binary, ZSTD)) == SCRIPT


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],
        lambda content: content + b"more",
        lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
        lambda _: b"",
        lambda _: b"something else",
    ],
)
@pytest.mark.parametrize("encoding", [ZSTD, GZIP])
def test_what_is_damaged_in_the_cache_is_made_anew(
    tmp_path: Path, cache: Cache, damage: Callable[[bytes], bytes], encoding: Encoding
) -> None:
    content = b"#!/bin/sh\n" + os.urandom(3_000_000)
    binary = make_binary(tmp_path, content)
    Payloads(cache).get(binary, encoding)
    name = f"{binary.sha256}.{encoding.kind}"
    right = cache.read(name)
    assert right
    cache.write(name, damage(right))
    assert Payloads(cache).get(binary, encoding) == right
    assert cache.read(name) == right
    assert (unpack(right) if encoding is ZSTD else gzip.decompress(right)) == content


def test_there_is_no_patch_from_a_reference_that_is_damaged_or_gone(tmp_path: Path, cache: Cache) -> None:
    old, new = make_binary(tmp_path, SCRIPT, "old"), make_binary(tmp_path, SCRIPT + b"exit\n", "new")
    assert Payloads(cache).get(new, patch(old)) is None
    whole = Payloads(cache).get(new, ZSTD)
    assert whole
    cache.write(f"{old.sha256}.zstd", whole)  # another binary
    assert Payloads(cache).get(new, patch(old)) is None
    assert Payloads(cache).references() == {new.sha256}  # nobody tries it again


def test_there_is_no_patch_that_a_host_would_need_a_larger_window_for(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_binary(tmp_path, SCRIPT, "old"), make_binary(tmp_path, SCRIPT + b"exit\n", "new")
    Payloads(cache).get(old, ZSTD)
    monkeypatch.setattr(encode, "_LARGEST", len(SCRIPT))
    assert Payloads(cache).get(new, patch(old)) is None
    monkeypatch.setattr(encode, "_LARGEST", len(SCRIPT) + 5)
    assert Payloads(cache).get(new, patch(old)) is not None


def test_a_binary_built_anew_during_the_run_is_not_sent(tmp_path: Path, cache: Cache) -> None:
    payloads, binary = Payloads(cache), make_binary(tmp_path, SCRIPT)
    binary.path.write_bytes(SCRIPT + b"# newer\n")
    with pytest.raises(HostError, match="was built anew while the run went on"):
        payloads.get(binary, GZIP)


def test_a_binary_that_went_away_is_said_so(tmp_path: Path, cache: Cache) -> None:
    payloads, binary = Payloads(cache), make_binary(tmp_path, SCRIPT)
    binary.path.unlink()
    with pytest.raises(HostError, match=r"cannot read .* any more: No such file"):
        payloads.get(binary, PLAIN)
