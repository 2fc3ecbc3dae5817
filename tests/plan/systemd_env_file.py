"""A model of how systemd 252 to 257 reads an `EnvironmentFile=`: for tests, where no systemd runs.

Written from systemd.exec(5), EnvironmentFile=, and the states of `parse_env_file_internal`
(src/basic/env-file.c); what becomes of names and values is `load_env_file` and `strv_env_clean`.
"""

from __future__ import annotations

import re
from enum import Enum, auto

_NEWLINES = "\n\r"
_WHITESPACE = " \t" + _NEWLINES
_COMMENTS = "#;"
_UNESCAPED_IN_DOUBLE_QUOTES = '"\\`$'


class _State(Enum):
    BEFORE_NAME = auto()
    NAME = auto()
    BEFORE_VALUE = auto()  # also between quoted pieces, which join
    VALUE = auto()
    VALUE_ESCAPE = auto()
    SINGLE_QUOTES = auto()
    DOUBLE_QUOTES = auto()
    DOUBLE_QUOTES_ESCAPE = auto()
    COMMENT = auto()
    COMMENT_ESCAPE = auto()


def systemd_env_file(content: bytes) -> dict[str, str]:
    """Return what a process would get; raises ValueError where systemd refuses the whole file."""
    text = content.split(b"\0")[0].decode("utf-8", "surrogateescape")
    variables: dict[str, str] = {}
    state = _State.BEFORE_NAME
    name = value = ""
    kept = 0  # how much of an unquoted value stays when its trailing whitespace goes

    def push() -> None:
        unquoted = state is _State.VALUE
        _accept(variables, name.rstrip(_WHITESPACE), value[:kept] if unquoted else value)

    for char in text:
        match state:
            case _State.BEFORE_NAME:
                if char in _COMMENTS:
                    state = _State.COMMENT
                elif char not in _WHITESPACE:
                    state, name, value, kept = _State.NAME, char, "", 0
            case _State.NAME:
                if char in _NEWLINES:
                    state = _State.BEFORE_NAME
                elif char == "=":
                    state = _State.BEFORE_VALUE
                else:
                    name += char
            case _State.BEFORE_VALUE:
                if char in _NEWLINES:
                    push()
                    state = _State.BEFORE_NAME
                elif char == "'":
                    state = _State.SINGLE_QUOTES
                elif char == '"':
                    state = _State.DOUBLE_QUOTES
                elif char == "\\":
                    state = _State.VALUE_ESCAPE
                elif char not in _WHITESPACE:
                    state = _State.VALUE
                    value += char
                    kept = len(value)
            case _State.VALUE:
                if char in _NEWLINES:
                    push()
                    state = _State.BEFORE_NAME
                elif char == "\\":
                    state = _State.VALUE_ESCAPE
                    kept = len(value)
                else:
                    value += char
                    if char not in _WHITESPACE:
                        kept = len(value)
            case _State.VALUE_ESCAPE:
                state = _State.VALUE
                if char not in _NEWLINES:
                    value += char
                kept = len(value)
            case _State.SINGLE_QUOTES:
                if char == "'":
                    state = _State.BEFORE_VALUE
                else:
                    value += char
            case _State.DOUBLE_QUOTES:
                if char == '"':
                    state = _State.BEFORE_VALUE
                elif char == "\\":
                    state = _State.DOUBLE_QUOTES_ESCAPE
                else:
                    value += char
            case _State.DOUBLE_QUOTES_ESCAPE:
                state = _State.DOUBLE_QUOTES
                if char in _UNESCAPED_IN_DOUBLE_QUOTES:
                    value += char
                elif char != "\n":
                    value += "\\" + char
            case _State.COMMENT:
                if char == "\\":
                    state = _State.COMMENT_ESCAPE
                elif char in _NEWLINES:
                    state = _State.BEFORE_NAME
            case _State.COMMENT_ESCAPE:
                # Before 254 an escaped newline carried the comment on to the next line.
                state = _State.BEFORE_NAME if char in _NEWLINES else _State.COMMENT
    if state not in {_State.BEFORE_NAME, _State.NAME, _State.COMMENT, _State.COMMENT_ESCAPE}:
        push()
    return variables


def _accept(variables: dict[str, str], name: str, value: str) -> None:
    if any(map(_refused, name + value)):
        raise ValueError("not valid UTF-8 in systemd's eyes")
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        variables[name] = value


def _refused(char: str) -> bool:
    code = ord(char)
    return 0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
