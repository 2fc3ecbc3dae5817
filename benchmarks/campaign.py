"""Rounds of jobs: every contender does each job in turn, on hosts that are ready for it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.contender import BenchError, Inputs, Site
from benchmarks.fleet import Answer, answers, on_all
from benchmarks.job import Job, Row, Setting
from benchmarks.measure import take
from benchmarks.results import Cell, Sample, Wire
from tests.hosts.programs import CommandFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from benchmarks.binary import Builds
    from benchmarks.contender import Contender
    from benchmarks.fleet import Fleet
    from benchmarks.measure import Taken
    from tests.hosts.relay import Counts

FIRST_PORT = 20500
SETTLE = 0.5  # seconds around a timed job: processes of the last one end, and logs are written


class Stand:
    """One contender's service on a fleet, and what it has there."""

    def __init__(
        self, contender: Contender, fleet: Fleet, folder: Path, builds: Builds, *, port: int
    ) -> None:
        self.contender = contender
        self.service = service_name(contender)
        self.port = port
        self._fleet = fleet
        self._folder = folder / contender.name
        self._folder.mkdir()
        self._builds = builds
        self._number = 0
        self._has: Inputs | None = None  # what runs on all hosts; None: nothing, or nobody knows what

    def do(self, job: Job, *, watch: bool = False) -> tuple[Taken, Wire | None]:
        """Bring the hosts into the state that the job begins with, time the job, and look at the hosts.

        Raises BenchError when the job fails, or when the hosts are not what it should have made of them.
        """
        try:
            if self.contender.jobs != {Job.NOTHING}:
                self._ready(job)
            return self._take(self._site(job), job, watch=watch)
        except (BenchError, CommandFailedError):
            self._has = None
            raise

    def _ready(self, job: Job) -> None:
        if job is Job.FIRST:
            self.clear()
        elif self._has is None or (job is Job.BINARY and self._has.binary == self._builds.new.path):
            # Nor may the new binary lie on the host from an earlier round.
            self.clear()
            self._take(self._site(Job.FIRST), Job.FIRST)

    def clear(self) -> None:
        """Remove every trace of the service."""
        on_all(self._fleet.hosts, "clear", self.service)
        self._has = None

    def _site(self, job: Job) -> Site:
        build = self._builds.new if job is Job.BINARY else self._builds.old
        inputs = self._has or Inputs(binary=build.path, version=build.version, greeting="hello")
        match job:
            case Job.BINARY:
                inputs = Inputs(binary=build.path, version=build.version, greeting=inputs.greeting)
            case Job.ENV:
                self._number += 1
                greeting = f"hello {self._number}"
                inputs = Inputs(binary=inputs.binary, version=inputs.version, greeting=greeting)
            case Job.FIRST | Job.NOTHING:
                pass
        return Site(
            folder=self._folder, fleet=self._fleet, service=self.service, port=self.port, inputs=inputs
        )

    def _take(self, site: Site, job: Job, *, watch: bool = False) -> tuple[Taken, Wire | None]:
        deploys = self.contender.jobs != {Job.NOTHING}
        before = answers(site.fleet.hosts, site.port) if deploys and job is Job.NOTHING else ()
        self.contender.write(site)
        command = self.contender.command(site, job)
        os.sync()  # nobody pays for what another has written
        time.sleep(SETTLE)
        carried = site.fleet.counts
        taken = take(command, site.folder, watch=watch)
        if carried:
            time.sleep(SETTLE)  # its last bytes are still on the line
        wire = _wire(carried, site.fleet.counts)
        if deploys:
            _check(site, answers(site.fleet.hosts, site.port), before)
            self._has = site.inputs
        return taken, wire


def service_name(contender: Contender) -> str:
    """Also the name of its account: 32 characters at most."""
    return f"bench-{contender.name}"


def _check(site: Site, now: Sequence[Answer | None], before: Sequence[Answer | None]) -> None:
    for host, answer in zip(site.fleet.hosts, now, strict=True):
        if answer is None:
            raise BenchError(f"{site.service} does not answer on {host.name} afterwards")
        if (answer.version, answer.greeting) != (site.inputs.version, site.inputs.greeting):
            raise BenchError(
                f"{site.service} on {host.name} is {answer.version} and says {answer.greeting!r} afterwards, "
                f"not {site.inputs.version} and {site.inputs.greeting!r}"
            )
    if before and tuple(now) != tuple(before):
        raise BenchError(f"{site.service} was restarted though there was nothing to do")


def _wire(before: Sequence[Counts], after: Sequence[Counts]) -> Wire | None:
    carried = [late - early for early, late in zip(before, after, strict=True)]
    if not carried:
        return None
    return Wire(
        connections=sum(each.connections for each in carried) / len(carried),
        up=sum(each.bytes_up for each in carried) / len(carried),
        down=sum(each.bytes_down for each in carried) / len(carried),
        turns=max(each.turns for each in carried),
    )


@dataclass(slots=True, kw_only=True)
class _Tally:
    """A cell while it is being filled."""

    samples: list[Sample] = field(default_factory=list)
    memory: int = 0
    error: str = ""


def measure(
    stands: Sequence[Stand],
    setting: Setting,
    jobs: Collection[Job],
    *,
    rounds: int,
    run: str,
    say: Callable[[str], None],
) -> tuple[Cell, ...]:
    """All jobs in all rounds, interleaved; then each once more, watched for its memory.

    A round goes from job to job, and each job from contender to contender; who begins changes from round to
    round.  A contender that fails at a job is not asked again to do it: its cell has the error.
    """
    tallies = {(job, stand): _Tally() for job in Job if job in jobs for stand in stands}
    for number in range(rounds + 1):
        watch = number == rounds
        turn = number % max(1, len(stands))
        for job in (job for job in Job if job in jobs):
            for stand in (*stands[turn:], *stands[:turn]):
                tally = tallies[job, stand]
                if job not in stand.contender.jobs or tally.error:
                    continue
                label = f"{job.words}, {setting.words}, {stand.contender.words}"
                try:
                    taken, wire = stand.do(job, watch=watch)
                except (BenchError, CommandFailedError) as error:
                    tally.error = str(error)
                    say(f"{label}: FAILED: {error}")
                    continue
                if watch:
                    tally.memory = taken.memory
                    say(f"memory  {label}: {taken.memory / 1e6:.0f} MB")
                    continue
                tally.samples.append(Sample(wall=taken.wall, cpu=taken.cpu, largest=taken.largest, wire=wire))
                say(f"{number + 1}/{rounds}  {label}: {taken.wall:.2f} s, {taken.cpu:.2f} s of CPU")
    return tuple(
        Cell(
            row=Row(job=job, setting=setting),
            contender=stand.contender.name,
            run=run,
            samples=() if tally.error else tuple(tally.samples),
            memory=tally.memory,
            error=tally.error,
        )
        for (job, stand), tally in tallies.items()
        if job in stand.contender.jobs
    )
