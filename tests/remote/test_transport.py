"""A server that hangs up or floods while a session is being opened ends the connection, and nothing else."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_DATA, cMSG_CHANNEL_EXTENDED_DATA

from deployer.remote import ssh
from tests.remote.sshd import Sshd, connected, listening

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 32 * 1024


def test_a_channel_can_be_closed_from_the_moment_it_is_known() -> None:
    # When the line ends, the transport's thread unlinks all that it knows, which may not be set up yet.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = ssh._EagerTransport(ours, session=False)
        channel = paramiko.Channel(1)
        transport._channels.put(1, channel)
        assert list(transport._channels.values()) == [channel]
        channel._unlink()  # type: ignore[attr-defined]
        assert channel.closed


class Flooding(Sshd):
    """Says more than it has leave to, on a session that nobody reads, when it is told to."""

    def __init__(self, *, errors: bool) -> None:
        super().__init__()
        self._errors = errors
        self.go = threading.Event()
        self.sent = 0
        self.ended = threading.Event()

    def serve(self, line: socket.socket) -> None:
        threading.Thread(target=self._flood, daemon=True).start()
        super().serve(line)

    def _flood(self) -> None:
        self.go.wait(10)
        channel = self.transport.accept(10)
        assert channel
        while self.transport.is_active() and self.sent < 40 << 20:
            said = paramiko.Message()
            said.add_byte(cMSG_CHANNEL_EXTENDED_DATA if self._errors else cMSG_CHANNEL_DATA)
            said.add_int(channel.remote_chanid)
            if self._errors:
                said.add_int(1)
            said.add_string(bytes(PIECE))
            try:
                self.transport._send_user_message(said)  # type: ignore[attr-defined]
            except (EOFError, OSError):
                break
            self.sent += PIECE
        self.ended.set()


@pytest.mark.parametrize("errors", [False, True])
def test_a_server_that_says_more_than_it_may_is_not_listened_to(tmp_path: Path, *, errors: bool) -> None:
    sshd = Flooding(errors=errors)
    with listening(tmp_path, sshd.serve) as server, connected(server.target()) as remote:
        sshd.go.set()
        assert sshd.ended.wait(30)
        assert sshd.sent < 16 << 20  # what the sockets between the two hold included
        transport = remote._transport  # type: ignore[attr-defined]
        transport.join(5)
        assert isinstance(transport.ended, ssh._BadAnswerError)
