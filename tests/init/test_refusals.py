"""What systemd refuses to do, and what is made of that."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from deployer.remote.script import read_script

if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS = (["dash"], ["busybox", "sh"])
SCRIPT = read_script("remote/prelude.sh", "init/systemd.sh", "transaction/state.sh")

DESTRUCTIVE = (
    "Failed to restart app.service: Transaction for app.service/restart is destructive "
    "({unit} has '{job}' job queued, but '{mine}' is included in transaction)."
)

# systemctl restart is refused with $1, and counted; to every question it says $2.
STUB = """
count=$(mktemp) refusal=$1 state=$2 mark=$3
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
