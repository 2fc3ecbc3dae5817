"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hosts.lab import Lab


@pytest.fixture
def site(tmp_path: Path, lab: Lab) -> Site:
    """A playbook's folder against the three shared hosts."""
    return Site(folder=tmp_path, lab=lab)
