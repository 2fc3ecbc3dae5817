"""A short word finds its playbook, and a playbook its inventory."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import LoadError
from deployer.load.find import find_inventory, find_playbook


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("")


@pytest.mark.parametrize(
    ("there", "word", "found"),
    [
        (["prod.yml"], "prod.yml", "prod.yml"),
        (["prod.yml"], "prod", "prod.yml"),
        (["prod.yaml"], "prod", "prod.yaml"),
        (["playbooks/prod.yml"], "prod.yml", "playbooks/prod.yml"),
        (["playbooks/prod.yml"], "prod", "playbooks/prod.yml"),
        (["playbooks/prod.yml"], "playbooks/prod", "playbooks/prod.yml"),
        (["prod.yml", "playbooks/prod.yml"], "prod", "prod.yml"),
        (["prod/x", "playbooks/prod.yml"], "prod", "playbooks/prod.yml"),  # a folder is no playbook
        (["a/b/prod.yml"], "a/b/prod.yml", "a/b/prod.yml"),
    ],
)
def test_a_playbook_is_found(there: list[str], word: str, found: str) -> None:
    touch(*there)
    assert find_playbook(word) == Path(found)


def test_an_absolute_path_is_taken_as_it_is(folder: Path) -> None:
    touch("x/prod.yml")
    assert find_playbook(f"{folder}/x/prod.yml") == folder / "x/prod.yml"


@pytest.mark.parametrize(
    ("there", "word", "message"),
    [
        ([], "prod", "there is no playbook prod (looked for prod here and in playbooks/)"),
        (["playbooks/prod.yml"], "prd.yml", "there is no playbook prd.yml (did you mean 'prod.yml'?)"),
        (["playbooks/prod.yml"], "prd", "there is no playbook prd (did you mean 'prod'?)"),
        (["prod/x"], "prod", "there is no playbook prod (looked for prod here and in playbooks/)"),
    ],
)
def test_a_playbook_that_is_not_there_names_the_nearest(there: list[str], word: str, message: str) -> None:
    touch(*there)
    with pytest.raises(LoadError) as caught:
        find_playbook(word)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("there", "playbook", "found"),
    [
        (["inventories/prod.yml"], "prod.yml", "inventories/prod.yml"),
        (["inventories/prod.ini"], "playbooks/prod.yml", "inventories/prod.ini"),
        (["inventories/prod/hosts"], "prod.yml", "inventories/prod"),  # a folder of files
        (["inventories/prod.yml", "inventories/prod.ini"], "prod.yml", "inventories/prod.yml"),
        (["site/inventories/prod.yml"], "site/prod.yml", "site/inventories/prod.yml"),
        (["site/inventories/prod.yml"], "site/playbooks/prod.yml", "site/inventories/prod.yml"),
        (["inventories/prod.yml", "site/inventories/prod.yml"], "site/prod.yml", "inventories/prod.yml"),
    ],
)
def test_an_inventory_of_the_same_name_is_found(there: list[str], playbook: str, found: str) -> None:
    touch(*there)
    assert find_inventory(Path(playbook)).resolve() == Path(found).resolve()


def test_a_playbook_without_an_inventory_says_what_to_do() -> None:
    touch("inventories/demo.yml")
    with pytest.raises(LoadError) as caught:
        find_inventory(Path("playbooks/prod.yml"))
    assert str(caught.value) == (
        "there is no inventory for prod.yml (name one with -i, or make inventories/prod.yml)"
    )
