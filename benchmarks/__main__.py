"""The command `scripts/bench`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import environment, page, results
from benchmarks.binary import build
from benchmarks.campaign import FIRST_PORT, Stand, measure, service_name
from benchmarks.contender import BenchError
from benchmarks.contenders.ansible import Ansible
from benchmarks.contenders.deployer import Deployer
from benchmarks.contenders.pyinfra import Pyinfra
from benchmarks.contenders.script import LoginOnly, Script
from benchmarks.fleet import USER, on_all, open_fleet
from benchmarks.job import Job, Row, Setting
from benchmarks.many import measure_many
from benchmarks.results import Cell, Results, Run
from tests.hosts import programs
from tests.hosts.lab import Lab
from tests.hosts.programs import CommandFailedError, HostsError
from tests.page import write_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.binary import Builds
    from benchmarks.contender import Contender

REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "benchmarks/results.json"
PAGE = REPOSITORY / "docs/performance.md"
CHART = REPOSITORY / "docs/performance.svg"

STAY_UP, KEX = "stay-up", "script-kex"
CONTENDERS: tuple[Contender, ...] = (
    Deployer(),
    Deployer(name=STAY_UP, words="deployer, stay_up 3s", stay_up="3s", jobs=frozenset({Job.FIRST})),
    LoginOnly(),
    Script(),
    Script(name=KEX, words="OpenSSH script, curve25519", key_exchange="curve25519-sha256"),
    Pyinfra(),
    Ansible(),
    Ansible(name="mitogen", words="Ansible + Mitogen", mitogen=True),
)
WORDS = {contender.name: contender.words for contender in CONTENDERS}
SETTINGS = (
    *(Setting(hosts=hosts, rtt=0) for hosts in (1, 10, 40)),
    *(Setting(hosts=hosts, rtt=100) for hosts in (1, 10)),
    Setting(hosts=1, rtt=100, zstd=True),
)
FLAVOUR, FLAVOUR_ZSTD = "python-debian12", "python-zstd-debian12"
EPILOG = """\
examples:
  scripts/bench run                                      all of it: hours
  scripts/bench run --hosts 10 --rtt 0 --rounds 3        one setting, all contenders and jobs
  scripts/bench run --hosts 40 --jobs nothing --contenders deployer,script
  scripts/bench run --hosts 1 --rtt 100 --zstd --jobs binary --contenders deployer
  scripts/bench many                                     100 and 1000 names over 10 real hosts
  scripts/bench show                                     only write page and chart from results.json again

A run replaces what it measured in benchmarks/results.json, and nothing else.
Ratios are only taken within a run.
"""


def main(argv: Sequence[str]) -> int:
    """Run one command; 1 if something could not be measured."""
    options = _parser().parse_args(argv)
    for each in (signal.SIGINT, signal.SIGTERM):  # in the background of a shell the first would be ignored
        signal.signal(each, signal.default_int_handler)
    try:
        match options.command:
            case "run":
                return _run(options)
            case "many":
                return _many(options)
            case _:
                _show()
    except (BenchError, CommandFailedError, HostsError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="The same job, side by side: deployer, OpenSSH script, pyinfra, Ansible, Mitogen.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="measure jobs")
    run.add_argument("--hosts", type=_numbers, metavar="N,N", help="so many hosts")
    run.add_argument("--rtt", type=_numbers, metavar="MS,MS", help="round trips in milliseconds")
    run.add_argument("--zstd", action="store_true", help="on hosts that have zstd")
    run.add_argument("--jobs", type=_jobs, default=tuple(Job), metavar="J,J", help=", ".join(Job))
    run.add_argument(
        "--contenders", type=_contenders, default=CONTENDERS, metavar="C,C", help=", ".join(WORDS)
    )
    run.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    many = commands.add_parser("many", help="measure unchanged names, that are a few real hosts")
    many.add_argument("--names", type=_numbers, default=(100, 1000), metavar="N,N", help="default: 100,1000")
    many.add_argument("--hosts", type=int, default=10, metavar="N", help="real ones (default: 10)")
    many.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    commands.add_parser("show", help="only write the page and the chart again")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _jobs(text: str) -> tuple[Job, ...]:
    return tuple(Job(word) for word in text.split(","))


def _contenders(text: str) -> tuple[Contender, ...]:
    unknown = [word for word in text.split(",") if word not in WORDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no contender {', '.join(unknown)}: there are {', '.join(WORDS)}")
    return tuple(each for each in CONTENDERS if each.name in text.split(","))


def _settings(options: argparse.Namespace) -> tuple[Setting, ...]:
    """All of them, or those that were asked for."""
    if options.hosts is None and options.rtt is None and not options.zstd:
        return SETTINGS
    return tuple(
        Setting(hosts=hosts, rtt=rtt, zstd=options.zstd)
        for rtt in options.rtt or (0,)
        for hosts in options.hosts or (1,)
    )


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    able, versions, broken = _prepare(options.contenders)
    with _workshop() as shop:
        run = _describe(shop, versions, rounds=options.rounds)
        failed = False
        for zstd in sorted({setting.zstd for setting in settings}):
            same = [setting for setting in settings if setting.zstd is zstd]
            with _lab(max(setting.hosts for setting in same), zstd=zstd) as lab:
                for setting in same:
                    # Nobody else uses zstd.
                    asked = [each for each in able if not zstd or each.name == results.OURS]
                    cells = (
                        *_measure(shop, lab, setting, asked, options, run=run.date),
                        *(() if zstd else _unable(setting, broken, options.jobs, run=run.date)),
                    )
                    failed = failed or any(cell.error for cell in cells)
                    # At once: who ends a long run early keeps what it has measured.
                    _keep(Results(runs={run.date: run}, cells=cells))
    return 1 if failed else 0


def _prepare(
    contenders: Sequence[Contender],
) -> tuple[list[Contender], dict[str, str], list[tuple[Contender, str]]]:
    """Those that can run, their versions, and those that cannot be installed, with the reason."""
    able, versions, broken = [], {}, []
    for contender in contenders:
        try:
            versions[contender.name] = contender.prepare()
        except HostsError as error:
            broken.append((contender, str(error)))
            _say(f"{contender.words} cannot be installed: {error}")
        else:
            able.append(contender)
            _say(f"{contender.words}: {versions[contender.name]}")
    return able, versions, broken


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workshop:
    """A folder of this run, with the binaries that are deployed in it."""

    folder: Path
    builds: Builds


@contextmanager
def _workshop() -> Iterator[_Workshop]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        _say("building the sample service, and an upgrade of it")
        yield _Workshop(folder=folder, builds=build(folder))


@contextmanager
def _lab(hosts: int, *, zstd: bool) -> Iterator[Lab]:
    _say(f"starting {hosts} hosts")
    lab = Lab.up(hosts, flavours=(FLAVOUR_ZSTD if zstd else FLAVOUR,), owner_pid=os.getpid())
    try:
        on_all(lab.hosts, "linger", USER)
        yield lab
    finally:
        lab.down()


def _measure(
    shop: _Workshop,
    lab: Lab,
    setting: Setting,
    contenders: Sequence[Contender],
    options: argparse.Namespace,
    *,
    run: str,
) -> tuple[Cell, ...]:
    with (
        tempfile.TemporaryDirectory(dir=shop.folder) as name,
        open_fleet(lab, setting, Path(name)) as fleet,
    ):
        stands = [
            Stand(contender, fleet, Path(name), shop.builds, port=FIRST_PORT + index)
            for index, contender in enumerate(contenders)
        ]
        services = [service_name(contender) for contender in contenders]
        try:
            return measure(stands, setting, options.jobs, rounds=options.rounds, run=run, say=_say)
        finally:
            on_all(fleet.hosts, "clear", *services)


def _unable(
    setting: Setting, broken: Sequence[tuple[Contender, str]], jobs: Sequence[Job], *, run: str
) -> Iterator[Cell]:
    for contender, error in broken:
        for job in (job for job in jobs if job in contender.jobs):
            yield Cell(row=Row(job=job, setting=setting), contender=contender.name, run=run, error=error)


def _many(options: argparse.Namespace) -> int:
    deployer = Deployer()
    _, versions, _ = _prepare([deployer])
    with (
        _workshop() as shop,
        _lab(options.hosts, zstd=False) as lab,
        open_fleet(lab, Setting(hosts=options.hosts, rtt=0), shop.folder) as fleet,
    ):
        run = _describe(shop, versions, rounds=options.rounds)
        stand = Stand(deployer, fleet, shop.folder, shop.builds, port=FIRST_PORT)
        many = measure_many(
            stand,
            deployer,
            sizes=options.names,
            hosts=options.hosts,
            rounds=options.rounds,
            run=run.date,
            say=_say,
        )
        _keep(Results(runs={run.date: run}, many=many))
    return 0


def _describe(shop: _Workshop, versions: dict[str, str], *, rounds: int) -> Run:
    cpu = next(
        (
            line.split(":", maxsplit=1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    machine = (
        f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, hosts on the same machine"
    )
    size = shop.builds.old.path.stat().st_size / 1e6
    return Run(
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        machine=machine,
        versions=versions,
        rounds=rounds,
        binary=f"gin service of {size:.1f} MB",
    )


def _keep(newer: Results) -> None:
    results.write(RESULTS, results.read(RESULTS).merged(newer))
    _show()


def _show() -> None:
    """Write the page and the chart from what is kept."""
    kept = results.read(RESULTS)
    write_part(PAGE, "benchmarks", page.render(kept, WORDS, chart=CHART.name))
    # How long we wait for a process to stay alive says nothing about speed.
    compared = {name: words for name, words in WORDS.items() if name not in {STAY_UP, KEX}}
    chart = page.chart_data(kept, compared)
    if chart["panels"]:
        python = environment.ensure("chart") / "bin/python"
        script = Path(__file__).with_name("chart.py")
        programs.run(str(python), str(script), str(CHART), stdin=json.dumps(chart))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
