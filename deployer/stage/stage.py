"""Put a release on the host's disk, verified and durable, where nothing uses it yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer import fault
from deployer.errors import HostError
from deployer.plan.release import release_json
from deployer.remote.remote import fields
from deployer.remote.script import read_script
from deployer.report.events import ReleaseStaged, StageStarted, UploadFellBack, UploadProgressed
from deployer.transaction.lock import translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deployer.plan.plan import Encoding, ServicePlan
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.stage.bandwidth import Bandwidth
    from deployer.stage.encode import Payloads
    from deployer.transaction.lock import Owner

_SCRIPT = ("remote/prelude.sh", "transaction/state.sh", "stage/stage.sh")
_SECONDS = 120.0  # without a byte moving; unpacking and syncing on a slow disk included
_MAY_BE_BETTER_NEXT = {"cannot_unpack", "digest_mismatch"}
"""Causes for which the next way may be better: what it is made from, or with, is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stager:
    """What all uploads of a run share."""

    owner: Owner
    version: str  # of deployer
    payloads: Payloads
    bandwidth: Bandwidth
    emit: Listener


def stage(remote: Remote, host: str, plan: ServicePlan, stager: Stager, *, breaking: str = "-") -> None:
    """Lock the service and upload one release.  `breaking`: a run that is known to be dead.

    The plan's encodings are tried in turn, each in one exec.

    Raises:
        HeldError: another run holds the lock.
        StaleError: the service is not as it was observed.
        HostError: disk full, read-only, damaged on the way, connection lost.

    """
    service = plan.service
    stager.emit(StageStarted(host=host, stage="stage", service=service.name))
    fault.point("stage.before")
    owner = stager.owner
    about = release_json(service, plan.release, run=owner.run, by=owner.by, version=stager.version)
    texts = (plan.files.env.reveal(), plan.files.unit, about)
    size = service.binary.size
    sent = 0

    def flow(payload: bytes) -> Iterator[memoryview]:
        nonlocal sent
        total = sent + len(payload)
        for piece in stager.bandwidth.pace(payload):
            yield piece
            sent += len(piece)
            stager.emit(
                UploadProgressed(
                    host=host, service=service.name, sent=sent, total=total, saved=max(0, size - total)
                )
            )

    for encoding in plan.encodings:
        payload = stager.payloads.get(service.binary, encoding)
        if payload is None:
            continue
        try:
            args = (*owner.args, *_args(plan, encoding, breaking), *texts)
            _send(remote, service.name, args, flow(payload) if payload else None)
            break
        except HostError as error:
            if encoding is plan.encodings[-1] or error.cause not in _MAY_BE_BETTER_NEXT:
                raise
            stager.emit(
                UploadFellBack(host=host, service=service.name, encoding=encoding.kind, detail=error.message)
            )
    stager.emit(
        ReleaseStaged(
            host=host,
            service=service.name,
            release=plan.release,
            sent=sent,
            size=size,
            encoding=encoding.kind,
            saved=max(0, size - sent),
        )
    )
    fault.point("stage.after")


def _args(plan: ServicePlan, encoding: Encoding, breaking: str) -> tuple[str, ...]:
    """What stage.sh takes between the owner and the texts."""
    service = plan.service
    return (
        service.name,
        plan.seal,
        breaking,
        plan.release,
        service.user,
        service.binary.name,
        service.binary.sha256,
        service.binary.blake2b,
        str(encoding),
    )


def _send(remote: Remote, service: str, args: tuple[str, ...], stdin: Iterable[memoryview] | None) -> None:
    reply = remote.run(read_script(*_SCRIPT), args, stdin=stdin, timeout=_SECONDS)
    try:
        fields(reply, what="staging the release", done={"staged"})
    except HostError as error:
        raise translate(error, service) from None
