"""Whatever a server says or a name is, what leaves the SSH edge is one host's failure, with its reason."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_OPEN_FAILURE, cMSG_DISCONNECT, cMSG_KEXINIT
from paramiko.packet import Packetizer

from deployer.errors import HostError, LoadError, UnreachableError
from deployer.remote.ssh import Connector
from deployer.target import Target
from tests.remote.sshd import Sshd, connect, connected, listening

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

LATIN = b"f\xfcr heute geschlossen"


def message(kind: bytes, *parts: bytes | int) -> paramiko.Message:
    made = paramiko.Message()
    made.add_byte(kind)
    for part in parts:
        if isinstance(part, int):
            made.add_int(part)
        else:
            made.add_string(part)
    return made


def says_before_its_keys(kind: bytes, *parts: bytes | int) -> Callable[[socket.socket], None]:
    def serve(line: socket.socket) -> None:
        line.sendall(b"SSH-2.0-odd\r\n")
        packets = Packetizer(line)
        packets.send_message(message(kind, *parts))
        line.recv(1 << 20)
        line.recv(1 << 20)

    return serve


class Refusing(Sshd):
    """Refuses channels, in words that are no UTF-8; `sessions` it gives before that."""

    def __init__(self, sessions: int = 0) -> None:
        super().__init__()
        self._sessions = sessions

    def check_channel_request(self, _kind: str, number: int) -> int:
        self._sessions -= 1
        if self._sessions < 0:
            said = message(cMSG_CHANNEL_OPEN_FAILURE, number, 1, LATIN, b"")
            self.transport._send_message(said)  # type: ignore[attr-defined]
        return super().check_channel_request(_kind, number)

    def check_channel_direct_tcpip_request(self, number: int, *_places: tuple[str, int]) -> int:
        return self.check_channel_request("direct-tcpip", number)


class Dismissing(Sshd):
    """Hangs up on every login, in words that are no UTF-8."""

    def check_auth_publickey(self, _username: str, _key: paramiko.PKey) -> int:
        self.transport._send_message(message(cMSG_DISCONNECT, 2, LATIN, b""))  # type: ignore[attr-defined]
        return super().check_auth_publickey(_username, _key)


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(says_before_its_keys(cMSG_DISCONNECT, 2, LATIN, b""), id="disconnect"),
        pytest.param(says_before_its_keys(cMSG_KEXINIT + bytes(16), b"\xff"), id="names"),
        pytest.param(Dismissing().serve, id="at the login"),
    ],
)
def test_what_a_server_says_that_cannot_be_read_is_its_own_bad_answer(
    tmp_path: Path, serve: Callable[[socket.socket], None]
) -> None:
    with listening(tmp_path, serve) as server, pytest.raises(UnreachableError) as caught:
        connect(server.target())
    assert caught.value.cause == "bad_answer"
    assert f"127.0.0.1 port {server.port}" in caught.value.message


def test_it_is_told_also_where_python_can_make_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recursion(*_args: object, **_more: object) -> list[str]:
        raise SystemError("AST constructor recursion depth mismatch")

    serve = says_before_its_keys(cMSG_DISCONNECT, 2, LATIN, b"")
    with listening(tmp_path, serve) as server, monkeypatch.context() as patched:
        patched.setattr(traceback, "format_exception", recursion)
        try:
            connect(server.target())
        except UnreachableError as error:
            cause = error.cause
    assert cause == "bad_answer"


def test_of_a_session_as_well(tmp_path: Path) -> None:
    # It is asked for with the login, so the answer may come before that of the login is looked at.
    with listening(tmp_path, Refusing().serve) as server, pytest.raises(HostError) as caught:
        connect(server.target()).run("true", timeout=5)
    assert caught.value.cause == "bad_answer"


def test_of_a_forwarded_connection_as_well(tmp_path: Path) -> None:
    with listening(tmp_path, Refusing(1).serve) as server, connected(server.target()) as remote:
        with pytest.raises(HostError) as caught:
            remote.connect_tcp("127.0.0.1", 80, timeout=5)
        assert caught.value.cause == "bad_answer"


@pytest.mark.parametrize("fields", [{"address": "web..example.com"}, {"proxy_command": "nc 'x"}])
def test_a_name_or_a_command_that_cannot_be_is_its_hosts_failure(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    with listening(tmp_path, Sshd().serve) as server, pytest.raises(UnreachableError) as caught:
        connect(replace(server.target(), **fields))
    assert caught.value.cause == "connect_failed"
    assert fields.get("address", "127.0.0.1") in caught.value.message


def test_a_port_in_the_ssh_config_that_is_none_is_a_mistake_in_that_file(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host web1\n  Port http\n")
    with pytest.raises(LoadError) as caught:
        Connector(ask_passphrase=lambda _path: None).prepare([Target(address="web1", ssh_config=config)])
    assert "web1" in str(caught.value)
