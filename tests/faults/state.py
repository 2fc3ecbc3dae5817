"""What a host has of the service, as far as the judge looks at it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hosts.host import TestHost

SCRIPT = Path(__file__).with_name("state.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Words as the host says them; empty where there is nothing."""

    current: str = ""  # releases/NAME
    folder: str = ""  # of all releases
    release_binary: str = ""  # sha256, as all digests here
    release_env: str = ""
    release_unit: str = ""
    installed_unit: str = ""
    active: str = ""  # active/running
    pid: str = ""
    need_reload: str = ""
    process_binary: str = ""
    process_file: str = ""  # what it executes
    process_variables: str = ""  # of those that the current release names
    process_folder: str = ""
    process_version: str = ""
    stopped_by_operator: str = ""  # what the mark says; perhaps: it is there and empty
    lock: str = ""
    lock_left: str = ""  # seconds until it expires; negative when it has
    transaction: str = ""
    litter: str = ""
    at_boot: str = ""


def look(host: TestHost, service: str, binary: str) -> State:
    """Ask the host, past its network and its sshd.  Raises HostsError if it is off."""
    done = host.nsenter(["sh", "-s", service, binary], input=SCRIPT.read_bytes(), timeout=30)
    return parse_state(done.stdout.decode(errors="replace"))


def parse_state(text: str) -> State:
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    words = {field.name: said[field.name].strip() for field in fields(State) if field.name in said}
    return State(
        **words,
        active=f"{said.get('ActiveState', '')}/{said.get('SubState', '')}",
        pid=said.get("MainPID", ""),
        need_reload=said.get("NeedDaemonReload", ""),
    )
