"""A `.env` file means what Docker Compose makes of it, and a mistake in it is reported without showing it."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import LoadError, Mark
from deployer.load.dotenv import parse_dotenv, read_dotenv

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = yaml.safe_load((HERE / "dotenv_cases.yml").read_text(encoding="utf-8"))
ERRORS: list[dict[str, Any]] = yaml.safe_load((HERE / "dotenv_errors.yml").read_text(encoding="utf-8"))


def parse(text: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    variables = parse_dotenv(text, file="app.env", environ=environ or {})
    return {name: value.reveal() for name, value in variables.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_file_means_what_compose_says(case: dict[str, Any]) -> None:
    assert parse(case["file"], case.get("environ")) == case["expect"]


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case["name"])
def test_a_malformed_line_is_named_by_its_place_and_never_shown(case: dict[str, Any]) -> None:
    with pytest.raises(LoadError) as caught:
        parse(case["file"])
    (problem,) = caught.value.problems
    assert problem.mark == Mark(file="app.env", line=case["line"], column=case["column"])
    assert problem.message == case["message"]
    assert "hunter2" not in str(caught.value)


def test_every_malformed_line_is_reported_at_once() -> None:
    text = "A-B='one\ntwo=x'\nOK=1\nC D=2\n=3\nE=${\nF\nG=\"open\nH-I=4\n"
    with pytest.raises(LoadError) as caught:
        parse(text)
    places = [problem.mark and (problem.mark.line, problem.mark.column) for problem in caught.value.problems]
    assert places == [(1, 1), (4, 1), (5, 1), (6, 3), (8, 3)]


def test_variables_keep_the_order_of_the_file() -> None:
    assert list(parse("Z=1\nM\nA=2\nZ=3\n", {"M": "x"})) == ["Z", "M", "A"]


def test_values_do_not_show_themselves() -> None:
    assert "hunter2" not in repr(parse_dotenv("A=hunter2\n", file="app.env", environ={}))


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(LoadError, match="a surrogate"):
        parse("A=\ud800\n")
    with pytest.raises(LoadError, match="a surrogate"):
        parse("A\n", {"A": "\udcff"})  # an undecodable byte of the controller's environment


def test_a_variable_may_be_as_long_as_linux_lets_it_and_no_longer() -> None:
    longest = 32 * 4096 - len("A=") - 1
    assert parse("A=" + "x" * longest) == {"A": "x" * longest}
    with pytest.raises(LoadError, match="too long"):
        parse("A=" + "x" * (longest + 1))
    with pytest.raises(LoadError, match="too long"):
        parse("A=" + "é" * (longest // 2 + 1))


def test_defaults_nest_only_so_deep() -> None:
    nested = "${U:-" * 40 + "x" + "}" * 40
    assert parse(f"A={nested}\n") == {"A": "x"}
    with pytest.raises(LoadError, match="nests more than 50"):
        parse("A=" + "${U:-" * 5000 + "}" * 5000)


@pytest.mark.parametrize(
    "piece",
    [
        "\n",
        "# c\n",
        "A=1\n",
        "A='",
        'A="\\',
        "A=${U:-x}",
        "${U:-x}",
        "${S:-{",
        "${S:-",
        "$",
        "\\",
        " #",
        "A-B=1\n",
        "A",
    ],
)
def test_a_long_file_takes_time_in_proportion(piece: str) -> None:
    start = time.process_time()
    for opening in ("", "A='", 'A="', "A="):
        with suppress(LoadError):
            parse(opening + piece * (500_000 // len(piece)), {"S": "s"})
    assert time.process_time() - start < 20  # quadratic would be minutes


@given(
    st.text(st.sampled_from("AB= :\n'\"\\$#{}-?+\r\té\0")),
    st.dictionaries(st.sampled_from("AB"), st.text("x$'")),
)
def test_any_text_is_parsed_or_refused_with_places(text: str, environ: dict[str, str]) -> None:
    try:
        parse(text, environ)
    except LoadError as error:
        lines = text.split("\n")
        for problem in error.problems:
            assert problem.mark is not None
            assert 1 <= problem.mark.column <= len(lines[problem.mark.line - 1]) + 1


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfA='1\r\n2'\r\nB=\xc3\xa9\r\n")
    variables = read_dotenv(path, environ={})
    assert {name: value.reveal() for name, value in variables.items()} == {"A": "1\r\n2", "B": "é"}


def test_a_problem_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n=2\n")
    with pytest.raises(LoadError) as caught:
        read_dotenv(path, environ={})
    assert caught.value.problems[0].mark == Mark(file=str(path), line=2, column=1)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    latin = tmp_path / "latin.env"
    latin.write_bytes(b"A=hunter2\xe9\n")
    for path, why in [
        (tmp_path / "missing.env", f"cannot read {tmp_path}/missing.env: No such file or directory"),
        (tmp_path, f"cannot read {tmp_path}: Is a directory"),
        (latin, f"{latin} is not UTF-8 text (byte 9)"),
    ]:
        with pytest.raises(LoadError) as caught:
            read_dotenv(path, environ={})
        assert str(caught.value) == why
