"""Whose a port is: of the socket which the kernel gives a connection to, and of no unit of the same name."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from deployer.desired import Healthcheck, HttpTest
from deployer.remote.script import read_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHELLS = (["dash"], ["busybox", "sh"])
SCRIPT = read_script("remote/prelude.sh", "init/systemd.sh", "init/strangers.sh")
# The tests run in one control group, so there only the process itself is the service's.
ALONE = 'init_owns() { [ "$3" = "$2" ]; }\n'


def listens(host: str, port: int, *, address: str = "") -> str:
    test = HttpTest(url="http://", host=host, port=port, path="/", tls=False)
    check = Healthcheck(
        test=test, interval=1, timeout=1, retries=1, start_period=0, start_interval=1, stay_up=1
    )
    return check.listens(address)


def run(shell: Sequence[str], script: str, *args: str) -> str:
    body = f"{SCRIPT}\n{ALONE}{script}"
    done = subprocess.run([*shell, "-c", body, "sh", *args], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def stranger(shell: Sequence[str], where: str) -> str:
    """Who answers there instead of this process."""
    return run(shell, 'strangers app "$1" "$2"; say "$who"', str(os.getpid()), where).strip()


@contextmanager
def listening(
    family: int, address: str, port: int = 0, *, only_v6: bool = False, shared: bool = False
) -> Iterator[int]:
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        server.bind((address, port))
        server.listen()
        yield server.getsockname()[1]


# It listens where it is told to until its standard input ends.
OTHER = """
import socket, sys
address, port = sys.argv[1:]
server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind((address, int(port)))
server.listen()
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def somebody_else(address: str, port: int) -> Iterator[str]:
    """Who is it, as `strangers` says it."""
    command = ["python3", "-c", OTHER, address, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"\n"
        yield f"pid {process.pid} (python3)"
        process.communicate()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_listener_on_another_address_of_the_port_answers_nothing(shell: list[str]) -> None:
    with listening(socket.AF_INET, "127.0.0.1") as port, somebody_else("::1", port) as other:
        assert stranger(shell, listens("127.0.0.1", port)) == ""
        assert stranger(shell, listens("::1", port)) == other
        assert stranger(shell, listens("localhost", port)) == other
    with listening(socket.AF_INET, "127.0.0.3") as port, somebody_else("127.0.0.2", port) as other:
        assert stranger(shell, listens("127.0.0.2", port)) == other
        assert stranger(shell, listens("127.0.0.3", port)) == ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_who_shares_an_address_answers_too(shell: list[str]) -> None:
    with listening(socket.AF_INET, "127.0.0.1", shared=True) as port:
        with somebody_else("127.0.0.1", port) as other:
            assert stranger(shell, listens("127.0.0.1", port)) == other
        assert stranger(shell, listens("127.0.0.1", port)) == ""
        with listening(socket.AF_INET, "127.0.0.1", port, shared=True):  # one more of its own
            assert stranger(shell, listens("127.0.0.1", port)) == ""


def test_who_listens_at_another_address_of_the_host_answers_nothing() -> None:
    """Which addresses a name has the kernel does not tell."""
    with listening(socket.AF_INET, "0.0.0.0", shared=True) as port, somebody_else("0.0.0.0", port):
        assert stranger(SHELLS[0], listens("web1", port, address="web1")) == ""


def test_the_very_address_is_asked_before_all_of_them() -> None:
    with listening(socket.AF_INET6, "::", only_v6=True) as port, somebody_else("127.0.0.1", port) as other:
        assert stranger(SHELLS[0], listens("127.0.0.1", port)) == other
        assert stranger(SHELLS[0], listens("::1", port)) == ""
        assert stranger(SHELLS[0], listens("10.9.8.7", port, address="10.9.8.7")) == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "10.9.8.7", "web1"])
def test_who_listens_on_all_addresses_answers_on_each(host: str) -> None:
    with listening(socket.AF_INET6, "::") as port:
        assert stranger(SHELLS[0], listens(host, port, address=host)) == ""
    with somebody_else("::", port) as other:
        assert stranger(SHELLS[0], listens(host, port, address=host)) == other


def test_from_afar_nobody_is_answered_on_loopback() -> None:
    with listening(socket.AF_INET, "127.0.0.1") as port, somebody_else("::1", port):
        for host in ("web1", "10.9.8.7"):
            assert stranger(SHELLS[0], listens(host, port, address=host)) == ""


@pytest.mark.parametrize(
    ("host", "address", "where"),
    [
        ("localhost", "10.0.0.5", "localhost:80"),
        ("127.0.0.1", "10.0.0.5", "0100007F:80"),
        ("127.1.2.3", "10.0.0.5", "0302017F:80"),
        ("::1", "10.0.0.5", "00000000000000000000000001000000:80"),
        ("10.0.0.5", "10.0.0.5", "0500000A:80"),
        ("2001:db8::9", "2001:db8::9", "any:80"),
        ("web1", "web1", "any:80"),
        ("10.0.0.6", "10.0.0.5", "-"),
        ("another", "web1", "-"),
    ],
)
def test_where_it_must_listen_is_said_as_the_kernel_does(host: str, address: str, where: str) -> None:
    assert listens(host, 80, address=address) == where


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("main", "other", "owned"),
    [
        ("0::/system.slice/app.service", "0::/system.slice/app.service", True),
        ("0::/system.slice/app.service", "0::/system.slice/app.service/worker", True),
        ("0::/system.slice/app.service/main", "0::/system.slice/app.service/worker", True),
        ("0::/x.slice/x-y.slice/app.service", "0::/x.slice/x-y.slice/app.service", True),
        ("0::/system.slice/app.service", "0::/system.slice/app.service-not", False),
        ("0::/system.slice/app.service", "0::/user.slice/user@1.service/app.slice/app.service", False),
        ("0::/system.slice/app.service", "0::/machine.slice/a.service/system.slice/app.service", False),
        (
            "9:cpu:/\n1:name=systemd:/system.slice/app.service",
            "9:cpu:/system.slice/app.service\n1:name=systemd:/user.slice",
            False,
        ),
        (
            "9:cpu:/\n1:name=systemd:/system.slice/app.service",
            "9:cpu:/\n1:name=systemd:/system.slice/app.service",
            True,
        ),
        ("", "0::/", False),
    ],
)
def test_a_process_is_the_services_by_the_path_of_its_control_group(
    shell: list[str],
    main: str,
    other: str,
    owned: bool,  # noqa: FBT001
) -> None:
    fake = r"""
    sed() { for last; do :; done; case $last in */7/*) text=$main ;; *) text=$other ;; esac
      printf '%s\n' "$text" | command sed "$1" "$2" "$3" "$4" "$5"; }
    main=$1 other=$2
    if owns app 7 8; then say yes; else say no; fi
    """
    real = read_script("init/systemd.sh").partition("init_owns()")[2].partition("\n}\n")[0]
    script = f"owns(){real}\n}}\n{fake}"
    assert run(shell, script, main, other) == f"{'yes' if owned else 'no'}\n"
