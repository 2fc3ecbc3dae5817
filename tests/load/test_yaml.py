"""Every value of a YAML file knows where it stands, and what YAML would silently drop is an error."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from deployer.errors import LoadError, Mark
from deployer.load.yaml import parse_yaml, read_yaml

TEXT = """\
# a comment
- name: first
  nested:
    list: [1, "two",
      three]
- &shared
  a: 1.10
- again: *shared
"""


def at(line: int, column: int) -> Mark:
    return Mark(file="f", line=line, column=column)


@pytest.mark.parametrize(
    ("place", "line", "column"),
    [
        ((), 2, 1),
        ((0,), 2, 3),
        ((0, "name"), 2, 9),
        ((0, "nested", "list"), 4, 11),
        ((0, "nested", "list", 1), 4, 15),
        ((0, "nested", "list", 2), 5, 7),
        ((1, "a"), 7, 6),
        ((2, "again"), 6, 3),  # where the alias leads
        ((2, "again", "a"), 7, 6),
        ((0, "nested", "absent", "deeper"), 4, 5),  # the nearest thing around it
        ((7,), 2, 1),
    ],
)
def test_a_value_has_a_place(place: tuple[str | int, ...], line: int, column: int) -> None:
    assert parse_yaml(TEXT, "f").mark(place) == at(line, column)


def test_a_key_has_a_place_of_its_own() -> None:
    document = parse_yaml(TEXT, "f")
    assert document.key_mark((0, "nested", "list")) == at(4, 5)
    assert document.key_mark((0,)) == at(2, 3)  # a position in a list has no key


def test_a_scalar_is_kept_as_it_was_typed() -> None:
    document = parse_yaml("a: 1.10\nb: yes\nc: 010\nd: 'x'\ne: ~\nf: 2024-01-01\n", "f")
    assert document.value == {
        "a": 1.1,
        "b": True,
        "c": 8,
        "d": "x",
        "e": None,
        "f": dt.date(2024, 1, 1),
    }
    assert [document.scalars[(key,)] for key in "abcdef"] == ["1.10", "yes", "010", "x", "~", "2024-01-01"]


def test_an_empty_file_is_nothing_at_the_top() -> None:
    document = parse_yaml("# nothing\n", "f")
    assert document.value is None
    assert document.mark(("a", 1)) == at(1, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &a {x: 1, y: 1}\nb:\n  <<: *a\n  y: 2\n", {"a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 2}}),
        ("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b], z: 3}\n", {"c": {"x": 1, "y": 2, "z": 3}}),
        # A merged mapping that is used again holds each key once.
        ("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: *b\nd: {<<: *b}\n", {"c": {"x": 2}, "d": {"x": 2}}),
    ],
)
def test_merge_keys_fill_in_what_is_not_given(text: str, value: dict[str, Any]) -> None:
    read = parse_yaml(text, "f").value
    assert {key: read[key] for key in value} == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "f:4:3: duplicate key 'c' (first given at line 3)"),
        ("1: a\n1: b\n", "f:2:1: duplicate key 1 (first given at line 1)"),
        ("yes: a\non: b\n", "f:2:1: duplicate key True (first given at line 1)"),
        (
            "a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}\n",
            "f:2:19: duplicate key 'y' (first given at line 2)",
        ),
        ("a: &a [*a]\n", "f: nested too deeply, or an alias holds itself"),
        ("a: &a {b: *a}\n", "f: nested too deeply, or an alias holds itself"),
        ("a: *b\n", "f:1:4: not valid YAML: found undefined alias"),
        ("a: !vault x\n", "f:1:4: not valid YAML: could not determine a constructor for the tag '!vault'"),
        ("a: 2024-13-45\n", "f:1:4: not a valid timestamp (put it in quotes if it is text)"),
        ("2024-13-45: a\n", "f:1:1: not a valid timestamp (put it in quotes if it is text)"),
        ("a: !!bool maybe\n", "f:1:4: not a valid bool (put it in quotes if it is text)"),
        ("a: !!timestamp soon\n", "f:1:4: not a valid timestamp (put it in quotes if it is text)"),
        ("a: !!int x\n", "f:1:4: not a valid int (put it in quotes if it is text)"),
        ("a: 1\n---\nb: 2\n", "f:2:1: not valid YAML: but found another document"),
        (
            "a: {{ b }}\n",
            'f:1:5: a mapping cannot be a key (a value that begins with {{ must be quoted: "{{ name }}")',
        ),
        ("a: b: c\n", "f:1:5: not valid YAML: mapping values are not allowed in this context"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        parse_yaml(text, "f")
    assert str(caught.value) == message


def test_every_duplicate_is_told_at_once() -> None:
    with pytest.raises(LoadError) as caught:
        parse_yaml("b: {x: 1, x: 2}\na: 1\nb: 2\na: 3\n", "f")
    assert [problem.mark for problem in caught.value.problems] == [at(1, 11), at(3, 1), at(4, 1)]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Any) -> None:
    latin = tmp_path / "latin.yml"
    latin.write_bytes(b"a: \xe9")
    for path, why in [
        (tmp_path / "no.yml", f"cannot read {tmp_path}/no.yml: No such file or directory"),
        (tmp_path, f"cannot read {tmp_path}: Is a directory"),
        (latin, f"{latin} is not UTF-8 text (byte 3)"),
    ]:
        with pytest.raises(LoadError) as caught:
            read_yaml(path)
        assert str(caught.value) == why
