"""Made-up services, hosts and states for tests that need no host; every part can be replaced by keyword."""

from __future__ import annotations

import datetime as dt
import os
from concurrent.futures import Future
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from deployer import init
from deployer.desired import (
    Binary,
    CommandTask,
    DesiredHost,
    Healthcheck,
    HttpTest,
    RestartPolicy,
    Service,
    ServiceTask,
)
from deployer.init import UnitState
from deployer.observe.observation import Disk, File, Observation, ServiceObservation
from deployer.pipeline import Context, Goal
from deployer.plan.plan import plan_service
from deployer.plan.release import release_files
from deployer.secret import Secret
from deployer.stage.bandwidth import Bandwidth
from deployer.stage.cache import Cache
from deployer.stage.encode import Payloads
from deployer.stage.stage import Stager
from deployer.target import Target
from deployer.transaction.keeper import Keeper
from deployer.transaction.lock import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.remote.remote import Remote
    from deployer.report.events import Listener
    from deployer.verify.verify import Clock

_T = TypeVar("_T")

DIGEST = "0123456789ab" + "c" * 52
RELEASE = "20250101T000000Z-0123456789ab"
HTTP = HttpTest(url="http://127.0.0.1:8080/health", tls=False, host="127.0.0.1", port=8080, path="/health")


def make_healthcheck(**parts: Any) -> Healthcheck:
    usual: dict[str, Any] = {
        "test": HTTP,
        "interval": 1.0,
        "timeout": 2.0,
        "retries": 3,
        "start_period": 10.0,
        "start_interval": 0.1,
        "stay_up": 3.0,
    }
    return Healthcheck(**usual | parts)


def make_binary(**parts: Any) -> Binary:
    usual: dict[str, Any] = {
        "path": Path("bin/server"),
        "name": "server",
        "sha256": DIGEST,
        "blake2b": DIGEST * 2,
        "size": 10_000_000,
        "machine": "x86_64",
    }
    return Binary(**usual | parts)


def make_service(**parts: Any) -> Service:
    usual: dict[str, Any] = {
        "name": "app",
        "binary": make_binary(),
        "command": (),
        "environment": (("TOKEN", Secret("hunter2")),),
        "user": "app",
        "restart": RestartPolicy(name="unless-stopped"),
        "ports": (),
        "healthcheck": make_healthcheck(),
        "stop_grace_period": 10.0,
        "keep_releases": 5,
    }
    return Service(**usual | parts)


def make_host(name: str, *services: Service, commands: tuple[CommandTask, ...] = ()) -> DesiredHost:
    deploys = tuple(ServiceTask(name=service.name, service=service) for service in services)
    return DesiredHost(name=name, target=Target(address=name), tasks=(*deploys, *commands))


def make_unit(**parts: Any) -> UnitState:
    usual: dict[str, Any] = {
        "known": True,
        "source": init.unit_path("app"),
        "active": "active",
        "sub": "running",
        "result": "success",
        "main_pid": 42,
        "restarts": 0,
        "exit_code": 0,
        "exit_status": 0,
        "stale": False,
    }
    return UnitState(**usual | parts)


def make_seen(**parts: Any) -> ServiceObservation:
    """A service as it stands where RELEASE of `make_service()` was deployed."""
    usual: dict[str, Any] = {
        "current": RELEASE,
        "current_is_link": True,
        "releases": {RELEASE: "good"},
        "at_boot": "unless-stopped",
        "stopped_by_operator": False,
        "unit": make_unit(),
        "seal": f"0:releases/{RELEASE}",
    }
    return ServiceObservation(**usual | parts)


def make_file(text: str, **parts: str) -> File:
    return File(digest=blake2b(text.encode()).hexdigest(), **parts)


def make_files(service: Service) -> dict[str, File]:
    """The files of a host on which `service` is deployed."""
    wanted = release_files(service)
    folder = f"/opt/{service.name}/current"
    helpers = {
        path: make_file(text, mode=init.helper_mode(path), owner="root", group="root")
        for path, text in init.helper_files().items()
    }
    return {
        f"{folder}/{service.binary.name}": File(digest=service.binary.blake2b, mode="755", owner="root"),
        f"{folder}/.env": make_file(wanted.env.reveal(), mode="640", owner="root", group=service.user),
        init.unit_path(service.name): make_file(wanted.unit, mode="644", owner="root"),
        **helpers,
    }


def make_observation(seen: ServiceObservation | None = None, **parts: Any) -> Observation:
    """A host on which `make_service()` is deployed and runs, or as `seen` says."""
    roomy = Disk(free=10**10, options=frozenset({"rw"}))
    usual: dict[str, Any] = {
        "uid": 0,
        "machine": "x86_64",
        "init": "systemd",
        "init_version": "252",
        "tools": frozenset({"zstd", "gzip", "flock"}),
        "disks": {"/opt": roomy, "/etc": roomy, "/var/lib": roomy},
        "files": make_files(make_service()),
        "contents": {},
        "services": {"app": seen or make_seen()},
    }
    return Observation(**usual | parts)


def make_owner(**parts: Any) -> Owner:
    usual: dict[str, Any] = {"run": "run", "by": "me@here", "pid": 1, "origin": "-", "lease": 60}
    return Owner(**usual | parts)


def at_once(work: Callable[[], _T]) -> Future[_T]:
    """Work that is done before anybody can ask for it."""
    future: Future[_T] = Future()
    future.set_result(work())
    return future


def make_context(
    *, connect: Callable[[Target], Remote], emit: Listener, clock: Clock, goal: Goal = Goal.APPLY
) -> Context:
    """What a run on 2025-06-01 shares."""
    owner = make_owner()
    return Context(
        goal=goal,
        also="nothing",
        plan=partial(plan_service, now=dt.datetime(2025, 6, 1, tzinfo=dt.UTC)),
        connect=connect,
        emit=emit,
        clock=clock,
        begin=at_once,
        stager=Stager(
            owner=owner,
            version="1",
            payloads=Payloads(Cache(os.environ, note=pytest.fail)),
            bandwidth=Bandwidth(0, clock),
            emit=emit,
        ),
        keeper=Keeper(owner),
    )
