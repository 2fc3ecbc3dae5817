"""A line that can be cut: a TCP relay between the controller and one host."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

PIECE = 65536
RESET = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: close sends RST


class Relay:
    """Listens on a port of its own and passes everything on to `address`, until `close`."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._flows = threading.Event()
        self._flows.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """From now on nothing passes in either direction, nobody is told, and new callers hear nothing."""
        self._flows.clear()

    def repair(self) -> None:
        """New connections pass again; those that were cut are reset, as a router does that forgot them."""
        with self._lock:
            broken, self._open = self._open, set()
        for each in broken:
            _reset(each)
        self._flows.set()

    def close(self) -> None:
        """End all of it."""
        self._listener.close()
        self.repair()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(near)
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._flows.wait()
        try:
            far = socket.create_connection(self._address, timeout=10)
        except OSError:
            _reset(near)
            return
        far.settimeout(None)
        with self._lock:
            # Cut and repaired while the far side was called: this caller was reset with the others.
            known = near in self._open
            if known:
                self._open.add(far)
        if not known:
            _reset(far)
            return
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while True:
                piece = source.recv(PIECE)
                self._flows.wait()  # an end of the stream is not passed on either
                if not piece:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(piece)
        except OSError:
            for each in (source, target):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        # A thread that is in recv() holds the socket open until it wakes.
        connection.shutdown(socket.SHUT_RD)
    connection.close()
