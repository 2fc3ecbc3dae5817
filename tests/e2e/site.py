"""A user's folder for end-to-end tests: a playbook, its .env, binaries, and the real `deployer` run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.sample import build_sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.hosts.lab import Lab


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One invocation of the command line, ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What --json said; every line of standard output must be one object."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def named(self, event: str) -> list[dict[str, Any]]:
        """The events of one name, in order."""
        return [record for record in self.events if record["event"] == event]

    @property
    def finished(self) -> dict[str, dict[str, Any]]:
        """host_finished by host."""
        return {record["host"]: record for record in self.named("host_finished")}

    @property
    def outcomes(self) -> dict[str, str]:
        """The outcome's name by host."""
        return {host: record["outcome"] for host, record in self.finished.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A folder with `site.yml`; hosts are those of `lab`, as its inventory lists them."""

    folder: Path
    lab: Lab

    def binary(self, version: str, *, fault: str = "") -> str:
        """A build of the sample service; the path as a playbook of this site names it."""
        name = f"{version}{'-' + fault if fault else ''}"
        build_sample(self.folder / name, version=version, fault=fault)
        return f"{name}/gin-api-template"

    def service(self, name: str, *, binary: str, port: int, **keys: Any) -> dict[str, Any]:
        """A service task for the sample service, listening on `port`; `keys` are added or replaced.

        The stay-up window is short but longer than the two seconds after which the crashing build dies.
        """
        service: dict[str, Any] = {
            "name": name,
            "binary": binary,
            "environment": {"PORT": str(port), "GIN_MODE": "release"},
            "healthcheck": {
                "test": f"http://127.0.0.1:{port}/health",
                "interval": "250ms",
                "timeout": "2s",
                "retries": 8,
                "start_period": "2s",
                "stay_up": "2500ms",
            },
        }
        return {"name": name, "service": service | keys}

    def write(
        self, tasks: Sequence[Mapping[str, Any]], *, hosts: str = "all", name: str = "site.yml", **play: Any
    ) -> None:
        """Write a playbook with one play of `tasks`."""
        content = [{"name": "test", "hosts": hosts, "become": True, **play, "tasks": list(tasks)}]
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False))

    def deployer(
        self,
        *args: str,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 180,
    ) -> Run:
        """`deployer ARGS` in this folder, with the lab's inventory unless -i is given."""
        words = [sys.executable, "-m", "deployer", *args]
        asks_hosts = args[0] in {"run", "rollback", "unlock", "validate", "releases"} or "--on-host" in args
        if "-i" not in args and asks_hosts:
            words += ["-i", str(self.lab.inventory)]
        done = subprocess.run(
            words,
            cwd=self.folder,
            input=stdin or "",
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Run(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def run(self, *args: str, playbook: str = "site.yml", **kwargs: Any) -> Run:
        """`deployer run site.yml --json ARGS`."""
        return self.deployer("run", playbook, "--json", *args, **kwargs)
