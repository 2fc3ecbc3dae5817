"""Health asked while the host is still being looked at, for the case that there is nothing to do there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from deployer.desired import HttpTest, TcpTest
from deployer.errors import HostError
from deployer.remote.remote import ForwardingRefusedError
from deployer.verify.probe import ask_forwarded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from deployer.background import Begin
    from deployer.desired import HealthTest, Service
    from deployer.remote.remote import Remote


class EarlyAnswers:
    """Answers to the health tests that need no exec, on their way from now on.

    They are older than anything that the run does, so they say nothing about a release that it switched.
    """

    def __init__(self, remote: Remote, services: Sequence[Service], begin: Begin) -> None:
        self._answers: dict[HealthTest, Future[bool]] = {
            check.test: begin(partial(_is_healthy, remote, check.test, check.timeout))
            for check in (service.healthcheck for service in services)
            if isinstance(check.test, HttpTest | TcpTest)
        }

    def healthy(self, service: Service) -> bool:
        """Whether it was well; False if that is not known, so that it must be asked again."""
        test = service.healthcheck.test
        return test in self._answers and self._answers[test].result()


def _is_healthy(remote: Remote, test: HttpTest | TcpTest, timeout: float) -> bool:
    try:
        return ask_forwarded(remote, test, timeout, redact=str).healthy
    except (HostError, ForwardingRefusedError):
        return False
