"""One fault from its preparation to the run that must put everything right, and what was seen."""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.damage import BOOTS, CUTS, DEAF, DISKS, READ_ONLY, REPAIRED, Damage
from tests.faults.fault import CONTROLLER_POINTS, SPOILED, After, At, Fault, Kind
from tests.faults.judge import (
    is_judged,
    judge_at_rest,
    judge_blame,
    judge_process,
    judge_stopped,
    judge_unchanged,
    judge_whole,
    judge_words,
    wanted_codes,
)
from tests.faults.stand import BAD, FLAPPING, PORT
from tests.faults.state import State
from tests.faults.traffic import Traffic, starts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.controller import Controller
    from tests.faults.judge import Version
    from tests.faults.stand import Stand

ALLOWANCE = 20.0
"""Seconds for a restart and the proof that it stays up, on a busy machine."""
HEALTH_WINDOW = 6.0
"""Seconds after which a release that never gets healthy has failed its check."""
BOOT = 60.0
GLITCH = 1.5
"""Seconds that a fault lasts when its repair does not wait for the deadline."""
CONTROLLER = 150.0
"""Seconds after which a controller that was told nothing must have given up: the longest exec and more."""
STARTS = 5
"""New, back, new by the second run, back, the next run's."""
POLL = 0.3


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of one fault."""

    fault: Fault
    host: str
    old: str = ""
    new: str = ""
    reached: bool = False  # the moment came before the run had ended
    broken: list[str] = field(default_factory=list)
    stuck: bool = False  # a lock that did not free itself
    hung: bool = False  # the controller had not ended when all was repaired and judged
    outage: float = 0.0  # the longest, in seconds
    starts: int = 0  # of the service, from the first run to the last
    recovered: float = 0.0  # seconds from the damage until the host was whole and at rest
    ended_on: str = ""  # old or new: what served when the host had come to rest
    first: str = ""  # how the run that met the fault ended
    notes: list[str] = field(default_factory=list)
    evidence: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not self.broken and not self.stuck


def attempt(fault: Fault, stand: Stand, *, durations: dict[bool, float]) -> Result:
    """Try one fault.  `durations`: bad or not -> what an undisturbed run takes, in seconds.

    Afterwards the stand is whole again, on `stand.version`; if that cannot be, it has no version.
    """
    result = Result(fault=fault, host=stand.host.name)
    began = time.monotonic()
    trial = _Trial(fault, stand, durations, result)
    try:
        trial.go()
    except Exception:  # noqa: BLE001  a trial that cannot be made is no proof of anything, and ends no other
        result.broken.append("the trial itself failed")
        result.evidence += traceback.format_exc()
    if not result.good:
        with suppress(Exception):
            result.evidence += trial.evidence()
    trial.clean_up()
    result.seconds = time.monotonic() - began
    return result


class _Trial:
    def __init__(self, fault: Fault, stand: Stand, durations: dict[bool, float], result: Result) -> None:
        self._fault = fault
        self._stand = stand
        self._durations = durations
        self._result = result
        self._damage = Damage(fault.kind, stand, alone=fault.alone)
        self._runs: list[tuple[str, Controller]] = []
        self._limit = HEALTH_WINDOW + stand.settings.deadline + ALLOWANCE
        if fault.kind is Kind.SYSTEMCTL_DEAF:
            self._limit += DEAF
        self._before = State()
        self._mounted = False
        self._over = threading.Event()

    def go(self) -> None:
        fault, stand, result = self._fault, self._stand, self._result
        if self._damage.needs_disk:
            stand.reset()
            self._damage.mount()
            self._mounted = True
        if not stand.version:
            stand.deploy(stand.next_version())
        result.old = stand.version
        bad = FLAPPING if fault.kind is Kind.FLAPPING else BAD
        result.new = bad if fault.bad else stand.next_version()
        stand.version = ""  # unknown, until it is judged whole
        self._damage.prepare()
        self._before = stand.look()
        with Traffic(stand.host.address, PORT) as traffic:
            first = self._begin(result.new)
            damaged = time.monotonic()
            self._damage.begin(first, result.new, self._release)
            if self._damage.second is not None:
                self._runs.append(("second", self._damage.second))
            if fault.kind in BOOTS:
                damaged = time.monotonic()  # the deadline of a host counts from its boot
            if fault.at_once:
                self._hurry(first)
            else:
                self._rest(first, damaged)
            self._converge(first)
            result.outage = traffic.outage
            result.starts = starts(traffic.answers)
        if not self._damage.is_kept:
            result.broken.append("what somebody changed by hand is gone")
        if result.outage > self._longest_outage:
            result.broken.append(f"down for {result.outage:.1f} s")
        by_others = fault.kind in BOOTS | {Kind.OPERATOR_RESTART}
        if result.starts > STARTS + by_others:
            result.broken.append(f"started {result.starts} times")

    @property
    def _longest_outage(self) -> float:
        kind = self._fault.kind
        if kind in {Kind.OPERATOR_STOP, Kind.OPERATOR_START}:
            return float("inf")  # that is what the operator wants
        limit = self._limit
        if kind in BOOTS:
            limit += BOOT
        if kind is Kind.HOST_FROZEN:
            limit += self._stand.settings.deadline
        if kind in REPAIRED | SPOILED:
            limit += self._limit  # nobody can ask more of a disk than that it serves after its repair
        return limit

    # -- up to the moment --

    def _begin(self, version: str) -> Controller:
        """Start the run, and return when the moment has come."""
        stand, moment = self._stand, self._fault.moment
        self._open()  # what an earlier trial may have left
        if isinstance(moment, After):
            run = self._run("first", version)
            run.wait_until(lambda: run.has_begun, seconds=60)
            run.wait(moment.share * self._durations[self._fault.bad])
            self._result.reached = True
            return run
        if moment.own:
            return self._begin_own(version, moment)
        env = {"DEPLOYER_FAULT_POINT": moment.point}
        if moment.point in CONTROLLER_POINTS:
            env["DEPLOYER_FAULT_FILE"] = str(stand.point)
        run = self._run("first", version, env)
        self._result.reached = run.wait_until(lambda: self._waits(moment), seconds=60)
        return run

    def _begin_own(self, version: str, moment: At) -> Controller:
        """The controller dies after the switch, and the host is met in its own revert."""
        stand = self._stand
        stand.own_point(moment.point)
        # What is not started is not tried either.
        last = "switch.after" if self._fault.kind is Kind.OPERATOR_START else "verify.before"
        env = {"DEPLOYER_FAULT_POINT": last, "DEPLOYER_FAULT_FILE": str(stand.point)}
        run = self._run("first", version, env)
        there = run.wait_until(stand.point.exists, seconds=60)
        run.kill()
        stand.point.unlink(missing_ok=True)
        until = time.monotonic() + stand.settings.deadline + ALLOWANCE
        while there and not self._waits(moment) and time.monotonic() < until:
            time.sleep(0.02)
        self._result.reached = self._waits(moment)
        return run

    def _waits(self, moment: At) -> bool:
        if moment.point in CONTROLLER_POINTS:
            return self._stand.point.exists()
        place = self._stand.host_point
        try:
            return place is not None and place.read_text().strip() == moment.point
        except OSError:
            return False

    def _release(self) -> None:
        """Let what waits go on, and have nothing wait from now on.

        What fails and tries again comes to the same point again, and would wait there once more.
        """
        self._stand.own_point("")
        self._open()
        threading.Thread(target=self._keep_open, daemon=True).start()

    def _open(self) -> None:
        self._stand.point.unlink(missing_ok=True)
        place = self._stand.host_point
        if place is not None:
            with suppress(OSError):
                place.unlink()

    def _keep_open(self) -> None:
        while not self._over.wait(POLL):
            self._open()

    # -- after it --

    def _hurry(self, first: Controller) -> None:
        """Repair at once; somebody runs deployer again while the host may still be between two states."""
        if self._fault.kind is Kind.CONTROLLER_STOP:
            return  # it goes on when the other run is over
        if self._fault.kind in REPAIRED:
            time.sleep(GLITCH)
            self._damage.repair(first)

    def _rest(self, first: Controller, damaged: float) -> None:
        """The host must come to rest by itself, whole; then the first run's own words are judged."""
        fault, result = self._fault, self._result
        if fault.kind in REPAIRED:
            if fault.kind in CUTS:
                time.sleep(self._stand.settings.deadline + 3)  # it must have noticed by then
                serving = self._settle(None, damaged, strict=True)
            elif fault.bad and fault.kind is Kind.OPT_READ_ONLY:
                # What is current cannot be changed, so a bad release stays it until the repair.
                first.wait(self._limit)
                time.sleep(self._alone_for)
                serving = ()
            else:
                time.sleep(self._alone_for)
                self._damage.wait()
                serving = self._settle(first, time.monotonic(), strict=False)
            if serving:
                result.broken += [f"before the repair: {wrong}" for wrong in serving]
            repaired = time.monotonic()
            self._damage.repair(first)
            if fault.kind in CUTS - {Kind.SSHD_KILL}:
                first.wait(30)
        else:
            repaired = damaged
        if fault.kind is Kind.CONTROLLER_HUP and first.wait(self._limit) and self._stand.in_flight:
            result.broken.append("the run ended by itself, and left the host in the middle")
        wrong = self._settle(first, repaired, strict=True)
        result.recovered = time.monotonic() - damaged
        result.broken += wrong
        for name, run in self._runs:
            if not run.wait(CONTROLLER):
                result.hung = True
                result.notes.append(f"the {name} run had not ended {CONTROLLER:.0f} s after it all")
                run.kill()
        state, answer = self._look()
        result.ended_on = {result.old: "old", result.new: "new"}.get(answer, answer)
        for name, run in self._runs:
            result.broken += self._lies(name, run, state, answer)

    @property
    def _alone_for(self) -> float:
        """Seconds in which a host that was left alone tries to go back, more than once."""
        return 3 * self._stand.settings.deadline if self._fault.alone else 0.0

    def _settle(self, run: Controller | None, since: float, *, strict: bool) -> tuple[str, ...]:
        """Wait until the host is whole and nothing is under way; what is wrong if it does not get there.

        `run` must have ended for that; not strict: a disk that takes no change can only be asked to serve.
        """
        while True:
            over = run is None or run.code is not None
            late = time.monotonic() - since > self._limit
            # A look costs the machine some fifty processes, and it has other hosts to carry.
            if late or (over and not (strict and self._stand.in_flight)):
                wrong = self._judge(strict=strict, allowed=self._allowed())
                if not wrong and over:
                    return ()
                if late and (wrong or time.monotonic() - since > CONTROLLER):
                    return wrong
            time.sleep(POLL)

    def _allowed(self) -> tuple[Version, ...]:
        good = [self._result.old, self._result.new]
        # What its operator stopped is put in place without being tried.
        if self._fault.bad and self._fault.kind is not Kind.OPERATOR_STOP:
            good.remove(self._result.new)
        return self._stand.versions(*good)

    def _judge(self, *, strict: bool, allowed: Sequence[Version]) -> tuple[str, ...]:
        state, answer = self._look()
        if not strict:
            return judge_process(state, answer, allowed)
        if self._fault.kind in SPOILED:
            wrong: tuple[str, ...] = ()  # it is for the next run to put it right
        elif self._fault.kind is Kind.OPERATOR_STOP:
            wrong = judge_stopped(state, answer, allowed)
        else:
            wrong = judge_whole(state, answer, allowed)
        if not wrong and state.transaction:
            return (f"a journal is left: {state.transaction}",)
        return wrong

    def _look(self) -> tuple[State, str]:
        return self._stand.look(), self._stand.answer()

    def _lies(self, name: str, run: Controller, state: State, answer: str) -> list[str]:
        """What a run says that is not so."""
        kind, result, words = self._fault.kind, self._result, run.words
        if name == "first":
            result.first = f"{run.code} {run.outcome}".strip()
        said = f"the {name} run ended with {words}"
        wrong = []
        old, new = self._stand.versions(result.old, result.new)
        if is_judged(self._fault, words.outcome):
            lies = judge_words(words, state, answer, old=old, new=new)
            whole = judge_whole(state, answer, (old, new))
            blames, untouched = judge_blame(words, state, self._before, whole)
            if blames and untouched and kind not in CUTS:
                lies = (*lies, blames)
            elif blames:
                result.notes.append(f"the {name} run: {blames}")
            wrong += [f"the {name} run lies: {each}" for each in lies]
        if run.locked_out != (run.code == 5) and kind is not Kind.CONTROLLER_CLOSED:
            wrong.append(f"{said}, and 5 is the code of a lock that is held")
        wanted = wanted_codes(self._fault, first=name == "first")
        if wanted and words.code not in wanted:
            wrong.append(f"{said}, wanted {' or '.join(map(str, sorted(wanted)))}")
        if kind is Kind.CONTROLLER_HUP and words.code < 0:
            wrong.append(f"{said}: it died of the signal")
        return wrong

    # -- the next run --

    def _converge(self, first: Controller) -> None:
        fault, stand, result = self._fault, self._stand, self._result
        stopped = fault.at_once and fault.kind is Kind.CONTROLLER_STOP
        target = result.new
        if fault.bad or stopped:
            target = stand.next_version(result.old, result.new)
        if fault.kind is Kind.OPERATOR_STOP and not self._stays_stopped(target, first):
            return
        if not self._until_free(target, first, *(["--start"] if fault.kind is Kind.OPERATOR_STOP else [])):
            return
        self._damage.repair(first)
        if stopped and first.wait(CONTROLLER) and first.outcome == "changed":
            # It had committed before the other came; or had changed nothing yet, looked again, came after.
            state, answer = self._look()
            result.broken += judge_whole(state, answer, stand.versions(result.new, target))
            if not self._until_free(target, first):
                return
        for name, run in self._runs:
            if run.code is None and not run.wait(CONTROLLER):
                result.hung = True
                result.notes.append(f"the {name} run had not ended {CONTROLLER:.0f} s after the next one")
                run.kill()
        again = self._runs[-1][1]
        if again.outcome != "unchanged":
            again = self._run("again", target)
            again.wait(120)
        if (again.code, again.outcome) != (0, "unchanged"):
            result.broken.append(
                f"a second run ended with {again.code} ({again.outcome}: {again.message}), wanted unchanged"
            )
        # On a disk that takes no change a lock cannot be let go of.
        able = self._runs if fault.kind not in {*DISKS, *READ_ONLY} else self._runs[1:]
        ended = [run.run_id for _, run in able if run.code == 0]
        until = time.monotonic() + stand.settings.deadline + 3
        while True:
            state, answer = self._look()
            wrong = (*judge_whole(state, answer, stand.versions(target)), *judge_at_rest(state, ended))
            # The lock of a run that was killed is free when its lease is over.
            if not wrong or not state.lock or time.monotonic() > until:
                break
            time.sleep(POLL)
        result.broken += [f"in the end: {each}" for each in wrong]
        result.broken += [f"the {name} run met a bug" for name, run in self._runs if run.met_a_bug]
        if result.good:
            stand.version = target

    def _stays_stopped(self, target: str, first: Controller) -> bool:
        """The next run brings `target` and starts nothing, nor does a boot."""
        result, stand = self._result, self._stand
        if not self._until_free(target, first):
            return False
        run = self._runs[-1][1]
        if run.outcome != "operator_stopped":
            result.broken.append(f"the next run ended with {run.words}, wanted operator_stopped")
        state, answer = self._look()
        result.broken += [
            f"after it: {each}" for each in judge_stopped(state, answer, stand.versions(target))
        ]
        if not self._fault.at_once:
            stand.host.power_cut()
            stand.host.boot()
            state, answer = self._look()
            wrong = judge_stopped(state, answer, stand.versions(target))
            result.broken += [f"after a boot: {each}" for each in wrong]
        return result.good

    def _until_free(self, target: str, first: Controller, *options: str) -> bool:
        """Run until the lock is free; whether that brought the host to `target`."""
        result = self._result
        freed: float | None = None
        while True:
            odd = self._odd(target)
            run = self._run("next", target, options=options)
            if not run.wait(180):
                run.kill()
                result.broken.append("the next run did not end within 180 s")
                return False
            if run.outcome == "unchanged":
                state, answer = self._look()
                odd += judge_whole(state, answer, self._stand.versions(target))
            result.broken += judge_unchanged(run.outcome, odd)
            if run.code == 0:
                return True
            if not run.locked_out:
                result.broken.append(
                    f"the next run ended with {run.code} ({run.outcome or 'no outcome'}: {run.message})"
                )
                return False
            # The lease of a run that still works is no stuck one.
            works = any(each.code is None for _, each in self._runs) and self._fault.kind is not (
                Kind.CONTROLLER_STOP
            )
            if freed is None and not works:
                freed = time.monotonic() + self._stand.settings.deadline + 5
            if works and time.monotonic() - first.began > CONTROLLER + 60:
                result.hung = True
                result.notes.append("a run never ended, and kept the lock")
                for _, each in self._runs:
                    each.kill()
            if freed is not None and time.monotonic() > freed:
                result.stuck = True
                result.broken.append(f"the lock is stuck: {run.message}")
                return False
            time.sleep(0.3)

    def _odd(self, target: str) -> tuple[str, ...]:
        """Why the next run may not say `unchanged` of this host; nothing while it may change by itself."""
        at_rest = not self._fault.at_once or (self._fault.kind in SPOILED and not self._fault.alone)
        if not at_rest or any(run.code is None for _, run in self._runs) or self._stand.in_flight:
            return ()
        state, answer = self._look()
        return judge_whole(state, answer, self._stand.versions(target))

    # -- around it --

    def _run(
        self, name: str, version: str, env: dict[str, str] | None = None, *, options: Sequence[str] = ()
    ) -> Controller:
        piped = name == "first" and self._fault.kind is Kind.CONTROLLER_CLOSED
        run = self._stand.start(version, *options, env=env, piped=piped)
        self._runs.append((name, run))
        return run

    def evidence(self) -> str:
        """What everybody said."""
        runs = "".join(f"== {name} run, exit {run.code}\n{run.said}" for name, run in self._runs)
        return f"{runs}{self._stand.evidence()}"

    def clean_up(self) -> None:
        """End what still runs, and make the stand fit for the next trial."""
        steps: list[Callable[[], object]] = [run.kill for _, run in self._runs]
        if self._runs:
            first = self._runs[0][1]
            steps.append(lambda: self._damage.repair(first))
        steps.append(self._damage.clean_up)
        self._over.set()
        steps.append(lambda: self._stand.own_point(""))
        steps.append(self._open)
        if self._mounted or not self._result.good:
            steps.append(self._stand.host.boot)
            steps.append(self._stand.reset)
        if self._mounted:
            steps.append(self._damage.unmount)
            steps.append(self._stand.reset)
        for step in steps:
            try:
                step()
            except Exception:  # noqa: BLE001  the others must be done all the same
                self._result.evidence += traceback.format_exc()
                self._result.notes.append("cleaning up failed")
