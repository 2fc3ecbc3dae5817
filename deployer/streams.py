"""The three standard streams, whatever the program was started with."""

from __future__ import annotations

import codecs
import io
import os
import sys

_ESCAPED = "deployer.escaped"


def have_all() -> None:
    """Let a standard stream that is closed (`deployer ... >&-`) be as one on /dev/null; all take any text.

    To be called before anything is opened: the number of a closed one would be given to the next file or
    socket, and what is meant for a terminal would be written into that.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one, for those below it are open: open(2).
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)  # as it is of the others
        if getattr(sys, name) is None:  # what Python makes of a closed one
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  a number
    codecs.register_error(_ESCAPED, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""What ASCII or Latin-1 has no bytes for, as JSON spells it: with \xfc a line of JSON would be none."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "\\u" + units.hex(" ", 2).replace(" ", "\\u"), error.end
