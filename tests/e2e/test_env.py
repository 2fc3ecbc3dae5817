"""A process sees what Compose would have given it, on every systemd; so does a program that reads `.env`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e.machine import environ, get
from tests.e2e.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

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

PORT = 20301
AWKWARD = [
    "#",
    "a # b",
    "it's $HOME",
    '"quoted" and $(id)',
    "`id`",
    "tab\there",
    " both ends ",
    "two\nlines\n",
    "back\\slash \\n \\$",
    "\\\\two\\\\",
    "ends with a backslash \\",
    "'single' and \"double\"",
    "carriage\r\nreturn",
    "žluť 日本 🚀",
    "%h %% ${HOME} $$",
    "export A=1",
    "=",
    "!*?[a-z]{1,2}~;&|<>()",
]


def names_in(case: dict[str, Any]) -> set[str]:
    """The names that its file sets, or leaves out."""
    begins = re.findall(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)", case["file"], re.MULTILINE)
    return {*begins, *case["expect"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Cases with no name in common, in one service: env_file takes several files."""

    numbers: list[int]

    @property
    def name(self) -> str:
        return f"env-{self.numbers[0]}"

    @property
    def names(self) -> set[str]:
        return {name for number in self.numbers for name in names_in(CASES[number])}

    @property
    def expect(self) -> set[str]:
        return {name for number in self.numbers for name in CASES[number]["expect"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Services that go in one run, because one environment of the controller suits all their cases."""

    minds: dict[str, str | None]  # what the cases say of names that stand in their files; None: not set
    services: list[Packed]

    @property
    def environ(self) -> dict[str, str]:
        return {name: value for name, value in self.minds.items() if value is not None}


def batches() -> list[Batch]:
    """As few runs and services as the cases allow."""
    made: list[Batch] = []
    for number, case in enumerate(CASES):
        given = case.get("environ", {})
        minds = {name: given.get(name) for name in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", case["file"])}
        for batch in made:
            if all(batch.minds.get(name, value) == value for name, value in minds.items()):
                break
        else:
            made.append(batch := Batch(minds={}, services=[]))
        batch.minds.update(minds)
        for service in batch.services:
            if service.names.isdisjoint(names_in(case)):
                service.numbers.append(number)
                break
        else:
            batch.services.append(Packed(numbers=[number]))
    return made


PACKED = [service for batch in batches() for service in batch.services]
SERVICE_OF = {number: service.name for service in PACKED for number in service.numbers}


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Every case in the environment of a service, on both flavours."""
    site = Site(folder=tmp_path_factory.mktemp("env"), lab=lab)
    (site.folder / "watcher").write_text(WATCHER)
    for number, case in enumerate(CASES):
        (site.folder / f"{number}.env").write_bytes(case["file"].encode())
    for batch in batches():
        tasks = [
            {
                "service": {
                    "name": packed.name,
                    "binary": "watcher",
                    "user": "env-user",
                    "env_file": [f"{number}.env" for number in packed.numbers],
                    "healthcheck": {"stay_up": "0s"},
                }
            }
            for packed in batch.services
        ]
        site.write(tasks, hosts="host1,host2")
        run = site.run(env=batch.environ)
        assert run.code == 0, run
    return site


@pytest.fixture(scope="module")
def seen(site: Site) -> dict[tuple[str, str], dict[str, str]]:
    """The environment of each service on each host, without what systemd adds by itself."""
    return {
        (host.name, packed.name): {
            name: value for name, value in environ(host, packed.name).items() if name not in SYSTEMDS
        }
        for host in site.lab.hosts[:2]
        for packed in PACKED
    }


@pytest.mark.hosts
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["name"] for case in CASES])
def test_a_process_is_given_what_compose_would_give_it(
    site: Site, seen: dict[tuple[str, str], dict[str, str]], number: int
) -> None:
    for host in site.lab.hosts[:2]:
        found = seen[host.name, SERVICE_OF[number]]
        names = names_in(CASES[number])
        assert {name: found[name] for name in names if name in found} == CASES[number]["expect"]


@pytest.mark.hosts
def test_a_process_is_given_nothing_else(seen: dict[tuple[str, str], dict[str, str]]) -> None:
    for packed in PACKED:
        for (_, service), found in seen.items():
            if service == packed.name:
                assert set(found) == packed.expect


def values() -> Iterator[str]:
    yield from dict.fromkeys(chain(AWKWARD, *(case["expect"].values() for case in CASES)))


def stops_godotenv(value: str) -> bool:
    """The one leftover of deployer/plan/dotenv.py after which godotenv reads no further."""
    return value.endswith("\\") and "\n" in value


def godotenv_differs(value: str) -> bool:
    """The other leftovers; a process gets these values right all the same."""
    both_quotes = "'" in value and value.endswith('"')
    needs_quotes = re.search(r"^['\"\s]|[\n\\$#]", value) is not None
    return value.endswith("\\") or "\r\n" in value or (both_quotes and needs_quotes)


@pytest.mark.hosts
def test_godotenv_reads_the_same_values_from_the_file(site: Site) -> None:
    wanted = {f"V{index}": value for index, value in enumerate(values()) if not stops_godotenv(value)}
    task = site.service("env-godotenv", binary=site.binary("1.0.0"), port=PORT)
    task["service"]["environment"] |= {"ENV_DUMP": "1", **wanted}
    site.write([task], hosts="host1,host2")
    run = site.run()
    assert run.code == 0, run
    for host in site.lab.hosts[:2]:
        status, body = get(host, PORT, "/env")
        assert status == 200
        dump = json.loads(body)
        assert {name: dump["process"].get(name) for name in wanted} == wanted
        read = {name: dump["dotenv"].get(name) for name in wanted}
        different = {name for name in wanted if read[name] != wanted[name]}
        assert different == {name for name, value in wanted.items() if godotenv_differs(value)}
