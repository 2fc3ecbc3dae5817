"""systemd: the unit of a service, the files it leans on, and what `systemctl show` says of it."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from deployer.desired import HttpTest, TcpTest
from deployer.init.state import UnitState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import jinja2

    from deployer.desired import Service

HELPER = "/usr/local/libexec/unless-stopped"
GATE = "/etc/systemd/system/unless-stopped@.service"
_DEADMAN = "/usr/local/libexec/deployer-revert"
_WATCH = "/etc/systemd/system/deployer-revert@.service"
_AT_START = "/etc/systemd/system/deployer-revert.service"
SCRIPT = "init/systemd.sh"
"""What asks systemd, in shell; goes before every script that looks at the service."""

ORDERS = "init/orders.sh"
"""What systemd is told to do; goes after SCRIPT, into the scripts that change the service."""

STRANGERS = "init/strangers.sh"
"""What tells whose a port is; goes after SCRIPT."""

_DEADMAN_PARTS = ("transaction/state.sh", "transaction/undo.sh", "transaction/deadman.sh")
_OLDEST = 240  # has Type=exec, systemd.service(5)
_FIRST_UNPRIVILEGED_PORT = 1024
_NUMBER = re.compile(r"[0-9]{1,18}")
_LOADING = frozenset(
    [
        "LD_AUDIT",
        "LD_ASSUME_KERNEL",
        "LD_BIND_NOT",
        "LD_BIND_NOW",
        "LD_DEBUG",
        "LD_DEBUG_OUTPUT",
        "LD_DYNAMIC_WEAK",
        "LD_HWCAP_MASK",
        "LD_LIBRARY_PATH",
        "LD_ORIGIN_PATH",
        "LD_POINTER_GUARD",
        "LD_PREFER_MAP_32BIT_EXEC",
        "LD_PRELOAD",
        "LD_PROFILE",
        "LD_PROFILE_OUTPUT",
        "LD_SHOW_AUXV",
        "LD_TRACE_LOADED_OBJECTS",
        "LD_TRACE_PRELINKING",
        "LD_USE_LOAD_BIAS",
        "LD_VERBOSE",
        "LD_WARN",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "LOCPATH",
        "NLSPATH",
        "MUSL_LOCPATH",
    ]
)
"""Names that make a loader or a libc read code or data before a program begins: ld.so(8), musl's manual.

By name, for LD_SDK_KEY is a secret of LaunchDarkly's, and the unit is everybody's to read.
"""
_SAFE_WORD = re.compile(r"[A-Za-z0-9_./:=@,+-]+")


def at_boot(service: Service) -> str:
    """What `init_marks` says of a service that is installed as it should be: no, always, unless-stopped."""
    name = service.restart.name
    return name if name in {"always", "unless-stopped"} else "no"


def unit_path(service: str) -> str:
    """Where the unit of `service` is installed."""
    return f"/etc/systemd/system/{service}.service"


def why_not(name: str, version: str) -> str:
    """Why services cannot be run by the init system that `init_facts` tells of; "" if they can."""
    if name == "none":
        return "systemd does not run there, and no other init system is supported"
    if version == "known":
        return ""
    if not version.isdigit() or int(version) < _OLDEST:
        return f"systemd {version} is too old, {_OLDEST} is needed"
    return ""


@cache
def helper_files() -> Mapping[str, str]:
    """The files that units need on a host, by path, in the order `init_helpers` takes them."""

    def text(name: str) -> str:
        return resources.files("deployer").joinpath(name).read_text(encoding="utf-8")

    parts = ("remote/prelude.sh", SCRIPT, ORDERS, *_DEADMAN_PARTS)
    return {
        HELPER: text("init/unless-stopped.sh"),
        GATE: text("init/unless-stopped@.service"),
        _DEADMAN: "#!/bin/sh\n" + "\n".join(text(part) for part in parts),
        _WATCH: text("init/deployer-revert@.service"),
        _AT_START: text("init/deployer-revert.service"),
    }


def helper_mode(path: str) -> str:
    """The mode of a file of `helper_files`, in octal digits."""
    return "755" if path in {HELPER, _DEADMAN} else "644"


_rendered: dict[Service, str] = {}


def render_unit(service: Service) -> str:
    """The unit file: hardened, with the restart policy of Docker's name; one text for equal services.

    Sources: systemd.service(5), systemd.exec(5); the restart lines are explained in docs/restart.md.
    """
    if service not in _rendered:
        _rendered[service] = _render(service)
    return _rendered[service]


def render_units(services: Iterable[Service]) -> dict[Service, str]:
    """Their unit files, for `know_units` in another process."""
    return {service: render_unit(service) for service in services}


def know_units(units: Mapping[Service, str]) -> None:
    """Take over what another process rendered, so that this one need not import Jinja for a template."""
    _rendered.update(units)


def _render(service: Service) -> str:
    policy = service.restart
    restart = {"no": "no", "on-failure": "on-failure"}.get(policy.name, "always")
    # Docker's on-failure:0 has no limit.
    limited = bool(policy.max_retries)
    loading = {name: value for name, value in service.environment if name in _LOADING}
    lent = (
        ("/usr/bin/env", *(f"{name}={value.reveal()}" for name, value in loading.items())) if loading else ()
    )
    binary = f"/opt/{service.name}/current/{service.binary.name}"
    return _template().render(
        service=service,
        policy=f"{policy.name}:{policy.max_retries}" if limited else policy.name,
        restart=restart,
        limited=limited,
        gate=policy.name == "unless-stopped",
        helper=HELPER,
        exec_start=" ".join(quote(word) for word in (*lent, binary, *service.command)),
        loading=" ".join(loading),
        stop_timeout=f"{service.stop_grace_period * 1000:.0f}ms",
        capabilities="CAP_NET_BIND_SERVICE" if _needs_low_port(service) else "",
    )


def _needs_low_port(service: Service) -> bool:
    """Whether a declared port, or the one its own health check asks on loopback, is below 1024."""
    ports = set(service.ports)
    test = service.healthcheck.test
    if isinstance(test, HttpTest | TcpTest) and test.host in {"127.0.0.1", "::1", "localhost"}:
        ports.add(test.port)
    return any(port < _FIRST_UNPRIVILEGED_PORT for port in ports)


def quote(word: str) -> str:
    """`word` so that ExecStart= hands over exactly it (systemd.service(5), COMMAND LINES)."""
    if _SAFE_WORD.fullmatch(word):
        return word
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    text = "".join(char if char >= " " else f"\\x{ord(char):02x}" for char in text)
    return f'"{text}"'


@cache
def _template() -> jinja2.Template:
    import jinja2  # noqa: PLC0415  see know_units

    source = resources.files("deployer").joinpath("init/unit.service.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  a unit file, not HTML
    )
    return environment.from_string(source)


def parse_states(lines: Sequence[str]) -> list[UnitState]:
    """`init_show`'s reply: blocks of `Key=value`, separated by an empty line (systemctl(1), `show`)."""
    blocks: list[dict[str, str]] = []
    block: dict[str, str] = {}
    for line in [*lines, ""]:
        key, equals, value = line.partition("=")
        if equals:
            block[key] = value
        elif block:
            blocks.append(block)
            block = {}
    return [_state(block) for block in blocks]


def _state(block: Mapping[str, str]) -> UnitState:
    def number(key: str) -> int:
        value = block.get(key, "")
        return int(value) if _NUMBER.fullmatch(value) else 0

    return UnitState(
        known=block.get("LoadState") == "loaded",
        source=block.get("FragmentPath", ""),
        active=block.get("ActiveState", ""),
        sub=block.get("SubState", ""),
        result=block.get("Result", ""),
        main_pid=number("MainPID"),
        restarts=number("NRestarts"),
        exit_code=number("ExecMainCode"),
        exit_status=number("ExecMainStatus"),
        stale=block.get("NeedDaemonReload") == "yes",
        drop_ins=tuple(block.get("DropInPaths", "").split()),
        started=number("ExecMainStartTimestampMonotonic"),
    )
