"""Run the machine's programs; say in one line what is missing or what failed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE_OF = {
    "bridge": "iproute2",
    "chroot": "coreutils",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nsenter": "util-linux",
    "perl": "perl-base",
    "setsid": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "umount": "mount",
}


class HostsError(Exception):
    """What a person must know, in one line."""


class CommandFailedError(subprocess.CalledProcessError):
    """A command on a host failed; the message holds what it said, because a test's log shows only that."""

    def __str__(self) -> str:
        said = b"\n".join(stream for stream in (self.stdout, self.stderr) if stream)
        return f"{super().__str__()}\n{said.decode(errors='replace')}"


def check_machine() -> None:
    """Raise HostsError unless test hosts can run here."""
    if os.geteuid() != 0:
        raise HostsError("test hosts need root: run this as root (sudo)")
    try:
        distribution = platform.freedesktop_os_release()["ID"]
    except OSError:
        distribution = platform.system()
    if distribution != "debian":
        raise HostsError(f"test hosts need Debian 12 or newer, this is {distribution}")
    missing = sorted({package for name, package in PACKAGE_OF.items() if shutil.which(name) is None})
    if missing:
        raise HostsError(f"programs are missing: run apt-get install {' '.join(missing)}")


def run(*argv: str, stdin: str | None = None, keep: Sequence[int] = ()) -> str:
    """Return what a program of this machine printed; raise HostsError when it fails.

    It has the file descriptors in `keep` too.
    """
    done = subprocess.run(
        argv,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
        pass_fds=keep,
    )
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise HostsError(f"{' '.join(argv)}: {said}")
    return done.stdout


def observe(
    argv: Sequence[str],
    *,
    check: bool,
    stdin: bytes | None,
    timeout: float,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command on a host and keep its bytes; raise CommandFailedError if it fails and `check` is set."""
    done = subprocess.run(
        argv,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        check=False,
        timeout=timeout,
        env=env,
    )
    if check and done.returncode != 0:
        raise CommandFailedError(done.returncode, list(argv), done.stdout, done.stderr)
    return done
