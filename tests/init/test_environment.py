"""What of a service's environment root's hooks may not be given, and the program is given all the same."""

from __future__ import annotations

import pytest

from deployer.init import render_unit
from deployer.secret import Secret
from tests.made import make_service


def lines(*environment: tuple[str, str]) -> dict[str, list[str]]:
    """The unit's entries by key, in order."""
    service = make_service(environment=tuple((name, Secret(value)) for name, value in environment))
    entries: dict[str, list[str]] = {}
    for line in render_unit(service).splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            entries.setdefault(key, []).append(value)
    return entries


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "LD_AUDIT",
        "LD_LIBRARY_PATH",
        "LD_BIND_NOW",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "MUSL_LOCPATH",
    ],
)
def test_what_loads_code_goes_around_the_hooks(name: str) -> None:
    unit = lines(("PORT", "80"), (name, "/opt/lib/x.so"))
    assert unit["UnsetEnvironment"] == [name]
    (start,) = unit["ExecStart"]
    assert start.startswith(f"/usr/bin/env {name}=/opt/lib/x.so /opt/")
    assert "PORT" not in start


def test_every_value_stands_for_itself() -> None:
    unit = lines(("LD_PRELOAD", '/a b/$x %n "q".so'), ("LD_DEBUG", ""))
    assert unit["UnsetEnvironment"] == ["LD_PRELOAD LD_DEBUG"]
    words = r'/usr/bin/env "LD_PRELOAD=/a b/$$x %%n \"q\".so" LD_DEBUG= /opt/'
    assert unit["ExecStart"][0].startswith(words)


@pytest.mark.parametrize(
    "name",
    ["PATH", "LANG", "OLD_PRELOAD", "LD", "TMPDIR", "ld_preload", "MALLOC_ARENA_MAX", "LD_SDK_KEY", "LD_"],
)
def test_other_names_change_nothing(name: str) -> None:
    assert lines((name, "x")) == lines()


def test_every_hook_of_root_begins_without_an_environment() -> None:
    hooks = [
        value
        for key, values in lines().items()
        if key.startswith("Exec")
        for value in values
        if "+" in value[:2]
    ]
    assert len(hooks) == 3
    assert all(hook.lstrip("-").startswith("+/usr/bin/env -i ") for hook in hooks)
