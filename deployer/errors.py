"""What can go wrong, as values with fields: problems in the user's files, and failures of one host."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from deployer.visible import cut

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mark:
    """A place in a file; line and column count from 1, as editors do."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in what the user wrote: where, what, and what to do about it."""

    message: str
    mark: Mark | None = None
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.mark}: " if self.mark else ""
        return f"{where}{self.message}" + (f" ({self.hint})" if self.hint else "")


class LoadError(Exception):
    """The user's files or options are wrong; no host was contacted.  Carries every problem found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        # The same mistake seen for many hosts is one problem.
        self.problems = tuple(sorted(dict.fromkeys(problems), key=_by_place))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _by_place(problem: Problem) -> tuple[str, int, int, str]:
    mark = problem.mark
    return (mark.file, mark.line, mark.column, problem.message) if mark else ("", 0, 0, problem.message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The hint for an unknown word: the nearest known one, or nothing."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


class HostError(Exception):
    """Work on one host failed; ends that host's work and nobody else's.

    `cause` is a stable word for programs, the message is for people, `hint` says what to do; `service` is
    named where it is not plain from the step that failed.
    """

    def __init__(self, cause: str, message: str, *, hint: str = "", service: str = "") -> None:
        self.service = service
        self.cause = cause
        self.message = cut(message)  # part of it may be what a host said
        self.hint = hint
        super().__init__(self.message)


class UnreachableError(HostError):
    """No connection that can be trusted and used: nothing was done on the host."""
