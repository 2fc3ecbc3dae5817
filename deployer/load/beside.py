"""Load in a process of its own, while this one imports what talks to hosts: one core is slow to start on."""

from __future__ import annotations

import os
import pickle
import signal
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from deployer.errors import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from deployer.errors import Problem
    from deployer.load.options import Loaded, LoadOptions

_T = TypeVar("_T")

_BOTH = ("deployer.init", "importlib.metadata", "yaml")
"""What both processes will need, so that it is imported once, before there are two."""


def begin_to_load(
    options: LoadOptions, *, environ: Mapping[str, str], then: Callable[[Loaded], _T]
) -> Callable[[], tuple[Loaded, _T]]:
    """Start to load and to make something of it; what this returns waits for both, and raises as `load` does.

    To be called while the process has no other threads: fork(2) copies none of them.
    """
    for name in _BOTH:
        import_module(name)
    reader, writer = os.pipe()
    try:
        child = os.fork()
    except OSError:  # too many processes
        os.close(reader)
        os.close(writer)
        return lambda: _load(options, environ, then)
    if child == 0:
        os.close(reader)
        _load_and_end(options, environ, then, writer)
    os.close(writer)

    def finish() -> tuple[Loaded, _T]:
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        if not told:  # it was killed, or has a bug, which is better seen here
            return _load(options, environ, then)
        made: tuple[Loaded, _T] | list[Problem] = pickle.loads(told)  # noqa: S301  our own words
        if isinstance(made, list):
            raise LoadError(made)
        return made

    return finish


def _load_and_end(
    options: LoadOptions, environ: Mapping[str, str], then: Callable[[Loaded], _T], writer: int
) -> NoReturn:
    """The other process; its end is not Python's, for what it was forked from goes on."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)  # there is nothing to tidy up
        told: tuple[Loaded, _T] | list[Problem]
        try:
            told = _load(options, environ, then)
        except LoadError as error:
            told = list(error.problems)
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(told, pipe, pickle.HIGHEST_PROTOCOL)
    finally:
        os._exit(0)


def _load(
    options: LoadOptions, environ: Mapping[str, str], then: Callable[[Loaded], _T]
) -> tuple[Loaded, _T]:
    from deployer.load.load import load  # noqa: PLC0415  this is what takes long

    loaded = load(options, environ=environ)
    return loaded, then(loaded)
