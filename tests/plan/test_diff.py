"""A diff shows the unit line by line and of the environment names, never a value, old or new."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from deployer.init import unit_path
from deployer.plan.diff import render_diff
from deployer.plan.dotenv import render_dotenv
from deployer.plan.plan import plan_service
from deployer.plan.release import release_files
from deployer.secret import Secret
from tests.made import make_files, make_observation, make_service

NOW = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)


def diff(before: dict[str, str] | bytes, after: dict[str, str], *, unit: str | None = None) -> str:
    """What --diff shows where `before` is deployed and `after` is desired."""
    service = make_service(environment=tuple((name, Secret(value)) for name, value in after.items()))
    env = before
    if isinstance(env, dict):
        env = render_dotenv({name: Secret(value) for name, value in env.items()}).reveal().encode()
    installed = release_files(make_service()).unit if unit is None else unit
    files = make_files(service)
    del files["/opt/app/current/.env"]  # so that there is a change to be shown
    observation = make_observation(
        files=files, contents={"/opt/app/current/.env": env, unit_path("app"): installed.encode()}
    )
    return render_diff(plan_service(service, observation, now=NOW), observation)


def test_variables_are_shown_by_name_only() -> None:
    old = {"SAME": "hunter2-same", "GONE": "hunter2-gone", "OTHER": "hunter2-old"}
    new = {"SAME": "hunter2-same", "OTHER": "hunter2-new", "ADDED": "hunter2-added"}
    shown = diff(old, new)
    assert shown.splitlines() == ["  .env: + ADDED", "  .env: - GONE", "  .env: ~ OTHER (changed)"]
    assert "hunter2" not in shown


def test_an_env_file_that_cannot_be_read_is_not_shown_either() -> None:
    for content in (b"A='hunter2", b"hunter2 hunter2=1\n", b"A=${hunter2\n"):
        shown = diff(content, {"A": "1"})
        assert shown == "  .env: cannot be compared, it was changed on the host"


def test_bytes_that_are_no_text_are_compared_all_the_same() -> None:
    assert diff(b"A=\xff\n", {"A": "1"}) == "  .env: ~ A (changed)"


def test_the_unit_is_shown_line_by_line() -> None:
    unit = release_files(make_service()).unit
    shown = diff({}, {}, unit=unit.replace("UMask=0077", "UMask=0022"))
    assert f"--- {unit_path('app')} (host)" in shown
    assert f"+++ {unit_path('app')} (desired)" in shown
    assert "-UMask=0022" in shown.splitlines()
    assert "+UMask=0077" in shown.splitlines()


def test_a_host_as_desired_has_no_diff() -> None:
    observation = make_observation()
    assert render_diff(plan_service(make_service(), observation, now=NOW), observation) == ""


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0"), max_size=8).map(
    lambda text: f"hunter2{text}"
)
VARIABLES = st.dictionaries(st.sampled_from(["A", "B", "C"]), VALUES)


@given(VARIABLES, VARIABLES)
def test_no_value_is_ever_part_of_a_diff(before: dict[str, str], after: dict[str, str]) -> None:
    assert "hunter2" not in diff(before, after)
