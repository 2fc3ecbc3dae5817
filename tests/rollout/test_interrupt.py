"""The first interrupt lets hosts in flight finish; the second leaves them, and still every end is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from deployer import outcome as ends
from deployer.desired import Strategy
from deployer.outcome import Changed, Failed, NotAttempted, Reverted, RolledBack
from deployer.report.events import BatchPaused, HostFinished, RunAbandoned, RunInterrupted
from deployer.rollout import Interrupt, heeding
from tests.memory import Time
from tests.rollout.forty import NAMES, Forty, web
from tests.rollout.test_forty_hosts import CANARY, TENS, second


def words(outcomes: dict[str, ends.Outcome]) -> dict[str, int]:
    return Counter(ends.NAMES[type(outcome)] for outcome in outcomes.values())


def test_while_hosts_are_prepared_nothing_is_switched_and_what_is_ready_is_let_go_of() -> None:
    fleet = Forty()
    fleet.during = lambda _step, host: fleet.interrupt.request() if host == "web10" else None
    outcomes = fleet.run(second("db1"))
    assert words(outcomes) == {"not attempted": 41}
    assert {outcome.reason for outcome in outcomes.values() if isinstance(outcome, NotAttempted)} == {
        "interrupted"
    }
    assert fleet.did("prepare") == [*NAMES[:10]]
    assert fleet.did("let go") == [*NAMES[:10]]
    assert fleet.did("apply") == []
    assert sum(isinstance(event, RunInterrupted) for event in fleet.events) == 1


@pytest.mark.parametrize("action", ["stop", "rollback", "continue"])
def test_hosts_in_flight_finish_and_no_other_starts(action: str) -> None:
    """Not even to be rolled back: whoever ends a rollout wants to look at it."""
    fleet = Forty(bad=web(5))
    fleet.during = lambda step, host: (
        fleet.interrupt.request() if (step, host) == ("apply", "web05") else None
    )
    outcomes = fleet.run(strategy=Strategy(serial=CANARY, on_failure=action))  # type: ignore[arg-type]
    assert isinstance(outcomes["web05"], Reverted)
    assert words(outcomes) == {"changed": 4, "reverted": 1, "not attempted": 35}
    assert sorted(fleet.did("let go")) == [*NAMES[5:]]
    assert fleet.did("roll back") == []


def test_hosts_that_are_being_rolled_back_finish_and_the_others_stay() -> None:
    fleet = Forty(bad=web(5))
    fleet.during = lambda step, _host: fleet.interrupt.request() if step == "roll back" else None
    outcomes = fleet.run(strategy=Strategy(serial=CANARY, on_failure="rollback"))
    assert fleet.did("roll back") == ["web02"]
    assert words(outcomes) == {"changed": 3, "rolled back": 1, "reverted": 1, "not attempted": 35}


class Impatient(Time):
    """Somebody presses Ctrl-C after five seconds."""

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__()
        self._interrupt = interrupt

    def _sleep(self, seconds: float) -> None:
        super()._sleep(seconds)
        if self.now > 5:
            self._interrupt.request()


def test_a_pause_ends() -> None:
    interrupt = Interrupt()
    fleet = Forty(time=Impatient(interrupt), interrupt=interrupt)
    outcomes = fleet.run(strategy=Strategy(serial=TENS, pause=3600.0))
    assert fleet.time.now < 6
    assert sum(isinstance(event, BatchPaused) for event in fleet.events) == 1
    assert words(outcomes) == {"changed": 10, "not attempted": 30}


def test_an_interrupted_question_is_a_no_and_is_called_an_interrupt() -> None:
    fleet = Forty()

    def ask(_question: str) -> str:
        fleet.interrupt.request()
        return "no"

    fleet.ask = ask  # type: ignore[assignment]
    outcomes = fleet.run()
    assert {str(outcome) for outcome in outcomes.values()} == {str(NotAttempted(reason="interrupted"))}


@pytest.mark.parametrize("step", ["apply", "roll back"])
def test_after_the_second_nobody_is_waited_for_and_every_host_still_has_its_end(step: str) -> None:
    fleet = Forty(bad=web(11), forks=3)
    others = threading.active_count()
    hangs = threading.Event()
    hanging: list[str] = []

    def during(now: str, host: str) -> None:
        if now == step and host in web(8, 9, 10):
            hanging.append(host)
            if len(hanging) == 3:
                fleet.interrupt.request()
                fleet.interrupt.request()
            assert hangs.wait(20)

    fleet.during = during
    try:
        outcomes = fleet.run(second("db1"), strategy=Strategy(serial=TENS, on_failure="rollback"))
        told = [event for event in fleet.events if isinstance(event, HostFinished)]
    finally:
        hangs.set()
    for host in ("web08", "web09", "web10"):
        outcome = outcomes[host]
        assert isinstance(outcome, Failed)
        assert (outcome.failure.cause, outcome.needs_person) == ("interrupted", True)
        assert "goes back by itself" in outcome.failure.message
    assert isinstance(outcomes["web01"], Changed if step == "apply" else RolledBack)
    assert isinstance(outcomes["web40"], NotAttempted)
    assert outcomes["db1"] == NotAttempted(reason="interrupted")
    assert {event.host for event in told} == {*NAMES, "db1"}
    assert sum(isinstance(event, RunAbandoned) for event in fleet.events) == 1
    deadline = time.monotonic() + 20
    while threading.active_count() > others and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [event for event in fleet.events if isinstance(event, HostFinished)] == told


# -- signals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_and_raises_nothing(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    interrupt = Interrupt()
    with heeding(interrupt):
        assert not interrupt
        os.kill(os.getpid(), number)
        assert interrupt
        assert not interrupt.twice
        os.kill(os.getpid(), number)
        assert interrupt.twice
        assert signal.getsignal(number) is signal.SIG_DFL  # a third ends the process
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("before", [None, signal.SIGINT, signal.SIGTERM])
def test_a_terminal_that_is_closed_asks_once_however_often_it_tells(before: signal.Signals | None) -> None:
    usual = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    interrupt = Interrupt()
    try:
        with heeding(interrupt):
            if before:
                os.kill(os.getpid(), before)
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGHUP)
            assert interrupt.count == 1
            os.kill(os.getpid(), signal.SIGTERM)  # somebody does want it to end
            assert interrupt.twice
            os.kill(os.getpid(), signal.SIGHUP)  # and still has the end that is told
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, usual)


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_so(ignored: signal.Signals) -> None:
    before = signal.signal(ignored, signal.SIG_IGN)
    try:
        with heeding(Interrupt()) as _:
            assert signal.getsignal(ignored) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    finally:
        signal.signal(ignored, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_before_hosts_are_worked_on_an_interrupt_ends_it_at_once(number: signal.Signals) -> None:
    program = (
        "import os; from deployer import cli; "
        f"cli.cli.main = lambda **_: os.kill(os.getpid(), {int(number)}); cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "deployer: interrupted; nothing was changed\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_the_program_is_imported_an_interrupt_is_no_traceback(
    tmp_path: Path, number: signal.Signals
) -> None:
    click = tmp_path / "click"  # the first that it imports
    click.mkdir()
    (click / "__init__.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    done = subprocess.run(
        [sys.executable, "-m", "deployer", "--version"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "deployer: interrupted; nothing was changed\n"


@pytest.mark.parametrize("entry", [["-m", "deployer"], ["-c", "from deployer.cli import command; command()"]])
def test_what_is_ignored_from_the_start_stays_ignored(tmp_path: Path, entry: list[str]) -> None:
    """`nohup deployer ...`, whatever of it is being done when the terminal goes."""
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os, signal\n"
        "def audit(event, args):\n"
        "    if event == 'import' and args[0] in {'click', 'deployer.load.beside', 'deployer.execute'}:\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "import sys\nsys.addaudithook(audit)\n"
    )
    (tmp_path / "site.yml").write_text("- hosts: web1\n  tasks:\n    - command: 'true'\n")
    done = subprocess.run(
        [
            *("nohup", sys.executable, *entry, "run", "site.yml", "-i", "web1,"),
            *("-e", "ansible_host=127.0.0.1", "-e", "ansible_port=1"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "XDG_STATE_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr  # unreachable, and not interrupted
