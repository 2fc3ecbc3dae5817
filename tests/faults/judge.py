"""Whether a host is on one release, whole and running: everything that could disagree must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.fault import JUDGED, SPOILED, At, Kind

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.faults.fault import Fault
    from tests.faults.state import State

HARMLESS = {
    *(Kind.NONE, Kind.FLAPPING, Kind.OPERATOR_START, Kind.OPERATOR_RESTART, Kind.OPERATOR_EDIT),
    *(Kind.SYSTEMCTL_DEAF, Kind.DAEMON_RELOAD, Kind.DAEMON_REEXEC, Kind.LOCK_HOLDER, Kind.CONTROLLER_CLOSED),
}
"""Kinds that may cost a run nothing but time."""
AFTERWARDS = {*SPOILED, Kind.OPERATOR_STOP}
"""Kinds after which a host is not as the run left it, if they come after its last look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a release of this version must be, file by file."""

    version: str
    binary: str  # sha256, as the others
    env: str
    unit: str
    variables: str  # of a process that runs in this environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a run said of the host when it ended; nothing, if it died."""

    code: int
    outcome: str = ""
    cause: str = ""  # why, if it failed, in a word and in a sentence
    message: str = ""

    def __str__(self) -> str:
        return f"{self.code} ({self.outcome or 'no outcome'}: {self.message or 'no message'})"


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
    wrong += _judge_files(state, version, f"{answer} answers, but")
    if state.process_folder != f"{state.folder}/{state.current}":
        wrong.append(f"the process stands in {state.process_folder}, current is {state.current}")
    if state.process_file.rpartition("/")[0] != state.process_folder:
        wrong.append(f"the process executes {state.process_file}, current is {state.current}")
    if state.process_variables != version.variables:
        wrong.append(f"the environment of the process is not that of {state.current}")
    if state.stopped_by_operator:
        wrong.append("it counts as stopped by its operator")
    return tuple(wrong)


def judge_stopped(state: State, answer: str, allowed: Collection[Version]) -> tuple[str, ...]:
    """Whether its operator keeps the service down, with one of `allowed` ready for its next start."""
    wrong = []
    if answer:
        wrong.append(f"{answer} answers, though its operator stopped it")
    if state.active not in {"inactive/dead", "failed/failed"}:
        wrong.append(f"its operator stopped it, and the unit is {state.active}")
    if not state.stopped_by_operator:
        wrong.append("that its operator stopped it would be forgotten at the next boot")
    version = next((each for each in allowed if each.env == state.release_env), None)
    if version is None:
        wanted = " or ".join(each.version for each in allowed)
        wrong.append(f"{state.current or 'no release'} is current, which is not that of {wanted}")
    else:
        wrong += _judge_files(state, version, f"it is stopped, but of {version.version}")
    return tuple(wrong)


def _judge_files(state: State, version: Version, whose: str) -> list[str]:
    wrong = []
    for what, found, wanted in (
        ("binary", state.release_binary, version.binary),
        (".env", state.release_env, version.env),
        ("unit", state.release_unit, version.unit),
        ("installed unit", state.installed_unit, version.unit),
    ):
        if found != wanted:
            place = "" if what == "installed unit" else f" in {state.current or 'no current release'}"
            wrong.append(f"{whose} the {what}{place} is {'not its own' if found else 'missing'}")
    if state.need_reload != "no":
        wrong.append("systemd has not loaded the unit that is installed")
    if state.at_boot != "yes":
        wrong.append("nothing would start it at boot")
    return wrong


def judge_words(words: Words, state: State, answer: str, *, old: Version, new: Version) -> tuple[str, ...]:
    """What a run said that is not so, of a host that came to rest and that nothing else happened to.

    Of a run that was killed, of one that was interrupted before it knew and of one that blames the host
    (`judge_blame`) there is nothing to hold against what is seen.
    """
    match words.outcome:
        case "changed" | "unchanged":
            wrong = judge_whole(state, answer, (new,))
        case "operator_stopped":
            wrong = judge_stopped(state, answer, (new,))
        case "reverted" if words.cause == "operator_stopped":
            wrong = judge_stopped(state, answer, (old,))
        case "reverted":
            wrong = judge_whole(state, answer, (old,))
        # A host that was touched is back, and one that was not is as it was: as good as it was, that is.
        case "failed" | "unreachable" if words.code in {1, 3} and answer != old.version:
            wrong = (f"{answer or 'nothing'} answers",)
        case "" if words.code == 0 and answer != new.version:
            wrong = (f"{answer or 'nothing'} answers",)
        case "" if words.code in {1, 3} and answer != old.version:
            wrong = (f"{answer or 'nothing'} answers",)
        case _:
            wrong = ()
    return tuple(f"it ended with {words}, but {each}" for each in wrong)


def is_judged(fault: Fault, outcome: str) -> bool:
    """Whether, as far as we know, the host is still as it was when a run spoke of it."""
    if fault.kind is Kind.TWO_CONTROLLERS:
        return outcome in {"changed", "unchanged"}  # of what failed, the other one may have made a success
    if fault.kind is Kind.OPERATOR_START:
        return outcome != "operator_stopped"  # and then it was started
    if fault.kind is Kind.OPERATOR_WIPE and fault.bad and outcome == "failed":
        return False  # wiped before the look, it had no release to go back to
    if fault.kind in AFTERWARDS and outcome not in {"failed", "unreachable"}:
        return isinstance(fault.moment, At) and not fault.moment.own and fault.moment.point in JUDGED
    return True


def wanted_codes(fault: Fault, *, first: bool) -> set[int]:
    """With what a run must end that the fault cannot have disturbed; nothing where it can."""
    own = isinstance(fault.moment, At) and fault.moment.own
    if first and (own or fault.alone):
        return set()  # it was killed
    undisturbed = {1} if fault.bad else {0}
    if fault.kind is Kind.TWO_CONTROLLERS:
        return undisturbed | {5}
    return undisturbed if fault.kind in HARMLESS else set()


def judge_unchanged(outcome: str, odd: Collection[str]) -> tuple[str, ...]:
    """What a run has overlooked that found nothing to change; `odd`: of the host before and after it."""
    return tuple(f"the next run said unchanged, but {each}" for each in odd) if outcome == "unchanged" else ()


def judge_blame(words: Words, state: State, before: State, wrong: Collection[str]) -> tuple[str, bool]:
    """What is to be said of a run that called a host broken which is not, and whether that is a lie.

    `wrong` is what is wrong with the host.  A run whose line is cut cannot know, so it is only told; but one
    that had done nothing at all knows that.
    """
    if words.code != 4 or wrong:
        return "", False
    untouched = (state.pid, state.current, state.installed_unit) == (
        before.pid,
        before.current,
        before.installed_unit,
    )
    return f"it ended with {words}, but the host is {'untouched' if untouched else 'whole'}", untouched


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
