"""The command `scripts/hosts`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts import recipe, roots
from tests.hosts.lab import Lab, reap
from tests.hosts.programs import HostsError, check_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.hosts.host import TestHost

FLAVOURS = {**{name: (name,) for name in recipe.FLAVOURS}, "mixed": tuple(recipe.FLAVOURS)}


def main(argv: Sequence[str]) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(argv)
    try:
        check_machine()
        return _obey(options)
    except HostsError as error:
        sys.stderr.write(f"hosts: {error}\n")
    except OSError as error:  # a full disk, a folder nobody may write: the machine's matter, not a bug
        sys.stderr.write(f"hosts: {error}\n")
    except KeyboardInterrupt:
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hosts", description="Real test hosts: systemd and sshd in containers."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    up = commands.add_parser("up", help="start N hosts that stay until `down`")
    up.add_argument("count", type=int, metavar="N")
    up.add_argument("--flavour", choices=FLAVOURS, default="mixed")
    up.add_argument("--name", metavar="LAB")
    up.add_argument("--inventory", type=Path, metavar="FILE", help="write the inventory here too")
    down = commands.add_parser("down", help="end a lab, or every lab that no living test run owns")
    down.add_argument("lab", nargs="?", metavar="LAB")
    commands.add_parser("list", help="show labs and hosts")
    commands.add_parser("roots", help="only build the root folders that hosts are made from")
    for name, does in {
        "power-cut": "switch a host off as a power cut does",
        "boot": "switch it on again",
        "reboot": "reboot it from inside",
    }.items():
        commands.add_parser(name, help=does).add_argument("host", metavar="H", help="HOST or LAB/HOST")
    ssh = commands.add_parser("ssh", help="log in, or run a command")
    ssh.add_argument("host", metavar="H", help="HOST or LAB/HOST")
    ssh.add_argument("argv", nargs=argparse.REMAINDER, metavar="[--user USER] [CMD ...]")
    watch = commands.add_parser("watch")  # what a lab with an owner starts for itself
    watch.add_argument("folder", type=Path)
    return parser


def _obey(options: argparse.Namespace) -> int:
    match options.command:
        case "up":
            _up(options)
        case "down":
            _down(options.lab)
        case "list":
            for lab in Lab.all():
                _show(lab)
        case "roots":
            for flavour in recipe.FLAVOURS.values():
                _say(f"{roots.ensure(flavour)}")
        case "power-cut":
            _find(options.host).power_cut()
        case "boot":
            _find(options.host).boot()
        case "reboot":
            _find(options.host).reboot()
        case "ssh":
            _ssh(options.host, options.argv)
        case "watch":
            watched = Lab.load(options.folder)
            if watched is not None:
                watched.watch()
    return 0


def _up(options: argparse.Namespace) -> None:
    # Until it is up the lab is ours: a killed `up` leaves nothing.
    lab = Lab.up(options.count, flavours=FLAVOURS[options.flavour], owner_pid=os.getpid(), name=options.name)
    try:
        if options.inventory is not None:
            lab.write_inventory(options.inventory)
    except OSError as error:
        lab.down()
        raise HostsError(f"cannot write the inventory: {error}") from None
    lab.disown()
    _show(lab)


def _ssh(host: str, argv: Sequence[str]) -> None:
    # By hand, because argparse would take the options of CMD for ours.
    user = "root"
    if argv[:1] == ["--user"]:
        user, argv = "".join(argv[1:2]), argv[2:]
    if user not in ("root", *recipe.USERS):
        raise HostsError(f"--user is one of root, {', '.join(recipe.USERS)}")
    if argv[:1] == ["--"]:
        argv = argv[1:]
    client = _find(host).ssh_client(user=user)
    os.execvp(client[0], (*client, *argv))  # noqa: S606  # the client is to have our terminal


def _down(name: str | None) -> None:
    reap()
    labs = Lab.all()
    if name is not None:
        labs = tuple(lab for lab in labs if lab.name == name)
        if not labs:
            raise HostsError(f"there is no lab {name}")
    for lab in labs:
        record = lab.record
        # Somebody's test run is not ended by a broad `down`; by its name it can be.
        if name is not None or (record is not None and record.owner is None):
            lab.down()


def _show(lab: Lab) -> None:
    record = lab.record
    owner = "" if record is None or record.owner is None else f"  (of process {record.owner.pid})"
    _say(f"{lab.name}  {lab.inventory}{owner}")
    for host in lab.hosts:
        _say(f"  {host.name:8} {host.address:14} {host.flavour}  {'on' if host.alive else 'off'}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _find(wanted: str) -> TestHost:
    lab_name, _, name = wanted.rpartition("/")
    labs = [lab for lab in Lab.all() if lab_name in ("", lab.name)]
    found = [host for lab in labs for host in lab.hosts if host.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise HostsError(
            f"several labs have a host {name}: say LAB/{name} ({', '.join(lab.name for lab in labs)})"
        )
    raise HostsError(f"there is no host {wanted}: see `list`")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
