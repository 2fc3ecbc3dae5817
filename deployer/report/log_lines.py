"""Without a terminal: one structlog line per event, for journals and CI logs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from deployer.outcome import NotAttempted, Unreachable, has_failed
from deployer.report.events import HealthProbed, HostFinished, StageStarted, UploadProgressed, as_record

# structlog draws tracebacks with rich where there is rich.  Log lines have none, and rich takes five times
# as long to import as structlog does.  None means "no such module" (The import system, 5.3.1).
_rich = sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog  # noqa: E402

if _rich is None:
    del sys.modules["rich"]

if TYPE_CHECKING:
    from deployer.report.events import Event

_TICKS = (UploadProgressed, StageStarted)


class LogLines:
    """Writes events as `time [level] event key=value ...`; multi-line fields follow, indented."""

    def __init__(self, out: TextIO, run: str) -> None:
        self._out = out
        self._log: Any = structlog.wrap_logger(
            structlog.PrintLogger(out),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.LogfmtRenderer(
                    key_order=["timestamp", "level", "event", "host", "service"], drop_missing=True
                ),
            ],
        ).bind(run=run)
        self._answers: dict[tuple[str, str], bool] = {}

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, _TICKS) or self._seen_before(event):
            return
        record = {key: value for key, value in as_record(event).items() if value not in ("", None, [])}
        name = record.pop("event")
        follow = _follow(record)
        level = "info"
        if isinstance(event, HostFinished) and (
            has_failed(event.outcome) or isinstance(event.outcome, Unreachable | NotAttempted)
        ):
            level = "error"
        elif isinstance(event, HealthProbed) and not event.healthy:
            level = "warning"
        log = self._log.bind(run=record.pop("run")) if "run" in record else self._log
        getattr(log, level)(name, **{key: _flat(value) for key, value in record.items()})
        for line in follow:
            self._out.write(f"    {line}\n")
        self._out.flush()

    def _seen_before(self, event: Event) -> bool:
        """A health test that answers as it did last time is no news."""
        if not isinstance(event, HealthProbed):
            return False
        key = (event.host, event.service)
        before = self._answers.get(key)
        self._answers[key] = event.healthy
        return before is event.healthy


def _follow(record: dict[str, Any]) -> list[str]:
    """Take out what has lines of its own: a diff, a command's output, a journal."""
    lines: list[str] = []
    for key in ("diff", "output"):
        lines += str(record.pop(key, "")).splitlines()
    failure = record.pop("failure", None)
    if failure:
        evidence = failure.pop("evidence") or {}
        record |= {key: value for key, value in failure.items() if value}
        journal = evidence.pop("journal", [])
        record |= {key: value for key, value in evidence.items() if value}
        lines += journal
    return lines


def _flat(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(" ".join(item) if isinstance(item, list) else str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(
            f"{key}: {' '.join(item)}" if isinstance(item, list) else f"{key} {item}"
            for key, item in value.items()
        )
    return round(value, 2) if isinstance(value, float) else value
