"""All hosts are prepared before one is switched, one bad host ends no other's work, every end is told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from deployer.desired import CommandTask, Play, Strategy
from deployer.errors import HostError, UnreachableError
from deployer.load.binary import read_binary
from deployer.outcome import (
    Changed,
    ExitCode,
    Failed,
    Failure,
    NotAttempted,
    OperatorStopped,
    Outcome,
    Reverted,
    RolledBack,
    Unchanged,
    Unreachable,
    WouldChange,
    exit_code,
)
from deployer.pipeline import Goal
from deployer.remote.remote import Reply
from deployer.report.events import HealthProbed, HostFinished, HostPlanned, PlayStarted, ReleaseStaged
from deployer.rollout import Interrupt, roll_out
from tests.made import (
    RELEASE,
    make_context,
    make_files,
    make_healthcheck,
    make_host,
    make_service,
)
from tests.memory import EMPTY_HOST, OK, SICK, MemoryHost, Time, state, unit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deployer.desired import DesiredHost, Service
    from deployer.remote.remote import Remote
    from deployer.report.events import Event
    from deployer.target import Target


STOP = Strategy()
GO_ON = Strategy(on_failure="continue")


@dataclass(slots=True, kw_only=True)
class Fleet:
    """Hosts in memory by name; what is no host is raised when somebody connects to it."""

    service: Service
    hosts: dict[str, MemoryHost | Exception] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    time: Time = field(default_factory=Time)
    lock: threading.Lock = field(default_factory=threading.Lock)
    interrupt: Interrupt = field(default_factory=Interrupt)

    def host(self, name: str) -> MemoryHost:
        found = self.hosts[name]
        assert isinstance(found, MemoryHost)
        return found

    def connect(self, target: Target) -> Remote:
        found = self.hosts[target.address]
        if isinstance(found, Exception):
            raise found
        return found

    def emit(self, event: Event) -> None:
        with self.lock:
            self.events.append(event)

    def desired(self, *commands: CommandTask) -> tuple[DesiredHost, ...]:
        return tuple(make_host(name, self.service, commands=commands) for name in self.hosts)

    def run(
        self, *plays: Play, goal: Goal = Goal.APPLY, forks: int = 4, strategy: Strategy = STOP
    ) -> list[tuple[str, Outcome]]:
        context = make_context(connect=self.connect, emit=self.emit, clock=self.time.clock, goal=goal)
        wanted = plays or (Play(name="p", hosts=self.desired(), strategy=strategy),)
        return roll_out(wanted, context, forks=forks, interrupt=self.interrupt)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    binary = tmp_path / "server"
    binary.write_bytes(b"#!/bin/sh\n")
    check = make_healthcheck(start_period=0.0, retries=2, stay_up=1.0)
    service = make_service(binary=replace(read_binary(binary), machine="x86_64"), healthcheck=check)
    made = Fleet(service=service)
    made.hosts |= {f"web{number}": MemoryHost() for number in (1, 2, 3)}
    return made


def deployed(service: Service, **properties: object) -> str:
    """The reply of observe.sh where `service` is deployed."""
    files = make_files(service)
    lines = [
        "fact uid 0\nfact machine x86_64\nfact init systemd 252\ntool flock",
        f"service app\nrelease {RELEASE} good\nat_boot unless-stopped",
        "= digests",
        *(f"{file.digest}  {path}" for path, file in files.items()),
        "= stat",
        f"777 root root 9 /opt/app/current '/opt/app/current' -> 'releases/{RELEASE}'",
        *(f"{file.mode} {file.owner} {file.group} 9 {path} '{path}'" for path, file in files.items()),
        "= units",
        unit(FragmentPath="/etc/systemd/system/app.service", **properties),
    ]
    return "\n".join(lines)


def failure(outcome: Outcome) -> tuple[str, str]:
    assert isinstance(outcome, Failed | Reverted | Unreachable)
    return outcome.failure.cause, outcome.failure.message


# -- a good day ----------------------------------------------------------------------------------------------


def test_a_first_release_goes_through_all_stages_in_four_execs(fleet: Fleet) -> None:
    results = fleet.run()
    release = f"20250601T000000Z-{fleet.service.binary.sha256[:12]}"
    assert results == [(name, Changed(releases=(("app", release),))) for name in ("web1", "web2", "web3")]
    for name in fleet.hosts:
        execs = [script for script in fleet.host(name).names() if script != "connect"]
        assert execs == ["observe", "stage", "switch", "commit"]
        assert fleet.host(name).closed


def test_an_unchanged_host_costs_one_exec_and_is_asked_whether_it_is_well(fleet: Fleet) -> None:
    for name in fleet.hosts:
        fleet.host(name).says["observe"] = deployed(fleet.service)
    assert fleet.run() == [(name, Unchanged()) for name in fleet.hosts]
    assert fleet.host("web1").names() == ["connect", "observe"]  # at the same time, where time passes


def test_an_early_answer_that_is_not_good_is_asked_for_again(fleet: Fleet) -> None:
    host = fleet.host("web1")
    host.says["observe"] = deployed(fleet.service)
    host.answers = lambda: OK if "observe" in host.names() else SICK
    assert dict(fleet.run())["web1"] == Unchanged()
    assert host.names() == ["connect", "observe", "connect"]


def test_an_early_answer_says_nothing_of_the_release_that_is_deployed_then(fleet: Fleet) -> None:
    host = fleet.host("web1")
    host.says["observe"] = upgraded(fleet)
    host.answers = lambda: OK if "switch" not in host.names() or "revert" in host.names() else SICK
    assert isinstance(dict(fleet.run())["web1"], Reverted)


def test_an_unchanged_host_that_is_sick_is_a_failure(fleet: Fleet) -> None:
    fleet.host("web1").says["observe"] = deployed(fleet.service)
    fleet.host("web1").answers = SICK
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed)
    assert outcome.needs_person
    assert outcome.failure.evidence
    assert outcome.failure.evidence.journal == ("it says something",)


def test_check_sends_nothing(fleet: Fleet) -> None:
    fleet.host("web2").says["observe"] = deployed(fleet.service)
    results = dict(fleet.run(goal=Goal.CHECK))
    assert results == {"web1": WouldChange(), "web2": Unchanged(), "web3": WouldChange()}
    assert all(set(fleet.host(name).names()) == {"connect", "observe"} for name in fleet.hosts)
    planned = {event.host: event.changes for event in fleet.events if isinstance(event, HostPlanned)}
    assert planned == {"web1": ("app: first release",), "web2": (), "web3": ("app: first release",)}


def test_check_tells_what_is_not_well_and_what_was_stopped(fleet: Fleet) -> None:
    """What has no change to wait for is not well for that."""
    for name in fleet.hosts:
        fleet.host(name).says["observe"] = deployed(fleet.service)
    fleet.host("web2").answers = lambda: SICK
    stopped = deployed(fleet.service, ActiveState="inactive", SubState="dead", MainPID=0)
    fleet.host("web3").says["observe"] = stopped.replace("at_boot", "stopped_by_operator\nat_boot")
    results = dict(fleet.run(goal=Goal.CHECK))
    assert results["web1"] == Unchanged()
    assert isinstance(results["web2"], Failed)
    assert results["web3"] == OperatorStopped(services=("app",), changed=False)
    ran = {name for host in fleet.hosts for name in fleet.host(host).names()}
    assert ran <= {"connect", "observe", "status"}


def test_what_a_dead_run_left_and_nobody_can_put_back_needs_a_person(fleet: Fleet) -> None:
    left = "service app\ntransaction run=run1 by=bob@ci before=r1 after=r2"
    fleet.host("web1").says["observe"] = EMPTY_HOST.replace("service app", left)
    fleet.host("web1").says["resolve"] = Reply(status=1, stdout="failed cannot_write no space\n", stderr="")
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed)
    assert (outcome.needs_person, outcome.failure.cause) == (True, "cannot_write")


def test_every_host_is_staged_before_any_host_switches(fleet: Fleet) -> None:
    order: list[str] = []

    def note(word: str, reply: str) -> str:
        with fleet.lock:
            order.append(word)
        return reply

    for name in fleet.hosts:
        fleet.host(name).says["stage"] = lambda _args: note("stage", "staged\n")
        fleet.host(name).says["switch"] = lambda _args: note("switch", f"start yes\n{unit()}")
    fleet.run(forks=1)
    assert order == ["stage"] * 3 + ["switch"] * 3


# -- a bad day -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forks", [1, 3])
def test_one_bad_host_ends_no_others_work_and_all_ends_are_collected(fleet: Fleet, forks: int) -> None:
    fleet.hosts["web2"] = UnreachableError("refused", "web2 port 22 refused the connection")
    fleet.hosts["web4"] = ZeroDivisionError("division by zero")
    fleet.hosts["web5"] = MemoryHost(says={"observe": HostError("sudo_refused", "sudo refused: no")})
    fleet.hosts["web6"] = MemoryHost(says={"observe": "nonsense"})
    results = fleet.run(forks=forks, strategy=GO_ON)
    assert [name for name, _ in results] == [*fleet.hosts]
    found = dict(results)
    assert isinstance(found["web1"], Changed)
    assert isinstance(found["web3"], Changed)
    assert isinstance(found["web2"], Unreachable)
    assert failure(found["web2"]) == ("refused", "web2 port 22 refused the connection")
    assert isinstance(found["web4"], Failed)
    assert failure(found["web4"]) == (
        "internal",
        "a bug in deployer: ZeroDivisionError: division by zero",
    )
    assert failure(found["web5"]) == ("sudo_refused", "sudo refused: no")
    assert failure(found["web6"])[0] == "bad_answer"
    assert isinstance(found["web6"], Failed)
    assert not found["web6"].needs_person
    finished = [event.host for event in fleet.events if isinstance(event, HostFinished)]
    assert sorted(finished) == [*fleet.hosts]
    assert all(fleet.host(name).closed for name in ("web1", "web3", "web5", "web6"))


@pytest.mark.parametrize(
    ("says", "cause", "message"),
    [
        ({"observe": "fact uid 1000\nfact machine x86_64\n"}, "not_root", "this needs root"),
        ({"observe": EMPTY_HOST.replace("systemd 252", "none")}, "no_init", "systemd does not run there"),
        ({"observe": EMPTY_HOST.replace("x86_64", "s390x")}, "wrong_machine", "server is built for x86_64"),
        (
            {"stage": "failed cannot_write cannot make /opt/app/releases\n"},
            "cannot_write",
            "cannot make /opt",
        ),
        ({"stage": Reply(status=7, stdout="", stderr="sh: oops\n")}, "script_failed", "staging the release"),
    ],
)
def test_a_host_that_cannot_be_prepared_has_failed_and_is_as_it_was(
    fleet: Fleet, says: dict[str, str], cause: str, message: str
) -> None:
    fleet.host("web1").says |= says
    results = dict(fleet.run(strategy=GO_ON))
    assert isinstance(results["web1"], Failed)
    assert not results["web1"].needs_person
    found = failure(results["web1"])
    assert found[0] == cause
    assert found[1].startswith(message)
    assert "switch" not in fleet.host("web1").names()
    assert isinstance(results["web2"], Changed)


def upgraded(fleet: Fleet) -> str:
    """The reply of observe.sh where an older binary is deployed."""
    old = replace(fleet.service, binary=replace(fleet.service.binary, sha256="f" * 64, blake2b="f" * 128))
    return deployed(old)


DEAD = unit(MainPID=0, ActiveState="failed", ExecMainCode=1, ExecMainStatus=1)


@pytest.mark.parametrize(
    ("says", "cause"),
    [
        ({"switch": "failed start_failed the service does not start\n"}, "start_failed"),
        ({"switch": f"start yes\n{DEAD}"}, "crashed"),
        ({"switch": ZeroDivisionError()}, "internal"),
        ({"commit": "failed not_running app did not stay up\n"}, "not_running"),
        ({"switch": HostError("connection_lost", "the connection was lost")}, "connection_lost"),
    ],
)
def test_a_release_that_fails_is_taken_back(fleet: Fleet, says: dict[str, str], cause: str) -> None:
    host = fleet.host("web1")
    dies = cause == "crashed"
    unwell = f"= state\n{DEAD}= journal\n"
    host.says["status"] = lambda _args: unwell if dies and "revert" not in host.names() else state()
    host.says |= {"observe": upgraded(fleet), **says}
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Reverted)
    assert outcome.failure.cause == cause
    assert outcome.failure.service == "app"
    (arguments,) = (args for name, args in fleet.host("web1").ran if name == "revert")
    assert arguments[7] == RELEASE


@pytest.mark.parametrize("stage", ["stage", "switch", "commit"])
def test_silence_is_no_success(fleet: Fleet, stage: str) -> None:
    host = fleet.host("web1")
    host.says |= {"observe": upgraded(fleet), stage: ""}
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed if stage == "stage" else Reverted)
    assert outcome.failure.cause == ("script_failed" if stage == "switch" else "bad_answer")


def test_a_lock_that_nobody_confirmed_is_none(fleet: Fleet) -> None:
    host = fleet.host("web1")
    failed = deployed(fleet.service).replace("ActiveState=active", "ActiveState=failed")
    host.says |= {"observe": failed, "lock": ""}
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed)
    assert (outcome.failure.cause, "switch" in host.names()) == ("bad_answer", False)


@pytest.mark.parametrize(
    "said", ["", "undone\n", "undone\n= state\n= about\n", f"= state\n{unit()}= about\n"]
)
def test_going_back_is_no_success_while_nothing_is_known_of_what_runs(fleet: Fleet, said: str) -> None:
    host = fleet.host("web1")
    host.says |= {"observe": upgraded(fleet), "switch": "failed start_failed it died\n", "revert": said}
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed)
    assert outcome.needs_person
    assert "going back failed" in outcome.failure.message


def test_a_release_that_does_not_get_healthy_is_taken_back_with_its_evidence(fleet: Fleet) -> None:
    host = fleet.host("web1")
    host.says["observe"] = upgraded(fleet)
    host.answers = lambda: SICK if "revert" not in host.names() else b"HTTP/1.1 200 OK\r\n\r\n"
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Reverted)
    evidence = outcome.failure.evidence
    assert evidence is not None
    assert (evidence.answer, evidence.journal) == ("503 sick", ("it says something",))
    names = host.names()
    assert "connect" in names[names.index("revert") :]  # the release that is back was asked, too


def test_where_going_back_fails_a_person_is_needed(fleet: Fleet) -> None:
    for says in (
        {"revert": "failed cannot_install cannot install the unit of r0\n"},
        {"revert": HostError("connection_lost", "the connection was lost")},
        {"revert": ZeroDivisionError()},
    ):
        host = MemoryHost(says={"observe": upgraded(fleet), **says}, answers=SICK)
        fleet.hosts["web1"] = host
        outcome = dict(fleet.run())["web1"]
        assert isinstance(outcome, Failed)
        assert outcome.needs_person
        assert "; and going back failed: " in outcome.failure.message
        assert host.closed


def test_evidence_that_cannot_be_had_for_any_reason_keeps_nothing_from_going_back(fleet: Fleet) -> None:
    host = MemoryHost(says={"observe": upgraded(fleet)})
    host.answers = lambda: SICK if "revert" not in host.names() else OK
    host.says["status"] = lambda args: state() if args[1] == "0" else ZeroDivisionError()
    fleet.hosts["web1"] = host
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Reverted)
    assert outcome.failure.evidence is None


def test_a_host_that_is_not_found_again_for_any_reason_has_its_outcome(fleet: Fleet) -> None:
    def lost(_args: tuple[str, ...]) -> HostError:
        fleet.hosts["web1"] = ZeroDivisionError("division by zero")
        return HostError("connection_lost", "the connection was lost")

    fleet.hosts["web1"] = MemoryHost(says={"observe": upgraded(fleet), "switch": lost})
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed)
    assert outcome.needs_person
    assert "the connection was lost, and not found again: " in outcome.failure.message


@pytest.mark.parametrize(
    "trouble",
    [
        HostError("connection_lost", "the connection was lost"),
        HostError("timed_out", "it said nothing"),
        "failed cannot_ask systemd does not answer\n",
        "failed mutex_held somebody has held the mutex\n",
    ],
)
@pytest.mark.parametrize("answer", ["undone", "put_back"])  # by this run; or by the host meanwhile
def test_a_way_back_that_could_not_be_gone_is_tried_again(
    fleet: Fleet, trouble: str | HostError, answer: str
) -> None:
    host = fleet.host("web1")
    tries: list[str | HostError] = [trouble, trouble, f"{answer}\n= state\n{unit()}= about\n"]
    host.says |= {"observe": upgraded(fleet), "revert": lambda _args: tries.pop(0)}
    host.answers = lambda: SICK if "revert" not in host.names() else b"HTTP/1.1 200 OK\r\n\r\n"
    assert isinstance(dict(fleet.run())["web1"], Reverted)
    assert not tries


@pytest.mark.parametrize(
    ("cause", "hint"),
    [
        ("connection_lost", "the host goes back by itself 60 s after it heard of this run last"),
        ("cannot_ask", "the host goes back by itself 60 s after it heard of this run last"),
        ("cannot_install", "look at the host now"),
    ],
)
def test_a_way_back_that_failed_says_whether_the_host_goes_on_with_it(
    fleet: Fleet, cause: str, hint: str
) -> None:
    host = fleet.host("web1")
    host.says |= {"observe": upgraded(fleet), "revert": HostError(cause, "it did not work")}
    host.answers = SICK
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed)
    assert outcome.needs_person
    assert hint in outcome.failure.hint


def test_an_old_release_that_is_sick_too_needs_a_person(fleet: Fleet) -> None:
    fleet.hosts["web1"] = MemoryHost(says={"observe": upgraded(fleet)}, answers=SICK)
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed)
    assert outcome.needs_person


def test_a_first_release_that_fails_is_stopped_and_nobody_is_needed(fleet: Fleet) -> None:
    fleet.host("web1").answers = SICK
    outcome = dict(fleet.run())["web1"]
    assert isinstance(outcome, Failed)
    assert not outcome.needs_person
    (arguments,) = (args for name, args in fleet.host("web1").ran if name == "revert")
    assert arguments[7] == "-"


def test_a_service_that_its_operator_stopped_is_not_started(fleet: Fleet) -> None:
    host = fleet.host("web1")
    host.says["observe"] = upgraded(fleet).replace("at_boot", "stopped_by_operator\nat_boot")
    assert dict(fleet.run())["web1"] == OperatorStopped(services=("app",), changed=True)
    (arguments,) = (args for name, args in host.ran if name == "switch")
    assert arguments[9] == "stopped"  # unless it was started since
    assert "connect" not in host.names()[host.names().index("observe") :]


def test_no_event_holds_a_secret_even_where_the_host_says_it(fleet: Fleet) -> None:
    host = fleet.host("web1")
    host.answers = b"HTTP/1.1 500 Oops\r\n\r\nTOKEN is hunter2"
    host.says["status"] = f"= state\n{unit()}= journal\npanic: hunter2\n"
    results = fleet.run()
    assert any(isinstance(event, HealthProbed) for event in fleet.events)
    assert "hunter2" not in repr(fleet.events)
    assert "panic: ***" in repr(results)


# -- limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["observe", "stage"])
def test_a_host_that_cannot_be_prepared_stops_the_play_before_anything_is_switched(
    fleet: Fleet, stage: str
) -> None:
    fleet.host("web2").says[stage] = "failed disk_full no space\n"
    results = dict(fleet.run())
    assert failure(results["web2"]) == ("disk_full", "no space")
    reason = "1 of 3 hosts failed (33.3%), more than max_fail_percentage: 0"
    assert results["web1"] == results["web3"] == NotAttempted(reason=reason)
    for name in ("web1", "web3"):
        assert fleet.host(name).names() == ["connect", "observe", "stage", "free"]
        assert fleet.host(name).closed


def observed_before_and_after(fleet: Fleet, host: MemoryHost, *, before: str) -> Callable[..., str]:
    """What observe.sh says of a host on which this run commits a release, first and then."""
    new = f"20250601T000000Z-{fleet.service.binary.sha256[:12]}"

    def say(_args: object) -> str:
        if "commit" not in host.names():
            return upgraded(fleet) if before == RELEASE else EMPTY_HOST
        lines = f"release {new} good\nbefore {before} run\n"
        lines += f"release {RELEASE} good\n" if before == RELEASE else ""
        after = deployed(fleet.service).replace(f"release {RELEASE} good\n", lines)
        return after.replace(f"'releases/{RELEASE}'", f"'releases/{new}'")

    return say


def test_hosts_that_were_changed_go_back_when_the_play_says_so(fleet: Fleet) -> None:
    for name in fleet.hosts:
        host = fleet.host(name)
        host.says["observe"] = observed_before_and_after(fleet, host, before=RELEASE)
    fleet.host("web3").says["switch"] = "failed start_failed the service does not start\n"
    results = dict(fleet.run(strategy=Strategy(on_failure="rollback")))
    assert isinstance(results["web3"], Reverted)
    why = "1 of 3 hosts failed (33.3%), more than max_fail_percentage: 0"
    for name in ("web1", "web2"):
        expected = RolledBack(
            releases=(("app", RELEASE),), failure=Failure(cause="play_stopped", message=why)
        )
        assert results[name] == expected
        names = fleet.host(name).names()
        back = ["connect", "observe", "lock", "switch", "connect", "commit"]
        after = names[names.index("commit") + 1 :]
        assert [name for name, _ in groupby(after)] == back  # and the release that is back was asked
        assert [args[6] for script, args in fleet.host(name).ran if script == "switch"] == [
            "deploy",
            "rollback",
        ]
    assert exit_code(results.values()) is ExitCode.FAILED


def test_a_host_whose_operator_stopped_it_goes_back_like_the_others(fleet: Fleet) -> None:
    host = fleet.host("web1")
    seen = observed_before_and_after(fleet, host, before=RELEASE)
    host.says["observe"] = lambda args: seen(args).replace("at_boot ", "stopped_by_operator\nat_boot ")
    fleet.host("web2").says["switch"] = "failed start_failed the service does not start\n"
    results = dict(fleet.run(strategy=Strategy(on_failure="rollback")))
    outcome = results["web1"]
    assert isinstance(outcome, RolledBack)
    assert outcome.releases == (("app", RELEASE),)
    assert [args[9] for script, args in host.ran if script == "switch"] == [
        "stopped",
        "stopped",
    ]  # nor was it started
    assert exit_code(results.values()) is ExitCode.FAILED


def test_a_first_release_that_must_go_although_it_was_good_is_stopped(fleet: Fleet) -> None:
    host = fleet.host("web1")
    host.says["observe"] = observed_before_and_after(fleet, host, before="-")
    fleet.host("web2").says["switch"] = "failed start_failed the service does not start\n"
    outcome = dict(fleet.run(strategy=Strategy(on_failure="rollback")))["web1"]
    assert isinstance(outcome, RolledBack)
    assert host.names()[-3:] == ["observe", "lock", "withdraw"]


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({"lock": "failed held run=r9 by=bob@ci pid=7 from=- since=0 left=9\n"}, "app is locked by bob@ci"),
        ({"lock": "failed cannot_write the disk is full\n"}, "the disk is full"),
        ({"lock": ZeroDivisionError("0")}, "a bug in deployer: ZeroDivisionError"),
    ],
)
def test_a_host_that_cannot_be_rolled_back_needs_a_person(
    fleet: Fleet, says: dict[str, str], message: str
) -> None:
    host = fleet.host("web1")
    host.says |= {"observe": observed_before_and_after(fleet, host, before=RELEASE), **says}
    fleet.host("web2").says["switch"] = "failed start_failed the service does not start\n"
    outcome = dict(fleet.run(strategy=Strategy(on_failure="rollback")))["web1"]
    assert isinstance(outcome, Failed)
    assert outcome.needs_person
    assert outcome.failure.message.startswith(f"rolling back failed: {message}")


# -- several plays -------------------------------------------------------------------------------------------


def test_a_host_that_was_lost_is_left_out_of_the_plays_that_follow(fleet: Fleet) -> None:
    fleet.hosts["web2"] = UnreachableError("refused", "refused")
    fleet.host("web3").answers = SICK
    command = CommandTask(name="after", argv=("true",))
    second = tuple(make_host(name, commands=(command,)) for name in fleet.hosts)
    results = fleet.run(
        Play(name="one", hosts=fleet.desired(), strategy=GO_ON), Play(name="two", hosts=second)
    )
    assert [(name, type(outcome)) for name, outcome in results] == [
        ("web1", Changed),
        ("web2", Unreachable),
        ("web3", Failed),
        ("web1", Changed),
    ]
    started = [event for event in fleet.events if isinstance(event, PlayStarted)]
    assert [event.hosts for event in started] == [("web1", "web2", "web3"), ("web1",)]
    assert "command" in fleet.host("web1").names()
    assert "command" not in fleet.host("web3").names()


def test_a_command_that_fails_takes_the_release_of_its_host_back(fleet: Fleet) -> None:
    host = fleet.host("web1")
    host.says |= {"observe": upgraded(fleet), "command": Reply(status=3, stdout="no: hunter2\n", stderr="")}
    hosts = fleet.desired(CommandTask(name="warm", argv=("warm",)))
    results = dict(fleet.run(Play(name="p", hosts=hosts, strategy=GO_ON)))
    outcome = results["web1"]
    assert isinstance(outcome, Reverted)
    assert outcome.failure.message == "the command 'warm' exited with status 3: no: ***"
    assert isinstance(results["web2"], Changed)


def test_a_command_that_runs_once_runs_on_the_first_host_that_changes(fleet: Fleet) -> None:
    fleet.host("web1").says["observe"] = deployed(fleet.service)
    command = CommandTask(name="migrate", argv=("migrate",), run_once=True)
    fleet.run(Play(name="p", hosts=fleet.desired(command)))
    assert [name for name in fleet.hosts if "command" in fleet.host(name).names()] == ["web2"]


# -- a service that is between two processes -----------------------------------------------------------------

BETWEEN = [
    {"ActiveState": "activating", "SubState": "start-pre", "MainPID": 0},
    {"ActiveState": "deactivating", "SubState": "final-sigterm", "MainPID": 0},
]


@pytest.mark.parametrize("between", BETWEEN, ids=["starts", "stops"])
def test_a_service_that_has_no_process_yet_is_looked_at_again_once_it_has(
    fleet: Fleet, between: dict[str, object]
) -> None:
    host = fleet.host("web1")
    looks_and_states = {"observe", "status"}
    looks = [deployed(fleet.service, **between), deployed(fleet.service)]
    host.says |= {"observe": lambda _args: looks.pop(0), "status": state()}
    results = dict(fleet.run(Play(name="p", hosts=fleet.desired()[:1])))
    assert isinstance(results["web1"], Unchanged), results
    assert [name for name in host.names() if name in looks_and_states] == ["observe", "status", "observe"]


@pytest.mark.parametrize("between", BETWEEN, ids=["starts", "stops"])
def test_a_service_that_comes_to_no_process_is_no_success(fleet: Fleet, between: dict[str, object]) -> None:
    """Somebody else may answer in its place meanwhile, as here."""
    host = fleet.host("web1")
    host.says |= {"observe": deployed(fleet.service, **between), "status": state(**between)}
    results = dict(fleet.run(Play(name="p", hosts=fleet.desired()[:1])))
    outcome = results["web1"]
    assert isinstance(outcome, Failed)
    assert (outcome.failure.cause, outcome.failure.service) == ("crashed", "app")
    assert fleet.time.now >= 15


def test_a_service_that_its_operator_stops_meanwhile_is_looked_at_again(fleet: Fleet) -> None:
    host = fleet.host("web1")
    stopped = deployed(fleet.service, ActiveState="inactive", SubState="dead", MainPID=0)
    stopped = stopped.replace("at_boot unless-stopped", "at_boot unless-stopped\nstopped_by_operator")
    looks = [deployed(fleet.service, **BETWEEN[1]), stopped]
    said = "= state\n" + unit(ActiveState="inactive", SubState="dead", MainPID=0) + "= stopped\n"
    host.says |= {"observe": lambda _args: looks.pop(0), "status": said}
    results = dict(fleet.run(Play(name="p", hosts=fleet.desired()[:1])))
    assert results["web1"] == OperatorStopped(services=("app",), changed=False)


@pytest.mark.parametrize(
    ("uptime", "seconds"),
    [
        ("100.00", 0.0),  # 10 s old
        ("90.40", 0.6),  # what is left of stay_up, which is 1 s
        ("90.00", 1.0),
        ("12.00", 0.0),  # no uptime of the clock that systemd has: a container's own
        (None, 0.0),
    ],
)
def test_a_process_that_is_young_is_watched_until_it_has_stayed_up(
    fleet: Fleet, uptime: str | None, seconds: float
) -> None:
    """Somebody may have let systemd forget how often it was restarted."""
    host = fleet.host("web1")
    seen = deployed(fleet.service, ExecMainStartTimestampMonotonic=90_000_000)
    host.says |= {"observe": seen if uptime is None else f"fact uptime {uptime}\n{seen}", "status": state()}
    results = dict(fleet.run(Play(name="p", hosts=fleet.desired()[:1])))
    assert isinstance(results["web1"], Unchanged), results
    assert sum(fleet.time.slept) == pytest.approx(seconds)
    assert ("status" in host.names()) is (seconds > 0)


def test_a_young_process_that_ends_while_it_is_watched_is_no_success(fleet: Fleet) -> None:
    host = fleet.host("web1")
    seen = deployed(fleet.service, ExecMainStartTimestampMonotonic=90_000_000)
    ended = state(ActiveState="activating", SubState="auto-restart", MainPID=0, NRestarts=1)
    host.says |= {"observe": f"fact uptime 90.1\n{seen}", "status": ended}
    results = dict(fleet.run(Play(name="p", hosts=fleet.desired()[:1])))
    assert isinstance(results["web1"], Failed)
    assert results["web1"].failure.cause == "crashed"


def test_a_young_process_that_is_restarted_while_it_is_watched_is_watched_anew(fleet: Fleet) -> None:
    host = fleet.host("web1")
    seen = deployed(fleet.service, ExecMainStartTimestampMonotonic=90_000_000)
    pids = iter((4711, 4711))
    host.says |= {"observe": f"fact uptime 90.4\n{seen}", "status": lambda _args: state(MainPID=next(pids))}
    results = dict(fleet.run(Play(name="p", hosts=fleet.desired()[:1])))
    assert isinstance(results["web1"], Unchanged), results
    assert fleet.time.slept == pytest.approx([0.6, 1.0])


def test_a_young_process_that_hangs_after_a_while_is_no_success(fleet: Fleet) -> None:
    host = fleet.host("web1")
    seen = deployed(fleet.service, ExecMainStartTimestampMonotonic=90_000_000)
    host.says |= {"observe": f"fact uptime 90.1\n{seen}", "status": state()}
    host.answers = lambda: SICK if fleet.time.slept else OK
    results = dict(fleet.run(Play(name="p", hosts=fleet.desired()[:1])))
    assert isinstance(results["web1"], Failed)
    assert results["web1"].failure.cause == "unhealthy"


# -- interrupts ----------------------------------------------------------------------------------------------


def test_after_an_interrupt_no_new_host_is_touched(fleet: Fleet) -> None:
    def stage(_args: tuple[str, ...]) -> str:
        fleet.interrupt.request()
        return "staged\n"

    fleet.host("web1").says["stage"] = stage
    results = fleet.run(forks=1)
    assert [type(outcome) for _, outcome in results] == [NotAttempted] * 3
    assert "switch" not in fleet.host("web1").names()
    assert fleet.host("web1").closed
    assert fleet.host("web2").ran == []
    assert sum(isinstance(event, ReleaseStaged) for event in fleet.events) == 1


def test_a_host_in_flight_finishes(fleet: Fleet) -> None:
    def switch(_args: tuple[str, ...]) -> str:
        fleet.interrupt.request()
        return f"start yes\n{unit()}"

    fleet.host("web1").says["switch"] = switch
    results = fleet.run(forks=1)
    assert [type(outcome) for _, outcome in results] == [Changed, NotAttempted, NotAttempted]
    assert "commit" in fleet.host("web1").names()
