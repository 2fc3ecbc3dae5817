"""One fault from its preparation to the run that must put everything right, and what was seen."""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.damage import BOOTS, DISKS, READ_ONLY, REPAIRED, Damage
from tests.faults.fault import CONTROLLER_POINTS, After, At, Fault, Kind
from tests.faults.judge import judge_at_rest, judge_process, judge_whole
from tests.faults.stand import BAD, PORT
from tests.faults.traffic import Traffic, starts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.controller import Controller
    from tests.faults.judge import Version
    from tests.faults.stand import Stand
    from tests.faults.state import State

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
        result.new = BAD if fault.bad else stand.next_version()
        stand.version = ""  # unknown, until it is judged whole
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
        limit = self._limit + (BOOT if fault.kind in BOOTS else 0)
        if fault.kind in REPAIRED:
            limit += self._limit  # nobody can ask more of a disk than that it serves after its repair
        if result.outage > limit:
            result.broken.append(f"down for {result.outage:.1f} s")
        if result.starts > STARTS + (fault.kind in BOOTS):
            result.broken.append(f"started {result.starts} times")

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
        env = {"DEPLOYER_FAULT_POINT": "verify.before", "DEPLOYER_FAULT_FILE": str(stand.point)}
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
            if fault.kind in {Kind.CONTROLLER_STOP, Kind.LINE_CUT, Kind.SSHD_KILL}:
                time.sleep(self._stand.settings.deadline + 3)  # it must have noticed by then
                serving = self._settle(None, damaged, strict=True)
            elif fault.bad and fault.kind is Kind.OPT_READ_ONLY:
                # What is current cannot be changed, so a bad release stays it until the repair.
                first.wait(self._limit)
                time.sleep(self._alone_for)
                serving = ()
            else:
                time.sleep(self._alone_for)
                serving = self._settle(first, damaged, strict=False)
            if serving:
                result.broken += [f"before the repair: {wrong}" for wrong in serving]
            repaired = time.monotonic()
            self._damage.repair(first)
            if fault.kind in {Kind.CONTROLLER_STOP, Kind.LINE_CUT}:
                first.wait(30)
        else:
            repaired = damaged
        wrong = self._settle(first, repaired, strict=True)
        result.recovered = time.monotonic() - damaged
        result.broken += wrong
        for name, run in self._runs:
            if not run.wait(CONTROLLER):
                result.hung = True
                result.notes.append(f"the {name} run had not ended {CONTROLLER:.0f} s after it all")
                run.kill()
        answer = self._stand.answer()
        result.ended_on = {result.old: "old", result.new: "new"}.get(answer, answer)
        for name, run in self._runs:
            result.broken += self._lies(name, run, answer)

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
        good = [self._result.old] if self._fault.bad else [self._result.old, self._result.new]
        return self._stand.versions(*good)

    def _judge(self, *, strict: bool, allowed: Sequence[Version]) -> tuple[str, ...]:
        state, answer = self._look()
        if not strict:
            return judge_process(state, answer, allowed)
        wrong = judge_whole(state, answer, allowed)
        if not wrong and state.transaction:
            return (f"a journal is left: {state.transaction}",)
        return wrong

    def _look(self) -> tuple[State, str]:
        return self._stand.look(), self._stand.answer()

    def _lies(self, name: str, run: Controller, answer: str) -> list[str]:
        """What a run says that is not so."""
        code, result = run.code, self._result
        if name == "first":
            result.first = f"{code} {run.outcome}".strip()
        said = (
            f"the {name} run ended with {code} ({run.outcome or 'no outcome'}: {run.message or 'no message'})"
        )
        wrong = []
        if "Traceback" in run.said or "a bug in deployer" in run.said:
            wrong.append(f"{said}: a bug")
        if code == 0 and answer != result.new:
            wrong.append(f"{said}, but {answer or 'nothing'} answers")
        # 1: every touched host is back; 3: nothing was done there.
        if code in {1, 3} and answer != result.old and self._fault.kind is not Kind.TWO_CONTROLLERS:
            wrong.append(f"{said}, but {answer or 'nothing'} answers")
        if run.locked_out != (code == 5):
            wrong.append(f"{said}, and 5 is the code of a lock that is held")
        undisturbed = {Kind.NONE: {1} if self._fault.bad else {0}}
        undisturbed[Kind.TWO_CONTROLLERS] = undisturbed[Kind.NONE] | {5}
        own = isinstance(self._fault.moment, At) and self._fault.moment.own
        wanted = undisturbed.get(self._fault.kind)
        if wanted is not None and code not in wanted and not (own and name == "first"):
            wrong.append(f"{said}, wanted {' or '.join(map(str, sorted(wanted)))}")
        return wrong

    # -- the next run --

    def _converge(self, first: Controller) -> None:
        fault, stand, result = self._fault, self._stand, self._result
        stopped = fault.at_once and fault.kind is Kind.CONTROLLER_STOP
        target = result.new
        if fault.bad or stopped:
            target = stand.next_version(result.old, result.new)
        if not self._until_free(target, first):
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
        if result.good:
            stand.version = target

    def _until_free(self, target: str, first: Controller) -> bool:
        """Run until the lock is free; whether that brought the host to `target`."""
        result = self._result
        freed: float | None = None
        while True:
            run = self._run("next", target)
            if not run.wait(180):
                run.kill()
                result.broken.append("the next run did not end within 180 s")
                return False
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
                result.notes.append("the first run never ended, and kept the lock")
                first.kill()
            if freed is not None and time.monotonic() > freed:
                result.stuck = True
                result.broken.append(f"the lock is stuck: {run.message}")
                return False
            time.sleep(0.3)

    # -- around it --

    def _run(self, name: str, version: str, env: dict[str, str] | None = None) -> Controller:
        run = self._stand.start(version, env=env)
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
