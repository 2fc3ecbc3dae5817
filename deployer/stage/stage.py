"""Put a release on the host's disk, verified and durable, where nothing uses it yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployer.errors import HostError
from deployer.plan.release import release_json
from deployer.remote.remote import fields
from deployer.remote.script import read_script
from deployer.report.events import ReleaseStaged, StageStarted, UploadProgressed

if TYPE_CHECKING:
    from deployer.plan.plan import ServicePlan
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.stage.encode import Payloads

_SCRIPT = ("remote/prelude.sh", "stage/stage.sh")
_SECONDS = 120.0  # without a byte moving; unpacking and syncing on a slow disk included


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a release says of where it came from."""

    run: str
    by: str
    version: str


def stage(
    remote: Remote, host: str, plan: ServicePlan, *, payloads: Payloads, origin: Origin, emit: Listener
) -> None:
    """Upload one release.

    A binary that the host has in another release is linked; if that fails the whole file is sent.
    Raises HostError: disk full, read-only, damaged on the way, connection lost.
    """
    emit(StageStarted(host=host, stage="stage", service=plan.service.name))
    if plan.encoding.startswith("link:"):
        try:
            _send(remote, host, plan, payloads=payloads, origin=origin, emit=emit)
        except HostError as error:
            if error.cause not in {"cannot_write", "digest_mismatch"}:
                raise
            whole = replace(plan, encoding="gzip")
            _send(remote, host, whole, payloads=payloads, origin=origin, emit=emit)
    else:
        _send(remote, host, plan, payloads=payloads, origin=origin, emit=emit)


def _send(
    remote: Remote, host: str, plan: ServicePlan, *, payloads: Payloads, origin: Origin, emit: Listener
) -> None:
    service, files = plan.service, plan.files
    env, unit = files.env.reveal().encode(), files.unit.encode()
    about = release_json(service, plan.release, run=origin.run, by=origin.by, version=origin.version).encode()
    linked = plan.encoding.startswith("link:")
    payload = b"" if linked else payloads.get(service.binary, plan.encoding)
    total = len(env) + len(unit) + len(about) + len(payload)
    sent = 0

    def progressed(size: int) -> None:
        nonlocal sent
        sent += size
        emit(UploadProgressed(host=host, service=service.name, sent=min(sent, total), total=total))

    reply = remote.run(
        read_script(*_SCRIPT),
        (
            service.name,
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
    fields(reply, what="staging the release")
    emit(
        ReleaseStaged(
            host=host,
            service=service.name,
            release=plan.release,
            sent=total,
            size=service.binary.size,
        )
    )
