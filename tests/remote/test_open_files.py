"""Every connection is an open file, and shells give a program few of those."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
from deployer.remote.ssh import Connector
from deployer.target import Target

soft, hard, hosts = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
targets = [Target(address=f"192.0.2.{n % 250}") for n in range(hosts)]
Connector(ask_passphrase=lambda path: None).prepare(targets)
print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "hosts", "becomes"),
    [
        pytest.param(256, 4096, 1000, 1256, id="as many as it takes"),
        pytest.param(256, 1024, 1000, 1024, id="as many as there may be"),
        pytest.param(2048, 4096, 1000, 2048, id="never fewer"),
    ],
)
def test_the_soft_limit_is_raised_for_many_hosts(soft: int, hard: int, hosts: int, becomes: int) -> None:
    words = [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(hosts)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [becomes, hard]
