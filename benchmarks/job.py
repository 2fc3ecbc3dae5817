"""What is measured: jobs, on so many hosts, over such a line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Job(StrEnum):
    """What a contender has to do, in the order in which one round does it."""

    FIRST = "first"
    NOTHING = "nothing"
    ENV = "env"
    BINARY = "binary"

    @property
    def words(self) -> str:
        """For people."""
        return {
            Job.FIRST: "first deploy",
            Job.NOTHING: "nothing to do",
            Job.ENV: "changed .env",
            Job.BINARY: "new binary",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Setting:
    """So many hosts behind such a line; `rtt` is its round trip in milliseconds."""

    rtt: int
    hosts: int
    zstd: bool = False  # whether the hosts have the program

    @property
    def words(self) -> str:
        """For people."""
        hosts = "1 host" if self.hosts == 1 else f"{self.hosts} hosts"
        return f"{hosts}, {self.rtt} ms{', zstd' if self.zstd else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    job: Job
    setting: Setting

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.job.words}, {self.setting.words}"
