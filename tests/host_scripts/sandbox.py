"""The real scripts on this machine, under dash with coreutils and under busybox alone.

A sandbox is a mount namespace of its own in which /opt, /var/lib, /etc/systemd and /run are scratch folders,
so that scripts with absolute paths change nothing outside.  The busybox flavour has no other program at all.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.remote.script import BOOT_COMMAND, HELLO, boot_input, read_script

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLAVOURS = ("dash", "busybox")
_SCRATCH = ("opt", "var/lib", "etc/systemd", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A host without an init system; `root` holds its scratch folders."""

    flavour: str
    root: Path

    @property
    def opt(self) -> Path:
        return self.root / "opt"

    def prepare(self) -> None:
        """Make the folders, and for busybox the only programs there are."""
        for name in (*_SCRATCH, "empty", "etc/systemd/system"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        if self.flavour == "busybox":
            install_busybox(self.root / "bin")

    def run(
        self, names: Sequence[str], args: Sequence[str] = (), stdin: bytes = b"", *, before: str = ""
    ) -> str:
        """What the package's scripts `names` say; `before` is done in the namespace first."""
        return self.run_text(read_script(*names), args, stdin, before=before)

    def run_text(self, script: str, args: Sequence[str] = (), stdin: bytes = b"", *, before: str = "") -> str:
        """The output of a script, sent as the deployer sends it; stderr is part of a failing assertion."""
        body = boot_input(script, tuple(args))
        done = subprocess.run(
            self._command(before), input=body + stdin, capture_output=True, timeout=60, check=False
        )
        hello, _, said = done.stdout.decode(errors="replace").partition("\n")
        assert hello == HELLO, done.stderr.decode()
        return said

    def start(self, names: Sequence[str], args: Sequence[str], stdin: bytes) -> subprocess.Popen[bytes]:
        """Send a script and `stdin`, and then neither more nor an end: the line has gone silent."""
        body = boot_input(read_script(*names), tuple(args))
        process = subprocess.Popen(self._command(""), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin
        process.stdin.write(body + stdin)
        process.stdin.flush()
        return process

    def _command(self, before: str) -> list[str]:
        lines = [f"mount --bind {self.root}/{name} /{name}" for name in _SCRATCH]
        lines.append(before)
        if self.flavour == "busybox":
            lines += [f"mount --bind {self.root}/empty /usr/{name}" for name in ("sbin", "local")]
            lines.append(f"mount --bind {self.root}/bin /usr/bin")
        lines.append(f"exec {BOOT_COMMAND}")
        return ["unshare", "--mount", "sh", "-ec", "\n".join(filter(None, lines))]


def install_busybox(folder: Path) -> None:
    """A folder with busybox, a link for each of its applets, and flock.

    That is an applet elsewhere (Alpine, OpenWrt); Debian builds busybox without it, and has util-linux.
    """
    folder.mkdir()
    shutil.copy("/usr/bin/busybox", folder / "busybox")
    shutil.copy("/usr/bin/flock", folder / "flock")
    applets = subprocess.run([folder / "busybox", "--list"], capture_output=True, text=True, check=True)
    for name in applets.stdout.split():
        if name != "busybox":
            (folder / name).symlink_to("busybox")
