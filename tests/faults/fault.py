"""One fault as plain data: what breaks, at which moment, on which kind of host; and its one-line form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from tests.hosts import recipe


class Kind(StrEnum):
    """What breaks."""

    NONE = "none"  # nothing: the control
    CONTROLLER_KILL = "controller-kill"
    CONTROLLER_STOP = "controller-stop"  # for longer than the deadline; then it goes on
    LINE_CUT = "line-cut"  # silent in both directions, for new connections too
    SSHD_KILL = "sshd-kill"  # every process of it, and it does not come back by itself
    POWER_CUT = "power-cut"  # and boots again
    REBOOT = "reboot"
    OPT_FULL = "opt-full"
    VAR_FULL = "var-full"
    OPT_READ_ONLY = "opt-read-only"
    VAR_READ_ONLY = "var-read-only"
    DAEMON_RELOAD = "daemon-reload"  # in a loop
    TWO_CONTROLLERS = "two-controllers"


OF_CONTROLLER = {Kind.CONTROLLER_KILL, Kind.CONTROLLER_STOP, Kind.LINE_CUT, Kind.SSHD_KILL}
"""What says nothing to a host whose controller is dead already."""

OF_HOST = {
    *(Kind.POWER_CUT, Kind.REBOOT, Kind.OPT_FULL, Kind.VAR_FULL, Kind.OPT_READ_ONLY, Kind.VAR_READ_ONLY),
    Kind.DAEMON_RELOAD,
}
"""What can leave a host alone: the controller dies in the same moment, and comes back no more."""

CONTROLLER_POINTS = (
    *("stage.before", "stage.after", "switch.before", "switch.after", "verify.before", "verify.after"),
    *("commit.before", "commit.after", "revert.before", "revert.after"),
)
HOST_POINTS = (
    *("stage.made", "stage.received", "stage.verified", "stage.done"),
    *("switch.locked", "switch.journaled", "switch.armed", "switch.installed", "switch.flipped"),
    *("switch.restarted", "commit.checked", "commit.proven", "commit.closed", "commit.done"),
    *("revert.begun", "revert.flipped", "revert.installed", "revert.restarted", "revert.closed"),
)
POINTS = CONTROLLER_POINTS + HOST_POINTS
OWN_POINTS = tuple(point for point in HOST_POINTS if point.startswith("revert."))
"""Points of the revert that a host does by itself when its controller fell silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """A point named in the code; `own`: in the revert that the host does by itself."""

    point: str
    own: bool = False

    def __str__(self) -> str:
        return f"{'own-' if self.own else ''}{self.point}"


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """A share of the time that an undisturbed run takes, from its first word to its end."""

    share: float

    def __str__(self) -> str:
        return f"{self.share:.3f}"


Moment = At | After

NAMED: tuple[At, ...] = (
    *(At(point=point) for point in POINTS),
    *(At(point=point, own=True) for point in OWN_POINTS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is to break.  Written as `power-cut@switch.flipped/debian12+bad+at-once`."""

    kind: Kind
    moment: Moment
    flavour: str
    bad: bool = False  # the new release never gets healthy
    alone: bool = False  # the controller dies with it
    at_once: bool = False  # the next run does not wait until the host has come to rest

    def __str__(self) -> str:
        marks = "+bad" * self.bad + "+alone" * self.alone + "+at-once" * self.at_once
        return f"{self.kind}@{self.moment}/{self.flavour}{marks}"


_FORM = re.compile(r"(?P<kind>[a-z-]+)@(?P<moment>[a-z0-9.-]+)/(?P<flavour>[a-z0-9]+)(?P<marks>(\+[a-z-]+)*)")


def parse_fault(text: str) -> Fault:
    """The fault that prints as `text`.  Raises ValueError and says what is wrong."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text!r} is no fault; one is power-cut@switch.flipped/debian12+bad+at-once")
    if form["kind"] not in list(Kind):
        raise ValueError(f"there is no kind {form['kind']!r}; there are {', '.join(Kind)}")
    if form["flavour"] not in recipe.FLAVOURS:
        raise ValueError(f"there is no flavour {form['flavour']!r}; there are {', '.join(recipe.FLAVOURS)}")
    marks = form["marks"].split("+")[1:]
    if unknown := set(marks) - {"bad", "alone", "at-once"}:
        raise ValueError(f"there is no mark {min(unknown)!r}; there are bad, alone and at-once")
    fault = Fault(
        kind=Kind(form["kind"]),
        moment=parse_moment(form["moment"]),
        flavour=form["flavour"],
        bad="bad" in marks,
        alone="alone" in marks,
        at_once="at-once" in marks,
    )
    alone_is_possible = not fault.alone or can_be_alone(fault.kind, fault.moment)
    if not possible(fault.kind, fault.moment, bad=fault.bad) or not alone_is_possible:
        raise ValueError(f"{text} cannot happen")
    return fault


def parse_moment(text: str) -> Moment:
    """A point, with own- before it or without, or a share from 0 to 1.  Raises ValueError."""
    named = {str(at): at for at in NAMED}
    if text in named:
        return named[text]
    try:
        share = float(text)
    except ValueError:
        raise ValueError(f"there is no point {text!r}; there are {', '.join(named)}") from None
    if not 0 <= share <= 1:
        raise ValueError(f"{text} is no share: 0 to 1")
    return After(share=share)


def can_be_alone(kind: Kind, moment: Moment) -> bool:
    """Whether the controller can die with it; in a host's own revert it is dead already."""
    return kind in OF_HOST and not (isinstance(moment, At) and moment.own)


def possible(kind: Kind, moment: Moment, *, bad: bool) -> bool:
    """Whether this can break at that moment."""
    match moment:
        case At(own=True):
            return kind not in OF_CONTROLLER
        case At(point=point) if point.startswith("revert."):
            return bad
        case At(point=point) if point.startswith("commit.") or point == "verify.after":
            return not bad
        case _:
            return True
