"""One GET over a forwarded channel: http.client's parser on bytes that came through SSH."""

from __future__ import annotations

import http.client
import io
import re
import ssl
import time
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import socket

    from deployer.desired import HttpTest
    from deployer.remote.remote import TcpChannel

_ENOUGH = 16 * 1024  # bytes of head and body; the rest is not read
_BODY = 2048
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*(?:\r\n|$)", re.IGNORECASE)


def get(channel: TcpChannel, test: HttpTest, *, timeout: float) -> tuple[int, str]:
    """Status and first bytes of the body.

    HTTPS certificates are not verified: the test speaks to the host itself, mostly by its loopback
    address (Kubernetes' httpGet does the same).

    Raises:
        OSError: no answer in time, or the connection broke.
        http.client.HTTPException: what came is not HTTP.

    """
    timed = _Timed(channel, time.monotonic() + timeout)
    stream = _Tls(timed, test.host) if test.tls else timed
    host = f"[{test.host}]" if ":" in test.host else test.host
    default = 443 if test.tls else 80
    place = host if test.port == default else f"{host}:{test.port}"
    request = (
        f"GET {test.path} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: deployer\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    stream.sendall(request.encode("ascii"))
    received = bytearray()
    while len(received) < _ENOUGH and not _is_whole(received):
        piece = stream.recv(_ENOUGH)
        if not piece:
            break
        received += piece
    if not received:
        raise ConnectionResetError("the connection was closed without an answer")
    return _parse(bytes(received))


def _is_whole(answer: bytearray) -> bool:
    """Whether the body is as long as was announced: not every server closes then, as it was asked to."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head) if end else None
    return length is not None and len(body) >= int(length[1])


def _parse(answer: bytes) -> tuple[int, str]:
    response = http.client.HTTPResponse(cast("socket.socket", _Answer(answer)))
    response.begin()
    try:
        body = response.read(_BODY)
    except http.client.HTTPException as error:  # cut off in the middle of a chunk
        body = getattr(error, "partial", b"")
    return response.status, body.decode(errors="replace")


class _Answer:
    """As much of a socket as HTTPResponse asks for."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


class _Timed:
    """A channel whose waits all end at one time, however many there are.

    With a time for each of them, a server that says a byte now and then is waited for without end; and one
    answer over TLS takes many, of which most bring nothing that its caller sees.
    """

    def __init__(self, channel: TcpChannel, deadline: float) -> None:
        self._channel = channel
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        for start in range(0, len(data), _ENOUGH):
            self._wait_no_longer()
            self._channel.sendall(data[start : start + _ENOUGH])

    def recv(self, size: int) -> bytes:
        self._wait_no_longer()
        return self._channel.recv(size)

    def _wait_no_longer(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(left)


class _Tls:
    """TLS over something that is not a socket."""

    def __init__(self, channel: _Timed, host: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._channel = channel
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def sendall(self, data: bytes) -> None:
        while True:
            try:
                self._tls.write(data)
            except ssl.SSLWantReadError:  # the handshake goes on
                self._pump()
            else:
                self._channel.sendall(self._outgoing.read())
                return

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._pump()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def _pump(self) -> None:
        if self._outgoing.pending:
            self._channel.sendall(self._outgoing.read())
        piece = self._channel.recv(_ENOUGH)
        if piece:
            self._incoming.write(piece)
        else:
            self._incoming.write_eof()
