"""A rollback goes to a release that was good on that host; and only --start starts what was stopped."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployer.errors import HostError
from deployer.observe.observation import Disk, ServiceObservation
from deployer.plan.plan import ServicePlan, plan_return, plan_rollback, plan_service
from tests.made import make_binary, make_observation, make_seen, make_service, make_unit

if TYPE_CHECKING:
    from deployer.observe.observation import Proof

HINT = "deployer releases lists what the host has"
GOOD: dict[str, Proof] = {"1": "good", "2": "good", "3": "good", "4": "good"}
STOPPED: dict[str, Any] = {"stopped_by_operator": True, "unit": make_unit(active="inactive", main_pid=0)}


def seen(current: str | None = "3", **parts: Any) -> ServiceObservation:
    """A service with four good releases, the third of which is current."""
    return make_seen(**{"current": current, "releases": GOOD} | parts)


def back(found: ServiceObservation, *, to: str | None = None, start: bool = False) -> ServicePlan:
    return plan_rollback(make_service(), make_observation(found), to=to, start=start)


# -- which release -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["1", "2", "4"])
def test_it_goes_to_the_one_that_was_current_before_whatever_its_name(before: str) -> None:
    plan = back(seen(before=before))
    assert (plan.kind, plan.release, plan.previous) == ("rollback", before, "3")
    assert [(change.kind, change.detail) for change in plan.changes] == [("rollback", f"3 -> {before}")]
    assert (plan.changed, plan.stage, plan.start) == (True, False, True)


@pytest.mark.parametrize(
    "parts",
    [
        {"before": None},  # no ledger
        {"before": "-"},  # it was the first one
        {"before": "0"},  # deleted since
        {"before": "4", "releases": GOOD | {"4": "failed"}},
        {"before": "4", "releases": GOOD | {"4": "staged"}},
    ],
)
def test_without_that_one_it_goes_to_the_newest_good_one_that_is_older(parts: dict[str, Any]) -> None:
    assert back(seen(**parts)).release == "2"


@pytest.mark.parametrize("proof", ["failed", "staged"])
def test_it_never_goes_to_one_that_was_not_proven_good(proof: Proof) -> None:
    assert back(seen(before="2", releases=GOOD | {"2": proof})).release == "1"


@pytest.mark.parametrize(
    "parts",
    [
        {"current": "1"},
        {"current": None},
        {"releases": {"1": "failed", "2": "staged", "3": "good", "4": "good"}},
        {"releases": {"3": "good"}, "before": "2"},
    ],
)
def test_without_any_it_is_an_error(parts: dict[str, Any]) -> None:
    with pytest.raises(HostError, match="there is no earlier good release on this host") as caught:
        back(seen(**parts))
    assert (caught.value.cause, caught.value.hint) == ("no_release", HINT)


@pytest.mark.parametrize("to", ["1", "4"])
def test_it_goes_where_it_is_told_to(to: str) -> None:
    plan = back(seen(before="2"), to=to)
    assert (plan.release, plan.previous, plan.changed) == (to, "3", True)


def test_it_can_go_to_a_release_when_none_is_current() -> None:
    plan = back(seen(current=None), to="2")
    assert (plan.release, plan.previous) == ("2", None)
    assert plan.changes[0].detail == "none -> 2"


@pytest.mark.parametrize(
    ("to", "cause", "message"),
    [
        ("9", "no_release", "the release 9 is not on this host"),
        ("1", "bad_release", "the release 1 failed on this host"),
        ("2", "bad_release", "the release 2 was never committed here"),
    ],
)
def test_it_refuses_to_go_to_what_is_not_good(to: str, cause: str, message: str) -> None:
    with pytest.raises(HostError) as caught:
        back(seen(releases=GOOD | {"1": "failed", "2": "staged"}), to=to)
    assert (caught.value.cause, caught.value.message, caught.value.hint) == (cause, message, HINT)


def test_where_it_is_already_there_is_nothing_to_do() -> None:
    plan = back(seen(), to="3")
    assert (plan.changed, plan.stage, plan.previous) == (False, False, None)


@pytest.mark.parametrize("proof", ["failed", "staged"])
def test_if_it_fails_it_does_not_return_to_one_that_was_not_good(proof: Proof) -> None:
    assert back(seen(before="2", releases=GOOD | {"3": proof})).previous is None


# -- services that their operator stopped --------------------------------------------------------------------


@pytest.mark.parametrize("start", [False, True])
def test_a_service_that_was_stopped_is_rolled_back_and_started_only_if_that_is_wanted(*, start: bool) -> None:
    plan = back(seen(before="2", **STOPPED), start=start)
    assert (plan.release, plan.start, plan.stopped_by_operator) == ("2", start, not start)


@pytest.mark.parametrize("start", [True, False])
def test_where_it_is_already_there_it_can_still_be_started(*, start: bool) -> None:
    plan = back(seen("3", **STOPPED), to="3", start=start)
    assert (plan.kind, plan.changed, plan.start) == ("start", start, start)
    assert [change.detail for change in plan.changes] == ["its operator stopped it"] * start


@pytest.mark.parametrize("start", [False, True])
def test_a_service_that_was_stopped_is_deployed_and_started_only_if_that_is_wanted(*, start: bool) -> None:
    now = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
    same = plan_service(make_service(), make_observation(make_seen(**STOPPED)), now=now, start=start)
    assert (same.kind, same.changed, same.start, same.stopped_by_operator) == (
        "start",
        start,
        start,
        not start,
    )
    assert [change.detail for change in same.changes] == ["its operator stopped it"] * start
    new = make_service(command=("serve",))
    other = plan_service(new, make_observation(make_seen(**STOPPED)), now=now, start=start)
    assert (other.kind, other.changed, other.start, other.stopped_by_operator) == (
        "deploy",
        True,
        start,
        not start,
    )


# -- hosts that cannot ---------------------------------------------------------------------------------------


def test_a_release_that_is_there_needs_no_room_for_another() -> None:
    disks = {"/opt": Disk(free=2**21, options=frozenset({"rw"}))}
    service = make_service(binary=make_binary(size=10**9))
    plan = plan_rollback(service, make_observation(seen(before="2"), disks=disks))
    assert plan.release == "2"


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        ({"tools": frozenset()}, "no_flock"),
        ({"disks": {"/opt": Disk(free=10**9, options=frozenset({"ro"}))}}, "read_only"),
        ({"disks": {"/var/lib": Disk(free=0, options=frozenset({"rw"}))}}, "disk_full"),
        ({"services": {"app": seen(current_is_link=False)}}, "not_ours"),
    ],
)
def test_a_host_where_nothing_can_be_changed_is_refused(parts: dict[str, Any], cause: str) -> None:
    with pytest.raises(HostError) as caught:
        plan_rollback(make_service(), make_observation(seen(before="2"), **parts))
    assert caught.value.cause == cause


# -- undoing what this run did -------------------------------------------------------------------------------


def returned(found: ServiceObservation) -> ServicePlan:
    return plan_return(make_service(), make_observation(found), run="this")


def test_a_run_takes_back_its_own_release() -> None:
    plan = returned(seen(deployed_by="this", before="2"))
    assert (plan.kind, plan.release, plan.previous, plan.changed) == ("rollback", "2", "3", True)


def test_a_run_stops_its_own_release_if_it_was_the_first() -> None:
    plan = returned(seen(deployed_by="this", before="-"))
    assert (plan.kind, plan.release, plan.stage) == ("withdraw", "3", False)
    assert [change.detail for change in plan.changes] == ["stop 3, it was the first release"]


@pytest.mark.parametrize("deployed_by", ["another", ""])
def test_what_another_run_has_deployed_stays(deployed_by: str) -> None:
    assert not returned(seen(deployed_by=deployed_by, before="2")).changed


@pytest.mark.parametrize("releases", [{"3": "good"}, {"2": "failed", "3": "good"}])
def test_a_release_that_is_gone_or_bad_is_not_returned_to(releases: dict[str, Proof]) -> None:
    with pytest.raises(HostError):
        returned(seen(deployed_by="this", before="2", releases=releases))


def test_the_seal_of_what_was_seen_goes_along() -> None:
    found = replace(seen(before="2"), seal="99:releases/3")
    assert back(found).seal == returned(found).seal == "99:releases/3"
