"""The release failed: put the previous one back, or stop a first one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from deployer import fault, init
from deployer.errors import HostError
from deployer.plan.release import read_healthcheck
from deployer.remote.remote import fields, sections
from deployer.remote.script import read_script
from deployer.report.events import ReleaseReverted, StageStarted

if TYPE_CHECKING:
    from deployer.desired import Healthcheck
    from deployer.init import UnitState
    from deployer.plan.plan import ServicePlan
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.transaction.lock import Owner

_SCRIPT = (
    "remote/prelude.sh",
    init.SCRIPT,
    init.ORDERS,
    "transaction/state.sh",
    "transaction/undo.sh",
    "commit/revert.sh",
)
How = Literal["undone", "put_back", "committed", "untouched"]
"""Undone now; by the host itself, before; not, for it was committed; not, for nothing was switched yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """After a revert: what runs now, and how it is told to be well."""

    how: How
    state: UnitState
    stopped_by_operator: bool  # while the release was on trial
    healthcheck: Healthcheck  # the one that the previous release was deployed with


def revert(remote: Remote, host: str, plan: ServicePlan, *, owner: Owner, emit: Listener) -> Back:
    """Put back what the transaction found, and mark the release as failed.

    Raises:
        HostError: the host could not go back, so a person must look.

    """
    service = plan.service
    emit(StageStarted(host=host, stage="revert", service=service.name))
    args = (*owner.args, service.name, plan.release, plan.previous or "-", str(service.keep_releases))
    fault.point("revert.before")
    reply = remote.run(read_script(*_SCRIPT), args, timeout=120 + service.stop_grace_period)
    fields(reply, what="going back to the previous release", done=get_args(How))
    fault.point("revert.after")
    parts = sections(reply.stdout)
    how = cast("How", next(line for line in parts[""] if line in get_args(How)))
    if how in {"undone", "put_back"}:
        emit(ReleaseReverted(host=host, service=service.name, release=plan.release, to=plan.previous or ""))
    states = init.parse_states(parts.get("state", ()))
    if not states:
        raise HostError("bad_answer", "the host went back and said nothing of the unit")
    remembered = read_healthcheck("\n".join(parts.get("about", ())))
    return Back(
        how=how,
        state=states[0],
        stopped_by_operator="stopped_by_operator" in parts[""],
        healthcheck=remembered or service.healthcheck,
    )
