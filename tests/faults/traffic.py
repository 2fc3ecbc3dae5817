"""Constant HTTP load on a service, and how long it was away."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERVAL = 0.05
TIMEOUT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request that ended at `time` (monotonic seconds); `version` is empty if it was not a good one."""

    time: float
    version: str
    pid: int = 0  # of the process that answered


def ask(address: str, port: int) -> str:
    """The version that says it is well; empty if none does."""
    return _ask(address, port).version


def _ask(address: str, port: int) -> Answer:
    connection = HTTPConnection(address, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        body = response.read()
        if response.status == 200:
            said = json.loads(body)
            return Answer(time=time.monotonic(), version=str(said["version"]), pid=int(said["pid"]))
    except (OSError, HTTPException, ValueError, KeyError):
        pass
    finally:
        connection.close()
    return Answer(time=time.monotonic(), version="")


def longest_outage(answers: Sequence[Answer], *, began: float, ended: float) -> float:
    """The longest time between two good answers, in seconds; the beginning and the end count as good."""
    good = [began, *(answer.time for answer in answers if answer.version), ended]
    return max(later - earlier for earlier, later in pairwise(good))


def starts(answers: Sequence[Answer]) -> int:
    """How many times the service was started, as far as its answers tell."""
    pids = [answer.pid for answer in answers if answer.version]
    return sum(earlier != later for earlier, later in pairwise(pids))


class Traffic:
    """Asks one service all the time, while the `with` block lasts."""

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self._answers: list[Answer] = []
        self._stop = threading.Event()
        self._began = 0.0
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def answers(self) -> tuple[Answer, ...]:
        return tuple(self._answers)

    @property
    def outage(self) -> float:
        """The longest one so far; one that goes on counts up to now."""
        return longest_outage(self.answers, began=self._began, ended=time.monotonic())

    def _ask(self) -> None:
        while not self._stop.is_set():
            self._answers.append(_ask(self._address, self._port))
            self._stop.wait(INTERVAL)
