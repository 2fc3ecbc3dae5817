"""Every kind of damage does to a real host what it says, and its repair undoes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import eventually
from tests.faults.__main__ import settings
from tests.faults.damage import DEAF, Damage
from tests.faults.fault import Kind
from tests.faults.stand import GOOD, SERVICE, Stand, build_versions
from tests.sample import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.controller import Controller
    from tests.hosts.lab import Lab

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def stand(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    shared = settings(tmp_path_factory.mktemp("damage"))
    build_versions(shared)
    made = Stand(lab, lab.hosts[0], shared)
    yield made
    made.reset()
    made.relay.close()


@pytest.fixture
def run(stand: Stand) -> Iterator[Controller]:
    """A run that is under way."""
    started = stand.start(GOOD[0])
    assert started.wait_until(lambda: started.has_begun, seconds=60)
    yield started
    started.kill()


class Held:
    """A run with something to do, which waits before it sends that; `let_go` lets it."""

    def __init__(self, stand: Stand, *, piped: bool = False) -> None:
        now = stand.answer()
        self.version = next(version for version in GOOD if version != now)
        self._point = stand.point
        env = {"DEPLOYER_FAULT_POINT": "stage.before", "DEPLOYER_FAULT_FILE": str(self._point)}
        # A run that was cut off before may have left its lock.
        self.run = stand.start(self.version, "--lock-wait", "60s", env=env, piped=piped)
        assert self.run.wait_until(self._point.exists, seconds=60), self.run.said

    def let_go(self) -> None:
        self._point.unlink(missing_ok=True)


@pytest.fixture
def held(stand: Stand) -> Iterator[Held]:
    made = Held(stand)
    yield made
    made.let_go()
    made.run.kill()


def writes(stand: Stand, folder: str) -> bool:
    words = ["sh", "-c", 'head -c 8192 /dev/zero >"$1/.try" && rm "$1/.try"', "sh", folder]
    return stand.host.nsenter(words, check=False).returncode == 0


def links(stand: Stand, folder: str) -> bool:
    words = ["sh", "-c", 'ln -s nowhere "$1/.try" && rm "$1/.try"', "sh", folder]
    return stand.host.nsenter(words, check=False).returncode == 0


def logs_in(stand: Stand) -> bool:
    return stand.host.ssh("true", check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        (Kind.OPT_FULL, "/opt"),
        (Kind.VAR_FULL, "/var/lib/deployer"),
        *(
            (Kind.ROOT_FULL, folder)
            for folder in ("/opt", "/var/lib/deployer", "/tmp", "/etc/systemd/system")
        ),
        (Kind.INODES_FULL, "/usr/local"),
        (Kind.OPT_READ_ONLY, "/opt"),
        (Kind.VAR_READ_ONLY, "/var/lib/deployer"),
    ],
)
def test_a_disk_takes_nothing_more_until_it_is_repaired(
    stand: Stand, run: Controller, kind: Kind, folder: str
) -> None:
    run.wait(60)
    damage = Damage(kind, stand)
    if damage.needs_disk:
        stand.reset()
        damage.mount()
        stand.deploy(GOOD[0])
    try:
        assert writes(stand, folder)
        damage.begin(run, GOOD[0], lambda: None)
        assert not writes(stand, folder)
        assert not links(stand, folder)
        damage.repair(run)
        assert writes(stand, folder)
    finally:
        if damage.needs_disk:
            damage.unmount()
            stand.reset()
    assert "faults" not in stand.host.nsenter(["cat", "/proc/mounts"]).stdout.decode()


def test_a_killed_sshd_and_all_its_sessions_are_gone_until_it_is_repaired(stand: Stand, held: Held) -> None:
    damage = Damage(Kind.SSHD_KILL, stand)
    damage.begin(held.run, held.version, held.let_go)
    try:
        time.sleep(1)  # longer than systemd waits before it starts something again
        assert not logs_in(stand)
        assert held.run.wait(60)
        assert held.run.code != 0
    finally:
        damage.repair(held.run)
    assert logs_in(stand)


def test_a_stopped_controller_does_nothing_until_it_goes_on(stand: Stand, held: Held) -> None:
    damage = Damage(Kind.CONTROLLER_STOP, stand)
    damage.begin(held.run, held.version, held.let_go)
    said = held.run.said
    time.sleep(3)
    assert (held.run.code, held.run.said) == (None, said)
    damage.repair(held.run)
    assert held.run.wait(60)


@pytest.mark.parametrize("kind", [Kind.LINE_CUT, Kind.CUT_UP, Kind.CUT_DOWN])
def test_a_cut_line_stops_a_run_without_a_word(stand: Stand, held: Held, kind: Kind) -> None:
    damage = Damage(kind, stand)
    damage.begin(held.run, held.version, held.let_go)
    try:
        assert not held.run.wait(2)
        assert logs_in(stand)  # the host itself is well, on its own address
    finally:
        damage.repair(held.run)
    assert held.run.wait(60)


@pytest.mark.parametrize("kind", [Kind.POWER_CUT, Kind.REBOOT])
def test_a_host_boots_again(stand: Stand, run: Controller, kind: Kind) -> None:
    run.wait(60)
    before = stand.host.init
    Damage(kind, stand).begin(run, GOOD[0], lambda: None)
    assert stand.host.init not in (None, before)
    assert logs_in(stand)


def test_daemon_reload_goes_on_until_it_is_repaired(stand: Stand, run: Controller) -> None:
    run.wait(60)

    def reloads() -> int:
        # On a busy machine journald is behind with what it was told, and would count it after the repair.
        stand.host.nsenter(["journalctl", "--sync"])
        log = stand.host.nsenter(
            ["journalctl", "--quiet", "--boot", "--output=cat", "_PID=1"]
        ).stdout.decode()
        return log.count("Reloading")

    damage = Damage(Kind.DAEMON_RELOAD, stand)
    damage.begin(run, GOOD[0], lambda: None)
    before = reloads()
    # It goes on as fast as the host can, and how fast that is, is not what is promised.
    eventually(lambda: reloads() > before + 2, seconds=30, what="more reloads")
    damage.repair(run)
    rest = reloads()
    time.sleep(1)
    assert reloads() == rest


def test_names_run_out_while_bytes_are_left(stand: Stand, run: Controller) -> None:
    run.wait(60)
    damage = Damage(Kind.INODES_FULL, stand)
    stand.reset()
    damage.mount()
    try:
        stand.deploy(GOOD[0])
        stand.host.nsenter(["touch", "/opt/there"])
        damage.begin(run, GOOD[0], lambda: None)
        assert not links(stand, "/opt")
        stand.host.nsenter(["sh", "-c", "head -c 100000 /dev/zero >/opt/there"])
        damage.repair(run)
    finally:
        damage.unmount()
        stand.reset()


def test_a_controller_whose_terminal_is_closed_ends_by_itself(stand: Stand, held: Held) -> None:
    Damage(Kind.CONTROLLER_HUP, stand).begin(held.run, held.version, held.let_go)
    assert held.run.wait(60)
    assert held.run.code == 130


def test_nobody_reads_what_a_closed_controller_says(stand: Stand) -> None:
    held = Held(stand, piped=True)
    Damage(Kind.CONTROLLER_CLOSED, stand).begin(held.run, held.version, lambda: None)
    said = held.run.said
    held.let_go()
    assert held.run.wait(60)
    assert (held.run.said, held.run.outcome) == (said, "")


def test_what_a_piped_controller_says_is_heard_to_the_end(stand: Stand) -> None:
    run = stand.start(GOOD[1], piped=True)
    assert run.wait(60)
    assert run.outcome in {"changed", "unchanged"}


def test_a_lossy_line_makes_a_run_slow(stand: Stand, run: Controller) -> None:
    run.wait(60)
    damage = Damage(Kind.LOSSY, stand)
    damage.begin(run, GOOD[0], lambda: None)
    began = time.monotonic()
    stand.deploy(GOOD[0])
    slow = time.monotonic() - began
    damage.repair(run)

    def deploy() -> float:
        began = time.monotonic()
        stand.deploy(GOOD[0])
        return time.monotonic() - began

    # The quickest of five, for a busy machine can make one as slow as the line did, and never quicker.
    assert slow > min(deploy() for _ in range(5))


def test_a_frozen_host_stands_still_for_longer_than_the_deadline(stand: Stand, run: Controller) -> None:
    run.wait(60)
    seen: list[bool] = []

    def look() -> None:
        time.sleep(0.5)
        seen.append(bool(stand.answer()))

    assert stand.answer()
    began = time.monotonic()
    Damage(Kind.HOST_FROZEN, stand).begin(run, GOOD[0], look)
    assert time.monotonic() - began > stand.settings.deadline
    assert seen[0] is False
    eventually(stand.answer, seconds=10, what="an answer")


def test_a_throttled_host_is_slow_until_it_is_repaired(stand: Stand, run: Controller) -> None:
    run.wait(60)

    def work() -> float:
        began = time.monotonic()
        loop = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done"
        stand.host.nsenter(["systemd-run", "--quiet", "--wait", "sh", "-c", loop], timeout=120)
        return time.monotonic() - began

    before = work()
    damage = Damage(Kind.HOST_THROTTLED, stand)
    damage.begin(run, GOOD[0], lambda: None)
    slow = work()
    damage.repair(run)
    assert slow > 2 * before
    assert work() < slow


def test_systemd_executes_itself_anew_until_it_is_repaired(stand: Stand, run: Controller) -> None:
    run.wait(60)

    def times() -> int:
        stand.host.nsenter(["journalctl", "--sync"])
        words = ["journalctl", "--quiet", "--boot", "--output=cat", "_PID=1"]
        return stand.host.nsenter(words).stdout.decode().count("Reexecuting")

    damage = Damage(Kind.DAEMON_REEXEC, stand)
    before = times()
    damage.begin(run, GOOD[0], lambda: None)
    eventually(lambda: times() > before + 1, seconds=30, what="more of them")
    damage.repair(run)
    eventually(lambda: stand.look().active == "active/running", seconds=10, what="its answer")


def test_systemctl_reaches_nobody_for_some_seconds(stand: Stand, run: Controller) -> None:
    run.wait(60)
    damage = Damage(Kind.SYSTEMCTL_DEAF, stand)
    damage.begin(run, GOOD[0], lambda: None)
    try:
        done = stand.host.nsenter(["systemctl", "is-active", "ssh"], check=False)
        assert done.returncode == 1
        assert b"Failed to connect to bus" in done.stderr
        time.sleep(DEAF + 1)
        assert stand.host.nsenter(["systemctl", "is-active", "ssh"]).stdout == b"active\n"
    finally:
        damage.clean_up()
    assert stand.host.nsenter(["sh", "-c", "command -v systemctl"]).stdout == b"/usr/bin/systemctl\n"


def unit(stand: Stand, key: str) -> str:
    words = ["systemctl", "show", "-p", key, "--value", SERVICE]
    return stand.host.nsenter(words).stdout.decode().strip()


def test_what_an_operator_does_by_hand_is_done(stand: Stand, run: Controller) -> None:
    run.wait(60)
    stand.deploy(GOOD[0])
    pid = stand.look().pid

    def do(kind: Kind) -> Damage:
        damage = Damage(kind, stand)
        damage.prepare()
        damage.begin(run, GOOD[0], lambda: None)
        return damage

    do(Kind.OPERATOR_RESTART)
    assert stand.look().pid not in {"0", pid}
    do(Kind.OPERATOR_STOP)
    assert (stand.look().active, stand.look().stopped_by_operator) == ("inactive/dead", "stopped")
    do(Kind.OPERATOR_START)
    assert (stand.look().active, stand.look().stopped_by_operator) == ("active/running", "")

    edit = do(Kind.OPERATOR_EDIT)
    assert unit(stand, "Nice") == "1"
    assert edit.is_kept
    edit.clean_up()
    assert unit(stand, "Nice") == "0"
    assert not edit.is_kept

    for kind, state in (
        (Kind.OPERATOR_MASK, "masked"),
        (Kind.UNREADABLE_UNIT, "bad-setting"),
        (Kind.OPERATOR_DELETE, "not-found"),
    ):
        do(kind)
        assert unit(stand, "LoadState") in {state, "error"} - ({"error"} if state != "bad-setting" else set())
        stand.deploy(GOOD[0])
        assert unit(stand, "LoadState") == "loaded"
    assert stand.look().folder == f"/opt/{SERVICE}"
    do(Kind.OPERATOR_WIPE)
    assert stand.look().folder == ""
    stand.deploy(GOOD[0])


def test_locks_are_held_until_the_repair(stand: Stand, run: Controller) -> None:
    run.wait(60)
    stand.deploy(GOOD[0])

    def is_free() -> bool:
        words = ["flock", "--nonblock", f"/opt/{SERVICE}/current/{BINARY}", "true"]
        return stand.host.nsenter(words, check=False).returncode == 0

    assert is_free()
    pipe = "/etc/systemd/system/faulty.service.aside"  # as it is left where one stood in place of a unit
    stand.host.nsenter(["mkfifo", pipe])
    damage = Damage(Kind.LOCK_HOLDER, stand)
    damage.begin(run, GOOD[0], lambda: None)
    assert not is_free()
    damage.repair(run)
    stand.host.nsenter(["rm", pipe])
    eventually(is_free, seconds=5, what="a free lock")


def test_a_second_controller_runs_beside_the_first(stand: Stand, held: Held) -> None:
    damage = Damage(Kind.TWO_CONTROLLERS, stand)
    damage.begin(held.run, held.version, held.let_go)
    assert damage.second is not None
    assert damage.second.wait(60)
    assert held.run.wait(60)
