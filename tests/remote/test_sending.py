"""What a host has not read yet is limited, whatever its server tells of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, cast

import paramiko
import pytest

from deployer.errors import HostError
from deployer.remote import ssh
from deployer.remote.script import HELLO
from tests.remote.sshd import Sshd, connected, listening

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

WINDOW = 2 * 1024 * 1024
SLICE = 32 * 1024


class Line:
    """The sender's end of a channel: `out_window_size` is what it may still send, as paramiko counts it."""

    def __init__(self, *, tells: bool = True) -> None:
        self.out_buffer_cv = threading.Condition()
        self.out_window_size = WINDOW
        self.closed = False
        self.sent = 0
        self.most_unread = 0
        self._tells = tells

    def send(self, data: memoryview) -> int:
        size = min(len(data), SLICE)
        with self.out_buffer_cv:
            self.sent += size
            self.out_window_size -= size
            self.most_unread = max(self.most_unread, WINDOW - self.out_window_size)
        return size

    def read(self) -> None:
        """Let the host read what it has, and its server tell of that."""
        with self.out_buffer_cv:
            if self._tells:
                self.out_window_size = WINDOW
            self.out_buffer_cv.notify_all()

    def close(self) -> None:
        with self.out_buffer_cv:
            self.closed = True
            self.out_buffer_cv.notify_all()


def send(line: Line, size: int, *, unread: int) -> threading.Thread:
    def work() -> None:
        ssh._send(cast("paramiko.Channel", line), [memoryview(bytes(size))], unread=lambda: unread)

    sender = threading.Thread(target=work, daemon=True)
    sender.start()
    return sender


def test_no_more_is_sent_than_may_be_unread_until_the_host_has_read_it() -> None:
    line = Line()
    sender = send(line, 1024 * 1024, unread=256 * 1024)
    while sender.is_alive():
        line.read()
        sender.join(0.001)
    assert line.sent == 1024 * 1024
    assert line.most_unread <= 256 * 1024 + SLICE


def test_over_a_long_way_the_whole_window_is_used() -> None:
    line = Line()
    sender = send(line, WINDOW, unread=100 * WINDOW)
    sender.join(10)
    assert line.sent == WINDOW


def test_a_server_that_never_tells_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_TELLS", 0.05)
    waits = 0
    line = Line(tells=False)
    wait_for = line.out_buffer_cv.wait_for

    def counted(predicate: Callable[[], bool], timeout: float) -> bool:
        nonlocal waits
        done = wait_for(predicate, timeout)
        waits += not done
        return done

    monkeypatch.setattr(line.out_buffer_cv, "wait_for", counted)
    sender = send(line, 1024 * 1024, unread=256 * 1024)
    sender.join(10)
    assert (line.sent, waits) == (1024 * 1024, 1)


def test_a_channel_that_its_host_closed_is_not_waited_for() -> None:
    line = Line(tells=False)
    sender = send(line, 1024 * 1024, unread=256 * 1024)
    line.close()
    sender.join(ssh._TELLS / 2)
    assert not sender.is_alive()


class Trickle(Line):
    """Takes a few bytes now and then."""

    def send(self, data: memoryview) -> int:
        time.sleep(0.01)
        return super().send(data[:10])


def trickled(*, limit: ssh._Limit | None = None) -> HostError:
    line = cast("paramiko.Channel", Trickle())
    began = time.monotonic()
    with pytest.raises(HostError) as caught:
        ssh._send(line, [bytes(1024 * 1024)], unread=lambda: WINDOW, limit=limit)
    assert time.monotonic() - began < 5
    return caught.value


def test_a_script_that_is_taken_byte_by_byte_is_over_when_its_time_is() -> None:
    assert trickled(limit=ssh._Limit(0.3)).cause == "timed_out"


def test_data_that_is_taken_byte_by_byte_is_not_sent_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_PACE", 0.3)
    assert trickled().cause == "timed_out"


def test_a_slow_line_and_a_slow_source_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_PACE", 0.1)
    monkeypatch.setattr(ssh, "_SLOWEST", 500)

    def source() -> Iterator[bytes]:
        for _ in range(5):
            time.sleep(0.1)
            yield bytes(100)

    line = Trickle()
    ssh._send(cast("paramiko.Channel", line), source(), unread=lambda: WINDOW)
    assert line.sent == 500


# -- a server ------------------------------------------------------------------------------------------------


class Trickling(Sshd):
    """Has a window of a few bytes, and opens it a little, again and again."""

    def __init__(self) -> None:
        super().__init__(self._trickle)

    def made(self, line: socket.socket) -> paramiko.Transport:
        return paramiko.Transport(line, default_window_size=4096)

    def _trickle(self, channel: paramiko.Channel) -> None:
        channel.sendall(f"{HELLO}\n".encode())
        while channel.recv(64):
            time.sleep(0.05)


class Mute(Sshd):
    """Never answers whether it runs a command."""

    def check_channel_exec_request(self, _channel: paramiko.Channel, _command: bytes) -> bool:
        time.sleep(60)
        return True


def test_the_time_of_a_run_begins_before_its_script_is_sent(tmp_path: Path) -> None:
    with listening(tmp_path, Trickling().serve) as server, connected(server.target()) as remote:
        began = time.monotonic()
        with pytest.raises(HostError) as caught:
            remote.run("# " + "x" * 200_000, timeout=2, longest=1)
        assert caught.value.cause == "timed_out"
        assert time.monotonic() - began < 6


def test_whether_a_command_runs_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "_SILENCE", 1)
    with listening(tmp_path, Mute().serve) as server, connected(server.target()) as remote:
        with pytest.raises(HostError) as caught:
            remote.run("true", timeout=2)
        assert caught.value.cause == "timed_out"
