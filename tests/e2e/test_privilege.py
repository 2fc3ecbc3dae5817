"""Becoming root: with and without sudo, with and without its password, which is seen by nobody."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine import eventually, health, shell
from tests.e2e.observed import Journal, exists
from tests.e2e.programs import inventory, sleeper, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.site import Site
    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

pytestmark = pytest.mark.hosts

WRONG = "not-the-password"


def logging_in_as(lab: Lab, tmp_path: Path, *users: str, **common: object) -> str:
    """An inventory of the first hosts, one for each of `users`, in a folder of its own."""
    folder = tmp_path / "inventory"
    folder.mkdir()
    hosts: dict[str, dict[str, object]] = {
        host.name: {"ansible_host": host.address, "ansible_user": user}
        for host, user in zip(lab.hosts, users, strict=False)
    }
    args = f"-o UserKnownHostsFile={lab.known_hosts}"
    return inventory(
        folder / "hosts.yml",
        hosts,
        ansible_ssh_private_key_file=str(lab.key),
        ansible_ssh_common_args=args,
        **common,
    )


class Watcher(threading.Thread):
    """Reads the command lines of all processes of this machine, those on its test hosts included."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._enough = threading.Event()
        self.seen: set[bytes] = set()

    def run(self) -> None:
        while not self._enough.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    with suppress(OSError):  # it ended
                        self.seen.add((process / "cmdline").read_bytes())

    def stop(self) -> None:
        self._enough.set()
        self.join(timeout=20)


@contextmanager
def watching() -> Iterator[Watcher]:
    watcher = Watcher()
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


def places_with(host: TestHost, word: str) -> str:
    """Files of the host that hold `word`, and `journal` if its log does."""
    script = (
        'grep -rlsF -e "$1" /etc /opt /var /root /home /tmp /run/systemd --exclude-dir=journal; '
        'journalctl --quiet --output=export | grep -qaF -e "$1" && echo journal; true'
    )
    return shell(host, script, word)


def wrong_passwords(journal: Journal) -> int:
    """How many PAM counted, once sudo has given up."""
    eventually(
        lambda: any("1 incorrect password attempt" in line for line in journal.of("sudo")),
        what="sudo's own count",
    )
    return sum("authentication failure" in line for line in journal.of("sudo"))


def test_a_login_as_root_and_sudo_with_and_without_a_password_all_deploy(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    listed = logging_in_as(lab, tmp_path, "root", "deploy", "asker")
    variables = Path(listed).parent / "host_vars"
    variables.mkdir()
    (variables / "host3.yml").write_text(f"ansible_become_password: {lab.sudo_password}\n")
    service = site.service("priv-three", binary=site.binary("1.0.0"), port=25001)
    service["service"]["healthcheck"]["stay_up"] = "500ms"
    site.write([service])
    journals = [Journal.from_now(host) for host in lab.hosts]

    run = site.run("-i", listed)

    assert run.code == 0, run.finished
    assert run.outcomes == {"host1": "changed", "host2": "changed", "host3": "changed"}
    assert [health(host, 25001)["version"] for host in lab.hosts] == ["1.0.0"] * 3
    used_sudo = [any("COMMAND=" in line for line in journal.of("sudo")) for journal in journals]
    assert used_sudo == [False, True, True]
    assert "priv-three" not in "".join(journals[2].of("sudo"))  # what is done stands in no command line
    assert lab.sudo_password not in run.stdout + run.stderr


def test_the_password_asked_for_with_k_is_in_no_command_line_and_in_no_file(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    host = lab.hosts[0]
    listed = logging_in_as(lab, tmp_path, "asker")
    service = site.service("priv-asked", binary=site.binary("1.0.0"), port=25002)
    service["service"]["healthcheck"]["stay_up"] = "500ms"
    site.write([service])

    with watching() as watcher:
        run = site.run("-i", listed, "--ask-become-pass", stdin=f"{lab.sudo_password}\n")

    assert (run.code, run.outcomes) == (0, {"host1": "changed"}), run.finished
    assert health(host, 25002)["version"] == "1.0.0"
    assert any(line.startswith(b"sudo\0-S\0") for line in watcher.seen), "nobody saw sudo"
    assert not [line for line in watcher.seen if lab.sudo_password.encode() in line]
    assert places_with(host, lab.sudo_password) == ""
    assert lab.sudo_password not in run.stdout + run.stderr


def test_a_password_that_sudo_does_not_need_does_no_harm_and_is_left_nowhere(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    host, password = lab.hosts[1], "nobody-asked-for-this"
    listed = logging_in_as(lab, tmp_path, "root", "deploy")
    service = site.service("priv-needless", binary=site.binary("1.0.0"), port=25003)
    service["service"]["healthcheck"]["stay_up"] = "500ms"
    site.write([service], hosts="host2")

    run = site.run("-i", listed, "-K", stdin=f"{password}\n")

    assert (run.code, run.outcomes) == (0, {"host2": "changed"}), run.finished
    assert health(host, 25003)["version"] == "1.0.0"
    assert places_with(host, password) == ""
    assert password not in run.stdout + run.stderr


@pytest.mark.parametrize("index", [0, 1], ids=["debian12", "debian13"])
def test_a_wrong_password_is_tried_once(site: Site, lab: Lab, tmp_path: Path, index: int) -> None:
    host = lab.hosts[index]
    listed = logging_in_as(lab, tmp_path, "asker", "asker")
    site.write([task("priv-wrong", sleeper(site))], hosts=host.name)
    journal = Journal.from_now(host)

    run = site.run("-i", listed, "-K", stdin=f"{WRONG}\n")

    assert (run.code, run.outcomes) == (1, {host.name: "failed"})
    failure = run.finished[host.name]["failure"]
    assert failure["cause"] == "sudo_refused"
    assert "password" in failure["message"]
    assert wrong_passwords(journal) == 1
    assert not exists(host, "/opt/priv-wrong")
    assert WRONG not in run.stdout + run.stderr
    assert places_with(host, WRONG) == ""


def test_a_missing_password_says_how_to_give_one(site: Site, lab: Lab, tmp_path: Path) -> None:
    listed = logging_in_as(lab, tmp_path, "asker", "deploy")
    site.write([task("priv-missing", sleeper(site))])
    journal = Journal.from_now(lab.hosts[0])

    run = site.run("-i", listed)

    assert run.code == 1
    assert run.outcomes == {"host1": "failed", "host2": "not_attempted"}
    assert run.finished["host1"]["failure"]["cause"] == "sudo_refused"
    assert "--ask-become-pass" in run.finished["host1"]["failure"]["hint"]
    assert not [line for line in journal.of("sudo") if "authentication failure" in line]
    assert not exists(lab.hosts[0], "/opt/priv-missing")


@pytest.mark.parametrize(
    "play",
    [{"become": False}, {"become": True, "become_user": "asker"}],
    ids=["no become", "another user"],
)
def test_whoever_is_not_root_is_told_to_become_root(
    site: Site, lab: Lab, tmp_path: Path, play: dict[str, Any]
) -> None:
    listed = logging_in_as(lab, tmp_path, "deploy")
    site.write([task("priv-nobody", sleeper(site))], **play)

    run = site.run("-i", listed)

    assert (run.code, run.outcomes) == (1, {"host1": "failed"})
    assert run.finished["host1"]["failure"]["cause"] == "not_root"
    assert "become" in run.finished["host1"]["failure"]["hint"]
    assert not exists(lab.hosts[0], "/opt/priv-nobody")


def test_who_may_not_use_sudo_at_all_is_refused_in_sudos_words(site: Site, lab: Lab, tmp_path: Path) -> None:
    host = lab.hosts[0]
    rule = "/etc/sudoers.d/zz-not-deploy"
    listed = logging_in_as(lab, tmp_path, "deploy")
    site.write([task("priv-banned", sleeper(site))])
    shell(host, 'echo "deploy ALL=(ALL:ALL) !ALL" >"$1" && chmod 440 "$1"', rule)
    try:
        without = site.run("-i", listed)
        with_password = site.run("-i", listed, "-K", stdin=f"{WRONG}\n")
    finally:
        shell(host, 'rm "$1"', rule)

    for run in (without, with_password):
        assert (run.code, run.outcomes) == (1, {"host1": "failed"})
        assert run.finished["host1"]["failure"]["cause"] == "sudo_refused"
    assert not exists(host, "/opt/priv-banned")


@contextmanager
def noisy(host: TestHost, *users: str) -> Iterator[None]:
    """Logins print a banner, a message of the day, and what users put into their shell's start files."""
    noise = (
        "echo 'Welcome, today is a password day'\n"
        "echo 'sudo: a warning that is none' >&2\n"
        "echo deployer-is-here-not\n"
        "printf 'failed no_line and no end of it'\n"
    )
    banner, config = "/etc/ssh/banner", "/etc/ssh/sshd_config.d/a-banner.conf"
    script = 'printf "%s\\n" "= digests" "failed banner" >"$1"; echo "Banner $1" >"$2"; systemctl reload ssh'
    shell(host, script, banner, config)
    for user in users:
        kept = 'cp -p "$1" "$1.before"; cat - "$1.before" >"$1"'
        host.nsenter(["sh", "-c", kept, "sh", f"/home/{user}/.bashrc"], input=noise.encode())
    host.wait_until_ready()
    try:
        yield
    finally:
        for user in users:
            shell(host, 'mv "$1.before" "$1"', f"/home/{user}/.bashrc")
        shell(host, 'rm "$@"; systemctl reload ssh', banner, config)
        host.wait_until_ready()


def test_a_login_that_prints_noise_confuses_nothing(site: Site, lab: Lab, tmp_path: Path) -> None:
    service = site.service("priv-noise", binary=site.binary("1.0.0"), port=25004)
    service["service"]["healthcheck"]["stay_up"] = "500ms"
    site.write([service])
    listed = logging_in_as(lab, tmp_path, "asker", "deploy")
    with noisy(lab.hosts[0], "asker"), noisy(lab.hosts[1], "deploy"):
        heard = lab.hosts[1].ssh("true", user="deploy").stdout
        first = site.run("-i", listed, "-K", stdin=f"{lab.sudo_password}\n")
        second = site.run("-i", listed, "-K", stdin=f"{lab.sudo_password}\n")

    assert b"password day" in heard, "there was no noise"
    assert (first.code, first.outcomes) == (0, {"host1": "changed", "host2": "changed"}), first.finished
    assert (second.code, second.outcomes) == (0, {"host1": "unchanged", "host2": "unchanged"}), (
        second.finished
    )
    assert [health(host, 25004)["version"] for host in lab.hosts[:2]] == ["1.0.0", "1.0.0"]
