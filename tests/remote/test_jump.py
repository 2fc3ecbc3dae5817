"""Hosts behind a jump host share one connection to it, and none of them waits for another's."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from paramiko.common import AUTH_FAILED

from deployer.errors import HostError, UnreachableError
from deployer.remote import proxy
from deployer.remote.ssh import Connector
from tests.remote.sshd import Sshd, listening, silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import paramiko

    from tests.remote.sshd import Server


class Bastion(Sshd):
    """Connects to wherever it is asked to, or never answers."""

    def __init__(self, logins: list[Bastion], *, answers: bool = True) -> None:
        super().__init__()
        self.passes_on = threading.Event()  # what is for the hosts behind it
        self.passes_on.set()
        self._logins = logins
        self._answers = answers
        self._places: dict[int, tuple[str, int]] = {}

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._logins.append(self)
        return super().check_auth_publickey(username, key)

    def check_channel_direct_tcpip_request(
        self, number: int, _origin: tuple[str, int], place: tuple[str, int]
    ) -> int:
        if not self._answers:
            time.sleep(60)
        if not self._places:
            threading.Thread(target=self._connect, daemon=True).start()
        self._places[number] = place
        return self.check_channel_request("direct-tcpip", number)

    def _connect(self) -> None:
        while near := self.transport.accept(10):
            far = socket.create_connection(self._places[near.get_id()])
            for one, other in ((near, far), (far, near)):
                when = self.passes_on if one is near else None
                threading.Thread(target=copied, args=(one, other, when), daemon=True).start()


def copied(
    one: paramiko.Channel | socket.socket,
    other: paramiko.Channel | socket.socket,
    when: threading.Event | None,
) -> None:
    with suppress(OSError, EOFError):
        while piece := one.recv(1 << 16):
            other.sendall(piece)
            if when:
                when.wait(60)
    other.close()


@pytest.fixture
def connector() -> Iterator[Connector]:
    made = Connector(ask_passphrase=lambda _path: None)
    yield made
    made.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def host(stack: ExitStack, tmp_path: Path) -> Server:
    return stack.enter_context(listening(tmp_path, lambda line: Sshd().serve(line)))


def behind(stack: ExitStack, folder: Path, logins: list[Bastion], *, answers: bool = True) -> str:
    """What to write for a jump host."""
    server = listening(folder, lambda line: Bastion(logins, answers=answers).serve(line))
    return f"127.0.0.1:{stack.enter_context(server).port}"


def test_many_hosts_share_one_connection(
    connector: Connector, stack: ExitStack, host: Server, tmp_path: Path
) -> None:
    logins: list[Bastion] = []
    target = host.target(proxy_jump=behind(stack, tmp_path, logins))
    with ThreadPoolExecutor(12) as pool:
        remotes = list(pool.map(connector.connect, [target] * 12))
    for remote in remotes:
        remote.close()
    assert len(logins) == 1


def test_a_connection_to_it_that_was_lost_is_made_anew(
    connector: Connector, stack: ExitStack, host: Server, tmp_path: Path
) -> None:
    logins: list[Bastion] = []
    target = host.target(proxy_jump=behind(stack, tmp_path, logins))
    connector.connect(target).close()
    logins[0].transport.close()
    time.sleep(0.3)
    connector.connect(target).close()
    assert len(logins) == 2


def test_one_that_is_silent_keeps_nobody_else_waiting(
    connector: Connector, stack: ExitStack, host: Server, tmp_path: Path
) -> None:
    bastion = stack.enter_context(listening(tmp_path, silent))
    dead = [
        host.target(proxy_jump=f"127.0.0.1:{bastion.port}", known_hosts=(tmp_path / f"known{number}",))
        for number in range(6)
    ]
    connector.begin(dead)
    time.sleep(0.2)
    began = time.monotonic()
    connector.connect(host.target()).close()
    assert time.monotonic() - began < 2.5
    with pytest.raises(UnreachableError) as caught:
        connector.connect(dead[0])
    assert caught.value.message.startswith("jump host: ")


def test_a_host_that_it_does_not_reach_has_its_own_connect_timeout(
    connector: Connector, stack: ExitStack, host: Server, tmp_path: Path
) -> None:
    jump = behind(stack, tmp_path, [], answers=False)
    began = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        connector.connect(host.target(proxy_jump=jump, connect_timeout=0.5))
    assert (caught.value.cause, time.monotonic() - began < 4) == ("timed_out", True)
    assert f"127.0.0.1 port {host.port}" in caught.value.message


def test_a_host_behind_it_that_takes_nothing_any_more_is_given_up(
    connector: Connector, stack: ExitStack, host: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jump host lives, and the kernel knows of its line alone."""
    monkeypatch.setattr(proxy, "_STANDS_STILL", 1.0)
    logins: list[Bastion] = []
    remote = connector.connect(host.target(proxy_jump=behind(stack, tmp_path, logins)))

    def more_than_a_window() -> Iterator[bytes]:
        for number in range(100):
            if number == 3:  # the shell was begun
                logins[0].passes_on.clear()
            yield bytes(1 << 16)

    with pytest.raises(HostError) as caught:
        remote.run("true", stdin=more_than_a_window(), timeout=300)
    assert caught.value.cause == "connection_lost"
    logins[0].passes_on.set()
    remote.close()


def test_one_that_was_away_for_a_moment_is_found_again(
    connector: Connector, stack: ExitStack, host: Server, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    target = host.target(proxy_jump=f"127.0.0.1:{port}")
    with ThreadPoolExecutor(12) as pool:
        tries = [pool.submit(connector.connect, target) for _ in range(12)]
    assert {type(each.exception()) for each in tries} == {UnreachableError}
    logins: list[Bastion] = []
    server = listening(tmp_path, lambda line: Bastion(logins).serve(line), port=port)
    stack.enter_context(server)
    connector.connect(target).close()
    assert len(logins) == 1


def test_one_that_lets_nobody_in_is_asked_once(
    connector: Connector, stack: ExitStack, host: Server, tmp_path: Path
) -> None:
    asked: list[str] = []

    class Refusing(Sshd):
        def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
            asked.append(username)
            del key
            return AUTH_FAILED

    server = stack.enter_context(listening(tmp_path, lambda line: Refusing().serve(line)))
    target = host.target(proxy_jump=f"127.0.0.1:{server.port}")
    for _ in range(3):
        with pytest.raises(UnreachableError) as refused:
            connector.connect(target)
        assert refused.value.cause == "auth_failed"
    assert len(asked) == 1
