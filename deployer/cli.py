"""The command line: words to options, one place where errors are printed, and the exit code."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from deployer import __version__, streams
from deployer.errors import LoadError, Problem
from deployer.outcome import ExitCode
from deployer.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.load import LoadOptions
    from deployer.secret import Secret
    from deployer.show import ShowOptions

_RUN_EXAMPLES = """\b
Examples:
  deployer run prod.yml                     ./prod.yml or playbooks/prod.yml, with inventories/prod.yml
  deployer run prod --check --diff          what would change, secrets as names only
  deployer run prod -l web3 -e port=8081    one host, one variable
  deployer run prod -i hosts.ini -b -K      another inventory; sudo that asks for a password
  deployer run prod --step                  asks before each batch of `serial`
  deployer run prod --retry last            only the hosts that the last run lost
  deployer run prod --bwlimit 500k          500 KiB per second for all uploads together
  deployer run prod --json | jq .event      one JSON object per line, for programs

\b
Exit codes:
  0 every host is on the desired release and healthy   1 failed; every touched host is back
  2 wrong usage or files; nothing was contacted        3 some hosts unreachable, all others fine
  4 failed; hosts differ or one needs a person         5 another run holds a host's lock
  10 --check --detailed-exitcode: there are changes    130 interrupted
"""

_HISTORY_EXAMPLES = """\b
Examples:
  deployer history                            your last 20 runs, from the records on this machine
  deployer history prod.yml -n 5              the last 5 of one playbook
  deployer history prod.yml --on-host         what each host wrote down itself, whoever did it
  deployer history --json | jq 'select(.exit_code != 0).run'

\b
Exit codes: 0 shown; with --on-host: 1 a host could not answer, 2 wrong usage or files,
3 some hosts unreachable, 130 interrupted: those that had answered are shown.
"""
_ROLLBACK_EXAMPLES = """\b
Examples:
  deployer rollback prod.yml                         the release before the current one
  deployer rollback prod.yml --check                 only say to which
  deployer rollback prod.yml --to 20260102T030405Z-0123456789ab -l web3

\b
Exit codes: as `deployer run` has them; 0 every host is on that release and healthy.
"""

_UNLOCK_EXAMPLES = """\b
Examples:
  deployer unlock prod.yml -l web3              whoever holds it
  deployer history prod.yml --on-host -l web3   what the host did then

\b
Exit codes: 0 no lock is left; 1 a host could not answer; 2 wrong usage or files; 3 some hosts unreachable;
130 interrupted: locks of hosts that are shown as unlocked are broken.
"""

_RELEASES_EXAMPLES = """\b
Examples:
  deployer releases prod.yml                  what lies on each host, * is current
  deployer releases prod.yml -l web3 --json   one host, for programs

\b
Exit codes: 0 shown; 1 a host could not answer; 2 wrong usage or files; 3 some hosts unreachable;
130 interrupted: those that had answered are shown.
"""


class _Duration(click.ParamType[float]):
    """Seconds from `90s`, `5m` or a bare number, as in the playbook."""

    name = "duration"

    def __init__(self, *, minimum: float = 0) -> None:
        self._minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read what was typed."""
        from deployer.duration import parse_duration  # noqa: PLC0415

        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        if seconds < self._minimum:
            self.fail(f"{value!r} is shorter than {self._minimum:g}s", param, ctx)
        return seconds


class _Rate(click.ParamType[float]):
    """Bytes per second from `500k`, `1.5m` or a bare number of KiB, as rsync reads its --bwlimit."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read what was typed."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)", str(value), re.ASCII | re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} must be KiB per second, or a rate such as 500k, 1.5m or 1g", param, ctx)
        number, unit = found.groups()
        factor: int = 1024 ** " kmg".index(unit.lower() or "k")
        return float(number) * factor


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="deployer")
def cli() -> None:
    """Take one native binary and its .env to a fleet over SSH, run it under systemd, prove it healthy.

    A host where the new release does not get healthy goes back to the release before.

    \b
    Examples:
      deployer run prod.yml             deploy what playbooks/prod.yml says
      deployer run prod.yml --check     only say what would change
      deployer validate prod.yml        only read the files, contact nobody
      deployer releases prod.yml        which releases lie on the hosts
      deployer history                  what was run, and how it ended
    """  # noqa: D301  \b is click's mark for text to leave as it is


def _load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which hosts, which variables; named as Ansible names them."""
    for option in reversed(
        [
            click.option(
                "-i",
                "--inventory",
                multiple=True,
                metavar="PATH",
                help="Inventory file or folder, or a list of hosts with a comma at the end.",
            ),
            click.option("-l", "--limit", metavar="PATTERN", help="Only these of the play's hosts."),
            click.option(
                "-e",
                "--extra-vars",
                multiple=True,
                metavar="VARS",
                help="name=value, a {mapping}, or @file; wins over all others.",
            ),
        ]
    ):
        command = option(command)
    return command


def _connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("-u", "--user", metavar="NAME", help="Log in as NAME; ansible_user goes first."),
            click.option(
                "--private-key", type=click.Path(path_type=Path), metavar="FILE", help="Log in with this key."
            ),
            click.option("-b", "--become", is_flag=True, help="Become root with sudo."),
            click.option("--become-user", metavar="NAME", help="Become NAME instead of root."),
            click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for sudo's password."),
            click.option(
                "-T",
                "--timeout",
                type=click.FloatRange(min=0.1),
                default=10.0,
                show_default=True,
                help="Seconds to wait for a connection.",
            ),
        ]
    ):
        command = option(command)
    return command


def _playbook(*, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.argument("playbook", required=required)


_forks = click.option(
    "-f", "--forks", type=click.IntRange(min=1), default=50, show_default=True, help="Hosts at a time."
)
_json = click.option(
    "--json", is_flag=True, help="One JSON object per line on standard output, nothing else."
)


def _rollout_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            _forks,
            click.option("--check", is_flag=True, help="Only say what would change."),
            click.option(
                "--detailed-exitcode", is_flag=True, help="With --check: exit 10 when there are changes."
            ),
            click.option("--start", is_flag=True, help="Start services that their operator stopped, too."),
            click.option(
                "--deadline",
                type=_Duration(minimum=3),
                default="60s",
                show_default=True,
                metavar="DURATION",
                help="Hosts that hear nothing from this run for so long go back by themselves.",
            ),
            click.option(
                "--lock-wait",
                type=_Duration(),
                default="0s",
                show_default=True,
                metavar="DURATION",
                help="Wait for hosts that another run works on.",
            ),
            click.option("--step", is_flag=True, help="Ask on the terminal before each batch of hosts."),
            _json,
        ]
    ):
        command = option(command)
    return command


@cli.command(epilog=_RUN_EXAMPLES)
@_playbook()
@_load_options
@_connection_options
@_rollout_options
@click.option(
    "--retry",
    metavar="RUN",
    help="Only the hosts that RUN lost: a run's id or its beginning, or `last`.",
)
@click.option(
    "--bwlimit",
    type=_Rate(),
    default="0",
    metavar="RATE",
    help="Upload no faster than this, all hosts together: KiB per second, or 500k, 1.5m; 0: no limit.",
)
@click.option("--diff", is_flag=True, help="Show changes of the unit, and names of changed variables.")
def run(**words: Any) -> int:
    """Deploy what PLAYBOOK says."""
    return _roll_out(words, diff=words["diff"], retry=words["retry"] or "", bwlimit=words["bwlimit"])


@cli.command(epilog=_ROLLBACK_EXAMPLES)
@_playbook()
@_load_options
@_connection_options
@_rollout_options
@click.option("--to", metavar="RELEASE", help="This one, instead of the one before.")
def rollback(**words: Any) -> int:
    """Go back to a good release that the hosts of PLAYBOOK still have; nothing is uploaded."""
    return _roll_out(words, rollback=True, to=words["to"])


def _roll_out(words: dict[str, Any], **more: Any) -> int:
    if words["step"] and not sys.stdin.isatty():
        raise click.UsageError("--step asks before each batch, and there is no terminal to ask on")
    from deployer.run import RunOptions  # noqa: PLC0415  Fabric and pydantic are slow to import
    from deployer.run import run as run_playbook  # noqa: PLC0415

    same = ("check", "detailed_exitcode", "json", "forks", "start", "lock_wait", "deadline", "step")
    options = RunOptions(**{name: words[name] for name in same}, **more)
    load_options = _to_load(words, with_files=not options.rollback)
    return run_playbook(load_options, options, ask_passphrase=_ask_passphrase, note=_note)


@cli.command()
@_playbook()
@_load_options
def validate(**words: Any) -> int:
    """Read PLAYBOOK, its inventory and every file they name; contact no host."""
    from deployer.load.load import load  # noqa: PLC0415

    loaded = load(_to_load(words), environ=os.environ)
    for play in loaded.plays:
        names = ", ".join(host.name for host in play.hosts)
        click.echo(f"{play.name}: {len(play.hosts)} host{'s' if len(play.hosts) != 1 else ''} ({names})")
    click.echo(f"{loaded.playbook} is fine")
    return 0


@cli.command(epilog=_HISTORY_EXAMPLES)
@_playbook(required=False)
@click.option("--on-host", is_flag=True, help="Ask the hosts of PLAYBOOK for their own ledgers instead.")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="No more than so many runs; with --on-host: lines of each service.",
)
@_load_options
@_connection_options
@_forks
@_json
@click.pass_context
def history(context: click.Context, /, **words: Any) -> int:
    """Show what was run and how it ended, the newest first; with --on-host, the newest last."""
    if words["on_host"]:
        if words["playbook"] is None:
            raise click.UsageError("--on-host needs a PLAYBOOK, which says what hosts and services there are")
        from deployer.show import show_ledgers  # noqa: PLC0415  Fabric and pydantic are slow to import

        return show_ledgers(_to_load(words, with_files=False), _to_show(words), count=words["count"])
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name not in {"playbook", "count", "json"}:
            raise click.UsageError(f"{option.opts[-1]} goes with --on-host: records are on this machine")
    from deployer.record.store import Store  # noqa: PLC0415
    from deployer.report.history import history_lines  # noqa: PLC0415

    playbook = None
    if words["playbook"] is not None:
        from deployer.load.find import find_playbook  # noqa: PLC0415

        playbook = find_playbook(words["playbook"]).resolve()
    runs = Store(os.environ).newest(pass_over=lambda error: _note(str(error)))
    lines = history_lines(runs, playbook=playbook, here=Path.cwd(), count=words["count"], json=words["json"])
    for line in lines:
        _say(line)
    return 0


@cli.command(epilog=_RELEASES_EXAMPLES)
@_playbook()
@_load_options
@_connection_options
@_forks
@_json
def releases(**words: Any) -> int:
    """Show the releases that lie on the hosts of PLAYBOOK, the newest first."""
    from deployer.show import show_releases  # noqa: PLC0415

    return show_releases(_to_load(words, with_files=False), _to_show(words))


@cli.command(epilog=_UNLOCK_EXAMPLES)
@_playbook()
@_load_options
@_connection_options
@_forks
@_json
def unlock(**words: Any) -> int:
    """Break the locks that runs hold on the hosts of PLAYBOOK; their ledgers name you.

    A dead run's lock ends by itself after its --deadline.  What its holder had not committed yet is put
    back by the host at once.
    """
    from deployer.run import whoami  # noqa: PLC0415
    from deployer.show import unlock as break_locks  # noqa: PLC0415

    return break_locks(_to_load(words, with_files=False), _to_show(words), by=whoami())


def _to_show(words: dict[str, Any]) -> ShowOptions:
    from deployer.show import ShowOptions  # noqa: PLC0415

    return ShowOptions(json=words["json"], forks=words["forks"], say=_say, ask_passphrase=_ask_passphrase)


def _to_load(words: dict[str, Any], *, with_files: bool = True) -> LoadOptions:
    from deployer.load import ConnectionOptions, LoadOptions  # noqa: PLC0415

    return LoadOptions(
        playbook=words["playbook"],
        inventory=words["inventory"],
        limit=words["limit"],
        extra_vars=words["extra_vars"],
        connection=ConnectionOptions(
            user=words.get("user"),
            private_key=words.get("private_key"),
            become=words.get("become", False),
            become_user=words.get("become_user"),
            become_password=_ask_become_password() if words.get("ask_become_pass") else None,
            timeout=words.get("timeout", 10.0),
        ),
        with_files=with_files,
    )


def _ask_become_password() -> Secret:
    from deployer.secret import Secret  # noqa: PLC0415

    if not sys.stdin.isatty():  # from a pipe, as `sudo -S` takes it
        return Secret(sys.stdin.readline().rstrip("\n"))
    return Secret(click.prompt("sudo password", hide_input=True, err=True))


def _ask_passphrase(key: Path) -> Secret | None:
    """The passphrase of a private key, if somebody is there to type it."""
    from deployer.secret import Secret  # noqa: PLC0415

    if not sys.stdin.isatty():
        return None
    return Secret(click.prompt(f"Passphrase of {key}", hide_input=True, err=True))


def _say(text: str) -> None:
    click.echo(visible(text))


def _note(text: str) -> None:
    """Say what is no part of a command's output, if anybody can be told."""
    with suppress(OSError, ValueError):
        click.echo(f"deployer: {visible(text)}", err=True)


def main() -> None:
    """Run the command line.  Every expected error ends here, and none is a traceback."""
    gc.disable()  # until hosts are asked: what start-up makes is no garbage, and a search takes time
    # CI cancels with SIGTERM, and a terminal that is closed sends SIGHUP.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup`, or a shell's `&`
            signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(cli.main(standalone_mode=False, prog_name="deployer"))
    except click.UsageError as error:
        with suppress(OSError, ValueError):
            error.show()
        sys.exit(ExitCode.USAGE)
    except click.ClickException as error:
        _print([Problem(message=error.format_message())])
        sys.exit(ExitCode.USAGE)
    except LoadError as error:
        _print(error.problems)
        sys.exit(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        _note("interrupted; nothing was changed")
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        if os.environ.get("DEPLOYER_DEBUG"):
            raise
        _print(
            [
                Problem(
                    message=f"a bug in deployer: {type(error).__name__}: {error}",
                    hint="DEPLOYER_DEBUG=1 shows where",
                )
            ]
        )
        sys.exit(ExitCode.MIXED)


def command() -> NoReturn:
    """The program: `main`, and then the end, at once.

    Threads that may still work on hosts are not waited for, and Python need not take itself apart.
    """
    streams.have_all()
    try:
        main()
    except SystemExit as ended:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(ended.code if isinstance(ended.code, int) else ExitCode.OK)
    raise AssertionError("unreachable: main always exits")


def _print(problems: tuple[Problem, ...] | list[Problem]) -> None:
    with suppress(OSError, ValueError):  # the exit code is told even when nobody can be told why
        for problem in problems:
            click.echo(f"error: {visible(str(problem))}", err=True)
        if len(problems) > 1:
            click.echo(f"{len(problems)} errors; no host was contacted", err=True)
