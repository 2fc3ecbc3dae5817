"""The plan: what must change on a host, from what is desired and what is observed.  Pure."""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from deployer import init
from deployer.errors import HostError
from deployer.plan.release import ReleaseFiles, release_files, release_id

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from deployer.desired import Binary, Service
    from deployer.init import UnitState
    from deployer.observe.observation import Observation, ServiceObservation

ChangeKind = Literal["release", "binary", "env", "unit", "helper", "boot", "start", "rollback"]

PlanKind = Literal["deploy", "rollback", "start", "withdraw"]
"""A new release; one that is there; the current one, installed or started; or none, so it is stopped."""

EncodingKind = Literal["link", "patch", "zstd", "gzip", "plain"]
"""Of a binary: not sent, for the host has it; the difference from one it has; or whole."""

_RUNS_ALSO = {"x86_64": {"i686"}, "aarch64": {"armv7l"}}
"""Machines that execute another's binaries too, as kernels are built by default."""

_MARGIN = 1024 * 1024
"""Bytes that must stay free beyond the release itself."""

_DIGITS = 12
"""Of a binary's digest, at the end of a release's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between desired and observed, and a word for people."""

    kind: ChangeKind
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a binary travels."""

    kind: EncodingKind
    release: str = ""  # link, patch: of the host, whose binary is linked, or changed into the new one
    reference: str = ""  # patch: the digest of that binary

    def __str__(self) -> str:
        return f"{self.kind}:{self.release}" if self.release else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """What to do about one service on one host; no changes: nothing."""

    service: Service
    files: ReleaseFiles
    changes: tuple[Change, ...]
    kind: PlanKind
    release: str  # the release to be current in the end
    encodings: tuple[Encoding, ...]  # the cheapest first; each that follows is for when that fails
    previous: str | None  # the good release to go back to
    start: bool  # restart it; False when its operator stopped it, or nothing that it runs from changes
    stopped_by_operator: bool  # and stays so
    insist: bool = False  # start it even if its operator stops it before that
    notes: tuple[str, ...] = ()  # what is there, is not ours, and stays: for people
    oddity: str = ""  # what runs there instead of the release's program
    helpers: bool  # whether the files that units lean on are missing there, or are others
    seal: str  # of the observation this was made from
    unit: UnitState | None  # as it was seen
    stranger: str  # the process that was seen to have its port instead of it
    age: float | None = None  # of its process then, in seconds, if it can be told

    @property
    def changed(self) -> bool:
        """Whether anything must be done."""
        return bool(self.changes)

    @property
    def starting(self) -> str:
        """What switch.sh is told of the start; an operator's order that comes after the look is heard."""
        if self.start:
            return "anyway" if self.insist else "yes"
        return "stopped" if self.stopped_by_operator and self.kind in {"deploy", "rollback"} else "no"

    @property
    def stage(self) -> bool:
        """Whether the release must be put on the host first."""
        return self.kind == "deploy"


def plan_service(
    service: Service,
    observation: Observation,
    *,
    now: datetime,
    start: bool = False,
    references: Collection[str] = (),
) -> ServicePlan:
    """Compare one service with its host; `start`: even if its operator stopped it.

    `references` are digests of the binaries that a patch can be made from.

    Raises:
        HostError: the host cannot run it: other machine, no space, mounted noexec or read-only, a unit
            or folder of that name that is not ours.

    """
    seen = observation.services[service.name]
    files = release_files(service)
    stopped = seen.stopped_by_operator and not start
    _refuse_what_is_not_ours(service, observation, seen)
    changes = [*_content_changes(service, observation, seen, files)]
    stage = bool(changes)
    release = seen.current
    if stage or release is None:
        release = release_id(service, now, seen.releases)
    changes += _state_changes(service, observation, seen, restarting=stage, stopped=stopped)
    encodings = _encodings(service, observation, seen, references)
    if changes:
        size = 0 if not stage or seen.leftover or encodings[0].kind == "link" else service.binary.size
        _refuse_what_cannot_run(service, observation, size=size)
    return ServicePlan(
        service=service,
        files=files,
        changes=tuple(changes),
        kind="deploy" if stage else "start",
        release=release,
        encodings=encodings,
        previous=_previous(seen, release),
        start=not stopped and (stage or any(change.kind == "start" for change in changes)),
        stopped_by_operator=stopped,
        insist=start,
        notes=_notes(seen),
        oddity=_oddity(service, seen),
        helpers=bool(_missing_helpers(observation)),
        seal=seen.seal,
        unit=seen.unit,
        stranger=seen.stranger,
        age=seen.age,
    )


def plan_rollback(
    service: Service, observation: Observation, *, to: str | None = None, start: bool = False
) -> ServicePlan:
    """Go to a good release that the host has: `to`, else the one that was current before this one.

    Raises:
        HostError: there is none, or `to` is not on the host, was never committed, or failed.

    """
    seen = observation.services[service.name]
    _refuse_what_is_not_ours(service, observation, seen)
    release = _earlier(seen, to)
    stopped = seen.stopped_by_operator and not start
    changes = []
    there = release == seen.current
    if there and (why := _why_start(service, seen, stopped=stopped)):
        changes.append(Change(kind="start", detail=why))
    elif not there:
        changes.append(Change(kind="rollback", detail=f"{seen.current or 'none'} -> {release}"))
        _refuse_what_cannot_run(service, observation, size=0)
    return ServicePlan(
        service=service,
        files=release_files(service),
        changes=tuple(changes),
        kind="start" if there else "rollback",
        release=release,
        encodings=(),
        previous=_previous(seen, release),
        start=not stopped and bool(changes),
        stopped_by_operator=stopped,
        insist=start,
        notes=_notes(seen),
        oddity=_oddity(service, seen),
        helpers=bool(_missing_helpers(observation)),
        seal=seen.seal,
        unit=seen.unit,
        stranger=seen.stranger,
        age=seen.age,
    )


def plan_return(service: Service, observation: Observation, *, run: str) -> ServicePlan:
    """Undo what `run` did to a service, if it is still as that run left it.

    Raises:
        HostError: the release before is not there any more.

    """
    seen = observation.services[service.name]
    if seen.current is None or seen.deployed_by != run:
        plan = plan_rollback(service, observation, to=seen.current)
    elif seen.before == "-":
        plan = replace(
            plan_rollback(service, observation, to=seen.current),
            kind="withdraw",
            changes=(Change(kind="rollback", detail=f"stop {seen.current}, it was the first release"),),
        )
    else:
        plan = plan_rollback(service, observation, to=seen.before)
    return plan


def _earlier(seen: ServiceObservation, to: str | None) -> str:
    hint = "deployer releases lists what the host has"
    if to is not None:
        match seen.releases.get(to):
            case "good":
                return to
            case None:
                raise HostError("no_release", f"the release {to} is not on this host", hint=hint)
            case "failed":
                raise HostError("bad_release", f"the release {to} failed on this host", hint=hint)
            case _:
                raise HostError("bad_release", f"the release {to} was never committed here", hint=hint)
    if seen.before and seen.releases.get(seen.before) == "good":
        return seen.before
    older = [name for name, proof in seen.releases.items() if proof == "good" and name < (seen.current or "")]
    if not older:
        raise HostError("no_release", "there is no earlier good release on this host", hint=hint)
    return max(older)


def _content_changes(
    service: Service, observation: Observation, seen: ServiceObservation, files: ReleaseFiles
) -> list[Change]:
    """What only a new release can bring."""
    if seen.current is None:
        return [Change(kind="release", detail="first release")]
    if (proof := seen.releases.get(seen.current)) != "good":
        why = "was never committed" if proof == "staged" else "is not a good release"
        return [Change(kind="release", detail=f"{seen.current} {why}")]
    changes = []
    folder = f"/opt/{service.name}/current"
    binary = observation.files.get(f"{folder}/{service.binary.name}")
    if binary is None or not binary.is_binary(service.binary):
        old = seen.current.rpartition("-")[2] if binary else "none"
        new = service.binary.sha256[:_DIGITS]
        detail = f"binary {old} -> {new}" if old != new else "the binary is not what was deployed"
        changes.append(Change(kind="binary", detail=detail))
    elif binary.mode != "755":
        changes.append(Change(kind="binary", detail=f"mode of the binary {binary.mode} -> 755"))
    env = observation.files.get(f"{folder}/.env")
    if env is None or not env.holds(files.env.reveal()):
        changes.append(Change(kind="env", detail="environment"))
    elif (env.mode, env.owner) != ("640", "root") or not _is_private(env.group, service.user):
        found = f"{env.mode} {env.owner}:{env.group}"
        changes.append(Change(kind="env", detail=f"mode of .env {found} -> 640 root:{service.user}"))
    unit = observation.files.get(init.unit_path(service.name))
    if unit is None or not unit.holds(files.unit):
        changes.append(Change(kind="unit", detail="unit"))
    return changes


def _is_private(group: str, user: str) -> bool:
    """Whether it is a group that `private_group` of stage.sh gives .env to."""
    return user == "root" or group in {user, f"deployer-{user}"}


def _state_changes(
    service: Service, observation: Observation, seen: ServiceObservation, *, restarting: bool, stopped: bool
) -> list[Change]:
    """What an install or a start of the release that is there can bring; a new release brings it anyway."""
    if restarting:
        return []
    changes = [Change(kind="helper", detail=f"install {path}") for path in _missing_helpers(observation)]
    unit = seen.unit
    if unit is not None:
        if unit.stale:
            changes.append(Change(kind="boot", detail="read the unit again, it changed on disk"))
        if seen.at_boot != init.at_boot(service):
            detail = f"start at boot: {seen.at_boot} -> {init.at_boot(service)}"
            changes.append(Change(kind="boot", detail=detail))
        if why := _why_start(service, seen, stopped=stopped):
            changes.append(Change(kind="start", detail=why))
    return changes


def _missing_helpers(observation: Observation) -> list[str]:
    """Those that are missing, say something else, are not root's alone or cannot be executed."""
    return [
        path
        for path, text in init.helper_files().items()
        if (file := observation.files.get(path)) is None
        or not file.holds(text)
        or (file.owner, file.mode) != ("root", init.helper_mode(path))
    ]


def _why_start(service: Service, seen: ServiceObservation, *, stopped: bool) -> str:
    """Why the current release must be started anew; "": it need not be, or its operator `stopped` it."""
    unit = seen.unit
    if unit is None or stopped:
        return ""
    if unit.active in {"inactive", "failed"}:
        return "its operator stopped it" if seen.stopped_by_operator else f"it is {unit.active}"
    if unit.active == "activating" and unit.restarts:
        return "it crashed and waits to be restarted"
    if seen.runs == "deleted":
        return "it runs what was deleted since it was started"
    if seen.runs is not None and seen.runs != seen.current:
        return f"it runs {seen.runs}, which is not the current release"
    if not unit.drop_ins:  # else its operator may want that
        return _oddity(service, seen)
    return ""


def _notes(seen: ServiceObservation) -> tuple[str, ...]:
    drop_ins = seen.unit.drop_ins if seen.unit else ()
    return tuple(f"its unit is changed on this host by {path}" for path in drop_ins)


def _oddity(service: Service, seen: ServiceObservation) -> str:
    """What runs instead of the release's program, empty if that runs or it cannot be told."""
    if seen.executable and service.binary.machine:  # of a script that is its interpreter
        return f"what runs is {seen.executable}, which is no release's program"
    return ""


def _refuse_what_is_not_ours(service: Service, observation: Observation, seen: ServiceObservation) -> None:
    if not seen.current_is_link:
        current = f"/opt/{service.name}/current"
        message = f"{current} is no link to one of its releases, so it was not made by deployer"
        raise HostError("not_ours", message, hint="move it away, or give the service another name")
    _refuse_what_others_can_change(service, seen)
    unit = seen.unit
    ours = init.unit_path(service.name)
    if unit is not None and unit.known and unit.source != ours:
        message = f"{service.name} is a unit of the system there ({unit.source})"
        raise HostError("not_ours", message, hint="give the service another name")
    if ours in observation.files and seen.current is None and not seen.releases and not seen.deployed:
        message = f"{ours} exists and was not written by deployer"
        raise HostError("not_ours", message, hint="remove it, or give the service another name")


def _refuse_what_others_can_change(service: Service, seen: ServiceObservation) -> None:
    """Root runs what lies there, so nobody else may be able to change it."""
    state = f"/var/lib/{service.name}"
    for path, folder in seen.folders.items():
        if path == state:
            continue
        if folder.link:
            message = f"{path} is a link, and root would follow it to wherever it leads"
            raise HostError("not_roots", message, hint="put a folder of root's in its place")
        mode = int(folder.mode, 8)
        if path == "/opt/." and mode & stat.S_ISVTX:
            mode = 0  # what is root's there, others cannot move away
        if folder.owner != "root" or mode & 0o022:
            message = (
                f"{path} belongs to {folder.owner}, mode {folder.mode}: others can change what root runs"
            )
            top = path if path.startswith("/var") else f"/opt/{service.name}"
            hint = f"if you trust what is in it: chown -R root:root {top} && chmod -R go-w {top}"
            if path == "/opt/.":
                hint = "chown root:root /opt && chmod go-w /opt"
            raise HostError("not_roots", message, hint=hint)
    mine = seen.folders.get(state)
    if (
        mine
        and seen.current is None
        and not seen.releases
        and not seen.deployed
        and mine.owner != service.user
    ):
        message = f"{state} is there and belongs to {mine.owner}; systemd would give it to {service.user}"
        hint = f"give the service another name; or, if it is the service's: chown -R {service.user} {state}"
        raise HostError("not_ours", message, hint=hint)


def _refuse_what_cannot_run(service: Service, observation: Observation, *, size: int) -> None:
    """`size`: the bytes that a release takes."""
    if "flock" not in observation.tools:
        message = "the host has no flock, which keeps two runs apart"
        raise HostError("no_flock", message, hint="install util-linux, or a busybox that has it")
    binary = service.binary
    machine = observation.machine
    if binary.machine not in {None, machine, *_RUNS_ALSO.get(machine, ())}:
        message = f"{binary.name} is built for {binary.machine}, and the host is {machine}"
        raise HostError("wrong_machine", message, hint="build it for the host (Go: GOARCH)")
    for folder, disk in observation.disks.items():
        if "ro" in disk.options:
            raise HostError("read_only", f"the file system of {folder} is mounted read-only")
        if folder == "/opt" and "noexec" in disk.options:
            message = "the file system of /opt is mounted noexec, so nothing there can run"
            raise HostError("noexec", message, hint="remount it with exec")
        need = _MARGIN + (size if folder == "/opt" else 0)
        if disk.free < need:
            message = f"no space: {folder} has {disk.free >> 10} KiB free, {need >> 10} KiB are needed"
            raise HostError("disk_full", message)


def _encodings(
    service: Service, observation: Observation, seen: ServiceObservation, references: Collection[str]
) -> tuple[Encoding, ...]:
    """Nothing if a release with this binary is there, a patch if there is one to be made, else the whole."""
    kinds: tuple[EncodingKind, ...] = ("zstd", "gzip", "plain")
    wholes = tuple(Encoding(kind=kind) for kind in kinds if kind in {*observation.tools, "plain"})
    there = _binaries(service, observation, seen)
    for release, digest in there:
        if service.binary.sha256.startswith(digest):
            return (Encoding(kind="link", release=release), *wholes)
    if wholes[0].kind == "zstd":
        for release, digest in there:
            for reference in references:
                if reference.startswith(digest):
                    return (Encoding(kind="patch", release=release, reference=reference), *wholes)
    return wholes


def _binaries(service: Service, observation: Observation, seen: ServiceObservation) -> list[tuple[str, str]]:
    """Releases, the current one first, then the newest; and the digest of each one's binary or its beginning.

    Failed ones as well: a binary is no worse for that.
    """
    names = {*seen.releases, *filter(None, [seen.current])}
    file = observation.files.get(f"/opt/{service.name}/current/{service.binary.name}")
    found = []
    for name in sorted(names, key=lambda name: (name == seen.current, name), reverse=True):
        digest = name.rpartition("-")[2]
        if file and name == seen.current and file.is_binary(service.binary) != _names(digest, service.binary):
            # Somebody replaced it: its release's name does not tell.
            digest = service.binary.sha256 if file.is_binary(service.binary) else ""
        if len(digest) >= _DIGITS:
            found.append((name, digest))
    return found


def _names(digest: str, binary: Binary) -> bool:
    """Whether the digest in a release's name is that of `binary`."""
    return len(digest) >= _DIGITS and binary.sha256.startswith(digest)


def _previous(seen: ServiceObservation, release: str) -> str | None:
    """The good release to go back to; none when the one that is there is only started."""
    if seen.current is None or seen.current == release or seen.releases.get(seen.current) != "good":
        return None
    return seen.current
