"""What the host's own tools say of a health test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.desired import ExecTest
from deployer.verify.probe import Prober
from tests.made import make_healthcheck, make_service
from tests.memory import MemoryHost


@pytest.mark.parametrize("end", ["²", "9" * 5000, "", "-1", "0x1", "1 2", "٣"])
def test_an_end_that_is_no_exit_status_is_no_good_answer(end: str) -> None:
    service = make_service(healthcheck=replace(make_healthcheck(), test=ExecTest(argv=("true",))))
    host = MemoryHost(says={"probe": f"ok\nexit {end}\n"})
    answer = Prober(host, service, redact=str, fell_back=print).ask()
    assert not answer.healthy
    assert answer.detail.startswith("exit status -1")
