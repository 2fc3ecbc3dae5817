"""A release's name sorts by time and says nothing secret; what it remembers of itself can be read again."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.desired import ExecTest, Healthcheck, HttpTest, TcpTest
from deployer.plan.release import read_healthcheck, release_files, release_id, release_json
from deployer.secret import Secret
from tests.made import make_binary, make_healthcheck, make_service

SERVICE = make_service()
MOMENTS = st.datetimes(
    min_value=dt.datetime(2000, 1, 1),  # noqa: DTZ001  hypothesis wants the zone apart
    max_value=dt.datetime(2199, 1, 1),  # noqa: DTZ001  as above
    timezones=st.timezones(),
)


def test_a_name_is_the_time_in_utc_and_the_beginning_of_the_digest() -> None:
    noon = dt.datetime(2025, 6, 1, 14, 0, 0, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert release_id(SERVICE, noon, ()) == "20250601T120000Z-0123456789ab"


@given(MOMENTS, MOMENTS)
def test_names_sort_by_time_whatever_the_binary_and_the_time_zone(one: dt.datetime, two: dt.datetime) -> None:
    other = make_service(binary=make_binary(sha256="f" * 64))
    first, second = release_id(SERVICE, one, ()), release_id(other, two, ())
    assert re.fullmatch(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}", first)
    seconds = (two - one).total_seconds()
    if seconds >= 1:
        assert first < second
    elif seconds <= -1:
        assert first > second


@given(st.integers(min_value=0, max_value=20))
def test_a_name_that_is_taken_is_a_second_later(count: int) -> None:
    now = dt.datetime(2025, 12, 31, 23, 59, 50, tzinfo=dt.UTC)
    taken: list[str] = []
    for _ in range(count + 1):
        taken.append(release_id(SERVICE, now, taken))
    assert len(set(taken)) == len(taken)
    assert taken == sorted(taken)


def test_a_name_does_not_depend_on_the_environment() -> None:
    now = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
    other = make_service(environment=(("TOKEN", Secret("another")),))
    assert release_id(SERVICE, now, ()) == release_id(other, now, ())


def test_equal_services_have_equal_files_and_another_value_another_env() -> None:
    assert release_files(make_service()) == release_files(make_service())
    other = release_files(make_service(environment=(("TOKEN", Secret("another")),)))
    assert other.env != release_files(SERVICE).env
    assert other.unit == release_files(SERVICE).unit


def test_the_environment_does_not_show_itself() -> None:
    assert "hunter2" not in repr(release_files(SERVICE))


PLACE = st.from_regex(r"[A-Za-z0-9._:%-]{1,60}", fullmatch=True)
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
TESTS = (
    st.none()
    | st.builds(TcpTest, host=PLACE, port=st.integers(1, 65535))
    | st.builds(
        ExecTest,
        argv=st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1, max_size=4).map(tuple),
    )
    | st.builds(
        HttpTest,
        url=PRINTABLE,
        tls=st.booleans(),
        host=PLACE,
        port=st.integers(1, 65535),
        path=PRINTABLE,
    )
)
DAY = 86_400  # seconds
SECONDS = st.floats(min_value=0, max_value=DAY / 2)
MORE_THAN_NONE = st.floats(min_value=0.001, max_value=100)  # as the playbook asks for
CHECKS = st.builds(
    Healthcheck,
    test=TESTS,
    interval=MORE_THAN_NONE,
    timeout=MORE_THAN_NONE,
    retries=st.integers(1, 1000),
    start_period=SECONDS,
    start_interval=MORE_THAN_NONE,
    stay_up=SECONDS,
)


@given(CHECKS)
def test_a_release_remembers_its_own_health_check(check: Healthcheck) -> None:
    service = make_service(healthcheck=check)
    about = release_json(service, "r", run="run", by="me@here", version="1")
    longest = check.start_period + check.retries * (check.interval + check.timeout) + check.stay_up
    assert read_healthcheck(about) == (check if longest <= DAY else None)


@pytest.mark.parametrize("odd", ["\\ud800", "\\u0000"])
def test_a_command_that_cannot_be_sent_is_no_health_check(odd: str) -> None:
    service = make_service(healthcheck=replace(make_healthcheck(), test=ExecTest(argv=("odd", "word"))))
    about = release_json(service, "r", run="run", by="me@here", version="1")
    assert read_healthcheck(about)
    assert read_healthcheck(about.replace('"word"', f'"{odd}"')) is None


def test_what_a_release_says_of_itself() -> None:
    about = release_json(SERVICE, "r", run="run-1", by="me@here", version="0.1.0")
    assert about.endswith("}\n")
    assert json.loads(about) == {
        "version": 1,
        "service": "app",
        "release": "r",
        "binary": {"name": "server", "sha256": SERVICE.binary.sha256, "size": 10_000_000},
        "healthcheck": {
            "test": {
                "kind": "http",
                "url": "http://127.0.0.1:8080/health",
                "tls": False,
                "host": "127.0.0.1",
                "port": 8080,
                "path": "/health",
            },
            "interval": 1.0,
            "timeout": 2.0,
            "retries": 3,
            "start_period": 10.0,
            "start_interval": 0.1,
            "stay_up": 3.0,
        },
        "run": "run-1",
        "by": "me@here",
        "deployer": "0.1.0",
    }
    assert "hunter2" not in about


REMEMBERED = json.loads(
    release_json(make_service(healthcheck=make_healthcheck()), "r", run="", by="", version="")
)["healthcheck"]


@pytest.mark.parametrize(
    "about",
    [
        "",
        "{",
        "[]",
        "null",
        "5",
        "{}",
        '{"healthcheck": null}',
        '{"healthcheck": 5}',
        '{"healthcheck": {}}',
        json.dumps({"healthcheck": REMEMBERED | {"test": 5}}),
        json.dumps({"healthcheck": REMEMBERED | {"test": {"kind": "dns"}}}),
        json.dumps({"healthcheck": REMEMBERED | {"test": {"kind": "tcp", "nowhere": 1}}}),
        json.dumps({"healthcheck": REMEMBERED | {"new": 1}}),
        json.dumps({"healthcheck": {key: value for key, value in REMEMBERED.items() if key != "retries"}}),
        "[" * 100_000,
        *(
            json.dumps({"healthcheck": REMEMBERED | {key: value}})
            for key, value in (
                ("interval", 1e308),
                ("interval", -1),
                ("interval", 0),
                ("interval", "5"),
                ("timeout", float("nan")),
                ("stay_up", float("inf")),
                ("retries", 0),
                ("retries", 1.5),
                ("retries", 10**30),
                ("test", {"kind": "tcp", "host": "127.0.0.1", "port": 70_000}),
                ("test", {"kind": "tcp", "host": "a b\r\n", "port": 80}),
                ("test", {"kind": "exec", "argv": ["a\0b"]}),
                ("test", {"kind": "exec", "argv": []}),
            )
        ),
    ],
)
def test_what_cannot_be_read_is_not_remembered(about: str) -> None:
    assert read_healthcheck(about) is None
