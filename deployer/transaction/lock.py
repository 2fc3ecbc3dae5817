"""The lock of a service on a host: who holds it, how it is taken, kept, and let go of."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import HostError
from deployer.remote.remote import fields, sections
from deployer.remote.script import read_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.plan.plan import ServicePlan
    from deployer.remote.remote import Remote

_LOCK = ("remote/prelude.sh", "transaction/state.sh", "transaction/lock.sh")
_RENEW = ("remote/prelude.sh", "transaction/state.sh", "transaction/renew.sh")
_FREE = ("remote/prelude.sh", "transaction/state.sh", "transaction/free.sh")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.@+-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """This run, as the locks it takes name it."""

    run: str
    by: str  # user@host
    pid: int
    origin: str  # the boot and pid namespace that `pid` belongs to, and its start; "-": cannot be told
    lease: int  # seconds without a sign of life after which its locks are free

    @classmethod
    def of_this_process(cls, *, run: str, by: str, lease: int) -> Owner:
        """The owner that this process is."""
        pid = os.getpid()
        return cls(run=run, by=_UNSAFE.sub("_", by), pid=pid, origin=_origin(pid), lease=lease)

    @property
    def args(self) -> tuple[str, ...]:
        """What `owner` in state.sh takes."""
        return (self.run, self.by, str(self.pid), self.origin, str(self.lease))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whoever has a lock, as the host tells it."""

    run: str
    by: str
    pid: int
    origin: str
    since: datetime
    left: int  # seconds until it is free if its run gives no more sign of life

    def __str__(self) -> str:
        since = f"{self.since:%Y-%m-%d %H:%M:%S}Z"
        return f"{self.by} (run {self.run}, pid {self.pid}) since {since}"

    @property
    def expired(self) -> bool:
        """Whether its run has been silent for longer than its lease."""
        return self.left == 0

    def is_dead(self) -> bool:
        """Whether its run was a process of this machine, and is no more."""
        boot, _, _ = self.origin.partition("-")
        if not boot or boot != _boot():
            return False
        found = _origin(self.pid)
        # proc(5), hidepid=: of other users' processes nothing can be seen, and that is no proof of death.
        return self.origin != found if not found.endswith("-") else not _exists(self.pid)


class HeldError(HostError):
    """Another run holds the lock of a service."""

    def __init__(self, service: str, holder: Holder) -> None:
        self.holder = holder
        super().__init__("locked", f"{service} is locked by {holder}", service=service)


class StaleError(HostError):
    """The service is not any more as it was when the plan was made; look again."""


def parse_holder(words: Sequence[str]) -> Holder:
    """The reply of `show_lock` in state.sh."""
    said = dict(word.partition("=")[::2] for word in words)
    return Holder(
        run=said.get("run", ""),
        by=said.get("by", ""),
        pid=_number(said.get("pid")),
        origin=said.get("from", ""),
        since=datetime.fromtimestamp(_number(said.get("since")), UTC),
        left=_number(said.get("left")),
    )


def translate(error: HostError, service: str) -> HostError:
    """The error of a script that takes a lock, as one of the above if it is one."""
    match error.cause:
        case "held":
            return HeldError(service, parse_holder(error.message.partition(": ")[0].split(" ")))
        case "stale":
            return StaleError(error.cause, error.message, service=service)
        case _:
            return error


def take_locks(
    remote: Remote, owner: Owner, plans: Sequence[ServicePlan], breaking: Mapping[str, str]
) -> dict[str, str]:
    """Lock services for which nothing is staged; the release.json of each plan's release.

    `breaking` names, by service, runs that are known to be dead.

    Raises:
        HeldError: another run holds one; those before it are this run's.
        StaleError: one is not as it was observed.
        HostError: the host cannot lock.

    """
    about: dict[str, str] = {}
    for plan in plans:
        name = plan.service.name
        args = (*owner.args, name, plan.seal, breaking.get(name, "-"), plan.release)
        reply = remote.run(read_script(*_LOCK), args, timeout=60)
        try:
            fields(reply, what="taking the lock", done={"locked"})
        except HostError as error:
            raise translate(error, name) from None
        about[name] = "\n".join(sections(reply.stdout).get(f"about {name}", ()))
    return about


def renew_locks(remote: Remote, owner: Owner, services: Sequence[str]) -> None:
    """Give a sign of life; a lost lock shows when it is used.  Raises HostError: no answer."""
    remote.run(read_script(*_RENEW), (owner.run, *services), timeout=max(owner.lease / 3, 1.0))


def free_locks(remote: Remote, owner: Owner, services: Sequence[str]) -> None:
    """Let go of them; what has an open transaction stays guarded by the host.  Raises HostError."""
    if services:
        remote.run(read_script(*_FREE), (owner.run, *services), timeout=30)


def _number(text: str | None) -> int:
    # No further than the year 9999, which is as far as a datetime goes.
    return int(text) if text and re.fullmatch("[0-9]{1,11}", text) else 0


def _boot() -> str:
    """This boot of this machine and its pid namespace, where pids mean something; "": it has no proc(5)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _origin(pid: int) -> str:
    """`BOOT-START` of a process; START is proc(5)'s starttime, in which a pid that is used again differs."""
    boot = _boot()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return f"{boot}-"
    return f"{boot}-{stat.rpartition(')')[2].split()[19]}" if boot else "-"
