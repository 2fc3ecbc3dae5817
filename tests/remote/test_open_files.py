"""Every connection is an open file, and shells give a program few of those."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
from deployer.remote.ssh import Connector
from deployer.target import Target

soft, hard, hosts = map(int, sys.argv[1:4])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
targets = [Target(address=f"192.0.2.{n % 250}", proxy_command=sys.argv[4]) for n in range(hosts)]
Connector(ask_passphrase=lambda path: None).prepare(targets)
print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""


def limits(*, soft: int, hard: int, hosts: int, proxy: str = "none", **environment: str) -> list[int]:
    """What they are after so many hosts."""
    words = [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(hosts), proxy]
    environ = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"} | environment
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("soft", "hard", "hosts", "becomes"),
    [
        pytest.param(256, 4096, 1000, 1256, id="as many as it takes"),
        pytest.param(256, 1024, 1000, 1024, id="as many as there may be"),
        pytest.param(2048, 4096, 1000, 2048, id="never fewer"),
    ],
)
def test_the_soft_limit_is_raised_for_many_hosts(soft: int, hard: int, hosts: int, becomes: int) -> None:
    assert limits(soft=soft, hard=hard, hosts=hosts) == [becomes, hard]


def test_a_proxy_command_and_an_agent_take_a_file_more_each() -> None:
    assert limits(soft=256, hard=4096, hosts=1000, proxy="nc %h %p") == [2256, 4096]
    assert limits(soft=256, hard=4096, hosts=1000, SSH_AUTH_SOCK="/nowhere") == [2256, 4096]
