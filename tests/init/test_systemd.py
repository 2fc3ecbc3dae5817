"""Which init systems will do."""

from __future__ import annotations

import pytest

from deployer import init


@pytest.mark.parametrize(
    ("name", "version", "why"),
    [
        ("systemd", "252", ""),
        ("systemd", "240", ""),
        ("systemd", "known", ""),  # good enough for an earlier deploy
        ("systemd", "239", "systemd 239 is too old, 240 is needed"),
        ("none", "", "systemd does not run there, and no other init system is supported"),
    ],
)
def test_an_init_system_that_is_missing_or_too_old_is_named(name: str, version: str, why: str) -> None:
    assert init.why_not(name, version) == why
