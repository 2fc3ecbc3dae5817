"""The sample service behaves as the tests of the deployer rely on, seen through real processes."""

import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sample import SOURCES, build_sample

pytestmark = pytest.mark.hosts

DEADLINE_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running sample service; its output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self, pattern: str) -> re.Match[str]:
        """Wait until the log matches; the process may end meanwhile."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if found := re.search(pattern, self.log.read_text()):
                return found
            assert not ended, f"ended without saying {pattern!r}: {self.log.read_text()}"
            time.sleep(0.01)
        pytest.fail(f"never said {pattern!r}: {self.log.read_text()}")

    @property
    def port(self) -> int:
        return int(self.said(r"listening on \S+:(\d+)")[1])

    def ask(self, path: str, *, post: object = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        try:
            if post is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(post), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def json(self, path: str, *, post: object = None) -> Any:
        return json.loads(self.ask(path, post=post)[1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


Start = Callable[..., Service]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sample(tmp_path_factory.mktemp("v1"), version="1.0.0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working directory of the services a test starts."""
    path = tmp_path / "cwd"
    path.mkdir()
    return path


@pytest.fixture
def start(tmp_path: Path, folder: Path) -> Iterator[Start]:
    """Start a binary with exactly this environment, on a free loopback port; kill it after the test."""
    with ExitStack() as cleanup:
        count = 0

        def run(binary: Path, **environment: str) -> Service:
            nonlocal count
            count += 1
            log = tmp_path / f"log{count}"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [binary],
                    cwd=folder,
                    env={"LISTEN_ADDR": "127.0.0.1", "PORT": "0"} | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            cleanup.callback(process.wait)
            cleanup.callback(process.kill)
            return Service(process=process, log=log)

        yield run


def run_warm(binary: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binary, "warm"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_it_says_that_it_is_healthy_and_which_version_it_is(good: Path, start: Start) -> None:
    service = start(good)
    answer = service.json("/health")
    uptime = answer.pop("uptime_seconds")
    assert answer == {"status": "ok", "version": "1.0.0", "pid": service.process.pid}
    assert 0 < uptime < DEADLINE_SECONDS


def test_items_are_kept_in_memory(good: Path, start: Start) -> None:
    service = start(good)
    assert service.json("/api/v1/items") == []
    assert service.ask("/api/v1/items", post={"name": "bolt"}) == (201, '{"id":1,"name":"bolt"}')
    assert service.json("/api/v1/items", post={"name": "nut"}) == {"id": 2, "name": "nut"}
    assert [entry["name"] for entry in service.json("/api/v1/items")] == ["bolt", "nut"]
    assert service.json("/api/v1/items/2") == {"id": 2, "name": "nut"}
    assert service.ask("/api/v1/items", post={})[0] == 400
    assert [service.ask(f"/api/v1/items/{name}")[0] for name in ("0", "3", "bolt")] == [404, 404, 400]


def test_the_committed_dotenv_is_loaded(good: Path, start: Start, folder: Path) -> None:
    (folder / ".env").write_bytes((SOURCES / ".env").read_bytes())
    service = start(good)
    assert service.ask("/") == (200, "Hello from gin")
    assert service.json("/api/v1/items/1")["name"] == 'A 12" ruler'
    assert service.json("/health")["status"] == "ok"
    assert "[GIN-debug]" not in service.log.read_text()


def test_the_committed_dotenv_is_not_ignored_by_git() -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", ".env"], cwd=SOURCES, check=False)
    assert ignored.returncode == 1


def test_the_environment_wins_over_dotenv(good: Path, start: Start, folder: Path) -> None:
    (folder / ".env").write_text("GREETING=from the file\nPORT=1\n")
    assert start(good, GREETING="from the process").ask("/") == (200, "from the process")


def test_a_broken_dotenv_ends_the_program(good: Path, start: Start, folder: Path) -> None:
    (folder / ".env").write_text('GREETING="no end\n')
    service = start(good)
    assert service.process.wait(DEADLINE_SECONDS) == 1
    assert "cannot load .env" in service.log.read_text()


def test_a_working_directory_that_nobody_can_write_is_enough(good: Path, start: Start, folder: Path) -> None:
    (folder / ".env").write_text("GREETING=read only\n")
    folder.chmod(0o555)
    service = start(good)
    assert service.ask("/") == (200, "read only")
    assert service.stop() == 0
    assert [path.name for path in folder.iterdir()] == [".env"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_promptly_when_told(good: Path, start: Start, number: signal.Signals) -> None:
    service = start(good)
    service.json("/health")
    began = time.monotonic()
    assert service.stop(number) == 0
    assert time.monotonic() - began < 2
    service.said("stopped$")


def test_an_open_request_is_answered_before_it_stops(good: Path, start: Start) -> None:
    service = start(good)
    with socket.create_connection(("127.0.0.1", service.port), DEADLINE_SECONDS) as client:
        body = b'{"name": "late"}'
        head = f"POST /api/v1/items HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
        # "100 Continue" is sent when the handler reads the body: from then on the request is open.
        client.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert b"100 Continue" in client.recv(1024)
        service.process.terminate()
        service.said("stopping")
        client.sendall(body)
        assert client.recv(1024).startswith(b"HTTP/1.1 201")
    assert service.process.wait(DEADLINE_SECONDS) == 0


def test_starts_are_counted_in_the_state_directory(good: Path, start: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    for count in (1, 2):
        service = start(good, STATE_DIRECTORY=f"{state}:/nonexistent")
        assert service.json("/health")["starts"] == count
        service.stop(signal.SIGKILL)
    assert {path.name: path.read_text() for path in state.iterdir()} == {"starts": "2\n"}


def test_a_state_directory_it_cannot_write_ends_the_program(good: Path, start: Start) -> None:
    service = start(good, STATE_DIRECTORY="/nonexistent")
    assert service.process.wait(DEADLINE_SECONDS) == 1
    assert "/nonexistent/starts" in service.log.read_text()


def test_a_port_that_is_none_is_named(good: Path, start: Start) -> None:
    service = start(good, PORT="80a")
    assert service.process.wait(DEADLINE_SECONDS) == 1
    assert 'PORT="80a" is not a port number' in service.log.read_text()


def test_env_shows_the_process_and_the_file_apart(good: Path, start: Start, folder: Path) -> None:
    (folder / ".env").write_text("PORT=1\nONLY_IN_FILE='a \"b\" = c'\n")
    given = {"ENV_DUMP": "1", "TEXT": "two\nlines = $HOME \"quoted\" 'ä'", "EMPTY": ""}
    answer = start(good, **given).json("/env")
    assert answer["process"] == given | {"LISTEN_ADDR": "127.0.0.1", "PORT": "0"}
    assert answer["dotenv"] == {"PORT": "1", "ONLY_IN_FILE": 'a "b" = c'}


def test_env_without_a_file_shows_an_empty_one(good: Path, start: Start) -> None:
    assert start(good, ENV_DUMP="1").json("/env")["dotenv"] == {}


def test_env_is_closed_unless_the_process_asks_for_it(good: Path, start: Start, folder: Path) -> None:
    (folder / ".env").write_text("ENV_DUMP=1\n")
    assert start(good).ask("/env")[0] == 404
    assert start(good, ENV_DUMP="0").ask("/env")[0] == 404


def test_warm_asks_the_running_service(good: Path, start: Start, folder: Path) -> None:
    service = start(good)
    done = run_warm(good, folder, PORT=str(service.port), LISTEN_ADDR="127.0.0.1")
    assert re.fullmatch(r"warm: version 1\.0\.0 answered 200 OK in \d+m?s\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")


def test_warm_reads_the_settings_beside_the_binary(start: Start, folder: Path, tmp_path: Path) -> None:
    binary = build_sample(tmp_path / "release", version="1.0.0")
    service = start(binary)
    (binary.parent / ".env").write_text(f"PORT={service.port}\n")
    assert run_warm(binary, folder).returncode == 0


def test_warm_fails_in_one_line_when_nothing_listens(good: Path, folder: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        done = run_warm(good, folder, PORT=str(bound.getsockname()[1]), LISTEN_ADDR="127.0.0.1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "connection refused" in done.stderr


def test_never_healthy_listens_and_stays_starting(start: Start, tmp_path: Path, folder: Path) -> None:
    binary = build_sample(tmp_path / "bad", version="1.1.0", fault="never-healthy")
    service = start(binary, GREETING="up")
    assert service.ask("/health") == (503, '{"status":"starting"}')
    assert service.ask("/") == (200, "up")
    done = run_warm(binary, folder, PORT=str(service.port), LISTEN_ADDR="127.0.0.1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert '503 Service Unavailable, status "starting"' in done.stderr
    assert service.stop() == 0


def test_flapping_is_well_for_three_answers_in_ten_and_never_twice_in_a_row(
    start: Start, tmp_path: Path
) -> None:
    service = start(build_sample(tmp_path / "bad", version="1.1.0", fault="flapping"), GREETING="up")
    answers = [service.ask("/health")[0] for _ in range(40)]
    assert (answers.count(200), answers.count(503)) == (12, 28)
    assert all((before, after) != (200, 200) for before, after in itertools.pairwise(answers))
    assert service.ask("/") == (200, "up")
    assert service.stop() == 0


def test_crash_after_2s_is_healthy_and_then_exits_with_3(start: Start, tmp_path: Path) -> None:
    binary = build_sample(tmp_path / "bad", version="1.1.0", fault="crash-after-2s")
    began = time.monotonic()
    service = start(binary)
    assert service.json("/health")["status"] == "ok"
    assert service.process.wait(DEADLINE_SECONDS) == 3
    assert time.monotonic() - began >= 2
    service.said("fault crash-after-2s: exiting with status 3")


def test_a_build_is_reproducible_static_and_its_own_version(good: Path, tmp_path: Path) -> None:
    first = good.read_bytes()
    again = tmp_path / "again"
    environment = os.environ | {
        "GOFLAGS": "-race",
        "GOPATH": "/nonexistent",
        "GOARCH": "arm64",
        "CGO_ENABLED": "1",
    }
    subprocess.run([SOURCES / "build", "--version", "1.0.0", "-o", again], check=True, env=environment)
    assert again.read_bytes() == first
    assert build_sample(tmp_path / "next", version="1.0.1").read_bytes() != first
    assert os.access(again, os.X_OK)

    headers = subprocess.run(["readelf", "-lW", good], check=True, capture_output=True, text=True).stdout
    assert "INTERP" not in headers
    assert "DYNAMIC" not in headers
    assert str(SOURCES).encode() not in first


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "words"),
    [
        (["--version"], {}, 2, "--version needs a value"),
        (["--version", "1 -X main.fault=x"], {}, 2, "may hold letters, digits"),
        (["--fault", "loud"], {}, 2, "unknown fault 'loud'"),
        (["--fast"], {}, 2, "unknown argument '--fast'"),
        ([], {"GOCODE": "/nonexistent"}, 1, "apt-get install golang-github-gin-gonic-gin-dev"),
    ],
)
def test_a_build_that_cannot_be_made_says_why_in_one_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], status: int, words: str
) -> None:
    done = subprocess.run(
        [SOURCES / "build", "-o", tmp_path / "out" / "file", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_build_without_go_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "dirname").symlink_to("/usr/bin/dirname")
    done = subprocess.run(
        ["/bin/sh", SOURCES / "build"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "build: go is missing: apt-get install golang-go\n")
