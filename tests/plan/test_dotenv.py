"""The release's `.env` gives every reader the values that were planned, and systemd without exception."""

from __future__ import annotations

import io
import re

import pytest
from dotenv import dotenv_values
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployer.errors import LoadError
from deployer.load.dotenv import parse_dotenv
from deployer.plan.dotenv import render_dotenv
from deployer.secret import Secret
from tests.plan.systemd_env_file import systemd_env_file

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0"))
AWKWARD = st.text(
    st.sampled_from("aBn0'\"\\$`#; \t\n\r={}()!\x01\x1c\x7f\x85\xa0é\u2028\u3000🚀"), max_size=12
)
VALUES = AWKWARD | ANY_TEXT
VARIABLES = st.dictionaries(NAMES, VALUES, max_size=4)
KEY = "-----BEGIN KEY-----\nMIIB+/=\n-----END KEY-----\n"


def render(variables: dict[str, str]) -> str:
    return render_dotenv({name: Secret(value) for name, value in variables.items()}).reveal()


def compose_differs(value: str) -> bool:
    return value.endswith("\\") and not re.search(r"[\r\n]", value)


def python_differs(value: str) -> bool:
    if "\r" in value or compose_differs(value):
        return True
    if "$" in value and ("'" in value or "\\\\" in value or value.endswith("\\")):
        return True
    return "\\\\" in value and "'" not in value and value.endswith('"')


@given(VARIABLES)
@example({"A": KEY, "export": "x", "B": "\\", "C": "'\\", "D": " '\\", "E": "\x85'\\", "F": "\n\\"})
@settings(max_examples=500)
def test_systemd_gives_a_process_exactly_these_values(variables: dict[str, str]) -> None:
    assert systemd_env_file(render(variables).encode()) == variables


@given(VALUES)
@settings(max_examples=500)
def test_compose_reads_the_same_but_for_the_documented_leftovers(value: str) -> None:
    try:
        read = parse_dotenv(render({"A": value}), file="release", environ={"B": "controller"})
    except LoadError:
        assert compose_differs(value)
    else:
        assert (read["A"].reveal() != value) == compose_differs(value)


@given(VALUES)
@settings(max_examples=500)
def test_python_dotenv_reads_the_same_but_for_the_documented_leftovers(value: str) -> None:
    stream = io.StringIO(
        render({"A": value, "Z": "last"}), newline=None
    )  # newlines as open() translates them
    read = dotenv_values(stream=stream, interpolate=False)
    assert (read["A"] != value) == python_differs(value)
    assert read["Z"] == "last"


# Each line of the right-hand side was also read back with godotenv 1.5.1, and with systemd 252 and 257.
@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ("", ""),
        ("https://a.b:80/c?d", "'https://a.b:80/c?d'"),
        ("plain-1_2.3/4:5,6+7@8%9=", "plain-1_2.3/4:5,6+7@8%9="),
        ("two words", "'two words'"),
        (" \t", "' \t'"),
        (KEY, f"'{KEY}'"),
        ('{"a": "b$c`d"} # e', """'{"a": "b$c`d"} # e'"""),
        (r"C:\new", r"'C:\new'"),
        ("it's", '"it\'s"'),
        ('it\'s\n"x" ', '"it\'s\n\\"x\\" "'),
        (r"\\host\share", r'"\\\\host\\share"'),
        (r"\\host\$share", r"'\\host\$share'"),  # python-dotenv sees one backslash for two
        ("it's $5", r'''"it's \$5"'''),  # python-dotenv sees the backslash
        ("say 'x' \"y\"", "say 'x' \"y\""),  # godotenv loses a quote at the end of quotes
        ("'x' \"y\"", '"\'x\' \\"y\\""'),  # godotenv sees a backslash for the last quote
        ("C:\\", "C:\\\\"),  # no reader but systemd sees one backslash, but all go on with the next line
        ("a\n\\", '"a\n\\\\"'),  # godotenv stops here
        ("žluť", "'žluť'"),
    ],
)
def test_a_value_is_spelled_for_all_readers(value: str, spelled: str) -> None:
    assert render({"A": value}).split("\n", 1)[1] == f"A={spelled}\n"
    assert systemd_env_file(render({"A": value}).encode()) == {"A": value}


def test_the_file_begins_with_a_comment_every_reader_skips() -> None:
    text = render({})
    assert text.startswith("# Written by deployer")
    assert text.isascii()
    assert text.count("\n") == 1
    assert systemd_env_file(text.encode()) == dotenv_values(stream=io.StringIO(text)) == {}
    assert parse_dotenv(text, file="release", environ={}) == {}


def test_variables_keep_their_order_so_that_a_release_does_not_change_by_itself() -> None:
    assert render({"B": "1", "A": "2"}).split("\n")[1:] == ["B=1", "A=2", ""]


def test_the_text_does_not_show_itself() -> None:
    assert "hunter2" not in repr(render_dotenv({"A": Secret("hunter2")}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("A-B", "hunter2"),
        ("", "hunter2"),
        ("A\n", "hunter2"),
        ("A", "hunter2\0"),
        ("A", "hunter2\udcff"),
        ("A", "hunter2\uffff"),
    ],
)
def test_what_no_process_can_be_given_is_refused_without_showing_it(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"name|value") as caught:
        render_dotenv({name: Secret(value)})
    assert "hunter2" not in str(caught.value)


# The model itself: what systemd 252 and 257 (`load_env_file`) made of the same bytes.
@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("A=1\n# B=2\n; C=3\nD = 4 \n", {"A": "1", "D": "4"}),
        ("A=a b  \nB='c'\"d\" e\nC=f'g'\n", {"A": "a b", "B": "cde", "C": "f'g'"}),
        ('A=a\\\nb\nB="c\\\nd"\nC="\\n\\$\\`\\"\\\\"\n', {"A": "ab", "B": "cd", "C": '\\n$`"\\'}),
        ("A='x\ny'\nexport B=1\nC-D=2\nE", {"A": "x\ny"}),
        ("A=1\rB=\nA=2\nC=\\ \\ \nD='open", {"A": "2", "B": "", "C": "  ", "D": "open"}),
        ("A=b # c\nB=#d\n", {"A": "b # c", "B": "#d"}),
    ],
)
def test_the_model_reads_as_systemd_does(content: str, read: dict[str, str]) -> None:
    assert systemd_env_file(content.encode()) == read
