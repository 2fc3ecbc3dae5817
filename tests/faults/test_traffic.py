"""The load sees how long a service was away."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.faults.traffic import Answer, Traffic, ask, longest_outage, starts

if TYPE_CHECKING:
    from collections.abc import Iterator


def answers(*times: float, version: str = "1.0.0") -> list[Answer]:
    return [Answer(time=time, version=version) for time in times]


@pytest.mark.parametrize(
    ("seen", "outage"),
    [
        ([], 10.0),  # it never answered
        (answers(1, 2, 3, 4, 5, 6, 7, 8, 9), 1.0),
        (answers(1, 2, 7, 8, 9), 5.0),
        (answers(1, 2) + answers(3, 4, 5, version="") + answers(6, 7, 8, 9), 4.0),  # answers that are no good
        (answers(6, 7, 8, 9), 6.0),  # away from the beginning
        (answers(1, 2, 3), 7.0),  # never back
    ],
)
def test_the_longest_time_without_a_good_answer(seen: list[Answer], outage: float) -> None:
    assert longest_outage(seen, began=0, ended=10) == outage


def test_a_start_is_another_process_that_answers() -> None:
    pids = [1, 1, 0, 2, 2, 0, 0, 2, 3]  # 0: no good answer
    seen = [Answer(time=n, version="1.0.0" if pid else "", pid=pid) for n, pid in enumerate(pids)]
    assert starts(seen) == 2


class Handler(BaseHTTPRequestHandler):
    status: ClassVar[int]

    def do_GET(self) -> None:
        body = b'{"status": "ok", "version": "1.2.3", "pid": 7}'
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    Handler.status = 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_only_a_good_answer_has_a_version(port: int) -> None:
    assert ask("127.0.0.1", port) == "1.2.3"
    Handler.status = 503
    assert ask("127.0.0.1", port) == ""
    assert ask("127.0.0.1", 1) == ""


def test_an_outage_is_measured(port: int) -> None:
    with Traffic("127.0.0.1", port) as traffic:
        time.sleep(0.5)
        before = traffic.outage
        Handler.status = 503
        time.sleep(1.5)
        Handler.status = 200
        time.sleep(0.5)
        after = traffic.outage
    assert before < 0.5
    assert 1.4 < after < 3
    assert {answer.version for answer in traffic.answers} == {"", "1.2.3"}
