"""The plan says what must change on a host and nothing else; equal hosts and desires mean no change."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from deployer import init
from deployer.desired import RestartPolicy
from deployer.errors import HostError
from deployer.observe.observation import Disk, File, Folder
from deployer.plan.plan import Encoding, ServicePlan, plan_service
from deployer.secret import Secret
from tests.made import (
    DIGEST,
    RELEASE,
    make_binary,
    make_files,
    make_observation,
    make_seen,
    make_service,
    make_unit,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from deployer.desired import Service
    from deployer.observe.observation import Observation, Proof

NOW = dt.datetime(2025, 6, 1, 12, 0, 0, tzinfo=dt.UTC)
NEW = "20250601T120000Z-0123456789ab"
BINARY = "/opt/app/current/server"
ENV = "/opt/app/current/.env"
UNIT = init.unit_path("app")
HELPER = next(iter(init.helper_files()))


def plan(observation: Observation, service: Service | None = None) -> ServicePlan:
    return plan_service(service or make_service(), observation, now=NOW)


def kinds(found: ServicePlan) -> list[str]:
    return [change.kind for change in found.changes]


def but(files: Mapping[str, File | None]) -> dict[str, File]:
    """The files of a deployed host, some replaced, or gone."""
    merged: dict[str, File | None] = {**make_files(make_service()), **files}
    return {path: file for path, file in merged.items() if file is not None}


def test_a_host_that_is_as_desired_needs_nothing() -> None:
    found = plan(make_observation())
    assert not found.changed
    assert (found.stage, found.start, found.release) == (False, False, RELEASE)


def test_a_first_release_brings_everything_and_has_nothing_to_go_back_to() -> None:
    nothing = make_seen(current=None, releases={}, at_boot="no", unit=make_unit(known=False, source=""))
    found = plan(make_observation(nothing, files={}))
    assert kinds(found) == ["release"]
    assert (found.stage, found.start, found.release, found.previous) == (True, True, NEW, None)


@pytest.mark.parametrize(
    ("files", "kind", "detail"),
    [
        ({BINARY: File(digest="f" * 128, mode="755")}, "binary", "the binary is not what was deployed"),
        ({BINARY: None}, "binary", f"binary none -> {DIGEST[:12]}"),
        ({BINARY: File(digest=DIGEST, mode="777")}, "binary", "mode of the binary 777 -> 755"),
        ({ENV: File(digest="f" * 64, mode="640", owner="root")}, "env", "environment"),
        ({ENV: None}, "env", "environment"),
        ({UNIT: File(digest="f" * 64)}, "unit", "unit"),
        ({UNIT: None}, "unit", "unit"),
    ],
)
def test_what_differs_needs_a_new_release(files: dict[str, File | None], kind: str, detail: str) -> None:
    found = plan(make_observation(files=but(files)))
    assert [(change.kind, change.detail) for change in found.changes] == [(kind, detail)]
    assert (found.stage, found.start, found.release, found.previous) == (True, True, NEW, RELEASE)


@pytest.mark.parametrize(
    ("mode", "owner", "group"),
    [
        *(("644", "root", "app"), ("640", "app", "app"), ("600", "root", "app")),
        *(("640", "root", "users"), ("640", "root", "deployer-other"), ("640", "root", "root")),
    ],
)
def test_an_env_file_that_others_can_read_or_write_is_made_anew(mode: str, owner: str, group: str) -> None:
    right = make_files(make_service())[ENV]
    found = plan(make_observation(files=but({ENV: replace(right, mode=mode, owner=owner, group=group)})))
    wanted = f"mode of .env {mode} {owner}:{group} -> 640 root:app"
    assert [change.detail for change in found.changes] == [wanted]
    assert found.stage


@pytest.mark.parametrize("group", ["app", "deployer-app"])
def test_the_group_of_an_env_file_is_the_services_own(group: str) -> None:
    right = make_files(make_service())[ENV]
    assert plan(make_observation(files=but({ENV: replace(right, group=group)}))).changes == ()


def test_a_change_of_the_environment_names_no_value() -> None:
    service = make_service(environment=(("TOKEN", Secret("another")),))
    found = plan(make_observation(), service)
    assert kinds(found) == ["env"]
    assert "another" not in repr(found)
    assert "another" not in str(found.changes)


@pytest.mark.parametrize(
    "changed",
    [
        {"user": "other"},
        {"command": ("serve",)},
        {"stop_grace_period": 20.0},
        {"restart": RestartPolicy(name="always")},
        {"ports": (80,)},
    ],
)
def test_what_stands_in_the_unit_changes_the_unit(changed: dict[str, Any]) -> None:
    assert "unit" in kinds(plan(make_observation(), make_service(**changed)))


@pytest.mark.parametrize("changed", [{"keep_releases": 9}, {"ports": (8080,)}])
def test_what_stands_in_no_file_of_the_release_changes_nothing(changed: dict[str, Any]) -> None:
    assert not plan(make_observation(), make_service(**changed)).changed


def test_another_name_of_the_binary_needs_a_new_release() -> None:
    service = make_service(binary=make_binary(name="server2"))
    found = plan(make_observation(), service)
    assert kinds(found) == ["binary", "unit"]


@pytest.mark.parametrize(
    ("seen", "kind", "detail", "start"),
    [
        (make_seen(unit=make_unit(active="inactive", main_pid=0)), "start", "it is inactive", True),
        (make_seen(unit=make_unit(active="failed", main_pid=0)), "start", "it is failed", True),
        (make_seen(at_boot="no"), "boot", "start at boot: no -> unless-stopped", False),
        (make_seen(at_boot="always"), "boot", "start at boot: always -> unless-stopped", False),
        (make_seen(unit=make_unit(stale=True)), "boot", "read the unit again, it changed on disk", False),
    ],
)
def test_a_release_that_is_there_is_installed_or_started_again_without_an_upload(
    seen: Any, kind: str, detail: str, *, start: bool
) -> None:
    found = plan(make_observation(seen))
    assert [(change.kind, change.detail) for change in found.changes] == [(kind, detail)]
    assert (found.stage, found.release, found.previous) == (False, RELEASE, None)
    assert found.start is start


@pytest.mark.parametrize("active", ["active", "activating", "deactivating", "reloading"])
def test_a_service_that_is_up_or_on_its_way_is_not_started_again(active: str) -> None:
    assert not plan(make_observation(make_seen(unit=make_unit(active=active)))).changed


@pytest.mark.parametrize("file", [None, File(digest="f" * 64)])
def test_a_helper_that_differs_is_installed_and_restarts_nothing(file: File | None) -> None:
    found = plan(make_observation(files=but({HELPER: file})))
    assert [change.detail for change in found.changes] == [f"install {HELPER}"]
    assert (found.stage, found.start, found.release) == (False, False, RELEASE)


def test_a_service_that_its_operator_stopped_is_not_started() -> None:
    stopped = make_seen(stopped_by_operator=True, unit=make_unit(active="inactive", main_pid=0))
    as_desired = plan(make_observation(stopped))
    assert not as_desired.changed
    assert as_desired.stopped_by_operator
    changed = plan(make_observation(stopped, files=but({ENV: None})))
    assert kinds(changed) == ["env"]
    assert (changed.stage, changed.start, changed.stopped_by_operator) == (True, False, True)


def test_a_release_that_is_bad_is_replaced_and_never_gone_back_to() -> None:
    found = plan(make_observation(make_seen(releases={RELEASE: "failed"})))
    assert [change.detail for change in found.changes] == [f"{RELEASE} is not a good release"]
    assert (found.stage, found.release, found.previous) == (True, NEW, None)


def test_a_current_that_leads_nowhere_is_replaced() -> None:
    found = plan(make_observation(make_seen(current="gone", releases={RELEASE: "good"})))
    assert [change.detail for change in found.changes] == ["gone is not a good release"]
    assert found.previous is None


def test_a_release_of_the_same_second_gets_a_name_of_its_own() -> None:
    seen = make_seen(current=NEW, releases={NEW: "good"})
    found = plan(make_observation(seen, files=but({ENV: None})))
    assert found.release == "20250601T120001Z-0123456789ab"
    assert found.previous == NEW


# -- how the binary travels -------------------------------------------------------------------------------

OTHER = File(digest="f" * 64, mode="755", owner="root")
OLD = "20240101T000000Z-0123456789ab"


CURRENT = f"20250101T000000Z-{'f' * 12}"
"""A release with the binary OTHER."""
ALIEN = "a" * 64
ELDER, ELDEST = (f"2024010{day}T000000Z-{ALIEN[:12]}" for day in (2, 1))
ZSTD, GZIP, PLAIN = (Encoding(kind=kind) for kind in ("zstd", "gzip", "plain"))


def link(release: str) -> Encoding:
    return Encoding(kind="link", release=release)


def patch(release: str, reference: str) -> Encoding:
    return Encoding(kind="patch", release=release, reference=reference)


@pytest.mark.parametrize(
    ("releases", "binary", "tools", "references", "expected"),
    [
        # Whole, as the host can take it.
        ({}, OTHER, {"zstd", "gzip"}, (), [ZSTD]),
        ({}, OTHER, {"gzip", "curl"}, (), [GZIP]),
        ({}, OTHER, set(), (), [PLAIN]),
        # The same binary is there already, in a release of whatever fate: the newest, and should that be
        # damaged, whole.
        ({OLD: "good", "20230101T000000Z-0123456789ab": "good"}, OTHER, {"zstd"}, (), [link(OLD), ZSTD]),
        ({OLD: "failed"}, OTHER, {"gzip"}, (), [link(OLD), GZIP]),
        ({OLD: "staged"}, OTHER, {"zstd"}, [OTHER.digest], [link(OLD), ZSTD]),
        ({}, File(digest=DIGEST, mode="755"), {"zstd"}, [OTHER.digest], [link(CURRENT), ZSTD]),
        # A patch against what the host has and the controller as well: the current one first.
        ({}, OTHER, {"zstd"}, [ALIEN, OTHER.digest], [patch(CURRENT, OTHER.digest), ZSTD]),
        ({ELDER: "good"}, OTHER, {"zstd"}, [ALIEN, OTHER.digest], [patch(CURRENT, OTHER.digest), ZSTD]),
        ({ELDER: "failed", ELDEST: "good"}, OTHER, {"zstd"}, [ALIEN], [patch(ELDER, ALIEN), ZSTD]),
        # The name of a release is believed where the file has another one.
        ({}, None, {"zstd"}, [OTHER.digest], [patch(CURRENT, OTHER.digest), ZSTD]),
        ({}, OTHER, {"gzip"}, [OTHER.digest], [GZIP]),
        ({}, OTHER, {"zstd"}, ["b" * 64], [ZSTD]),
        ({"by-hand": "good", "by-": "good"}, OTHER, {"zstd"}, ["b" * 64], [ZSTD]),
    ],
)
def test_a_binary_travels_as_small_as_the_host_can_take_it(
    releases: dict[str, Proof],
    binary: File | None,
    tools: set[str],
    references: Collection[str],
    expected: list[Encoding],
) -> None:
    seen = make_seen(current=CURRENT, releases={CURRENT: "good", **releases})
    observation = make_observation(
        seen, files=but({BINARY: binary, ENV: None}), tools=frozenset({"flock", *tools})
    )
    found = plan_service(make_service(), observation, now=NOW, references=references)
    wholes = [way for way in (ZSTD, GZIP, PLAIN) if way.kind in {*tools, "plain"}]
    dearer = wholes[wholes.index(expected[-1]) + 1 :]  # for a tool there that does not work
    assert list(found.encodings) == [*expected, *dearer]


def test_a_changed_environment_sends_no_binary() -> None:
    found = plan(make_observation(files=but({ENV: None})))
    assert (found.stage, found.encodings) == (True, (link(RELEASE), ZSTD, GZIP, PLAIN))


# -- hosts that cannot run it -----------------------------------------------------------------------------


def disk(*options: str, free: int = 10**10) -> Disk:
    return Disk(free=free, options=frozenset(options))


CHANGED = but({ENV: None})
ANOTHER = File(digest="f" * 128, mode="755", owner="root", group="root")


@pytest.mark.parametrize(
    ("machine", "binary", "runs"),
    [
        ("x86_64", "x86_64", True),
        ("x86_64", "i686", True),
        ("i686", "x86_64", False),
        ("aarch64", "armv7l", True),
        ("armv7l", "aarch64", False),
        ("aarch64", "x86_64", False),
        ("riscv64", None, True),  # a script
    ],
)
def test_a_binary_for_another_machine_is_refused(machine: str, binary: str | None, *, runs: bool) -> None:
    service = make_service(binary=make_binary(machine=binary))
    observation = make_observation(machine=machine, files=CHANGED)
    if runs:
        assert plan(observation, service).changed
        return
    with pytest.raises(HostError) as caught:
        plan(observation, service)
    assert caught.value.cause == "wrong_machine"
    assert caught.value.message == f"server is built for {binary}, and the host is {machine}"


@pytest.mark.parametrize(
    ("disks", "cause", "message"),
    [
        ({"/opt": disk("ro")}, "read_only", "the file system of /opt is mounted read-only"),
        ({"/etc": disk("ro", "nosuid")}, "read_only", "the file system of /etc is mounted read-only"),
        ({"/var/lib": disk("ro")}, "read_only", "the file system of /var/lib is mounted read-only"),
        (
            {"/opt": disk("rw", "noexec")},
            "noexec",
            "the file system of /opt is mounted noexec, so nothing there can run",
        ),
        (
            {"/opt": disk("rw", free=11_000_000)},
            "disk_full",
            "no space: /opt has 10742 KiB free, 10789 KiB are needed",
        ),
        (
            {"/var/lib": disk("rw", free=0)},
            "disk_full",
            "no space: /var/lib has 0 KiB free, 1024 KiB are needed",
        ),
    ],
)
def test_a_host_that_cannot_take_it_is_refused_before_anything_is_sent(
    disks: dict[str, Disk], cause: str, message: str
) -> None:
    with pytest.raises(HostError) as caught:
        plan(make_observation(files=but({BINARY: ANOTHER}), disks=disks))
    assert (caught.value.cause, caught.value.message) == (cause, message)


@pytest.mark.parametrize(
    "disks",
    [
        {"/etc": disk("rw", "noexec")},
        {"/opt": disk("rw", "relatime", "errors=remount-ro")},
        {"/opt": disk("rw", free=10_000_000 + 1024 * 1024)},
        {},  # df said nothing
    ],
)
def test_a_host_that_can_take_it_is_not_refused(disks: dict[str, Disk]) -> None:
    assert plan(make_observation(files=but({BINARY: ANOTHER}), disks=disks)).changed


def test_a_binary_that_is_there_needs_no_space() -> None:
    full = {"/opt": disk("rw", free=2 * 1024 * 1024)}
    assert plan(make_observation(files=CHANGED, disks=full)).encodings[0].kind == "link"


def test_space_that_the_upload_itself_will_free_is_no_reason_to_refuse() -> None:
    full = {"/opt": disk("rw", free=2 * 1024 * 1024)}
    seen = make_seen(leftover=True)
    assert plan(make_observation(seen, files=but({BINARY: ANOTHER}), disks=full)).stage


@pytest.mark.parametrize("changed", [{"mode": "600"}, {"mode": "775"}, {"owner": "app"}])
@pytest.mark.parametrize("path", init.helper_files())
def test_a_helper_that_is_not_roots_alone_or_cannot_be_executed_is_installed_anew(
    path: str, changed: dict[str, str]
) -> None:
    right = make_files(make_service())[path]
    found = plan(make_observation(files=but({path: replace(right, **changed)})))
    assert [change.detail for change in found.changes] == [f"install {path}"]


@pytest.mark.parametrize(
    ("mode", "owner", "refused"),
    [
        *(("755", "root", False), ("1777", "root", False), ("2755", "root", False)),
        *(("777", "root", True), ("775", "root", True), ("755", "admin", True), ("1777", "admin", True)),
    ],
)
def test_an_opt_in_which_others_can_put_a_folder_in_the_place_of_ours_is_refused(
    mode: str,
    owner: str,
    refused: bool,  # noqa: FBT001
) -> None:
    seen = make_seen(folders={"/opt/.": Folder(mode=mode, owner=owner, link=False)})
    if not refused:
        assert not plan(make_observation(seen)).changed
        return
    with pytest.raises(HostError, match="others can change what root runs") as caught:
        plan(make_observation(seen))
    assert (caught.value.cause, caught.value.hint) == ("not_roots", "chown root:root /opt && chmod go-w /opt")


def test_a_start_needs_no_space_for_the_binary_and_no_change_needs_none_at_all() -> None:
    full = {"/opt": disk("rw", free=2 * 1024 * 1024)}
    down = make_seen(unit=make_unit(active="inactive"))
    assert kinds(plan(make_observation(down, disks=full))) == ["start"]
    assert not plan(make_observation(disks={"/opt": disk("ro", "noexec", free=0)}, machine="s390x")).changed


NOTHING = make_unit(known=False, source="", active="inactive", main_pid=0)


@pytest.mark.parametrize(
    ("seen", "files", "message"),
    [
        (
            make_seen(current=None, current_is_link=False, releases={}, unit=NOTHING),
            {},
            "/opt/app/current is no link to one of its releases, so it was not made by deployer",
        ),
        (
            make_seen(current=None, releases={}, unit=make_unit(source="/lib/systemd/system/app.service")),
            {},
            "app is a unit of the system there (/lib/systemd/system/app.service)",
        ),
        (
            make_seen(current=None, releases={}, unit=make_unit()),
            {UNIT: File(digest="f" * 64)},
            f"{UNIT} exists and was not written by deployer",
        ),
    ],
)
def test_what_is_not_ours_is_never_touched(seen: Any, files: dict[str, File], message: str) -> None:
    with pytest.raises(HostError) as caught:
        plan(make_observation(seen, files=files))
    assert (caught.value.cause, caught.value.message) == ("not_ours", message)
    assert caught.value.hint


def test_no_path_or_name_comes_from_the_environment() -> None:
    found = plan(make_observation(files=CHANGED))
    words = [
        found.release,
        *map(str, found.encodings),
        found.files.unit,
        *(change.detail for change in found.changes),
    ]
    assert not any("hunter2" in word for word in words)
    assert PurePosixPath(found.release).name == found.release
