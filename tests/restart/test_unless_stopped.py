"""`restart: unless-stopped`, exactly: a black-box check, case by case, of what `deployer run` installed."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.programs import task
from tests.e2e.site import Site
from tests.hosts.lab import Lab
from tests.hosts.recipe import FLAVOURS
from tests.restart.check import CASES, Verdict, parts, run_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.host import TestHost

SERVICE = "ustest"
HOSTS = 3  # of each flavour; case 44 alone fills one of them
INFORMATION = {"41": "INFO"}
"""41: `systemctl kill` leaves no job and cannot be told from a kill from outside; docs/restart.md says so."""

TIMED = {"07", "09", "27"}
"""They allow half a second more than systemd needs: too little on a busy machine, so they may be tried again;
what is wrong fails each time."""

SHORT = {"01", "02", "03", "06", "07", "08", "10", "11", "16", "18", "20", "22", "24", "32"}
"""Each promise once, in about a minute; the other cases are marked `long`."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """ustest.c as a static binary, deployed to hosts of both flavours."""
    folder = tmp_path_factory.mktemp("restart")
    source = Path(__file__).with_name("ustest.c")
    subprocess.run(["gcc", "-static", "-O1", "-o", str(folder / SERVICE), str(source)], check=True)
    lab = Lab.up(HOSTS * len(FLAVOURS), flavours=tuple(FLAVOURS), owner_pid=os.getpid())
    try:
        site = Site(folder=folder, lab=lab)
        site.write([task(SERVICE, SERVICE, restart="unless-stopped")])
        run = site.run()
        assert run.code == 0, run.finished
        yield site
    finally:
        lab.down()


@pytest.fixture(scope="module")
def verdicts(site: Site, request: pytest.FixtureRequest) -> dict[tuple[str, str], Verdict]:
    """By flavour and case, of the cases that were asked for; all hosts are checked at the same time."""
    wanted = {
        (str(item.callspec.params["flavour"]), str(item.callspec.params["case"]))
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.originalname == test_it_is_dockers_unless_stopped.__name__
    }
    jobs = [
        (host, cases)
        for flavour in FLAVOURS
        for host, cases in zip(
            [host for host in site.lab.hosts if host.flavour == flavour],
            parts({case for kind, case in wanted if kind == flavour}, HOSTS),
            strict=False,
        )
    ]
    with ThreadPoolExecutor(max_workers=len(jobs)) as workers:
        said = workers.map(lambda job: check_patiently(site.lab, *job), jobs)
        return {
            (host.flavour, case): verdict
            for (host, _), found in zip(jobs, said, strict=True)
            for case, verdict in found.items()
        }


def check_patiently(lab: Lab, host: TestHost, cases: list[str]) -> dict[str, Verdict]:
    found = run_check(lab, host, SERVICE, cases)
    for _ in range(4):
        late = {case for case in TIMED & found.keys() if found[case].word == "FAIL"}
        if late:
            found.update(run_check(lab, host, SERVICE, parts(late, 1)[0]))
    return found


@pytest.mark.hosts
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in SHORT else pytest.mark.long) for case in CASES]
)
def test_it_is_dockers_unless_stopped(
    verdicts: dict[tuple[str, str], Verdict], flavour: str, case: str
) -> None:
    verdict = verdicts[flavour, case]
    assert verdict.word == INFORMATION.get(case, "PASS"), verdict.said


@pytest.mark.hosts
@pytest.mark.usefixtures("verdicts")
def test_a_run_finds_nothing_to_do_afterwards(site: Site) -> None:
    assert set(site.run().outcomes.values()) == {"unchanged"}


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_every_case_is_in_one_part(count: int) -> None:
    assert sorted(case for part in parts(CASES, count) for case in part) == CASES


def test_a_case_brings_those_that_it_follows() -> None:
    assert parts({"08"}, 3) == [["06", "07", "08"]]
    assert parts({"44", "01", "13"}, 2) == [["44"], ["01", "10", "11", "12", "13", "14", "15"]]


def test_no_case_of_the_check_is_left_out() -> None:
    script = Path(__file__).with_name("unless_stopped_check.sh").read_text()
    known = re.findall(r"^run ([0-9]{2}) |want ([0-9]{2}) &&", script, re.MULTILINE)
    assert sorted("".join(pair) for pair in known) == CASES
