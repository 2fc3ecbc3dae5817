"""Every kind of damage does to a real host what it says, and its repair undoes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import eventually
from tests.faults.__main__ import settings
from tests.faults.damage import Damage
from tests.faults.fault import Kind
from tests.faults.stand import GOOD, Stand, build_versions

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


def test_a_killed_sshd_and_all_its_sessions_are_gone_until_it_is_repaired(
    stand: Stand, run: Controller
) -> None:
    damage = Damage(Kind.SSHD_KILL, stand)
    damage.begin(run, GOOD[0], lambda: None)
    try:
        time.sleep(1)  # longer than systemd waits before it starts something again
        assert not logs_in(stand)
        assert run.wait(60)
        assert run.code != 0
    finally:
        damage.repair(run)
    assert logs_in(stand)


def test_a_stopped_controller_does_nothing_until_it_goes_on(stand: Stand, run: Controller) -> None:
    damage = Damage(Kind.CONTROLLER_STOP, stand)
    damage.begin(run, GOOD[0], lambda: None)
    said = run.said
    time.sleep(3)
    assert (run.code, run.said) == (None, said)
    damage.repair(run)
    assert run.wait(60)


def test_a_cut_line_stops_a_run_without_a_word(stand: Stand, run: Controller) -> None:
    damage = Damage(Kind.LINE_CUT, stand)
    damage.begin(run, GOOD[0], lambda: None)
    try:
        assert not run.wait(2)
        assert logs_in(stand)  # the host itself is well, on its own address
    finally:
        damage.repair(run)
    assert run.wait(60)


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


def test_a_second_controller_runs_beside_the_first(stand: Stand, run: Controller) -> None:
    damage = Damage(Kind.TWO_CONTROLLERS, stand)
    damage.begin(run, GOOD[0], lambda: None)
    assert damage.second is not None
    assert damage.second.wait(60)
    assert run.wait(60)
