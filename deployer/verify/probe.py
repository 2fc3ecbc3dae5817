"""One answer to a health test, asked from the host's point of view."""

from __future__ import annotations

import http.client
import re
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.desired import ExecTest, HealthTest, HttpTest, TcpTest
from deployer.errors import HostError
from deployer.remote.remote import ForwardingRefusedError, last_line
from deployer.remote.script import read_script
from deployer.verify import http as over_ssh

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.desired import Service
    from deployer.remote.remote import Remote

_SCRIPT = ("remote/prelude.sh", "verify/probe.sh")
_SHOWN = 200  # characters of an answer
_NO_TOOL = 99
_SLACK = 10.0  # seconds an exec may take beyond the test's own timeout
_HTTP_HEAD = re.compile(r"HTTP/\d(?:\.\d)? (\d{3})")
_GOOD = range(200, 400)
_STATUS = re.compile("[0-9]{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one test said; `detail` is a line of text from the host, secrets removed."""

    healthy: bool
    detail: str


class Prober:
    """Asks one service's health test, over a forwarded channel where the server allows one."""

    def __init__(
        self,
        remote: Remote,
        service: Service,
        *,
        redact: Callable[[str], str],
        fell_back: Callable[[str], None],
    ) -> None:
        self._remote = remote
        self._service = service
        self._redact = redact
        self._fell_back = fell_back
        self._forwarding = True

    def ask(self) -> Answer:
        """One answer.

        Raises:
            HostError: the host cannot be asked at all.

        """
        test, timeout = self._service.healthcheck.test, self._service.healthcheck.timeout
        if test is None:
            return Answer(healthy=True, detail="no health test; it only has to stay up")
        if not isinstance(test, ExecTest) and self._forwarding:
            try:
                return ask_forwarded(self._remote, test, timeout, redact=self._redact)
            except ForwardingRefusedError:
                self._forwarding = False
                self._fell_back("the server forbids TCP forwarding; testing with the host's own tools")
        return self._on_host(test, timeout)

    def _on_host(self, test: HealthTest, timeout: float) -> Answer:
        seconds = f"{timeout:g}"
        args: tuple[str, ...]
        match test:
            case HttpTest():
                args = ("http", seconds, test.url, test.host, str(test.port), test.path)
            case TcpTest():
                args = ("tcp", seconds, test.host, str(test.port))
            case ExecTest():
                args = ("exec", seconds, self._service.name, self._service.user, *test.argv)
        reply = self._remote.run(read_script(*_SCRIPT), args, timeout=timeout + _SLACK)
        output, _, end = reply.stdout.rpartition("exit ")
        status = int(end) if _STATUS.fullmatch(end.strip()) else -1
        if status == _NO_TOOL and not isinstance(test, ExecTest):
            message = "the server forbids TCP forwarding and the host has no tool to test with"
            raise HostError("no_probe", message, hint="allow AllowTcpForwarding local, or install curl there")
        if isinstance(test, HttpTest) and (head := _HTTP_HEAD.search(output)):
            body = re.split(r"\r?\n\r?\n", output, maxsplit=1)
            return _http_answer(int(head[1]), body[1] if len(body) > 1 else "", self._redact)
        if status == 0 and not isinstance(test, HttpTest):
            return Answer(healthy=True, detail=_short(last_line(output), self._redact) or "exit status 0")
        detail = _short(last_line(output), self._redact)
        return Answer(healthy=False, detail=f"exit status {status}" + (f": {detail}" if detail else ""))


def ask_forwarded(
    remote: Remote, test: HttpTest | TcpTest, timeout: float, *, redact: Callable[[str], str]
) -> Answer:
    """One answer over a forwarded channel.

    Raises:
        ForwardingRefusedError: the server allows none.
        HostError: the connection was lost.

    """
    until = time.monotonic() + timeout  # for all of it: to connect, to ask, and to hear the answer
    try:
        channel = remote.connect_tcp(test.host, test.port, timeout=timeout)
        try:
            if isinstance(test, TcpTest):
                return Answer(healthy=True, detail="connected")
            left = until - time.monotonic()
            return _http_answer(*over_ssh.get(channel, test, timeout=left), redact)
        finally:
            channel.close()
    except TimeoutError:
        return Answer(healthy=False, detail=f"no answer within {timeout:g} s")
    except ssl.SSLError as error:
        return Answer(healthy=False, detail=f"TLS failed: {error.reason}")
    except ConnectionRefusedError:
        return Answer(healthy=False, detail=f"cannot connect to {test.host} port {test.port}")
    except OSError as error:
        return Answer(healthy=False, detail=str(error) or type(error).__name__)
    except http.client.HTTPException:
        return Answer(healthy=False, detail="the answer is not HTTP")


def _http_answer(status: int, body: str, redact: Callable[[str], str]) -> Answer:
    shown = _short(body, redact)
    return Answer(healthy=status in _GOOD, detail=f"{status}" + (f" {shown}" if shown else ""))


def _short(text: str, redact: Callable[[str], str]) -> str:
    # Redacted first: half a secret would not be recognised.
    line = " ".join(redact(text).split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."
