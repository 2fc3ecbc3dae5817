"""A host that is between two releases is called broken, whichever of its parts is the odd one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.faults.__main__ import settings
from tests.faults.fault import Kind, parse_fault
from tests.faults.judge import (
    HARMLESS,
    Version,
    Words,
    is_judged,
    judge_at_rest,
    judge_blame,
    judge_process,
    judge_stopped,
    judge_unchanged,
    judge_whole,
    judge_words,
    wanted_codes,
)
from tests.faults.stand import GOOD, SERVICE, Stand, build_versions
from tests.faults.state import State
from tests.sample import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.lab import Lab

OLD = Version(version="1.0.0", binary="b1", env="e1", unit="u1", variables="v1")
NEW = Version(version="2.0.0", binary="b2", env="e2", unit="u2", variables="v2")

WHOLE = State(
    folder="/opt/faulty",
    current="releases/20260101T000000Z-1",
    release_binary="b1",
    release_env="e1",
    release_unit="u1",
    installed_unit="u1",
    active="active/running",
    pid="77",
    need_reload="no",
    process_binary="b1",
    process_file="/opt/faulty/releases/20260101T000000Z-1/gin-api-template",
    process_folder="/opt/faulty/releases/20260101T000000Z-1",
    process_variables="v1",
    process_version="1.0.0",
    at_boot="yes",
)

BROKEN = {
    "another binary on disk": {"release_binary": "b2"},
    "no binary on disk": {"release_binary": ""},
    "another .env on disk": {"release_env": "e2"},
    "another unit in the release": {"release_unit": "u2"},
    "another unit installed": {"installed_unit": "u2"},
    "no unit installed": {"installed_unit": ""},
    "another binary runs": {"process_binary": "b2"},
    "another environment": {"process_version": "2.0.0"},
    "another value in the environment": {"process_variables": "v2"},
    "another release runs": {"process_file": "/opt/faulty/releases/20260102T000000Z-2/gin-api-template"},
    "a deleted binary runs": {
        "process_file": "/opt/faulty/releases/20260101T000000Z-1/gin-api-template (deleted)",
        "process_folder": "/opt/faulty/releases/20260101T000000Z-1 (deleted)",
    },
    "current is another release": {"current": "releases/20260102T000000Z-2"},
    "no current": {"current": ""},
    "not running": {"active": "activating/auto-restart"},
    "unit not loaded": {"need_reload": "yes"},
    "not at boot": {"at_boot": ""},
    "stopped": {"stopped_by_operator": "stopped"},
    "perhaps stopped": {"stopped_by_operator": "perhaps"},
}

STOPPED = replace(
    WHOLE,
    active="inactive/dead",
    pid="0",
    process_binary="",
    process_file="",
    process_folder="",
    process_variables="",
    process_version="",
    stopped_by_operator="stopped",
)

NOT_STOPPED = {
    "it runs": {"active": "active/running"},
    "it starts again and again": {"active": "activating/auto-restart"},
    "a boot would start it": {"stopped_by_operator": ""},
    "its start would bring another unit": {"installed_unit": "u2"},
    "its start would bring another binary": {"release_binary": "b2"},
    "another release is current": {"release_env": "e3"},
    "its mark would be all that keeps it": {"at_boot": ""},
    "no unit": {"installed_unit": ""},
}

NEW_WHOLE = replace(
    WHOLE,
    current="releases/20260102T000000Z-2",
    release_binary="b2",
    release_env="e2",
    release_unit="u2",
    installed_unit="u2",
    process_binary="b2",
    process_file="/opt/faulty/releases/20260102T000000Z-2/gin-api-template",
    process_folder="/opt/faulty/releases/20260102T000000Z-2",
    process_variables="v2",
    process_version="2.0.0",
)
NEW_STOPPED = replace(
    NEW_WHOLE,
    active="inactive/dead",
    pid="0",
    process_binary="",
    process_file="",
    process_folder="",
    process_variables="",
    process_version="",
    stopped_by_operator="stopped",
)

# What a run may say of a host, and what the host then answers.
TRUE = {
    "changed": (Words(code=0, outcome="changed"), NEW_WHOLE, "2.0.0"),
    "unchanged": (Words(code=0, outcome="unchanged"), NEW_WHOLE, "2.0.0"),
    "reverted": (Words(code=1, outcome="reverted", cause="unhealthy"), WHOLE, "1.0.0"),
    "reverted and stopped": (Words(code=1, outcome="reverted", cause="operator_stopped"), STOPPED, ""),
    "operator-stopped": (Words(code=0, outcome="operator_stopped"), NEW_STOPPED, ""),
    "failed": (Words(code=1, outcome="failed", cause="no_space"), WHOLE, "1.0.0"),
    "unreachable": (Words(code=3, outcome="unreachable"), WHOLE, "1.0.0"),
    "needs a person": (Words(code=4, outcome="failed"), STOPPED, ""),
    "was killed": (Words(code=-9), STOPPED, ""),
    "was interrupted": (Words(code=130), WHOLE, "1.0.0"),
}
LIES = {
    "changed, and the old one answers": (Words(code=0, outcome="changed"), WHOLE, "1.0.0"),
    "changed, and nothing answers": (Words(code=0, outcome="changed"), NEW_STOPPED, ""),
    "changed, and the files are others": (
        Words(code=0, outcome="changed"),
        replace(NEW_WHOLE, installed_unit="u1"),
        "2.0.0",
    ),
    "unchanged, and another release runs": (
        Words(code=0, outcome="unchanged"),
        replace(NEW_WHOLE, process_file="/opt/faulty/releases/20260101T000000Z-1/gin-api-template"),
        "2.0.0",
    ),
    "reverted, and the new one answers": (Words(code=1, outcome="reverted"), NEW_WHOLE, "2.0.0"),
    "reverted, and it is stopped": (Words(code=1, outcome="reverted", cause="unhealthy"), STOPPED, ""),
    "stopped, and it runs": (Words(code=1, outcome="reverted", cause="operator_stopped"), WHOLE, "1.0.0"),
    "operator-stopped, and it runs": (Words(code=0, outcome="operator_stopped"), NEW_WHOLE, "2.0.0"),
    "operator-stopped, and a boot starts it": (
        Words(code=0, outcome="operator_stopped"),
        replace(NEW_STOPPED, stopped_by_operator=""),
        "",
    ),
    "operator-stopped, and the old one is in place": (
        Words(code=0, outcome="operator_stopped"),
        STOPPED,
        "",
    ),
    "failed, and the new one answers": (Words(code=1, outcome="failed"), NEW_WHOLE, "2.0.0"),
    "unreachable, and nothing answers": (Words(code=3, outcome="unreachable"), STOPPED, ""),
    "success without a word": (Words(code=0), WHOLE, "1.0.0"),
    "failure without a word": (Words(code=1), NEW_WHOLE, "2.0.0"),
}


def test_a_whole_host_is_not_broken() -> None:
    assert judge_whole(WHOLE, "1.0.0", (OLD, NEW)) == ()


@pytest.mark.parametrize("odd", BROKEN)
def test_one_odd_part_is_enough(odd: str) -> None:
    assert len(judge_whole(replace(WHOLE, **BROKEN[odd]), "1.0.0", (OLD, NEW))) >= 1


def test_a_version_that_may_not_serve_is_not_good_enough() -> None:
    assert judge_whole(WHOLE, "1.0.0", (NEW,))
    assert judge_process(WHOLE, "1.0.0", (NEW,))
    assert judge_whole(WHOLE, "", (OLD, NEW))


def test_a_service_that_its_operator_stopped_is_ready_for_its_start() -> None:
    assert judge_stopped(STOPPED, "", (OLD, NEW)) == ()
    assert judge_stopped(NEW_STOPPED, "", (OLD, NEW)) == ()
    assert judge_stopped(NEW_STOPPED, "", (OLD,))
    assert judge_stopped(STOPPED, "1.0.0", (OLD, NEW))
    assert judge_whole(STOPPED, "", (OLD, NEW))


@pytest.mark.parametrize("odd", NOT_STOPPED)
def test_a_service_that_its_operator_stopped_has_no_odd_part(odd: str) -> None:
    assert len(judge_stopped(replace(STOPPED, **NOT_STOPPED[odd]), "", (OLD, NEW))) >= 1


@pytest.mark.parametrize("case", TRUE)
def test_the_truth_is_no_lie(case: str) -> None:
    words, state, answer = TRUE[case]
    assert judge_words(words, state, answer, old=OLD, new=NEW) == ()


@pytest.mark.parametrize("case", LIES)
def test_a_run_that_says_what_is_not_so_lies(case: str) -> None:
    words, state, answer = LIES[case]
    found = judge_words(words, state, answer, old=OLD, new=NEW)
    assert found
    assert all(str(words) in each for each in found)


def test_a_run_that_blames_a_whole_host_is_told_and_one_that_did_nothing_there_lies() -> None:
    blames = Words(code=4, outcome="failed", message="left in the middle")
    assert judge_blame(blames, STOPPED, WHOLE, ("nothing answers",)) == ("", False)
    assert judge_blame(Words(code=1, outcome="failed"), WHOLE, WHOLE, ()) == ("", False)
    said, lies = judge_blame(blames, replace(WHOLE, pid="78"), WHOLE, ())
    assert ("whole" in said, lies) == (True, False)
    said, lies = judge_blame(blames, WHOLE, WHOLE, ())
    assert ("untouched" in said, lies) == (True, True)


def test_a_run_that_finds_nothing_to_change_overlooks_nothing() -> None:
    assert judge_unchanged("changed", ("the unit is missing",)) == ()
    assert judge_unchanged("unchanged", ()) == ()
    assert judge_unchanged("unchanged", ("the unit is missing",)) == (
        "the next run said unchanged, but the unit is missing",
    )


@pytest.mark.parametrize(
    ("fault", "outcome", "judged"),
    [
        ("none@0.5/debian12", "changed", True),
        ("operator-mask@commit.before/debian12", "changed", True),  # its last look must have seen it
        ("operator-mask@commit.closed/debian12", "changed", False),  # it was true then
        ("operator-mask@commit.closed/debian12", "failed", True),
        ("operator-mask@0.5/debian12", "changed", False),  # who knows
        ("operator-stop@switch.flipped/debian12", "changed", True),
        ("operator-stop@commit.after/debian12", "changed", False),
        ("operator-stop@own-revert.begun/debian12", "changed", False),
        ("operator-start@switch.before/debian12", "changed", True),
        ("operator-start@commit.after/debian12", "operator_stopped", False),
        ("operator-wipe@0.05/debian12+bad", "failed", False),  # with what it could have gone back to
        ("operator-wipe@0.05/debian12", "failed", True),
        ("two-controllers@0.5/debian12", "changed", True),
        ("two-controllers@0.5/debian12", "reverted", False),
    ],
)
def test_what_a_run_says_is_held_against_what_is_seen_if_nothing_came_between(
    fault: str, outcome: str, *, judged: bool
) -> None:
    assert is_judged(parse_fault(fault), outcome) is judged


@pytest.mark.parametrize("kind", sorted(HARMLESS - {Kind.FLAPPING}))
def test_what_is_harmless_costs_no_release(kind: Kind) -> None:
    assert wanted_codes(parse_fault(f"{kind}@0.5/debian12"), first=True) == {0}


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        ("none@0.5/debian12+bad", {1}),
        ("flapping@0.5/debian12+bad", {1}),
        ("two-controllers@0.5/debian12", {0, 5}),
        ("power-cut@0.5/debian12", set()),
        ("lock-holder@0.5/debian12+alone", set()),  # dead
        ("none@own-revert.begun/debian12", set()),
    ],
)
def test_what_must_disturb_no_run_does_not(fault: str, codes: set[int]) -> None:
    assert wanted_codes(parse_fault(fault), first=True) == codes


def test_a_disk_that_takes_no_change_may_be_between_but_the_process_may_not() -> None:
    between = replace(WHOLE, current="releases/20260102T000000Z-2", installed_unit="u2")
    assert judge_process(between, "1.0.0", (OLD, NEW)) == ()
    assert judge_process(replace(between, process_version="2.0.0"), "1.0.0", (OLD, NEW))
    assert judge_process(replace(between, process_binary="b2"), "1.0.0", (OLD, NEW))


def test_what_a_run_leaves_behind_is_named() -> None:
    assert judge_at_rest(WHOLE) == ()
    left = replace(WHOLE, lock="run=1 by=a", lock_left="3", transaction="run=1", litter="/opt/a/.staging-1")
    assert len(judge_at_rest(left)) == 3


def test_a_lock_is_free_when_its_lease_is_over_but_a_run_that_ended_leaves_none() -> None:
    left = replace(WHOLE, lock="run=1 by=a", lock_left="-1")
    assert judge_at_rest(left, ended=["2"]) == ()
    assert judge_at_rest(left, ended=["1"])
    assert judge_at_rest(replace(left, lock_left="1"), ended=["2"])


# -- on a real host, broken by hand --------------------------------------------------------------------


@pytest.fixture(scope="module")
def stand(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    shared = settings(tmp_path_factory.mktemp("judge"))
    build_versions(shared)
    made = Stand(lab, lab.hosts[1], shared)
    made.deploy(GOOD[0])
    yield made
    made.reset()
    made.relay.close()


# What somebody does by hand, and a word of what must be found.  $1 is the service, $2 its binary.
BY_HAND = {
    "flipped, not restarted": ('ln -sfn "$other" "/opt/$1/current"', "the process stands in"),
    "restarted under the other unit": (
        'ln -sfn "$other" "/opt/$1/current"; systemctl restart "$1"',
        "the installed unit is not its own",
    ),
    "damaged binary": (
        'cd "/opt/$1/current" && cp "$2" x && echo >>x && mv x "$2"',
        "but the binary in releases/",
    ),
    "damaged binary, running": (
        'cd "/opt/$1/current" && cp "$2" x && echo >>x && mv x "$2" && systemctl restart "$1"',
        "the process runs another binary",
    ),
    "another .env": ('echo A=1 >>"/opt/$1/current/.env"', "the .env in releases/"),
    "another value": (
        "cd /opt/$1/current; cp .env x; sed s/release/debug/ x >.env; systemctl restart $1; cat x >.env",
        "the environment of the process is not that of",
    ),
    "folder deleted": ('rm -rf "/opt/$1"', "is missing"),
    "folder moved": (
        'mv "/opt/$1" "/opt/$1-away" && cp -a "/opt/$1-away" "/opt/$1"',
        "the process stands in",
    ),
    "no unit": ('rm "/etc/systemd/system/$1.service"; systemctl daemon-reload', "installed unit is missing"),
    "unit not loaded": (
        'sleep 1; touch "/etc/systemd/system/$1.service"',
        "systemd has not loaded the unit",
    ),
    "stopped": ('systemctl stop "$1"', "/health says nothing good"),
    "not at boot": ('rm /etc/systemd/system/multi-user.target.wants/*"$1".service', "nothing would start it"),
}


@pytest.mark.hosts
def test_a_deployed_host_is_whole(stand: Stand) -> None:
    stand.reset()
    for version in GOOD[:2]:
        stand.deploy(version)
        state = stand.look()
        assert judge_whole(state, stand.answer(), stand.versions(version)) == (), state
        assert judge_at_rest(state) == (), state
        assert judge_whole(state, stand.answer(), stand.versions(GOOD[2]))


@pytest.mark.hosts
def test_a_stopped_host_is_recognised(stand: Stand) -> None:
    stand.reset()
    stand.deploy(GOOD[0])
    versions = stand.versions(GOOD[0])
    assert judge_stopped(stand.look(), stand.answer(), versions)
    stand.host.nsenter(["systemctl", "stop", SERVICE])
    assert judge_stopped(stand.look(), stand.answer(), versions) == ()
    stand.host.nsenter(["rm", f"/var/lib/unless-stopped/{SERVICE}.service"])
    assert judge_stopped(stand.look(), stand.answer(), versions) != ()


@pytest.mark.hosts
@pytest.mark.parametrize("case", BY_HAND)
def test_a_mixed_host_is_recognised(stand: Stand, case: str) -> None:
    script, wanted = BY_HAND[case]
    stand.reset()
    for version in GOOD[:2]:
        stand.deploy(version)
    other = 'other=releases/$(ls "/opt/$1/releases" | head -n 1); '
    stand.host.nsenter(["sh", "-euc", other + script, "sh", SERVICE, BINARY])
    time.sleep(0.5)  # a restarted service listens by now
    found = judge_whole(stand.look(), stand.answer(), stand.versions(*GOOD[:2]))
    assert [each for each in found if wanted in each], found
