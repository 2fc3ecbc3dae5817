"""A question that is interrupted: what is in is shown, and nothing is said that is not so."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from deployer import show
from deployer.cli import main
from deployer.remote.remote import Reply
from deployer.visible import LONGEST, one_line, visible
from tests.memory import MemoryHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.remote.remote import Remote
    from deployer.target import Target

COMMANDS = {
    ("unlock",): "broken app run=R1 by=anna@laptop pid=42 from=b-1 since=1795346400 left=60\n",
    ("history", "--on-host"): "= app\n2026-11-22T11:20:00Z unlock by=anna@laptop\n",
    ("releases",): "= service app\n",
}


class Host(MemoryHost):
    """Says one thing, or nothing until the test is over while somebody interrupts the program."""

    said = ""
    number: signal.Signals | None = None
    over: threading.Event

    def run(self, *_args: object, **_more: object) -> Reply:
        if self.number:
            os.kill(os.getpid(), self.number)
            self.over.wait(20)
        return Reply(status=0, stdout=self.said, stderr="")


class Hosts:
    """In the place of the Connector: the first host answers, and at the second an interrupt comes."""

    def __init__(self, said: str, number: signal.Signals | None) -> None:
        self.said, self.number = said, number
        self.over, self.closed = threading.Event(), False

    def prepare(self, _targets: object) -> None:
        """Nobody is asked for a passphrase."""

    def connect(self, target: Target) -> Remote:
        host = Host()
        host.said, host.over = self.said, self.over
        host.number = self.number if target.address == "web2" else None
        return host

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three hosts with a service; handlers of signals are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts.ini").write_text("web1\nweb2\nweb3\n")
    (tmp_path / "site.yml").write_text(
        "- hosts: all\n  tasks:\n    - service: {name: app, binary: server, user: nobody}\n"
    )
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def ask(monkeypatch: pytest.MonkeyPatch, hosts: Hosts, *words: str) -> int:
    monkeypatch.setattr(show, "Connector", lambda **_: hosts)
    monkeypatch.setattr(sys, "argv", ["deployer", *words, "site.yml", "-i", "hosts.ini", "-f", "1"])
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        hosts.over.set()
    assert hosts.closed
    return int(ended.value.code or 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.usefixtures("site")
def test_what_is_in_is_shown(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    number: signal.Signals,
) -> None:
    code = ask(monkeypatch, Hosts(COMMANDS[words], number), *words, "--json")
    shown, said = capsys.readouterr()
    assert (code, said) == (130, "")
    lines = [json.loads(line) for line in shown.splitlines()]
    causes = [(line["host"], line["failure"]["cause"]) for line in lines if "failure" in line]
    assert causes == [("web2", "interrupted"), ("web3", "interrupted")]
    first = [line for line in lines if line["host"] == "web1"]
    assert len(first) == (words != ("releases",))  # it has none
    assert all(line.get("unlocked", True) for line in first)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("said", ["", "Welcome!\n"])
@pytest.mark.usefixtures("site")
def test_a_host_that_says_nothing_has_not_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert ask(monkeypatch, Hosts(said, None), *words, "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["host"], line["failure"]["cause"]) for line in lines] == [
        (name, "bad_answer") for name in ("web1", "web2", "web3")
    ]


EVIL = "\x1b[2J\u202e\u009b" + "x" * 3_000_000
EVILS = {
    ("unlock",): f"broken app run=R{EVIL} by={EVIL} pid=42 from=b-1 since=1795346400 left=60\n",
    ("history", "--on-host"): f"= app\n{EVIL} {EVIL} by={EVIL} {EVIL}={EVIL}\n",
    ("releases",): f"= service app\n= release app R1{EVIL} good current\n"
    + json.dumps({"by": f"anna\nweb2  app  fine\n{EVIL}", "run": EVIL})
    + "\n",
    ("unlock", "-l", "web1"): f"failed not_root {EVIL}\n",
}


@pytest.mark.parametrize("words", EVILS, ids=" ".join)
@pytest.mark.usefixtures("site")
def test_what_a_host_wrote_steers_nothing_and_is_not_without_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    ask(monkeypatch, Hosts(EVILS[words], None), *words)
    shown = capsys.readouterr().out
    assert all(one_line(line[:LONGEST]) == line[:LONGEST] for line in shown.splitlines())
    assert len(shown) < 60_000
    assert {line.split()[0] for line in shown.splitlines() if line[0] != " "} <= {"web1", "web2", "web3"}

    ask(monkeypatch, Hosts(EVILS[words], None), *words, "--json")
    for line in capsys.readouterr().out.splitlines():
        told = json.loads(line)
        plain = {**told, **told.pop("failure", {})}
        for text in (text for pair in plain.items() for text in pair if isinstance(text, str)):
            assert visible(text) == text
            assert len(text) < LONGEST + 100
