"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import shell
from tests.e2e.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hosts.lab import Lab

STOP_WHAT_CRASHES = """
systemctl list-units --plain --no-legend --type=service --state=activating,failed |
  while read -r unit _; do systemctl disable --now --quiet "$unit"; systemctl reset-failed "$unit"; done
"""


@pytest.fixture
def site(tmp_path: Path, lab: Lab) -> Iterator[Site]:
    """A playbook's folder against the three shared hosts, on which no crashing service is left behind.

    Each restart writes to the disk, and other tests look whether anything did.
    """
    yield Site(folder=tmp_path, lab=lab)
    for host in lab.hosts:
        shell(host, STOP_WHAT_CRASHES, check=False)
