"""A server that hangs up while a session is being opened ends the connection, and nothing else."""

from __future__ import annotations

import socket

import paramiko

from deployer.remote import ssh


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
