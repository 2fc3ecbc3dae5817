"""Hosts are sent what the scripts do, without what they say to people."""

from __future__ import annotations

import subprocess
from importlib import resources

import pytest

from deployer.remote.script import read_script

PACKAGE = resources.files("deployer")
SCRIPTS = sorted(
    f"{folder.name}/{file.name}"
    for folder in PACKAGE.iterdir()
    if folder.is_dir()
    for file in folder.iterdir()
    if file.name.endswith(".sh")
)


def parsed(script: str) -> str:
    """What bash understands of it, written in bash's own way, which has no comments."""
    done = subprocess.run(
        ["bash", "-c", f"all() {{\n{script}\n}}\ndeclare -f all"], capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.mark.parametrize("name", SCRIPTS)
def test_only_comments_are_left_out(name: str) -> None:
    text = PACKAGE.joinpath(name).read_text(encoding="utf-8")
    assert parsed(read_script(name)) == parsed(text)


def test_no_words_for_people_are_sent() -> None:
    sent = read_script(*SCRIPTS)
    assert not [line for line in sent.splitlines() if line.lstrip().startswith("#") or " # " in line]
