"""Servers on loopback that do what no real one does: behind them stands paramiko's own server, or nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paramiko

from deployer.remote.ssh import Connector
from deployer.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deployer.remote.remote import Remote

HOST_KEY = paramiko.ECDSAKey.generate()
LOGIN_KEY = paramiko.ECDSAKey.generate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where one listens, and every file that a client of it needs."""

    port: int
    folder: Path

    def target(self, **fields: Any) -> Target:
        return Target(
            address="127.0.0.1",
            **{
                "port": self.port,
                "user": "deploy",
                "key_file": self.folder / "key",
                "known_hosts": (self.folder / "known_hosts",),
                "ssh_config": self.folder / "config",
                "host_key_checking": "accept-new",
                "connect_timeout": 5.0,
                **fields,
            },
        )


@contextmanager
def listening(folder: Path, serve: Callable[[socket.socket], None], *, port: int = 0) -> Iterator[Server]:
    """A server that gives each connection to `serve`, in a thread of its own; at any port that is free."""
    (folder / "config").touch()
    LOGIN_KEY.write_private_key_file(str(folder / "key"))
    lines: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", port)) as listener:

        def accept() -> None:
            with suppress(OSError):  # it was closed
                while True:
                    lines.append(listener.accept()[0])
                    threads.append(threading.Thread(target=one, args=(lines[-1],), daemon=True))
                    threads[-1].start()

        def one(line: socket.socket) -> None:
            with suppress(OSError, EOFError, paramiko.SSHException):
                serve(line)

        threading.Thread(target=accept, daemon=True).start()
        yield Server(port=listener.getsockname()[1], folder=folder)
        for open_one in (listener, *lines):
            with suppress(OSError):
                open_one.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(1)


def silent(line: socket.socket) -> None:
    """Accept, hear everything, say nothing."""
    while line.recv(1 << 16):
        pass


class Sshd(paramiko.ServerInterface):
    """Lets everybody in, and gives each session that has a command to `talk`."""

    def __init__(self, talk: Callable[[paramiko.Channel], None] | None = None) -> None:
        self._talk = talk
        self.transport: paramiko.Transport

    def serve(self, line: socket.socket) -> None:
        """Serve this connection; what is set up before it stays as it is."""
        self.transport = self.made(line)
        self.transport.add_server_key(HOST_KEY)
        self.transport.start_server(server=self)
        self.transport.join()

    def made(self, line: socket.socket) -> paramiko.Transport:
        return paramiko.Transport(line)

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, _username: str, _key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL  # type: ignore[attr-defined, no-any-return]

    def check_channel_request(self, _kind: str, _number: int) -> int:
        return paramiko.OPEN_SUCCEEDED  # type: ignore[attr-defined, no-any-return]

    def check_channel_exec_request(self, channel: paramiko.Channel, _command: bytes) -> bool:
        if self._talk:
            threading.Thread(target=self._talk, args=(channel,), daemon=True).start()
        return True


def connect(target: Target) -> Remote:
    return Connector(ask_passphrase=lambda _path: None).connect(target)


@contextmanager
def connected(target: Target) -> Iterator[Remote]:
    remote = connect(target)
    try:
        yield remote
    finally:
        remote.close()
