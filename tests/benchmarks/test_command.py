"""The command line of scripts/bench."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.__main__ import CONTENDERS, EPILOG, SETTINGS, _parser, _settings
from benchmarks.campaign import service_name
from benchmarks.job import Setting
from benchmarks.targets import RATIOS

PAGE = Path(__file__).parents[2] / "docs/performance.md"
EXAMPLES = re.findall(r"^ +scripts/(bench .*)$", EPILOG + PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_parses(line: str) -> None:
    _parser().parse_args(shlex.split(re.split(r"  +", line)[0].split("#")[0])[1:])


def test_some_hosts_over_some_lines_are_all_their_pairs() -> None:
    options = _parser().parse_args(["run", "--hosts", "1,10", "--rtt", "0,100"])
    assert [(each.rtt, each.hosts) for each in _settings(options)] == [(0, 1), (0, 10), (100, 1), (100, 10)]
    assert _settings(_parser().parse_args(["run"])) == SETTINGS


def test_what_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["run", "--jobs", "some"],
        ["run", "--contenders", "deployer,chef"],
        ["run", "--hosts", "x"],
    ):
        with pytest.raises(SystemExit) as ended:
            _parser().parse_args(words)
        assert ended.value.code == 2
    assert "no contender chef: there are deployer, stay-up, true, script" in capsys.readouterr().err


def test_a_full_run_measures_what_targets_ask_for() -> None:
    jobs = {each.name: each.jobs for each in CONTENDERS}
    for (job, hosts, rtt), limits in RATIOS.items():
        assert Setting(hosts=hosts, rtt=rtt) in SETTINGS
        assert all(job in jobs[contender] for contender in limits)


def test_names_of_services_can_be_names_of_accounts() -> None:
    names = [service_name(contender) for contender in CONTENDERS]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 32 for name in names)
