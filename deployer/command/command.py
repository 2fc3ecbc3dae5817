"""A command task: the user's command on the host, its output and its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.errors import HostError
from deployer.remote.remote import last_line
from deployer.remote.script import read_script
from deployer.report.events import CommandFinished, StageStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.desired import CommandTask
    from deployer.remote.remote import Remote
    from deployer.report.events import Listener

_SECONDS = 600.0  # without a sign of life
_LONGEST = 6 * 3600.0  # seconds in all
_SHOWN = 4000  # characters of output
_KEPT = 256 * 1024  # bytes of it: far more than is shown, so that no secret is cut where it would be seen


def run_command(
    remote: Remote, host: str, task: CommandTask, *, redact: Callable[[str], str], emit: Listener
) -> None:
    """Run it once, without a shell.

    Raises:
        HostError: it did not exit 0.

    """
    emit(StageStarted(host=host, stage="command", service=task.name))
    script = read_script("command/command.sh")
    reply = remote.run(script, task.argv, timeout=_SECONDS, longest=_LONGEST, keep=_KEPT)
    output = redact(reply.stdout)[-_SHOWN:].rstrip()
    emit(CommandFinished(host=host, task=task.name, status=reply.status, output=output))
    if reply.status != 0:
        detail = last_line(output)
        message = f"the command {task.name!r} exited with status {reply.status}"
        raise HostError("command_failed", message + (f": {detail}" if detail else ""))
