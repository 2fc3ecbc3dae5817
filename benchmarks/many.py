"""A thousand unchanged hosts: names of an inventory that are, in turn, a few real hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.contender import BenchError
from benchmarks.job import Job
from benchmarks.results import Many, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.campaign import Stand
    from benchmarks.contenders.deployer import Deployer


def measure_many(
    stand: Stand,
    deployer: Deployer,
    *,
    sizes: Sequence[int],
    hosts: int,
    rounds: int,
    run: str,
    say: Callable[[str], None],
) -> tuple[Many, ...]:
    """Deploy to the hosts, then find nothing to do on so many names, in turn; at last once more, watched.

    Raises BenchError, CommandFailedError.
    """
    stand.contender = deployer
    stand.do(Job.FIRST)
    samples: dict[int, list[Sample]] = {size: [] for size in sizes}
    threads: dict[int, int] = {}
    for number in range(rounds + 1):
        watch = number == rounds
        for size in sizes:
            stand.contender = replace(deployer, names=size)
            taken, _ = stand.do(Job.NOTHING, watch=watch)
            if f'counts="unchanged {size}"' not in taken.output:
                raise BenchError(f"not all of {size} were unchanged: {taken.output.splitlines()[-1:]}")
            if watch:
                threads[size] = taken.threads
                say(f"threads  {size} names: {taken.threads}")
                continue
            samples[size].append(Sample(wall=taken.wall, cpu=taken.cpu, largest=taken.largest))
            say(
                f"{number + 1}/{rounds}  {size} names: {taken.wall:.2f} s, {taken.cpu:.2f} s of CPU, "
                f"{taken.largest / 1e6:.0f} MB"
            )
    return tuple(
        Many(names=size, hosts=hosts, run=run, samples=tuple(samples[size]), threads=threads[size])
        for size in sizes
    )
