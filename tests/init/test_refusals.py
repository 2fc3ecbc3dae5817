"""What systemd refuses to do, and what is made of that."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from deployer.remote.script import read_script

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHELLS = (["dash"], ["busybox", "sh"])
SCRIPT = read_script("remote/prelude.sh", "init/systemd.sh", "init/orders.sh", "transaction/state.sh")

DESTRUCTIVE = (
    "Failed to restart app.service: Transaction for app.service/restart is destructive "
    "({unit} has '{job}' job queued, but '{mine}' is included in transaction)."
)

# systemctl restart is refused with $1, and counted; to every question it says $2.
STUB = """
count=$(mktemp) refusal=$1 state=$2 mark=$3
timeout() { shift; "$@"; }
systemctl() {
  case $* in
    *restart*) echo >>"$count"; [ "$(wc -l <"$count")" -lt 20 ] || kill $$; echo "$refusal"; return 1 ;;
    *) echo "$state" ;;
  esac
}
init_was_stopped() { [ "$mark" = yes ]; }
init_restart app
echo "$? after $(wc -l <"$count")"
rm "$count"
"""


def restart(shell: Sequence[str], refusal: str, *, marked: str = "no") -> str:
    """How a restart goes, and after how many tries."""
    state = "ActiveState=inactive\nMainPID=0\nNRestarts=0"
    command = [*shell, "-c", f"{SCRIPT}\n{STUB}", "sh", refusal, state, marked]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_restart_that_a_shutdown_refuses_is_asked_for_once_more_and_no_more(shell: list[str]) -> None:
    refusal = DESTRUCTIVE.format(unit="shutdown.target", job="start", mine="stop")
    assert restart(shell, refusal) == "2 after 2"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_stop_of_the_service_that_waits_is_not_replaced(shell: list[str]) -> None:
    refusal = DESTRUCTIVE.format(unit="app.service", job="stop", mine="restart")
    assert restart(shell, refusal, marked="yes") == "3 after 1"
    assert restart(shell, refusal, marked="no") == "1 after 1"  # it was not by its operator


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_start_that_fails_is_no_refusal(shell: list[str]) -> None:
    failed = "Job for app.service failed because the control process exited with error code."
    assert restart(shell, failed) == "1 after 1"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("unit", "mark", "starts", "stops"),
    [
        ("WantedBy=multi-user.target", False, "start --no-block app.service", ""),
        ("Also=unless-stopped@app.service", False, "start --no-block app.service", ""),
        ("Type=exec", False, "", ""),
        ("WantedBy=multi-user.target", True, "", ""),
        ("Also=unless-stopped@app.service", True, "", "stop --no-block app.service"),
        ("Type=exec", True, "", "stop --no-block app.service"),
    ],
)
def test_after_a_boot_the_unit_that_is_back_says_whether_it_starts(
    tmp_path: Path, shell: list[str], unit: str, starts: str, stops: str, *, mark: bool
) -> None:
    """Its link may be missing, for want of space on the disk."""
    for name in ("units", "stopped"):
        (tmp_path / name).mkdir()
    (tmp_path / "units/app.service").write_text(f"{unit}\n")
    if mark:
        (tmp_path / "stopped/app.service").write_text("manual\n")

    def said(verb: str) -> str:
        stub = f'units=$1/units stopped=$1/stopped\nsystemctl() {{ echo "$*" >&3; }}\n{verb} app 3>&1'
        command = [*shell, "-c", f"{SCRIPT}\n{stub}", "sh", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()

    assert (said("init_start_at_boot"), said("init_keep_stopped")) == (starts, stops)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("pid", "code", "status", "ended"),
    [
        (12, 1, 3, True),  # CLD_EXITED
        (12, 1, 0, True),
        (12, 2, 9, True),  # CLD_KILLED
        (12, 3, 11, True),  # CLD_DUMPED
        (12, 1, 203, False),  # EXIT_EXEC
        (12, 1, 226, False),  # EXIT_NAMESPACE
        (12, 0, 0, False),  # it runs
        (11, 2, 15, False),  # that is the one before
    ],
)
def test_what_ended_at_once_is_told_from_what_was_never_executed(
    shell: list[str], pid: int, code: int, status: int, *, ended: bool
) -> None:
    said = f"ExecMainPID={pid}\nExecMainCode={code}\nExecMainStatus={status}"
    stub = 'said=$1; systemctl() { echo "$said"; }; pid=11; init_ended app'
    done = subprocess.run([*shell, "-c", f"{SCRIPT}\n{stub}", "sh", said], check=False, timeout=30)
    assert (done.returncode == 0) is ended
