"""What a host has not read yet is limited, whatever its server tells of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from deployer.remote import ssh

if TYPE_CHECKING:
    from collections.abc import Callable

    import paramiko
    import pytest

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

    def sendall(self, data: memoryview) -> None:
        with self.out_buffer_cv:
            self.sent += len(data)
            self.out_window_size -= len(data)
            self.most_unread = max(self.most_unread, WINDOW - self.out_window_size)

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
