"""Who a host is, and with which key it is asked, is decided before anything is sent."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.live import LiveRun
from tests.e2e.machine import eventually
from tests.e2e.observed import Journal, active, exists
from tests.e2e.programs import inventory, sleeper, task
from tests.hosts.secure_shell import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

pytestmark = pytest.mark.hosts

SECOND_PORT = 2222
PASSPHRASE = "a passphrase nobody guesses"
LOUD = f"LogLevel DEBUG1\nPort 22\nPort {SECOND_PORT}\n"
LOUD_FILE = "/etc/ssh/sshd_config.d/a-loud.conf"


@pytest.fixture(scope="module", autouse=True)
def loud(lab: Lab) -> Iterator[None]:
    """For these tests every sshd logs what it is asked, and listens on a second port."""
    for host in lab.hosts:
        host.nsenter(["tee", LOUD_FILE], input=LOUD.encode())
        reload_sshd(host)
    yield
    for host in lab.hosts:
        host.nsenter(["rm", LOUD_FILE])
        reload_sshd(host)


def reload_sshd(host: TestHost) -> None:
    host.nsenter(["systemctl", "reload", "ssh.service"])
    host.wait_until_ready()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder of our own, with an empty ~/.ssh."""
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(parents=True, mode=0o700)
    return folder.parent


def at_home(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "SSH_AUTH_SOCK": "", **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key pair that logs in as deploy on host1."""

    file: Path
    fingerprint: str


@pytest.fixture
def own_key(tmp_path: Path, lab: Lab) -> Iterator[Key]:
    file = tmp_path / "own_key"
    public = make_key(file, comment="own")
    with authorized(lab.hosts[0], public):
        yield Key(file=file, fingerprint=fingerprint(file))


def fingerprint(file: Path) -> str:
    shown = subprocess.run(["ssh-keygen", "-lf", file], check=True, capture_output=True, text=True)
    return shown.stdout.split()[1]


@contextmanager
def authorized(host: TestHost, public: str) -> Iterator[None]:
    keys = "/home/deploy/.ssh/authorized_keys"
    before = host.nsenter(["cat", keys]).stdout
    host.nsenter(["tee", keys], input=before + public.encode())
    yield
    host.nsenter(["tee", keys], input=before)


def lock(key: Key) -> None:
    """From now on the key's file needs its passphrase."""
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", key.file],
        check=True,
        capture_output=True,
    )


@contextmanager
def agent(folder: Path, *keys: Path) -> Iterator[str]:
    """A real ssh-agent that holds `keys`; its socket."""
    place = folder / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(place.exists, what="the agent's socket")
        for key in keys:
            subprocess.run(
                ["ssh-add", "-q", key],
                check=True,
                capture_output=True,
                env={**os.environ, "SSH_AUTH_SOCK": str(place)},
            )
        yield str(place)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)


def known_line(lab: Lab, host: TestHost) -> str:
    """The host's true line of known_hosts, under its address alone."""
    lines = lab.known_hosts.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{host.name},")]
    return f"{host.address} {line.split(' ', 1)[1]}"


def known_file(file: Path, *lines: str) -> str:
    file.write_text("".join(f"{line}\n" for line in lines))
    return f"-o UserKnownHostsFile={file}"


def another_key(tmp_path: Path, host: TestHost, *, kind: str = "ed25519") -> str:
    """A line of known_hosts with a key for the host that is not its own."""
    file = tmp_path / f"another_{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file], check=True)
    kind_word, key, *_ = file.with_name(f"{file.name}.pub").read_text().split()
    return f"{host.address} {kind_word} {key}"


def hosts_of(lab: Lab, **args: str) -> dict[str, dict[str, object]]:
    """The lab's hosts, known as they should be; `args` are ssh arguments of single hosts."""
    good = f"-o UserKnownHostsFile={lab.known_hosts}"
    return {
        host.name: {"ansible_host": host.address, "ansible_ssh_common_args": args.get(host.name, good)}
        for host in lab.hosts
    }


def as_deploy(lab: Lab) -> dict[str, object]:
    return {"ansible_user": "deploy", "ansible_ssh_private_key_file": str(lab.key)}


def cause(run: Run, host: str) -> str:
    return str(run.finished[host]["failure"]["cause"])


def logins_asked(journal: Journal) -> list[str]:
    """The authentication requests in sshd's log, once the connections that are in it have ended."""

    def ended() -> bool:
        lines = journal.sshd()
        begun = sum("Connection from " in line for line in lines)
        closed = sum(
            line.startswith(("Connection closed", "Connection reset", "Disconnected")) for line in lines
        )
        return 0 < begun <= closed

    eventually(ended, what=f"the end of the connections to {journal.host.name}")
    return [line for line in journal.sshd() if "userauth-request" in line or "Accepted" in line]


def keys_offered(journal: Journal) -> set[str]:
    """Fingerprints of the keys that clients showed sshd."""
    eventually(
        lambda: any("Disconnect" in line or "closed" in line for line in journal.sshd()), what="an end"
    )
    words = [word for line in journal.sshd() if "publickey" in line.lower() for word in line.split()]
    return {word for word in words if word.startswith("SHA256:")}


# -- host keys ------------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused_before_a_login_is_tried(site: Site, lab: Lab, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    listed = inventory(
        tmp_path / "hosts.yml", hosts_of(lab, host1=f"-o UserKnownHostsFile={empty}"), **as_deploy(lab)
    )
    site.write([task("trust-unknown", sleeper(site))])
    journal = Journal.from_now(lab.hosts[0])

    run = site.run("-i", listed)

    assert run.code == 3
    assert run.outcomes == {"host1": "unreachable", "host2": "changed", "host3": "changed"}
    failure = run.finished["host1"]["failure"]
    assert failure["cause"] == "host_key_unknown"
    assert lab.hosts[0].address in failure["message"]
    assert fingerprint_of_host(lab.hosts[0]) in failure["message"]
    assert "ssh-keyscan" in failure["hint"]
    assert "accept-new" in failure["hint"]
    assert logins_asked(journal) == []
    assert not empty.exists()
    assert not exists(lab.hosts[0], "/opt/trust-unknown")
    assert active(lab.hosts[1], "trust-unknown") == "active"


def fingerprint_of_host(host: TestHost) -> str:
    return host.nsenter(["ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.decode().split()[1]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_changed_host_key_is_refused_and_the_other_hosts_are_deployed(
    site: Site, lab: Lab, tmp_path: Path, kind: str
) -> None:
    host = lab.hosts[0]
    wrong = another_key(tmp_path, host, kind=kind)
    args = known_file(tmp_path / "known_hosts", wrong)
    listed = inventory(tmp_path / "hosts.yml", hosts_of(lab, host1=args), **as_deploy(lab))
    service = f"trust-changed-{kind}"
    site.write([task(service, sleeper(site))])
    journal = Journal.from_now(host)

    run = site.run("-i", listed, "-l", "host1,host3")

    assert run.code == 3
    assert run.outcomes == {"host1": "unreachable", "host3": "changed"}
    assert cause(run, "host1") == "host_key_changed"
    assert "ssh-keygen -R" in run.finished["host1"]["failure"]["hint"]
    assert logins_asked(journal) == []
    assert (tmp_path / "known_hosts").read_text() == f"{wrong}\n"
    assert active(lab.hosts[2], service) == "active"

    hint = run.finished["host1"]["failure"]["hint"]
    subprocess.run(shlex.split(hint.partition(": ")[2].partition(",")[0]), check=True, capture_output=True)
    assert (tmp_path / "known_hosts").read_text() == ""


@pytest.mark.parametrize("written", ["play", "variable", "=no", "=accept-new", "ssh_config"])
def test_accept_new_writes_a_key_down_once_and_then_holds_the_host_to_it(
    site: Site, lab: Lab, tmp_path: Path, home: Path, written: str
) -> None:
    known = tmp_path / "new" / "known_hosts"
    config = home / ".ssh" / "config"
    config.write_text(f'Host *\n  UserKnownHostsFile "{known}"\n')
    common: dict[str, Any] = as_deploy(lab)
    play: dict[str, Any] = {}
    match written:
        case "play":
            play["host_key_checking"] = "accept-new"
        case "variable":
            common["host_key_checking"] = "accept-new"
        case "ssh_config":
            config.write_text(config.read_text() + "  StrictHostKeyChecking accept-new\n")
        case _:
            common["ansible_ssh_common_args"] = f"-o StrictHostKeyChecking{written}"
    host = lab.hosts[0]
    listed = inventory(tmp_path / "hosts.yml", {"one": {"ansible_host": host.address}}, **common)
    site.write([task("trust-new", sleeper(site))], **play)

    first = site.run("-i", listed, "--check", env=at_home(home))
    assert (first.code, first.outcomes) == (0, {"one": "would_change"})
    assert known.read_text() == f"{known_line(lab, host)}\n"
    second = site.run("-i", listed, "--check", env=at_home(home))
    assert (second.code, second.outcomes) == (0, {"one": "would_change"})
    assert known.read_text() == f"{known_line(lab, host)}\n"

    other = another_key(tmp_path, host)
    known.write_text(f"{other}\n")
    third = site.run("-i", listed, "--check", env=at_home(home))
    assert (third.code, cause(third, "one")) == (3, "host_key_changed")
    assert known.read_text() == f"{other}\n"


def test_hosts_accepted_together_are_each_written_down(
    site: Site, lab: Lab, tmp_path: Path, home: Path
) -> None:
    addresses: dict[str, dict[str, object]] = {
        host.name: {"ansible_host": host.address} for host in lab.hosts
    }
    listed = inventory(tmp_path / "hosts.yml", addresses, **as_deploy(lab))
    site.write([task("trust-new", sleeper(site))], host_key_checking="accept-new")

    run = site.run("-i", listed, "--check", env=at_home(home))

    assert run.code == 0
    written = home / ".ssh" / "known_hosts"
    assert sorted(written.read_text().splitlines()) == sorted(known_line(lab, host) for host in lab.hosts)


@pytest.mark.parametrize(
    "shape", ["hashed", "port", "pattern", "among others", "several kinds", "last line cut"]
)
def test_every_shape_of_known_hosts_is_read(site: Site, lab: Lab, tmp_path: Path, shape: str) -> None:
    host = lab.hosts[0]
    line = known_line(lab, host)
    known = tmp_path / "known_hosts"
    variables: dict[str, object] = {"ansible_host": host.address}
    match shape:
        case "hashed":
            known.write_text(f"{line}\n")
            subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
            assert host.address not in known.read_text()
        case "port":
            known.write_text(line.replace(host.address, f"[{host.address}]:{SECOND_PORT}", 1) + "\n")
            variables["ansible_port"] = SECOND_PORT
        case "pattern":
            network = host.address.rpartition(".")[0]
            known.write_text(line.replace(host.address, f"!{network}.1,{network}.*,*.example.com", 1) + "\n")
        case "among others":
            known.write_text(
                "# a comment\n\n"
                "broken line\n"
                f"{host.address} ssh-ed25519 not-base64!\n"
                f"{host.address} a-kind-from-tomorrow AAAAB3NzaC1yc2EAAAA=\n"
                "@cert-authority *.example.com ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7\n"
                f"web1.example.com,{line}\tand a comment\n"
            )
        case "several kinds":
            rsa, ecdsa = (another_key(tmp_path, host, kind=kind) for kind in ("rsa", "ecdsa"))
            known.write_text(f"{rsa}\n{ecdsa}\n{line}\n")
        case "last line cut":
            known.write_text(f"{line}\nanother.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI")
    variables["ansible_ssh_common_args"] = f"-o UserKnownHostsFile={known}"
    listed = inventory(tmp_path / "hosts.yml", {"one": variables}, **as_deploy(lab))
    site.write([task("trust-shape", sleeper(site))])

    run = site.run("-i", listed, "--check")

    assert (run.code, run.outcomes) == (0, {"one": "would_change"}), run.finished


def test_a_revoked_host_key_is_refused_even_when_new_ones_are_accepted(
    site: Site, lab: Lab, tmp_path: Path
) -> None:
    host = lab.hosts[0]
    line = known_line(lab, host)
    args = known_file(tmp_path / "known_hosts", f"@revoked * {line.split(' ', 1)[1]}")
    listed = inventory(tmp_path / "hosts.yml", hosts_of(lab, host1=args), **as_deploy(lab))
    site.write([task("trust-revoked", sleeper(site))], host_key_checking="accept-new", hosts="host1")
    journal = Journal.from_now(host)

    run = site.run("-i", listed, "--check")

    assert (run.code, run.outcomes) == (3, {"host1": "unreachable"})
    assert cause(run, "host1") == "host_key_revoked"
    assert logins_asked(journal) == []


# -- ways to a host -------------------------------------------------------------------------------------


def test_the_users_ssh_config_is_honoured(site: Site, lab: Lab, tmp_path: Path, home: Path) -> None:
    host = lab.hosts[0]
    known = tmp_path / "known"
    known.write_text(known_line(lab, host).replace(host.address, f"[{host.address}]:{SECOND_PORT}", 1) + "\n")
    (home / ".ssh" / "config").write_text(
        "Host shop-*\n"
        f"  HostName {host.address}\n"
        f"  Port {SECOND_PORT}\n"
        "  User deploy\n"
        f"  IdentityFile {lab.key}\n"
        f"  UserKnownHostsFile {known}\n"
    )
    site.write([task("trust-config", sleeper(site))])
    listed = inventory(tmp_path / "hosts.yml", {"shop-1": {}})
    journal = Journal.from_now(host)

    run = site.run("-i", listed, env=at_home(home))

    assert (run.code, run.outcomes) == (0, {"shop-1": "changed"}), run.finished
    assert active(host, "trust-config") == "active"
    lines = journal.sshd()
    assert any(f"port {SECOND_PORT}" in line for line in lines if "Connection from" in line)
    assert any("Accepted publickey for deploy" in line for line in lines)


def test_a_key_alias_of_the_ssh_config_names_the_host_in_known_hosts(
    site: Site, lab: Lab, tmp_path: Path, home: Path
) -> None:
    host = lab.hosts[0]
    known = tmp_path / "known"
    (home / ".ssh" / "config").write_text(
        f"Host *\n  HostKeyAlias the-shop\n  UserKnownHostsFile {known}\n  Port {SECOND_PORT}\n"
    )
    listed = inventory(tmp_path / "hosts.yml", {"one": {"ansible_host": host.address}}, **as_deploy(lab))
    site.write([task("trust-alias", sleeper(site))])
    known.write_text(known_line(lab, host).replace(host.address, "the-shop", 1) + "\n")

    right = site.run("-i", listed, "--check", env=at_home(home))
    assert (right.code, right.outcomes) == (0, {"one": "would_change"})

    known.write_text(another_key(tmp_path, host).replace(host.address, "the-shop", 1) + "\n")
    wrong = site.run("-i", listed, "--check", env=at_home(home))
    assert (wrong.code, cause(wrong, "one")) == (3, "host_key_changed")


@pytest.mark.parametrize("written", ["ssh_config", "inventory"])
def test_a_host_behind_a_bastion_is_deployed_through_it(
    site: Site, lab: Lab, tmp_path: Path, home: Path, written: str
) -> None:
    bastion, host = lab.hosts[0], lab.hosts[1]
    name = f"trust-jump-{written.replace('_', '-')}"
    config = home / ".ssh" / "config"
    common: dict[str, Any] = {"ansible_host": host.address}
    if written == "ssh_config":
        config.write_text(
            f"Host bastion\n  HostName {bastion.address}\n  User deploy\n"
            f"Host {host.address}\n  ProxyJump bastion\n  User deploy\n"
            f"Host *\n  IdentityFile {lab.key}\n  UserKnownHostsFile {lab.known_hosts}\n"
        )
    else:
        common |= as_deploy(lab)
        common["ansible_ssh_common_args"] = (
            f"-o UserKnownHostsFile={lab.known_hosts} -J deploy@{bastion.address}:{SECOND_PORT}"
        )
        lines = lab.known_hosts.read_text()
        second = known_line(lab, bastion).replace(bastion.address, f"[{bastion.address}]:{SECOND_PORT}", 1)
        known = known_file(tmp_path / "known_hosts", *lines.splitlines(), second)
        common["ansible_ssh_common_args"] = f"{known} -J deploy@{bastion.address}:{SECOND_PORT}"
    listed = inventory(tmp_path / "hosts.yml", {"behind": common})
    site.write([task(name, sleeper(site))])
    journal = Journal.from_now(host)

    run = site.run("-i", listed, env=at_home(home))

    assert (run.code, run.outcomes) == (0, {"behind": "changed"}), run.finished
    assert active(host, name) == "active"
    callers = [line for line in journal.sshd() if "Connection from" in line]
    assert callers
    assert all(f"Connection from {bastion.address} " in line for line in callers)


def test_behind_a_bastion_both_host_keys_are_checked(site: Site, lab: Lab, tmp_path: Path) -> None:
    bastion, host = lab.hosts[0], lab.hosts[2]
    wrong_bastion = known_file(tmp_path / "a", another_key(tmp_path, bastion), known_line(lab, host))
    unknown_host = known_file(tmp_path / "b", known_line(lab, bastion))
    jump = f"-o ProxyJump=deploy@{bastion.address}"
    listed = inventory(
        tmp_path / "hosts.yml",
        {
            "wrong-bastion": {"ansible_ssh_common_args": f"{wrong_bastion} {jump}"},
            "unknown-host": {"ansible_ssh_common_args": f"{unknown_host} {jump}"},
        },
        ansible_host=host.address,
        **as_deploy(lab),
    )
    site.write([task("trust-jump", sleeper(site))])
    journal = Journal.from_now(host)

    run = site.run("-i", listed, "--check")

    assert run.code == 3
    assert cause(run, "wrong-bastion") == "host_key_changed"
    assert bastion.address in run.finished["wrong-bastion"]["failure"]["message"]
    assert cause(run, "unknown-host") == "host_key_unknown"
    assert host.address in run.finished["unknown-host"]["failure"]["message"]
    assert logins_asked(journal) == []


# -- keys of the user -----------------------------------------------------------------------------------


def one_host(lab: Lab, tmp_path: Path, **variables: object) -> str:
    args = f"-o UserKnownHostsFile={lab.known_hosts}"
    own: dict[str, object] = {"ansible_host": lab.hosts[0].address, "ansible_ssh_common_args": args}
    return inventory(tmp_path / "hosts.yml", {"one": own | variables}, ansible_user="deploy")


@pytest.mark.parametrize("named", [True, False])
def test_a_locked_key_is_used_through_the_agent(
    site: Site, lab: Lab, tmp_path: Path, home: Path, own_key: Key, *, named: bool
) -> None:
    variables = {"ansible_ssh_private_key_file": str(own_key.file)} if named else {}
    listed = one_host(lab, tmp_path, **variables)
    site.write([task("trust-agent", sleeper(site))])
    journal = Journal.from_now(lab.hosts[0])
    with agent(tmp_path, own_key.file) as place:
        lock(own_key)
        run = site.run("-i", listed, "--check", env=at_home(home, SSH_AUTH_SOCK=place))

    assert (run.code, run.outcomes) == (0, {"one": "would_change"}), run.finished
    assert keys_offered(journal) == {own_key.fingerprint}


def test_a_locked_key_with_nobody_to_ask_is_a_clear_error_and_no_wait(
    site: Site, lab: Lab, tmp_path: Path, home: Path, own_key: Key
) -> None:
    lock(own_key)
    listed = one_host(lab, tmp_path, ansible_ssh_private_key_file=str(own_key.file))
    site.write([task("trust-locked", sleeper(site))])
    began = time.monotonic()

    run = site.run("-i", listed, "--check", env=at_home(home))

    assert (run.code, cause(run, "one")) == (3, "key_locked")
    assert str(own_key.file) in run.finished["one"]["failure"]["message"]
    assert "ssh-add" in run.finished["one"]["failure"]["hint"]
    assert time.monotonic() - began < 10


def test_the_passphrase_is_asked_at_the_terminal_once_for_all_hosts(
    site: Site, lab: Lab, tmp_path: Path, home: Path, own_key: Key
) -> None:
    lock(own_key)
    public = own_key.file.with_name(f"{own_key.file.name}.pub").read_text()
    common = as_deploy(lab) | {"ansible_ssh_private_key_file": str(own_key.file)}
    listed = inventory(tmp_path / "hosts.yml", hosts_of(lab), **common)
    site.write([task("trust-passphrase", sleeper(site))], hosts="host1,host3")
    with (
        authorized(lab.hosts[2], public),
        LiveRun(site, "-i", listed, "--check", env=at_home(home), terminal=True) as live,
    ):
        live.answer(f"Passphrase of {own_key.file}", PASSPHRASE)
        run = live.end()

    assert (run.code, run.outcomes) == (0, {"host1": "would_change", "host3": "would_change"}), run.finished
    assert live.screen.count("Passphrase of") == 1
    assert PASSPHRASE not in live.screen


def test_a_wrong_passphrase_is_asked_for_once_and_refused(
    site: Site, lab: Lab, tmp_path: Path, home: Path, own_key: Key
) -> None:
    lock(own_key)
    common = as_deploy(lab) | {"ansible_ssh_private_key_file": str(own_key.file)}
    listed = inventory(tmp_path / "hosts.yml", hosts_of(lab), **common)
    site.write([task("trust-passphrase", sleeper(site))], hosts="host1,host3")
    with LiveRun(site, "-i", listed, "--check", env=at_home(home), terminal=True) as live:
        live.answer(f"Passphrase of {own_key.file}", "not it")
        run = live.end(seconds=30)

    assert run.code == 3
    assert {cause(run, host) for host in ("host1", "host3")} == {"key_locked"}
    assert live.screen.count("Passphrase of") == 1


def test_only_the_named_key_is_offered_and_a_wrong_one_is_named_in_the_hint(
    site: Site, lab: Lab, tmp_path: Path, home: Path
) -> None:
    wrong, default = tmp_path / "wrong", home / ".ssh" / "id_ed25519"
    make_key(wrong, comment="wrong")
    shutil.copy(lab.key, default)  # would be let in, and must not be tried
    listed = one_host(lab, tmp_path, ansible_ssh_private_key_file=str(wrong))
    site.write([task("trust-wrong-key", sleeper(site))])
    journal = Journal.from_now(lab.hosts[0])
    with agent(tmp_path, lab.key) as place:
        run = site.run("-i", listed, env=at_home(home, SSH_AUTH_SOCK=place))

    assert (run.code, cause(run, "one")) == (3, "auth_failed")
    assert "deploy" in run.finished["one"]["failure"]["message"]
    assert str(wrong) in run.finished["one"]["failure"]["hint"]
    assert keys_offered(journal) == {fingerprint(wrong)}
    assert not exists(lab.hosts[0], "/opt/trust-wrong-key")


def test_without_a_named_key_the_default_one_is_used(
    site: Site, lab: Lab, tmp_path: Path, home: Path
) -> None:
    shutil.copy(lab.key, home / ".ssh" / "id_ed25519")
    site.write([task("trust-default-key", sleeper(site))])

    run = site.run("-i", one_host(lab, tmp_path), "--check", env=at_home(home))

    assert (run.code, run.outcomes) == (0, {"one": "would_change"}), run.finished


def test_a_key_that_is_not_there_is_named(site: Site, lab: Lab, tmp_path: Path, home: Path) -> None:
    missing, garbage = tmp_path / "missing", tmp_path / "garbage"
    garbage.write_text("this is not a key\n")
    site.write([task("trust-no-key", sleeper(site))])
    for file in (missing, garbage):
        listed = one_host(lab, tmp_path, ansible_ssh_private_key_file=str(file))
        run = site.run("-i", listed, "--check", env=at_home(home))
        assert (run.code, cause(run, "one")) == (3, "no_key")
        assert str(file) in run.finished["one"]["failure"]["message"]
