"""One GET against real servers on loopback, well-behaved and not: an answer or the reason for none."""

from __future__ import annotations

import datetime as dt
import http.client
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployer.desired import HttpTest
from deployer.verify.http import get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Talk = Callable[[socket.socket], None]

TIMEOUT = 1.0  # short for a test, and long for a busy machine


@contextmanager
def serving(talk: Talk, *, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that takes one connection and talks; the port it listens on."""

    def serve() -> None:
        with suppress(OSError):  # the client may go at any time
            connection, _ = listener.accept()
            with connection:
                if tls is None:
                    talk(connection)
                else:
                    with tls.wrap_socket(connection, server_side=True) as secure:
                        talk(secure)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
    thread.join(5)
    assert not thread.is_alive()


def ask(port: int, path: str = "/health", *, tls: bool = False, timeout: float = TIMEOUT) -> tuple[int, str]:
    test = HttpTest(
        url=f"http{'s' * tls}://127.0.0.1:{port}{path}", tls=tls, host="127.0.0.1", port=port, path=path
    )
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as channel:
        return get(channel, test, timeout=timeout)


def saying(*pieces: bytes, pause: float = 0.0, stay: bool = False) -> Talk:
    """Read the request, say the pieces, and close, or stay until the client goes."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        if stay:
            connection.recv(1)

    return talk


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([HEAD, b"\r\nfine"], (200, "fine")),
        ([HEAD, b"Content-Length: 4\r\n\r\nfine and more"], (200, "fine")),
        ([HEAD, b"Transfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n"], (200, "fine")),
        ([HEAD, b"Transfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nn"], (200, "fi")),  # cut off
        ([HEAD, b"Content-Length: 10\r\n\r\nfine"], (200, "fine")),  # cut off
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], (204, "")),
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], (404, "")),
        ([b"HTTP/1.0 200 OK\n\nfine"], (200, "fine")),  # bare newlines
        ([b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, b"\r\nfine"], (200, "fine")),
        ([b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"], (302, "")),  # not followed
        ([b"HTTP/1.1 200 OK"], (200, "")),
        ([HEAD, b"\r\n\xff\xfe"], (200, "\ufffd\ufffd")),
        ([HEAD[:7], HEAD[7:], b"\r", b"\n", b"fi", b"ne"], (200, "fine")),
    ],
)
def test_an_answer_is_read_however_it_is_sent(pieces: list[bytes], answer: tuple[int, str]) -> None:
    with serving(saying(*pieces, pause=0.005)) as port:
        assert ask(port) == answer


def test_a_server_that_does_not_close_has_answered_all_the_same() -> None:
    with serving(saying(HEAD, b"content-length: 4\r\n\r\nfi", b"ne", pause=0.01, stay=True)) as port:
        assert ask(port) == (200, "fine")


def test_a_huge_body_is_not_waited_for() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + b"\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with serving(talk) as port:
        status, body = ask(port)
    assert status == 200
    assert body == "x" * 2048


def test_a_huge_head_is_no_reason_to_wait_either() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD)
        while True:
            connection.sendall(b"X: " + b"y" * 1000 + b"\r\n")

    with serving(talk) as port:
        assert ask(port)[0] == 200


@pytest.mark.parametrize(
    "content",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 100, b"HTTP/1.1 abc\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"\n"],
)
def test_what_is_not_http_is_said_to_be_not_http(content: bytes) -> None:
    with serving(saying(content)) as port, pytest.raises(http.client.HTTPException):
        ask(port)


def test_a_connection_that_is_closed_early_is_no_answer() -> None:
    with serving(saying()) as port, pytest.raises(ConnectionResetError, match="without an answer"):
        ask(port)


@pytest.mark.parametrize(
    "talk",
    [
        saying(stay=True),  # says nothing
        saying(HEAD, stay=True),  # begins and stops
        saying(HEAD, b"Content-Length: 10\r\n\r\nfine", stay=True),
        saying(*[b"x"] * 200, pause=0.02),  # speaks too slowly
    ],
    ids=["silent", "half a head", "half a body", "slow"],
)
def test_a_server_that_does_not_answer_in_time_is_left_in_time(talk: Talk) -> None:
    began = time.monotonic()
    with serving(talk) as port:
        with pytest.raises(TimeoutError):
            ask(port)
        assert TIMEOUT * 0.9 <= time.monotonic() - began < TIMEOUT * 2


def test_the_request_is_plain_and_asks_for_one_answer() -> None:
    heard: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(HEAD + b"\r\n")

    with serving(talk) as port:
        ask(port, "/health?full=1")
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "GET /health?full=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines
    assert "Connection: close" in lines
    assert lines[-2:] == ["", ""]


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [
        ("a", 80, "a"),
        ("a", 443, "a:443"),
        ("a", 81, "a:81"),
        ("::1", 80, "[::1]"),
        ("::1", 8080, "[::1]:8080"),
    ],
)
def test_the_host_header_is_spelled_as_a_browser_would(host: str, port: int, shown: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        test = HttpTest(url="", tls=False, host=host, port=port, path="/")
        assert get(ours, test, timeout=TIMEOUT) == (204, "")
        assert f"\r\nHost: {shown}\r\n" in theirs.recv(65536).decode()


# -- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context with a certificate that nobody signed and that is for another name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another.example")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now - dt.timedelta(days=1))  # expired, too
        .sign(key, hashes.SHA256())
    )
    path: Path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_https_is_answered_whatever_the_certificate_says(tls: ssl.SSLContext) -> None:
    with serving(saying(HEAD, b"\r\nfi", b"ne", pause=0.01), tls=tls) as port:
        assert ask(port, tls=True, timeout=2) == (200, "fine")


def test_https_of_a_server_that_does_not_close(tls: ssl.SSLContext) -> None:
    with serving(saying(HEAD, b"Content-Length: 4\r\n\r\nfine", stay=True), tls=tls) as port:
        assert ask(port, tls=True, timeout=2) == (200, "fine")


def test_an_old_version_of_tls_will_do(tls: ssl.SSLContext) -> None:
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        with serving(saying(HEAD, b"\r\nfine"), tls=tls) as port:
            assert ask(port, tls=True, timeout=2) == (200, "fine")
    finally:
        tls.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED


def test_a_huge_body_over_https(tls: ssl.SSLContext) -> None:
    with serving(saying(HEAD + b"\r\n" + b"x" * 10_000_000), tls=tls) as port:
        assert ask(port, tls=True, timeout=2) == (200, "x" * 2048)


def test_a_server_that_speaks_no_tls_is_an_error_of_tls() -> None:
    with serving(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port, pytest.raises(ssl.SSLError):
        ask(port, tls=True)


def test_a_server_that_closes_in_the_handshake_is_an_error() -> None:
    with serving(saying()) as port, pytest.raises(OSError, match=r"."):
        ask(port, tls=True)


def test_a_server_that_is_silent_in_the_handshake_is_left_in_time() -> None:
    began = time.monotonic()
    with serving(saying(stay=True)) as port:
        with pytest.raises(TimeoutError):
            ask(port, tls=True)
        assert time.monotonic() - began < TIMEOUT * 2


def test_a_server_that_is_silent_after_the_handshake_is_left_in_time(tls: ssl.SSLContext) -> None:
    with serving(saying(stay=True), tls=tls) as port, pytest.raises(TimeoutError):
        ask(port, tls=True)


def dripping(context: ssl.SSLContext, *, said: bytes, size: int, pause: float = 0.05) -> Talk:
    """A server of TLS whose bytes come `size` at a time once it has said `said` bytes, and never end."""

    def talk(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = context.wrap_bio(incoming, outgoing, server_side=True)
        whole = True

        def send() -> None:
            content = outgoing.read()
            for start in range(0, len(content), size if not whole else len(content) or 1):
                connection.sendall(content[start : start + (len(content) if whole else size)])
                if not whole:
                    time.sleep(pause)

        if said == b"":  # from the handshake on
            whole = False
        while True:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                send()
                incoming.write(connection.recv(65536))
            else:
                break
        send()
        whole = False
        secure.write(said)
        send()
        while True:  # a record with one byte each
            secure.write(b"x")
            send()

    return talk


@pytest.mark.parametrize(
    ("said", "size"),
    [
        (b"", 1),  # the handshake, byte by byte
        (HEAD, 1),  # the answer, byte by byte
        (HEAD, 65536),  # the answer, record by record
        (HEAD + b"Content-Length: 100000\r\n\r\n", 65536),
    ],
    ids=["handshake", "bytes", "records", "body"],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED], ids=str)
def test_a_server_that_drips_over_tls_is_left_in_time(
    tls: ssl.SSLContext, said: bytes, size: int, version: ssl.TLSVersion
) -> None:
    tls.maximum_version = version
    try:
        began = time.monotonic()
        with serving(dripping(tls, said=said, size=size)) as port:
            with pytest.raises(TimeoutError):
                ask(port, tls=True)
            assert time.monotonic() - began < TIMEOUT * 2
    finally:
        tls.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
