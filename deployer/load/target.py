"""From Ansible's connection variables to a Target: where each setting comes from, and what it means."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import Problem
from deployer.load.template import TemplateFailure
from deployer.secret import Secret
from deployer.target import Become, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.errors import Mark
    from deployer.load.options import ConnectionOptions
    from deployer.load.schema import PlayModel
    from deployer.load.template import Variables
    from deployer.target import HostKeyChecking

_DIGITS = re.compile(r"[0-9]{1,9}")
_TRUE = {"true", "yes", "on", "1", "y", "t"}  # Ansible's BOOLEANS_TRUE
_FALSE = {"false", "no", "off", "0", "n", "f"}


class BadVariableError(Exception):
    """A connection variable cannot be used; carries the Problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def make_target(
    *,
    name: str,
    variables: Variables,
    origins: Mapping[str, Mark],
    play: PlayModel,
    options: ConnectionOptions,
) -> Target:
    """Connection settings of one host; variables win over the play's keywords, those over the command line.

    Source: Ansible's "Controlling how Ansible behaves: precedence rules".  Raises BadVariableError.
    """
    read = _Reader(variables, origins)
    connection = read.text("ansible_connection") or "ssh"
    if connection not in {"ssh", "smart", "paramiko", "paramiko_ssh"}:
        raise read.bad("ansible_connection", f"connection {connection!r} is not supported; ssh is")
    ssh = _ssh_arguments(read)
    key = read.text("ansible_ssh_private_key_file", "ansible_private_key_file") or ssh.get("identityfile")
    port = read.number("ansible_port", "ansible_ssh_port") or play.port
    known_hosts = tuple(
        Path(path).expanduser() for path in ssh.get("userknownhostsfile", "").split() if path != "none"
    )
    timeout = read.seconds("ansible_ssh_timeout", "ansible_timeout")
    if _DIGITS.fullmatch(ssh.get("connecttimeout", "")):
        timeout = float(ssh["connecttimeout"])
    return Target(
        address=read.text("ansible_host", "ansible_ssh_host") or name,
        port=port or (int(ssh["port"]) if _DIGITS.fullmatch(ssh.get("port", "")) else None),
        user=read.text("ansible_user", "ansible_ssh_user")
        or ssh.get("user")
        or play.remote_user
        or options.user,
        password=read.secret("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
        key_file=Path(key).expanduser() if key else options.private_key,
        become=_become(read, play, options),
        host_key_checking=_host_key_checking(read, play, ssh),
        known_hosts=known_hosts,
        proxy_jump=ssh.get("proxyjump"),
        proxy_command=ssh.get("proxycommand"),
        ssh_config=Path(ssh["configfile"]).expanduser() if "configfile" in ssh else None,
        connect_timeout=timeout or options.timeout,
    )


def _become(read: _Reader, play: PlayModel, options: ConnectionOptions) -> Become | None:
    wanted = read.boolean("ansible_become")
    if wanted is None:
        wanted = play.become if play.become is not None else options.become
    if not wanted:
        return None
    method = read.text("ansible_become_method") or "sudo"
    if method != "sudo":
        raise read.bad("ansible_become_method", f"become method {method!r} is not supported; sudo is")
    user = read.text("ansible_become_user") or play.become_user or options.become_user or "root"
    password = read.secret("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
    return Become(user=user, password=password or options.become_password)


def _host_key_checking(read: _Reader, play: PlayModel, ssh: dict[str, str]) -> HostKeyChecking:
    """`accept-new` only where somebody wrote down that unknown keys are fine; a changed key never is."""
    word = read.text("host_key_checking")
    if word is not None:
        match word:
            case "strict" | "accept-new":
                return word
            case _:
                raise read.bad("host_key_checking", "must be strict or accept-new")
    if play.host_key_checking is not None:
        return play.host_key_checking
    if read.boolean("ansible_host_key_checking", "ansible_ssh_host_key_checking") is False:
        return "accept-new"
    return "accept-new" if ssh.get("stricthostkeychecking") in {"no", "off", "accept-new"} else "strict"


_SSH_OPTIONS = {
    "connecttimeout",
    "identityfile",
    "port",
    "proxycommand",
    "proxyjump",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
}
_HARMLESS = {  # about OpenSSH's own connection sharing and manners; without meaning here
    "batchmode",
    "compression",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forwardagent",
    "identitiesonly",
    "loglevel",
    "passwordauthentication",
    "preferredauthentications",
    "serveraliveinterval",
    "serveralivecountmax",
    "tcpkeepalive",
}
_OPTION = re.compile(r"\s*([^\s=]*)\s*=?\s*(.*?)\s*", re.DOTALL)  # ssh_config(5): a blank, or one =
_FLAGS = {"-F": "configfile", "-J": "proxyjump", "-i": "identityfile", "-l": "user", "-p": "port"}


def _ssh_arguments(read: _Reader) -> dict[str, str]:
    """What OpenSSH's command line options in the inventory mean: `-o Key=Value`, -F, -J, -i, -l, -p."""
    found: dict[str, str] = {}
    for variable in ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"):
        text = read.text(variable)
        if not text:
            continue
        try:
            words = shlex.split(text)
        except ValueError:
            raise read.bad(variable, "has an unclosed quote") from None
        while words:
            word = words.pop(0)
            flag, attached = word[:2], word[2:]
            if flag not in {"-o", *_FLAGS} or (not attached and not words):
                if word in {"-C", "-q", "-A", "-a", "-4", "-6"}:
                    continue
                raise read.bad(variable, f"the ssh option {word!r} is not supported")
            value = attached or words.pop(0)
            key = _FLAGS.get(flag, "")
            if flag == "-o":
                key, value = _OPTION.fullmatch(value).groups()  # type: ignore[union-attr]  # matches any text
                key = key.lower()
                if key in _HARMLESS:
                    continue
                if key not in _SSH_OPTIONS:
                    hint = "put it into ~/.ssh/config, or leave it out"
                    raise read.bad(variable, f"the ssh option {key!r} is not supported", hint=hint)
            found.setdefault(key, value)  # ssh_config(5): the first value wins
    return found


class _Reader:
    """Connection variables with their old names, checked for type."""

    def __init__(self, variables: Variables, origins: Mapping[str, Mark]) -> None:
        self._variables = variables
        self._origins = origins

    def bad(self, name: str, message: str, *, hint: str = "") -> BadVariableError:
        return BadVariableError(
            Problem(message=f"{name}: {message}", mark=self._origins.get(name), hint=hint)
        )

    def _first(self, names: tuple[str, ...]) -> tuple[str, Any]:
        for name in names:
            try:
                value = self._variables.get(name)
            except TemplateFailure as failure:
                raise self.bad(name, str(failure)) from None
            if value is not None and value != "":
                return name, value
        return names[0], None

    def text(self, *names: str) -> str | None:
        name, value = self._first(names)
        if isinstance(value, list | dict | bool):
            raise self.bad(name, "must be text")
        return None if value is None else str(value)

    def secret(self, *names: str) -> Secret | None:
        value = self.text(*names)
        return None if value is None else Secret(value)

    def number(self, *names: str) -> int | None:
        name, value = self._first(names)
        if value is None:
            return None
        if not _DIGITS.fullmatch(str(value)) or not 0 < int(value) < 65536:  # noqa: PLR2004  a TCP port
            raise self.bad(name, "must be a port number")
        return int(value)

    def seconds(self, *names: str) -> float | None:
        name, value = self._first(names)
        if value is None:
            return None
        if not _DIGITS.fullmatch(str(value)):
            raise self.bad(name, "must be a number of seconds")
        return float(value)

    def boolean(self, *names: str) -> bool | None:
        name, value = self._first(names)
        word = str(value).lower()
        if value is None:
            return None
        if word not in _TRUE | _FALSE:
            raise self.bad(name, "must be true or false")
        return word in _TRUE
