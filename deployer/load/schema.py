"""The playbook's schema: pydantic at the YAML door, and nowhere behind it."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from deployer.desired import ExecTest, HealthTest, HttpTest, Percent, RestartPolicy, TcpTest
from deployer.duration import parse_duration

SERVICE_NAME = r"[a-z0-9][a-z0-9_.-]{0,62}"
USER_NAME = r"[a-z_][a-z0-9_-]{0,31}"  # useradd(8), CAVEATS
_BATCH_SIZE = re.compile(r"\s*(\d{1,9})\s*(%?)\s*", re.ASCII)
_PERCENTAGE = re.compile(r"\s*\d{1,3}(?:\.\d+)?\s*%?\s*", re.ASCII)


MAX_WORD = 128 * 1024 - 1
"""Bytes of one argument, or of NAME=VALUE, that a program can be started with (execve(2), MAX_ARG_STRLEN)."""

MAX_WORDS = 1024 * 1024
"""Bytes of all of them: half of what execve(2) takes with a stack of 8 MiB; systemd reads no longer line."""

_RESERVED = frozenset(
    (
        *("deployer", "deployer-revert", "unless-stopped"),  # our own files are called that
        # /var/lib/NAME is the system's there, and systemd would give it to the service; or the unit is.
        *("apk", "apt", "dpkg", "rpm", "dnf", "yum", "pacman", "snapd", "flatpak", "private", "misc", "pam"),
        *("init", "systemd", "dbus", "dbus-broker", "polkit", "polkit-1", "sudo", "sss", "sssd", "selinux"),
        *("ssh", "sshd", "cron", "crond", "udev", "os-prober", "alternatives", "initramfs-tools", "ucf"),
        *("containerd", "docker", "libvirt", "machines", "portables", "extensions", "NetworkManager"),
    )
)


def _not_reserved(name: str) -> str:
    if name in _RESERVED or name.startswith(("systemd-", "deployer-")):
        raise ValueError(f"{name!r} belongs to the system of every host; give the service a name of its own")
    return name


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _argv(value: Any) -> Any:
    """A command line as Ansible and Compose take it: a list, or text split as a shell would split it."""
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError as error:
            raise ValueError(f"cannot be split into words: {str(error).lower()}") from None
    if isinstance(value, list):
        return [
            str(item) if isinstance(item, int | float) and not isinstance(item, bool) else item
            for item in value
        ]
    return value


def _no_nul(argv: list[str]) -> list[str]:
    if any("\0" in word for word in argv):
        raise ValueError("a NUL character cannot be part of an argument")
    sizes = [len(word.encode(errors="surrogatepass")) for word in argv]
    if argv and max(sizes) > MAX_WORD:
        raise ValueError(f"an argument of {max(sizes)} bytes is longer than the {MAX_WORD} that Linux takes")
    # What systemd needs quotes for can become four times as long.
    if sum(sizes) > MAX_WORDS // 4:
        raise ValueError(
            f"{sum(sizes)} bytes of arguments are more than the {MAX_WORDS // 4} that can be passed on"
        )
    return argv


def _restart(value: Any) -> RestartPolicy:
    if value is False:
        value = "no"  # YAML 1.1 reads a bare `no` as false
    if isinstance(value, str):
        name, colon, count = value.partition(":")
        if name == "on-failure" and (not colon or re.fullmatch("[0-9]{1,9}", count)):
            return RestartPolicy(name="on-failure", max_retries=int(count) if colon else None)
        if name in {"no", "always", "unless-stopped"} and not colon:
            return RestartPolicy(name=name)  # type: ignore[arg-type]  # just checked
    raise ValueError("must be one of no, on-failure, on-failure:N, always, unless-stopped")


def _serial(value: Any) -> tuple[int | Percent, ...]:
    """Ansible's sizes of batches: a number of hosts, a percentage of them, or a list of both."""
    return tuple(_batch_size(item) for item in (value if isinstance(value, list) else [value]))


def _batch_size(value: Any) -> int | Percent:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _BATCH_SIZE.fullmatch(value)):
        number = int(match[1])
        if not match[2]:
            return number
        if 0 < number <= 100:  # noqa: PLR2004  percent
            return Percent(value=number)
    raise ValueError("must be a number of hosts, a percentage such as 25%, or a list of these")


def _percentage(value: Any) -> float:
    """As Ansible's type `percent`: a number, with or without its sign."""
    if isinstance(value, str) and _PERCENTAGE.fullmatch(value):
        value = float(value.rstrip(" %"))
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100:  # noqa: PLR2004
        return float(value)
    raise ValueError("must be a percentage from 0 to 100")


def _health_test(value: Any) -> HealthTest | None:
    """Compose's `test` (CMD, CMD-SHELL, NONE, a shell line), plus http://, https:// and tcp:// URLs."""
    if isinstance(value, str):
        if re.match(r"(https?|tcp)://", value):
            return _url_test(value)
        if re.match(r"[a-z][a-z0-9+.-]*://", value):
            raise ValueError("a URL must begin with http://, https:// or tcp://")
        value = ["CMD-SHELL", value]
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        match value:
            case ["NONE"]:
                return None
            case ["CMD", _, *_]:
                return ExecTest(argv=tuple(_no_nul(value[1:])))
            case ["CMD-SHELL", line]:
                return ExecTest(argv=tuple(_no_nul(["/bin/sh", "-c", line])))
    raise ValueError("must be a URL, or a list that begins with CMD, CMD-SHELL or NONE")


def _url_test(url: str) -> HealthTest:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose message repeats parts of the URL
        raise ValueError("is not a valid URL: its host or port cannot be read") from None
    if port == 0:
        raise ValueError("is not a valid URL: no server listens on port 0")
    if not parts.hostname:
        raise ValueError("is not a valid URL: it names no host")
    if parts.username is not None:
        raise ValueError("must not carry a user or password")
    if any(ord(char) <= 0x20 or ord(char) > 0x7E for char in url):  # noqa: PLR2004  printable ASCII
        raise ValueError("is not a valid URL: escape spaces and other special characters as %XX")
    if parts.scheme == "tcp":
        if port is None or parts.path.strip("/"):
            raise ValueError("must look like tcp://host:port")
        return TcpTest(host=parts.hostname, port=port)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    tls = parts.scheme == "https"
    return HttpTest(url=url, tls=tls, host=parts.hostname, port=port or (443 if tls else 80), path=path)


Duration = Annotated[float, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_positive)]
Argv = Annotated[list[str], BeforeValidator(_argv), AfterValidator(_no_nul)]


def _name(pattern: str, what: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise ValueError(f"is not a safe {what} name: it must match {pattern}")
        return value

    return BeforeValidator(check)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class HealthcheckModel(_Model):
    """`healthcheck:`, with Compose's keys and `stay_up`."""

    test: Annotated[Any, AfterValidator(_health_test)] = None
    interval: PositiveDuration = 1.0
    timeout: PositiveDuration = 2.0
    retries: Annotated[int, Field(ge=1, le=10_000)] = 30
    start_period: Duration = 10.0
    start_interval: PositiveDuration = 0.1
    stay_up: Duration = 3.0
    disable: bool = False

    @model_validator(mode="after")
    def _has_a_test(self) -> HealthcheckModel:
        if "test" not in self.model_fields_set and not self.disable and self.model_fields_set - {"stay_up"}:
            raise ValueError("needs a test: a URL or a command (or disable: true)")
        return self


class ServiceModel(_Model):
    """`service:`: one binary, its environment, its unit and its health check."""

    name: Annotated[str, _name(SERVICE_NAME, "service"), AfterValidator(_not_reserved)]
    binary: Annotated[str, Field(min_length=1)]
    command: Argv = []
    env_file: str | list[str] = []
    environment: dict[str, Any] | list[str] = {}
    user: Annotated[str, _name(USER_NAME, "user")] | None = None
    restart: Annotated[Any, AfterValidator(_restart)] = RestartPolicy(name="unless-stopped")
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = []
    healthcheck: HealthcheckModel = HealthcheckModel()
    stop_grace_period: PositiveDuration = 10.0
    keep_releases: Annotated[int, Field(ge=2, le=1000)] = 5


class TaskModel(_Model):
    """One entry of `tasks:`: a name and exactly one module."""

    name: str | None = None
    service: ServiceModel | None = None
    command: Annotated[Argv, Field(min_length=1)] | None = None
    run_once: bool = False


MODULES = ("service", "command")
"""The keys of a task that do something."""


STRATEGY_KEYS = ("serial", "max_fail_percentage", "max_unreachable_percentage", "on_failure", "pause")
"""The keys of a play that say how it goes over its hosts."""


class PlayModel(_Model):
    """One play.  `tasks` are validated for each host, after their templates are rendered."""

    name: str | None = None
    hosts: str | list[str]
    vars: dict[str, Any] = {}
    become: bool | None = None
    become_user: Annotated[str, _name(USER_NAME, "user")] | None = None
    remote_user: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    host_key_checking: Literal["strict", "accept-new"] | None = None
    serial: Annotated[Any, AfterValidator(_serial)] = ()
    max_fail_percentage: Annotated[float, BeforeValidator(_percentage)] = 0.0
    max_unreachable_percentage: Annotated[float, BeforeValidator(_percentage)] | None = None
    on_failure: Literal["stop", "rollback", "continue"] = "stop"
    pause: Duration = 0.0
    tasks: list[Any] = []
