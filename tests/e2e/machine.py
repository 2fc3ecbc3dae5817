"""What end-to-end tests ask of a host: HTTP from outside, systemd, processes and files inside."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.hosts.host import TestHost

_T = TypeVar("_T")


def eventually(ask: Callable[[], _T], *, seconds: float = 60, what: str = "it") -> _T:
    """Ask until the answer is true; the answer.  OSError and HTTPException count as a no."""
    deadline = time.monotonic() + seconds
    said: object = None
    while time.monotonic() < deadline:
        try:
            answer = ask()
            if answer:
                return answer
            said = answer
        except (OSError, HTTPException) as error:
            said = error
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s; last: {said!r}")


def shell(host: TestHost, script: str, *args: str, check: bool = True) -> str:
    """Run `script` as root on the host, `args` as $1 and so on; what it printed."""
    return host.nsenter(["sh", "-uc", script, "sh", *args], check=check).stdout.decode()


def get(host: TestHost, port: int, path: str) -> tuple[int, str]:
    """Status and body of a GET at the host's own address."""
    connection = HTTPConnection(host.address, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def health(host: TestHost, port: int) -> dict[str, Any]:
    """What the sample service says of itself; it must be well."""
    status, body = get(host, port, "/health")
    assert status == 200, (host.name, status, body)
    answer: dict[str, Any] = json.loads(body)
    return answer


def answers(host: TestHost, port: int, version: str) -> bool:
    """Whether the sample service at `version` is well there."""
    return bool(health(host, port)["version"] == version)


def unit(host: TestHost, service: str) -> dict[str, str]:
    """The properties that tests look at (systemctl(1), show)."""
    names = (
        "ActiveState,SubState,MainPID,InvocationID,NRestarts,ExecMainStartTimestampMonotonic,NeedDaemonReload"
    )
    text = shell(host, 'systemctl show -p "$1" "$2"', names, f"{service}.service")
    return dict(line.split("=", 1) for line in text.splitlines())


def main_pid(host: TestHost, service: str) -> int:
    """The main process, by its number on the host; 0 is none."""
    return int(unit(host, service)["MainPID"])


def environ(host: TestHost, service: str) -> dict[str, str]:
    """The environment that the main process was started with, byte for byte."""
    raw = host.nsenter(["cat", f"/proc/{main_pid(host, service)}/environ"]).stdout.decode()
    return dict(entry.split("=", 1) for entry in raw.split("\0") if entry)


def stat(host: TestHost, path: str) -> str:
    """`TYPE MODE OWNER:GROUP` of the path itself, links not followed."""
    return shell(host, "stat -c '%F %a %U:%G' \"$1\"", path).strip()


def inode(host: TestHost, path: str) -> str:
    """The inode number of a file."""
    return shell(host, 'stat -L -c %i "$1"', path).strip()


def releases(host: TestHost, service: str) -> list[str]:
    """Names of everything in the folder of releases, hidden or not, oldest first."""
    return shell(host, 'ls -A "/opt/$1/releases" 2>/dev/null', service, check=False).split()


def current(host: TestHost, service: str) -> str:
    """The release that `current` points at."""
    target = shell(host, 'readlink "/opt/$1/current"', service).strip()
    folder, _, release = target.rpartition("/")
    assert folder == "releases", target
    return release


def starts_at_boot(host: TestHost, service: str) -> bool:
    """Whether any link would start it at boot, itself or by the gate of `unless-stopped`."""
    script = (
        'for link in /etc/systemd/system/*.wants/*"$1".service; do [ ! -L "$link" ] || echo "$link"; done'
    )
    return bool(shell(host, script, service))


@contextmanager
def sshd_with(host: TestHost, line: str) -> Iterator[None]:
    """The host's sshd with one more line of configuration, which wins over those that are there."""
    file = "/etc/ssh/sshd_config.d/a-test.conf"
    shell(host, 'echo "$2" >"$1"; systemctl reload ssh.service', file, line)
    host.wait_until_ready()
    try:
        yield
    finally:
        shell(host, 'rm "$1"; systemctl reload ssh.service', file)
        host.wait_until_ready()
