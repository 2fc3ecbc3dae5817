"""A host that says too much, or nothing of use, fails alone, and the cause names the right party."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine import shell
from tests.e2e.programs import inventory, script, sleeper, task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts


@contextmanager
def login_that_runs(host: TestHost, user: str, program: str) -> Iterator[None]:
    """A user who may log in with the key of the lab, and whose login shell is `program`."""
    shell(
        host,
        'printf "#!/bin/sh\\n%s\\n" "$2" >"/usr/local/bin/shell-$1"; chmod 755 "/usr/local/bin/shell-$1"\n'
        'useradd -m -s "/usr/local/bin/shell-$1" -p "*" "$1"; mkdir -p "/home/$1/.ssh"\n'
        'cp /home/deploy/.ssh/authorized_keys "/home/$1/.ssh/" 2>/dev/null ||\n'
        '  cp /root/.ssh/authorized_keys "/home/$1/.ssh/"\n'
        'chown -R "$1" "/home/$1/.ssh"; echo "$1 ALL=(ALL) NOPASSWD: ALL" >"/etc/sudoers.d/$1"',
        user,
        program,
    )
    try:
        yield
    finally:
        shell(host, 'userdel -r "$1"; rm -f "/usr/local/bin/shell-$1" "/etc/sudoers.d/$1"', user, check=False)


def run_as(
    site: Site, tmp_path: Path, user: str, job: dict[str, Any] | None = None, *, host: TestHost | None = None
) -> Run:
    lab, host = site.lab, host or site.lab.hosts[0]
    listed = inventory(
        tmp_path / "hosts.yml",
        {"host1": {"ansible_host": host.address}},
        ansible_user=user,
        ansible_ssh_private_key_file=str(lab.key),
        ansible_ssh_common_args=f"-o UserKnownHostsFile={lab.known_hosts}",
    )
    site.write([job or task("never-there", sleeper(site))], hosts="host1")
    return site.run("-i", listed)


@pytest.mark.parametrize(
    ("login", "cause", "told"),
    [
        (("yessayer", "exec yes"), "too_much", "more than 4 MiB"),
        (("complainer", "yes >&2"), "too_much", "more than 4 MiB"),
        (("refuser", "echo log in as admin; exit 142"), "shell_failed", "142 and said: log in as admin"),
        (("mumbler", "echo gone >&2; exit 3"), "shell_failed", "status 3 and said: gone"),
    ],
)
def test_the_login_is_to_blame_and_not_sudo(
    site: Site, tmp_path: Path, login: tuple[str, str], cause: str, told: str
) -> None:
    with login_that_runs(site.lab.hosts[0], *login):
        began = time.monotonic()
        run = run_as(site, tmp_path, login[0])
    assert time.monotonic() - began < 60
    failure = run.finished["host1"]["failure"]
    assert run.code in {1, 3}
    assert failure["cause"] == cause, failure
    assert told in failure["message"]
    assert "sudo" not in failure["message"]


@pytest.mark.parametrize("where", [0, 1])  # Debian 12 and 13
@pytest.mark.parametrize(
    ("user", "prepare", "told"),
    [
        ("barred", 'usermod -s /usr/sbin/nologin "$1"', "This account is currently not available."),
        ("stale", 'chage -d 0 "$1"', "assword change required but no TTY available"),
        ("elapsed", 'chage -E 0 "$1"', "did not accept a login as elapsed, and hung up"),
        ("gone", 'usermod -s /nonexistent/shell "$1"', "did not accept a login as gone"),
    ],
)
def test_an_account_that_may_not_work_is_named(
    site: Site, tmp_path: Path, where: int, *, user: str, prepare: str, told: str
) -> None:
    host = site.lab.hosts[where]
    with login_that_runs(host, user, "exec /bin/sh"):
        shell(host, prepare, user)
        run = run_as(site, tmp_path, user, host=host)
    failure = run.finished["host1"]["failure"]
    assert told in failure["message"], failure
    assert "sudo" not in failure["message"]


_FOR_EVERYBODY = (
    "POSIXLY_CORRECT=1 QUOTING_STYLE=c BLOCK_SIZE=1 TIME_STYLE=full-iso SYSTEMD_COLORS=1 SYSTEMD_OFFLINE=1 "
    "SYSTEMD_LOG_LEVEL=debug GREP_OPTIONS=--invert-match CDPATH=/tmp:/ TMPDIR=/nowhere"
)


def test_what_a_host_sets_for_everybody_has_no_effect(site: Site, tmp_path: Path) -> None:
    host = site.lab.hosts[0]
    with login_that_runs(host, "setter", f'export {_FOR_EVERYBODY}; exec /bin/sh "$@"'):
        shell(host, 'echo "Defaults:setter !env_reset" >>/etc/sudoers.d/setter')
        told = {"name": "tell", "command": ["printenv", "QUOTING_STYLE"]}
        (said,) = run_as(site, tmp_path, "setter", told).named("command_finished")
        runs = [run_as(site, tmp_path, "setter", task("set-upon", sleeper(site))) for _ in range(2)]
    assert said["output"] == "c"  # it is there, and stays there for commands of the user
    assert [(run.code, run.outcomes) for run in runs] == [
        (0, {"host1": "changed"}),
        (0, {"host1": "unchanged"}),
    ], [run.finished for run in runs]


def test_a_command_that_never_stops_talking_ends_its_host_alone(site: Site) -> None:
    binary = script(site, "fine", "exec sleep infinity")
    site.write([{"name": "talk", "command": ["yes"]}, task("talked-over", binary)], hosts="host1")
    run = site.run()
    failure = run.finished["host1"]["failure"]
    assert (run.code, failure["cause"]) == (1, "too_much")


def test_a_command_that_says_much_is_no_failure_and_its_end_is_told(site: Site) -> None:
    words = ["sh", "-c", "yes | head -c 20000000; echo; echo done"]
    site.write([{"name": "talk", "command": words}], hosts="host1")
    run = site.run()
    assert run.code == 0
    (said,) = run.named("command_finished")
    assert said["output"].endswith("\ndone")
    assert len(said["output"]) <= 4000


def test_escapes_in_what_a_command_says_are_visible(site: Site) -> None:
    words = ["printf", "\\033]0;title\\007\\342\\200\\256txt"]
    site.write([{"name": "say", "command": words}], hosts="host1")
    run = site.run()
    assert run.code == 0
    (said,) = run.named("command_finished")
    assert said["output"] == "\ufffd]0;title\ufffd\ufffdtxt"
