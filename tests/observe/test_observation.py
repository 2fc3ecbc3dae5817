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
    disk /opt 1048576 /opt
    disk /etc 2048 /
    disk /var/lib 0 /nowhere
    service app
    current 20250102T000000Z-0123456789ab
    release 20250101T000000Z-ba9876543210 failed
    release 20250102T000000Z-0123456789ab good
    at_boot unless-stopped
    contents /opt/app/current/.env QT0xCg==
    service stopped
    current 20250101T000000Z-0123456789ab
    release 20250101T000000Z-0123456789ab good
    at_boot no
    stopped_by_operator
    service new
    at_boot no
    = mounts
    overlay /opt overlay ro 0 0
    /dev/vda / ext4 ro 0 0
    overlay /opt overlay rw,relatime,lowerdir=/a:/b,upperdir=/c 0 0
    = digests
    aaaa  /opt/app/current/server
    bbbb  /opt/app/current/.env
    cccc  /etc/systemd/system/app.service
    = stat
    755 root root /opt/app/current/server
    640 root app /opt/app/current/.env
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
    seen = parse_observation("fact uid 0\nfact machine aarch64\nfact init none\ndisk /opt 5 rw\n")
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
    text = "fact uid 0\nfact machine x86_64\nservice app\ncurrent_is_no_link\nat_boot no\n"
    service = parse_observation(text).services["app"]
    assert (service.current, service.current_is_link) == (None, False)


def test_a_file_without_a_digest_is_not_there() -> None:
    text = "fact uid 0\nfact machine x86_64\n= digests\n= stat\n755 root root /opt/app/current/server\n"
    assert parse_observation(text).files == {}


def test_spaces_in_owners_and_paths_are_read_from_the_right_side() -> None:
    text = "fact uid 0\nfact machine x86_64\n= digests\naaaa  /opt/a b\n= stat\n755 root UNKNOWN /opt/a b\n"
    assert parse_observation(text).files == {
        "/opt/a b": File(digest="aaaa", mode="755", owner="root", group="UNKNOWN")
    }


@pytest.mark.parametrize("free", ["-", "", "none"])
def test_a_disk_that_df_knows_nothing_of_is_left_out(free: str) -> None:
    seen = parse_observation(f"fact uid 0\nfact machine x86_64\ndisk /opt {free} rw\n")
    assert seen.disks == {}


def test_contents_do_not_show_themselves() -> None:
    assert "A=1" not in repr(parse_observation(RECORDED))
