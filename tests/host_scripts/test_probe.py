"""Where forwarding is forbidden a host is asked with what it has: curl, wget, bash or nc."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.desired import HealthTest, HttpTest, TcpTest
from deployer.errors import HostError
from deployer.remote.remote import ForwardingRefusedError, Reply
from deployer.remote.script import assemble
from deployer.verify.probe import Answer, Prober
from tests.e2e.machine import eventually
from tests.host_scripts.sandbox import FLAVOURS, Sandbox
from tests.made import make_healthcheck, make_service

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from deployer.remote.remote import TcpChannel

SHELLS = (["dash"], ["busybox", "sh"])
SLOW = 1.5  # seconds
ALWAYS = ("cat", "env", "head", "printf", "sh", "timeout")


class LocalHost:
    """This machine as a host that forbids forwarding, with no program but those in `path`."""

    def __init__(self, shell: Sequence[str], path: Path, **env: str) -> None:
        self._shell = shell
        self._path = path
        self._env = env

    def run(
        self,
        script: str,
        args: tuple[str, ...] = (),
        *,
        stdin: Iterable[bytes | memoryview] | None = None,  # noqa: ARG002  part of the protocol
        timeout: float,
        longest: float = 0.0,  # noqa: ARG002  as above
        keep: int = 0,  # noqa: ARG002  as above
    ) -> Reply:
        done = subprocess.run(
            [shutil.which(self._shell[0]) or "", *self._shell[1:], "-c", assemble(script, args).decode()],
            env={"PATH": str(self._path), "LC_ALL": "C", **self._env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Reply(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def expect(self, runs: int) -> None:
        """Nothing takes time here."""

    def connect_tcp(self, host: str, port: int, *, timeout: float) -> TcpChannel:  # noqa: ARG002  as above
        raise ForwardingRefusedError

    def close(self) -> None:
        """Nothing is open."""


class Handler(BaseHTTPRequestHandler):
    """Answers by path; /slow does not answer."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            threading.Event().wait(SLOW)
            return
        status, body = {"/health?full=1": (200, b"fine"), "/sick": (503, b"sick")}.get(self.path, (404, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def tools(folder: Path, *names: str) -> Path:
    """A folder for PATH: what every host has, and `names`; busybox:NAME is busybox's."""
    folder.mkdir(exist_ok=True)
    for name in (*ALWAYS, *names):
        source, _, applet = name.rpartition(":")
        program = shutil.which(source or applet)
        assert program
        with suppress(FileExistsError):
            (folder / applet).symlink_to(program)
    return folder


def ask(
    shell: Sequence[str],
    path: Path,
    test: HealthTest,
    *,
    timeout: float = 2.0,
    env: Mapping[str, str] | None = None,
) -> tuple[Answer, list[str]]:
    fell_back: list[str] = []
    service = make_service(healthcheck=make_healthcheck(test=test, timeout=timeout))
    prober = Prober(
        LocalHost(shell, path, **(env or {})), service, redact=lambda text: text, fell_back=fell_back.append
    )
    return prober.ask(), fell_back


def http(port: int, path: str) -> HttpTest:
    url = f"http://127.0.0.1:{port}{path}"
    return HttpTest(url=url, tls=False, host="127.0.0.1", port=port, path=path)


HTTP_TOOLS = ("curl", "wget", "busybox:wget", "bash", "busybox:nc")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("tool", HTTP_TOOLS)
def test_a_healthy_service_is_seen_with_any_tool(
    tmp_path: Path, port: int, shell: list[str], tool: str
) -> None:
    answer, fell_back = ask(shell, tools(tmp_path / "bin", tool), http(port, "/health?full=1"))
    detail = "200" if tool.endswith("wget") else "200 fine"  # it keeps head and body apart
    assert answer == Answer(healthy=True, detail=detail)
    assert len(fell_back) == 1


@pytest.mark.parametrize("tool", HTTP_TOOLS)
def test_a_proxy_for_everybody_is_not_asked(tmp_path: Path, port: int, tool: str) -> None:
    with closed_port() as nobody:
        proxy = f"http://127.0.0.1:{nobody}"
        (tmp_path / ".curlrc").write_text(f'proxy = "{proxy}"\n')
        (tmp_path / ".wgetrc").write_text(f"http_proxy = {proxy}\nuse_proxy = on\n")
        env = {"http_proxy": proxy, "ALL_PROXY": proxy, "HOME": str(tmp_path)}
        answer, _ = ask(["dash"], tools(tmp_path / "bin", tool), http(port, "/health?full=1"), env=env)
    assert answer.healthy, answer


@pytest.mark.parametrize("tool", HTTP_TOOLS)
@pytest.mark.parametrize("path", ["/sick", "/absent"])
def test_a_sick_service_is_seen_with_any_tool(tmp_path: Path, port: int, tool: str, path: str) -> None:
    answer, _ = ask(["dash"], tools(tmp_path / "bin", tool), http(port, path))
    assert not answer.healthy
    assert {"/sick": "503", "/absent": "404"}[path] in answer.detail


@pytest.mark.parametrize("tool", HTTP_TOOLS)
def test_a_service_that_does_not_answer_is_left_in_time(tmp_path: Path, port: int, tool: str) -> None:
    began = time.monotonic()
    answer, _ = ask(["dash"], tools(tmp_path / "bin", tool), http(port, "/slow"), timeout=0.2)
    assert not answer.healthy
    assert time.monotonic() - began < SLOW


@pytest.mark.parametrize("tool", HTTP_TOOLS)
def test_a_port_on_which_nobody_listens_is_seen_with_any_tool(tmp_path: Path, tool: str) -> None:
    with closed_port() as port:
        answer, _ = ask(["dash"], tools(tmp_path / "bin", tool), http(port, "/health"))
    assert not answer.healthy


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("tool", ["bash", "busybox:nc"])
def test_a_tcp_test_connects_with_any_tool(tmp_path: Path, port: int, shell: list[str], tool: str) -> None:
    path = tools(tmp_path / "bin", tool)
    answer, _ = ask(shell, path, TcpTest(host="127.0.0.1", port=port))
    assert answer.healthy
    with closed_port() as closed:
        answer, _ = ask(shell, path, TcpTest(host="127.0.0.1", port=closed))
    assert not answer.healthy


@pytest.mark.parametrize(
    "test",
    [
        http(1, "/"),
        TcpTest(host="127.0.0.1", port=1),
        HttpTest(url="https://127.0.0.1:1/", tls=True, host="127.0.0.1", port=1, path="/"),
    ],
    ids=["http", "tcp", "https"],
)
def test_a_host_without_any_tool_is_an_error_and_never_healthy(tmp_path: Path, test: HealthTest) -> None:
    with pytest.raises(HostError) as caught:
        ask(["dash"], tools(tmp_path / "bin"), test)
    assert caught.value.cause == "no_probe"


def test_https_is_not_asked_in_plain_text(tmp_path: Path, port: int) -> None:
    test = HttpTest(url=f"https://127.0.0.1:{port}/", tls=True, host="127.0.0.1", port=port, path="/")
    with pytest.raises(HostError):
        ask(["dash"], tools(tmp_path / "bin", "bash", "busybox:nc"), test)
    answer, _ = ask(["dash"], tools(tmp_path / "curl", "curl"), test)
    assert not answer.healthy


# -- commands ------------------------------------------------------------------------------------------------


def with_release(folder: Path, flavour: str) -> Sandbox:
    sandbox = Sandbox(flavour=flavour, root=folder)
    sandbox.prepare()
    if flavour == "busybox":
        shutil.copy("/usr/bin/su", folder / "bin/su")  # which Debian's build of busybox lacks
    release = sandbox.opt / "app/releases/r1"
    release.mkdir(parents=True)
    (release / "server").write_text("#!/bin/sh\necho the binary\n")
    (release / "server").chmod(0o755)
    (sandbox.opt / "app/current").symlink_to("releases/r1")
    return sandbox


def say(sandbox: Sandbox, argv: Sequence[str], *, seconds: str = "1") -> str:
    return sandbox.run(("remote/prelude.sh", "verify/probe.sh"), ["exec", seconds, "app", "daemon", *argv])


def running(*words: str) -> int:
    """How many processes were started with exactly these words."""
    wanted = "".join(f"{word}\0" for word in words).encode()
    found = 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += file.read_bytes().endswith(wanted)
    return found


@pytest.mark.hosts
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("sleep 25 & echo up", "up\nexit 0"),
        ("sleep 25 & echo down; exit 3", "down\nexit 3"),
        ("sleep 25 2>/dev/null & echo up >&2", "up\nexit 0"),
        ("setsid sleep 25 & echo up", "up\nexit 0"),
        ("(trap '' HUP TERM; exec sleep 25) & echo up", "up\nexit 0"),
        ("(sleep 1; echo late) & echo up", "up\nexit 0"),
    ],
)
def test_a_child_that_a_command_leaves_is_not_waited_for(
    tmp_path: Path, flavour: str, line: str, answer: str
) -> None:
    sandbox = with_release(tmp_path, flavour)
    began = time.monotonic()
    assert say(sandbox, ["sh", "-c", line], seconds="20") == f"{answer}\n"
    assert time.monotonic() - began < 10


@pytest.mark.hosts
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("first", ["", "trap '' TERM INT HUP; "])
def test_a_command_that_takes_too_long_is_killed_with_its_children(
    tmp_path: Path, flavour: str, first: str
) -> None:
    sandbox = with_release(tmp_path, flavour)
    unique = f"{4000 + os.getpid() % 1000}.{len(flavour)}{len(first)}"
    began = time.monotonic()
    said = say(sandbox, ["sh", "-c", f"{first}echo begun; (sleep {unique}; true) & sleep {unique}; echo no"])
    assert said == "begun\nexit 137\n"
    assert time.monotonic() - began < 10
    eventually(lambda: running("sleep", unique) == 0, what="the end of its children")


@pytest.mark.hosts
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    ("line", "ends"),
    [
        ("yes", "y\nexit 137\n"),
        ("cat /dev/zero", " \nexit 137\n"),  # one line without an end
        ("yes & echo up; exit 4", "\nexit 4\n"),
        ("yes | head -n 2000000; echo done", "done\nexit 0\n"),
        ("yes x | head -c 40000; echo; echo done; exit 5", "done\nexit 5\n"),
        ("head -c 32768 /dev/zero; exit 6", " \nexit 6\n"),
        ("head -c 70000 /dev/zero | tr '\\000' '\\n'; echo after; exit 7", "after\nexit 7\n"),
    ],
)
def test_however_much_a_command_says_little_is_kept(
    tmp_path: Path, flavour: str, line: str, ends: str
) -> None:
    sandbox = with_release(tmp_path, flavour)
    limit = "ulimit -v 300000"  # KiB
    seconds = "5" if "exit 137" in ends else "60"  # of what ends by itself, however busy the machine is
    said = sandbox.run(
        ("remote/prelude.sh", "verify/probe.sh"),
        ["exec", seconds, "app", "daemon", "sh", "-c", line],
        before=limit,
    )
    assert said.endswith(ends), said[-200:]
    assert len(said) < 5000


@pytest.mark.hosts
def test_what_watches_over_a_command_ends_with_it(tmp_path: Path) -> None:
    sandbox = with_release(tmp_path, "dash")
    seconds = f"{5000 + os.getpid() % 1000}.5"
    for _ in range(5):
        assert say(sandbox, ["true"], seconds=seconds) == "\nexit 0\n"
    eventually(lambda: running("sleep", seconds) == 0, what="the end of its watch")


@pytest.mark.parametrize("tool", ["curl", "wget", "busybox:wget", "bash", "busybox:nc"])
@pytest.mark.parametrize("more", [(), ("setsid", "sleep")], ids=["timeout", "setsid"])
def test_an_answer_that_drips_is_left_in_time(tmp_path: Path, tool: str, more: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.monotonic()
        path = tools(tmp_path / "bin", tool, *more)
        answer, _ = ask(["dash"], path, http(listener.getsockname()[1], "/"), timeout=0.5)
        assert not answer.healthy
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("tool", ["curl", "wget", "bash"])
def test_an_answer_without_an_end_is_an_answer(tmp_path: Path, tool: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def flood() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    connection.sendall(b"x" * 65536)

        threading.Thread(target=flood, daemon=True).start()
        path = tools(tmp_path / "bin", tool, "setsid", "sleep")
        answer, _ = ask(["dash"], path, http(listener.getsockname()[1], "/"), timeout=2)
        assert answer.healthy


@pytest.mark.hosts
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["id", "-un"], "daemon\nexit 0"),
        (["id", "-gn"], "daemon\nexit 0"),
        (["pwd"], "/opt/app/releases/r1\nexit 0"),
        (["sh", "-c", 'echo "$1" "${LC_ALL-none}"', "x", "a  b"], "a  b none\nexit 0"),
        (["sh", "-c", "echo no >&2; exit 3"], "no\nexit 3"),
        (["./server"], "the binary\nexit 0"),
        (["sh", "-c", "cat"], "\nexit 0"),
        (["/nonexistent"], None),
        (["sleep", "20"], None),
    ],
    ids=lambda value: " ".join(value)[:12] if isinstance(value, list) else "",
)
def test_a_command_runs_as_the_services_user_in_its_release(
    tmp_path: Path, flavour: str, argv: list[str], answer: str | None
) -> None:
    said = say(with_release(tmp_path, flavour), argv)
    if answer is None:
        assert int(said.rpartition("exit ")[2]) > 0
    else:
        assert said == f"{answer}\n"
