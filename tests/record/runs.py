"""Made-up records of runs for tests; every part can be replaced by keyword."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from deployer.record.record import HostRecord, RunRecord

BEGAN = datetime(2026, 11, 22, 11, 20, 0, tzinfo=UTC)
RUN = "20261122T112000Z-ab12cd"
PLAYBOOK = "/srv/deploy/prod.yml"


def make_run(**parts: Any) -> RunRecord:
    usual: dict[str, Any] = {
        "run": RUN,
        "playbook": PLAYBOOK,
        "goal": "apply",
        "began": BEGAN,
        "by": "anna@laptop",
        "hosts": {"web1": HostRecord(outcome="changed", seconds=3.5), "web2": HostRecord()},
    }
    return RunRecord(**usual | parts)


def ended(outcome: str, cause: str = "", message: str = "") -> HostRecord:
    return HostRecord(outcome=outcome, cause=cause, message=message, seconds=1.0)
