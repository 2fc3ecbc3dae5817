"""How to reach a host and become root on it: plain data, made by `load`, used by `remote`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.secret import Secret

HostKeyChecking = Literal["strict", "accept-new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Become:
    """Run as `user` through sudo; without a password sudo must not ask for one."""

    user: str = "root"
    password: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One SSH destination.  What is None comes from ~/.ssh/config, then from OpenSSH's defaults."""

    address: str
    port: int | None = None
    user: str | None = None
    password: Secret | None = None
    key_file: Path | None = None
    become: Become | None = None
    host_key_checking: HostKeyChecking = "strict"
    known_hosts: tuple[Path, ...] = ()  # instead of OpenSSH's files
    proxy_jump: str | None = None  # user@host:port, comma separated for several; "none" for none
    proxy_command: str | None = None
    ssh_config: Path | None = None  # as `ssh -F`, instead of ~/.ssh/config
    connect_timeout: float = 10.0  # seconds
