"""A first release must go although it was good: there is none to go back to, so stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer import init
from deployer.remote.remote import fields
from deployer.remote.script import read_script
from deployer.report.events import ReleaseReverted, StageStarted

if TYPE_CHECKING:
    from deployer.plan.plan import ServicePlan
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.transaction.lock import Owner

_SCRIPT = ("remote/prelude.sh", init.SCRIPT, init.ORDERS, "transaction/state.sh", "commit/withdraw.sh")


def withdraw(remote: Remote, host: str, plan: ServicePlan, *, owner: Owner, emit: Listener) -> None:
    """Stop the service and keep it from starting at boot; its release is not good any more.

    Raises:
        HostError: it could not be stopped.

    """
    service = plan.service
    emit(StageStarted(host=host, stage="revert", service=service.name))
    args = (*owner.args, service.name, plan.release)
    reply = remote.run(read_script(*_SCRIPT), args, timeout=60 + service.stop_grace_period)
    fields(reply, what="stopping the first release", done={"withdrawn"})
    emit(ReleaseReverted(host=host, service=service.name, release=plan.release, to=""))
