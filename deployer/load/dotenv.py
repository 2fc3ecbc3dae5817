"""`.env` files with the meaning Docker Compose gives them when it fills a container through `env_file:`.

The rules are those of compose-go v2.13 (`dotenv/parser.go`, `template/template.go`), documented as "Env file
syntax" in Docker's manual, https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/.

A variable of the controller's environment does not replace one the file sets: `parser.parse` takes the
file's value (versions before v2 looked the name up first), and `Project.WithServicesEnvironmentResolved`
lays only the service's own `environment:` over it.  The controller's environment is asked for a name that
stands alone on its line, and where `$NAME` is replaced it comes before earlier lines of the file (compose-go
pull requests 403 and 793; there the service's `environment:` comes between the two, so a caller who has one
passes both as `environ`).

No message here repeats anything from the file but a valid name: the rest may be a secret.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from deployer.errors import LoadError, Mark, Problem
from deployer.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SPACE_CHARS = "\t\v\f\r \x85\xa0"
"""What may stand around a name and before a value (`isSpace` in dotenv/parser.go); not a newline."""

_BLANK_CHARS = (
    _SPACE_CHARS + "\n\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
)
"""What may stand between statements and after a bare value (`unicode.IsSpace`, narrower than Python's)."""

_SPACES = re.compile(f"[{_SPACE_CHARS}]*")
_BLANKS = re.compile(f"[{_BLANK_CHARS}]*")
_EXPORT = re.compile(r"export[\t\n\f\r ]+")
_UP_TO_DELIMITER = re.compile(r"[^=:\n]*")
_VALID_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = {
    "'": re.compile(r"'((?:[^'\\]++|\\.)*+)'", re.DOTALL),
    '"': re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL),
}
_ESCAPE = re.compile(r"\\(?:0([0-9]{0,3})|(.))", re.DOTALL)
_OCTAL_BYTE = re.compile(r"[0-3][0-7][0-7]")
_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?:(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?:\}|(?P<colon>:?)(?P<operator>[-+?])))?)"
)
# compose-go steps over whatever follows an opening brace, so `{}` inside a default does not close anything.
_BRACE = re.compile(r"\{.?|\}", re.DOTALL)

_C_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_DEEPEST = 50
"""How deep `${A:-${B:-...}}` may nest; Compose has no limit, Python's stack has one."""

# Linux gives one NAME=value at most 32 pages with its closing NUL (MAX_ARG_STRLEN, execve(2)).
_LONGEST = 32 * 4096 - 1

# systemd drops the whole file for these: surrogates, and the code points Unicode keeps for itself
# (`unichar_is_valid`, src/basic/utf8.c).
_NOT_FOR_SYSTEMD = re.compile(
    "[\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)


def read_dotenv(path: Path, *, environ: Mapping[str, str]) -> dict[str, Secret]:
    """Parse one file.

    Raises:
        LoadError: missing, unreadable, a directory, not UTF-8, or as `parse_dotenv`.

    """
    file = str(path)
    try:
        text = path.read_bytes().decode("utf-8")  # not read_text: a carriage return inside quotes is kept
    except OSError as error:
        raise LoadError([Problem(message=f"cannot read {file}: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise LoadError([Problem(message=f"{file} is not UTF-8 text (byte {error.start})")]) from None
    return parse_dotenv(text, file=file, environ=environ)


def parse_dotenv(text: str, *, file: str, environ: Mapping[str, str]) -> dict[str, Secret]:
    """Return the variables `text` sets, in the order they first appear; of a name given twice the last value.

    `environ` is the environment Compose would run in; `file` is what the marks of problems say.

    Raises:
        LoadError: every malformed line, and every variable that systemd could not hand to a process.

    """
    parser = _Parser(text.removeprefix("\ufeff"), file, environ)
    variables = parser.parse()
    if parser.problems:
        raise LoadError(parser.problems)
    return {name: Secret(value) for name, value in variables.items()}


def why_not_name(name: str) -> str:
    """Why systemd could not set a variable called `name`, or nothing (environ(7); `env_name_is_valid`)."""
    if _VALID_NAME.fullmatch(name):
        return ""
    if not name:
        return "there is no name"
    if " " in name:
        return "a name cannot contain a space"
    return "a name can only have letters A-Z and a-z, digits and _, and cannot begin with a digit"


def why_not_value(name: str, value: str) -> str:
    """Why systemd could not give the variable `name` this value, or nothing; never shows the value."""
    if "\0" in value:
        return f"the value of {name} holds a NUL byte, which no process can be given"
    if _NOT_FOR_SYSTEMD.search(value):
        return f"the value of {name} holds a surrogate or a noncharacter, which systemd refuses"
    if len(name) + 1 + len(value.encode()) > _LONGEST:
        return f"the value of {name} is too long: Linux gives a process at most 128 KiB in one variable"
    return ""


class _RefusedError(Exception):
    """A `$` expression that cannot be replaced; says why without its text."""


class _Parser:
    """Walks through the text once; every method takes a position and returns the one after what it read."""

    def __init__(self, text: str, file: str, environ: Mapping[str, str]) -> None:
        self._text = text
        self._file = file
        self._environ = environ
        self._variables: dict[str, str] = {}
        self._lines = [0, *(newline.end() for newline in re.finditer("\n", text))]
        self.problems: list[Problem] = []

    def parse(self) -> dict[str, str]:
        at = 0
        while (at := self._skip_blanks_and_comments(at)) < len(self._text):
            at = self._statement(at)
        return self._variables

    def _skip_blanks_and_comments(self, at: int) -> int:
        while True:
            at = _end(_BLANKS, self._text, at)
            if not self._text.startswith("#", at):
                return at
            at = self._line_end(at)

    def _statement(self, at: int) -> int:
        """`NAME=value`, `NAME: value` or `NAME`, each with or without `export` before it."""
        if _EXPORT.match(self._text, at):
            at = _end(_SPACES, self._text, at + len("export"))
        delimiter = _end(_UP_TO_DELIMITER, self._text, at)
        name = self._text[at:delimiter].rstrip(_SPACE_CHARS)
        stands_alone = not self._text.startswith(("=", ":"), delimiter)
        if stands_alone and not name and delimiter < len(self._text):  # `export` and nothing else
            return delimiter + 1
        bad_name = why_not_name(name)
        if bad_name:
            self._problem(at, bad_name, hint="a line is NAME=value" if stands_alone else "")
        if stands_alone:
            if not bad_name:
                self._inherit(name, at, delimiter)
            return delimiter + 1
        value_at = _end(_SPACES, self._text, delimiter + 1)
        return self._value(value_at, "" if bad_name else name)

    def _inherit(self, name: str, at: int, end: int) -> None:
        if end == len(self._text):
            # compose-go then takes the line for the value of a variable without a name, which Docker refuses.
            self._problem(
                at, f"{name} stands alone on a last line that does not end", hint="add a newline, or ="
            )
        elif name in self._environ:
            self._set(name, self._environ[name], at)

    def _value(self, at: int, name: str) -> int:
        """Read the value at `at`; without a name (it was bad, and reported) only step over it."""
        quote = self._text[at : at + 1]
        if quote not in _QUOTED:
            end = self._line_end(at)
            if name:
                unquoted = self._text[at:end].partition(" #")[0].rstrip(_BLANK_CHARS)
                self._set_interpolated(name, unquoted, at)
            return end
        quoted = _QUOTED[quote].match(self._text, at)
        if quoted is None:
            owner = f"the value of {name}" if name else "a value"
            self._problem(at, f"{owner} opens with a quote that never closes")
            return len(self._text)
        if name and quote == '"':
            self._set_interpolated(name, _ESCAPE.sub(_unescape, quoted[1]), at)
        elif name:
            self._set(name, _ESCAPE.sub(_unescape_single_quote, quoted[1]), at)
        return quoted.end()

    def _set_interpolated(self, name: str, template: str, at: int) -> None:
        try:
            self._set(name, _interpolate(template, self._lookup), at)
        except _RefusedError as refused:
            self._problem(at, f"the value of {name} {refused}")

    def _set(self, name: str, value: str, at: int) -> None:
        bad_value = why_not_value(name, value)
        if bad_value:
            self._problem(at, bad_value)
        else:
            self._variables[name] = value

    def _lookup(self, name: str) -> str | None:
        return self._environ.get(name, self._variables.get(name))

    def _line_end(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end

    def _problem(self, at: int, message: str, *, hint: str = "") -> None:
        line = bisect_right(self._lines, at)
        mark = Mark(file=self._file, line=line, column=at - self._lines[line - 1] + 1)
        self.problems.append(Problem(message=message, mark=mark, hint=hint))


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where `pattern`, which matches anywhere if only nothing, stops matching."""
    match = pattern.match(text, at)
    return match.end() if match else at


def _unescape(escape: re.Match[str]) -> str:
    r"""One backslash pair of a double-quoted value, as `extractVarValue` and then `expandEscapes` leave it.

    A dollar becomes `$$`, which interpolation turns back.  `\0123` is octal; three digits must make a byte,
    else the 0 is lost and the rest stays (compose-go's doing).  A pair that means nothing stays as it is.
    """
    octal, char = escape.groups()
    if octal is None:
        return "$$" if char == "$" else _C_ESCAPES.get(char, escape[0])
    return chr(int(octal, 8)) if _OCTAL_BYTE.fullmatch(octal) else "\\" + octal


def _unescape_single_quote(escape: re.Match[str]) -> str:
    r"""Inside single quotes only `\'` is special; `\\` stays two backslashes."""
    return "'" if escape[0] == r"\'" else escape[0]


def _interpolate(template: str, lookup: Callable[[str], str | None], depth: int = 0) -> str:
    """Replace `$NAME`, `${NAME}`, `${NAME:-default}` and so on; an unset name leaves nothing (template.go).

    Raises:
        _RefusedError: a `${` that is no expression, or a required variable that is missing.

    """
    if depth > _DEEPEST:
        raise _RefusedError(f"nests more than {_DEEPEST} ${{...}} in each other")
    parts: list[str] = []
    at = line_end = last_brace = 0
    while (dollar := template.find("$", at)) >= 0:
        parts.append(template[at:dollar])
        reference = _REFERENCE.match(template, dollar)
        if reference is None or reference["dollar"]:  # a lone dollar is a dollar
            parts.append("$")
            at = reference.end() if reference else dollar + 1
            continue
        at = reference.end()
        name = reference["plain"] or reference["braced"]
        if name is None:
            raise _RefusedError("has a ${ that is not followed by a name and }, or by a name and an operator")
        if not reference["operator"]:
            parts.append(lookup(name) or "")
            continue
        if at > line_end:
            line_end = (template.find("\n", at) + 1 or len(template) + 1) - 1
            last_brace = template.rfind("}", at, line_end)
        if last_brace < at:
            raise _RefusedError("has a ${ without its } on the same line")
        close = _closing_brace(template, at, last_brace)
        operand, at = template[at:close], close + 1
        value = lookup(name)
        present = value is not None and not (reference["colon"] and not value)
        match reference["operator"]:
            case "?" if not present:
                raise _RefusedError(f"requires {name}, which is {'not set' if value is None else 'empty'}")
            case "-" if not present:
                parts.append(_interpolate(operand, lookup, depth + 1))
            case "+" if present:
                parts.append(_interpolate(operand, lookup, depth + 1))
            case _:
                parts.append(value or "")
    parts.append(template[at:])
    return "".join(parts)


def _closing_brace(template: str, at: int, last: int) -> int:
    """Where the expression around `at` ends: at its own brace or, where braces do not pair up, the last."""
    opened = 1
    for brace in _BRACE.finditer(template, at, last + 1):
        opened += 1 if brace[0] != "}" else -1
        if not opened:
            return brace.start()
    return last
