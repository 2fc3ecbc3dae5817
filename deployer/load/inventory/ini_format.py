"""Inventories in INI: hosts with key=value pairs, `[group]`, `[group:children]` and `[group:vars]`.

The rules are those of Ansible's `ini` inventory plugin: a host line is split as a shell would, `#` begins
a comment there; a line under `:vars` is a name, `=` and the rest of the line; and every value is a Python
literal if it can be read as one, else text.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from typing import TYPE_CHECKING, Any

from deployer.errors import LoadError, Mark, did_you_mean
from deployer.load.inventory.files import decode
from deployer.load.inventory.ranges import HostNameError, expand_host

if TYPE_CHECKING:
    from deployer.load.inventory.draft import Draft, Source

_WORD = r"[^\s:\]]+"  # a group name, as far as this format is concerned
_COMMENT = r"\s*(?:#.*)?"
_SECTION = re.compile(rf"\[({_WORD})(?::(\w+))?\]{_COMMENT}")
_ALMOST_SECTION = re.compile(rf"\[{_WORD}(?::(?:hosts|children|vars))?\]\s")  # [1:3] may begin a host
_CHILD = re.compile(rf"({_WORD}){_COMMENT}")
_QUOTING = re.compile(r"""["'\\#]""")
_BLANKS = re.compile(r"[ \t\r\n]+")  # what shlex splits at, which is less than str.split does
_KINDS = ("hosts", "children", "vars")


def decode_ini(data: bytes, file: str) -> str:
    """The text of an INI file; comments need not be UTF-8.  Raises LoadError."""
    try:
        return decode(data, file)
    except LoadError:
        lines = data.split(b"\n")
        return decode(b"\n".join(b"" if line.lstrip()[:1] in b"#;" else line for line in lines), file)


def read_ini_groups(text: str, file: str, *, source: Source, draft: Draft) -> None:
    """Add everything an INI inventory says to the draft, in the order of the file."""
    reader = _LineReader(file, source, draft)
    with warnings.catch_warnings():
        # A value such as '\d' makes Python's parser warn about its own escapes: nothing to tell the user.
        warnings.simplefilter("ignore")
        for number, line in enumerate(text.splitlines(), start=1):
            stripped = line.strip()
            if stripped and stripped[0] not in "#;":
                reader.line(stripped, number, line.index(stripped[0]) + 1)
    reader.finish()


class _LineReader:
    def __init__(self, file: str, source: Source, draft: Draft) -> None:
        self._file = file
        self._source = source
        self._draft = draft
        self._group = "ungrouped"
        self._kind = "hosts"
        # A group may be named before it is declared.  It joins its parents where it is declared: that
        # is when Ansible does it, and the order of a group's children decides the order of its hosts.
        self._awaited: dict[str, list[tuple[str, Mark]]] = {}
        self._only_vars: dict[str, Mark] = {}

    def line(self, text: str, number: int, column: int) -> None:
        """Read one line that is neither empty nor a comment; `column` is where its text begins."""
        mark = Mark(file=self._file, line=number, column=column)
        if match := _SECTION.fullmatch(text):
            self._section(match[1], match[2] or "hosts", mark)
        elif text.startswith("[") and (
            self._kind != "hosts" or text.endswith("]") or _ALMOST_SECTION.match(text)
        ):
            self._draft.refuse(
                "not a section",
                mark,
                hint="sections are [name], [name:children], [name:vars]; a comment after one begins with #",
            )
            self._kind = ""
        elif self._kind == "hosts":
            self._host(text, mark)
        elif self._kind == "vars":
            self._variable(text, mark)
        elif self._kind == "children":
            self._child(text, mark)
        # else the section was refused: what its lines mean is anyone's guess

    def finish(self) -> None:
        """Report the groups that were used but never declared."""
        known = [name for name in self._draft.groups if name not in self._only_vars]
        for child, parents in self._awaited.items():
            for parent, mark in parents:
                self._draft.refuse(
                    f"[{parent}:children] names group {child!r}, which is defined nowhere",
                    mark,
                    hint=did_you_mean(child, known),
                )
        for name, mark in self._only_vars.items():
            self._draft.refuse(
                f"[{name}:vars] is for group {name!r}, which is defined nowhere",
                mark,
                hint=did_you_mean(name, known),
            )

    def _section(self, group: str, kind: str, mark: Mark) -> None:
        self._group, self._kind = group, kind
        if kind not in _KINDS:
            self._draft.refuse(
                f"section [{group}:{kind}] is of unknown type {kind!r}",
                mark,
                hint=did_you_mean(kind, _KINDS) or "types are hosts, children and vars",
            )
            self._kind = ""
        if kind == "vars" and group not in self._draft.groups and group not in self._awaited:
            self._only_vars[group] = mark
        self._draft.add_group(group)
        if kind != "vars":
            self._only_vars.pop(group, None)
            for parent, at in self._awaited.pop(group, ()):
                self._draft.add_child(parent, group, mark=at)

    def _child(self, text: str, mark: Mark) -> None:
        match = _CHILD.fullmatch(text)
        if match is None or "=" in match[1]:
            # Not quoted: under the wrong section this is a variable, maybe a secret.
            self._draft.refuse(
                f"expected the name of a group under [{self._group}:children]",
                mark,
                hint=f"variables go under [{self._group}:vars]" if "=" in text else "",
            )
        elif match[1] in self._draft.groups:
            self._draft.add_child(self._group, match[1], mark=mark)
        else:
            self._awaited.setdefault(match[1], []).append((self._group, mark))

    def _variable(self, text: str, mark: Mark) -> None:
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name:
            self._draft.refuse(f"expected name=value under [{self._group}:vars]", mark)
            return
        begin = len(text) - len(value) if value else len(text)
        at = Mark(file=mark.file, line=mark.line, column=mark.column + begin)
        self._set((self._group,), name, value, at)

    def _host(self, text: str, mark: Mark) -> None:
        try:
            words = shlex.split(text, comments=True) if _QUOTING.search(text) else _BLANKS.split(text)
        except ValueError:
            self._draft.refuse("a quote is not closed", mark)
            return
        if not words:
            return
        names = self._names(words[0], mark)
        pairs = []
        end = 0  # the words come unquoted: look for each name in the line as it was typed
        for word in words[1:]:
            name, equals, value = word.partition("=")
            found = text.find(f"{name}=", end) if equals else -1
            begin = end if found < 0 else found
            end = begin + len(name) + 1 if found >= 0 else end
            if not equals or not name:
                self._draft.refuse(
                    "expected name=value after the host name",
                    mark,
                    hint="quote a value with spaces as a whole: 'name=a b' or name='a b'",
                )
                return
            pairs.append((name, value, Mark(file=mark.file, line=mark.line, column=mark.column + end)))
        for name, value, at in pairs:
            self._set(names, name, value, at)

    def _names(self, pattern: str, mark: Mark) -> tuple[str, ...]:
        try:
            names, port = expand_host(pattern)
        except HostNameError as error:
            hint = f"variables of a group go under [{self._group}:vars]" if "=" in pattern else error.hint
            self._draft.refuse(str(error), mark, hint=hint)
            return ()
        if port is None and pattern.endswith(":"):
            self._draft.refuse(f"host {pattern!r} ends in ':' without a port", mark)
            return ()
        if pattern == "---":
            hint = "give the file a name that ends in .yml"
            self._draft.refuse("this is a YAML file, not an INI file", mark, hint=hint)
            return ()
        for name in names:
            self._draft.add_host(name, group=self._group, port=port, source=self._source, mark=mark)
        return names

    def _set(self, owners: tuple[str, ...], name: str, text: str, mark: Mark) -> None:
        try:
            value = _literal(text)
        except (TypeError, MemoryError, RecursionError):
            self._draft.refuse(f"the value of {name!r} looks like Python but cannot be read", mark)
            return
        for owner in owners:
            self._draft.set_variable(owner, name, value, mark)


def _literal(text: str) -> Any:
    try:
        return _plain(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text


def _plain(value: Any) -> Any:
    """What YAML could have said too: Python knows more kinds of values than variables may have."""
    match value:
        case list() | tuple():
            return [_plain(item) for item in value]
        case set():
            return [_plain(item) for item in sorted(value, key=repr)]  # a set has no order; have one
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case bytes():
            return value.decode()
        case complex():
            return str(value)
        case _ if value is ...:
            return "..."
        case _:
            return value
