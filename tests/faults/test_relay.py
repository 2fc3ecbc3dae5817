"""A cut line is silent: nothing arrives, nobody is told, and new callers wait."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A line to a server that says back what it hears."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            while piece := connection.recv(65536):
                connection.sendall(piece)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    line = Relay(server.getsockname())
    yield line
    line.close()
    server.close()


def call(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=5)


def say(line: socket.socket, words: bytes) -> None:
    """Say it, and that it is all."""
    line.sendall(words)
    line.shutdown(socket.SHUT_WR)


def test_everything_passes_and_so_does_the_end(relay: Relay) -> None:
    sent = bytes(range(256)) * 8192
    with call(relay) as line:
        threading.Thread(target=say, args=(line, sent)).start()
        heard = b""
        while piece := line.recv(65536):
            heard += piece
    assert heard == sent


def test_a_cut_line_is_silent_and_stays_open(relay: Relay) -> None:
    with call(relay) as line:
        line.sendall(b"one")
        assert line.recv(16) == b"one"
        relay.cut()
        line.sendall(b"two")  # taken, as by a network that loses it on the way
        line.settimeout(0.5)
        with pytest.raises(TimeoutError):
            line.recv(16)


def test_new_callers_of_a_cut_line_hear_nothing_until_it_is_repaired(relay: Relay) -> None:
    relay.cut()
    with call(relay) as line:
        line.sendall(b"hello?")
        line.settimeout(0.5)
        with pytest.raises(TimeoutError):
            line.recv(16)
    relay.repair()
    with call(relay) as line:
        line.sendall(b"hello")
        assert line.recv(16) == b"hello"


def test_the_repair_resets_what_was_cut_and_delivers_nothing_late(relay: Relay) -> None:
    with call(relay) as line:
        line.sendall(b"one")
        assert line.recv(16) == b"one"
        relay.cut()
        line.sendall(b"two")
        relay.repair()
        with pytest.raises(ConnectionResetError):
            line.recv(16)
