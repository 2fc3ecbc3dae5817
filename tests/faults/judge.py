"""Whether a host is on one release, whole and running: everything that could disagree must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.faults.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a release of this version must be, file by file."""

    version: str
    binary: str  # sha256, as the others
    env: str
    unit: str


def judge_process(state: State, answer: str, allowed: Collection[Version]) -> tuple[str, ...]:
    """What is wrong with what serves: it must be one of `allowed`, its binary and its environment whole."""
    version = next((each for each in allowed if each.version == answer), None)
    if version is None:
        wanted = " or ".join(each.version for each in allowed)
        return (f"/health says {answer or 'nothing good'}, not {wanted}; the unit is {state.active}",)
    wrong = []
    if state.active != "active/running":
        wrong.append(f"the unit is {state.active}")
    if state.process_binary != version.binary:
        wrong.append(f"the process runs another binary than that of {answer}")
    if state.process_version != answer:
        wrong.append(f"the process of {answer} has the environment of {state.process_version or 'none'}")
    return tuple(wrong)


def judge_whole(state: State, answer: str, allowed: Collection[Version]) -> tuple[str, ...]:
    """As judge_process, and the release on disk, `current`, the unit and the process all agree."""
    wrong = list(judge_process(state, answer, allowed))
    version = next((each for each in allowed if each.version == answer), None)
    if version is None:
        return tuple(wrong)
    for what, found, wanted in (
        ("binary", state.release_binary, version.binary),
        (".env", state.release_env, version.env),
        ("unit", state.release_unit, version.unit),
        ("installed unit", state.installed_unit, version.unit),
    ):
        if found != wanted:
            place = "" if what == "installed unit" else f" in {state.current or 'no current release'}"
            wrong.append(
                f"{answer} answers, but the {what}{place} is {'not its own' if found else 'missing'}"
            )
    if not state.process_folder.endswith(f"/{state.current}"):
        wrong.append(f"the process stands in {state.process_folder}, current is {state.current}")
    if state.need_reload != "no":
        wrong.append("systemd has not loaded the unit that is installed")
    if state.at_boot != "yes":
        wrong.append("nothing would start it at boot")
    if state.stopped_by_operator:
        wrong.append("it counts as stopped by its operator")
    return tuple(wrong)


def judge_at_rest(state: State, ended: Collection[str] = ()) -> tuple[str, ...]:
    """What is left behind although all is over.

    `ended` are runs that came to their own end, and so must have let go of their locks; a lock of another
    one that has expired is free.
    """
    wrong = []
    if state.lock and (int(state.lock_left or 0) > 0 or any(f"run={run} " in state.lock for run in ended)):
        wrong.append(f"a lock is left: {state.lock}")
    if state.transaction:
        wrong.append(f"a journal is left: {state.transaction}")
    if state.litter:
        wrong.append(f"files are left half-way: {state.litter}")
    return tuple(wrong)
