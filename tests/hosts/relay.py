"""A line to a host that can be slow, cut and repaired, and that counts what it carries: a TCP relay."""

from __future__ import annotations

import errno
import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

PIECE = 256 * 1024
RESET = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: close sends RST
CALLS = 3  # tcp(7), TCP_SYNCNT: a server that is silent is given up after 15 s
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
STALLS = (0.2, 0.2, 0.4, 0.8, 1.6, 3.0)
"""Seconds for which a lossy line stands still: TCP sends a lost packet again after 0.2 s, 0.4 s, 0.8 s ..."""
LONGEST_FLOW = 2.0
"""Seconds for which it then carries everything, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a relay has carried.

    `turns` is the length of the longest chain of questions and answers, each sent after the one before it
    had arrived: how many round trips the client waited for, one after the other, whatever went on beside
    them.  In detail: what the client sends is one turn later than all that it has been given so far, and what
    the server sends is of the same turn as the latest that it has been given (the connection itself is of
    the first turn, for a server may speak first).  The last turn of which anything was given to the client
    is the count; so a farewell that nobody waits for costs nothing.  Connections in a row add up.

    A TCP handshake is a round trip of its own, so `connections` in a row and `turns` together take
    (connections + turns) * 2 * delay seconds at least.  The other way round, two things look like waiting
    that are not, if they take longer than a round trip and something else goes back and forth meanwhile:
    a stream, and the server's work.  Choose a delay that is long for what is counted.
    """

    connections: int
    bytes_up: int  # client to server
    bytes_down: int
    turns: int

    def __sub__(self, before: Counts) -> Counts:
        """What was carried since `before`."""
        return Counts(
            connections=self.connections - before.connections,
            bytes_up=self.bytes_up - before.bytes_up,
            bytes_down=self.bytes_down - before.bytes_down,
            turns=self.turns - before.turns,
        )


@dataclass(slots=True)
class _Party:
    """The client or the server, whatever the number of its connections."""

    received: int = 0  # bytes
    turn: int = 0  # the latest of what it was given


class _Piece(NamedTuple):
    """Something on its way: bytes, none at the end of the stream, or (None) the call that opens it."""

    due: float
    turn: int
    content: memoryview | None


class _End:
    """One socket of a connection, and what is on its way to it."""

    other: _End

    def __init__(self, own: socket.socket, party: _Party, *, connected: bool) -> None:
        own.setblocking(False)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = own
        self.party = party
        self.connected = connected
        self.coming: deque[_Piece] = deque()
        self.blocked = False  # something is due that it does not take
        self.silent = False  # it has said its last
        self.finished = False  # it gets nothing any more
        self.watched = 0
        self.still_until = 0.0  # of a lossy line: nothing is handed over before that
        self.goes_until = 0.0  # and after this it stalls again

    def finish(self) -> None:
        self.coming.clear()
        self.blocked, self.finished = False, True


class Relay:
    """Listens on a port of its own and passes everything on to `address`, until `close`.

    Up is from who calls it to `address`, down the other way.

    `delay` is half the round trip, in seconds: it is added in each direction, and slows nothing else down,
    for any number of bytes is in flight at a time.  A caller is connected at once, for the kernel answers it;
    what it sends reaches the server as late as if it had waited for the handshake: three delays after the
    call.
    """

    def __init__(self, address: tuple[str, int], *, delay: float = 0.0) -> None:
        self._delay = delay
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        self._family: socket.AddressFamily = found[0]
        self._address: Any = found[4]
        self._client, self._server = _Party(), _Party()
        self._connections = 0
        self._ends: list[_End] = []
        self._up = self._down = True
        self._chance: random.Random | None = None  # while the line is lossy
        self._closed = False
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        self._selector.register(self._listener, READ)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name=f"relay {self.port}", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """Up to now."""
        with self._lock:
            return Counts(
                connections=self._connections,
                bytes_up=self._server.received,
                bytes_down=self._client.received,
                turns=self._client.turn,
            )

    def cut(self, *, up: bool = True, down: bool = True) -> None:
        """From now on nothing passes in these directions, nobody is told, and new callers hear nothing.

        A new connection needs both: the handshake goes back and forth.
        """
        with self._lock:
            self._up = self._up and not up
            self._down = self._down and not down
            self._watch()

    def lose(self, *, seed: int = 1) -> None:
        """From now on each direction of each connection stands still by chance, again and again.

        That is what lost packets do to TCP: nothing is missing and nothing changes places, but it comes late.
        """
        with self._lock:
            self._chance = random.Random(seed)  # noqa: S311  to be repeated, not to be secret

    def repair(self) -> None:
        """All passes again; connections that were cut are reset, as a router does that forgot them."""
        with self._lock:
            if not (self._up and self._down):
                self._reset_all()
            self._up = self._down = True
            self._chance = None

    def close(self) -> None:
        """End all of it."""
        with self._lock:
            self._reset_all()
            self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the selector
        self._thread.join()
        self._reset_all()  # whoever called in between
        self._listener.close()
        self._selector.close()

    def _passes(self, end: _End) -> bool:
        """Whether anything gets to this end."""
        if not end.connected:
            return self._up and self._down
        return self._up if end.party is self._server else self._down

    def _stands_still(self, end: _End, now: float) -> bool:
        """Whether a lost packet holds up all that is on its way to this end."""
        if self._chance is None:
            return False
        if now >= end.goes_until:
            end.still_until = now + self._chance.choice(STALLS)
            end.goes_until = end.still_until + self._chance.uniform(0, LONGEST_FLOW)
        return now < end.still_until

    # -- the loop --

    def _run(self) -> None:
        pause: float | None = None
        while True:
            ready = self._selector.select(pause)
            with self._lock:
                if self._closed:
                    return
                now = time.monotonic()
                # All that was sent so far is taken in before anything is given out: what was sent without
                # waiting must not look like an answer.
                for key, events in ready:
                    self._attend(key.data, events, now)
                for end in list(self._ends):
                    if self._passes(end) and not (end.coming and self._stands_still(end, now)):
                        self._deliver(end, now)
                self._watch()
                pause = self._pause(now)

    def _attend(self, end: _End | None, events: int, now: float) -> None:
        if end is None:
            self._accept(now)
            return
        events &= end.watched  # it may have been cut, or forgotten, since
        if events & READ:
            self._read(end, now)
        if events & WRITE:
            end.blocked = False

    def _accept(self, now: float) -> None:
        try:
            caller, _ = self._listener.accept()
        except OSError:  # it went away again
            return
        self._connections += 1
        near = _End(caller, self._client, connected=True)
        far = _End(socket.socket(self._family, socket.SOCK_STREAM), self._server, connected=False)
        far.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, CALLS)
        near.other, far.other = far, near
        # The server hears of a connection with the third packet of the handshake.
        far.coming.append(_Piece(now + 3 * self._delay, self._client.turn + 1, None))
        self._ends += [near, far]

    def _read(self, end: _End, now: float) -> None:
        try:
            content = end.socket.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            content = b""
            end.finish()
        end.silent = not content
        turn = end.party.turn + (1 if end.party is self._client else 0)
        if not end.other.finished:
            end.other.coming.append(_Piece(now + self._delay, turn, memoryview(content)))

    def _deliver(self, end: _End, now: float) -> None:
        """Hand over what is due, as far as it is taken."""
        try:
            while end.coming and end.coming[0].due <= now and not end.blocked:
                self._hand_over(end, end.coming.popleft())
        except OSError:
            if not end.connected:
                self._forget(end, reset=True)
                return
            end.finish()  # what it has said before is still passed on
        if end.finished and end.other.finished:
            self._forget(end)

    def _hand_over(self, end: _End, piece: _Piece) -> None:
        left = None
        if piece.content is None:
            failure = end.socket.connect_ex(self._address)
            if failure in {errno.EINPROGRESS, errno.EALREADY}:
                left = piece
            elif failure:
                raise OSError(failure, "the server does not answer")
            end.connected = left is None
        elif piece.content:
            try:
                sent = end.socket.send(piece.content)
            except BlockingIOError:
                sent = 0
            end.party.received += sent
            if sent < len(piece.content):
                left = piece._replace(content=piece.content[sent:])
        else:
            end.finish()
            end.socket.shutdown(socket.SHUT_WR)
        if left:
            end.coming.appendleft(left)
            end.blocked = True
        if left is not piece and not end.silent:
            end.party.turn = max(end.party.turn, piece.turn)

    def _pause(self, now: float) -> float | None:
        """Seconds until something is due; None: until something happens."""
        due = [
            max(end.coming[0].due, end.still_until if self._chance else 0.0)
            for end in self._ends
            if end.coming and not end.blocked and self._passes(end)
        ]
        return max(min(due) - now, 0) if due else None

    # -- sockets --

    def _watch(self) -> None:
        """Have the selector look at what matters now: nobody is read whose words are not taken."""
        for end in self._ends:
            wanted = 0
            if self._passes(end.other) and end.connected and not end.silent and not end.other.blocked:
                wanted |= READ
            if self._passes(end) and end.blocked:
                wanted |= WRITE
            if wanted == end.watched:
                continue
            if end.watched:
                self._selector.unregister(end.socket)
            if wanted:
                self._selector.register(end.socket, wanted, end)
            end.watched = wanted

    def _reset_all(self) -> None:
        for end in list(self._ends):
            self._forget(end, reset=True)

    def _forget(self, end: _End, *, reset: bool = False) -> None:
        """Close the connection of which this is an end."""
        if end not in self._ends:
            return
        for each in (end, end.other):
            self._ends.remove(each)
            if each.watched:
                self._selector.unregister(each.socket)
                each.watched = 0
            if reset:
                with suppress(OSError):
                    each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            each.socket.close()
