"""`-e` takes variables in the forms Ansible takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployer.errors import LoadError
from deployer.load.extra_vars import read_extra_vars

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        ([], {}),
        (["port=8081"], {"port": "8081"}),
        (["a=1 b='two words' c="], {"a": "1", "b": "two words", "c": ""}),
        (["url=http://x/?a=b"], {"url": "http://x/?a=b"}),
        (['{"port": 8081, "on": true}'], {"port": 8081, "on": True}),
        (["{port: 8081, names: [a, b]}"], {"port": 8081, "names": ["a", "b"]}),
        ([" {port: 1}"], {"port": 1}),
        (["a=1 b=1", "{b: 2}", "a=3"], {"a": "3", "b": 2}),
        (["a='{{ b }}'"], {"a": "{{ b }}"}),
    ],
)
def test_the_forms_of_extra_variables(words: list[str], variables: dict[str, Any]) -> None:
    assert read_extra_vars(words) == variables


def test_a_file_of_variables(tmp_path: Path) -> None:
    file = tmp_path / "vars.yml"
    file.write_text("port: 8081\nnested:\n  a: [1]\n")
    assert read_extra_vars([f"@{file}", "port=1"]) == {"port": "1", "nested": {"a": [1]}}


@pytest.mark.parametrize("word", ["hunter2", "=hunter2", "a-b=hunter2", "1a=hunter2", "a=1 hunter2"])
def test_what_is_no_variable_is_refused_without_showing_it(word: str) -> None:
    with pytest.raises(LoadError) as caught:
        read_extra_vars([word])
    assert str(caught.value) == "--extra-vars must be name=value, a {mapping} or @file"


def test_a_file_that_holds_something_else_is_refused_by_its_place(tmp_path: Path) -> None:
    file = tmp_path / "vars.yml"
    for content, why in [
        (b"\n- hunter2\n", f"{file}:2:1: must be a mapping of variables"),
        (b"", f"{file}:1:1: must be a mapping of variables"),
        (b"a: 1\na: 2\n", f"{file}:2:1: duplicate key 'a' (first given at line 1)"),
        (b"a: \xe9\n", f"--extra-vars: cannot read {file}: not UTF-8 text"),
    ]:
        file.write_bytes(content)
        with pytest.raises(LoadError) as caught:
            read_extra_vars([f"@{file}"])
        assert str(caught.value) == why
