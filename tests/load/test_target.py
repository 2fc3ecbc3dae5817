"""Connection variables of an Ansible inventory reach the host as Ansible would; variable > play > option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.errors import Mark
from deployer.load import ConnectionOptions
from deployer.load.schema import PlayModel
from deployer.load.target import BadVariableError, make_target
from deployer.load.template import Variables
from deployer.secret import Secret
from deployer.target import Become, Target


def target(
    variables: dict[str, Any] | None = None,
    play: dict[str, Any] | None = None,
    options: ConnectionOptions | None = None,
) -> Target:
    raw = variables or {}
    return make_target(
        name="web1",
        variables=Variables(raw),
        origins={name: Mark(file="hosts", line=1, column=6) for name in raw},
        play=PlayModel.model_validate({"hosts": "all", **(play or {})}),
        options=options or ConnectionOptions(),
    )


HOME = Path("~").expanduser()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Target(address="web1")),
        ({"ansible_host": "10.0.0.1"}, Target(address="10.0.0.1")),
        ({"ansible_ssh_host": "10.0.0.1"}, Target(address="10.0.0.1")),
        ({"ansible_host": "", "ansible_ssh_host": "a"}, Target(address="a")),
        ({"ansible_port": 2222}, Target(address="web1", port=2222)),
        ({"ansible_port": "2222"}, Target(address="web1", port=2222)),
        ({"ansible_ssh_port": 2222}, Target(address="web1", port=2222)),
        ({"ansible_user": "deploy"}, Target(address="web1", user="deploy")),
        ({"ansible_ssh_user": "deploy"}, Target(address="web1", user="deploy")),
        ({"ansible_user": 5}, Target(address="web1", user="5")),
        ({"ansible_password": "hunter2"}, Target(address="web1", password=Secret("hunter2"))),
        ({"ansible_ssh_pass": 1234}, Target(address="web1", password=Secret("1234"))),
        ({"ansible_ssh_private_key_file": "~/k"}, Target(address="web1", key_file=HOME / "k")),
        ({"ansible_private_key_file": "k"}, Target(address="web1", key_file=Path("k"))),
        ({"ansible_timeout": 30}, Target(address="web1", connect_timeout=30)),
        ({"ansible_ssh_timeout": "30"}, Target(address="web1", connect_timeout=30)),
        ({"ansible_connection": "ssh"}, Target(address="web1")),
        ({"ansible_connection": "smart"}, Target(address="web1")),
        ({"ansible_become": True}, Target(address="web1", become=Become())),
        ({"ansible_become": "yes"}, Target(address="web1", become=Become())),
        ({"ansible_become": "no"}, Target(address="web1")),
        ({"ansible_become_user": "x"}, Target(address="web1")),
        (
            {"ansible_become": 1, "ansible_become_user": "x", "ansible_become_password": "hunter2"},
            Target(address="web1", become=Become(user="x", password=Secret("hunter2"))),
        ),
        ({"ansible_host": "{{ ip }}", "ip": "10.0.0.1"}, Target(address="10.0.0.1")),
        ({"ansible_host_key_checking": False}, Target(address="web1", host_key_checking="accept-new")),
        ({"ansible_ssh_host_key_checking": "no"}, Target(address="web1", host_key_checking="accept-new")),
        ({"ansible_host_key_checking": True}, Target(address="web1")),
        ({"host_key_checking": "accept-new"}, Target(address="web1", host_key_checking="accept-new")),
    ],
)
def test_a_variable_of_ansible_reaches_the_target(variables: dict[str, Any], expected: Target) -> None:
    assert target(variables) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-J bastion", Target(address="web1", proxy_jump="bastion")),
        ("-Jme@a:22,b", Target(address="web1", proxy_jump="me@a:22,b")),
        ("-o ProxyJump=bastion", Target(address="web1", proxy_jump="bastion")),
        ("-oProxyJump=bastion", Target(address="web1", proxy_jump="bastion")),
        ("-o 'ProxyJump bastion'", Target(address="web1", proxy_jump="bastion")),
        ("-o 'proxyjump = bastion'", Target(address="web1", proxy_jump="bastion")),
        (
            "-o ProxyCommand='ssh -W %h:%p bastion'",
            Target(address="web1", proxy_command="ssh -W %h:%p bastion"),
        ),
        ("-F ssh_config", Target(address="web1", ssh_config=Path("ssh_config"))),
        (
            "-i ~/k -l me -p 2222",
            Target(address="web1", key_file=HOME / "k", user="me", port=2222),
        ),
        ("-o User=me -o User=you", Target(address="web1", user="me")),  # the first wins, ssh_config(5)
        ("-o ConnectTimeout=3", Target(address="web1", connect_timeout=3)),
        ("-o StrictHostKeyChecking=no", Target(address="web1", host_key_checking="accept-new")),
        ("-o StrictHostKeyChecking=yes", Target(address="web1")),
        ("-o UserKnownHostsFile=/a", Target(address="web1", known_hosts=(Path("/a"),))),
        ("-o UserKnownHostsFile='/a ~/b'", Target(address="web1", known_hosts=(Path("/a"), HOME / "b"))),
        (
            "-C -q -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=5",
            Target(address="web1"),
        ),
    ],
)
def test_ssh_arguments_mean_what_they_mean_to_ssh(arguments: str, expected: Target) -> None:
    for variable in ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"):
        assert target({variable: arguments}) == expected


def test_a_key_that_accepts_anything_is_never_trusted_that_far() -> None:
    careless = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    assert target({"ansible_ssh_common_args": careless}).host_key_checking == "accept-new"


OPTIONS = ConnectionOptions(
    user="option",
    private_key=Path("option"),
    become=True,
    become_user="option",
    become_password=Secret("option"),
    timeout=1.0,
)
PLAY = {"remote_user": "play", "port": 1, "become": True, "become_user": "play"}
VARIABLES = {
    "ansible_user": "variable",
    "ansible_port": 2,
    "ansible_become": True,
    "ansible_become_user": "variable",
    "ansible_become_password": "variable",
    "ansible_ssh_private_key_file": "variable",
    "ansible_timeout": 3,
}


def test_a_variable_wins_over_the_play_and_the_play_over_the_command_line() -> None:
    assert target({}, {}, OPTIONS) == Target(
        address="web1",
        user="option",
        key_file=Path("option"),
        become=Become(user="option", password=Secret("option")),
        connect_timeout=1.0,
    )
    assert target({}, PLAY, OPTIONS) == Target(
        address="web1",
        user="play",
        port=1,
        key_file=Path("option"),
        become=Become(user="play", password=Secret("option")),
        connect_timeout=1.0,
    )
    assert target(VARIABLES, PLAY, OPTIONS) == Target(
        address="web1",
        user="variable",
        port=2,
        key_file=Path("variable"),
        become=Become(user="variable", password=Secret("variable")),
        connect_timeout=3.0,
    )


@pytest.mark.parametrize(
    ("variables", "play", "option", "becomes"),
    [
        ({}, {}, False, False),
        ({}, {}, True, True),
        ({}, {"become": False}, True, False),
        ({"ansible_become": "yes"}, {"become": False}, False, True),
        ({"ansible_become": "no"}, {"become": True}, True, False),
        ({"ansible_become": "no"}, {}, True, False),
    ],
)
def test_an_explicit_no_to_become_is_honoured(
    variables: dict[str, Any], play: dict[str, Any], *, option: bool, becomes: bool
) -> None:
    found = target(variables, play, ConnectionOptions(become=option))
    assert (found.become is not None) is becomes


@pytest.mark.parametrize(
    ("variables", "play", "checking"),
    [
        ({}, {}, "strict"),
        ({}, {"host_key_checking": "accept-new"}, "accept-new"),
        ({"host_key_checking": "strict"}, {"host_key_checking": "accept-new"}, "strict"),
        ({"ansible_host_key_checking": False}, {"host_key_checking": "strict"}, "strict"),
    ],
)
def test_host_keys_are_checked_as_strictly_as_somebody_wrote_down(
    variables: dict[str, Any], play: dict[str, Any], checking: str
) -> None:
    assert target(variables, play).host_key_checking == checking


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ansible_port": "http"}, "ansible_port: must be a port number"),
        ({"ansible_port": 0}, "ansible_port: must be a port number"),
        ({"ansible_port": 65536}, "ansible_port: must be a port number"),
        ({"ansible_port": "²"}, "ansible_port: must be a port number"),
        ({"ansible_port": True}, "ansible_port: must be a port number"),
        ({"ansible_host": ["a"]}, "ansible_host: must be text"),
        ({"ansible_user": True}, "ansible_user: must be text"),
        ({"ansible_password": {"a": "hunter2"}}, "ansible_password: must be text"),
        ({"ansible_become": "hunter2"}, "ansible_become: must be true or false"),
        ({"ansible_timeout": "soon"}, "ansible_timeout: must be a number of seconds"),
        ({"ansible_user": "{{ nobody }}"}, "ansible_user: 'nobody' is undefined"),
        ({"ansible_connection": "local"}, "ansible_connection: connection 'local' is not supported; ssh is"),
        (
            {"ansible_become": True, "ansible_become_method": "doas"},
            "ansible_become_method: become method 'doas' is not supported; sudo is",
        ),
        (
            {"ansible_ssh_common_args": "-o Tunnel=yes"},
            (
                "ansible_ssh_common_args: the ssh option 'tunnel' is not supported"
                " (put it into ~/.ssh/config, or leave it out)"
            ),
        ),
        ({"ansible_ssh_args": "-w"}, "ansible_ssh_args: the ssh option '-w' is not supported"),
        ({"ansible_ssh_args": "-o"}, "ansible_ssh_args: the ssh option '-o' is not supported"),
        ({"ansible_ssh_args": "'hunter2"}, "ansible_ssh_args: has an unclosed quote"),
        ({"host_key_checking": "no"}, "host_key_checking: must be strict or accept-new"),
    ],
)
def test_a_variable_that_cannot_be_used_is_told_by_its_place(variables: dict[str, Any], message: str) -> None:
    with pytest.raises(BadVariableError) as caught:
        target(variables)
    assert str(caught.value) == f"hosts:1:6: {message}"
