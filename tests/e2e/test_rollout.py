"""A rollout over six hosts, two of them dead and a bad release, ends exactly as the playbook says."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import answers, current, eventually, health, main_pid, unit
from tests.e2e.site import Site
from tests.hosts.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.site import Run

pytestmark = pytest.mark.hosts

NAME, PORT = "rollout", 26001
QUICK = {
    "test": f"http://127.0.0.1:{PORT}/health",
    "interval": "200ms",
    "timeout": "1s",
    "retries": 4,
    "start_period": "1s",
    "stay_up": "300ms",
}
SLOW = QUICK | {"stay_up": "30s"}
ONE_BY_ONE: dict[str, Any] = {"serial": [1, 2, 1]}  # host1 | host2, host3 | host4 | host5 | host6


class Six:
    """Six hosts that serve 1.0.0."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.site = Site(folder=folder, lab=lab)
        self.hosts = {host.name: host for host in lab.hosts}
        self.old, self.new = self.site.binary("1.0.0"), self.site.binary("2.0.0")
        self.sick = self.site.binary("2.0.0", fault="never-healthy")

    def write(self, binary: str, *, check: dict[str, Any] = QUICK, **play: Any) -> None:
        self.site.write([self.site.service(NAME, binary=binary, port=PORT, healthcheck=check)], **play)

    def upgrade(self, *bad: str, check: dict[str, Any] = QUICK, **play: Any) -> None:
        """Write a playbook that brings 2.0.0, which on `bad` hosts never gets healthy."""
        binary = "{{ sick if inventory_hostname in bad else new }}"
        self.write(binary, check=check, vars={"bad": [*bad], "new": self.new, "sick": self.sick}, **play)

    def run_without(self, *dead: str) -> Run:
        """Run the playbook while some hosts are not there."""
        for name in dead:
            self.hosts[name].drop_network()
        try:
            return self.site.run("-T", "2")
        finally:
            for name in dead:
                self.hosts[name].restore_network()

    def back(self, name: str) -> bool:
        """Whether the old release answers."""
        return answers(self.hosts[name], PORT, "1.0.0")

    def versions(self) -> dict[str, str]:
        """What answers on each host, once all that the host shows was seen to agree with it."""
        found = {}
        for name, host in self.hosts.items():
            state = unit(host, NAME)
            assert (state["ActiveState"], state["NRestarts"], state["NeedDaemonReload"]) == (
                "active",
                "0",
                "no",
            )
            folder = f"/opt/{NAME}/releases/{current(host, NAME)}"
            assert host.read(f"/etc/systemd/system/{NAME}.service") == host.read(f"{folder}/{NAME}.service")
            binary = host.nsenter(["readlink", f"/proc/{main_pid(host, NAME)}/exe"]).stdout.decode().strip()
            assert binary == f"{folder}/gin-api-template"
            found[name] = str(health(host, PORT)["version"])
        return found


@pytest.fixture(scope="module")
def all_six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Six]:
    """Started once, for the tests of this module."""
    lab = Lab.up(6, flavours=("debian12", "debian13"), owner_pid=os.getpid())
    yield Six(tmp_path_factory.mktemp("six"), lab)
    lab.down()


@pytest.fixture
def six(all_six: Six) -> Six:
    """All of them serve 1.0.0; that a run from any end of another test gets there is a promise too."""
    all_six.write(all_six.old)
    run = all_six.site.run()
    assert run.code == 0, run.finished
    assert set(all_six.versions().values()) == {"1.0.0"}
    return all_six


def on(words: str) -> dict[str, str]:
    """One word for each of the six hosts; C is changed, and so on."""
    meaning = {
        "C": "changed",
        "R": "reverted",
        "B": "rolled_back",
        "F": "failed",
        "U": "unreachable",
        "-": "not_attempted",
    }
    return {f"host{number}": meaning[word] for number, word in enumerate(words.split(), start=1)}


def reasons(run: Run) -> set[str]:
    return {event["reason"] for event in run.finished.values() if event["outcome"] == "not_attempted"}


# -- dead hosts and a bad release ---------------------------------------------------------------------------

DEAD = ("host3", "host5")
STOPPED = "1 of 6 hosts failed (16.7%), more than max_fail_percentage: 0"


@pytest.mark.parametrize(
    ("play", "ends", "code", "why"),
    [
        ({"on_failure": "stop"}, "C C U R U -", 4, STOPPED),
        ({"on_failure": "rollback"}, "B B U R U -", 1, STOPPED),
        ({"on_failure": "continue"}, "C C U R U C", 4, ""),
        ({"max_fail_percentage": "20%"}, "C C U R U C", 4, ""),
        (
            {"max_unreachable_percentage": 20, "on_failure": "rollback"},
            *("- - U - U -", 1),
            "2 of 6 hosts could not be reached (33.3%), more than max_unreachable_percentage: 20",
        ),
    ],
    ids=["stop", "rollback", "continue", "a limit that holds", "too many unreachable"],
)
def test_dead_hosts_and_a_bad_release_end_as_the_playbook_says(
    six: Six, play: dict[str, Any], ends: str, code: int, why: str
) -> None:
    six.upgrade("host4", **ONE_BY_ONE, **play)
    pids = {name: main_pid(host, NAME) for name, host in six.hosts.items()}

    run = six.run_without(*DEAD)

    assert (run.code, run.outcomes) == (code, on(ends)), run.finished
    assert reasons(run) <= {why}
    expected = {name: "2.0.0" if word == "changed" else "1.0.0" for name, word in on(ends).items()}
    assert six.versions() == expected
    for name, word in run.outcomes.items():  # what was not to be touched was not
        assert (main_pid(six.hosts[name], NAME) == pids[name]) is (word in {"unreachable", "not_attempted"})
    (summary,) = run.named("run_finished")
    named = [(host, word.replace(" ", "_")) for word, hosts in summary["hosts"].items() for host in hosts]
    assert sorted(named) == sorted(run.outcomes.items())
    staged = [event["host"] for event in run.named("release_staged")]
    assert sorted(staged) == ["host1", "host2", "host4", "host6"]
    if "B" in ends:
        back = [end["host"] for end in run.named("host_finished") if end["outcome"] == "rolled_back"]
        assert back == ["host2", "host1"]  # the last batch first
        assert {run.finished[host]["failure"]["message"] for host in ("host1", "host2")} == {why}


def test_a_dead_canary_keeps_the_release_from_all(six: Six) -> None:
    six.upgrade(**ONE_BY_ONE)
    run = six.run_without("host1")
    assert (run.code, run.outcomes) == (1, on("U - - - - -"))
    assert reasons(run) == {"host1 of the first batch could not be reached"}
    assert set(six.versions().values()) == {"1.0.0"}


def test_a_bad_release_ends_at_the_canary(six: Six) -> None:
    six.upgrade(*six.hosts, serial=[1, "100%"])
    run = six.site.run()
    assert (run.code, run.outcomes) == (1, on("R - - - - -"))
    assert [event["host"] for event in run.named("release_switched")] == ["host1"]
    assert set(six.versions().values()) == {"1.0.0"}


# -- interrupts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("bad", "end"), [((), "C"), (("host1", "host2"), "R")], ids=["good", "bad"])
def test_after_the_first_signal_hosts_in_flight_finish_or_go_back_and_no_other_starts(
    six: Six, number: signal.Signals, bad: tuple[str, ...], end: str
) -> None:
    six.upgrade(*bad, serial=2, on_failure="continue")
    with LiveRun(six.site) as live:
        live.wait_for("release_switched", host="host1")
        live.wait_for("release_switched", host="host2")
        os.kill(live.pid, number)
        run = live.end()
    assert (run.code, run.outcomes) == (130, on(f"{end} {end} - - - -"))
    assert reasons(run) == {"interrupted"}
    assert len(run.named("run_interrupted")) == len(run.named("run_finished")) == 1
    upgraded = {"host1", "host2"} - {*bad}
    assert six.versions() == {name: "2.0.0" if name in upgraded else "1.0.0" for name in six.hosts}


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["console", "json"])
@pytest.mark.parametrize(("bad", "end"), [((), "C"), (("host1", "host2"), "R")], ids=["good", "bad"])
def test_when_its_terminal_is_closed_hosts_in_flight_finish_or_go_back_and_no_other_starts(
    six: Six, words: list[str], bad: tuple[str, ...], end: str
) -> None:
    """Nothing can be written any more then, to standard output or error."""
    six.upgrade(*bad, check=QUICK | {"stay_up": "2s"}, serial=2, on_failure="continue")
    terminal, screen = os.openpty()
    process = subprocess.Popen(
        [
            *("setsid", "--ctty", sys.executable, "-m", "deployer", "run", "site.yml", *words),
            *("-i", str(six.site.lab.inventory)),
        ],
        cwd=six.site.folder,
        stdin=screen,
        stdout=screen,
        stderr=screen,
    )
    os.close(screen)
    shown = b""
    asked = b"health_probed" if words else b"checking health"
    while shown.count(asked) < 2:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 65536)
    os.close(terminal)
    assert process.wait(120) == 130, shown
    upgraded = {"host1", "host2"} - {*bad}
    assert six.versions() == {name: "2.0.0" if name in upgraded else "1.0.0" for name in six.hosts}
    history = six.site.deployer("history", "site.yml", "--json", "-n", "1")
    record = json.loads(history.stdout.splitlines()[0])
    assert record["exit_code"] == 130
    assert {name: host["outcome"] for name, host in record["hosts"].items()} == on(f"{end} {end} - - - -")


def test_a_signal_ends_a_pause(six: Six) -> None:
    six.upgrade(serial=[1, "100%"], pause="1h")
    with LiveRun(six.site) as live:
        live.wait_for("batch_paused", seconds=3600.0)
        live.interrupt()
        run = live.end(seconds=20)
    assert (run.code, run.outcomes) == (130, on("C - - - - -"))


def test_the_second_signal_ends_the_run_at_once_and_hosts_go_back_by_themselves(six: Six) -> None:
    six.upgrade(check=SLOW, serial=2)
    with LiveRun(six.site, "--deadline", "8s") as live:
        live.wait_for("health_probed", host="host1")
        live.wait_for("health_probed", host="host2")
        live.interrupt()
        live.wait_for("run_interrupted")
        live.interrupt()
        began = time.monotonic()
        run = live.end(seconds=20)
    assert time.monotonic() - began < 5
    assert (run.code, run.outcomes) == (130, on("F F - - - -"))
    for host in ("host1", "host2"):
        assert run.finished[host]["needs_person"] is True
        assert run.finished[host]["failure"]["cause"] == "interrupted"
        assert "goes back by itself" in run.finished[host]["failure"]["message"]
    assert run.events[-1]["event"] == "run_finished"
    assert run.events[-1]["exit_code"] == 130
    for host in ("host1", "host2"):
        eventually(lambda name=host: six.back(name), seconds=60, what="the old release")  # type: ignore[misc]
    assert set(six.versions().values()) == {"1.0.0"}


# -- --step -------------------------------------------------------------------------------------------------


def test_a_step_is_confirmed_on_the_terminal(six: Six) -> None:
    six.upgrade(serial=[1, 2, 3])
    with LiveRun(six.site, "--step", terminal=True) as live:
        live.answer("batch 1 of 3: host1  (N)o/(y)es/(c)ontinue: ", "what?")
        live.answer("(c)ontinue: what?", "y")  # it asks again
        live.wait_for("host_finished", host="host1", outcome="changed")
        live.answer("batch 2 of 3: host2, host3  (N)o/(y)es/(c)ontinue: ", "")
        run = live.end()
    assert (run.code, run.outcomes) == (4, on("C - - - - -"))
    assert reasons(run) == {"batch 2 of 3 was not confirmed"}
    assert [event["answer"] for event in run.named("step_answered")] == ["yes", "no"]

    with LiveRun(six.site, "--step", terminal=True) as live:
        live.answer("batch 2 of 3: host2, host3", "c")
        run = live.end()
    assert (run.code, sorted(run.outcomes.values())) == (0, ["changed"] * 5 + ["unchanged"])


def test_ctrl_c_at_the_question_is_an_interrupt(six: Six) -> None:
    six.upgrade(serial=[1, 2, 3])
    with LiveRun(six.site, "--step", terminal=True) as live:
        live.answer("batch 1 of 3: host1", "\x03")
        run = live.end(seconds=20)
    assert (run.code, run.outcomes) == (130, on("- - - - - -"))
    assert reasons(run) == {"interrupted"}
    assert set(six.versions().values()) == {"1.0.0"}


def test_without_a_terminal_a_step_is_wrong_usage(six: Six) -> None:
    run = six.site.deployer("run", "site.yml", "--step")
    assert run.code == 2
    assert "--step" in run.stderr
    assert json.dumps(run.stdout) == '""'
