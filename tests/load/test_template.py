"""Templates mean what they mean in Ansible, and what fails is told by its name, never by its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.load.template import TemplateFailure, Variables, is_template

if TYPE_CHECKING:
    from pathlib import Path

RAW: dict[str, Any] = {
    "port": 8080,
    "name": "app",
    "password": "hunter2",
    "names": ["a", "b"],
    "nested": {"key": "{{ name }}-{{ port }}"},
    "url": "http://{{ name }}:{{ port }}",
    "upper": "{{ names | map('upper') }}",
    "yes": True,
    "nothing": None,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{ name }}", "app"),
        ("x{{ port }}y", "x8080y"),
        # One single expression keeps its type.
        ("{{ port }}", 8080),
        ("{{ yes }}", True),
        ("{{ nothing }}", None),
        ("{{ names }}", ["a", "b"]),
        ("{{- port -}}", 8080),
        ("{{ -1 }}", -1),
        ("{{ names | map('upper') }}", ["A", "B"]),
        # ... and text does not.
        (" {{ port }}", " 8080"),
        ("{{ port }}\n", "8080\n"),
        ("{{ port }}{{ port }}", "80808080"),
        ("{# a port #}{{ port }}", "8080"),
        ("{{ port }}{# a port #}", "8080"),
        ("{% if yes %}a{% else %}b{% endif %}", "a"),
        ("{% raw %}{{ port }}{% endraw %}", "{{ port }}"),
        ("{{ '}}' }}", "}}"),
        ("{{ 'a' if yes else 'b' }}", "a"),
        ("{{ 'a' if not yes }}", ""),
        ("{{ nowhere | default('x') }}", "x"),
        ("{{ range(3) | list }}", [0, 1, 2]),
        # Variables in variables.
        ("{{ url }}/x", "http://app:8080/x"),
        ("{{ nested.key }}", "app-8080"),
        ("{{ nested }}", {"key": "app-8080"}),
        # A generator could be read only once.
        ("{{ upper | join }} {{ upper | join }}", "AB AB"),
    ],
)
def test_a_template_is_rendered_as_in_ansible(text: str, value: Any) -> None:
    rendered = Variables(RAW).render(text)
    assert rendered == value
    assert type(rendered) is type(value)


def test_templates_in_lists_and_mappings_are_rendered() -> None:
    assert Variables(RAW).render({"a": ["{{ port }}", {"b": "{{ name }}!"}], "c": 1}) == {
        "a": [8080, {"b": "app!"}],
        "c": 1,
    }


def test_json_made_by_a_template_is_plain_text() -> None:
    value = Variables({"x": 'a"b'}).render("{{ x | tojson }}")
    assert type(value) is str
    assert value + '"' == '"a\\"b""'  # HTML-safe text would escape what is added to it


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ nowhere }}", "'nowhere' is undefined"),
        ("{{ password ~ nowhere }}", "'nowhere' is undefined"),
        ("{{ nested.nowhere }}", "'dict object' has no attribute 'nowhere'"),
        ("{{ password.nowhere }}", "'str object' has no attribute 'nowhere'"),
        ("{{ nowhere() }}", "'nowhere' is undefined"),
        ("{{ password + 1 }}", "the template fails: TypeError"),
        ("{{ 1 / 0 }}", "the template fails: ZeroDivisionError"),
        ("{{ password() }}", "the template fails: TypeError"),
        ("{{ names | select('hunter2') }}", "the template fails: TemplateRuntimeError"),
        ("{{ nested | dictsort(by=password) }}", "the template fails: FilterArgumentError"),
        ("{{ names | map | list }}", "the template fails: FilterArgumentError"),
        (
            "{{ password hunter2 }}",
            "not a valid template: expected token 'end of print statement'",
        ),
        (
            "{{ password",
            "not a valid template: unexpected end of template, expected 'end of print statement'",
        ),
        ("{{ password | nosuch }}", "not a valid template: No filter named 'nosuch'"),
        ("{% include 'x' %}", "the template fails: TypeError"),
        ("{{ lookup('pipe', 'id') }}", "lookup('pipe') is not known; 'env' and 'file' are"),
        (
            "{{ lookup('file', 'no/such') }}",
            "lookup('file'): cannot read no/such: No such file or directory",
        ),
    ],
)
def test_what_fails_is_told_without_a_value(text: str, message: str) -> None:
    with pytest.raises(TemplateFailure) as caught:
        Variables(RAW).render(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("raw", "chain"),
    [
        ({"a": "{{ a }}"}, "a -> a"),
        ({"a": "{{ b }}", "b": "{{ a }}"}, "a -> b -> a"),
        ({"a": "{{ b }}", "b": ["{{ c.d }}"], "c": {"d": "{{ b }}"}}, "b -> c -> b"),
    ],
)
def test_variables_in_a_circle_are_named(raw: dict[str, Any], chain: str) -> None:
    variables = Variables(raw)
    for _ in range(2):  # the first failure leaves nothing behind
        with pytest.raises(TemplateFailure) as caught:
            variables.render("{{ a }}")
        assert str(caught.value) == f"variables use each other in a circle: {chain}"


def test_only_variables_that_are_used_are_rendered() -> None:
    variables = Variables({"good": 1, "bad": "{{ nowhere }}"})
    assert variables.render("{{ good }}") == 1
    assert variables.get("absent", 5) == 5
    assert "bad" in variables
    with pytest.raises(TemplateFailure):
        variables.get("bad")


def test_the_controller_is_asked_by_lookup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("hunter2\n\n")
    monkeypatch.setenv("TOKEN", "from outside")
    variables = Variables({"folder": str(tmp_path)})
    assert variables.render("{{ lookup('env', 'TOKEN') }}") == "from outside"
    assert variables.render("{{ lookup('env', 'NOT_SET_ANYWHERE') }}") == ""
    assert variables.render("{{ lookup('file', folder ~ '/token') }}") == "hunter2"


@given(st.text())
def test_text_without_template_marks_stays_as_it_is(text: str) -> None:
    if not is_template(text):
        assert Variables({}).render(text) == text
