"""A lock names the process that holds it, so one that has died on this machine is told from all others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployer.errors import HostError
from deployer.transaction.lock import HeldError, Holder, Owner, StaleError, parse_holder, translate

WORDS = ["run=r1", "by=anna@laptop", "pid=42", "from=0123456789ab-777", "since=1763810400", "left=31"]
HOLDER = Holder(
    run="r1",
    by="anna@laptop",
    pid=42,
    origin="0123456789ab-777",
    since=datetime(2025, 11, 22, 11, 20, tzinfo=UTC),
    left=31,
)


def myself(by: str = "anna@laptop") -> Owner:
    return Owner.of_this_process(run="r1", by=by, lease=60)


def held_by(owner: Owner) -> Holder:
    """What hosts say of a lock that `owner` took."""
    return replace(HOLDER, run=owner.run, pid=owner.pid, origin=owner.origin)


def origin_of(pid: int) -> str:
    """What a run with that pid would have written into its locks."""
    boot = myself().origin.partition("-")[0]
    start = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    return f"{boot}-{start}"


# -- owners --------------------------------------------------------------------------------------------------


def test_a_run_names_itself_in_words_that_a_line_can_hold() -> None:
    owner = myself(by="Anna Sm\u00edth=x@lap top\n")
    assert owner.by == "Anna_Sm_th_x@lap_top_"
    assert owner.args == ("r1", owner.by, str(os.getpid()), owner.origin, "60")
    assert not [word for word in owner.args if re.search(r"\s|=", word)]


def test_two_looks_at_one_process_agree_and_two_processes_differ() -> None:
    assert myself().origin == myself().origin
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            mine, its = myself().origin, origin_of(other.pid)
        finally:
            other.kill()
    assert mine.partition("-")[0] == its.partition("-")[0]
    assert mine != its


# -- holders -------------------------------------------------------------------------------------------------


def test_what_a_host_says_of_a_lock_is_read() -> None:
    holder = parse_holder(WORDS)
    assert holder == HOLDER
    assert not holder.expired
    assert str(holder) == "anna@laptop (run r1, pid 42) since 2025-11-22 11:20:00Z"


@pytest.mark.parametrize("words", [[], ["run="], ["pid=many", "since=", "left=-3"], ["run=r1", "nonsense"]])
def test_a_lock_that_somebody_damaged_is_expired_and_held_by_nobody_known(words: list[str]) -> None:
    holder = parse_holder(words)
    assert (holder.pid, holder.left, holder.expired) == (0, 0, True)
    assert str(holder)
    assert not holder.is_dead()


def test_a_run_that_lives_is_not_dead() -> None:
    assert not held_by(myself()).is_dead()


def test_a_run_whose_process_has_ended_is_dead() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        holder = replace(HOLDER, pid=process.pid, origin=origin_of(process.pid))
        assert not holder.is_dead()
        process.kill()
        process.wait()
        assert holder.is_dead()


def test_a_pid_that_another_process_has_by_now_is_no_sign_of_life() -> None:
    boot, _, start = myself().origin.partition("-")
    before = replace(HOLDER, pid=os.getpid(), origin=f"{boot}-{int(start) - 1}")
    assert before.is_dead()


@pytest.mark.hosts  # root, for a mount namespace
def test_a_process_that_cannot_be_seen_is_not_dead_because_of_that(tmp_path: Path) -> None:
    """proc(5), hidepid=: another user's run is as if it were not there, and must not lose its lock."""
    script = tmp_path / "look.py"
    script.write_text(
        "import os, sys\n"
        "from dataclasses import replace\n"
        "from tests.transaction.test_lock import HOLDER\n"
        "pid, origin = sys.argv[1:]\n"
        "print(os.path.exists(f'/proc/{pid}'), replace(HOLDER, pid=int(pid), origin=origin).is_dead())\n"
    )
    hidden = "mount -t proc -o hidepid=2,gid=54321 proc /proc; exec setpriv --bounding-set=-sys_ptrace "
    with subprocess.Popen(["setpriv", "--reuid=65534", "--clear-groups", "sleep", "60"]) as other:
        origin = ""
        try:
            origin = origin_of(other.pid)
            words = [sys.executable, str(script), str(other.pid), origin]
            looked = subprocess.run(
                ["unshare", "--mount", "sh", "-ec", f'{hidden} "$@"', "sh", *words],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
        finally:
            other.kill()
    assert looked.stdout == "False False\n", looked.stderr
    assert replace(HOLDER, pid=other.pid, origin=origin).is_dead()


@pytest.mark.parametrize("origin", ["0123456789ab-777", "-", "", "-777"])
def test_of_another_machine_or_boot_nothing_is_known(origin: str) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert not replace(HOLDER, pid=process.pid, origin=origin).is_dead()


# -- errors of scripts ---------------------------------------------------------------------------------------


def test_a_lock_that_is_held_is_an_error_that_names_its_holder() -> None:
    error = translate(HostError("held", f"{' '.join(WORDS)}: some detail of stderr"), "app")
    assert isinstance(error, HeldError)
    assert (error.cause, error.service, error.holder) == ("locked", "app", HOLDER)
    assert error.message == "app is locked by anna@laptop (run r1, pid 42) since 2025-11-22 11:20:00Z"


def test_a_service_that_has_changed_is_an_error_after_which_to_look_again() -> None:
    error = translate(HostError("stale", "a transaction is open"), "app")
    assert isinstance(error, StaleError)
    assert (error.message, error.service) == ("a transaction is open", "app")


def test_any_other_error_stays_what_it_is() -> None:
    error = HostError("cannot_write", "the disk is full")
    assert translate(error, "app") is error
