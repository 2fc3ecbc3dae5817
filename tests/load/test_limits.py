"""What no host could start, or what would overwrite the release's own files, is refused while loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from deployer.errors import LoadError
from deployer.load import LoadOptions
from deployer.load.load import load

if TYPE_CHECKING:
    from pathlib import Path


def problems(folder: Path, **service: Any) -> str:
    (folder / "hosts.ini").write_text("web1\n")
    keys = {"name": "app", "binary": "app"} | service
    binary = folder / keys["binary"]
    if not binary.exists():
        binary.write_text("#!/bin/sh\n")
    play = [{"hosts": "all", "tasks": [{"service": keys}]}]
    (folder / "site.yml").write_text(yaml.safe_dump(play))
    options = LoadOptions(playbook=str(folder / "site.yml"), inventory=(str(folder / "hosts.ini"),))
    try:
        load(options, environ={})
    except LoadError as error:
        return str(error)
    return ""


LONGEST = 128 * 1024 - 1  # bytes of a word, execve(2)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"binary": "app.service"}, "a release has a file app.service of its own"),
        ({"binary": "release.json"}, "a release has a file release.json of its own"),
        ({"name": "dpkg"}, "'dpkg' belongs to the system of every host"),
        ({"name": "deployer"}, "'deployer' belongs to the system"),
        ({"name": "unless-stopped"}, "'unless-stopped' belongs to the system"),
        ({"name": "systemd-networkd"}, "'systemd-networkd' belongs to the system"),
        ({"command": ["x" * (LONGEST + 1)]}, f"{LONGEST + 1} bytes is longer than the {LONGEST}"),
        ({"command": ["\u00e4" * (LONGEST // 2 + 1)]}, "is longer than"),
        ({"command": ["x" * 100_000] * 3}, "300000 bytes of arguments are more than"),
        (
            {"environment": {"A": "x" * (LONGEST - 1)}},
            "the value of A is too long",
        ),
        (
            {"environment": {f"V{n}": "x" * 100_000 for n in range(11)}},
            "no more than 1048576 can be passed on",
        ),
        ({"healthcheck": {"test": ["CMD", "x" * (LONGEST + 1)]}}, "is longer than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_it_is_refused(tmp_path: Path, service: dict[str, Any], said: str) -> None:
    assert said in problems(tmp_path, **service)


@pytest.mark.parametrize(
    "service",
    [
        {"command": ["x" * LONGEST]},
        {"environment": {"A": "x" * (LONGEST - 2)}},
        {"name": "dpkg-mirror"},
        {"binary": "other.service"},
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_just_fits_is_taken(tmp_path: Path, service: dict[str, Any]) -> None:
    assert problems(tmp_path, **service) == ""
