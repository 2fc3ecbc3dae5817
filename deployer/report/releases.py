"""`deployer releases`: what lies on the hosts' disks, as lines of text or of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.report.answers import as_line, no_answer
from deployer.report.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.ask.ask import NoAnswer
    from deployer.ask.releases import ReleaseOnDisk, ServiceReleases


def release_lines(
    answers: Sequence[tuple[str, tuple[ServiceReleases, ...] | NoAnswer]], *, json: bool
) -> Iterator[str]:
    """By host and service, the newest first."""
    for host, answer in answers:
        if not isinstance(answer, tuple):
            yield no_answer(host, answer, json_wanted=json)
            continue
        for found in answer:
            if json:
                yield from (_json(host, found.service, release) for release in found.releases)
                continue
            nothing = "" if found.releases else "  no release"
            yield f"{host}  {found.service}{nothing}"
            yield from columns([_row(release) for release in found.releases], indent="  ")


def _row(release: ReleaseOnDisk) -> tuple[str, ...]:
    return (
        "*" if release.current else " ",
        release.name,
        release.state,
        f"{release.made:%Y-%m-%d %H:%M:%SZ}" if release.made else "-",
        f"{release.size / 1e6:.1f} MB" if release.size is not None else "-",
        release.by or "-",
        f"run={release.run}" if release.run else "",
    )


def _json(host: str, service: str, release: ReleaseOnDisk) -> str:
    return as_line(
        {
            "host": host,
            "service": service,
            "release": release.name,
            "current": release.current,
            "state": release.state,
            "made": f"{release.made:%Y-%m-%dT%H:%M:%SZ}" if release.made else None,
            "size": release.size,
            "by": release.by,
            "run": release.run,
        }
    )
