"""A process of its own loads what `load` loads, and says what `load` says."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PLAYBOOK = """
- name: p
  hosts: all
  tasks:
    - service: {name: app, binary: server, environment: {TOKEN: hunter2}}
"""
# A test's own process has threads, which do not survive a fork.
PROGRAM = """
import os, sys
from deployer.errors import LoadError
from deployer.load import LoadOptions
from deployer.load import beside

broken = sys.argv[1]
options = LoadOptions(playbook="site.yml", inventory=("web1,web2,",))
if broken == "dies":
    whole, parent = beside._load, os.getpid()
    beside._load = lambda *args: os._exit(9) if os.getpid() != parent else whole(*args)
elif broken == "no process":
    def fork():
        raise BlockingIOError
    os.fork = fork
loading = beside.begin_to_load(options, environ=os.environ, then=lambda loaded: len(loaded.plays))
try:
    found, plays = loading()
    assert plays == 1
except LoadError as error:
    found = error
from deployer.load.load import load
try:
    wanted = load(options, environ=os.environ)
except LoadError as error:
    wanted = error
assert type(found) is type(wanted), (found, wanted)
if isinstance(wanted, LoadError):
    assert found.problems == wanted.problems, (found, wanted)
    print(*found.problems)
else:
    assert found == wanted, (found, wanted)
    hosts = found.plays[0].hosts
    print([host.name for host in hosts], hosts[0].services[0].environment[0][1].reveal())
"""


@pytest.mark.parametrize("broken", ["", "dies", "no process"])
def test_what_is_loaded_beside_is_what_is_loaded_here(tmp_path: Path, broken: str) -> None:
    (tmp_path / "site.yml").write_text(PLAYBOOK)
    (tmp_path / "server").write_bytes(b"#!/bin/sh\n")
    assert run(tmp_path, broken)[0] == "['web1', 'web2'] hunter2"


def test_problems_are_raised_here(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(PLAYBOOK.replace("binary", "binery"))
    said = run(tmp_path, "")[0]
    assert "site.yml:5:" in said
    assert "binery" in said


UNITS = """
import os, sys
from deployer.load import LoadOptions
from deployer import init, run
from deployer.load.beside import begin_to_load

options = LoadOptions(playbook="site.yml", inventory=("web1,web2,",))
loading = begin_to_load(options, environ=os.environ, then=run._units)
import deployer.execute, deployer.remote.ssh
loaded, units = loading()
init.know_units(units)
services = [service for host in loaded.plays[0].hosts for service in host.services]
print(*(init.render_unit(service).count("ExecStart=") for service in services), "jinja2" in sys.modules)
init.systemd._rendered.clear()
print(units == init.render_units(services))
"""


def test_units_are_rendered_there_too_and_jinja_is_not_imported_here(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(PLAYBOOK)
    (tmp_path / "server").write_bytes(b"#!/bin/sh\n")
    assert run(tmp_path, "", UNITS) == ["1 1 False", "True"]


def run(folder: Path, broken: str, program: str = PROGRAM) -> list[str]:
    argv = [sys.executable, "-c", program, broken]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
