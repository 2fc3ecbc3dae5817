"""What --diff shows: the unit line by line, the environment by names only."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from deployer import init
from deployer.errors import LoadError
from deployer.load.dotenv import parse_dotenv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.observe.observation import Observation
    from deployer.plan.plan import ServicePlan


def render_diff(plan: ServicePlan, observation: Observation) -> str:
    """The differences of one service as text; `observation` must hold contents."""
    if not plan.changed:
        return ""
    name = plan.service.name
    lines = [*_environment(plan, observation.contents.get(f"/opt/{name}/current/.env", b""))]
    path = init.unit_path(name)
    old = observation.contents.get(path, b"").decode(errors="replace")
    lines += difflib.unified_diff(
        old.splitlines(), plan.files.unit.splitlines(), f"{path} (host)", f"{path} (desired)", lineterm=""
    )
    return "\n".join(lines)


def _environment(plan: ServicePlan, old: bytes) -> Iterator[str]:
    """One line a variable; no value, old or new, is ever part of it."""
    try:
        before = parse_dotenv(old.decode(errors="replace"), file=".env", environ={})
    except LoadError:  # somebody else wrote it
        yield "  .env: cannot be compared, it was changed on the host"
        return
    after = dict(plan.service.environment)
    for variable in sorted({*before, *after}):
        if variable not in before:
            yield f"  .env: + {variable}"
        elif variable not in after:
            yield f"  .env: - {variable}"
        elif before[variable] != after[variable]:
            yield f"  .env: ~ {variable} (changed)"
