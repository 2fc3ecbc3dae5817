"""Ask a host everything in one exec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from deployer import init
from deployer.errors import HostError
from deployer.observe.observation import Observation, parse_observation
from deployer.remote.remote import fields, reading
from deployer.remote.script import read_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.desired import Service
    from deployer.remote.remote import Remote

_SCRIPT = ("remote/prelude.sh", init.SCRIPT, "transaction/state.sh", init.STRANGERS, "observe/observe.sh")

Also = Literal["nothing", "contents", "before"]
"""What to ask beyond the usual: files for a diff, or the release before the current one."""


def observe(
    remote: Remote,
    services: Sequence[Service],
    *,
    files: Mapping[str, str],
    address: str,
    also: Also = "nothing",
) -> Observation:
    """What the host at `address` shows of `services`; `files`: BLAKE2b digests, by path, as they should be.

    Raises:
        HostError: no answer, no root, no init system.

    """
    expected = "\n".join(f"{digest}  {path}" for path, digest in files.items())
    texts: list[str] = []
    if also == "contents":
        texts = [
            path
            for service in services
            for path in (f"/opt/{service.name}/current/.env", init.unit_path(service.name))
        ]
    ports = " ".join(service.healthcheck.listens(address) for service in services)
    names = (service.name for service in services)
    args = (also, expected, " ".join(files), " ".join(texts), ports, *names)
    reply = remote.run(read_script(*_SCRIPT), args, timeout=60)
    fields(reply, what="looking at the host")
    with reading("looking at the host"):
        observation = parse_observation(reply.stdout)
        missing = [service.name for service in services if service.name not in observation.services]
    if missing and observation.uid == 0:
        raise HostError("bad_answer", f"the host said nothing of {', '.join(missing)}")
    if observation.uid != 0:
        message = "this needs root, and the login user is not root"
        raise HostError("not_root", message, hint="set become: true, or connect as root")
    if services and (why := init.why_not(observation.init, observation.init_version)):
        raise HostError("no_init", why)
    return observation
