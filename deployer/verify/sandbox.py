"""A failure that the sandbox of the unit may have caused, and the setting that lifts it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployer.outcome import Evidence

_EXECUTABLE_MEMORY = "MemoryDenyWriteExecute=no"
# What programs and libraries say when systemd.exec(5) forbids something, and the setting that does.
# Of a sign of several words all must be in one line.  Each is looked for by itself: `one.*other` would go
# over the rest of a line again for each `one` in it, and a service may write what it likes.
_SIGNS = (
    ((r"killed by signal 31\b|bad system call|SIGSYS",), "SystemCallFilter="),
    (("read-only file system|EROFS",), "ReadWritePaths="),
    (("address family not supported|EAFNOSUPPORT",), "RestrictAddressFamilies="),
    (
        (
            "mprotect|mmap|executable|exec(?:ute)? memory|segment|jit|libffi|closure",
            "operation not permitted|permission denied|cannot allocate",
        ),
        _EXECUTABLE_MEMORY,
    ),
    (
        ("operation not permitted|EPERM",),
        "SystemCallFilter=, AmbientCapabilities= or MemoryDenyWriteExecute=no",
    ),
    # What makes code while it runs, a JIT or a packer like UPX, often dies without a word when it may not:
    # SIGILL, SIGTRAP (V8), SIGSEGV, or 127 (UPX's stub).
    ((r"killed by signal (?:4|5|11)\b|exited with status 127\b",), _EXECUTABLE_MEMORY),
)


def sandbox_hint(service: str, evidence: Evidence | None) -> str:
    """What to set if it was the sandbox; "" if nothing looks like that."""
    if evidence is None:
        return ""
    lines = (evidence.state, *evidence.journal)
    for words, setting in _SIGNS:
        if any(all(re.search(word, line, re.IGNORECASE) for word in words) for line in lines):
            return f"if the unit's sandbox forbids that: systemctl edit {service}, and there {setting}"
    return ""
