"""The release is good: make sure it still runs, keep it, and delete the oldest ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer import fault, init
from deployer.errors import HostError
from deployer.remote.remote import fields
from deployer.remote.script import read_script
from deployer.report.events import ReleaseCommitted, StageStarted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.plan.plan import ServicePlan
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.transaction.lock import Owner

_SCRIPT = ("remote/prelude.sh", init.SCRIPT, "transaction/state.sh", init.STRANGERS, "commit/commit.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A service of this host that runs a new release, not yet committed."""

    plan: ServicePlan
    pid: int  # of the process that was verified; 0: it was not started
    restarts: int = 0  # automatic ones, when that process was started
    listens: str = "-"  # where its health test is answered, as `Healthcheck.listens` has it


def commit(remote: Remote, host: str, switched: Sequence[Switched], *, owner: Owner, emit: Listener) -> None:
    """Close the transactions of all services of the host in one exec, and let go of their locks.

    Raises:
        HostError: one of them no longer runs as it was verified (`crashed`, `moved`, `stranger`), went
            back by itself (`put_back`), or got an order from its operator (`operator_stopped`, `restarted`).

    """
    if not switched:
        return
    emit(StageStarted(host=host, stage="commit"))
    words = tuple(
        word
        for item in switched
        for word in (
            item.plan.service.name,
            item.plan.kind,
            item.plan.release,
            item.plan.previous or "-",
            "stopped" if item.plan.stopped_by_operator else str(item.pid),
            str(item.restarts),
            item.listens,
            str(item.plan.service.keep_releases),
        )
    )
    fault.point("commit.before")
    reply = remote.run(read_script(*_SCRIPT), (*owner.args, *words), timeout=60)
    try:
        fields(reply, what="committing the release", done={"committed"})
    except HostError as error:
        name, _, said = error.message.partition(" ")  # commit.sh begins with the one that fell
        if name in words:
            raise HostError(error.cause, f"it {said}", service=name) from None
        raise
    fault.point("commit.after")
    for item in switched:
        emit(ReleaseCommitted(host=host, service=item.plan.service.name, release=item.plan.release))
