"""A look's reply that is not one is that host's trouble, with a cause, and never a bug of this program."""

from __future__ import annotations

import datetime as dt
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from deployer.errors import HostError
from deployer.observe.observe import observe
from deployer.plan.diff import render_diff
from deployer.plan.plan import plan_rollback, plan_service
from deployer.remote.remote import Reply, fields, sections
from tests.made import make_service
from tests.memory import EMPTY_HOST, MemoryHost, unit

if TYPE_CHECKING:
    from deployer.observe.observation import Observation

NOW = dt.datetime(2025, 6, 2, tzinfo=dt.UTC)
FULL = f"""\
fact uid 0
fact machine x86_64
fact init systemd 252
tool flock
service app
release 20250601T000000Z-a8076d3d28d2 good
lock run=r1 by=anna@laptop pid=4711 from=b-1 since=1764000000 left=20
at_boot unless-stopped
= stat
755 root root 4096 /opt/app '/opt/app'
777 root root 9 /opt/app/current '/opt/app/current' -> 'releases/20250601T000000Z-a8076d3d28d2'
= digests
{"0" * 128}  /opt/app/current/.env
= units
{unit(FragmentPath="/etc/systemd/system/app.service")}= processes
app runs 20250601T000000Z-a8076d3d28d2
= disks
/opt 99999999 /
= mounts
/dev/vda / ext4 rw 0 0
"""


def look(reply: str) -> Observation:
    return observe(MemoryHost(says={"observe": reply}), [make_service()], files={}, address="192.0.2.1")


def test_the_whole_reply_is_read() -> None:
    assert look(FULL).services["app"].runs == "20250601T000000Z-a8076d3d28d2"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "fact uid 0\n",
        "fact uid\nfact machine x86_64\n",
        "fact uid zero\nfact machine x86_64\n",
        f"fact uid {'9' * 5000}\nfact machine x86_64\n",
        EMPTY_HOST.replace("service app\n", ""),
        FULL.replace("/opt 99999999 /\n", "/opt 99999999\n"),
        FULL.replace("/dev/vda / ext4 rw 0 0\n", "/dev/vda\n"),
        FULL.replace("755 root root 4096 /opt/app '/opt/app'", "755 root"),
        FULL.replace("release 2025", "release\nrelease 2025"),
        FULL.replace("service app\n", "service app\ncontents /etc/x A\n"),
        FULL.replace("755 root root 4096", "=755 root root 4096"),
        FULL.replace("755 root root 4096", f"{'7' * 40} root root 4096"),
        FULL.replace("systemd 252", "systemd 25\u00b2"),
        FULL.replace("systemd 252", f"systemd {'9' * 5000}"),
    ],
)
def test_what_cannot_be_read_is_a_cause(reply: str) -> None:
    with pytest.raises(HostError) as caught:
        look(reply)
    assert caught.value.cause == "bad_answer"


@pytest.mark.parametrize(
    "changed",
    [
        FULL.replace("pid=4711", f"pid={'9' * 400}").replace("since=1764000000", f"since={'9' * 30}"),
        FULL.replace("MainPID=42", f"MainPID={'9' * 5000}"),
        FULL.replace("MainPID=42", "MainPID=\u00b2"),
        FULL.replace("left=20", "left=-1"),
    ],
)
def test_numbers_that_are_none_are_as_good_as_nothing(changed: str) -> None:
    assert look(changed).services["app"].current


@pytest.mark.parametrize("seed", range(300))
def test_of_a_garbled_reply_nothing_but_a_cause_may_come_here_or_in_the_plan(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    lines = FULL.splitlines(keepends=True)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        line = lines[at]
        cut = chance.randint(0, len(line))
        lines[at] = chance.choice(
            [
                line[:cut],
                line[:cut]
                + chance.choice(["\x00", "=", " ", "\n", "\u0660", "\u00b2", "9" * 5000, "= units\n", "-> "])
                + line[cut:],
                line + line,
                "",
                chance.choice(lines),
            ]
        )
    service = make_service()
    with suppress(HostError):
        observation = look("".join(lines))
        with suppress(HostError):
            render_diff(plan_service(service, observation, now=NOW), observation)
        plan_rollback(service, observation)


@pytest.mark.parametrize(
    "said",
    [
        "failed\n",
        "failed \n",
        "failed \x1b[31m oops\n",
        "failed 42\n",
        "failed it's broken\n",
        f"failed {'x' * 500}\n",
    ],
)
def test_a_failure_without_a_cause_is_a_bad_answer_that_says_what_was_done(said: str) -> None:
    with pytest.raises(HostError, match="looking at the host failed, and the host gave no cause") as caught:
        look(said)
    assert caught.value.cause == "bad_answer"


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_newline_ends_a_line_so_no_log_can_begin_a_section(end: str) -> None:
    reply = f"= state\nActiveState=failed\n= journal\noops{end}= state{end}ActiveState=active\n"
    assert sections(reply)["state"] == ["ActiveState=failed"]
    fields(Reply(status=0, stdout=f"fine{end}failed cause it did not\n", stderr=""), what="asking")


def test_only_the_last_line_of_a_script_that_failed_says_so() -> None:
    shown = "failed /home/a/mnt fuse.x rw,nosuid 0 0\n"  # a line of /proc/mounts
    assert fields(Reply(status=0, stdout=shown, stderr=""), what="asking")
    with pytest.raises(HostError, match="asking failed: exit status 3") as caught:
        fields(Reply(status=3, stdout=f"{shown}and more\n", stderr=""), what="asking")
    assert caught.value.cause == "script_failed"
    with pytest.raises(HostError, match="it does not fit") as caught:
        fields(Reply(status=1, stdout=f"{shown}failed disk_full it does not fit\n", stderr=""), what="asking")
    assert caught.value.cause == "disk_full"


def test_a_reply_of_nothing_but_newlines_is_not_taken_apart() -> None:
    with pytest.raises(HostError, match="more than 100000 lines") as caught:
        fields(Reply(status=0, stdout="\n" * 4_000_000, stderr=""), what="asking")
    assert caught.value.cause == "bad_answer"
