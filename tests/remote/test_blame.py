"""What went wrong on the way to a host is told of the one who did it."""

from __future__ import annotations

import os
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from deployer.errors import UnreachableError
from deployer.remote import ssh
from tests.remote.sshd import Sshd, connect, connected, listening, silent

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import paramiko

    from deployer.target import Target

RELAY = """
import socket, sys, threading
far = socket.create_connection((sys.argv[1], int(sys.argv[2])))
near = socket.socket(fileno=0)
def copy(one, other):
    while piece := one.recv(65536):
        other.sendall(piece)
    other.shutdown(socket.SHUT_WR)
threading.Thread(target=copy, args=(near, far), daemon=True).start()
copy(far, near)
"""


class Stalling(Sshd):
    """Thinks about every login, as one that asks a directory which is away."""

    def check_auth_publickey(self, _username: str, _key: paramiko.PKey) -> int:
        time.sleep(60)
        return super().check_auth_publickey(_username, _key)


def failure(target: Target) -> UnreachableError:
    with pytest.raises(UnreachableError) as caught:
        connect(target)
    return caught.value


def says_who_it_is_and_no_more(line: socket.socket) -> None:
    line.sendall(b"SSH-2.0-odd\r\n")
    silent(line)


@pytest.mark.parametrize("serve", [silent, says_who_it_is_and_no_more])
def test_a_server_that_is_silent_has_timed_out(
    tmp_path: Path, serve: Callable[[socket.socket], None]
) -> None:
    with listening(tmp_path, serve) as server:
        error = failure(server.target(connect_timeout=0.5))
    assert error.cause == "timed_out"
    assert error.message == f"127.0.0.1 port {server.port} did not answer in time"


def test_a_login_that_is_not_answered_has_timed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_LOGIN", 1)
    with listening(tmp_path, Stalling().serve) as server:
        error = failure(server.target())
    assert error.cause == "timed_out"
    assert "login as deploy" in error.message


def test_a_proxy_command_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    command = "sh -c 'echo see you >&2; echo account of %h expired >&2; exit 1'"
    with listening(tmp_path, silent) as server:
        used = time.process_time()
        error = failure(server.target(proxy_command=command))
    assert error.cause == "connect_failed"
    assert error.message.endswith("ended with status 1 and said: account of 127.0.0.1 expired")
    assert f"127.0.0.1 port {server.port}" in error.message
    assert time.process_time() - used < 2


def test_a_proxy_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with listening(tmp_path, silent) as server:
        error = failure(server.target(proxy_command="no-such-cmd %h"))
    assert (error.cause, "no-such-cmd" in error.message) == ("connect_failed", True)
    assert "127.0.0.1" in error.message


def test_known_hosts_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "known_hosts"
    with listening(tmp_path, Sshd().serve) as server:
        error = failure(server.target(known_hosts=(path,)))
    assert error.cause == "host_key_unknown"
    assert str(path) in error.message


def test_known_hosts_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ssh, "read_known_hosts", refused)
    with listening(tmp_path, Sshd().serve) as server:
        error = failure(server.target())
    assert error.message == f"cannot read {tmp_path / 'known_hosts'}: Permission denied"


@pytest.fixture
def many_files() -> Iterator[None]:
    """More than select(2) knows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2048 if hard == resource.RLIM_INFINITY else min(2048, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for file in files:
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_proxy_command_works_however_many_files_are_open_and_ends_with_the_connection(
    tmp_path: Path,
) -> None:
    (tmp_path / "relay.py").write_text(RELAY)
    command = f"{sys.executable} {tmp_path / 'relay.py'} %h %p"
    with listening(tmp_path, Sshd().serve) as server:
        with connected(server.target(proxy_command=command)) as remote:
            line: Any = remote._transport.sock  # type: ignore[attr-defined]
            assert line._program.poll() is None
        assert line._end.result(5)
