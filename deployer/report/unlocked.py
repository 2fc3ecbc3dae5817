"""`deployer unlock`: whose locks were broken, as lines of text or of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.report.answers import as_line, no_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.ask.ask import NoAnswer
    from deployer.ask.unlock import Unlocked


def unlocked_lines(
    answers: Sequence[tuple[str, tuple[Unlocked, ...] | NoAnswer]], *, json: bool
) -> Iterator[str]:
    """By host and service."""
    for host, answer in answers:
        if not isinstance(answer, tuple):
            yield no_answer(host, answer, json_wanted=json)
            continue
        for one in answer:
            if json:
                yield _json(host, one)
            elif one.holder:
                yield f"{host}  {one.service}  unlocked; it was held by {one.holder}"
            else:
                yield f"{host}  {one.service}  was not locked"


def _json(host: str, one: Unlocked) -> str:
    holder = one.holder
    return as_line(
        {
            "host": host,
            "service": one.service,
            "unlocked": holder is not None,
            "run": holder.run if holder else None,
            "by": holder.by if holder else None,
            "since": f"{holder.since:%Y-%m-%dT%H:%M:%SZ}" if holder else None,
        }
    )
