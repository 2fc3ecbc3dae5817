"""Put a release on the host's disk, verified and durable, where nothing uses it yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployer import fault
from deployer.errors import HostError
from deployer.plan.release import release_json
from deployer.remote.remote import fields
from deployer.remote.script import read_script
from deployer.report.events import ReleaseStaged, StageStarted, UploadProgressed
from deployer.transaction.lock import translate

if TYPE_CHECKING:
    from deployer.plan.plan import ServicePlan
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.stage.encode import Payloads
    from deployer.transaction.lock import Owner

_SCRIPT = ("remote/prelude.sh", "transaction/state.sh", "stage/stage.sh")
_SECONDS = 120.0  # without a byte moving; unpacking and syncing on a slow disk included


@dataclass(frozen=True, slots=True, kw_only=True)
class Stager:
    """What all uploads of a run share."""

    owner: Owner
    version: str  # of deployer
    payloads: Payloads
    emit: Listener


def stage(remote: Remote, host: str, plan: ServicePlan, stager: Stager, *, breaking: str = "-") -> None:
    """Lock the service and upload one release.  `breaking`: a run that is known to be dead.

    A binary that the host has in another release is linked; if that fails the whole file is sent.

    Raises:
        HeldError: another run holds the lock.
        StaleError: the service is not as it was observed.
        HostError: disk full, read-only, damaged on the way, connection lost.

    """
    stager.emit(StageStarted(host=host, stage="stage", service=plan.service.name))
    fault.point("stage.before")
    try:
        _send(remote, host, plan, stager, breaking)
    except HostError as error:
        if not plan.encoding.startswith("link:") or error.cause not in {"cannot_write", "digest_mismatch"}:
            raise
        _send(remote, host, replace(plan, encoding="gzip"), stager, breaking)
    fault.point("stage.after")


def _send(remote: Remote, host: str, plan: ServicePlan, stager: Stager, breaking: str) -> None:
    service, files = plan.service, plan.files
    env, unit = files.env.reveal().encode(), files.unit.encode()
    owner = stager.owner
    about = release_json(service, plan.release, run=owner.run, by=owner.by, version=stager.version).encode()
    linked = plan.encoding.startswith("link:")
    payload = b"" if linked else stager.payloads.get(service.binary, plan.encoding)
    total = len(env) + len(unit) + len(about) + len(payload)
    sent = 0

    def progressed(size: int) -> None:
        nonlocal sent
        sent += size
        stager.emit(UploadProgressed(host=host, service=service.name, sent=min(sent, total), total=total))

    reply = remote.run(
        read_script(*_SCRIPT),
        (
            *owner.args,
            service.name,
            plan.seal,
            breaking,
            plan.release,
            service.user,
            service.binary.name,
            service.binary.sha256,
            plan.encoding,
            str(len(env)),
            str(len(unit)),
            str(len(about)),
        ),
        stdin=(env, unit, about, payload),
        timeout=_SECONDS,
        progress=progressed,
    )
    try:
        fields(reply, what="staging the release")
    except HostError as error:
        raise translate(error, service.name) from None
    stager.emit(
        ReleaseStaged(
            host=host,
            service=service.name,
            release=plan.release,
            sent=total,
            size=service.binary.size,
        )
    )
