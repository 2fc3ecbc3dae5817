"""Durations as Compose writes them."""

from __future__ import annotations

import math
import re
from typing import Any

_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)", re.ASCII)
_NUMBER = re.compile(r"\s*\d+(?:\.\d+)?\s*", re.ASCII)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(value: Any) -> float:
    """Seconds from Compose's durations (`1m30s`, `500ms`); a bare number is seconds.

    Raises ValueError.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value < math.inf:
            return float(value)
    elif isinstance(value, str):
        parts = _PART.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value.strip():
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
        if _NUMBER.fullmatch(value):
            return float(value)
    raise ValueError("must be a duration such as 500ms, 10s or 1m30s")
