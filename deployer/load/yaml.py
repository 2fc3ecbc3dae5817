"""YAML with places: plain values, and for each of them the file, line and column it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from deployer.errors import LoadError, Mark, Problem

if TYPE_CHECKING:
    from pathlib import Path

# libyaml's loader is the same grammar, many times faster; wheels of PyYAML carry it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_QUOTE_IT = 'a value that begins with {{ must be quoted: "{{ name }}"'

Place = tuple[str | int, ...]
"""The way to a value: keys and list positions from the top, as in pydantic's `loc`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML file: its value, where each part of it stands, and each scalar as it was typed."""

    file: str
    value: Any
    marks: dict[Place, Mark] = field(repr=False)
    keys: dict[Place, Mark] = field(repr=False)
    scalars: dict[Place, str] = field(repr=False)

    def mark(self, place: Place) -> Mark:
        """Where the value at `place` stands, or else the nearest thing around it."""
        while place:
            if place in self.marks:
                return self.marks[place]
            place = place[:-1]
        return self.marks.get((), Mark(file=self.file, line=1, column=1))

    def key_mark(self, place: Place) -> Mark:
        """Where the key that names the value at `place` stands."""
        return self.keys.get(place) or self.mark(place)


def read_yaml(path: Path) -> Document:
    """Parse one file.

    Raises:
        LoadError: unreadable, not UTF-8, not YAML, or a key given twice in one mapping (YAML 1.2, 3.2.1.3).

    """
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LoadError([Problem(message=f"cannot read {file}: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise LoadError([Problem(message=f"{file} is not UTF-8 text (byte {error.start})")]) from None
    return parse_yaml(text, file)


def parse_yaml(text: str, file: str) -> Document:
    """Parse `text`; `file` is what its marks say.  Raises as `read_yaml`."""
    loader = _Loader(text)
    loader.name = file
    try:
        root = loader.get_single_node()
        builder = _Builder(loader, file)
        value = builder.build(root, ()) if root is not None else None
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(file=file, line=at.line + 1, column=at.column + 1) if at else None
        message = f"not valid YAML: {error.problem or error.context}"
        line = text.splitlines()[at.line : at.line + 1] if at else []
        hint = _QUOTE_IT if "{{" in "".join(line) else ""
        raise LoadError([Problem(message=message, mark=mark, hint=hint)]) from None
    except RecursionError:
        raise LoadError([Problem(message=f"{file}: nested too deeply, or an alias holds itself")]) from None
    except yaml.YAMLError as error:
        raise LoadError([Problem(message=f"{file} is not valid YAML: {error}")]) from None
    finally:
        loader.dispose()
    if builder.problems:
        raise LoadError(builder.problems)
    return Document(file=file, value=value, marks=builder.marks, keys=builder.keys, scalars=builder.scalars)


class _Builder:
    """Turns nodes into values and notes where each one stood."""

    def __init__(self, loader: Any, file: str) -> None:
        self._loader = loader
        self._file = file
        self.marks: dict[Place, Mark] = {}
        self.keys: dict[Place, Mark] = {}
        self.scalars: dict[Place, str] = {}
        self.problems: list[Problem] = []
        self._own: dict[int, set[int]] = {}  # the keys that a mapping has itself, by node

    def build(self, node: yaml.Node, place: Place) -> Any:
        self.marks[place] = self._mark(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, index)) for index, item in enumerate(node.value)]
        self.scalars[place] = node.value
        return self._construct(node)

    def _construct(self, node: yaml.Node) -> Any:
        try:
            return self._loader.construct_object(node, deep=True)
        except (ValueError, LookupError, AttributeError):  # PyYAML lets int(), bool and date() speak
            tag = node.tag.rsplit(":", 1)[1]
            hint = "put it in quotes if it is text"
            self.problems.append(Problem(message=f"not a valid {tag}", mark=self._mark(node), hint=hint))
            return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[Any, Any]:
        # An aliased mapping comes here again, and then has its merged pairs already.
        own = self._own.setdefault(
            id(node), {id(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"}
        )
        self._loader.flatten_mapping(node)  # `<<`: merged pairs first, own keys win
        result: dict[Any, Any] = {}
        first: dict[Any, Mark] = {}
        for key_node, value_node in node.value:
            key = self._construct(key_node)
            if isinstance(key, list | dict):
                self.problems.append(
                    Problem(
                        message="a mapping cannot be a key",
                        mark=self._mark(key_node),
                        hint=_QUOTE_IT,
                    )
                )
                continue
            if id(key_node) in own:
                if key in first:
                    self.problems.append(
                        Problem(
                            message=f"duplicate key {key!r}",
                            mark=self._mark(key_node),
                            hint=f"first given at line {first[key].line}",
                        )
                    )
                first[key] = self._mark(key_node)
            self.keys[(*place, key)] = self._mark(key_node)
            result[key] = self.build(value_node, (*place, key))
        return result

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(file=self._file, line=node.start_mark.line + 1, column=node.start_mark.column + 1)
