"""What goes into this stage and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.desired import Play
    from deployer.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """The command line's part; as in Ansible it gives way to the play, and the play to variables."""

    user: str | None = None
    private_key: Path | None = None
    become: bool = False
    become_user: str | None = None
    become_password: Secret | None = None
    timeout: float = 10.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What the command line says about which files, which hosts, which variables."""

    playbook: str
    inventory: tuple[str, ...] = ()
    limit: str | None = None
    extra_vars: tuple[str, ...] = ()
    connection: ConnectionOptions = field(default_factory=ConnectionOptions)
    with_files: bool = True  # read binaries and env files too; what is not deployed needs none


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A playbook whose every file was read and found good."""

    playbook: Path
    plays: tuple[Play, ...]
