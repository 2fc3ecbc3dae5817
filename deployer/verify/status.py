"""The state of a service and the end of its log, asked in one exec."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deployer import init
from deployer.errors import HostError
from deployer.outcome import Evidence
from deployer.remote.remote import fields, sections
from deployer.remote.script import read_script
from deployer.visible import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.init import UnitState
    from deployer.remote.remote import Remote

_SCRIPT = ("remote/prelude.sh", init.SCRIPT, init.STRANGERS, "verify/status.sh")
JOURNAL_LINES = 20


def ask_state(remote: Remote, service: str) -> UnitState:
    """The state of the unit now.  Raises HostError."""
    reply = remote.run(read_script(*_SCRIPT), (service, "0", "-"), timeout=30)
    fields(reply, what="asking for the unit's state")
    parts = sections(reply.stdout)
    states = init.parse_states(parts.get("state", ()))
    if not states:
        raise HostError("script_failed", f"nothing is known of the unit of {service}")
    return replace(states[0], stopped_by_operator="stopped" in parts)


def gather_evidence(
    remote: Remote, service: str, *, answer: str, listens: str, redact: Callable[[str], str]
) -> Evidence:
    """What a person wants to see of a service that is not well; long lines are cut.

    `listens`: where its health test asks; see `Healthcheck.listens`.  Raises HostError.
    """
    reply = remote.run(read_script(*_SCRIPT), (service, str(JOURNAL_LINES), listens), timeout=30)
    parts = sections(reply.stdout)
    states = init.parse_states(parts.get("state", ()))
    state = str(states[0]) if states else ""
    if states and states[0].restarts and not states[0].exit_code:  # of the process before
        state = ", main process ".join([state, *parts.get("end", ())])
    return Evidence(
        answer=answer,
        state=cut(state),
        port=cut(" ".join(f"{listens.rpartition(':')[2]} belongs to {who}" for who in parts.get("port", ()))),
        journal=tuple(cut(redact(line)) for line in parts.get("journal", ())[-JOURNAL_LINES:]),
    )
