r"""The release's `.env`: one spelling per value that systemd and the programs that load `.env` read alike.

Four readers meet this file, and they share neither quotes nor escapes:

- systemd's `EnvironmentFile=` (252 to 257; `parse_env_file_internal`, src/basic/env-file.c).  What it reads
  is what the process gets, so every spelling offered here is exact for it.
- godotenv 1.5.1 (parser.go): in double quotes a backslash hides any character; a closing quote is not seen
  after a backslash, in either kind of quotes, and quotes at the end of a value go with the closing one.
- compose-go v2 (dotenv/parser.go), as `deployer.load.dotenv` reads it.
- python-dotenv 1.x (parser.py), which takes backslash pairs for escapes in single quotes too, does not
  unescape a dollar in double quotes, and reads carriage returns as newlines.

Where no spelling serves all four, a reader that comes later in this list gives way.  The leftovers are:

- a carriage return: python-dotenv sees a newline, and where a newline follows it godotenv loses it;
- `$` together with `'`: python-dotenv sees a backslash before the dollar;
- two backslashes in a row, together with `$` or with `"` at the end: python-dotenv sees one for the two;
- `"` at the end, together with `'` and something that needs quotes: godotenv sees a backslash in its place;
- a backslash at the end: the other three take a line without quotes as it stands, so that they see every
  backslash twice and replace `$NAME`.  In a value of several lines godotenv stops reading the file there;
- `${NAME}` anywhere: python-dotenv replaces it in any quotes, unless told `interpolate=False`.

Node's dotenv is not chosen for: in double quotes it unescapes newlines and nothing else.

None of this changes what a program finds in its environment: systemd has set it, and these libraries leave
a variable alone that is already set, unless told otherwise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from deployer.load.dotenv import why_not_name, why_not_value
from deployer.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "# Written by deployer: the next release replaces this file, changes made here are lost.\n"

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")


class _Misread(NamedTuple):
    """Who does not see the value a spelling stands for, the worst loss first; compared as a tuple."""

    godotenv_stops: bool = False
    godotenv: bool = False
    compose: bool = False
    python: bool = False


def render_dotenv(variables: Mapping[str, Secret]) -> Secret:
    """Return the text of the file, to be encoded as UTF-8; variables keep the order of the mapping.

    Values stand for themselves: nothing in them is interpolated any more.

    Raises:
        ValueError: a name or a value that no process can be given, which loading refuses first.

    """
    return Secret(HEADER + "".join(_line(name, value.reveal()) for name, value in variables.items()))


def _line(name: str, value: str) -> str:
    refused = why_not_name(name) or why_not_value(name, value)
    if refused:
        raise ValueError(refused)
    return f"{name}={_spell(value)}\n"


def _spell(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    spellings = [offer for spell in (_single, _double, _bare) if (offer := spell(value))]
    return min(spellings, key=lambda spelling: spelling[1])[0]  # of equals the first: quotes before none


def _single(value: str) -> tuple[str, _Misread] | None:
    """Everything but the quote itself stands for itself, says systemd; it knows no way to write that one."""
    if "'" in value:
        return None
    ends_escaped = value.endswith("\\")
    return f"'{value}'", _Misread(
        godotenv_stops=ends_escaped,
        godotenv="\r\n" in value,
        compose=ends_escaped,
        python=ends_escaped or "\\\\" in value or "\r" in value,
    )


def _double(value: str) -> tuple[str, _Misread]:
    r"""Systemd unescapes `" \ $` and backticks, and nothing else: a newline is written as it is."""
    return '"' + re.sub(r'["\\$]', r"\\\g<0>", value) + '"', _Misread(
        godotenv_stops=value.endswith("\\"),
        godotenv=value.endswith('"') or "\r\n" in value,
        python="$" in value or "\r" in value,
    )


def _bare(value: str) -> tuple[str, _Misread] | None:
    """Without quotes to the end of the line; only systemd takes a backslash for an escape."""
    if "\n" in value or "\r" in value or value.endswith((" ", "\t")):
        return None
    spelled = value.replace("\\", "\\\\")
    if value.startswith(("'", '"')) or value != value.lstrip():
        spelled = (
            "\\" + spelled
        )  # else a reader that skips the space would take a quote after it for an opening one
    others = spelled != value or value != value.rstrip() or "$" in value or "#" in value
    return spelled, _Misread(godotenv=others, compose=others, python=others)
