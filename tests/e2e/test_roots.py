"""What others can hold, write or bring with them decides nothing of what root does."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import current, environ, eventually, main_pid, shell, unit
from tests.e2e.observed import active, exists, runs
from tests.e2e.programs import deploy, script, sleeper, task, version

if TYPE_CHECKING:
    from tests.e2e.site import Site
    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts

HOSTS = {"host1": 0, "host2": 1}  # Debian 12 and 13


# -- what others can hold or change --------------------------------------------------------------------------


def test_a_service_cannot_hold_the_mutex(site: Site) -> None:
    """As root even, for which the modes of folders are no wall: it tries, and says what came of that."""
    host, name = site.lab.hosts[0], "holder"
    holds = script(
        site,
        "holds",
        'flock /var/lib/deployer/holder/mutex echo "it holds" || echo "it does not"\nexec sleep infinity',
    )
    deploy(site, version(name, holds, user="root"))
    assert shell(host, 'stat -c "%a %U" /var/lib/deployer').strip() == "700 root"
    assert "it does not" in shell(host, 'journalctl -u "$1" -o cat --no-pager', name)
    assert site.run("-e", "v=2").outcomes == {"host1": "changed"}


def test_a_host_whose_folders_everybody_could_read_is_mended(site: Site) -> None:
    host, name = site.lab.hosts[0], "mended"
    deploy(site, version(name, sleeper(site)))
    shell(host, 'chmod 755 /var/lib/deployer "/var/lib/deployer/$1"', name)
    assert site.run("-e", "v=2").outcomes == {"host1": "changed"}
    assert shell(host, "stat -c %a /var/lib/deployer").strip() == "700"


def test_a_mutex_that_is_held_ends_a_run_with_a_cause_and_not_the_way_back(site: Site) -> None:
    host, name = site.lab.hosts[0], "held"
    deploy(site, version(name, sleeper(site)))
    first = current(host, name)
    with LiveRun(site, "-e", "v=2", "-e", "trial=100s", "--deadline", "4s") as run:
        run.wait_for("release_switched", service=name)
        file = f"/var/lib/deployer/{name}/mutex"
        shell(host, 'setsid flock "$1" sleep 70 >/dev/null 2>&1 & echo $! >/run/holder', file)
        os.kill(run.pid, signal.SIGKILL)
        run.end()
    eventually(
        lambda: not exists(host, f"/var/lib/deployer/{name}/transaction"), seconds=60, what="the way back"
    )
    assert runs(host, name) == current(host, name) == first
    held = site.run("-e", "v=2")
    assert held.code == 1
    assert held.finished["host1"]["failure"]["cause"] == "mutex_held"
    assert f"fuser -v {file}" in held.finished["host1"]["failure"]["message"]
    shell(host, 'fuser -k "$1" || pkill -f "flock $1"', file, check=False)


@pytest.mark.parametrize("folder", ["/usr/local/libexec", "/etc/systemd/system", "/var/lib", "/opt"])
def test_a_folder_that_anybody_can_hold_keeps_no_deploy_waiting(site: Site, folder: str) -> None:
    host, name = site.lab.hosts[1], f"beside-{folder.rpartition('/')[2]}"
    # As on a first deploy, the helpers are installed.
    shell(host, "rm -f /usr/local/libexec/unless-stopped")
    hold = 'setsid setpriv --reuid nobody --clear-groups flock "$1" sleep 600 >/dev/null 2>&1 & echo $!'
    holder = shell(host, hold, folder).strip()

    def is_held() -> bool:
        return not shell(host, 'flock -n "$1" echo free', folder, check=False)

    try:
        eventually(is_held, what="the lock")
        deploy(site, version(name, sleeper(site)), hosts="host2")
        assert is_held()  # so nobody has waited for it
    finally:
        shell(host, 'pkill -P "$1"; kill "$1"', holder, check=False)


def test_folders_that_a_user_owns_are_refused_with_what_to_type(site: Site) -> None:
    host, name = site.lab.hosts[0], "others"
    deploy(site, version(name, sleeper(site)))
    shell(host, 'chown -R others "/opt/$1"', name)
    for words in (("run", "site.yml", "--json", "-e", "v=2"), ("rollback", "site.yml", "--json")):
        run = site.deployer(*words)
        failure = run.finished["host1"]["failure"]
        assert (run.code, failure["cause"]) == (1, "not_roots")
        assert f"chown -R root:root /opt/{name}" in failure["hint"]
    shell(host, 'chown -R root:root "/opt/$1"', name)
    assert site.run("-e", "v=2").outcomes == {"host1": "changed"}


def test_a_folder_of_somebody_else_is_not_given_to_the_service(site: Site) -> None:
    host, name = site.lab.hosts[0], "foreign"
    shell(host, 'mkdir -p "/var/lib/$1"; echo kept >"/var/lib/$1/file"', name)
    site.write([version(name, sleeper(site))], hosts="host1", vars={"v": 1, "trial": "300ms"})
    run = site.run()
    assert (run.code, run.finished["host1"]["failure"]["cause"]) == (1, "not_ours")
    assert shell(host, 'stat -c %U "/var/lib/$1" "/var/lib/$1/file"', name).split() == ["root", "root"]
    shell(host, 'rm -r "/var/lib/$1"', name)


def test_the_environment_is_for_root_and_the_user_alone(site: Site) -> None:
    host, name = site.lab.hosts[0], "shared-group"
    shell(host, 'useradd --system -g users -M "$1"', name)
    deploy(site, version(name, script(site, "reads", "cat .env >/dev/null && exec sleep infinity")))
    owner, group, mode = shell(host, 'stat -c "%U %G %a" "/opt/$1/current/.env"', name).split()
    assert (owner, group, mode) == ("root", f"deployer-{name}", "640")
    assert shell(host, 'getent group "$1"', group).strip().split(":")[3] == name
    assert active(host, name) == "active"


def test_a_path_in_the_environment_is_not_roots(site: Site) -> None:
    """The hooks are root's; a program that its user plants must not be one of theirs."""
    host, name = site.lab.hosts[0], "planted"
    path = f"/var/lib/{name}/bin:/usr/bin:/bin"
    plants = script(
        site,
        "plants",
        f"/bin/mkdir -p /var/lib/{name}/bin\n"
        f"for tool in systemctl sync sleep mkdir rm; do\n"
        f"  printf '#!/bin/sh\\nid -u >/var/lib/{name}/ran\\n' >/var/lib/{name}/bin/$tool\n"
        f"  /bin/chmod 755 /var/lib/{name}/bin/$tool\n"
        f"done\n"
        f"exec /bin/sleep 2",
    )
    site.write([task(name, plants, environment={"PATH": path})], hosts="host1")
    assert site.run().code == 0
    eventually(lambda: int(unit(host, name)["NRestarts"]) >= 2, seconds=20, what="two restarts")
    assert not exists(host, f"/var/lib/{name}/ran")
    shell(host, 'systemctl stop "$1"', name)
    assert not exists(host, f"/var/lib/{name}/ran")


def test_a_path_that_leads_nowhere_keeps_nothing_from_coming_back(site: Site) -> None:
    host, name = site.lab.hosts[0], "pathless"
    stays = script(site, name, "exec /bin/sleep infinity")
    deploy(site, task(name, stays, environment={"PATH": "/app/bin", "IFS": "/", "ENV": "/nowhere"}))
    host.reboot()
    eventually(lambda: active(host, name) == "active", seconds=60, what="the service")
    assert environ(host, name)["PATH"] == "/app/bin"
    assert site.run().outcomes == {"host1": "unchanged"}
    shell(host, 'kill "$1"', str(main_pid(host, name)))
    eventually(lambda: unit(host, name)["NRestarts"] == "1", what="its restart")


LOADED = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
  int file = open("/tmp/loaded", O_CREAT | O_APPEND | O_WRONLY, 0666);
  if (file >= 0) { dprintf(file, "%d\\n", (int)getuid()); close(file); }
}
unsigned la_version(unsigned version) { return version; }  /* for LD_AUDIT, rtld-audit(7) */
"""


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize("variable", ["LD_PRELOAD", "LD_AUDIT"])
def test_a_library_in_the_environment_is_never_loaded_by_root(site: Site, variable: str, where: str) -> None:
    host, name = site.lab.hosts[HOSTS[where]], f"loads-{variable[3:].lower()}"
    source, library, at = site.folder / f"{name}.c", site.folder / f"{name}.so", f"/opt/{name}.so"
    source.write_text(LOADED)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    host.nsenter(["sh", "-c", 'cat >"$1" && chmod 755 "$1"', "sh", at], input=library.read_bytes())
    # It dies at once, so that there is a wait; /tmp is its own.
    dies = script(site, f"{name}.sh", "cp /tmp/loaded $STATE_DIRECTORY; exec sleep 2")
    check = {"disable": True, "stay_up": "1s"}
    environment = {variable: at, "MARK": "a word that root has no use for"}
    site.write([task(name, dies, environment=environment, healthcheck=check)], hosts=where)
    assert site.run().code == 0

    found = environ(host, name)
    assert {key: found[key] for key in environment} == environment
    assert shell(host, 'sort -u "/var/lib/$1/loaded"', name).split() == [
        shell(host, 'id -u "$1"', name).strip()
    ]
    eventually(lambda: "sleep" in of_root(host, name), seconds=30, what="a wait before the next start")
    eventually(lambda: int(unit(host, name)["NRestarts"]) >= 2, seconds=20, what="two restarts")
    shell(host, 'systemctl stop "$1"', name)
    assert not exists(host, "/tmp/loaded")


def of_root(host: TestHost, service: str) -> str:
    """The hooks at work, which are root's processes of the service; their environment is not the service's.

    Each is asked for its name before and after, for a process begins as what systemd makes of itself and as
    the env(1) that takes the environment away; and for its user last, for the service's begin as root's.
    """
    said = shell(
        host,
        'name() { tr "\\0" " " </proc/$1/cmdline; }\n'
        "for pid in $(cat /sys/fs/cgroup/system.slice/$1.service/cgroup.procs \\\n"
        "  /sys/fs/cgroup/systemd/system.slice/$1.service/cgroup.procs 2>/dev/null); do\n"
        '  name=$(name "$pid")\n'
        '  environment=$(tr "\\0" " " </proc/$pid/environ)\n'
        '  case $name in *env* | "") continue ;; esac\n'
        '  [ "$(name "$pid")" = "$name" ] && grep -q "^Uid:[^0-9]*0[^0-9]" /proc/$pid/status || continue\n'
        '  echo "$name"; echo "$environment"\n'
        "done",
        service,
        check=False,
    )
    assert "MARK" not in said
    return said


# -- what root runs ------------------------------------------------------------------------------------------


def test_a_host_whose_opt_is_anybodys_is_refused(site: Site) -> None:
    host, name = site.lab.hosts[0], "in-an-open-opt"
    deploy(site, version(name, sleeper(site)))
    shell(host, "chmod 777 /opt")
    run = site.run("-e", "v=2")
    shell(host, "chmod 755 /opt")
    assert (run.code, run.finished["host1"]["failure"]["cause"]) == (1, "not_roots")
    assert run.finished["host1"]["failure"]["hint"] == "chown root:root /opt && chmod go-w /opt"


@pytest.mark.parametrize("helper", ["deployer-revert", "unless-stopped"])
def test_a_helper_that_cannot_be_executed_is_put_right(site: Site, helper: str) -> None:
    host, name = site.lab.hosts[0], f"lame-{helper}"
    deploy(site, version(name, sleeper(site)))
    shell(host, 'chmod a-x "$1"', f"/usr/local/libexec/{helper}")
    assert site.run().outcomes == {"host1": "changed"}
    assert shell(host, 'stat -c "%a %U" "$1"', f"/usr/local/libexec/{helper}").split() == ["755", "root"]
    assert site.run().outcomes == {"host1": "unchanged"}


def test_a_host_on_which_systemd_reads_no_units_is_left_as_it_is(site: Site) -> None:
    host, name = site.lab.hosts[1], "no-run"
    deploy(site, version(name, sleeper(site)), hosts="host2")
    before, pid = current(host, name), main_pid(host, name)
    # Made smaller, not filled: it may take as much as a fifth of this machine's memory.
    shell(host, "mount -o remount,size=$(($(df -Pk /run | awk 'END { print $3 }') + 8000))k /run")
    changed = version(name, sleeper(site), stop_grace_period="11s")
    site.write([changed], hosts="host2", vars={"v": 1, "trial": "300ms"})
    run = site.run()
    shell(host, "mount -o remount,size=20% /run")
    assert (run.code, run.outcomes) == (1, {"host2": "failed"})
    assert "less than 16 MiB free" in run.finished["host2"]["failure"]["message"]
    assert (current(host, name), main_pid(host, name)) == (before, pid)
    assert site.run().outcomes == {"host2": "changed"}
