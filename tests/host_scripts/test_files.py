"""What scripts leave on the disk is whole or not there at all, with coreutils and with busybox alone."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deployer.observe.observation import parse_observation
from deployer.remote.script import read_script
from tests.e2e.machine import eventually
from tests.host_scripts.sandbox import FLAVOURS, Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployer.observe.observation import Observation

pytestmark = pytest.mark.hosts  # root, for a mount namespace

STATE = "transaction/state.sh"
STAGE = ("remote/prelude.sh", STATE, "stage/stage.sh")
OBSERVE = ("remote/prelude.sh", "init/systemd.sh", STATE, "init/strangers.sh", "observe/observe.sh")
COMMIT = ("remote/prelude.sh", "init/systemd.sh", STATE, "init/strangers.sh", "commit/commit.sh")
OWNER = ("run1", "anna@laptop", "42", "-", "60")
# What a shell could take for its own, and every byte that UTF-8 has beyond ASCII.
ODD = "".join(map(chr, range(0x80, 0x800, 7))) + "€😀"
ENV = f"TOKEN='hunter2'\n#\\n \\0 %s \"$HOME\" `id` {ODD}\n\n".encode()
UNIT, ABOUT = b"[Unit]\nDescription=app\n", b"{}\n"
TEXTS = [text.decode() for text in (ENV, UNIT, ABOUT)]
BINARY = b"#!/bin/sh\n" + os.urandom(300_000)


@pytest.fixture(params=FLAVOURS)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    made = Sandbox(flavour=request.param, root=tmp_path)
    made.prepare()
    return made


OLD = b"#!/bin/sh\n" + BINARY[150_000:] + BINARY[:150_000]


def zstd(content: bytes, *options: str) -> bytes:
    """What the command makes of it; a patch from the file of `--patch-from`, for one."""
    words = ["zstd", "-cq", *options]
    if any(option.startswith("--patch-from") for option in options):
        words.append(f"--stream-size={len(content)}")
    return subprocess.run(words, input=content, stdout=subprocess.PIPE, check=True).stdout


def digests_of(content: bytes) -> list[str]:
    return [hashlib.sha256(content).hexdigest(), hashlib.blake2b(content).hexdigest()]


def stage(
    sandbox: Sandbox,
    release: str = "r1",
    *,
    encoding: str = "plain",
    payload: bytes = BINARY,
    before: str = "",
    digests: Sequence[str] = (),
) -> str:
    # Its own earlier releases are no surprise to it, nor is what is current.
    seal = sandbox.run_text(f"{read_script('remote/prelude.sh', STATE)}\nseal app").strip()
    args = [
        *OWNER,
        "app",
        seal,
        "-",
        release,
        "daemon",
        "server",
        *(digests or digests_of(BINARY)),
        encoding,
        *TEXTS,
    ]
    return sandbox.run(STAGE, args, payload, before=before)


def test_a_line_that_falls_silent_during_the_upload_keeps_nobody_out(sandbox: Sandbox) -> None:
    args = [*OWNER, "app", "", "-", "r1", "daemon", "server", *digests_of(BINARY), "plain", *TEXTS]
    silent = sandbox.start(STAGE, args, BINARY[:1000])
    try:
        eventually((sandbox.opt / "app/releases/.staging-r1/server").exists, what="the upload")
        other = [
            "run2",
            "bob@ci",
            "43",
            "-",
            "60",
            "app",
            "",
            OWNER[0],
            "-",
        ]  # which knows that run1 is dead
        taken = sandbox.run(("remote/prelude.sh", STATE, "transaction/lock.sh"), other)
        assert taken == "locked app\n= about app\n"
        said, _ = silent.communicate(BINARY[1000:], timeout=30)  # it goes on after all
    finally:
        silent.kill()
    assert "failed stale the lock of app is not this run's any more" in said.decode()
    assert list((sandbox.opt / "app/releases").iterdir()) == []


def mode(path: Path) -> str:
    found = path.stat()
    return f"{stat.S_IMODE(found.st_mode):o} {path.owner()}:{path.group()}"


# -- stage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["plain", "gzip", "zstd"])
def test_a_release_is_staged_whole(sandbox: Sandbox, encoding: str) -> None:
    if encoding == "zstd" and sandbox.flavour == "busybox":
        # It has no zstd, and is sent none; if it were, nothing would be left behind.
        assert stage(sandbox, encoding=encoding).startswith("failed cannot_unpack ")
        assert not list((sandbox.opt / "app/releases").iterdir())
        return
    payload = {
        "plain": BINARY,
        "gzip": gzip.compress(BINARY, 1),
        "zstd": zstd(BINARY),
    }[encoding]
    assert stage(sandbox, encoding=encoding, payload=payload) == "staged r1\n"
    release = sandbox.opt / "app/releases/r1"
    assert {path.name: path.read_bytes() for path in release.iterdir()} == {
        "server": BINARY,
        ".env": ENV,
        "app.service": UNIT,
        "release.json": ABOUT,
    }
    assert mode(release / "server") == "755 root:root"
    assert mode(release / ".env") == "640 root:daemon"
    assert mode(release / "app.service") == "644 root:root"
    assert mode(release / "release.json") == "600 root:root"
    assert mode(release) == "755 root:root"
    assert [path.name for path in (sandbox.opt / "app/releases").iterdir()] == ["r1"]
    assert not (sandbox.opt / "app/current").exists()


def test_a_binary_that_is_there_already_is_linked_and_not_sent(sandbox: Sandbox) -> None:
    stage(sandbox)
    assert stage(sandbox, "r2", encoding="link:r1", payload=b"") == "staged r2\n"
    (sandbox.opt / "app/releases/r2/a core dump").write_text("of no interest")
    assert stage(sandbox, "r3", encoding="link:r2", payload=b"") == "staged r3\n"
    one, two = (sandbox.opt / f"app/releases/{name}/server" for name in ("r1", "r3"))
    assert one.stat().st_ino == two.stat().st_ino


def test_what_is_linked_may_have_had_another_name(sandbox: Sandbox) -> None:
    stage(sandbox)
    folder = sandbox.opt / "app/releases/r1"
    (folder / "server").rename(folder / "server-1.0")
    assert stage(sandbox, "r2", encoding="link:r1", payload=b"") == "staged r2\n"
    assert (sandbox.opt / "app/releases/r2/server").read_bytes() == BINARY


@pytest.mark.parametrize("name", ["server", "server-1.0"])
def test_a_patch_makes_the_binary_from_that_of_another_release(
    sandbox: Sandbox, tmp_path: Path, name: str
) -> None:
    stage(sandbox, payload=OLD, digests=digests_of(OLD))
    folder = sandbox.opt / "app/releases/r1"
    (folder / "server").rename(folder / name)
    (tmp_path / "old").write_bytes(OLD)
    patch = zstd(BINARY, f"--patch-from={tmp_path / 'old'}")
    assert len(patch) < len(BINARY) / 10
    said = stage(sandbox, "r2", encoding="patch:r1", payload=patch)
    if sandbox.flavour == "busybox":  # it has no zstd
        assert said.startswith("failed cannot_unpack ")
        assert [path.name for path in (sandbox.opt / "app/releases").iterdir()] == ["r1"]
        return
    assert said == "staged r2\n"
    assert (sandbox.opt / "app/releases/r2/server").read_bytes() == BINARY
    assert mode(sandbox.opt / "app/releases/r2/server") == "755 root:root"
    assert (folder / name).read_bytes() == OLD


@pytest.mark.parametrize("damage", ["another binary", "no binary", "no release", "cut off"])
def test_a_patch_that_does_not_give_the_binary_leaves_nothing_behind(
    sandbox: Sandbox, tmp_path: Path, damage: str
) -> None:
    stage(sandbox, payload=OLD, digests=digests_of(OLD))
    (tmp_path / "old").write_bytes(OLD)
    patch = zstd(BINARY, f"--patch-from={tmp_path / 'old'}")
    old = sandbox.opt / "app/releases/r1/server"
    match damage:
        case "another binary":
            old.write_bytes(OLD[::-1])
        case "no binary":
            old.unlink()
        case "cut off":
            patch = patch[:-1]
    said = stage(
        sandbox, "r2", encoding="patch:none" if damage == "no release" else "patch:r1", payload=patch
    )
    assert said.startswith(("failed cannot_unpack ", "failed digest_mismatch "))
    assert [path.name for path in (sandbox.opt / "app/releases").iterdir()] == ["r1"]


@pytest.mark.parametrize(
    ("encoding", "payload", "cause"),
    [
        ("plain", BINARY[:-1] + bytes([BINARY[-1] ^ 1]), "digest_mismatch"),  # never the right byte
        ("plain", BINARY[:-1], "digest_mismatch"),
        ("plain", b"", "digest_mismatch"),
        ("gzip", gzip.compress(BINARY, 1)[:-100], "cannot_unpack"),
        ("gzip", b"no gzip", "cannot_unpack"),
        ("link:nowhere", b"", "cannot_unpack"),
        ("brotli", b"", "bad_encoding"),
    ],
)
def test_what_arrives_damaged_leaves_nothing_behind(
    sandbox: Sandbox, encoding: str, payload: bytes, cause: str
) -> None:
    said = stage(sandbox, encoding=encoding, payload=payload)
    assert said.startswith(f"failed {cause} ")
    assert [*(sandbox.opt / "app/releases").iterdir()] == []


def test_a_full_disk_leaves_nothing_behind(sandbox: Sandbox) -> None:
    said = stage(sandbox, before="mount -t tmpfs -o size=128k tmpfs /opt")
    assert said.startswith("failed cannot_write cannot write ")
    again = stage(sandbox, before="mount -t tmpfs -o size=1m tmpfs /opt")
    assert again == "staged r1\n"


def test_a_read_only_disk_is_an_error(sandbox: Sandbox) -> None:
    said = stage(sandbox, before="mount -t tmpfs -o ro tmpfs /opt")
    assert said.startswith("failed cannot_write cannot make /opt/app/releases")


def test_what_a_run_that_died_has_left_is_in_nobodys_way(sandbox: Sandbox) -> None:
    left = sandbox.opt / "app/releases/.staging-r1"
    left.mkdir(parents=True)
    (left / "server").write_bytes(b"half")
    (left / "more").write_bytes(b"x")
    assert stage(sandbox) == "staged r1\n"
    assert sorted(path.name for path in (sandbox.opt / "app/releases/r1").iterdir()) == [
        ".env",
        "app.service",
        "release.json",
        "server",
    ]


# -- the prelude ---------------------------------------------------------------------------------------------


def prelude(sandbox: Sandbox, script: str, stdin: bytes = b"") -> str:
    return sandbox.run_text(f"{read_script('remote/prelude.sh')}\n{script}", stdin=stdin)


def test_current_is_flipped_by_rename(sandbox: Sandbox) -> None:
    for release in ("r1", "r2"):
        (sandbox.opt / "app/releases" / release).mkdir(parents=True)
    current = sandbox.opt / "app/current"
    assert prelude(sandbox, "make_current app r1; say done") == "done\n"
    assert os.readlink(current) == "releases/r1"  # noqa: PTH115  the text of the link
    (sandbox.opt / "app/.current.new").symlink_to("left/behind")
    assert prelude(sandbox, "make_current app r2; say done") == "done\n"
    assert os.readlink(current) == "releases/r2"  # noqa: PTH115  as above
    assert sorted(path.name for path in (sandbox.opt / "app").iterdir()) == ["current", "releases"]
    assert [*(sandbox.opt / "app/releases/r1").iterdir()] == []  # the link did not go into the folder


def test_a_current_that_is_no_link_is_never_replaced(sandbox: Sandbox) -> None:
    (sandbox.opt / "app/current").mkdir(parents=True)
    (sandbox.opt / "app/current/precious").write_text("x")
    said = prelude(sandbox, "make_current app r1; say done")
    assert said == "failed not_a_link /opt/app/current exists and is not a link; move it away\n"
    assert (sandbox.opt / "app/current/precious").exists()


def test_a_text_is_put_down_as_it_is_and_a_full_disk_is_an_error(sandbox: Sandbox) -> None:
    script = f"{read_script('remote/prelude.sh')}\n"
    assert sandbox.run_text(f'{script}put /opt/file "$1" && say done', TEXTS[:1]) == "done\n"
    assert (sandbox.opt / "file").read_bytes() == ENV
    full = "mount -t tmpfs -o size=4k tmpfs /opt; dd if=/dev/zero of=/opt/zero bs=4k count=1 2>/dev/null"
    said = sandbox.run_text(f'{script}put /opt/file "$1" 2>/dev/null || say failed', TEXTS[:1], before=full)
    assert said == "failed\n"


def test_a_file_is_replaced_whole(sandbox: Sandbox) -> None:
    path = sandbox.opt / "file"
    path.write_bytes(b"old")
    before = path.stat()
    assert prelude(sandbox, "put /opt/file.new new && replace /opt/file && say done") == "done\n"
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before.st_ino
    assert [path.name for path in sandbox.opt.iterdir()] == ["file"]
    assert (
        prelude(sandbox, "replace /opt/file 2>/dev/null || say failed") == "failed\n"
    )  # nothing to replace it
    assert path.read_bytes() == b"new"


def test_durable_works_with_files_folders_and_what_is_not_there(sandbox: Sandbox) -> None:
    assert prelude(sandbox, "durable /opt && durable /opt/none /opt && say done") == "done\n"


def test_a_failing_command_is_told_in_a_line_with_its_cause(sandbox: Sandbox) -> None:
    said = prelude(sandbox, 'try no_luck "cannot do it" false; say not reached')
    assert said == "failed no_luck cannot do it\n"


def test_the_time_of_the_switch_is_known_or_0(sandbox: Sandbox) -> None:
    assert prelude(sandbox, "since app") == "0\n"
    (sandbox.opt / "app").mkdir()
    (sandbox.opt / "app/current").symlink_to("releases/r1")
    changed = int((sandbox.opt / "app/current").lstat().st_mtime)
    assert prelude(sandbox, "since app") == f"{changed}\n"


# -- observe -------------------------------------------------------------------------------------------------

APP_FILES = ("/opt/app/current/server", "/opt/app/current/.env", "/etc/systemd/system/app.service")


def look(
    sandbox: Sandbox,
    *services: str,
    files: Sequence[str] = APP_FILES,
    texts: Sequence[str] = (),
    expected: str = "others",
    before: str = "",
) -> Observation:
    words = ["nothing", expected, " ".join(files), " ".join(texts), "", *services]
    return parse_observation(sandbox.run(OBSERVE, words, before=before))


def test_an_empty_host_without_an_init_system_is_seen_as_that(sandbox: Sandbox) -> None:
    seen = look(sandbox, "app")
    assert (seen.uid, seen.machine, seen.init) == (0, os.uname().machine, "none")
    assert ("zstd" in seen.tools, "gzip" in seen.tools) == (sandbox.flavour == "dash", True)
    assert set(seen.disks) == {"/opt", "/etc", "/var/lib"}
    assert all("rw" in disk.options and disk.free > 0 for disk in seen.disks.values())
    service = seen.services["app"]
    assert (service.current, service.current_is_link, service.releases) == (None, True, {})
    assert (service.at_boot, service.stopped_by_operator, service.unit) == ("no", False, None)
    assert not [path for path in seen.files if path.startswith("/opt")]


def test_a_host_that_is_asked_for_no_service(sandbox: Sandbox) -> None:
    assert look(sandbox, files=()).services == {}


def test_a_release_is_seen_with_its_digests_modes_and_owners(sandbox: Sandbox) -> None:
    stage(sandbox, "r1")
    stage(sandbox, "r2")
    (sandbox.opt / "app/current").symlink_to("releases/r2")
    (sandbox.root / "var/lib/deployer/app/unproven/r1").write_text("failed\n")
    (sandbox.root / "var/lib/deployer/app/unproven/r2").unlink()
    (sandbox.opt / "app/releases/.staging-r3").mkdir()
    (sandbox.opt / "app/releases/half").mkdir()  # without a release.json it is none
    (sandbox.root / "etc/systemd/system/app.service").write_bytes(UNIT)
    seen = look(sandbox, "app", "other", files=(*APP_FILES, "/opt/other/current/binary"), texts=APP_FILES[1:])
    service = seen.services["app"]
    assert (service.current, service.releases) == ("r2", {"r1": "failed", "r2": "good"})
    assert set(seen.services) == {"app", "other"}
    binary = seen.files["/opt/app/current/server"]
    assert (binary.mode, binary.owner) == ("755", "root")
    assert binary.digest in digests_of(BINARY)
    env = seen.files["/opt/app/current/.env"]
    assert (env.mode, env.owner, env.group) == ("640", "root", "daemon")
    assert env.holds(ENV.decode())
    assert not env.holds(UNIT.decode())
    assert seen.contents["/opt/app/current/.env"] == ENV
    assert seen.contents["/etc/systemd/system/app.service"] == UNIT
    without = look(sandbox, "app")
    assert without.contents == {}
    assert without.files == seen.files


def test_disks_are_of_interest_only_where_a_file_is_not_as_expected(sandbox: Sandbox) -> None:
    stage(sandbox, "r1")
    (sandbox.opt / "app/current").symlink_to("releases/r1")
    (sandbox.root / "var/lib/deployer/app/lock").unlink()  # of which a look shows the seconds that are left
    files = APP_FILES[:2]
    seen = look(sandbox, "app", files=files)
    assert seen.disks
    expected = "\n".join(f"{seen.files[path].digest}  {path}" for path in files)
    assert look(sandbox, "app", files=files, expected=expected) == replace(seen, disks={})
    (sandbox.opt / "app/current/.env").write_text("OTHER=1\n")
    assert look(sandbox, "app", files=files, expected=expected).disks
    (sandbox.opt / "app/current/.env").unlink()
    assert look(sandbox, "app", files=files, expected=expected).disks


def test_what_is_observed_is_sealed_as_the_lock_seals_it(sandbox: Sandbox) -> None:
    def sealed() -> str:
        return sandbox.run_text(f"{read_script('remote/prelude.sh', STATE)}\nseal app").rstrip("\n")

    assert look(sandbox, "app").services["app"].seal == sealed() == ""
    seals = {""}
    for step in ("record app deploy r1 - run1 anna ok", "make_current app r1", "make_current app r2"):
        (sandbox.opt / "app").mkdir(exist_ok=True)
        (sandbox.root / "var/lib/deployer/app").mkdir(parents=True, exist_ok=True)
        sandbox.run_text(f"{read_script('remote/prelude.sh', STATE)}\n{step}")
        seen = look(sandbox, "app").services["app"]
        assert seen.seal == sealed()
        assert seen.seal not in seals
        seals.add(seen.seal)
    assert seen.current == "r2"


def test_a_current_that_is_a_folder_is_seen(sandbox: Sandbox) -> None:
    (sandbox.opt / "app/current").mkdir(parents=True)
    service = look(sandbox, "app").services["app"]
    assert (service.current, service.current_is_link) == (None, False)


def test_what_happens_at_boot_and_what_was_stopped_is_seen(sandbox: Sandbox) -> None:
    wants = sandbox.root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "a.service").symlink_to("../a.service")
    (wants / "unless-stopped@b.service").symlink_to("../unless-stopped@.service")
    marks = sandbox.root / "var/lib/unless-stopped"
    marks.mkdir()
    (marks / "b.service").write_text("stopped\n")
    (marks / "c.service").write_text("")  # only tentative
    seen = look(sandbox, "a", "b", "c").services
    assert {name: (service.at_boot, service.stopped_by_operator) for name, service in seen.items()} == {
        "a": ("always", False),
        "b": ("unless-stopped", True),
        "c": ("no", False),
    }


@pytest.mark.parametrize("options", ["ro", "noexec", "size=64k"])
def test_a_disk_is_seen_as_it_is_mounted(sandbox: Sandbox, options: str) -> None:
    before = f"mount -t tmpfs -o {options} tmpfs /opt"
    disk = look(sandbox, "app", before=before).disks["/opt"]
    if options == "size=64k":
        assert disk.free == 64 * 1024
    else:
        assert options in disk.options


# -- commit --------------------------------------------------------------------------------------------------


def releases_on(sandbox: Sandbox, count: int, *, unproven: set[int]) -> None:
    marks = sandbox.root / "var/lib/deployer/app/unproven"
    marks.mkdir(parents=True)
    for number in range(1, count + 1):
        (sandbox.opt / f"app/releases/r{number}").mkdir(parents=True)
        if number in unproven:
            (marks / f"r{number}").write_text("failed\n")
    (sandbox.opt / "app/current").symlink_to(f"releases/r{count}")
    install_unit(sandbox, f"r{count}")


def install_unit(sandbox: Sandbox, release: str) -> None:
    (sandbox.opt / f"app/releases/{release}/app.service").write_text("[Service]\n")
    (sandbox.root / "etc/systemd/system/app.service").write_text("[Service]\n")


@pytest.mark.parametrize(
    ("unproven", "keep", "left"),
    [
        (set(), "3", ["r2", "r6", "r7"]),
        ({6, 7}, "3", ["r2", "r5", "r7"]),  # what never was good goes first; r7 is, from now on
        ({4, 5, 6}, "5", ["r1", "r2", "r3", "r6", "r7"]),
        ({1, 2, 3, 4, 5, 6, 7}, "2", ["r2", "r7"]),
    ],
)
def test_the_oldest_releases_are_deleted_but_never_one_that_is_needed(
    sandbox: Sandbox, unproven: set[int], keep: str, left: list[str]
) -> None:
    releases_on(sandbox, 7, unproven=unproven)
    assert sandbox.run(COMMIT, [*OWNER, "app", "start", "r7", "r2", "0", "0", "-", keep]) == "committed\n"
    assert sorted(path.name for path in (sandbox.opt / "app/releases").iterdir()) == left
    marks = {path.name for path in (sandbox.root / "var/lib/deployer/app/unproven").iterdir()}
    assert marks == {f"r{number}" for number in unproven - {7}} & set(left)


def test_few_releases_are_all_kept(sandbox: Sandbox) -> None:
    (sandbox.opt / "app/releases/r1").mkdir(parents=True)
    (sandbox.opt / "app/current").symlink_to("releases/r1")
    install_unit(sandbox, "r1")
    assert sandbox.run(COMMIT, [*OWNER, "app", "start", "r1", "-", "0", "0", "-", "5"]) == "committed\n"
    assert (sandbox.opt / "app/releases/r1").exists()
