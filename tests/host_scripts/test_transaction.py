"""Locks, ledgers and journals as hosts keep them, with coreutils and with busybox alone."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from deployer.observe.observation import ServiceObservation, parse_observation
from deployer.remote.script import read_script
from deployer.transaction.lock import parse_holder
from deployer.transaction.resolve import Transaction
from tests.e2e.machine import eventually
from tests.host_scripts.sandbox import FLAVOURS, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.hosts  # root, for a mount namespace

PRELUDE, SYSTEMD, STATE = "remote/prelude.sh", "init/systemd.sh", "transaction/state.sh"
ORDERS = "init/orders.sh"
UNDO = "transaction/undo.sh"
LOCK = (PRELUDE, STATE, "transaction/lock.sh")
RENEW = (PRELUDE, STATE, "transaction/renew.sh")
FREE = (PRELUDE, STATE, "transaction/free.sh")
RESOLVE = (PRELUDE, SYSTEMD, ORDERS, STATE, UNDO, "transaction/resolve.sh")
SWITCH = (PRELUDE, SYSTEMD, ORDERS, STATE, "switch/switch.sh")
COMMIT = (PRELUDE, SYSTEMD, STATE, "init/strangers.sh", "commit/commit.sh")
REVERT = (PRELUDE, SYSTEMD, ORDERS, STATE, UNDO, "commit/revert.sh")
WITHDRAW = (PRELUDE, SYSTEMD, ORDERS, STATE, "commit/withdraw.sh")
OBSERVE = (PRELUDE, SYSTEMD, STATE, "init/strangers.sh", "observe/observe.sh")
UNLOCK = (PRELUDE, STATE, "ask/unlock.sh")
LEASE = 60
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
LOST = "failed lock_lost the lock of app is not this run's any more\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a host knows of the service `app`."""

    sandbox: Sandbox

    @property
    def folder(self) -> Path:
        return self.sandbox.root / "var/lib/deployer/app"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def transaction(self) -> Path:
        return self.folder / "transaction"

    @property
    def ledger(self) -> list[str]:
        """Its lines, the time of each left out once it was seen to be one."""
        lines = (self.folder / "ledger").read_text().splitlines()
        assert all(re.match(f"{TIME} ", line) for line in lines), lines
        return [line.partition(" ")[2] for line in lines]

    @property
    def holder(self) -> str:
        """The run whose name the lock bears; empty: nobody's."""
        return dict(word.split("=") for word in self.lock.read_text().split())["run"] if self.locked else ""

    @property
    def locked(self) -> bool:
        return self.lock.exists()

    def shown(self) -> dict[str, tuple[int, int, bytes]]:
        """Every file with all that a change of it would change."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for file in files}

    def silent_for(self, seconds: float) -> None:
        """As if the holder had given its last sign of life so long ago."""
        then = time.time() - seconds
        os.utime(self.lock, (then, then))

    def seal(self) -> str:
        return self.sandbox.run_text(f"{read_script(PRELUDE, STATE)}\nseal app").strip()

    def take(self, run: str = "run1", *, seal: str | None = None, breaking: str = "-") -> str:
        seal = self.seal() if seal is None else seal
        return self.sandbox.run(LOCK, [*owner(run), "app", seal, breaking, "r1"])

    def renew(self, run: str = "run1") -> str:
        return self.sandbox.run(RENEW, [run, "app"])

    def release(self, name: str, *, current: bool = False, about: str = "{}\n") -> None:
        """Put a release on the disk."""
        folder = self.sandbox.opt / "app/releases" / name
        folder.mkdir(parents=True)
        (folder / "release.json").write_text(about)
        if current:
            link = self.sandbox.opt / "app/current"
            link.unlink(missing_ok=True)
            link.symlink_to(f"releases/{name}")
            self.unit(name)

    def unit(self, release: str) -> None:
        """Install the unit of a release."""
        text = f"# {release}\n"
        (self.sandbox.opt / "app/releases" / release / "app.service").write_text(text)
        (self.sandbox.root / "etc/systemd/system/app.service").write_text(text)

    def open(self, run: str = "run1", *, before: str = "r1", after: str = "r2") -> None:
        """Write the journal of a deploy that is under way."""
        change = f"kind=deploy before={before} after={after} start=yes main=0"
        line = f"run={run} by=anna@laptop {change} deadline=60\n"
        self.transaction.write_text(line)

    def observe(self, also: str = "nothing") -> ServiceObservation:
        said = self.sandbox.run(OBSERVE, [also, "", "", "", "-", "app"])
        return parse_observation(said).services["app"]


def owner(run: str) -> list[str]:
    return [run, "anna@laptop", "42", "b00t-7", str(LEASE)]


@pytest.fixture(params=FLAVOURS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    sandbox = Sandbox(flavour=request.param, root=tmp_path)
    sandbox.prepare()
    return Place(sandbox=sandbox)


# -- who has the lock ----------------------------------------------------------------------------------------


def test_a_lock_is_taken_and_the_releases_tell_of_themselves(place: Place) -> None:
    place.release("r1", about='{"run": "r0"}\n')
    assert place.take() == 'locked app\n= about app\n{"run": "r0"}\n'
    words = place.lock.read_text().split()
    assert words[:4] == ["run=run1", "by=anna@laptop", "pid=42", "from=b00t-7"]
    assert abs(time.time() - int(words[4].removeprefix("since="))) < 100
    assert words[5:] == [f"lease={LEASE}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSIXLY_CORRECT", "1"),
        ("CDPATH", "/tmp"),
        ("TMPDIR", "/nowhere"),
        ("GREP_OPTIONS", "--invert-match"),
        ("GZIP", "--verbose"),
        ("QUOTING_STYLE", "c"),
        ("TIME_STYLE", "full-iso"),
        ("BLOCK_SIZE", "1"),
        ("SYSTEMD_COLORS", "1"),
        ("SYSTEMD_LOG_LEVEL", "debug"),
        ("SYSTEMD_OFFLINE", "1"),
        ("SYSTEMD_UNIT_PATH", "/tmp"),
    ],
)
def test_what_a_host_sets_for_everybody_changes_no_script(place: Place, name: str, value: str) -> None:
    said = place.sandbox.run_text(
        f'{name}={value}\nexport {name}\n{read_script(PRELUDE)}\nsay "${{{name}-unset}}"\n'
        "ln -s to /run/link; ls -l /run/link"
    )
    first, listed = said.splitlines()
    assert first == "unset"
    assert listed.endswith(" /run/link -> to")


def test_a_lock_that_is_held_is_not_taken_and_its_holder_is_named(place: Place) -> None:
    place.take()
    place.silent_for(20)
    said = place.take("run2")
    assert said.startswith("failed held ")
    holder = parse_holder(said.split()[2:])
    assert (holder.run, holder.by, holder.pid, holder.origin) == ("run1", "anna@laptop", 42, "b00t-7")
    assert 10 < holder.left <= LEASE - 20
    assert place.holder == "run1"


def test_a_run_may_take_again_what_it_has(place: Place) -> None:
    place.take()
    place.silent_for(20)
    assert "failed" not in place.take()
    assert time.time() - place.lock.stat().st_mtime < 20


def test_a_lock_is_free_when_its_holder_was_silent_for_the_lease(place: Place) -> None:
    place.take()
    place.silent_for(LEASE + 1)
    assert "failed" not in place.take("run2")
    assert place.holder == "run2"


def test_only_the_lock_of_the_run_that_is_known_to_be_dead_is_broken(place: Place) -> None:
    place.take("dead")
    assert "failed held run=dead " in place.take("run2", breaking="another")
    assert "failed" not in place.take("run2", breaking="dead")
    assert place.holder == "run2"
    # A third run that saw the dead one's lock as well comes too late.
    assert "failed held run=run2 " in place.take("run3", breaking="dead")


def test_of_ten_runs_at_once_one_gets_it(place: Place) -> None:
    seal = place.seal()
    runs = [f"run{number}" for number in range(10)]
    with ThreadPoolExecutor(max_workers=len(runs)) as at_once:
        said = dict(zip(runs, at_once.map(lambda run: place.take(run, seal=seal), runs), strict=True))
    winners = [run for run, reply in said.items() if "failed" not in reply]
    assert winners == [place.holder]
    assert {
        reply.split(" left=")[0].split(" ")[:3][-1] for run, reply in said.items() if run != winners[0]
    } == {f"run={winners[0]}"}


def test_it_is_not_taken_for_a_plan_that_is_out_of_date(place: Place) -> None:
    place.release("r1", current=True)
    old = place.seal()
    place.release("r2", current=True)
    assert place.take(seal=old) == "failed stale another run changed the service meanwhile\n"
    old = place.seal()
    place.sandbox.run_text(f"{read_script(PRELUDE, STATE)}\nrecord app deploy r2 r1 run0 bob@ci ok")
    assert place.take(seal=old) == "failed stale another run changed the service meanwhile\n"
    assert not place.locked
    assert "failed" not in place.take()


def test_it_is_not_taken_while_a_transaction_is_open(place: Place) -> None:
    place.take("run0")
    place.open("run0")
    assert place.take("run2", breaking="run0") == "failed stale a transaction is open\n"
    assert place.holder == "run0"


def test_the_second_of_two_services_may_be_locked_and_the_first_is_kept(place: Place) -> None:
    place.take("run0")
    words = [*owner("run1"), "web", "", "-", "r1", "app", place.seal(), "-", "r1"]
    said = place.sandbox.run(LOCK, words)
    assert said.startswith("locked web\n= about web\nfailed held run=run0 ")
    assert (place.folder.parent / "web/lock").read_text().startswith("run=run1 ")


def test_a_full_disk_is_an_error_and_leaves_the_lock_to_its_holder(place: Place) -> None:
    place.take()
    place.silent_for(LEASE + 1)
    full = (
        "mkdir /tmp/kept-$$; cp -a /var/lib/deployer/app/. /tmp/kept-$$; "
        "mount -t tmpfs -o size=8k tmpfs /var/lib/deployer/app; cp -a /tmp/kept-$$/. /var/lib/deployer/app; "
        "rm -r /tmp/kept-$$; cat /dev/zero >/var/lib/deployer/app/fill 2>/dev/null || :"
    )
    words = [*owner("run2"), "app", place.seal(), "-", "r1"]
    said = place.sandbox.run(LOCK, words, before=full)
    assert said == "failed cannot_write cannot write /var/lib/deployer/app/lock\n"


# -- signs of life -------------------------------------------------------------------------------------------


def test_a_sign_of_life_is_good_for_another_lease(place: Place) -> None:
    place.take()
    place.silent_for(LEASE - 10)
    assert place.renew() == "renewed app\n"
    assert time.time() - place.lock.stat().st_mtime < 20


def test_a_sign_that_comes_too_late_revives_nothing(place: Place) -> None:
    place.take()
    place.silent_for(LEASE + 1)
    before = place.shown()
    assert place.renew() == "lost app\n"
    assert place.shown() == before
    assert "failed" not in place.take("run2")
    assert place.renew() == "lost app\n"
    assert place.holder == "run2"


def test_what_was_never_locked_is_lost(place: Place) -> None:
    assert place.renew() == "lost app\n"
    assert not place.locked


def test_a_sign_of_life_waits_for_nobody(place: Place) -> None:
    """A slow start holds the mutex, and its run must be able to say meanwhile that it lives."""
    place.take()
    began, ended = place.folder / "began", place.folder / "ended"
    here = "/var/lib/deployer/app"
    slow = f"enter app; : >{here}/began; until [ -e {here}/ended ]; do sleep 0.1; done"
    with ThreadPoolExecutor(max_workers=1) as beside:
        start = beside.submit(place.sandbox.run_text, f"{read_script(PRELUDE, STATE)}\n{slow}")
        try:
            eventually(began.exists, seconds=30)
            assert place.renew() == "renewed app\n"
            assert not start.done()
        finally:
            ended.touch()


def test_a_clock_that_was_set_back_a_little_costs_nobody_the_lock(place: Place) -> None:
    place.take()
    place.silent_for(-(LEASE - 10))
    assert "failed held run=run1 " in (said := place.take("run2"))
    assert said.split()[-1] == f"left={LEASE}"
    assert place.renew() == "renewed app\n"


def test_a_clock_that_was_set_back_far_keeps_no_lock_for_ever(place: Place) -> None:
    place.take()
    place.silent_for(-LEASE - 100)
    assert place.renew() == "lost app\n"
    assert "failed" not in place.take("run2")


@pytest.mark.parametrize("content", ["", "run=run1", "run=run1 lease=soon", "\0\0\0\0"])
def test_a_lock_that_is_damaged_is_free(place: Place, content: str) -> None:
    place.folder.mkdir(parents=True)
    place.lock.write_text(content)
    assert place.observe().lock is not None
    assert "failed" not in place.take("run2")
    assert place.holder == "run2"


# -- letting go ----------------------------------------------------------------------------------------------


def test_a_run_lets_go_of_its_own_lock_only(place: Place) -> None:
    place.take()
    place.sandbox.run(FREE, ["run2", "app"])
    assert place.holder == "run1"
    place.sandbox.run(FREE, ["run1", "app", "none"])
    assert not place.locked


def test_a_run_does_not_let_go_of_what_it_has_not_finished(place: Place) -> None:
    place.take()
    place.open()
    place.sandbox.run(FREE, ["run1", "app"])
    assert place.holder == "run1"


# -- without the lock nothing goes ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["another's", "expired", "broken"])
def test_nothing_is_switched_without_the_lock(place: Place, how: str) -> None:
    place.release("r1", current=True)
    place.release("r2")
    place.take()
    if how == "broken":
        place.lock.unlink()
    else:
        place.silent_for(LEASE + 1)
    if how == "another's":
        place.take("run2")
    words = [*owner("run1"), "app", "deploy", "r2", "r1", "yes", "0", "0", "0", "0", "0"]
    assert place.sandbox.run(SWITCH, words) == LOST
    assert place.sandbox.run(WITHDRAW, [*owner("run1"), "app", "r1"]) == LOST
    assert (place.sandbox.opt / "app/current").readlink().name == "r1"
    assert not place.transaction.exists()


def test_nothing_is_switched_while_a_transaction_is_open(place: Place) -> None:
    place.release("r2")
    place.take()
    place.open("run0")
    words = [*owner("run1"), "app", "deploy", "r2", "r1", "yes", "0", "0", "0", "0", "0"]
    assert place.sandbox.run(SWITCH, words) == "failed stale a transaction is open\n"


def test_what_went_back_by_itself_is_not_committed(place: Place) -> None:
    place.release("r1", current=True)
    place.take()
    words = [*owner("run1"), "app", "deploy", "r2", "r1", "0", "0", "-", "5"]
    said = "failed put_back app went back by itself, for it had not heard from this run in time\n"
    assert place.sandbox.run(COMMIT, words) == said
    place.open("run2")  # and another run has begun
    assert place.sandbox.run(COMMIT, words) == said
    assert place.transaction.exists()


def test_of_two_services_none_is_committed_if_one_went_back(place: Place) -> None:
    place.release("r2", current=True)
    place.take()
    place.open()
    both = [*owner("run1"), "app", "deploy", "r2", "r1", "0", "0", "-", "5"]
    both += ["web", "deploy", "r2", "r1", "0", "0", "-", "5"]
    assert place.sandbox.run(COMMIT, both).startswith("failed put_back web ")
    assert place.transaction.exists()
    assert place.holder == "run1"


# -- a run that comes to undo, and finds it done -------------------------------------------------------------


def revert(place: Place) -> list[str]:
    return place.sandbox.run(REVERT, [*owner("run1"), "app", "r2", "r1", "5"]).splitlines()


def test_what_was_not_switched_yet_is_left_alone(place: Place) -> None:
    place.release("r1", current=True, about='{"was": "r1"}\n')
    place.release("r2")
    place.take()
    said = revert(place)
    assert said[0] == "untouched"
    assert said[-1] == '{"was": "r1"}'
    assert place.holder == "run1"  # until all that it runs is seen to be well
    assert not (place.folder / "ledger").exists()


def test_a_commit_of_which_only_the_answer_was_lost_stays(place: Place) -> None:
    place.release("r1")
    place.release("r2", current=True)
    place.take()
    assert revert(place)[0] == "committed"
    assert (place.sandbox.opt / "app/current").readlink().name == "r2"


def test_what_the_host_put_back_itself_is_said_to_be(place: Place) -> None:
    place.release("r1", current=True)
    place.release("r2")
    (place.folder / "unproven").mkdir(parents=True)
    (place.folder / "unproven/r2").write_text("staged\n")
    record(place, "revert r2 r1 run1 host ok found=silence")
    place.take("run2")
    assert revert(place)[0] == "put_back"
    assert place.holder == "run2"


def test_what_another_run_opened_is_none_of_this_ones_business(place: Place) -> None:
    place.release("r1", current=True)
    place.release("r2")
    place.take("run2")
    place.open("run2")
    assert revert(place)[0] == "untouched"
    assert (place.holder, place.transaction.exists()) == ("run2", True)


# -- finishing what a dead run left --------------------------------------------------------------------------


def test_the_transaction_of_a_run_that_lives_is_not_undone(place: Place) -> None:
    place.release("r2", current=True)
    place.take()
    place.open()
    for breaking in ("-", "another"):
        said = place.sandbox.run(RESOLVE, ["bob@ci", "app", breaking])
        assert said.startswith("failed held run=run1 by=anna@laptop ")
    assert place.transaction.exists()
    assert (place.sandbox.opt / "app/current").readlink().name == "r2"


def test_a_transaction_that_the_host_resolved_meanwhile_is_gone(place: Place) -> None:
    place.folder.mkdir(parents=True)
    assert place.sandbox.run(RESOLVE, ["bob@ci", "app", "-"]) == "gone app\n"
    assert not (place.folder / "ledger").exists()


@pytest.mark.parametrize("before", ["../../../etc", "", "..", "r1/../r2", "\033[31m", "r9"])
def test_a_journal_that_names_no_release_is_closed_and_nothing_is_turned(place: Place, before: str) -> None:
    place.release("r1")
    place.release("r2", current=True)
    place.folder.mkdir(parents=True)
    place.open(before=before)
    assert place.sandbox.run(RESOLVE, ["bob@ci", "app", "-"]).startswith("resolved app run1 anna@laptop r2 ")
    assert (place.sandbox.opt / "app/current").readlink().name == "r2"
    assert not place.transaction.exists()
    assert "outcome=failed" in place.ledger[-1]


@pytest.mark.parametrize(
    "left", ["", "\n", "\0\0\0\0", "run=run1 by=anna@laptop kind=deploy", "run=run1 by=anna@laptop"]
)
def test_a_journal_that_was_cut_off_is_not_that_of_a_first_release(place: Place, left: str) -> None:
    """Which would be stopped, and started at no boot."""
    place.release("r2", current=True)
    place.folder.mkdir(parents=True)
    place.transaction.write_text(left)
    wants = place.sandbox.root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "unless-stopped@app.service").symlink_to("/etc/systemd/system/unless-stopped@.service")
    observed = place.observe().transaction
    assert observed is not None
    assert observed.before == "damaged"
    assert place.sandbox.run(RESOLVE, ["bob@ci", "app", "-"]).startswith("resolved app ")
    assert (wants / "unless-stopped@app.service").is_symlink()
    assert not place.transaction.exists()
    assert "outcome=failed" in place.ledger[-1]


# -- the ledger ----------------------------------------------------------------------------------------------


def record(place: Place, words: str, *, before: str = "") -> str:
    place.folder.mkdir(parents=True, exist_ok=True)
    return place.sandbox.run_text(
        f"{read_script(PRELUDE, STATE)}\nrecord app {words} && say done", before=before
    )


def test_a_line_for_each_thing_that_happened(place: Place) -> None:
    assert record(place, "deploy r1 - run1 anna@laptop ok") == "done\n"
    assert record(place, "revert r2 r1 run2 host ok found=silence by-hand=no") == "done\n"
    assert place.ledger == [
        "deploy release=r1 before=- run=run1 by=anna@laptop outcome=ok",
        "revert release=r2 before=r1 run=run2 by=host outcome=ok found=silence by-hand=no",
    ]


def test_a_line_that_a_power_cut_tore_does_not_take_the_next_with_it(place: Place) -> None:
    place.folder.mkdir(parents=True)
    (place.folder / "ledger").write_text("2026-11-22T11:20:00Z deploy rel")
    assert record(place, "deploy r1 - run1 anna@laptop ok") == "done\n"
    assert place.ledger == ["deploy rel", "deploy release=r1 before=- run=run1 by=anna@laptop outcome=ok"]


FULL = (
    "mkdir -p /var/lib/deployer; mount -t tmpfs -o size=16k tmpfs /var/lib/deployer; "
    "mkdir -p /var/lib/deployer/app/unproven; "
    "echo 'run=run1 by=anna@laptop kind=deploy before=r1 after=r2 start=yes main=0 deadline=60'"
    " >/var/lib/deployer/app/transaction; echo staged >/var/lib/deployer/app/unproven/r2; "
    ": >/var/lib/deployer/app/mutex; cat /dev/zero >/var/lib/deployer/fill 2>/dev/null || :"
)


def test_a_full_disk_costs_the_line_and_not_what_was_done(place: Place) -> None:
    said = record(place, "deploy r1 - run1 anna@laptop ok", before=FULL)
    unrecorded, done = said.splitlines()
    assert re.fullmatch(
        f"unrecorded {TIME} deploy release=r1 before=- run=run1 by=anna@laptop outcome=ok", unrecorded
    )
    assert done == "done"


def test_on_a_full_disk_a_release_is_committed_all_the_same(place: Place) -> None:
    place.release("r1")
    place.release("r2", current=True)
    look = "trap 'cd /var/lib/deployer/app; echo left: * unproven/*' EXIT"
    words = [*owner("run1"), "app", "deploy", "r2", "r1", "0", "0", "-", "5"]
    said = place.sandbox.run_text(f"{look}\n{read_script(*COMMIT)}", words, before=FULL).splitlines()
    assert said[-2] == "committed"
    left = set(said[-1].split())
    assert "mutex" in left
    assert not left & {"transaction", "unproven/r2"}


# -- what a look shows ---------------------------------------------------------------------------------------


def test_a_service_that_nobody_works_on_shows_neither_lock_nor_transaction(place: Place) -> None:
    seen = place.observe("before")
    assert (seen.lock, seen.transaction, seen.before, seen.deployed_by) == (None, None, None, "")
    assert seen.seal == place.seal() == ""


def test_a_look_shows_lock_transaction_and_seal_and_changes_none(place: Place) -> None:
    place.release("r1")
    place.release("r2", current=True)
    record(place, "deploy r1 - run0 bob@ci ok")
    place.take()
    place.open()
    place.silent_for(15)
    before = place.shown()
    seen = place.observe()
    assert seen.lock is not None
    assert (seen.lock.run, seen.lock.expired) == ("run1", False)
    assert 0 < seen.lock.left <= LEASE - 15
    assert seen.transaction == Transaction(run="run1", by="anna@laptop", before="r1", after="r2")
    size = (place.folder / "ledger").stat().st_size
    assert seen.seal == place.seal()
    assert seen.seal.startswith(f"{size} ")
    assert "releases/r2" in seen.seal
    assert place.shown() == before

    place.silent_for(LEASE + 5)
    seen = place.observe()
    assert seen.lock is not None
    assert (seen.lock.left, seen.lock.expired) == (0, True)


def test_a_first_release_has_nothing_to_be_put_back(place: Place) -> None:
    place.release("r1", current=True)
    place.take()
    place.open(before="-", after="r1")
    seen = place.observe()
    assert seen.transaction is not None
    assert seen.transaction.before == ""


def test_the_release_before_is_the_one_of_the_deploy_that_brought_the_current_one(place: Place) -> None:
    for name in ("r1", "r2", "r3"):
        place.release(name)
    record(place, "deploy r1 - run1 anna@laptop ok")
    record(place, "deploy r2 r1 run2 bob@ci ok")
    record(place, "revert r4 r2 run3 host ok found=silence")
    record(place, "rollback r1 r2 run4 anna@laptop ok")
    record(place, "deploy r3 r1 run5 bob@ci ok")
    shown = {}
    for name in ("r1", "r2", "r3"):
        (place.sandbox.opt / "app/current").unlink(missing_ok=True)
        (place.sandbox.opt / "app/current").symlink_to(f"releases/{name}")
        seen = place.observe("before")
        shown[name] = (seen.before, seen.deployed_by)
    assert shown == {"r1": ("-", "run1"), "r2": ("r1", "run2"), "r3": ("r1", "run5")}
    assert place.observe().before is None  # who does not ask is not told


# -- deployer unlock -----------------------------------------------------------------------------------------


def test_a_lock_is_broken_and_that_is_written_down(place: Place) -> None:
    place.take()
    place.open()
    broken, free = place.sandbox.run(UNLOCK, ["carl@desk", "app", "web"]).splitlines()
    assert broken.startswith("broken app run=run1 by=anna@laptop pid=42 ")
    assert free == "free web"
    assert not place.locked
    assert place.transaction.exists()  # the host puts back what it was about
    assert place.ledger == ["unlock release=- before=- run=run1 by=carl@desk outcome=ok held-by=anna@laptop"]
    assert place.renew() == "lost app\n"
    assert not (place.folder.parent / "web").exists()
