"""Where the fault tests stop a run: named points, chosen by an environment variable that nobody else sets."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

_LONGEST = 600.0  # seconds a run stands still at a point


def point(name: str) -> None:
    """Stand still while the file DEPLOYER_FAULT_FILE exists, if this is the chosen point."""
    if os.environ.get("DEPLOYER_FAULT_POINT") != name:
        return
    flag = Path(os.environ["DEPLOYER_FAULT_FILE"])
    flag.write_text(name, encoding="ascii")
    until = time.monotonic() + _LONGEST
    while flag.exists() and time.monotonic() < until:
        time.sleep(0.02)


def shell_prefix() -> str:
    """The line that tells a script on a host of the chosen point (`point` in remote/prelude.sh)."""
    name = os.environ.get("DEPLOYER_FAULT_POINT")
    return f"DEPLOYER_FAULT_POINT={shlex.quote(name)}\n" if name else ""
