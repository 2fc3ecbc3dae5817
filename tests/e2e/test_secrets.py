"""A secret is in the environment of the service and in the `.env` of its releases, and nowhere else."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e.machine import environ, releases, shell
from tests.e2e.site import Run, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

SERVICE = "keeps-secrets"
PLACES = "/opt /etc /usr/local /var/lib/deployer /var/lib/unless-stopped /run /tmp /var/tmp /home /root"

STAYS = "#!/bin/sh\nwhile :; do sleep 1; done\n"
# It crashes over and over; of its log 20 lines are shown, from any moment of that: more than one turn.
TELLS = """#!/bin/sh
printf "%s\\n" "PASSWORD=$PASSWORD" "TOKEN=$TOKEN" "KEY=$KEY" "LEVEL=$LEVEL"
echo "and again: $PASSWORD" >&2
exit 3
"""
ANSWERS = f"cat /opt/{SERVICE}/current/.env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Secrets, each around a random word of its own that must be found nowhere."""

    password: str  # in the env_file
    token: str  # in a variable of the command line's @file
    key: str  # of two lines, in a host's variables
    words: tuple[str, ...]

    @classmethod
    def new(cls) -> Planted:
        words = tuple(f"s3cr3t{secrets.token_hex(12)}" for _ in range(4))
        return cls(
            password=f"{words[0]}",
            token=f"it's \"${words[1]} \\n",
            key=f"-----BEGIN {words[2]}-----\n{words[3]}==\n",
            words=words,
        )

    def assert_absent(self, text: str, what: str) -> None:
        for word in self.words:
            assert word not in text, f"a secret is in {what}: {text[max(0, text.index(word) - 300) :][:600]}"


@dataclass(slots=True)
class ArgvSampler:
    """Reads every /proc/*/cmdline of this machine again and again; hosts are containers, so theirs too."""

    seen: set[bytes] = field(default_factory=set)
    rounds: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._sample)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.05):  # a run takes longer than that, and has one argv all the time
            self.rounds += 1
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    try:
                        self.seen.add((process / "cmdline").read_bytes())
                    except OSError:  # it has ended
                        continue


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Everything that was said and seen while secrets were deployed, shown, reverted and mistyped."""

    site: Site
    planted: Planted
    runs: dict[str, Run]
    argv: ArgvSampler
    argv_on_host: str


@contextmanager
def sampling_on(host: TestHost, into: list[str]) -> Iterator[None]:
    """The same from inside and without a pause, for processes there live for milliseconds."""
    script = """
        while [ ! -e "$1.stop" ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "; done >"$1"
        mv "$1" "$1.all"
    """
    shell(host, 'systemd-run --quiet --unit=argv-sampler sh -c "$1" sh /root/argv', script)
    try:
        yield
    finally:
        shell(host, "touch /root/argv.stop; while systemctl -q is-active argv-sampler; do sleep 0.05; done")
        into.append(shell(host, "cat /root/argv.all; rm /root/argv.*"))


def variables_file(site: Site, name: str, content: dict[str, Any]) -> None:
    (site.folder / name).parent.mkdir(exist_ok=True)
    (site.folder / name).write_text(yaml.safe_dump(content))


def service(**keys: Any) -> dict[str, Any]:
    service: dict[str, Any] = {
        "name": SERVICE,
        "binary": "stays",
        "env_file": "app.env",
        "environment": {"TOKEN": "{{ token }}", "KEY": "{{ key }}", "LEVEL": "info"},
        "healthcheck": {"stay_up": "300ms"},
    }
    return {"name": SERVICE, "service": service | keys}


UNHEALTHY = {
    "test": ["CMD-SHELL", f"{ANSWERS} | tr '\\n' ' '; exit 1"],
    "interval": "100ms",
    "retries": 2,
    "start_period": "0s",
}
MISPLACED: tuple[dict[str, Any], ...] = (
    {"keep_releases": "{{ token }}"},
    {"user": "{{ key }}"},
    {"healthcheck": {"test": "http://{{ token }}/"}},
    {"healthcheck": {"test": "{{ token }}", "retries": "{{ key }}"}},
    {"restart": "{{ token }}"},
    {"stop_grace_period": "{{ token }}"},
    {"environment": {"A": ["{{ token }}"]}},
    {"environment": {"A": "{{ token.x }}"}},
    {"environment": {"A": "{{ token + 1 }}"}},
    {"environment": "{{ token }}"},
    {"ports": ["{{ token }}"]},
    {"name": "{{ token }}"},
)


def misspelled(planted: Planted) -> str:
    """An env_file with a secret in every place where a mistake could show it."""
    return (
        f"PASS WORD={planted.password}\n"
        f"{planted.password} {planted.words[0]}=\n"
        f"1{planted.password}=x\n"
        f"A=${{{planted.password}:x\n"
        f"B=${{X:?{planted.password}}}\n"
        f"C='{planted.password}\n"
    )


@pytest.fixture(scope="module")
def told(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Told:
    site = Site(folder=tmp_path_factory.mktemp("secrets"), lab=lab)
    planted = Planted.new()
    (site.folder / "stays").write_text(STAYS)
    (site.folder / "tells").write_text(TELLS)
    env_file = site.folder / "app.env"
    env_file.write_text(f"PASSWORD={planted.password}\n")
    variables_file(site, "vars.yml", {"token": planted.token})
    variables_file(site, "host_vars/host1.yml", {"key": planted.key})
    extra = ("-e", "@vars.yml")
    argv, runs = ArgvSampler(), {}
    on_host: list[str] = []

    def both_ways(what: str, *args: str) -> None:
        """With --json, and as log lines."""
        runs[f"{what}, json"] = site.run(*extra, *args)
        runs[f"{what}, plain"] = site.deployer("run", "site.yml", *extra, *args)

    with argv.running(), sampling_on(lab.hosts[0], on_host):
        site.write([service()], hosts="host1")
        both_ways("check of a first release", "--check", "--diff")
        runs["first"] = site.run(*extra)
        runs["unchanged"] = site.run(*extra)
        env_file.write_text(f"PASSWORD=new-{planted.password}\nMORE={planted.words[0]}\n")
        both_ways("check of a change", "--check", "--diff")
        runs["changed"] = site.deployer("run", "site.yml", "--diff", *extra)
        site.write([service(binary="tells")], hosts="host1")
        both_ways("crash")
        command = {"name": "ask", "command": ["sh", "-c", f"{ANSWERS}; exit 1"]}
        site.write([service(stop_grace_period="5s"), command], hosts="host1")
        both_ways("failing command")
        site.write([service(stop_grace_period="6s", healthcheck=UNHEALTHY)], hosts="host1")
        both_ways("unhealthy")

    env_file.write_text(misspelled(planted))
    site.write([service()], hosts="host1")
    runs["misspelled env_file"] = site.run(*extra)
    env_file.write_text("PASSWORD=x\n")
    site.write([service(**keys) for keys in MISPLACED], hosts="host1")
    runs["misplaced secrets"] = site.run(*extra)
    site.write([service()], hosts="host1")
    for broken in (f"token: {planted.password}: x\n", f"token: '{planted.password}\n"):
        (site.folder / "broken.yml").write_text(broken)
        runs[f"broken @file {broken!r}"] = site.run("-e", "@broken.yml")
    (site.folder / "host_vars/host1.yml").write_text(broken)
    runs["broken host_vars"] = site.run(*extra)
    return Told(site=site, planted=planted, runs=runs, argv=argv, argv_on_host=on_host[0])


@pytest.mark.hosts
def test_the_runs_went_as_they_were_meant_to(told: Told) -> None:
    """Else the tests below would prove nothing."""
    meant = {"check": 0, "first": 0, "unchanged": 0, "changed": 0, "crash": 1, "failing": 1, "unhealthy": 1}
    for what, run in told.runs.items():
        assert run.code == meant.get(re.split(r"[ ,]", what)[0], 2), (what, run)
    assert told.runs["misspelled env_file"].stderr.count("error: ") == 6
    assert told.runs["misplaced secrets"].stderr.count("error: ") >= len(MISPLACED)


@pytest.mark.hosts
def test_the_process_was_given_the_secrets(told: Told) -> None:
    seen = environ(told.site.lab.hosts[0], SERVICE)
    assert seen["PASSWORD"] == f"new-{told.planted.password}"
    assert (seen["TOKEN"], seen["KEY"]) == (told.planted.token, told.planted.key)


@pytest.mark.hosts
def test_no_output_shows_a_secret(told: Told) -> None:
    for what, run in told.runs.items():
        told.planted.assert_absent(run.stdout, f"standard output of: {what}")
        told.planted.assert_absent(run.stderr, f"standard error of: {what}")


@pytest.mark.hosts
def test_evidence_shows_stars_for_secrets(told: Told) -> None:
    journal = told.runs["crash, json"].finished["host1"]["failure"]["evidence"]["journal"]
    assert any(line.endswith("and again: ***") for line in journal), journal
    assert any(line.endswith("LEVEL=info") for line in journal), journal
    assert "PASSWORD=***" in told.runs["crash, plain"].stdout
    answer = told.runs["unhealthy, json"].finished["host1"]["failure"]["evidence"]["answer"]
    assert "PASSWORD=***" in answer
    (command,) = told.runs["failing command, json"].named("command_finished")
    assert "PASSWORD=***" in command["output"]


@pytest.mark.hosts
def test_no_argv_holds_a_secret(told: Told) -> None:
    everything = b"\n".join(told.argv.seen).decode(errors="replace")
    told.planted.assert_absent(everything, "an argv of this machine or of the host, seen from outside")
    told.planted.assert_absent(told.argv_on_host, "an argv of the host")
    # The samplers were awake: they saw the run itself, and what it runs on the host.
    assert told.argv.rounds > 100
    assert "-m\0deployer\0run\0site.yml" in everything
    for seen in (everything.replace("\0", " "), told.argv_on_host):
        assert "sudo -n -u root -- sh -c" in seen
        assert f"/opt/{SERVICE}/current/stays" in seen


@pytest.mark.hosts
def test_no_file_on_the_host_but_a_releases_env_holds_a_secret(told: Told) -> None:
    host = told.site.lab.hosts[0]
    patterns = " ".join(f"-e {word}" for word in told.planted.words)
    # The journal holds what the service itself printed.
    grep = "grep --recursive --files-with-matches --fixed-strings --devices=skip --exclude-dir=journal"
    found = shell(host, f"{grep} {patterns} {PLACES} 2>/dev/null", check=False).split()
    assert found, "the releases' own .env files must be found"
    own = re.compile(rf"/opt/{SERVICE}/releases/[^/.][^/]*/\.env")
    assert [path for path in found if not own.fullmatch(path)] == []
    assert len(found) == len(releases(host, SERVICE))


@pytest.mark.hosts
def test_neither_systemd_nor_sudo_nor_sshd_tells_a_secret(told: Told) -> None:
    host = told.site.lab.hosts[0]
    told.planted.assert_absent(shell(host, f"systemctl show {SERVICE}"), "systemctl show")
    log = shell(host, "journalctl --quiet -o cat -t sudo -t sshd -t sshd-session -t systemd -t useradd")
    assert "COMMAND=" in log
    told.planted.assert_absent(log, "the host's log")


@pytest.mark.hosts
def test_no_name_or_record_is_derived_from_a_secret(told: Told) -> None:
    host = told.site.lab.hosts[0]
    names = shell(host, "find /opt /etc/systemd /var/lib/deployer /usr/local | sort")
    records = shell(host, f"cat /opt/{SERVICE}/releases/*/release.json")
    said = "".join(run.stdout + run.stderr for run in told.runs.values())
    env_files = shell(host, f"sha256sum /opt/{SERVICE}/releases/*/.env").split()[::2]
    digests = [
        hashlib.sha256(value.encode()).hexdigest()
        for value in (told.planted.password, told.planted.token, told.planted.key, *told.planted.words)
    ]
    assert '"release"' in records
    for text in (names, records, said):
        told.planted.assert_absent(text, "names, records or output")
        assert not any(digest[:8] in text for digest in [*digests, *env_files])


@pytest.mark.hosts
def test_nothing_of_a_secret_is_left_on_this_machine_beside_what_the_user_wrote(told: Told) -> None:
    words = [part for word in told.planted.words for part in ("-e", word)]
    records = Path(os.environ["XDG_STATE_HOME"]) / "deployer/runs"
    assert any(str(told.site.folder) in file.read_text() for file in records.iterdir())  # of these runs, too
    grep = ["grep", "-rlF", "--devices=skip", *words, str(told.site.folder), str(records)]
    found = subprocess.run(grep, capture_output=True, text=True, check=False).stdout.split()
    wrote = {"app.env", "vars.yml", "broken.yml", "host1.yml"}
    assert {Path(path).name for path in found} <= wrote
