"""Make a staged release the current one, and restart the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer import fault, init
from deployer.errors import HostError
from deployer.remote.remote import fields
from deployer.remote.script import read_script
from deployer.report.events import ReleaseSwitched, StageStarted

if TYPE_CHECKING:
    from deployer.init import UnitState
    from deployer.plan.plan import ServicePlan
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.transaction.lock import Owner

_SCRIPT = ("remote/prelude.sh", init.SCRIPT, init.ORDERS, "transaction/state.sh", "switch/switch.sh")
_START_SECONDS = 120.0  # a unit may take TimeoutStartSec=90s


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The unit right after the switch; whether it was started, or its operator had stopped it by then."""

    unit: UnitState
    started: bool
    stopped: bool


def switch(remote: Remote, host: str, plan: ServicePlan, *, owner: Owner, emit: Listener) -> Start:
    """Open a transaction, flip `current`, install the unit, restart.

    From then on the host itself goes back when it hears nothing from this run for its lease.

    Raises:
        HostError: any of it failed; the service may be down, so revert.

    """
    service = plan.service
    emit(StageStarted(host=host, stage="switch", service=service.name))
    helpers = init.helper_files().values() if plan.helpers else ()
    args = (
        *owner.args,
        service.name,
        plan.kind,
        plan.release,
        plan.previous or "-",
        plan.starting,
        *helpers,
    )
    fault.point("switch.before")
    timeout = _START_SECONDS + service.stop_grace_period
    reply = remote.run(read_script(*_SCRIPT), args, timeout=timeout)
    said = fields(reply, what="switching the release")
    fault.point("switch.after")
    states = init.parse_states(reply.stdout.splitlines())
    started, stopped = ["start", "yes"] in said, ["start", "stopped"] in said
    if not states or not (started or stopped or ["start", "no"] in said):
        raise HostError("script_failed", "switching the release said nothing of the unit")
    state = states[0]
    emit(
        ReleaseSwitched(
            host=host,
            service=service.name,
            release=plan.release,
            previous=plan.previous or "",
            pid=state.main_pid if started else 0,
        )
    )
    return Start(unit=state, started=started, stopped=stopped)
