"""All uploads of a run together go no faster than --bwlimit."""

from __future__ import annotations

from deployer.stage.bandwidth import Bandwidth
from tests.memory import Time


def test_without_a_limit_nothing_waits() -> None:
    time = Time()
    content = b"x" * 200_000 + b"y"
    assert b"".join(Bandwidth(0, time.clock).pace(content)) == content
    assert list(Bandwidth(0, time.clock).pace(b"")) == []
    assert time.slept == []


def test_the_bytes_are_the_same_and_take_their_time() -> None:
    time = Time()
    content = bytes(range(256)) * 1000 + b"end"
    pieces = []
    for piece in Bandwidth(100_000, time.clock).pace(content):
        pieces.append(bytes(piece))
        sent = sum(map(len, pieces))
        assert sent <= 100_000 * time.now + len(pieces[-1]) + 1, "ahead of the limit by more than a piece"
    assert b"".join(pieces) == content
    assert time.now >= (len(content) - 65_408) / 100_000


def test_hosts_share_it_and_none_is_left_behind() -> None:
    time = Time()
    bandwidth = Bandwidth(1_000_000, time.clock)
    uploads = [bandwidth.pace(bytes(1_000_000)) for _ in range(4)]
    sent = [0] * 4
    while any(pieces := [next(upload, None) for upload in uploads]):
        sent = [before + len(piece or b"") for before, piece in zip(sent, pieces, strict=True)]
        assert max(sent) - min(sent) == 0
        assert sum(sent) <= 1_000_000 * time.now + 65_408 + 1
    assert sent == [1_000_000] * 4
    assert 3.9 <= time.now <= 4.0


def test_time_in_which_nothing_was_sent_is_not_made_up_for() -> None:
    time = Time()
    bandwidth = Bandwidth(100_000, time.clock)
    time.now = 1000
    list(bandwidth.pace(bytes(200_000)))
    assert time.now >= 1000 + (200_000 - 65_408) / 100_000
