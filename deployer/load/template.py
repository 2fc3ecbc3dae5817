"""Jinja2 as Ansible uses it: variables may use variables, and an undefined one is an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2 import meta, nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class TemplateFailure(Exception):  # noqa: N818  it carries a message for a Problem, which is the error
    """A template cannot be rendered; the message names variables, never values."""


def _lookup(kind: str, name: str) -> str:
    """Ansible's `lookup('env', NAME)` and `lookup('file', PATH)`."""
    if kind == "env":
        return os.environ.get(name, "")
    if kind == "file":
        try:
            return Path(name).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise TemplateFailure(f"lookup('file'): cannot read {name}: {error.strerror}") from None
    raise TemplateFailure(f"lookup({kind!r}) is not known; 'env' and 'file' are")


_ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701  this renders configuration, not HTML
)
_ENVIRONMENT.globals = {"lookup": _lookup, "range": range}


def is_template(value: object) -> bool:
    """Whether `value` is text that Jinja2 would change."""
    return isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value)


class Variables:
    """One host's variables; templates inside their values are rendered when first used."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._rendered: dict[str, Any] = {}
        self._open: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def get(self, name: str, default: Any = None) -> Any:
        """The rendered value of `name`.  Raises TemplateFailure."""
        return self._value(name) if name in self._raw else default

    def render(self, value: Any) -> Any:
        """Render every template in `value`, in lists and mappings too.

        Text that is one single `{{ expression }}` keeps the expression's type, as in Ansible.
        Raises TemplateFailure.
        """
        if isinstance(value, dict):
            return {key: self.render(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.render(item) for item in value]
        if not is_template(value):
            return value
        try:
            call, names = _compiled(value)
            return call({name: self._value(name) for name in names if name in self._raw})
        except jinja2.UndefinedError as error:
            raise TemplateFailure(_undefined_message(error)) from None
        except jinja2.TemplateSyntaxError as error:
            reason = str(error.message).partition(", got ")[0]  # which may be a piece of a value
            raise TemplateFailure(f"not a valid template: {reason.rstrip('.')}") from None
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise TemplateFailure(f"the template fails: {type(error).__name__}") from None

    def _value(self, name: str) -> Any:
        if name not in self._rendered:
            if name in self._open:
                chain = " -> ".join([*self._open[self._open.index(name) :], name])
                raise TemplateFailure(f"variables use each other in a circle: {chain}")
            self._open.append(name)
            try:
                self._rendered[name] = self.render(self._raw[name])
            finally:
                self._open.pop()
        return self._rendered[name]


_COMPILED: dict[str, tuple[Callable[[dict[str, Any]], Any], frozenset[str]]] = {}


def _compiled(text: str) -> tuple[Callable[[dict[str, Any]], Any], frozenset[str]]:
    """How to render `text` (compiled once a process, for it is the same for every host), and what it uses."""
    if text not in _COMPILED:
        tree = _ENVIRONMENT.parse(text)
        names = frozenset(meta.find_undeclared_variables(tree))
        call: Callable[[dict[str, Any]], Any]
        match tree.body:
            case [nodes.Output(nodes=[nodes.Expr() as only])] if (
                not isinstance(only, nodes.TemplateData) and "{#" not in text
            ):
                inner = text.strip()[2:-2].strip("-+")
                expression = _ENVIRONMENT.compile_expression(inner, undefined_to_none=False)
                call = lambda values: _plain(expression(values))  # noqa: E731
            case _:
                call = _ENVIRONMENT.from_string(text).render
        _COMPILED[text] = (call, names)
    return _COMPILED[text]


def _plain(value: Any) -> Any:
    if isinstance(value, jinja2.Undefined | str):
        return str(value)  # StrictUndefined raises UndefinedError; Markup would escape what is added to it
    return list(value) if isinstance(value, Iterator) else value  # `map` and the like can be read once only


def _undefined_message(error: jinja2.UndefinedError) -> str:
    message = str(error.message)
    # "'x' is undefined" is fine; "'dict object' has no attribute 'y'" too: names only, no values.
    return message if "undefined" in message or "has no" in message else "a variable is undefined"
