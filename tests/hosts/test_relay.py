"""The line other tests rely on: nothing is lost on it, its delay is no bottleneck, and it counts right."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.hosts.relay import PIECE, Counts, Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


DELAY = 0.05  # seconds in each direction: longer than any answer here takes


def echo(connection: socket.socket) -> None:
    while piece := connection.recv(65536):
        connection.sendall(piece)


@contextmanager
def line_to(talk: Callable[[socket.socket], None], *, delay: float = 0.0) -> Iterator[Relay]:
    """A relay to a server that has `talk` with each of its callers."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            talk(connection)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    relay = Relay(server.getsockname(), delay=delay)
    try:
        yield relay
    finally:
        relay.close()
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A line to a server that says back what it hears."""
    with line_to(echo) as line:
        yield line


@pytest.fixture
def slow() -> Iterator[Relay]:
    """The same, far away."""
    with line_to(echo, delay=DELAY) as line:
        yield line


def call(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=5)


def say(line: socket.socket, words: bytes) -> None:
    """Say it, and that it is all."""
    line.sendall(words)
    line.shutdown(socket.SHUT_WR)


def hear(line: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer if that is all there is."""
    heard = bytearray()
    while len(heard) < size and (piece := line.recv(65536)):
        heard += piece
    return bytes(heard)


def ask(line: socket.socket, words: bytes) -> None:
    """One question, and its whole answer."""
    line.sendall(words)
    assert hear(line, len(words)) == words


@pytest.mark.parametrize("delay", [0.0, DELAY])
def test_everything_passes_both_ways_and_so_does_the_end(delay: float) -> None:
    chance = random.Random(1)  # noqa: S311  nobody's secret
    pieces = [chance.randbytes(chance.choice([1, 7, 1500, 40_000, 300_000])) for _ in range(100)]

    def send(line: socket.socket) -> None:
        for piece in pieces:
            line.sendall(piece)
        line.shutdown(socket.SHUT_WR)

    with line_to(echo, delay=delay) as relay, call(relay) as line:
        threading.Thread(target=send, args=(line,)).start()
        heard = hear(line, 1 << 40)
        counts = relay.counts
    sent = b"".join(pieces)
    assert heard == sent
    assert (counts.connections, counts.bytes_up, counts.bytes_down) == (1, len(sent), len(sent))


def test_a_reader_that_takes_its_time_loses_nothing(slow: Relay) -> None:
    sent = os.urandom(32 << 20)  # more than the kernel's buffers hold
    with call(slow) as line:
        threading.Thread(target=say, args=(line, sent)).start()
        time.sleep(4 * DELAY)
        assert hear(line, 1 << 40) == sent


def test_one_side_may_go_on_after_the_other_has_said_all() -> None:
    def sum_up(connection: socket.socket) -> None:
        connection.sendall(b"%d bytes" % len(hear(connection, 1 << 40)))

    with line_to(sum_up) as relay, call(relay) as line:
        say(line, b"x" * 1000)
        assert hear(line, 100) == b"1000 bytes"


def test_the_last_words_of_a_server_arrive_though_it_hears_nothing_any_more() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1)  # and leaves the rest unread, so that its end is a reset
        connection.sendall(b"no")

    with line_to(refuse, delay=DELAY) as relay, call(relay) as line:
        line.sendall(b"please")
        time.sleep(2.5 * DELAY)  # this will find the server gone, and its answer on the way
        line.sendall(b"please")
        assert hear(line, 2) == b"no"


def test_a_server_that_is_not_there_resets_the_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    relay = Relay(address)
    with pytest.raises(ConnectionResetError), call(relay) as line:  # it may come with the call or after it
        line.recv(16)
    relay.close()


def test_an_answer_takes_the_handshake_and_a_round_trip(slow: Relay) -> None:
    began = time.monotonic()
    with call(slow) as line:
        ask(line, b"one")
        assert time.monotonic() - began >= 4 * DELAY
        again = time.monotonic()
        ask(line, b"two")
        assert time.monotonic() - again >= 2 * DELAY


def test_a_server_that_speaks_first_is_heard_two_round_trips_after_the_call() -> None:
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"hello")

    began = time.monotonic()
    with line_to(greet, delay=DELAY) as relay, call(relay) as line:
        assert hear(line, 5) == b"hello"
        assert time.monotonic() - began >= 4 * DELAY
        assert relay.counts.turns == 1


def test_any_number_of_pieces_is_under_way_at_a_time() -> None:
    """Counted, not timed: with one at a time, the client would wait for each."""
    pieces = 64
    sent = os.urandom(pieces * PIECE)
    with line_to(echo, delay=4 * DELAY) as relay, call(relay) as line:
        threading.Thread(target=say, args=(line, sent)).start()
        assert hear(line, 1 << 40) == sent
        assert relay.counts.turns < pieces / 4


def test_a_question_and_its_answer_are_one_turn_whatever_their_pieces(slow: Relay) -> None:
    with call(slow) as line:
        for number in range(1, 6):
            ask(line, b"x" * 10_000)
            assert slow.counts.turns == number


def test_questions_that_do_not_wait_for_each_other_share_a_turn(slow: Relay) -> None:
    with call(slow) as line, call(slow) as other:
        line.sendall(b"one")
        other.sendall(b"two")
        line.sendall(b"three")
        assert hear(line, 8) == b"onethree"
        assert hear(other, 3) == b"two"
    assert (slow.counts.connections, slow.counts.turns) == (2, 1)


def test_connections_in_a_row_add_up(slow: Relay) -> None:
    for _ in range(3):
        with call(slow) as line:
            ask(line, b"one")
            ask(line, b"two")
    assert (slow.counts.connections, slow.counts.turns) == (3, 6)


def test_a_farewell_that_nobody_waits_for_is_no_turn(slow: Relay) -> None:
    with call(slow) as line:
        ask(line, b"one")
        line.sendall(b"farewell")
    deadline = time.monotonic() + 10
    while slow.counts.bytes_down < len(b"onefarewell") and time.monotonic() < deadline:
        time.sleep(DELAY / 10)
    assert slow.counts == Counts(connections=1, bytes_up=11, bytes_down=11, turns=1)


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


def test_a_line_that_is_cut_upwards_still_brings_what_the_server_says() -> None:
    def speak(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"tick")
            time.sleep(0.05)

    with line_to(speak) as relay, call(relay) as line:
        assert hear(line, 4) == b"tick"
        before = relay.counts.bytes_up
        relay.cut(down=False)
        line.sendall(b"nobody hears that")
        assert hear(line, 40) == b"tick" * 10
        assert relay.counts.bytes_up == before


def test_a_line_that_is_cut_downwards_still_brings_what_the_client_says(relay: Relay) -> None:
    with call(relay) as line:
        ask(line, b"one")
        relay.cut(up=False)
        line.sendall(b"two")
        line.settimeout(0.5)
        with pytest.raises(TimeoutError):
            line.recv(16)
        assert relay.counts.bytes_up == len(b"onetwo")


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_line_that_is_cut_one_way_takes_no_new_callers(relay: Relay, way: str) -> None:
    relay.cut(up=way == "up", down=way == "down")
    with call(relay) as line:
        line.sendall(b"hello?")
        line.settimeout(0.5)
        with pytest.raises(TimeoutError):
            line.recv(16)
        assert relay.counts.bytes_up == 0


def test_a_lossy_line_is_late_and_loses_nothing_until_it_is_repaired(relay: Relay) -> None:
    relay.lose()
    with call(relay) as line:
        line.settimeout(30)
        began = time.monotonic()
        times = []
        for _ in range(8):
            before = time.monotonic()
            ask(line, b"x" * 10_000)
            times.append(time.monotonic() - before)
            time.sleep(0.2)
        assert max(times) >= 0.2
        assert time.monotonic() - began < 30
        relay.repair()
        before = time.monotonic()
        for _ in range(20):
            ask(line, b"y" * 10_000)
        assert time.monotonic() - before < 1
