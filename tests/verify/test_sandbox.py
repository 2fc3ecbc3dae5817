"""A failure that looks like the sandbox names the setting that lifts it."""

from __future__ import annotations

import time

import pytest

from deployer.outcome import Evidence
from deployer.verify.sandbox import sandbox_hint


@pytest.mark.parametrize(
    ("state", "line", "setting"),
    [
        ("failed/failed, main process was killed by signal 31", "", "SystemCallFilter="),
        ("", "Bad system call (core dumped)", "SystemCallFilter="),
        ("", "open /data/x: read-only file system", "ReadWritePaths="),
        ("", "socket: Address family not supported by protocol", "RestrictAddressFamilies="),
        ("", "mprotect failed: Operation not permitted", "MemoryDenyWriteExecute=no"),
        ("", "fatal: failed to allocate JIT code: Permission denied", "MemoryDenyWriteExecute=no"),
        ("", "Permission denied: cannot make a closure", "MemoryDenyWriteExecute=no"),
        ("mprotect", "permission denied", ""),  # not in one line
        ("", "sched_setscheduler: operation not permitted", "SystemCallFilter=,"),
        ("failed/failed, main process was killed by signal 5", "# Fatal error in , line 0", "=no"),
        ("failed/failed, main process exited with status 127", "", "MemoryDenyWriteExecute=no"),
        ("failed/failed, main process was killed by signal 11", "read-only file system", "ReadWritePaths="),
        ("failed/failed, main process was killed by signal 15", "", ""),
        ("failed/failed, main process exited with status 1", "", ""),
        ("failed/failed, main process was killed by signal 3", "no such host", ""),
        ("", "listen tcp :8080: bind: address already in use", ""),
    ],
)
def test_each_sign_has_its_setting(state: str, line: str, setting: str) -> None:
    hint = sandbox_hint("app", Evidence(state=state, journal=("starting", line)))
    assert setting in hint
    assert bool(hint) is bool(setting)
    assert not hint or hint.startswith("if the unit's sandbox forbids that: systemctl edit app, and there ")


def test_what_a_service_writes_costs_no_more_than_its_length() -> None:
    """Signs are looked for in a thread of the controller, and all others wait for it."""
    began = time.process_time()
    assert sandbox_hint("app", Evidence(journal=("jit " * 12_000,) * 20)) == ""
    assert time.process_time() - began < 5  # 20 times 25 s, if each word looks at the rest of its line
