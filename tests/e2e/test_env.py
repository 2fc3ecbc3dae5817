"""A process sees what Compose would have given it, on every systemd; and so does a program that reads `.env`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.machine import environ, get, shell
from tests.e2e.site import Site
from tests.hosts.lab import Lab

CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "load/dotenv_cases.yml").read_text(encoding="utf-8")
)

# Stays up, is a few bytes, and no shell of its own adds to what it is given.
WATCHER = "#!/usr/bin/tail -f\n"

# What systemd itself gives a service (systemd.exec(5), ENVIRONMENT VARIABLES SET OR PROPAGATED).
SYSTEMDS = {
    *("HOME", "INVOCATION_ID", "JOURNAL_STREAM", "LANG", "LOGNAME", "MEMORY_PRESSURE_WATCH"),
    *("MEMORY_PRESSURE_WRITE", "PATH", "SHELL", "STATE_DIRECTORY", "SYSTEMD_EXEC_PID", "USER"),
}

# As the sample's godotenv reads them wrongly from any spelling that is exact for systemd (deployer/plan/dotenv.py).
GODOTENV_LOSES = re.compile(r"\r\n|\\\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Cases that one controller's environment suits."""

    environ: dict[str, str]
    cases: list[tuple[int, dict[str, Any]]]


def batches() -> list[Batch]:
    """As few runs as the environments of the cases allow: a case only minds names that stand in its file."""
    made: list[tuple[dict[str, str | None], Batch]] = []
    for number, case in enumerate(CASES):
        given = case.get("environ", {})
        minds = {name: given.get(name) for name in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", case["file"])}
        fits = (
            each for each in made if all(each[0].get(name, value) == value for name, value in minds.items())
        )
        taken, batch = next(fits, ({}, Batch(environ={}, cases=[])))
        if not batch.cases:
            made.append((taken, batch))
        taken.update(minds)
        batch.environ.update(given)
        batch.cases.append((number, case))
    return [batch for _, batch in made]


def service(number: int) -> str:
    return f"env-{number}"


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Every case deployed as a service of its own, to both flavours."""
    site = Site(folder=tmp_path_factory.mktemp("env"), lab=lab)
    (site.folder / "watcher").write_text(WATCHER)
    for batch in batches():
        tasks = []
        for number, case in batch.cases:
            (site.folder / f"{number}.env").write_bytes(case["file"].encode())
            keys = {"name": service(number), "binary": "watcher", "user": "env-user"}
            tasks.append({"service": {**keys, "env_file": f"{number}.env", "healthcheck": {"stay_up": "0s"}}})
        site.write(tasks, hosts="host1,host2")
        run = site.run(env=batch.environ)
        assert run.code == 0, run
    return site


@pytest.mark.hosts
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["name"] for case in CASES])
def test_a_process_is_given_exactly_what_compose_would_give_it(site: Site, number: int) -> None:
    for host in site.lab.hosts[:2]:
        seen = environ(host, service(number))
        assert {name: seen[name] for name in seen if name not in SYSTEMDS} == CASES[number]["expect"]
