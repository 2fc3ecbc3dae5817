"""YAML and JSON documents of Ansible: what needs a vault key is refused, JSON is read as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import yaml

from deployer.errors import LoadError, Mark, Problem
from deployer.load.yaml import Document, parse_yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_REFUSED_TAGS = {
    "!vault": "vault-encrypted values are not supported yet",
    "!vault-encrypted": "vault-encrypted values are not supported yet",
    "!unsafe": "!unsafe values are not supported yet",
}


def parse_document(text: str, file: str) -> Document:
    """Parse a YAML or JSON file of an inventory; `file` is what its marks say.

    Raises:
        LoadError: not YAML, duplicate keys, a vault-encrypted or `!unsafe` value.

    """
    if text.startswith("$ANSIBLE_VAULT"):
        mark = Mark(file=file, line=1, column=1)
        raise LoadError([Problem(message="vault-encrypted files are not supported yet", mark=mark)])
    if any(tag in text for tag in _REFUSED_TAGS) and (problems := _refused(text, file)):
        raise LoadError(problems)
    document = parse_yaml(text, file)
    if text.lstrip().startswith("{"):
        try:
            # Ansible tries JSON first, and the two differ: 1e3 is a number in JSON and a string in YAML 1.1.
            return replace(document, value=json.loads(text))
        except ValueError:
            pass
    return document


def _refused(text: str, file: str) -> list[Problem]:
    problems = []
    try:
        for event in yaml.parse(text, Loader=_Loader):
            message, at = _REFUSED_TAGS.get(getattr(event, "tag", None) or ""), event.start_mark
            if message and at:
                mark = Mark(file=file, line=at.line + 1, column=at.column + 1)
                problems.append(Problem(message=message, mark=mark))
    except yaml.YAMLError:
        pass  # parse_yaml says it better
    return problems
