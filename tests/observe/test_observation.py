"""What observe.sh says of a host is read as it was meant, odd hosts included."""

from __future__ import annotations

from textwrap import dedent

import pytest

from deployer.init import UnitState
from deployer.observe.observation import Disk, File, ServiceObservation, parse_observation

# A Debian 12 host with one service that runs, one that its operator stopped, and one that is not there yet.
RECORDED = dedent("""\
    fact uid 0
    fact machine x86_64
    fact init systemd 252
    tool gzip
    tool perl
    service app
    release 20250101T000000Z-ba9876543210 failed
    release 20250102T000000Z-0123456789ab good
    at_boot unless-stopped
    contents /opt/app/current/.env QT0xCg==
    service stopped
    release 20250101T000000Z-0123456789ab good
    at_boot no
    stopped_by_operator
    service new
    at_boot no
    = stat
    640 root root 812 /var/lib/deployer/app/ledger '/var/lib/deployer/app/ledger'
    777 root root 38 /opt/app/current '/opt/app/current' -> 'releases/20250102T000000Z-0123456789ab'
    777 root root 38 /opt/stopped/current '/opt/stopped/current' -> 'releases/20250101T000000Z-0123456789ab'
    755 root root 10580438 /opt/app/current/server '/opt/app/current/server'
    640 root app 4 /opt/app/current/.env '/opt/app/current/.env'
    = digests
    aaaa  /opt/app/current/server
    bbbb  /opt/app/current/.env
    cccc  /etc/systemd/system/app.service
    = units
    Id=app.service
    LoadState=loaded
    ActiveState=active
    SubState=running
    Result=success
    FragmentPath=/etc/systemd/system/app.service
    NeedDaemonReload=no
    MainPID=4242
    NRestarts=2
    ExecMainCode=0
    ExecMainStatus=0

    Id=stopped.service
    LoadState=loaded
    ActiveState=failed
    SubState=failed
    Result=exit-code
    FragmentPath=/etc/systemd/system/stopped.service
    NeedDaemonReload=yes
    MainPID=0
    NRestarts=0
    ExecMainCode=1
    ExecMainStatus=203

    Id=new.service
    LoadState=not-found
    ActiveState=inactive
    SubState=dead
    Result=success
    NeedDaemonReload=no
    MainPID=0
    NRestarts=0
    = disks
    /opt 1048576 /opt
    /etc 2048 /
    /var/lib 0 /nowhere
    = mounts
    overlay /opt overlay ro 0 0
    /dev/vda / ext4 ro 0 0
    overlay /opt overlay rw,relatime,lowerdir=/a:/b,upperdir=/c 0 0
""")


def test_a_recorded_reply_is_read_whole() -> None:
    seen = parse_observation(RECORDED)
    assert (seen.uid, seen.machine, seen.init, seen.init_version) == (0, "x86_64", "systemd", "252")
    assert seen.tools == {"gzip", "perl"}
    assert seen.disks == {
        "/opt": Disk(free=1024**3, options=frozenset({"rw", "relatime", "lowerdir=/a:/b", "upperdir=/c"})),
        "/etc": Disk(free=2048 * 1024, options=frozenset({"ro"})),
        "/var/lib": Disk(free=0, options=frozenset({"unknown"})),
    }
    assert seen.files == {
        "/opt/app/current/server": File(digest="aaaa", mode="755", owner="root", group="root"),
        "/opt/app/current/.env": File(digest="bbbb", mode="640", owner="root", group="app"),
        "/etc/systemd/system/app.service": File(digest="cccc"),
    }
    assert seen.contents == {"/opt/app/current/.env": b"A=1\n"}
    assert seen.services == {
        "app": ServiceObservation(
            current="20250102T000000Z-0123456789ab",
            current_is_link=True,
            releases={
                "20250101T000000Z-ba9876543210": "failed",
                "20250102T000000Z-0123456789ab": "good",
            },
            at_boot="unless-stopped",
            stopped_by_operator=False,
            unit=UnitState(
                known=True,
                source="/etc/systemd/system/app.service",
                active="active",
                sub="running",
                result="success",
                main_pid=4242,
                restarts=2,
                exit_code=0,
                exit_status=0,
                stale=False,
            ),
            seal="812 '/var/lib/deployer/app/ledger'\n"
            "38 '/opt/app/current' -> 'releases/20250102T000000Z-0123456789ab'",
        ),
        "stopped": ServiceObservation(
            current="20250101T000000Z-0123456789ab",
            current_is_link=True,
            releases={"20250101T000000Z-0123456789ab": "good"},
            at_boot="no",
            stopped_by_operator=True,
            unit=UnitState(
                known=True,
                source="/etc/systemd/system/stopped.service",
                active="failed",
                sub="failed",
                result="exit-code",
                main_pid=0,
                restarts=0,
                exit_code=1,
                exit_status=203,
                stale=True,
            ),
            seal="38 '/opt/stopped/current' -> 'releases/20250101T000000Z-0123456789ab'",
        ),
        "new": ServiceObservation(
            current=None,
            current_is_link=True,
            releases={},
            at_boot="no",
            stopped_by_operator=False,
            unit=UnitState(
                known=False,
                source="",
                active="inactive",
                sub="dead",
                result="success",
                main_pid=0,
                restarts=0,
                exit_code=0,
                exit_status=0,
                stale=False,
            ),
        ),
    }


def test_a_host_that_was_asked_for_no_service() -> None:
    seen = parse_observation(
        "fact uid 0\nfact machine aarch64\nfact init none\n= stat\n\n= digests\n\n= units\n"
    )
    assert (seen.machine, seen.init, seen.init_version) == ("aarch64", "none", "")
    assert seen.services == {}
    assert seen.files == {}


def test_without_root_there_is_little_to_see() -> None:
    seen = parse_observation("fact uid 1000\nfact machine x86_64\n")
    assert (seen.uid, seen.init) == (1000, "none")


def test_without_an_init_system_a_service_has_no_unit() -> None:
    head = "fact uid 0\nfact machine x86_64\nfact init none\nservice app\nat_boot no\n"
    text = f"{head}= digests\n= stat\n= units\n"
    assert parse_observation(text).services["app"].unit is None


def test_a_current_that_is_no_link_is_seen() -> None:
    head = "fact uid 0\nfact machine x86_64\nservice app\nat_boot no\n"
    text = f"{head}= stat\n755 root root 9 /opt/app/current '/opt/app/current'\n"
    service = parse_observation(text).services["app"]
    assert (service.current, service.current_is_link) == (None, False)


def test_a_file_without_a_digest_is_not_there() -> None:
    stat = "755 root root 9 /opt/app/current/server '/opt/app/current/server'"
    text = f"fact uid 0\nfact machine x86_64\n= stat\n{stat}\n= digests\n"
    assert parse_observation(text).files == {}


@pytest.mark.parametrize("free", ["-", "", "none"])
def test_a_disk_that_df_knows_nothing_of_is_left_out(free: str) -> None:
    seen = parse_observation(f"fact uid 0\nfact machine x86_64\n= disks\n/opt {free} /\n")
    assert seen.disks == {}


def test_contents_do_not_show_themselves() -> None:
    assert "A=1" not in repr(parse_observation(RECORDED))


@pytest.mark.parametrize(
    ("leads", "fine"),
    [
        ("releases/r1", True),
        ("/opt/app/releases/r1", True),  # as somebody may type it
        ("/home/eve/releases/r1", False),
        ("releases/../../evil", False),
        ("../other/releases/r1", False),
        ("r1", False),
        ("/", False),
    ],
)
def test_a_current_that_leads_anywhere_else_is_not_ours(leads: str, *, fine: bool) -> None:
    reply = (
        "fact uid 0\nfact machine x86_64\nservice app\nat_boot no\n= stat\n"
        f"777 root root 9 /opt/app/current '/opt/app/current' -> '{leads}'\n= digests\n"
    )
    assert parse_observation(reply).services["app"].current_is_link is fine
