"""Where test hosts keep things on this machine: never in the repository."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# One lock for the whole machine, whatever DEPLOYER_TEST_STATE says: subnets and bridges are the machine's.
MACHINE_LOCK = Path("/run/lock/deployer-tests.lock")


def cache() -> Path:
    """The folder of built root folders; they can be built again."""
    return Path(os.environ.get("DEPLOYER_TEST_CACHE", "/var/cache/deployer-tests")).absolute()


def state() -> Path:
    """The folder of running labs; on a disk, because an overlay cannot be stacked on every file system."""
    return Path(os.environ.get("DEPLOYER_TEST_STATE", "/var/lib/deployer-tests")).absolute()


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a lock file, as a file descriptor; it is free when all processes that have this are gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
