"""Programs in the default sandbox: it changes none of them without a sign that says what to set."""

from __future__ import annotations

import resource
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import shell
from tests.e2e.programs import task
from tests.sample import build_sample

if TYPE_CHECKING:
    from tests.e2e.site import Site
    from tests.hosts.lab import Lab

pytestmark = pytest.mark.hosts

HOSTS = {"host1": 0, "host2": 1}  # Debian 12 and 13
PORT = 20470
CONNECTIONS = 1500  # more than the 1,024 descriptors that a process has until it asks for more

MAPS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
  int protection = PROT_READ | PROT_WRITE | PROT_EXEC;
  void *code = mmap(0, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) { TELL; }
  pause();
}
"""
"""Needs memory that it may write and execute, as a JIT, UPX's stub and libffi's closures do."""


@pytest.mark.parametrize("where", HOSTS)
def test_a_go_program_holds_more_connections_than_it_was_given_descriptors(
    site: Site, lab: Lab, where: str
) -> None:
    """Go raises its own limit (os, since Go 1.19), and says nothing when it may not call setrlimit(2)."""
    host, name = lab.hosts[HOSTS[where]], "many-connections"
    binary = build_sample(site.folder / "bin", version="1.0.0")
    test = {"test": f"http://127.0.0.1:{PORT}/health"}
    environment = {"PORT": str(PORT), "GIN_MODE": "release"}
    service = task(name, f"bin/{binary.name}", environment=environment, healthcheck=test)
    site.write([service], hosts=where)
    assert site.run().code == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, CONNECTIONS + 500)), hard))
    try:
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                line = stack.enter_context(socket.create_connection((host.address, PORT), timeout=10))
                line.sendall(b"GET /health HTTP/1.1\r\nHost: app\r\n\r\n")
                assert line.recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize(
    ("how", "tell"),
    [("says", 'perror("mmap"); return 1'), ("traps", "__builtin_trap()"), ("leaves", "_exit(127)")],
)
def test_a_program_that_makes_code_is_told_what_forbids_it(
    site: Site, lab: Lab, where: str, how: str, tell: str
) -> None:
    host, name = lab.hosts[HOSTS[where]], f"makes-code-and-{how}"
    source = site.folder / "maps.c"
    source.write_text(MAPS.replace("TELL", tell))
    subprocess.run(["gcc", "-static", "-o", site.folder / "maps", source], check=True)
    site.write([task(name, "maps")], hosts=where)
    run = site.run()
    failure = run.finished[where]["failure"]
    assert (run.code, run.outcomes[where]) == (1, "failed")
    assert failure["hint"] == (
        f"if the unit's sandbox forbids that: systemctl edit {name}, and there MemoryDenyWriteExecute=no"
    )

    shell(
        host,
        'mkdir -p "$1" && printf "[Service]\\nMemoryDenyWriteExecute=no\\n" >"$1/override.conf"',
        f"/etc/systemd/system/{name}.service.d",
    )
    assert site.run().outcomes == {where: "changed"}
