"""What becomes of plays when all is well, or almost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.desired import CommandTask, Percent, Strategy
from deployer.errors import LoadError
from deployer.load import ConnectionOptions
from deployer.load.inventory import read_inventory
from deployer.load.playbook import read_plays
from deployer.load.yaml import parse_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.desired import Play

HOSTS = (
    "web:\n  hosts:\n    web1: {where: here}\n    web2: {where: there}\n    web3:\ndb:\n  hosts:\n    db1:\n"
)


def plays(tmp_path: Path, playbook: str, *, limit: str | None = None) -> tuple[Play, ...]:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(HOSTS)
    return read_plays(
        parse_yaml(playbook, "site.yml"),
        read_inventory([hosts]),
        limit=limit,
        extra_vars={"token": "s3cret-t0ken"},
        options=ConnectionOptions(),
        environ={},
    )


TWO_PLAYS = "- hosts: web\n  tasks: [{command: a}]\n- hosts: db\n  tasks: [{command: b}]\n"


def test_a_limit_leaves_out_the_plays_it_has_no_hosts_of(tmp_path: Path) -> None:
    found = plays(tmp_path, TWO_PLAYS, limit="db1")
    assert [[host.name for host in play.hosts] for play in found] == [["db1"]]


def test_a_limit_that_leaves_out_every_play_is_an_error(tmp_path: Path) -> None:
    playbook = "- hosts: web1\n  tasks: [{command: a}]\n- hosts: web2\n  tasks: [{command: b}]\n"
    with pytest.raises(LoadError) as caught:
        plays(tmp_path, playbook, limit="db1")
    assert str(caught.value).splitlines() == [
        "site.yml:1:10: no host of 'web1' is in --limit 'db1'",
        "site.yml:3:10: no host of 'web2' is in --limit 'db1'",
    ]


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("web", "site.yml:2:21: 'where' is undefined (on web3)"),
        ("all", "site.yml:2:21: 'where' is undefined (on web3 and 1 more)"),
        ("db", "site.yml:2:21: 'where' is undefined"),
    ],
)
def test_a_variable_that_only_some_hosts_lack_names_them(tmp_path: Path, hosts: str, said: str) -> None:
    with pytest.raises(LoadError) as caught:
        plays(tmp_path, f"- hosts: {hosts}\n  tasks: [{{command: 'go {{{{ where }}}}'}}]\n")
    assert str(caught.value) == said


def test_a_command_without_a_name_is_called_as_it_was_typed(tmp_path: Path) -> None:
    playbook = (
        "- hosts: web1\n  tasks:\n    - command: login {{ token }}\n    - command: [a, '{{ token }}']\n"
    )
    tasks = plays(tmp_path, playbook)[0].hosts[0].tasks
    assert [task.name for task in tasks] == ["login {{ token }}", "a {{ token }}"]
    assert [task.argv for task in tasks if isinstance(task, CommandTask)] == [
        ("login", "s3cret-t0ken"),
        ("a", "s3cret-t0ken"),
    ]


@pytest.mark.parametrize(
    ("keys", "strategy"),
    [
        ("{}", Strategy()),
        ("{serial: 2}", Strategy(serial=(2,))),
        ("{serial: '3'}", Strategy(serial=(3,))),
        ("{serial: 25%}", Strategy(serial=(Percent(value=25),))),
        ("{serial: [1, 25%, 100%]}", Strategy(serial=(1, Percent(value=25), Percent(value=100)))),
        ("{serial: []}", Strategy()),
        ("{serial: '{{ few }}'}", Strategy(serial=(2,))),
        ("{serial: ['{{ few }}', '{{ share }}']}", Strategy(serial=(2, Percent(value=50)))),
        ("{serial: '{{ sizes }}'}", Strategy(serial=(1, Percent(value=10)))),
        (
            "{max_fail_percentage: 12.5, max_unreachable_percentage: 30%}",
            Strategy(max_fail_percentage=12.5, max_unreachable_percentage=30.0),
        ),
        (
            "{max_fail_percentage: '{{ share }}', max_unreachable_percentage: 0}",
            Strategy(max_fail_percentage=50.0, max_unreachable_percentage=0.0),
        ),
        ("{on_failure: rollback, pause: 1m30s}", Strategy(on_failure="rollback", pause=90.0)),
        ("{on_failure: '{{ then }}', pause: '{{ few }}'}", Strategy(on_failure="continue", pause=2.0)),
    ],
)
def test_a_play_says_how_it_goes_over_its_hosts(tmp_path: Path, keys: str, strategy: Strategy) -> None:
    variables = "{few: 2, share: 50%, sizes: [1, 10%], then: continue}"
    playbook = f"- {{hosts: web, vars: {variables}, tasks: [{{command: a}}], {keys[1:]}\n"
    assert plays(tmp_path, playbook)[0].strategy == strategy
