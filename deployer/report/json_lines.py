"""--json: one object per line on standard output, and nothing else there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from deployer.report.events import VERSION, UploadProgressed, as_record

if TYPE_CHECKING:
    from deployer.report.events import Event


class JsonLines:
    """Writes every event but the ticks of an upload."""

    def __init__(self, out: TextIO, run: str) -> None:
        self._out = out
        self._run = run

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, UploadProgressed):
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"version": VERSION, "time": time, "run": self._run} | as_record(event)
        self._out.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._out.flush()
