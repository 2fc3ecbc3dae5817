"""The releases on a host's disk: which is current, which are good, and where each came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from deployer.ask.ask import for_each
from deployer.remote.remote import fields, sections
from deployer.remote.script import read_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.remote.remote import Remote

_LARGEST = 1 << 50  # bytes of a binary
_SCRIPT = ("remote/prelude.sh", "ask/releases.sh")

State = Literal["good", "staged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOnDisk:
    """One whole release.  What release.json does not say is None or empty."""

    name: str
    current: bool
    state: State  # staged: it never got as far as to be committed
    made: datetime | None  # by its name
    size: int | None  # bytes of the binary
    by: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReleases:
    """The releases of one service, the newest first."""

    service: str
    releases: tuple[ReleaseOnDisk, ...]


def ask_releases(remote: Remote, services: Sequence[str]) -> tuple[ServiceReleases, ...]:
    """The releases of each service.

    Raises:
        HostError: no root, no answer.

    """
    reply = remote.run(read_script(*_SCRIPT), tuple(services), timeout=60)
    fields(reply, what="listing the releases")
    return parse_releases(reply.stdout, services)


def parse_releases(stdout: str, services: Sequence[str]) -> tuple[ServiceReleases, ...]:
    """Read the reply of releases.sh.  Raises ValueError: it says nothing about a service."""
    found: dict[str, list[ReleaseOnDisk]] = {}
    for heading, lines in sections(stdout).items():
        match heading.split(" "):
            case ["service", service]:
                found[service] = []
            case ["release", service, name, state, current]:
                found[service].append(_release(name, state, current == "current", "\n".join(lines)))
    return tuple(
        ServiceReleases(
            service=service, releases=tuple(sorted(releases, key=lambda one: one.name, reverse=True))
        )
        for service, releases in zip(services, for_each(services, found), strict=True)
    )


def _release(name: str, state: str, current: bool, about: str) -> ReleaseOnDisk:  # noqa: FBT001  a word of the reply
    facts = _mapping(about)
    binary = facts.get("binary")
    size = binary.get("size") if isinstance(binary, dict) else None
    return ReleaseOnDisk(
        name=name,
        current=current,
        # A mark nobody knows is no proof that the release is good.
        state=next((known for known in get_args(State) if known == state), "failed"),
        made=_made(name),
        size=size if isinstance(size, int) and 0 <= size <= _LARGEST else None,
        by=str(facts.get("by", "")),
        run=str(facts.get("run", "")),
    )


def _mapping(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}  # damaged, or written by hand
    return found if isinstance(found, dict) else {}


def _made(name: str) -> datetime | None:
    try:
        return datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
