"""Scripts that run on a host: `.sh` files of this package, sent over stdin and fed with arguments and data.

The command line that sshd and sudo log is short and always the same, so a shell can be started before it
is known what it will run, and runs one script after another.  Script, arguments and data travel on standard
input, and nothing of them stands in any argv.  The host needs `sh`, and `dd` with `iflag=fullblock`
(coreutils, busybox): a shell that reads its script from a pipe would swallow data that follows it.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from importlib import resources

from deployer import fault

_COMMENT = re.compile(r"^[ \t]*#.*\n|[ \t]+# .*$", re.MULTILINE)
"""A line that is one, or the end of one; no string or here-document of these scripts looks like that."""

HELLO = "deployer-is-here"
"""The first line of a script's output; what comes before it was written by login files or by sudo."""

_BOOT = (
    "LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH; "
    # The first line is the script's length, and what to say after it; `read` takes no byte beyond it (POSIX).
    f'echo {HELLO}; while read -r size end; do text=$(dd bs="$size" count=1 iflag=fullblock 2>/dev/null); '
    ': "${text:?}"; [ "$end" ] || { eval "$text"; exit; }; (eval "$text") </dev/null || exit; '
    'echo; echo "$end"; done'
)

BOOT_COMMAND = f"sh -c {shlex.quote(_BOOT)} deployer"
"""The command that reads scripts, as `boot_input` sends them, and runs them; if none comes, it does nothing.

It ends with the first script that fails, and with its status.
"""


def boot_input(script: str, args: tuple[str, ...], *, end: str = "") -> bytes:
    """What BOOT_COMMAND reads: the script's length, and the script.

    After a script that succeeds the shell says `end`, on a line of its own, and reads the next one.  Without
    `end` it is the last one, and has all that follows as its standard input.
    """
    body = assemble(script, args)
    return b"%d %b\n%b" % (len(body), end.encode(), body)


def end_mark(end: str) -> bytes:
    """How the shell says `end`."""
    return b"\n%b\n" % end.encode()


@cache
def read_script(*names: str) -> str:
    """The text of the package's scripts `names` ("init/systemd.sh"), one after the other, without comments.

    Over a slow line a third of a script would be words for people.
    """
    root = resources.files("deployer")
    return "\n".join(_COMMENT.sub("", root.joinpath(name).read_text(encoding="utf-8")) for name in names)


def assemble(script: str, args: tuple[str, ...]) -> bytes:
    """`script` with `args` as its positional parameters; as a group, of which a shell runs all or nothing.

    A line that dies on the way must not leave a host with half a script, or half a path to delete.
    """
    return f"{{\n{fault.shell_prefix()}set -- {shlex.join(args)}\n{script}\n}}".encode()
