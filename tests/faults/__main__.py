"""The command `scripts/faults`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.campaign import run_campaign
from tests.faults.choice import choose
from tests.faults.fault import At, Fault, Kind, parse_fault, parse_moment
from tests.faults.stand import Settings
from tests.faults.table import render_table
from tests.hosts import recipe
from tests.hosts.lab import Lab
from tests.hosts.programs import HostsError
from tests.page import write_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.trial import Result

DEADLINE = 5
EPILOG = """\
examples:
  scripts/faults 66                                  the set that CI runs has seed 1
  scripts/faults 500 --seed 7 --hosts 8 --table docs/reliability.md
  scripts/faults 20 --kind power-cut --point switch.flipped --point switch.restarted
  scripts/faults --only power-cut@switch.flipped/debian12+bad
"""


def main(argv: Sequence[str]) -> int:
    """Break things; 1 if a host was broken, a lock stuck, or a named point never came."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        faults = _faults(options)
        flavours = tuple(sorted({fault.flavour for fault in faults}))
        lab = Lab.up(min(options.hosts, len(faults)), flavours=flavours, owner_pid=os.getpid())
    except ValueError as error:
        parser.error(str(error))
    except HostsError as error:
        sys.stderr.write(f"faults: {error}\n")
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            return _campaign(faults, lab, settings(Path(folder)), table=options.table)
    finally:
        lab.down()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faults",
        description="Break deploys on real hosts, and see that no host is left broken.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("count", type=int, nargs="?", metavar="N", help="so many faults, chosen by chance")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other faults (default: 1)")
    parser.add_argument("--hosts", type=int, default=8, help="on so many hosts at once (default: 8)")
    parser.add_argument(
        "--kind", type=Kind, action="append", choices=list(Kind), metavar="KIND", help=", ".join(Kind)
    )
    parser.add_argument(
        "--point", action="append", metavar="P", help="only there: a point, own- and a point, or 0 to 1"
    )
    parser.add_argument("--flavour", action="append", choices=list(recipe.FLAVOURS), help="only there")
    parser.add_argument("--only", action="append", metavar="FAULT", help="this one, as it was printed")
    parser.add_argument("--list", action="store_true", help="only say which faults they are")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there, between its marks")
    return parser


def _faults(options: argparse.Namespace) -> list[Fault]:
    """Raises ValueError."""
    if options.only:
        return [parse_fault(text) for text in options.only]
    if not options.count or options.count < 1:
        raise ValueError("say how many faults, or which with --only")
    faults = choose(
        options.count,
        seed=options.seed,
        kinds=options.kind or tuple(Kind),
        moments=[parse_moment(text) for text in options.point] if options.point else None,
        flavours=options.flavour or tuple(recipe.FLAVOURS),
    )
    if options.list:
        _say("".join(f"{fault}\n" for fault in faults))
        sys.exit(0)
    return faults


def settings(folder: Path) -> Settings:
    """A short deadline, if this deployer knows deadlines."""
    known = subprocess.run(
        [sys.executable, "-m", "deployer", "run", "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = ("--deadline", f"{DEADLINE}s") if "--deadline" in known else ()
    return Settings(folder=folder, deadline=DEADLINE, options=options)


def _campaign(faults: Sequence[Fault], lab: Lab, settings: Settings, *, table: Path | None) -> int:
    began = time.monotonic()
    count = 0

    def done(result: Result) -> None:
        nonlocal count
        count += 1
        _say(f"{count:4}/{len(faults)} {describe(result)}\n")

    results = run_campaign(faults, lab, settings, done=done)
    text = render_table(results)
    missed = sorted({str(each.fault.moment) for each in results if not each.reached})
    broken = [each for each in results if not each.good]
    _say(f"\n{text}\n{len(results)} faults in {time.monotonic() - began:.0f} s, {len(broken)} bad\n")
    if missed:
        _say(f"points that did not come: {', '.join(missed)}\n")
    for each in broken:
        _say(f"again: scripts/faults --only {each.fault}\n")
    if table is not None:
        write_part(table, "faults", text)
    return 1 if broken or missed else 0


def describe(result: Result) -> str:
    """One line; and all the evidence, if it went wrong."""
    verdict = "STUCK" if result.stuck else "BROKEN" if result.broken else "ok"
    moment = "" if result.reached or not isinstance(result.fault.moment, At) else ", the point did not come"
    words = (
        f"{verdict:6} {result.fault!s:54} {result.host} {result.old}->{result.new} "
        f"first run {result.first or '-'}, {result.ended_on or '-'} served, "
        f"outage {result.outage:.1f} s, {result.starts} starts, whole after {result.recovered:.1f} s, "
        f"took {result.seconds:.0f} s"
        f"{moment}{''.join(f'; {note}' for note in result.notes)}"
    )
    if result.good:
        return words
    wrong = "".join(f"\n     ! {each}" for each in result.broken)
    evidence = "".join(f"\n     | {line}" for line in result.evidence.splitlines())
    return f"{words}{wrong}{evidence}"


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
