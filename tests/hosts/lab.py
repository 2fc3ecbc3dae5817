"""A set of test hosts on a network of their own."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts import places, recipe, roots, secure_shell
from tests.hosts.cgroups import Cgroup
from tests.hosts.host import TestHost
from tests.hosts.network import LARGEST_LAB, Network, Port
from tests.hosts.processes import Process, machine_boot
from tests.hosts.programs import HostsError, check_machine, run
from tests.hosts.record import Record, owner_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
LARGEST_NUMBER = 254
REPOSITORY = Path(__file__).parents[2]

# Every host's systemd, logind, dbus and journald hold a few; the kernel's default of 128 per user is enough
# for 17 hosts, and the next ones hang without a word.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_WANTED = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """Running test hosts, and what is needed to talk to them."""

    name: str
    folder: Path
    network: Network
    hosts: tuple[TestHost, ...]
    sudo_password: str = field(repr=False)

    @classmethod
    def up(
        cls,
        count: int,
        *,
        flavours: Sequence[str],
        owner_pid: int | None,
        name: str | None = None,
    ) -> Lab:
        """Start `count` hosts, their flavours taken in turn, and return when people can log in on each.

        A lab with an owner goes down when that process ends, however it ends.  Raises HostsError, and then
        leaves nothing behind.
        """
        check_machine()
        kinds = _kinds(count, flavours)
        owner = owner_of(owner_pid)
        lowers = {kind: roots.ensure(recipe.KNOWN[kind]) for kind in sorted(set(kinds))}
        reap()
        _allow_many_hosts()
        lab = cls._allot(name, kinds, owner)
        try:
            if owner is not None:
                lab._start_watcher()
            lab._furnish([lowers[kind] for kind in kinds])
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def _allot(cls, name: str | None, kinds: tuple[str, ...], owner: Process | None) -> Lab:
        """Take a name and a subnet that nobody has, and write them down before anything is made."""
        if name is not None and not NAME.fullmatch(name):
            raise HostsError(f"{name!r} is no name for a lab: use a-z, 0-9 and -")
        with places.locked(places.MACHINE_LOCK):
            number = _next_number([lab.network.number for lab in cls.all()])
            network = Network(number=number)
            name = name or f"lab{number}"
            folder = places.state() / name
            if folder.exists():
                raise HostsError(f"a lab {name} is up already")
            # Renamed into place with its record, so that no folder is ever without one.
            partial = folder.with_name(f".{name}")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            Record(
                name=name,
                number=number,
                flavours=kinds,
                sudo_password=secrets.token_urlsafe(12),
                machine_boot=machine_boot(),
                owner=owner,
            ).write(partial)
            partial.rename(folder)
            lab = cls.load(folder)
            if lab is None:
                raise HostsError(f"{folder}: what was just written cannot be read")
            try:
                network.create()
            except BaseException:
                lab._tear_down()
                raise
        return lab

    @classmethod
    def load(cls, folder: Path) -> Lab | None:
        """The lab in this folder, whoever started it."""
        record = Record.read(folder)
        if record is None:
            return None
        network = Network(number=record.number)
        hosts = tuple(
            TestHost(
                name=f"host{index}",
                flavour=flavour,
                folder=folder / f"host{index}",
                port=Port(network=network, index=index),
                key=folder / "key",
                known_hosts=folder / "known_hosts",
            )
            for index, flavour in enumerate(record.flavours, start=1)
        )
        return cls(
            name=record.name,
            folder=folder,
            network=network,
            hosts=hosts,
            sudo_password=record.sudo_password,
        )

    @classmethod
    def all(cls) -> tuple[Lab, ...]:
        """Every lab that is written down, in order of name."""
        folders = sorted(places.state().glob("[a-z0-9]*"))
        return tuple(lab for lab in map(cls.load, folders) if lab is not None)

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yml"

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def record(self) -> Record | None:
        return Record.read(self.folder)

    def known_at(self, host: TestHost, place: str) -> str:
        """The line of known_hosts for a host of this lab that is called by another name or address."""
        lines = self.known_hosts.read_text().splitlines()
        _, kind, key, *_ = next(line for line in lines if line.startswith(f"{host.name},")).split()
        return f"{place} {kind} {key}\n"

    def _furnish(self, lowers: Sequence[Path]) -> None:
        authorized = secure_shell.make_key(self.key, comment=f"test hosts {self.name}")
        sudo_hash = _password_hash(self.sudo_password)

        def furnish(host: TestHost, lower: Path) -> str:
            host_key = host.create(lower, authorized_key=authorized, sudo_hash=sudo_hash)
            host.switch_on()
            kind, key, *_ = host_key.split()
            return f"{host.name},{host.address} {kind} {key}\n"

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
            self.known_hosts.write_text("".join(workers.map(furnish, self.hosts, lowers)))
        self.write_inventory(self.inventory)
        with ThreadPoolExecutor(max_workers=len(self.hosts)) as waiters:
            list(waiters.map(TestHost.wait_until_ready, self.hosts))

    def write_inventory(self, file: Path) -> None:
        """Write an Ansible inventory of the hosts."""
        hosts = "".join(f"    {host.name}:\n      ansible_host: {host.address}\n" for host in self.hosts)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            "web:\n"
            f"  hosts:\n{hosts}"
            "  vars:\n"
            "    ansible_user: deploy\n"
            f'    ansible_ssh_private_key_file: "{self.key}"\n'
            "    ansible_become: true\n"
            f'    ansible_ssh_common_args: "-o UserKnownHostsFile={self.known_hosts}"\n'
        )

    # -- the end --

    def down(self) -> None:
        """End every host and leave nothing; a lab that is down already is no error."""
        with places.locked(places.MACHINE_LOCK):
            self._tear_down()

    def _tear_down(self) -> None:
        record = self.record
        # Gone already?  By now the folder may be another lab's, of the same name.
        if record is None or Lab.load(self.folder) != self:
            return
        if record.here and record.watcher is not None and record.watcher.pid != os.getpid():
            record.watcher.kill()
        # The machine's reboot leaves only files of a lab; its subnet and names may be another lab's by now.
        if record.here or not self.network.exists:
            Cgroup(name=self.network.tag).kill()
            with ThreadPoolExecutor(max_workers=8) as workers:
                list(workers.map(TestHost.destroy, self.hosts))
            self.network.remove()
            Cgroup(name=self.network.tag).remove()
        mounted = _mounts_below(self.folder)
        if mounted:
            raise HostsError(f"{mounted[0]} is mounted: unmount it, then take the lab {self.name} down again")
        # The record goes last, so that whoever is interrupted here can be followed up.
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lab.json":
                path.unlink()
        shutil.rmtree(self.folder)

    def disown(self) -> None:
        """From now on the lab stays until somebody takes it down."""
        with places.locked(places.MACHINE_LOCK):
            record = self.record
            if record is not None and Lab.load(self.folder) == self:
                if record.watcher is not None:
                    record.watcher.kill()
                replace(record, owner=None, watcher=None).write(self.folder)

    def _start_watcher(self) -> None:
        """Start the process that outlives the owner and takes the lab down."""
        run(
            *("setsid", "--fork", "sh", "-c", 'cd "$0" && exec "$@" >/dev/null 2>&1', str(REPOSITORY)),
            *(sys.executable, "-m", "tests.hosts", "watch", str(self.folder)),
        )

    def watch(self) -> None:
        """Be that process."""
        with places.locked(places.MACHINE_LOCK):
            record = self.record
            if record is None or record.owner is None:
                return
            record = replace(record, watcher=Process.of(os.getpid()))
            record.write(self.folder)
        owner = record.owner
        while owner is not None and not owner.wait(seconds=5):
            if self.record != record:
                return
        with places.locked(places.MACHINE_LOCK):
            # Asked again under the lock: it may be down, and another lab may have its name.
            if self.record == record:
                self._tear_down()


def reap() -> None:
    """Take down the labs that nobody can want any more."""
    with places.locked(places.MACHINE_LOCK):
        for lab in Lab.all():
            record = lab.record
            if record is not None and record.stale:
                lab._tear_down()  # one lock for all of them


def _next_number(taken: Sequence[int]) -> int:
    """The subnet after the last one given out, so that none means two labs within a short time."""
    file = places.state() / ".last-number"
    last = int(file.read_text()) if file.exists() else 0
    for step in range(LARGEST_NUMBER):
        number = (last + step) % LARGEST_NUMBER + 1
        taken_name = (places.state() / f"lab{number}").exists()
        if number not in taken and not taken_name and not Network(number=number).exists:
            places.state().mkdir(parents=True, exist_ok=True)
            file.write_text(f"{number}\n")
            return number
    raise HostsError("every subnet of 10.213.0.0/16 has a lab")


def _kinds(count: int, flavours: Sequence[str]) -> tuple[str, ...]:
    if not 1 <= count <= LARGEST_LAB:
        raise HostsError(f"a lab has 1 to {LARGEST_LAB} hosts")
    unknown = [flavour for flavour in flavours if flavour not in recipe.KNOWN]
    if unknown or not flavours:
        raise HostsError(f"no flavour {', '.join(unknown)}: there are {', '.join(recipe.FLAVOURS)}")
    return tuple(itertools.islice(itertools.cycle(flavours), count))


def _allow_many_hosts() -> None:
    if int(INOTIFY.read_text()) < INOTIFY_WANTED:
        INOTIFY.write_text(str(INOTIFY_WANTED))


def _password_hash(password: str) -> str:
    # Perl is on every Debian; Python's crypt is gone since 3.13.
    return run(
        "perl",
        *("-e", "my ($password, $salt) = map { chomp; $_ } <STDIN>; print crypt($password, $salt)"),
        stdin=f"{password}\n$6${secrets.token_hex(8)}$\n",
    )


def _mounts_below(folder: Path) -> list[str]:
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [mount for mount in mounts if mount.startswith(f"{folder}/")]
