"""Hold a value against a model, and say what is wrong with it: in the user's terms, at the user's places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from deployer.errors import Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails

    from deployer.load.yaml import Document, Place

_Model = TypeVar("_Model", bound=BaseModel)

_MAY_HOLD_A_SECRET = {"environment", "command", "test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A value at a place of a document, after its templates.

    `templated` are the places that came out of a template; `broken`, counted from `place`, those that are
    missing because their template failed.
    """

    document: Document
    place: Place
    value: Any
    templated: frozenset[Place] = frozenset()
    broken: frozenset[Place] = frozenset()


def validate(kind: type[_Model], rendered: Rendered) -> tuple[_Model | None, list[Problem]]:
    """The model of the value and what is wrong with it.

    On mistakes it is the model of what is left without them, so that the rest can be read too; None if that
    makes no model.
    """
    try:
        return kind.model_validate(rendered.value), []
    except ValidationError as error:
        details: dict[Place, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False):
            if detail["loc"] in rendered.broken:
                continue  # it is missing because its template failed, which was said
            details.setdefault(_known_part(tuple(detail["loc"]), rendered), []).append(detail)
    # Of a union every member complains: one that got further than the rest is the one that was meant.
    details = {
        loc: found
        for loc, found in details.items()
        if not any(other != loc and other[: len(loc)] == loc for other in details)
        or any(detail["type"] == "missing" for detail in found)
    }
    problems = [problem for loc, found in details.items() for problem in _explain(kind, found, rendered, loc)]
    try:
        return kind.model_validate(without(rendered.value, details)), problems
    except ValidationError:
        return None, problems


def _known_part(loc: Place, rendered: Rendered) -> Place:
    """`loc` without what pydantic adds to it: names of union members and of missing keys."""
    known: Place = ()
    for part in loc:
        at = (*rendered.place, *known, part)
        if at in rendered.document.keys or at in rendered.document.marks:
            known = (*known, part)
    return known


def _explain(
    kind: type[BaseModel], details: Sequence[ErrorDetails], rendered: Rendered, loc: Place
) -> Iterator[Problem]:
    """What pydantic says of one place, in the user's terms.

    Values are shown only where they were typed in the open, and cannot well hold a secret.
    """
    document = rendered.document
    at = (*rendered.place, *loc)
    name = ".".join(str(part) for part in loc)
    wrong: list[str] = []
    for detail in details:
        if detail["type"] == "extra_forbidden":
            known = _fields_at(kind, loc[:-1])
            hint = did_you_mean(str(loc[-1]), known) or f"known here: {', '.join(known)}"
            yield Problem(message=f"unknown key {str(loc[-1])!r}", mark=document.key_mark(at), hint=hint)
        elif detail["type"] == "missing":
            missing = str(detail["loc"][-1])
            message = f"{name or 'a play'} needs the key {missing!r}"
            yield Problem(message=message, mark=document.mark(at))
        elif detail["type"] == "invalid_key" or detail["loc"][-1] == "[key]":
            key = detail["input"]
            mark = document.key_mark(at if loc[-1:] == (key,) else (*at, key))
            yield Problem(message=f"the key {str(key)!r} must be text", mark=mark, hint="quote it")
        else:
            wrong.append(_said(detail))
    if wrong:
        typed = document.scalars.get(at)
        shown = typed and at not in rendered.templated and not _MAY_HOLD_A_SECRET.intersection(at)
        seen = f" {typed!r}" if shown else ""
        message = f"{name}{seen}: {wrong[0]}{''.join(f' or {other[8:]}' for other in wrong[1:])}"
        yield Problem(message=message.removeprefix(": "), mark=document.mark(at))


def _fields_at(kind: type[BaseModel], loc: Place) -> list[str]:
    """The keys a model knows at `loc`."""
    for part in loc:
        field = kind.model_fields.get(str(part))
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        models = [item for item in inner if isinstance(item, type) and issubclass(item, BaseModel)]
        if not models:
            return []
        kind = models[0]
    return list(kind.model_fields)


def _said(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "string_type":
            return "must be text"
        case "list_type":
            return "must be a list"
        case "dict_type" | "model_type":
            return "must be a mapping"
        case "int_type" | "int_parsing" | "int_from_float":
            return "must be a whole number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case _:
            return detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")


def without(value: Any, places: Iterable[Place]) -> Any:
    """`value` without what stands at `places`; it is not changed itself."""
    if not isinstance(value, dict):
        return value
    heads = {place[0]: [other[1:] for other in places if other[:1] == place[:1]] for place in places if place}
    return {
        key: without(item, heads.get(key, ()))
        for key, item in value.items()
        if all(rest and isinstance(item, dict) for rest in heads.get(key, ()))
    }
