"""What releases.sh says of the disk, as data; a damaged release.json takes nothing else with it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployer.ask.releases import ReleaseOnDisk, parse_releases
from deployer.plan.release import release_json
from tests.made import make_service

OLD, NEW = "20260101T000000Z-0123456789ab", "20261122T112000Z-0123456789ab"


def reply(*, state: str = "good", about: str = "", name: str = NEW) -> str:
    return f"= service app\n= release app {name} {state} current\n{about}\n"


def only(text: str) -> ReleaseOnDisk:
    ((release,),) = (found.releases for found in parse_releases(text, ["app"]))
    return release


def test_a_release_says_where_it_came_from() -> None:
    about = release_json(make_service(), NEW, run="R", by="anna@laptop", version="0.1.0")
    assert only(reply(about=about)) == ReleaseOnDisk(
        name=NEW,
        current=True,
        state="good",
        made=datetime(2026, 11, 22, 11, 20, tzinfo=UTC),
        size=10_000_000,
        by="anna@laptop",
        run="R",
    )


@pytest.mark.parametrize(
    "about",
    [
        "",
        "{",
        "[]",
        "null",
        '{"binary": 7}',
        '{"binary": {"size": "big"}}',
        '= oops\n{"by": 1}',
        '{"binary": {"size": -5}}',
        f'{{"binary": {{"size": 1{"0" * 400}}}}}',
        "[" * 100_000,
    ],
)
def test_a_release_json_that_says_nothing_is_no_trouble(about: str) -> None:
    release = only(reply(about=about))
    assert (release.name, release.size, release.run) == (NEW, None, "")


@pytest.mark.parametrize(
    ("word", "state"), [("good", "good"), ("staged", "staged"), ("failed", "failed"), ("odd", "failed")]
)
def test_only_what_is_known_to_be_good_is_good(word: str, state: str) -> None:
    assert only(reply(state=word)).state == state


def test_a_folder_with_a_name_of_its_own_has_no_time() -> None:
    assert only(reply(name="mine")).made is None


def test_releases_come_newest_first_and_by_service() -> None:
    text = (
        f"= service app\n= release app {OLD} good current\n{{}}\n\n= release app {NEW} staged other\n{{}}\n\n"
        "= service none\n"
    )
    app, none = parse_releases(text, ["app", "none"])
    assert [(one.name, one.current, one.state) for one in app.releases] == [
        (NEW, False, "staged"),
        (OLD, True, "good"),
    ]
    assert (none.service, none.releases) == ("none", ())


@pytest.mark.parametrize("text", ["", "Welcome!\n", "= service app\n", "= service other\n= service none\n"])
def test_a_reply_that_passes_over_a_service_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="nothing about"):
        parse_releases(text, ["app", "none"])
