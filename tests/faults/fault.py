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
    CONTROLLER_HUP = "controller-hup"  # its terminal is closed: it is to finish what it does, or undo it
    CONTROLLER_CLOSED = "controller-closed"  # nobody reads what it says any more, on either stream
    LINE_CUT = "line-cut"  # silent in both directions, for new connections too
    CUT_UP = "cut-up"  # nothing from the controller arrives any more
    CUT_DOWN = "cut-down"  # nothing from the host arrives any more
    LOSSY = "lossy"  # the line stalls again and again, as with lost packets
    SSHD_KILL = "sshd-kill"  # every process of it, and it does not come back by itself
    POWER_CUT = "power-cut"  # and boots again
    REBOOT = "reboot"
    HOST_FROZEN = "host-frozen"  # every process stands still for longer than the deadline; then they go on
    HOST_THROTTLED = "host-throttled"  # its processes get a tenth of the time, for a while
    OPT_FULL = "opt-full"
    VAR_FULL = "var-full"
    ROOT_FULL = "root-full"  # every folder that anything is written to, but those of /run
    INODES_FULL = "inodes-full"  # the same, with bytes left, but no name for a new file
    OPT_READ_ONLY = "opt-read-only"
    VAR_READ_ONLY = "var-read-only"
    DAEMON_RELOAD = "daemon-reload"  # in a loop
    DAEMON_REEXEC = "daemon-reexec"  # in a loop, as every upgrade of systemd does it once
    SYSTEMCTL_DEAF = "systemctl-deaf"  # systemctl reaches nobody, for less long than it is asked again
    UNREADABLE_UNIT = "unreadable-unit"  # somebody overwrote it with what systemd cannot load
    OPERATOR_STOP = "operator-stop"
    OPERATOR_START = "operator-start"  # of a service that was stopped by hand before the run began
    OPERATOR_RESTART = "operator-restart"
    OPERATOR_EDIT = "operator-edit"  # systemctl edit: a harmless drop-in
    OPERATOR_MASK = "operator-mask"  # systemctl mask --force
    OPERATOR_DELETE = "operator-delete"  # the unit is deleted
    OPERATOR_WIPE = "operator-wipe"  # the folder of the service is deleted
    LOCK_HOLDER = "lock-holder"  # the service's own user holds every lock that it can get
    FLAPPING = "flapping"  # the new release is well now and then, and nothing else happens
    TWO_CONTROLLERS = "two-controllers"


OF_CONTROLLER = {
    *(Kind.CONTROLLER_KILL, Kind.CONTROLLER_STOP, Kind.CONTROLLER_HUP, Kind.CONTROLLER_CLOSED),
    *(Kind.LINE_CUT, Kind.CUT_UP, Kind.CUT_DOWN, Kind.LOSSY, Kind.SSHD_KILL),
}
"""What says nothing to a host whose controller is dead already."""

OPERATOR = {
    *(Kind.OPERATOR_STOP, Kind.OPERATOR_START, Kind.OPERATOR_RESTART, Kind.OPERATOR_EDIT),
    *(Kind.OPERATOR_MASK, Kind.OPERATOR_DELETE, Kind.OPERATOR_WIPE),
}
"""What somebody does as root on the host, behind deployer's back."""

SPOILED = {Kind.OPERATOR_MASK, Kind.OPERATOR_DELETE, Kind.OPERATOR_WIPE, Kind.UNREADABLE_UNIT}
"""After these a host may stay as it is until the next run, which must see it and put it right."""

OF_HOST = {
    *(Kind.POWER_CUT, Kind.REBOOT, Kind.HOST_FROZEN, Kind.HOST_THROTTLED),
    *(Kind.OPT_FULL, Kind.VAR_FULL, Kind.ROOT_FULL, Kind.INODES_FULL),
    *(Kind.OPT_READ_ONLY, Kind.VAR_READ_ONLY),
    *(Kind.DAEMON_RELOAD, Kind.DAEMON_REEXEC, Kind.SYSTEMCTL_DEAF, Kind.LOCK_HOLDER),
    *OPERATOR,
    *SPOILED,
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
LOOKED = (
    *("stage.before", "stage.made", "stage.received", "stage.verified", "stage.done", "stage.after"),
    "switch.before",
)
"""Points between the look at a host and its switch: what comes there, the plan knows nothing of."""
JUDGED = (
    *LOOKED,
    *("switch.locked", "switch.journaled", "switch.armed", "switch.installed", "switch.flipped"),
    *("switch.restarted", "switch.after", "verify.before", "verify.after", "commit.before"),
)
"""Points before the last look of a run that ends well."""


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
    if kind is Kind.FLAPPING and not bad:
        return False
    if kind is Kind.OPERATOR_START and (
        bad or (isinstance(moment, At) and moment.point.startswith("verify."))
    ):
        return False  # what the run does not start, it does not try
    match moment:
        case At(own=True):
            return kind not in OF_CONTROLLER
        case At(point=point) if point.startswith("revert."):
            return bad
        case At(point=point) if point.startswith("commit.") or point == "verify.after":
            return not bad
        case _:
            return True
