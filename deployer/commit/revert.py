"""The release failed: put the previous one back, or stop a first one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer import init
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

_SCRIPT = ("remote/prelude.sh", init.SCRIPT, "commit/revert.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """After a revert: what runs now, and how it is told to be well."""

    state: UnitState | None
    healthcheck: Healthcheck  # the one that the previous release was deployed with


def revert(remote: Remote, host: str, plan: ServicePlan, *, emit: Listener) -> Back:
    """Mark the release bad and go back.

    Raises:
        HostError: the host could not go back, so a person must look.

    """
    service = plan.service
    emit(StageStarted(host=host, stage="revert", service=service.name))
    args = (service.name, plan.release, plan.previous or "-", "yes" if plan.start else "no")
    reply = remote.run(read_script(*_SCRIPT), args, timeout=120 + service.stop_grace_period)
    fields(reply, what="going back to the previous release")
    emit(ReleaseReverted(host=host, service=service.name, release=plan.release, to=plan.previous or ""))
    parts = sections(reply.stdout)
    states = init.parse_states(parts.get("state", ()))
    remembered = read_healthcheck("\n".join(parts.get("about", ())))
    return Back(state=states[0] if states else None, healthcheck=remembered or service.healthcheck)
