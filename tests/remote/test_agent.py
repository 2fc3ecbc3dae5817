"""An agent or a ProxyCommand that is there and does nothing ends in a cause, and soon."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import paramiko
import pytest

from deployer.errors import UnreachableError
from deployer.remote import proxy, ssh
from deployer.remote.proxy import ProxyCommand
from deployer.remote.ssh import Connector
from deployer.secret import Secret
from tests.remote.sshd import LOGIN_KEY, Sshd, listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.remote.sshd import Server

PASSPHRASE = "locked"


@contextmanager
def agent_that(path: Path, *, says: bytes, after: Sequence[float] = ()) -> Iterator[list[socket.socket]]:
    """An agent that says that to everybody, `after` so many seconds, and no more; who asked."""
    asked: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(16)

        def accept() -> None:
            while True:
                try:
                    line = listener.accept()[0]
                except OSError:  # it was closed
                    return
                time.sleep(after[len(asked)] if after else 0)
                line.sendall(says)
                asked.append(line)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for line in asked:
                line.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the agent is, for which nobody waits long."""
    monkeypatch.setattr(ssh, "_AGENT_LISTS", 0.3)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    return tmp_path / "agent"


@pytest.fixture
def server(tmp_path: Path, place: Path) -> Iterator[Server]:
    """A server that lets everybody in, and a key that is locked, for which the agent is asked."""
    del place
    with listening(tmp_path, lambda line: Sshd().serve(line)) as made:
        key = paramiko.PKey.from_path(tmp_path / "key")
        (tmp_path / "key.pub").write_text(f"ssh-ed25519 {key.get_base64()}\n")
        key.write_private_key_file(str(tmp_path / "key"), password=PASSPHRASE)
        yield made


@pytest.mark.parametrize("says", [b"", b"\0", b"\0\0\0\x09\x0c\0"], ids=["nothing", "a byte", "half"])
def test_an_agent_that_falls_silent_is_waited_for_once(place: Path, server: Server, says: bytes) -> None:
    connector = Connector(ask_passphrase=lambda _path: Secret(PASSPHRASE))
    with agent_that(place, says=says) as asked:
        target = server.target()
        connector.prepare([target])
        for _ in range(3):
            connector.connect(target).close()
        connector.close()
    assert len(asked) == 1


def test_an_agent_is_not_asked_for_a_key_that_is_not_locked(
    place: Path, server: Server, tmp_path: Path
) -> None:
    connector = Connector(ask_passphrase=lambda _path: None)
    LOGIN_KEY.write_private_key_file(str(tmp_path / "key"))
    with agent_that(place, says=b"") as asked:
        connector.prepare([server.target()])
        connector.connect(server.target()).close()
        connector.close()
    assert asked == []


def test_an_agent_that_answered_once_is_busy_and_not_silent(place: Path) -> None:
    """ssh-agent(1) answers nobody while it waits for its user's leave to sign."""
    connector = Connector(ask_passphrase=lambda _path: None)
    empty = b"\0\0\0\x05\x0c\0\0\0\0"
    with agent_that(place, says=empty, after=[0.0, 2.0]) as asked:
        assert connector._agent() is not None
        assert connector._agent() is not None
    assert len(asked) == 2


def test_who_needs_what_a_silent_agent_holds_is_told_of_it(place: Path, server: Server) -> None:
    connector = Connector(ask_passphrase=lambda _path: None)
    with agent_that(place, says=b""), pytest.raises(UnreachableError) as told:
        connector.connect(server.target())
    assert told.value.cause == "key_locked"
    assert "the ssh-agent did not answer within 0 s, see: ssh-add -l; ssh-add it" in told.value.hint


@pytest.mark.parametrize("silent", [True, False])
def test_who_has_no_key_at_all_is_told_so(
    place: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where paramiko looks for keys
    connector = Connector(ask_passphrase=lambda _path: None)
    if not silent:
        monkeypatch.delenv("SSH_AUTH_SOCK")
    with agent_that(place, says=b""), pytest.raises(UnreachableError) as told:
        connector.connect(server.target(key_file=None))
    assert (told.value.cause, "there is no key to log in" in told.value.message) == ("no_key", True)
    assert ("the ssh-agent did not answer" in told.value.hint) is silent
    assert "ssh-add it" in told.value.hint


def test_an_agent_that_accepts_nobody_is_waited_for_once(
    place: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(place))
        listener.listen(0)
        first.connect(str(place))
        connector = Connector(ask_passphrase=lambda _path: None)
        with pytest.raises(UnreachableError) as told:
            connector.connect(server.target())
        assert "the ssh-agent did not answer within 0 s" in told.value.hint
        monkeypatch.setattr(ssh, "_AGENT_LISTS", 3600.0)
        with pytest.raises(UnreachableError):
            connector.connect(server.target())


def test_who_needs_an_agent_that_is_gone_is_told_of_it(place: Path, server: Server) -> None:
    connector = Connector(ask_passphrase=lambda _path: None)
    with pytest.raises(UnreachableError) as told:
        connector.connect(server.target())
    assert f"no ssh-agent is at {place} (No such file or directory), see: ssh-add -l" in told.value.hint


# -- an agent that asks its user -----------------------------------------------------------------------------

FAILURE = 5  # SSH_AGENT_FAILURE


@dataclass(slots=True, kw_only=True)
class Asking:
    """An agent that holds two keys, and takes its time before it signs with one, or refuses to."""

    seconds: float
    refuses: bool = False
    keys: Sequence[paramiko.PKey] = field(default_factory=lambda: [paramiko.RSAKey.generate(1024)] * 2)
    asked: int = 0

    def serve(self, line: socket.socket) -> None:
        with suppress(OSError), line:
            while head := line.recv(4):
                request = paramiko.Message(line.recv(int.from_bytes(head)))
                answer = self._answer(request.get_byte()[0], request)
                line.sendall(len(answer).to_bytes(4) + answer)

    def _answer(self, kind: int, request: paramiko.Message) -> bytes:
        answer = paramiko.Message()
        if kind == 11:  # SSH_AGENTC_REQUEST_IDENTITIES
            answer.add_byte(b"\x0c")
            answer.add_int(len(self.keys))
            for key in self.keys:
                answer.add_string(key.asbytes())
                answer.add_string("a key")
            return answer.asbytes()
        self.asked += 1
        time.sleep(self.seconds)
        if self.refuses:
            return bytes([FAILURE])
        request.get_binary()
        answer.add_byte(b"\x0e")
        answer.add_string(self.keys[0].sign_ssh_data(request.get_binary(), "rsa-sha2-512").asbytes())
        return answer.asbytes()


@contextmanager
def asking(place: Path, agent: Asking) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen(16)

        def accept() -> None:
            with suppress(OSError):  # it was closed
                while True:
                    threading.Thread(target=agent.serve, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.fixture
def slow_place(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same for an agent that takes its time; there is no key but its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ssh, "_AGENT_LISTS", 30.0)
    return place


def test_the_time_in_which_an_agent_asks_its_user_is_not_the_servers(
    slow_place: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "_LOGIN", 2)
    agent = Asking(seconds=4.0)
    with asking(slow_place, agent):
        connector = Connector(ask_passphrase=lambda _path: None)
        connector.connect(server.target(key_file=None)).close()
        connector.close()
    assert agent.asked == 1


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (Asking(seconds=3.0), "the ssh-agent did not answer within 1 s"),
        (Asking(seconds=0.0, refuses=True), "the ssh-agent refused to sign with a key that it holds"),
    ],
    ids=["silent", "refuses"],
)
def test_an_agent_that_does_not_sign_is_named(
    slow_place: Path, server: Server, monkeypatch: pytest.MonkeyPatch, agent: Asking, why: str
) -> None:
    monkeypatch.setattr(ssh, "_AGENT_SIGNS", 1.0)
    connector = Connector(ask_passphrase=lambda _path: None)
    with asking(slow_place, agent), pytest.raises(UnreachableError) as told:
        connector.connect(server.target(key_file=None))
    assert (told.value.cause, told.value.message, told.value.hint) == (
        "key_locked",
        why,
        "see: ssh-add -l",
    )
    assert agent.asked == 1


def test_a_server_that_answers_no_login_is_waited_for_once_and_not_once_a_key(
    slow_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stalling(Sshd):
        def check_auth_publickey(self, _username: str, _key: paramiko.PKey) -> int:
            tried.append(_key)
            time.sleep(6)
            return super().check_auth_publickey(_username, _key)

    tried: list[paramiko.PKey] = []
    monkeypatch.setattr(ssh, "_LOGIN", 1)
    connector = Connector(ask_passphrase=lambda _path: None)
    with (
        listening(tmp_path, lambda line: Stalling().serve(line)) as server,
        asking(slow_place, Asking(seconds=0.0)),
        pytest.raises(UnreachableError) as told,
    ):
        connector.connect(server.target(key_file=None))
    assert told.value.cause == "timed_out"
    assert "did not answer a login as deploy within 1 s" in told.value.message
    assert len(tried) == 1


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A ProxyCommand that takes no more than what is read back from it, at a time that the test sets."""
    made = Line()
    monkeypatch.setattr(proxy, "monotonic", lambda: made.now)
    yield made
    made.command.close()


class Line:
    def __init__(self) -> None:
        self.now = 1000.0
        self.command = ProxyCommand("cat")
        self.command.settimeout(0.5)

    def fill(self) -> None:
        """Until nothing is taken any more; however slow that is, no time goes by."""
        refused = 0
        while refused < 4:  # a busy machine lets no program run for so long
            try:
                self.command.send(bytes(4096))
            except TimeoutError:
                refused += 1
            else:
                refused = 0

    def read(self) -> None:
        """All that is there; then it takes something."""
        with suppress(TimeoutError):
            while self.command.recv(1 << 16):
                pass


def test_a_program_that_takes_nothing_any_more_is_the_end_of_its_connection(line: Line) -> None:
    line.fill()
    line.now += 59
    with pytest.raises(TimeoutError):
        line.command.send(bytes(4096))
    line.now += 2
    with pytest.raises(ConnectionAbortedError, match="took nothing for 60 s"):
        line.command.send(bytes(4096))


def test_a_program_that_takes_little_is_slow_and_not_dead(line: Line) -> None:
    for _ in range(2):
        line.fill()
        line.now += 59
        line.read()
        line.fill()
    line.now += 59
    with pytest.raises(TimeoutError):
        line.command.send(bytes(4096))
