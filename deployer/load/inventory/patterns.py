"""Host patterns: `web:&prod:!web3`, `web[0:4]`, `~regex`, globs, and the --limit that narrows them.

The rules are those of Ansible's "Patterns: targeting hosts and groups".  Where Ansible warns that a name
is unknown and goes on with fewer hosts, or excludes fewer, this is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import LoadError, Mark, Problem, did_you_mean
from deployer.load.inventory.files import read_text
from deployer.load.inventory.ranges import split_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from deployer.load.inventory.model import Host, Inventory

_SEPARATOR = re.compile(r"[\s:]+(?![^\[\]]*\])")  # not inside of brackets
_SUBSCRIPT = re.compile(r"(?P<base>.+)\[(?:(?P<index>-?\d+)|(?P<first>\d+)[:-](?P<last>\d*))\]", re.ASCII)
_GLOB = re.compile(r"[*?\[]")
_LOCAL = ("127.0.0.1", "localhost", "::1")
_MOST_HINTS = 10  # looking for near names is slow, and nobody reads more


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """One pattern of a list; `said` begins the message about it where the mark is not enough."""

    text: str
    mark: Mark | None
    said: str = ""


class OutsideLimitError(LoadError):
    """The pattern has hosts, and none of them is in --limit."""


def select(
    inventory: Inventory, pattern: str, *, mark: Mark | None = None, limit: str | None = None
) -> tuple[Host, ...]:
    """The hosts a pattern stands for, in Ansible's order; `mark` is where the pattern was written.

    `limit` is the command line's --limit: a pattern too, in which `@file` has one pattern on each line.

    Raises:
        LoadError: unknown names, bad subscripts or regular expressions, or no host at all.
        OutsideLimitError: no host that is in `limit` too.

    """
    hosts = {host.name: host for host in inventory.hosts}
    matcher = _Matcher(hosts, inventory.groups)
    chosen: tuple[str, ...] = ()
    if words := split_pattern(pattern):
        chosen = matcher.evaluate([_Word(text=word, mark=mark) for word in words])
    else:
        # To Ansible this is every host; it is far more often a variable that turned out empty.
        matcher.refuse("the host pattern is empty", mark, hint="'all' is every host")
    allowed = None if limit is None else matcher.evaluate(_limit_words(limit, matcher))
    if matcher.problems:
        raise LoadError(matcher.problems)
    if not chosen:
        hint = f"group {pattern!r} is empty" if pattern in inventory.groups else ""
        raise LoadError([Problem(message=f"no host matched {pattern!r}", mark=mark, hint=hint)])
    if allowed is not None:
        if not allowed:
            raise LoadError([Problem(message=f"no host matched --limit {limit!r}")])
        within = frozenset(allowed)
        chosen = tuple(name for name in chosen if name in within)
        if not chosen:
            message = f"no host of {pattern!r} is in --limit {limit!r}"
            raise OutsideLimitError([Problem(message=message, mark=mark)])
    return tuple(hosts[name] for name in chosen)


def split_pattern(text: str) -> tuple[str, ...]:
    """The single patterns of a list: apart at commas if it has any, else at colons and blanks.

    A colon inside of brackets, in an IPv6 address or before a port is part of a pattern.
    """
    if "," in text:
        pieces = text.split(",")
    elif split_port(text.strip()):
        pieces = [text]
    else:
        pieces = _SEPARATOR.split(text)
    return tuple(piece.strip() for piece in pieces if piece.strip())


def _limit_words(limit: str, matcher: _Matcher) -> list[_Word]:
    words: list[_Word] = []
    known = len(matcher.problems)
    for text in split_pattern(limit):
        if not text.startswith("@"):
            words.append(_Word(text=text, mark=None, said="--limit: "))
            continue
        file = text[1:]
        try:
            lines = read_text(Path(file).expanduser()).splitlines()
        except LoadError as error:
            matcher.problems.extend(error.problems)
            continue
        words += [
            _Word(text=line.strip(), mark=Mark(file=file, line=number, column=1))
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.startswith("#")
        ]
    if not words and len(matcher.problems) == known:
        # To Ansible this is no limit at all, which is not what anyone who gives one means.
        matcher.refuse(f"--limit {limit!r} is empty", None)
    return words


class _Matcher:
    """Finds host names by pattern and collects what is wrong with the patterns."""

    def __init__(self, hosts: Mapping[str, Host], groups: Mapping[str, tuple[str, ...]]) -> None:
        self._hosts = hosts
        self._groups = groups
        self.problems: list[Problem] = []

    def refuse(self, message: str, mark: Mark | None, *, hint: str = "") -> None:
        """Note one problem and go on, so that all of them are found."""
        self.problems.append(Problem(message=message, mark=mark, hint=hint))

    def evaluate(self, words: Sequence[_Word]) -> tuple[str, ...]:
        """Host names: first what plain patterns add, then what `&` keeps, then what `!` takes away.

        Their order in the list does not matter; without a plain pattern the start is "all".
        """
        plain = [word for word in words if word.text[0] not in "&!"]
        chosen: dict[str, None] = {}
        for word in plain:
            # A host's name comes before a group's, and before any reading of it as a glob.
            chosen.update(dict.fromkeys((word.text,) if word.text in self._hosts else self._match(word)))
        if not plain:
            chosen = dict.fromkeys(self._groups["all"])
        for word in words:
            if word.text[0] == "&":
                kept = frozenset(self._match(word))
                chosen = {name: None for name in chosen if name in kept}
        out = {name for word in words if word.text[0] == "!" for name in self._match(word)}
        return tuple(name for name in chosen if name not in out)

    def _match(self, word: _Word) -> Sequence[str]:
        text = word.text[1:] if word.text[0] in "&!" else word.text
        if not text:
            self.refuse(f"{word.said}there is no pattern after {word.text!r}", word.mark)
            return ()
        # In a regular expression brackets mean what they mean there.
        subscript = None if text.startswith("~") else _SUBSCRIPT.fullmatch(text)
        found = self._find(subscript["base"] if subscript else text, word)
        if not subscript or not found:
            return found
        if subscript["index"] is None:
            first, last = int(subscript["first"]), int(subscript["last"] or -1)
            # Both ends count.  To Ansible an end of 0 is none: web[2:0] is web[2].
            if last:
                return found[first:] if last < 0 else found[first : last + 1]
            index = first
        else:
            index = int(subscript["index"])
        if not -len(found) <= index < len(found):
            message = f"{word.said}{text!r} is out of range: {subscript['base']!r} has {len(found)} hosts"
            self.refuse(message, word.mark)
            return ()
        return (found[index],)

    def _find(self, text: str, word: _Word) -> Sequence[str]:
        """Hosts of all groups that match; then, for a glob, a regular expression or no such group, hosts.

        A host may come twice: Ansible counts subscripts before it drops the second.
        """
        groups, hosts = self._candidates(text, word)
        found = [name for group in groups for name in self._groups[group]]
        if not groups or text.startswith("~") or "." in text or _GLOB.search(text):
            found += hosts
        if not found and not groups and text in _LOCAL:
            found += [name for name in self._hosts if name in _LOCAL][:1]  # they are one host to Ansible
        if not found and not groups and not text.startswith("~") and not _GLOB.search(text):
            self.refuse(f"{word.said}no group or host is called {text!r}", word.mark, hint=self._hint(text))
        return found

    def _candidates(self, text: str, word: _Word) -> tuple[list[str], list[str]]:
        if not text.startswith("~") and not _GLOB.search(text):
            return [text] * (text in self._groups), [text] * (text in self._hosts)
        try:
            matches = re.compile(text[1:] if text.startswith("~") else translate(text)).match
        except re.error as error:
            self.refuse(
                f"{word.said}{text!r} is not a regular expression: {error.msg}",
                word.mark,
                hint="a ':' ends a pattern, unless there is a comma in the list: put one at its end",
            )
            return [], []
        return list(filter(matches, self._groups)), list(filter(matches, self._hosts))

    def _hint(self, text: str) -> str:
        if text in _LOCAL:
            return "there is no implicit localhost here: add it to the inventory"
        known: Iterable[str] = (*self._groups, *self._hosts)
        return did_you_mean(text, known) if len(self.problems) < _MOST_HINTS else ""
