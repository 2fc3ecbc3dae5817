"""What a host shows, as data, and how it is read from the reply of observe.sh."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from deployer.init import UnitState, parse_states
from deployer.remote.remote import sections
from deployer.transaction.lock import Holder, parse_holder
from deployer.transaction.resolve import Transaction, parse_transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deployer.desired import Binary

_SHA256_DIGITS = 64
_MODE = re.compile("[0-7]{1,5}")
_VERSION = re.compile("[0-9]{1,6}")
_SECONDS = re.compile(r"[0-9]{1,12}\.[0-9]{1,6}")

Proof = Literal["good", "staged", "failed"]
"""Of a release: it was committed once; it never was; it was switched to and did not get well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file on the host."""

    digest: str  # BLAKE2b-512 or SHA-256, in hexadecimal
    mode: str = ""  # octal digits, as stat prints them
    owner: str = ""
    group: str = ""

    def holds(self, text: str) -> bool:
        """Whether `text` is what is in it."""
        kind = hashlib.sha256 if len(self.digest) == _SHA256_DIGITS else hashlib.blake2b
        return self.digest == kind(text.encode()).hexdigest()

    def is_binary(self, binary: Binary) -> bool:
        """Whether it has every byte of `binary`."""
        return self.digest in {binary.sha256, binary.blake2b}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The file system a folder is on."""

    free: int  # bytes
    options: frozenset[str]  # mount options


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Something in the place of a folder that root relies on."""

    mode: str  # octal digits, as stat prints them
    owner: str
    link: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceObservation:
    """One service as it stands on the host."""

    current: str | None  # the release `current` points at
    current_is_link: bool  # False: something else is in its place, or it leads to no release of the service
    releases: Mapping[str, Proof]  # every whole release on disk
    at_boot: str  # no, always, unless-stopped
    stopped_by_operator: bool
    unit: UnitState | None
    runs: str | None = None  # the release that the main process was started from; None: it cannot be told
    deployed: bool = False  # deployer has worked on it here before
    age: float | None = None  # of the main process, in seconds; None: there is none, or it cannot be told
    executable: str = ""  # of the main process, if that lies in no release and was another at the commit
    stranger: str = ""  # the process that has its port instead of it
    leftover: bool = False  # of an upload that was cut off; the next one deletes it
    folders: Mapping[str, Folder] = field(
        default_factory=dict
    )  # by path: what root relies on, as far as it is there
    seal: str = ""  # changes whenever a run changed something
    lock: Holder | None = None
    transaction: Transaction | None = None  # that is open
    before: str | None = None  # when asked for: what was current before `current` was deployed; "-": nothing
    deployed_by: str = ""  # when asked for: the run that deployed `current`


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One host: facts, disks, files by path, services by name."""

    uid: int
    machine: str  # uname -m
    init: str  # systemd, or none
    init_version: str
    tools: frozenset[str]
    disks: Mapping[str, Disk]  # none where every file is as it should be
    files: Mapping[str, File]
    contents: Mapping[str, bytes] = field(repr=False)  # of .env and unit files, when asked for
    services: Mapping[str, ServiceObservation]


def parse_observation(stdout: str) -> Observation:
    """Read the reply of observe.sh."""
    parts = sections(stdout)
    head = [line.split(" ") for line in parts[""]]
    facts = {words[1]: words[2:] for words in head if words[0] == "fact"}
    lines = (line.split("  ", 1) for line in parts.get("digests", ()) if line)
    digests = {path: digest for digest, path in lines}
    stats = [_stat(line) for line in parts.get("stat", ()) if line]
    by_path = {stat.path: stat for stat in stats}
    # Of several mounts at one place the last is the one on top; fstab(5) has the fields.
    mounts = (line.split(" ") for line in parts.get("mounts", ()))
    mounted = {words[1]: frozenset(words[3].split(",")) for words in mounts}
    disks = (line.split(" ") for line in parts.get("disks", ()))
    processes = [line.split(" ", 2) for line in parts.get("processes", ()) if line]
    names = [words[1] for words in head if words[0] == "service"]
    units = dict(zip(names, parse_states(parts.get("units", ())), strict=False))
    init = [*facts.get("init", ["none"]), ""]
    return Observation(
        uid=int(facts["uid"][0]),
        machine=facts["machine"][0],
        init=init[0],
        init_version=_version(init[1]),
        tools=frozenset(words[1] for words in head if words[0] == "tool"),
        disks={
            words[0]: Disk(free=int(words[1]) * 1024, options=mounted.get(words[2], frozenset({"unknown"})))
            for words in disks
            if words[1].isdigit()
        },
        files={path: _file(digest, by_path.get(path)) for path, digest in digests.items()},
        contents={words[1]: base64.b64decode(words[2]) for words in head if words[0] == "contents"},
        services={
            name: _service(
                name,
                words,
                units.get(name),
                current=by_path.get(f"/opt/{name}/current"),
                process={said[1]: said[2] for said in processes if said[0] == name},
                uptime=_uptime(facts.get("uptime", [])),
                folders=_folders(name, by_path),
                seal=_seal(name, by_path),
            )
            for name, words in _by_service(head)
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stat:
    mode: str
    owner: str
    group: str
    size: str
    path: str
    shown: str  # the path in quotes; of a link also where it leads

    @property
    def link(self) -> str | None:
        """Where it leads, or None if it is no link."""
        _, arrow, target = self.shown.partition(" -> ")
        return target.strip("'\"`") if arrow else None


def _version(word: str) -> str:
    """A version of the init system; what looks like a number is one, for it will be compared."""
    if word.isdigit() and not _VERSION.fullmatch(word):
        message = f"{_short(word)} is no version of an init system"
        raise ValueError(message)
    return word


def _uptime(words: Sequence[str]) -> float | None:
    """Seconds since the host's boot, as /proc/uptime has them."""
    if not words:
        return None
    if not _SECONDS.fullmatch(words[0]):
        message = f"{_short(words[0])} is no time since a boot"
        raise ValueError(message)
    return float(words[0])


def _age(unit: UnitState | None, uptime: float | None) -> float | None:
    if unit is None or not unit.main_pid or not unit.started or uptime is None:
        return None
    age = uptime - unit.started / 1e6
    return age if age >= 0 else None  # a container may be told an uptime of its own


def _short(word: str) -> str:
    return repr(word[:20])


def _stat(line: str) -> _Stat:
    mode, owner, group, size, path, shown = line.split(" ", 5)
    if not _MODE.fullmatch(mode):
        message = f"{_short(mode)} is no mode of {path}"
        raise ValueError(message)
    return _Stat(mode=mode, owner=owner, group=group, size=size, path=path, shown=shown)


def _seal(service: str, stats: Mapping[str, _Stat]) -> str:
    """What `seal` of state.sh says."""
    paths = (f"/var/lib/deployer/{service}/ledger", f"/opt/{service}/current")
    return "\n".join(f"{stats[path].size} {stats[path].shown}" for path in paths if path in stats)


def _folders(service: str, stats: Mapping[str, _Stat]) -> dict[str, Folder]:
    state = {f"/var/lib/deployer/{service}", "/var/lib/deployer", f"/var/lib/{service}"}
    tops = {*state, f"/opt/{service}", "/opt/."}
    releases = f"/opt/{service}/releases"
    return {
        path: Folder(mode=stat.mode, owner=stat.owner, link=stat.link is not None)
        for path, stat in stats.items()
        if path in tops or path == releases or path.startswith(f"{releases}/")
    }


def _file(digest: str, stat: _Stat | None) -> File:
    if stat is None:
        return File(digest=digest)
    return File(digest=digest, mode=stat.mode, owner=stat.owner, group=stat.group)


def _by_service(head: Sequence[Sequence[str]]) -> Iterator[tuple[str, list[Sequence[str]]]]:
    name = ""
    lines: list[Sequence[str]] = []
    for words in [*head, ("service", "")]:
        if words[0] == "service":
            if name:
                yield name, lines
            name, lines = words[1], []
        else:
            lines.append(words)


def _service(
    name: str,
    lines: Sequence[Sequence[str]],
    unit: UnitState | None,
    *,
    current: _Stat | None,
    process: Mapping[str, str],
    uptime: float | None,
    folders: Mapping[str, Folder],
    seal: str,
) -> ServiceObservation:
    said = {words[0]: list(words[1:]) for words in lines}
    link = current.link if current else None
    return ServiceObservation(
        current=link.rpartition("/")[2] if link else None,
        current_is_link=current is None or _leads_to_a_release(link, name),
        releases={words[1]: _proof(words[2]) for words in lines if words[0] == "release"},
        before=said["before"][0] if "before" in said else None,
        deployed_by=said["before"][1] if "before" in said else "",
        seal=seal,
        lock=parse_holder(said["lock"]) if "lock" in said else None,
        transaction=parse_transaction(said["transaction"]) if "transaction" in said else None,
        at_boot=said["at_boot"][0] if "at_boot" in said else "no",
        stopped_by_operator="stopped_by_operator" in said,
        unit=unit,
        runs=process.get("runs"),
        age=_age(unit, uptime),
        executable=process.get("executable", ""),
        stranger=process.get("stranger", ""),
        leftover="leftover" in said,
        deployed=f"/var/lib/deployer/{name}" in folders,
        folders=folders,
    )


def _leads_to_a_release(link: str | None, service: str) -> bool:
    folder, _, release = (link or "").rpartition("/")
    return bool(release) and folder in {"releases", f"/opt/{service}/releases"}


def _proof(word: str) -> Proof:
    return cast("Proof", word) if word in {"good", "staged"} else "failed"
