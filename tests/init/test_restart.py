"""How `restart:` stands in a unit."""

from __future__ import annotations

import pytest

from deployer.desired import RestartPolicy
from deployer.init import render_unit
from tests.made import make_service

UNLIMITED = {"StartLimitIntervalSec": "0"}
LIMITED = {"StartLimitIntervalSec": "10s", "StartLimitBurst": "20"}
SIGNALS = {"RestartForceExitStatus": "SIGHUP SIGINT SIGPIPE SIGTERM"}
ALWAYS = {"Restart": "always"}
ON_FAILURE = {"Restart": "on-failure", **SIGNALS}
BOOT = {"WantedBy": "multi-user.target"}
GATE = {"Also": "unless-stopped@%N.service"}


@pytest.mark.parametrize(
    ("policy", "word", "lines"),
    [
        (RestartPolicy(name="no"), "no", {"Restart": "no"} | UNLIMITED),
        (RestartPolicy(name="on-failure"), "on-failure", ON_FAILURE | UNLIMITED),
        (RestartPolicy(name="on-failure", max_retries=0), "on-failure", ON_FAILURE | UNLIMITED),
        (RestartPolicy(name="on-failure", max_retries=3), "on-failure:3", ON_FAILURE | LIMITED),
        (RestartPolicy(name="always"), "always", ALWAYS | UNLIMITED | BOOT),
        (RestartPolicy(name="unless-stopped"), "unless-stopped", ALWAYS | UNLIMITED | GATE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_policy_in_the_unit(policy: RestartPolicy, word: str, lines: dict[str, str]) -> None:
    text = render_unit(make_service(restart=policy))
    entries = [line.partition("=")[::2] for line in text.splitlines() if "=" in line]
    about = {
        "Restart",
        "StartLimitIntervalSec",
        "StartLimitBurst",
        "RestartForceExitStatus",
        "WantedBy",
        "Also",
    }
    assert {key: value for key, value in entries if key in about} == lines
    assert (
        dict(entries)["ExecStopPost"] == f"-+/usr/bin/env -i /usr/local/libexec/unless-stopped post %n {word}"
    )
