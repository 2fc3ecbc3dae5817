"""Where forwarding is forbidden a host is asked with what it has: curl, wget, bash or nc."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from deployer.desired import HealthTest, HttpTest, TcpTest
from deployer.errors import HostError
from deployer.remote.remote import ForwardingRefusedError, Reply
from deployer.remote.script import assemble
from deployer.verify.probe import Answer, Prober
from tests.host_scripts.sandbox import FLAVOURS, Sandbox
from tests.made import make_healthcheck, make_service

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from deployer.remote.remote import TcpChannel

SHELLS = (["dash"], ["busybox", "sh"])
SLOW = 1.5  # seconds
ALWAYS = ("cat", "env", "head", "printf", "sh", "timeout")


class LocalHost:
    """This machine as a host that forbids forwarding, with no program but those in `path`."""

    def __init__(self, shell: Sequence[str], path: Path) -> None:
        self._shell = shell
        self._path = path

    def run(
        self,
        script: str,
        args: tuple[str, ...] = (),
        *,
        stdin: Iterable[bytes | memoryview] | None = None,  # noqa: ARG002  part of the protocol
        timeout: float,
    ) -> Reply:
        done = subprocess.run(
            [shutil.which(self._shell[0]) or "", *self._shell[1:], "-c", assemble(script, args).decode()],
            env={"PATH": str(self._path), "LC_ALL": "C"},
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
    shell: Sequence[str], path: Path, test: HealthTest, *, timeout: float = 2.0
) -> tuple[Answer, list[str]]:
    fell_back: list[str] = []
    service = make_service(healthcheck=make_healthcheck(test=test, timeout=timeout))
    prober = Prober(LocalHost(shell, path), service, redact=lambda text: text, fell_back=fell_back.append)
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
    sandbox = Sandbox(flavour=flavour, root=tmp_path)
    sandbox.prepare()
    if flavour == "busybox":
        shutil.copy("/usr/bin/su", tmp_path / "bin/su")  # which Debian's build of busybox lacks
    release = sandbox.opt / "app/releases/r1"
    release.mkdir(parents=True)
    (release / "server").write_text("#!/bin/sh\necho the binary\n")
    (release / "server").chmod(0o755)
    (sandbox.opt / "app/current").symlink_to("releases/r1")
    said = sandbox.run(("remote/prelude.sh", "verify/probe.sh"), ["exec", "1", "app", "daemon", *argv])
    if answer is None:
        assert int(said.rpartition("exit ")[2]) > 0
    else:
        assert said == f"{answer}\n"
