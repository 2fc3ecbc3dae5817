"""Host names as inventories write them: `web[01:20].example.com:2222` is twenty names and one port.

The rules are those of "How to build your inventory" (Adding ranges of hosts) in Ansible's documentation.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from itertools import product
from math import prod
from string import ascii_letters

_BRACKETS = re.compile(r"(\[[^\[\]]*\])")
_NAME_RANGE = re.compile(r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]", re.IGNORECASE)
_IPV6_RANGE = re.compile(r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]", re.IGNORECASE)
_LABEL = r"(?!-)[\w-]*[^\W_]"  # may begin with an underscore, may not end with one
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+")

_MOST_HOSTS = 100_000  # in one pattern; a slip of the finger should not eat the memory


class HostNameError(ValueError):
    """A host name or range that cannot be expanded; `hint` says what to write instead."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


def expand_host(text: str) -> tuple[tuple[str, ...], int | None]:
    """All names a host pattern stands for, and the port given with it.

    Raises HostNameError.  The text is quoted in messages only where it cannot be a variable's value.
    """
    if "=" in text:
        # Ansible takes this for a name; it is always a variable in the wrong place, maybe a secret one.
        raise HostNameError("a host name cannot hold '='", hint="is this a variable outside of vars?")
    address = split_port(text)
    name, port = address or (text, None)
    if not name:
        raise HostNameError("a host name is empty")
    return (expand(name), port) if "[" in name or "]" in name else ((name,), port)


def split_port(text: str) -> tuple[str, int | None] | None:
    """An address and its port, or None if this is no host name, no IPv4 and no IPv6 address.

    An IPv6 address has a port only in brackets: `[2001:db8::1]:22`.  The address may hold ranges.
    """
    name, port = text, None
    head, colon, tail = text.rpartition(":")
    if colon and _NUMBER.fullmatch(tail):
        if head.startswith("[") and head.endswith("]") and _is_address(head[1:-1]):
            name, port = head[1:-1], int(tail)
        elif not re.search(r"[:\[\]]", _BRACKETS.sub("", head)):
            name, port = head, int(tail)
    return (name, port) if _is_address(name) else None


def _is_address(text: str) -> bool:
    if _NAME.fullmatch(_NAME_RANGE.sub("0", text)):
        return True
    if text.count(":") < 2 or "%" in text:  # noqa: PLR2004  # the shortest IPv6 address is `::`
        return False
    try:
        IPv6Address(_IPV6_RANGE.sub("0", text))
    except ValueError:
        return False
    return True


def expand(pattern: str) -> tuple[str, ...]:
    """Every name of a pattern with ranges, the last range counting fastest.  Raises HostNameError."""
    parts = _BRACKETS.split(pattern)
    if any("[" in part or "]" in part for part in parts[::2]):
        raise HostNameError(
            "a bracket in a host name is not closed or not opened",
            hint="a range is [01:20], [a:f] or [1:9:2]",
        )
    choices = [_sequence(part) if index % 2 else (part,) for index, part in enumerate(parts)]
    if (count := prod(len(choice) for choice in choices)) > _MOST_HOSTS:
        raise HostNameError(f"ranges stand for {count} hosts; the most is {_MOST_HOSTS}")
    return tuple("".join(words) for words in product(*choices))


def _sequence(brackets: str) -> tuple[str, ...]:
    begin, *rest = brackets[1:-1].split(":")
    if len(rest) not in {1, 2}:
        raise HostNameError(f"{brackets} is not a range", hint="a range is [01:20], [a:f] or [1:9:2]")
    begin, end, step = begin or "0", rest[0], rest[1] if len(rest) > 1 else "1"
    if not end:
        raise HostNameError(f"range {brackets} has no end")
    if not _NUMBER.fullmatch(step) or int(step) == 0:
        raise HostNameError(f"the step of range {brackets} must be a number from 1 up")
    if _NUMBER.fullmatch(begin) and _NUMBER.fullmatch(end):
        return _numbers(brackets, begin, end, int(step))
    letters = len(begin) == len(end) == 1 and begin in ascii_letters and end in ascii_letters
    if not letters:
        raise HostNameError(f"range {brackets} must be two numbers or two letters")
    first, last = ascii_letters.index(begin), ascii_letters.index(end)
    if first > last:
        raise HostNameError(f"range {brackets} counts down", hint=f"write [{end}:{begin}]")
    return tuple(ascii_letters[first : last + 1 : int(step)])


def _numbers(brackets: str, begin: str, end: str, step: int) -> tuple[str, ...]:
    padded = len(begin) > 1 and begin.startswith("0")
    if padded and len(begin) != len(end):
        raise HostNameError(
            f"both ends of range {brackets} must have the same number of digits",
            hint=f"write [{begin}:{end.zfill(len(begin))}]" if len(end) < len(begin) else "",
        )
    if int(begin) > int(end):
        raise HostNameError(f"range {brackets} counts down", hint=f"write [{end}:{begin}]")
    numbers = range(int(begin), int(end) + 1, step)
    if len(numbers) > _MOST_HOSTS:
        raise HostNameError(f"range {brackets} stands for {len(numbers)} hosts; the most is {_MOST_HOSTS}")
    return tuple(str(number).zfill(len(begin) if padded else 0) for number in numbers)
