"""What is written down about a lab, so that any process can find it and end it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.hosts.processes import Process, machine_boot
from tests.hosts.programs import HostsError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "lab.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A lab on disk."""

    name: str
    number: int
    flavours: tuple[str, ...]  # of host1, host2 ...
    sudo_password: str
    machine_boot: str
    owner: Process | None = None
    watcher: Process | None = None

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """The lab in this folder; None if there is none."""
        file = folder / FILE
        try:
            fields = json.loads(file.read_text())
            for role in ("owner", "watcher"):
                fields[role] = fields[role] and Process(**fields[role])
            return cls(**fields | {"flavours": tuple(fields["flavours"])})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError):
            raise HostsError(
                f"{file} is not of this version: take the lab down with the version that made it"
            ) from None

    def write(self, folder: Path) -> None:
        """Replace what is written there."""
        file = folder / f".{FILE}"
        file.touch(mode=0o600)  # it holds a password
        file.write_text(json.dumps(asdict(self), indent=2))
        file.replace(folder / FILE)

    @property
    def here(self) -> bool:
        """Whether the lab was made since the machine booted; of an older one only files are left."""
        return self.machine_boot == machine_boot()

    @property
    def stale(self) -> bool:
        """Whether nobody can want it any more."""
        return not self.here or (self.owner is not None and not self.owner.alive)


def owner_of(pid: int | None) -> Process | None:
    """The process that a lab is to end with."""
    if pid is None:
        return None
    owner = Process.of(pid)
    if owner is None:
        raise ProcessLookupError(os.strerror(3))
    return owner
