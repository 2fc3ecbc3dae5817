"""Evidence is what a person can read, however much a service has to say."""

from __future__ import annotations

from deployer.remote.remote import Reply
from deployer.verify.status import JOURNAL_LINES, gather_evidence
from deployer.visible import LONGEST
from tests.memory import MemoryHost, unit


def says(*lines: str, end: str = "exited with status 1") -> MemoryHost:
    """A host whose service has crashed, and has written this."""
    state = unit(ActiveState="failed", SubState="failed", MainPID=0, NRestarts=1)
    said = "\n".join((f"= state\n{state}= end\n{end}\n= journal", *lines, ""))
    return MemoryHost(says={"status": Reply(status=0, stdout=said, stderr="")})


def test_a_long_line_is_cut_behind_its_secrets() -> None:
    line = "x" * (LONGEST - 3) + "hunter2" + "jit " * 12_000
    host = says("starting", line, end="exited " * 1_000)
    evidence = gather_evidence(
        host, "app", answer="", listens="-", redact=lambda text: text.replace("hunter2", "***")
    )
    assert evidence.journal == ("starting", f"{line[: LONGEST - 3]}***... ({len(line) - 4} characters)")
    assert "exited" in evidence.state
    assert len(evidence.state) < LONGEST + 100


def test_no_more_lines_than_were_asked_for() -> None:
    lines = [f"line {number}" for number in range(10 * JOURNAL_LINES)]
    evidence = gather_evidence(says(*lines), "app", answer="", listens="-", redact=str)
    assert evidence.journal == tuple(lines[-JOURNAL_LINES:])
