"""A host's log from a moment on, and more that `machine` does not ask."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.machine import main_pid

if TYPE_CHECKING:
    from tests.hosts.host import TestHost


def exists(host: TestHost, path: str) -> bool:
    """Whether there is anything at `path`, a link that leads nowhere included."""
    return host.nsenter(["sh", "-c", '[ -e "$1" ] || [ -L "$1" ]', "sh", path], check=False).returncode == 0


def show(host: TestHost, service: str, *properties: str) -> dict[str, str]:
    """Properties of the service's unit."""
    words = ["systemctl", "show", f"--property={','.join(properties)}", f"{service}.service"]
    lines = host.nsenter(words).stdout.decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


def active(host: TestHost, service: str) -> str:
    """The unit's ActiveState."""
    return show(host, service, "ActiveState")["ActiveState"]


def runs(host: TestHost, service: str) -> str:
    """The release that the main process was started from."""
    folder = host.nsenter(["readlink", f"/proc/{main_pid(host, service)}/cwd"]).stdout.decode().strip()
    assert folder.startswith(f"/opt/{service}/releases/"), folder
    return folder.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What a host writes to its log from now on."""

    host: TestHost
    cursor: str

    @classmethod
    def from_now(cls, host: TestHost) -> Journal:
        """Begin here."""
        said = host.nsenter(["journalctl", "--quiet", "--lines=1", "--output=cat", "--show-cursor"]).stdout
        return cls(host=host, cursor=said.decode().rpartition("-- cursor: ")[2].strip())

    def of(self, *programs: str) -> list[str]:
        """The lines of some programs, by the names they log under; of all, if none is named."""
        # Filtered here: before systemd 254 journalctl loses the first line that a filter lets through.
        words = ["journalctl", "--quiet", "--output=json", f"--after-cursor={self.cursor}"]
        records = [json.loads(line) for line in self.host.nsenter(words).stdout.splitlines()]
        return [
            str(record.get("MESSAGE", ""))
            for record in records
            if not programs or record.get("SYSLOG_IDENTIFIER") in programs
        ]

    def sshd(self) -> list[str]:
        """The lines of sshd, which has two programs since OpenSSH 9.8."""
        return self.of("sshd", "sshd-session")
