"""OpenSSH: keys, and how to call the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hosts.programs import run

if TYPE_CHECKING:
    from pathlib import Path


def make_key(file: Path, *, comment: str) -> str:
    """Make a throwaway ed25519 key pair in `file` and `file`.pub; return the public key's line."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file))
    return file.with_name(f"{file.name}.pub").read_text()


def client(*, address: str, user: str, key: Path, known_hosts: Path) -> tuple[str, ...]:
    """The start of a client's command line; nothing of the user's own set-up has a say in it."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ControlMaster": "no",
        "ControlPath": "none",
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": str(key),
        # A quarter off every connection, compared with the post-quantum default.
        "KexAlgorithms": "curve25519-sha256",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "yes",
        "User": user,
        "UserKnownHostsFile": str(known_hosts),
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    return ("ssh", "-F", "/dev/null", *flags, "--", address)
