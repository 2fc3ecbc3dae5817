"""On a terminal a person reads a line for each host, what to do where it failed, and a summary."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from deployer.outcome import (
    Changed,
    Evidence,
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
)
from deployer.report.console import ConsoleReport
from deployer.report.events import (
    BatchPaused,
    BatchStarted,
    CommandFinished,
    Event,
    HostFinished,
    HostPlanned,
    PlayStarted,
    ProbeFellBack,
    ReleaseReverted,
    ReleaseStaged,
    RunAbandoned,
    RunFinished,
    RunInterrupted,
    RunStarted,
    StageStarted,
    StepAnswered,
    StepAsked,
    UploadFellBack,
    UploadProgressed,
)
from tests.report.test_events import FAILURE, SAMPLES


def show(*events: Event, check: bool = False) -> list[str]:
    """What stays on a terminal 80 columns wide."""
    out = io.StringIO()
    with ConsoleReport(Console(file=out, width=80, force_terminal=False), check=check) as report:
        for event in events:
            report(event)
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


def finished(outcome: Outcome, host: str = "web1") -> HostFinished:
    return HostFinished(host=host, outcome=outcome, seconds=1.26)


PLANNED = HostPlanned(host="web1", changes=("app: binary a -> b", "app: unit"), diff="")
DONE = "app: binary a -> b; app: unit; 2.6 MB sent, 7.4 MB saved (patch)"
STAGED = ReleaseStaged(
    host="web1",
    service="app",
    release="r1",
    sent=2_600_000,
    size=10_000_000,
    encoding="patch",
    saved=7_401_200,
)
SHORT = Failure(cause="refused", message="web1 port 22 refused the connection", hint="is sshd running?")


@pytest.mark.parametrize(
    ("events", "lines"),
    [
        ([finished(Unchanged())], ["  = web1                 unchanged          1.3 s"]),
        ([finished(WouldChange())], ["  ~ web1                 would change       1.3 s"]),
        (
            [PLANNED, STAGED, finished(Changed(releases=(("app", "r1"),)))],
            [f"  + web1                 changed            1.3 s  {DONE}"],
        ),
        (
            [finished(OperatorStopped(services=("app", "db"), changed=True))],
            [
                (
                    "  - web1                 operator-stopped   1.3 s  the release is in place,"
                    " but an operator stopped app, db: systemctl start app, db, or run with --start"
                )
            ],
        ),
        (
            [finished(Unreachable(failure=SHORT))],
            [
                "  ? web1                 unreachable        1.3 s  web1 port 22 refused the connection",
                "      do      is sshd running?",
            ],
        ),
        (
            [finished(NotAttempted(reason="interrupted"))],
            ["  . web1                 not attempted      1.3 s  interrupted"],
        ),
        (
            [
                ReleaseReverted(host="web1", service="app", release="r1", to="r0"),
                finished(Reverted(failure=FAILURE)),
            ],
            [
                (
                    "  < web1                 reverted           1.3 s  "
                    "not healthy after 3 attempts; app back on r0"
                ),
                "      do      look",
                "      answer  503 sick",
                "      unit    active/running",
                "      one",
                "      two",
            ],
        ),
        (
            [
                ReleaseReverted(host="web1", service="app", release="r1", to=""),
                finished(Failed(failure=replace(FAILURE, hint="", evidence=None), needs_person=False)),
            ],
            [
                (
                    "  ! web1                 failed             1.3 s  not healthy after 3 attempts;"
                    " app stopped, there is no release to go back to"
                )
            ],
        ),
    ],
    ids=lambda value: value[-1].outcome.__class__.__name__ if isinstance(value[-1], HostFinished) else "",
)
def test_an_outcome_is_a_line(events: list[Event], lines: list[str]) -> None:
    assert show(*events) == lines


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (RunStarted(run="r2", playbook="p.yml", hosts=1, goal="apply"), []),
        (
            RunStarted(run="r2", playbook="p.yml", hosts=1, goal="apply", retry="r1"),
            ["again, what run r1 lost"],
        ),
        (PlayStarted(play="Roll out", hosts=("a",)), ["Roll out  1 host"]),
        (PlayStarted(play="Roll out", hosts=("a", "b")), ["Roll out  2 hosts"]),
        (
            ProbeFellBack(host="web1", service="app", detail="no forwarding"),
            ["  note web1: no forwarding"],
        ),
        (
            UploadFellBack(host="web1", service="app", encoding="patch", detail="server arrived damaged"),
            ["  note web1: patch: server arrived damaged; the whole binary is sent"],
        ),
        (
            CommandFinished(host="web1", task="warm the cache", status=0, output="one\ntwo"),
            ["  $ web1: warm the cache", "      one", "      two"],
        ),
        (
            CommandFinished(host="web1", task="warm", status=3, output=""),
            ["  $ web1: warm exit status 3"],
        ),
        (
            RunFinished(run="r", counts={"changed": 2, "failed": 1}, hosts={}, exit_code=4, seconds=12.34),
            ["2 changed, 1 failed in 12.3 s  exit 4"],
        ),
        (
            RunFinished(run="r", counts={"unchanged": 3}, hosts={}, exit_code=0, seconds=0.5),
            ["3 unchanged in 0.5 s"],
        ),
        (RunFinished(run="r", counts={}, hosts={}, exit_code=0, seconds=0.0), ["nothing to do in 0.0 s"]),
        (BatchStarted(play="p", number=2, of=3, hosts=("a", "b")), ["  batch 2 of 3  2 hosts"]),
        (BatchStarted(play="p", number=1, of=1, hosts=("a", "b")), []),
        (BatchPaused(play="p", seconds=90.0), ["  waiting 90 s before the next batch"]),
        (RunAbandoned(), ["leaving: hosts whose release is not committed go back by themselves"]),
        (StageStarted(host="web1", stage="verify", service="app"), []),
        (UploadProgressed(host="web1", service="app", sent=1, total=2, saved=0), []),
    ],
)
def test_what_else_is_said(event: Event, lines: list[str]) -> None:
    assert show(event) == lines


def test_check_says_what_would_change_and_how() -> None:
    event = HostPlanned(host="web1", changes=("app: unit",), diff="--- a\n+++ b\n-[old]\n+[new]")
    assert show(event, check=True) == [
        "  ~ web1: app: unit",
        "      --- a",
        "      +++ b",
        "      -[old]",
        "      +[new]",
    ]
    assert show(event) == []


def test_hosts_that_fail_alike_show_their_evidence_once() -> None:
    lines = show(*(finished(Reverted(failure=FAILURE), host) for host in ("web1", "web2", "web3")))
    assert sum("503 sick" in line for line in lines) == 1
    assert sum("evidence as on web1" in line for line in lines) == 2
    assert all(any(host in line for line in lines) for host in ("web1", "web2", "web3"))


def test_an_interrupt_says_how_many_hosts_are_waited_for() -> None:
    started = [StageStarted(host=host, stage="verify") for host in ("web1", "web2", "web3")]
    (line,) = show(*started[:2], started[2], RunInterrupted())
    assert line.startswith("stopping: 3 hosts in flight finish")


def test_hosts_that_wait_for_their_batch_are_not_at_work() -> None:
    staging = [StageStarted(host=host, stage="stage") for host in ("web1", "web2", "web3")]
    batch = BatchStarted(play="p", number=1, of=3, hosts=("web1",))
    switching = StageStarted(host="web1", stage="switch")
    assert show(*staging, batch, switching, RunInterrupted())[-1].startswith("stopping: 1 host in flight")


def test_text_of_hosts_and_users_is_never_markup() -> None:
    evidence = Evidence(answer="[bold]503[/]", state="[x]", journal=("app[42]: [/red] oops [link=x]",))
    failure = Failure(cause="c", message="bad [/] thing", hint="[do]", service="app", evidence=evidence)
    shown = "\n".join(
        show(
            PlayStarted(play="[red]play[/]", hosts=("a",)),
            CommandFinished(host="[h]", task="[t]", status=0, output="[o] [/]"),
            finished(Failed(failure=failure, needs_person=True), "[host]"),
        )
    )
    for text in ("[red]play[/]", "[h]: [t]", "[o] [/]", "[host]", "bad [/] thing", "[do]", "[bold]503[/]"):
        assert text in shown
    assert "app[42]: [/red] oops [link=x]" in shown


def test_long_lines_are_not_broken() -> None:
    failure = Failure(cause="c", message="m" * 200)
    (line,) = show(finished(Failed(failure=failure, needs_person=False)))
    assert "m" * 200 in line


STOPPED = NotAttempted(reason="1 of 40 hosts failed (2.5%), more than max_fail_percentage: 0")


def test_hosts_of_a_large_play_that_nothing_was_done_to_share_a_line() -> None:
    names = tuple(f"web{number}" for number in range(1, 41))
    lines = show(
        PlayStarted(play="Roll out", hosts=names),
        finished(Unchanged(), "web1"),
        finished(Failed(failure=SHORT, needs_person=False), "web2"),
        finished(Unchanged(), "web3"),
        *(finished(STOPPED, name) for name in names[3:]),
        RunFinished(run="r", counts={"unchanged": 2, "failed": 1}, hosts={}, exit_code=1, seconds=1.0),
    )
    assert lines == [
        "Roll out  40 hosts",
        "  ! web2                 failed             1.3 s  web1 port 22 refused the connection",
        "      do      is sshd running?",
        "  = 2 hosts              unchanged",
        f"  . 37 hosts             not attempted             {STOPPED.reason}",
        f"      {' '.join(names[3:])}",
        "2 unchanged, 1 failed in 1.0 s  exit 1",
    ]


def test_in_a_small_play_every_host_has_a_line() -> None:
    names = ("web1", "web2", "web3")
    ends = [finished(Unchanged(), "web1"), finished(STOPPED, "web2"), finished(STOPPED, "web3")]
    lines = show(PlayStarted(play="p", hosts=names), *ends)
    assert [line.split()[1] for line in lines[1:]] == [*names]


def test_hosts_that_ended_more_than_once_are_named_once_more_in_the_summary() -> None:
    hosts = {"changed": ("web2", "web3"), "rolled back": ("web1",)}
    counts = {"changed": 2, "rolled back": 1}
    last = RunFinished(run="r", counts=counts, hosts=hosts, exit_code=1, seconds=1.0)
    first = [finished(Changed(), name) for name in ("web1", "web2", "web3")]
    back = RolledBack(releases=(("app", "r0"),), failure=replace(SHORT, message="1 of 3 hosts failed"))
    assert show(*first, last)[3:] == ["2 changed, 1 rolled back in 1.0 s  exit 1"]
    assert show(*first, finished(back), last)[3:] == [
        "  < web1                 rolled back        1.3 s  app back on r0; 1 of 3 hosts failed",
        "  changed          web2 web3",
        "  rolled back      web1",
        "2 changed, 1 rolled back in 1.0 s  exit 1",
    ]


def test_while_somebody_is_asked_nothing_is_drawn() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, height=50, force_terminal=True)
    with ConsoleReport(console, check=False) as report:
        report(StageStarted(host="web1", stage="stage", service="app"))
        report(StepAsked(play="p", number=1, of=2, hosts=("web1",)))
        assert not report._live.is_started
        report(StepAnswered(play="p", number=1, answer="yes"))
        assert report._live.is_started
        report(finished(Unchanged()))
    assert not report._live.is_started


def test_on_a_real_terminal_each_host_at_work_has_a_line_and_all_of_them_go_away() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, height=50, force_terminal=True)
    with ConsoleReport(console, check=False) as report:
        for number in range(25):
            report(StageStarted(host=f"web{number}", stage="stage", service="app"))
        report(UploadProgressed(host="web3", service="app", sent=1_000, total=2_500_000, saved=8_000_000))
        live = io.StringIO()
        Console(file=live, width=80, force_terminal=False).print(report._draw())
        for number in range(25):
            report(finished(Unchanged(), f"web{number}"))
        assert report._working == {}
    text = live.getvalue()
    assert re.search(r"web3 +staging +app +1\.0 kB of 2\.5 MB, 8\.0 MB saved", text)
    assert "and 5 more" in text
    assert out.getvalue().count("unchanged") == 25


def test_no_event_is_too_much_for_it() -> None:
    assert show(*SAMPLES)
    assert show(*SAMPLES, check=True)
