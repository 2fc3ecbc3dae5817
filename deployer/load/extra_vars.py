"""`-e`: variables from the command line, which win over all others."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import LoadError, Problem
from deployer.load.yaml import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.load.yaml import Document


def read_extra_vars(words: Sequence[str]) -> dict[str, Any]:
    """`-e`: `name=value ...`, a JSON or YAML mapping, or `@file` with one.  Raises LoadError."""
    result: dict[str, Any] = {}
    for word in words:
        if word.startswith("@"):
            result |= _mapping_file(Path(word[1:]).expanduser())
        elif word.lstrip().startswith(("{", "[")):
            result |= _mapping(parse_yaml(word, "--extra-vars"))
        else:
            for pair in _split_pairs(word):
                name, equals, value = pair.partition("=")
                if not equals or not name.isidentifier():
                    message = "--extra-vars must be name=value, a {mapping} or @file"
                    raise LoadError([Problem(message=message)])
                result[name] = value
    return result


def _split_pairs(word: str) -> list[str]:
    try:
        return shlex.split(word)
    except ValueError:
        raise LoadError([Problem(message="--extra-vars has an unclosed quote")]) from None


def _mapping_file(path: Path) -> dict[str, Any]:
    try:
        return _mapping(parse_yaml(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise LoadError([Problem(message=f"--extra-vars: cannot read {path}: {reason}")]) from None


def _mapping(document: Document) -> dict[str, Any]:
    if not isinstance(document.value, dict):
        raise LoadError([Problem(message="must be a mapping of variables", mark=document.mark(()))])
    return {str(name): value for name, value in document.value.items()}
