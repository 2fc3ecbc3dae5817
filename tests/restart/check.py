"""The black-box check unless_stopped_check.sh: its cases, divided among hosts, and its verdicts."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

CHECK = Path(__file__).with_name("unless_stopped_check.sh")
REPOSITORY = CHECK.parents[2]
SECONDS = 900
_LINE = re.compile(r"^([0-9]{2}) +(PASS|FAIL|SKIP|INFO) (.*)$", re.MULTILINE)

GROUPS = {
    "01": 2,
    "02": 2,
    "03": 2,
    "04": 2,
    "05": 2,
    "06 07 08": 27,
    "09": 18,
    "10 11 12 13 14 15": 26,
    "16 17": 12,
    "18": 5,
    "19": 5,
    "20 21": 14,
    "22": 11,
    "23": 9,
    "24": 10,
    "25": 5,
    "26": 5,
    "27": 5,
    "28": 20,
    "29": 9,
    "30": 16,
    "31": 8,
    "32": 11,
    "33": 6,
    "34": 7,
    "35": 5,
    "36": 11,
    "37": 7,
    "38": 62,
    "39": 5,
    "40": 6,
    "41": 2,
    "42": 6,
    "43": 40,
    "44": 226,
}
"""Cases that only run together, and the seconds they take, most of them spent waiting."""

CASES = [case for group in GROUPS for case in group.split()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the check says of one case."""

    word: str  # PASS, FAIL, SKIP, INFO; nothing, if the check broke off before
    said: str


def parts(cases: Collection[str], count: int) -> list[list[str]]:
    """At most `count` lists of cases that take about equally long, with all that `cases` need."""
    loads: list[tuple[int, list[str]]] = [(0, []) for _ in range(count)]
    for group, seconds in sorted(GROUPS.items(), key=lambda item: -item[1]):
        if set(cases).intersection(group.split()):
            index = min(range(count), key=lambda index: loads[index][0])
            taken, have = loads[index]
            loads[index] = (taken + seconds, [*have, *group.split()])
    return [sorted(have) for _, have in loads if have]


def run_check(lab: Lab, host: TestHost, service: str, cases: Collection[str]) -> dict[str, Verdict]:
    """Let the check crash, stop and reboot the service, which is ustest.c."""
    switch = f"{REPOSITORY}/scripts/hosts"
    starve = f"{sys.executable} -m tests.restart.out_of_memory {lab.folder} {host.name} {service}"
    options = {
        "-s": " ".join(host.ssh_client(user="root")),
        "-u": service,
        "--off": f"{switch} power-cut {lab.name}/{host.name}",
        "--on": f"{switch} boot {lab.name}/{host.name}",
        "--exit0": "kill -USR1 $P",
        "--exitn": "kill -USR2 $P",
        "--hup": "kill -HUP $P",
        "--oom": starve,
        "--noterm": "touch /run/ustest.noterm",
        "--term": "rm -f /run/ustest.noterm",
        "--only": " ".join(cases),
    }
    words = [str(CHECK), "--cap", *(word for option in options.items() for word in option)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS, check=False)
    lines = {case: (word, detail) for case, word, detail in _LINE.findall(done.stdout)}
    said = f"on {host.name}, whole output:\n{done.stdout}{done.stderr}"
    return {
        case: Verdict(word=word, said=f"{detail}\n{said}")
        for case, (word, detail) in ((case, lines.get(case, ("nothing", ""))) for case in cases)
    }
