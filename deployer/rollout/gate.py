"""Whether one more host of a play may be switched, from how the others ended; and if not, why.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.outcome import NotAttempted, Unreachable, has_failed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.desired import Strategy
    from deployer.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The gate of one play; it stands open until the strategy's limits are exceeded."""

    strategy: Strategy
    hosts: int  # of the play
    canaries: frozenset[str]  # the first batch, if others follow it

    def closed(self, outcomes: Mapping[str, Outcome]) -> str:
        """Why no other host may start, in words; empty while it is open."""
        return self._locked(outcomes) or (
            "" if self.strategy.on_failure == "continue" else self._failed(outcomes) or self._lost(outcomes)
        )

    def _locked(self, outcomes: Mapping[str, Outcome]) -> str:
        held = [
            f"{host} is locked by {outcome.holder}"
            for host, outcome in outcomes.items()
            if isinstance(outcome, NotAttempted) and outcome.holder
        ]
        return _and_more(held)

    def _failed(self, outcomes: Mapping[str, Outcome]) -> str:
        failed = sum(map(has_failed, outcomes.values()))
        return self._exceeded(failed, "failed", "max_fail_percentage", self.strategy.max_fail_percentage)

    def _lost(self, outcomes: Mapping[str, Outcome]) -> str:
        lost = [host for host, outcome in outcomes.items() if isinstance(outcome, Unreachable)]
        limit = self.strategy.max_unreachable_percentage
        if limit is not None:
            return self._exceeded(len(lost), "could not be reached", "max_unreachable_percentage", limit)
        canaries = [host for host in lost if host in self.canaries]
        return f"{_and_more(canaries)} of the first batch could not be reached" if canaries else ""

    def _exceeded(self, count: int, what: str, key: str, limit: float) -> str:
        if count * 100 <= limit * self.hosts:
            return ""
        share = f"{count * 100 / self.hosts:.1f}".removesuffix(".0")
        return f"{count} of {_hosts(self.hosts)} {what} ({share}%), more than {key}: {limit:g}"


def _hosts(count: int) -> str:
    return f"{count} host{'s' if count != 1 else ''}"


def _and_more(words: list[str]) -> str:
    return f"{words[0]} and {len(words) - 1} more" if len(words) > 1 else "".join(words)
