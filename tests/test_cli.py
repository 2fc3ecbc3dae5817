"""The command line: help that shows how, usage errors with exit code 2, and no traceback ever."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click
import pytest

from deployer import __version__
from deployer.cli import cli, main
from deployer.outcome import ExitCode
from deployer.record.record import HostRecord
from deployer.record.store import Store
from deployer.visible import visible
from tests.record.runs import make_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.record.record import RunRecord

COMMANDS: Sequence[click.Command] = list(cli.commands.values())


class Deployer(Protocol):
    """Runs the command line with some words: exit code, standard output, standard error."""

    def __call__(self, *words: str) -> tuple[int, str, str]: ...


@pytest.fixture
def deployer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Deployer:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deployer", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def start(site: Path, *words: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "deployer", *words],
        cwd=site,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def closed_pipe() -> Iterator[int]:
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a playbook and an inventory of its name, and the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/site.ini").write_text("web1\nweb2\n")
    (tmp_path / "site.yml").write_text("- hosts: all\n  tasks:\n    - command: 'true'\n")
    return tmp_path


def test_the_version(deployer: Deployer) -> None:
    assert deployer("--version") == (0, f"deployer, version {__version__}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["run", "--help"], ["run", "-h"]])
def test_help_begins_with_the_usage_and_has_examples(deployer: Deployer, words: list[str]) -> None:
    code, shown, said = deployer(*words)
    assert (code, said) == (0, "")
    assert shown.startswith("Usage: deployer ")
    assert "Examples:\n" in shown
    assert re.search(r"^ +deployer run prod", shown, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_option_is_explained(command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{command.name} {parameter.name}"
            assert parameter.help.endswith("."), parameter.help


def test_every_command_is_in_the_help(deployer: Deployer) -> None:
    _, shown, _ = deployer("--help")
    assert {command.name for command in COMMANDS} >= {"run", "validate"}
    assert all(re.search(rf"^  {command.name} ", shown, re.MULTILINE) for command in COMMANDS)


def test_the_help_of_run_names_the_exit_codes(deployer: Deployer) -> None:
    told = deployer("run", "--help")[1].partition("Exit codes:")[2]
    codes = set(map(int, re.findall(r"(?:^| {2,})(\d+) [a-z]", told, re.MULTILINE)))
    assert codes <= set(ExitCode)
    assert codes >= {ExitCode.OK, ExitCode.FAILED, ExitCode.USAGE, ExitCode.UNREACHABLE, ExitCode.MIXED}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing argument 'PLAYBOOK'"),
        (["run", "a", "b"], "Got unexpected extra argument (b)"),
        (["run", "site", "--nope"], "No such option"),
        (["run", "site", "--step"], "--step asks before each batch, and there is no terminal to ask on"),
        (["run", "site", "--forks", "0"], "0 is not in the range x>=1"),
        (["run", "site", "--forks", "many"], "'many' is not a valid integer"),
        (["run", "site", "-T", "0"], "0.0 is not in the range x>=0.1"),
        (["run", "site", "--limit"], "Option '--limit' requires an argument"),
        (["run", "site", "--bwlimit", "fast"], "'fast' must be KiB per second, or a rate such as 500k"),
        (["run", "site", "--bwlimit", "-1"], "'-1' must be KiB per second"),
        (["rollback", "site", "--bwlimit", "1m"], "No such option"),  # it uploads nothing
        (["validate"], "Missing argument 'PLAYBOOK'"),
        (["run", "site", "--retry"], "Option '--retry' requires an argument"),
        (["releases"], "Missing argument 'PLAYBOOK'"),
        (["history", "--on-host"], "--on-host needs a PLAYBOOK"),
        (["history", "site", "--limit", "web1"], "--limit goes with --on-host"),
        (["history", "-b"], "--become goes with --on-host"),
        (["history", "-n", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage_is_told_in_a_few_lines_with_exit_code_2(
    deployer: Deployer, words: list[str], said: str
) -> None:
    code, shown, told = deployer(*words)
    assert (code, shown) == (2, "")
    assert said in told
    assert len(told.splitlines()) <= 4


@pytest.mark.parametrize(
    ("typed", "rate"),
    [("0", 0), ("100", 102_400), ("500k", 512_000), ("1.5m", 1_572_864), ("2M", 2 << 20), ("1G", 1 << 30)],
)
def test_a_rate_is_read_as_rsync_reads_it(typed: str, rate: int) -> None:
    with cli.commands["run"].make_context("run", ["site", "--bwlimit", typed]) as context:
        assert context.params["bwlimit"] == rate


def test_without_any_word_there_is_help(deployer: Deployer) -> None:
    _, shown, said = deployer()
    assert "Usage: deployer" in shown + said
    assert "Examples:" in shown + said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nope.yml"], "error: there is no playbook nope.yml"),
        (["run", "sit"], "error: there is no playbook sit (did you mean 'site'?)"),
        (["run", "site", "-i", "none"], "error: there is no inventory 'none'"),
        (["run", "site", "-l", "web3"], "error: --limit: no group or host is called 'web3'"),
        (["run", "site", "-e", "x"], "error: --extra-vars must be name=value"),
        (["run", "site", "--json", "-e", "x"], "error: --extra-vars must be name=value"),
        (["validate", "nope.yml"], "error: there is no playbook nope.yml"),
        (["run", "site", "--retry", "last"], "error: --retry last: no run of "),
        (["run", "site", "--retry", "abc"], "error: --retry: there is no record of a run abc (none of this"),
        (["history", "nope.yml"], "error: there is no playbook nope.yml"),
        (["history", "nope.yml", "--on-host"], "error: there is no playbook nope.yml"),
        (["releases", "site", "-l", "web3"], "error: --limit: no group or host is called 'web3'"),
    ],
)
@pytest.mark.usefixtures("site")
def test_wrong_files_are_told_with_exit_code_2_before_any_event(
    deployer: Deployer, words: list[str], said: str
) -> None:
    code, shown, told = deployer(*words)
    assert (code, shown) == (2, "")
    assert told.startswith(said)


@pytest.mark.usefixtures("site")
def test_validate_reads_and_contacts_nobody(deployer: Deployer) -> None:
    assert deployer("validate", "site") == (0, "all: 2 hosts (web1, web2)\nsite.yml is fine\n", "")


def record_run(site: Path, **outcomes: str) -> RunRecord:
    """As if the site's playbook had been run, and had ended so on these hosts."""
    record = make_run(
        playbook=str(site / "site.yml"),
        hosts={name: HostRecord(outcome=outcome) for name, outcome in outcomes.items()},
    )
    Store(os.environ).write(record)
    return record


def test_a_retry_of_a_run_that_went_well_contacts_nobody(deployer: Deployer, site: Path) -> None:
    record = record_run(site, web1="changed", web2="unchanged")
    for words in ([], ["--json"]):
        said = f"deployer: nothing to retry: every host of run {record.run} is fine\n"
        assert deployer("run", "site", "--retry", "last", *words) == (0, "", said)
    assert Store(os.environ).ids() == [record.run]


def test_a_retry_contacts_only_lost_hosts_and_leaves_a_record(deployer: Deployer, site: Path) -> None:
    (site / "inventories/site.ini").write_text(
        "[all:vars]\nansible_host=127.0.0.1\nansible_port=1\n[web]\nweb1\nweb2\nweb3\n"
    )
    record = record_run(site, web1="changed", web2="reverted", web3="not_attempted")
    code, shown, said = deployer("run", "site", "--retry", record.run[:15], "--json", "-l", "web1,web3")
    events = [json.loads(line) for line in shown.splitlines()]
    assert (code, said) == (ExitCode.UNREACHABLE, "")
    assert events[0]["retry"] == record.run
    assert {event["host"] for event in events if "host" in event} == {"web3"}
    newest = next(Store(os.environ).newest())
    assert (newest.run, newest.exit_code, newest.to_retry) == (events[0]["run"], 3, ("web3",))


def test_check_leaves_no_record(deployer: Deployer, site: Path) -> None:
    (site / "inventories/site.ini").write_text("web1 ansible_host=127.0.0.1 ansible_port=1\n")
    assert deployer("run", "site", "--check")[0] == ExitCode.UNREACHABLE
    assert Store(os.environ).ids() == []


def test_history_shows_what_is_recorded(deployer: Deployer, site: Path) -> None:
    assert deployer("history") == (0, "no run is recorded\n", "")
    record = record_run(site, web1="changed")
    code, shown, said = deployer("history", "site")
    assert (code, said) == (0, "")
    assert re.search(rf"^{record.run} .*  site\.yml  1 changed ", shown, re.MULTILINE)
    assert json.loads(deployer("history", "--json")[1])["run"] == record.run
    (site / "other.yml").write_text("")
    assert deployer("history", "other") == (0, "no run is recorded of other.yml\n", "")


def test_a_damaged_record_is_told_in_a_line(deployer: Deployer, site: Path) -> None:
    record = record_run(site, web1="changed")
    damaged = Store(os.environ).folder / "20991122T112000Z-000000.json"
    damaged.write_text("{")
    code, shown, said = deployer("history")
    assert (code, record.run in shown) == (0, True)
    assert said.startswith(f"deployer: cannot read the record {damaged}: ")
    assert len(said.splitlines()) == 1
    # It may be the one that is meant.
    code, shown, said = deployer("run", "site", "--retry", "last")
    assert (code, shown) == (2, "")
    assert said.startswith(f"error: cannot read the record {damaged}: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("words", [["releases", "site"], ["history", "site", "--on-host"]], ids=" ".join)
def test_hosts_that_cannot_be_asked_are_named(deployer: Deployer, site: Path, words: list[str]) -> None:
    (site / "server").write_text("#!/bin/sh\n")
    (site / "site.yml").write_text(
        "- hosts: all\n  tasks:\n    - service: {name: app, binary: server, user: nobody}\n"
    )
    (site / "inventories/site.ini").write_text("web1 ansible_host=127.0.0.1 ansible_port=1\n")
    line = "web1  unreachable: 127.0.0.1 port 1 refused the connection (is sshd running?)\n"
    assert deployer(*words) == (ExitCode.UNREACHABLE, line, "")
    code, shown, _ = deployer(*words, "--json")
    told = json.loads(shown)
    assert (code, told["host"], told["failure"]["cause"]) == (ExitCode.UNREACHABLE, "web1", "refused")


def test_python_dash_m_and_the_script_are_the_same(site: Path) -> None:
    script = Path(sys.executable).parent / "deployer"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == start(site, "--version").stdout == f"deployer, version {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["validate", "site"], ["history"]], ids=" ".join)
def test_output_into_a_closed_pipe_is_no_traceback(site: Path, words: list[str]) -> None:
    with closed_pipe() as pipe:
        done = start(site, *words, stdout=pipe)
    # 1 is click's doing, and says nothing of hosts: none was asked for anything.
    assert (done.returncode, done.stderr) == (1, "")


def test_a_run_whose_output_is_closed_ends_with_its_own_exit_code(site: Path) -> None:
    (site / "inventories/site.ini").write_text("web1 ansible_host=127.0.0.1 ansible_port=1\n")
    with closed_pipe() as pipe:
        done = start(site, "run", "site", stdout=pipe)
    assert done.stderr == "deployer: no more output (Broken pipe); the run goes on\n"
    assert done.returncode == ExitCode.UNREACHABLE


def start_with(redirections: str, site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As a shell starts it with these."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "deployer", *words],
        cwd=site,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["validate", "site"],
        ["validate", "nope.yml"],
        ["rnu"],
        ["run", "site"],
        ["run", "site", "--json"],
        ["run", "site", "--step"],
        ["run", "site", "-b", "-K"],
        ["releases", "site"],
    ],
    ids=" ".join,
)
def test_a_closed_stream_is_as_one_on_dev_null(site: Path, closed: str, words: list[str]) -> None:
    (site / "inventories/site.ini").write_text("web1 ansible_host=127.0.0.1 ansible_port=1\n")
    (site / "server").write_text("#!/bin/sh\n")
    (site / "site.yml").write_text(
        "- hosts: all\n  tasks:\n    - service: {name: app, binary: server, user: nobody}\n"
    )
    usual = {"<&-": "</dev/null", ">&-": ">/dev/null", "2>&-": "2>/dev/null"}
    expected = start_with(" ".join(usual[each] for each in closed.split()), site, *words)
    done = start_with(closed, site, *words)
    assert done.returncode == expected.returncode, done.stderr
    assert "Traceback" not in done.stderr
    if "run" not in words:  # whose lines have times
        assert (done.stdout, done.stderr) == (expected.stdout, expected.stderr)
    assert len(done.stdout.splitlines()) == len(expected.stdout.splitlines())
    assert len(done.stderr.splitlines()) == len(expected.stderr.splitlines())


@contextmanager
def stranger(said: bytes) -> Iterator[int]:
    """The port of a server that says this to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # closed
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("words", [["run", "site"], ["run", "site", "--json"], ["run", "site", "--check"]])
@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 \x1b[31mX\x1b]0;t\x07\r\n",
        b"220 \xc2\x9b2J \xe2\x80\xaetxt.exe \xe2\x80\x8b\r\n",
        b"\xff\xfe\x00\x1b[2J\r\n",
    ],
)
def test_what_a_stranger_says_before_any_trust_steers_no_terminal(
    site: Path, words: list[str], line: bytes
) -> None:
    with stranger(line * 200) as port:
        (site / "inventories/site.ini").write_text(f"web1 ansible_host=127.0.0.1 ansible_port={port}\n")
        done = start(site, *words)
    texts = [json.loads(line) for line in done.stdout.splitlines()] if "--json" in words else []
    kept = "".join(path.read_text() for path in (site / "state").rglob("*") if path.is_file())
    told = f"{done.stdout}{done.stderr}{json.dumps(texts, ensure_ascii=False)}{kept}"
    assert done.returncode == ExitCode.UNREACHABLE
    assert f"127.0.0.1 port {port}" in told
    assert visible(told) == told
    for escaped in ("\\u001b", "\\u0007", "\\u009b", "\\u202e", "\\u200b", "\\x1b"):
        assert escaped not in told


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("words", [["run", "site"], ["run", "site", "--json"], ["validate", "site"]])
def test_no_text_is_too_much_for_the_encoding_of_a_stream(
    site: Path, words: list[str], encoding: str
) -> None:
    name = "Z\u00fcrich \u65e5\u672c \U0001f600"
    (site / "site.yml").write_text(f"- name: {name}\n  hosts: all\n  tasks:\n    - command: 'true'\n")
    with stranger(b"\x1b[2J" * 200) as port:
        (site / "inventories/site.ini").write_text(f"web1 ansible_host=127.0.0.1 ansible_port={port}\n")
        done = subprocess.run(
            [sys.executable, "-m", "deployer", *words],
            cwd=site,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (ExitCode.UNREACHABLE if "run" in words else 0, b"")
    # click writes UTF-8 where a locale knows ASCII only.
    written_as = "utf-8" if "validate" in words and encoding == "ascii" else encoding
    lines = done.stdout.decode(written_as).splitlines()
    if "--json" in words:
        events = [json.loads(line) for line in lines]
        assert [event["play"] for event in events if "play" in event] == [name]
        assert events[-1]["event"] == "run_finished"
    else:
        assert "rich" in "".join(lines)
        assert "event=run_finished" in lines[-1] or "validate" in words


def test_the_number_of_a_closed_stream_is_not_given_to_a_socket(site: Path) -> None:
    """What the program says to nobody is not said to a host."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard: list[bytes] = []

        def listen() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                connection.sendall(b"no server of SSH\r\n" * 2)
                while piece := connection.recv(65536):
                    heard.append(piece)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        (site / "inventories/site.ini").write_text(f"web1 ansible_host=127.0.0.1 ansible_port={port}\n")
        done = start_with("<&- >&- 2>&-", site, "run", "site", "--json")
        thread.join(10)
    assert done.returncode == ExitCode.UNREACHABLE
    assert b"run_started" not in b"".join(heard)
    assert b"".join(heard).startswith(b"SSH-2.0-")


def test_a_bug_is_told_as_one_line_unless_somebody_debugs_it(site: Path) -> None:
    broken = "import deployer.load.load as l\ndef f(*a, **k): raise ZeroDivisionError('oops')\n"
    program = f"{broken}l.load = f\nfrom deployer.cli import main\nmain()\n"
    words = [sys.executable, "-c", program, "validate", "site"]
    done = subprocess.run(words, cwd=site, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == (
        "error: a bug in deployer: ZeroDivisionError: oops (DEPLOYER_DEBUG=1 shows where)\n"
    )
    debugged = subprocess.run(
        words,
        cwd=site,
        env={**os.environ, "DEPLOYER_DEBUG": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" in debugged.stderr
