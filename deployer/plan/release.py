"""A release: its name, and the text files that go into it beside the binary."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from deployer import init
from deployer.desired import ExecTest, Healthcheck, HttpTest, TcpTest
from deployer.plan.dotenv import render_dotenv

if TYPE_CHECKING:
    from collections.abc import Container

    from deployer.desired import Service
    from deployer.secret import Secret

_LONGEST = 86_400  # seconds in which a health check that a host remembers must be through
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFiles:
    """What a release of a service must hold; equal files mean nothing to do."""

    env: Secret
    unit: str


def release_files(service: Service) -> ReleaseFiles:
    """Render the .env and the unit of `service`."""
    return ReleaseFiles(env=render_dotenv(dict(service.environment)), unit=init.render_unit(service))


def deployed_files(service: Service) -> dict[str, str]:
    """BLAKE2b digests, by path, of all files of a host on which `service` is as it should be."""
    files = release_files(service)
    folder = f"/opt/{service.name}/current"
    texts = {
        f"{folder}/.env": files.env.reveal(),
        init.unit_path(service.name): files.unit,
        **init.helper_files(),
    }
    return {f"{folder}/{service.binary.name}": service.binary.blake2b} | {
        path: blake2b(text.encode()).hexdigest() for path, text in texts.items()
    }


def release_id(service: Service, now: datetime, taken: Container[str]) -> str:
    """`<UTC stamp>-<12 digits of the binary's digest>`; a second later for each one that exists.

    Names sort by time, and say nothing of the environment.
    """
    while True:
        name = f"{now.astimezone(UTC).strftime(_STAMP)}-{service.binary.sha256[:12]}"
        if name not in taken:
            return name
        now += timedelta(seconds=1)


def release_json(service: Service, release: str, *, run: str, by: str, version: str) -> str:
    """What the release says of itself; nothing in it comes from the environment."""
    facts = {
        "version": 1,
        "service": service.name,
        "release": release,
        "binary": {
            "name": service.binary.name,
            "sha256": service.binary.sha256,
            "size": service.binary.size,
        },
        "healthcheck": _as_plain(service.healthcheck),
        "run": run,
        "by": by,
        "deployer": version,
    }
    return json.dumps(facts, indent=2) + "\n"


def read_healthcheck(about: str) -> Healthcheck | None:
    """The health check that a release.json remembers, so that a release is judged by its own."""
    try:
        facts = json.loads(about)["healthcheck"]
        test = facts.pop("test")
        _check_numbers(facts)
        if test is None:
            return Healthcheck(test=None, **facts)
        kind = test.pop("kind")
        _check_test(kind, test)
        kinds: dict[str, Any] = {"http": HttpTest, "tcp": TcpTest, "exec": ExecTest}
        made = kinds[kind](**{key: tuple(value) if key == "argv" else value for key, value in test.items()})
        return Healthcheck(test=made, **facts)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # written by a version that did not, or by hand


def _check_numbers(facts: Any) -> None:
    """Raises ValueError if a playbook could not say that."""
    seconds = [facts[key] for key in ("interval", "timeout", "start_period", "start_interval", "stay_up")]
    if not all(isinstance(value, int | float) and 0 <= value <= _LONGEST for value in seconds):
        raise ValueError
    if not isinstance(facts["retries"], int) or not 1 <= facts["retries"] <= _LONGEST:
        raise ValueError
    if not (facts["interval"] and facts["timeout"] and facts["start_interval"]):
        raise ValueError
    tries = facts["retries"] * (facts["interval"] + facts["timeout"])
    if facts["start_period"] + tries + facts["stay_up"] > _LONGEST:
        raise ValueError


def _check_test(kind: Any, test: Any) -> None:
    """Raises ValueError if a playbook could not say that."""
    if kind == "exec":
        words = test["argv"]
        sound = bool(words) and all(isinstance(word, str) and b"\0" not in word.encode() for word in words)
    else:
        host, port = test["host"], test["port"]
        sound = isinstance(host, str) and re.fullmatch(r"[A-Za-z0-9._:%-]{1,255}", host) is not None
        sound = sound and isinstance(port, int) and 0 < port < 65536  # noqa: PLR2004  a port
    if kind == "http":
        path, url = test["path"], test["url"]
        sound = sound and all(isinstance(text, str) and re.fullmatch(r"[!-~]+", text) for text in (path, url))
    if not sound:
        raise ValueError


def _as_plain(check: Healthcheck) -> dict[str, Any]:
    kinds = {HttpTest: "http", TcpTest: "tcp", ExecTest: "exec"}
    test = check.test
    return asdict(check) | {"test": test and {"kind": kinds[type(test)], **asdict(test)}}
