"""An upload costs as little as the host allows: counted in bytes that its network interface received."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine import answers, current, releases, shell
from tests.e2e.programs import script, task

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost

pytestmark = pytest.mark.hosts

WITHOUT_ZSTD, WITH_ZSTD = "host1", "host2"
BOTH = f"{WITHOUT_ZSTD},{WITH_ZSTD}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's runs keep binaries; empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/deployer/binaries"


def received(host: TestHost) -> int:
    """Bytes that came to the host so far, of all protocols and with all headers."""
    lines = host.nsenter(["cat", "/proc/net/dev"]).stdout.decode().splitlines()[2:]
    counts = (line.split(":") for line in lines)
    return sum(int(numbers.split()[0]) for name, numbers in counts if name.strip() != "lo")


def staged(run: Run) -> dict[str, dict[str, Any]]:
    """release_staged by host."""
    return {record["host"]: record for record in run.named("release_staged")}


def deploy(site: Site, *args: str) -> Run:
    run = site.run(*args)
    assert (run.code, set(run.outcomes.values())) == (0, {"changed"}), run
    return run


def program(site: Site, text: str = "exec sleep infinity", *, size: int = 200_000) -> str:
    """Write a service that is mostly noise, the same each time, and ends in `text`; its path."""
    noise = base64.b64encode(hashlib.shake_128(b"noise").digest(size * 3 // 4)).decode()
    return script(site, "program", "\n".join([*(f"# {line}" for line in re.findall(".{1,80}", noise)), text]))


def digest(host: TestHost, path: str) -> str:
    return hashlib.sha256(host.nsenter(["cat", path]).stdout).hexdigest()


def test_a_small_upgrade_costs_a_patch_or_a_compressed_binary(site: Site) -> None:
    name, port = "upgraded", 20701
    without, having = site.lab.hosts[:2]
    site.write([site.service(name, binary=site.binary("1.0.0"), port=port)], hosts=BOTH)
    first = deploy(site)
    assert {host: event["encoding"] for host, event in staged(first).items()} == {
        WITHOUT_ZSTD: "gzip",
        WITH_ZSTD: "zstd",
    }
    before = {host.name: received(host) for host in (without, having)}
    binary = site.binary("1.0.1")
    site.write([site.service(name, binary=binary, port=port)], hosts=BOTH)

    run = deploy(site)

    size = (site.folder / binary).stat().st_size
    wire = {host.name: received(host) - before[host.name] for host in (without, having)}
    events = staged(run)
    assert {host: event["encoding"] for host, event in events.items()} == {
        WITHOUT_ZSTD: "gzip",
        WITH_ZSTD: "patch",
    }
    assert wire[WITH_ZSTD] < 0.27 * size
    assert wire[WITHOUT_ZSTD] < 0.56 * size
    for host in (without, having):
        event = events[host.name]
        assert event["sent"] < wire[host.name] < event["sent"] * 1.2 + 100_000
        assert event["sent"] + event["saved"] == size
        assert answers(host, port, "1.0.1")
        assert (
            host.read(f"/opt/{name}/releases/{current(host, name)}/gin-api-template")
            == (site.folder / binary).read_bytes()
        )


def test_a_binary_that_a_host_has_in_any_release_is_not_sent(site: Site) -> None:
    name = "known"
    hosts = site.lab.hosts[:2]

    def bring(text: str, *, outcome: str = "changed", **keys: Any) -> Run:
        site.write([task(name, program(site, text), **keys)], hosts=BOTH)
        run = site.run()
        assert set(run.outcomes.values()) == {outcome}, run
        return run

    one, two, bad = "exec sleep infinity", "exec sleep 1000000", "test -e /srv/known && exec sleep infinity"
    bring(one)
    bring(two)
    bring(bad, outcome="reverted")
    shell(hosts[0], "touch /srv/known")
    shell(hosts[1], "touch /srv/known")
    first = {host.name: releases(host, name)[0] for host in hosts}
    assert site.deployer("rollback", "site.yml").code == 0
    assert {host.name: current(host, name) for host in hosts} == first

    moved = {
        "forward again": bring(two),
        "the tag was moved back": bring(one),
        "what failed, and can live now": bring(bad),
        "another environment": bring(bad, environment={"A": "1"}),
    }
    (site.folder / "program").rename(site.folder / "renamed")
    site.write([task(name, "renamed", environment={"A": "1"})], hosts=BOTH)
    moved["another name"] = deploy(site)

    for what, run in moved.items():
        assert {event["encoding"] for event in staged(run).values()} == {"link"}, what
        assert all(event["sent"] < 10_000 for event in staged(run).values()), what
        assert not run.named("upload_fell_back"), what
    wanted = hashlib.sha256((site.folder / "renamed").read_bytes()).hexdigest()
    assert {digest(host, f"/opt/{name}/current/renamed") for host in hosts} == {wanted}


def test_what_a_patch_was_to_be_made_from_is_damaged_on_the_host(site: Site) -> None:
    name = "tampered"
    host = site.lab.hosts[1]
    for text in ("exec sleep infinity", "exec sleep 1000000"):
        site.write([task(name, program(site, text))], hosts=WITH_ZSTD)
        deploy(site)
    older, newer = releases(host, name)
    spoil = 'tr 0-9 1-90 <"$1" >"$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1"'

    # The current one, so that the file is not what its release's name says.
    shell(host, spoil, f"/opt/{name}/releases/{newer}/program")
    site.write([task(name, program(site, "exec sleep 2000000"))], hosts=WITH_ZSTD)
    run = deploy(site)
    assert staged(run)[WITH_ZSTD]["encoding"] == "zstd"
    assert [fell["encoding"] for fell in run.named("upload_fell_back")] == ["patch"]

    # All of them, the current one under a name that it never had.
    for release in releases(host, name):
        shell(host, spoil, f"/opt/{name}/releases/{release}/program")
    (site.folder / "program").rename(site.folder / "renamed")
    (site.folder / "renamed").write_bytes((site.folder / "renamed").read_bytes() + b"# newer\n")
    site.write([task(name, "renamed")], hosts=WITH_ZSTD)
    run = deploy(site)
    (fell,) = run.named("upload_fell_back")
    assert (fell["host"], fell["service"], fell["encoding"]) == (WITH_ZSTD, name, "patch")
    event = staged(run)[WITH_ZSTD]
    assert event["encoding"] == "zstd"
    wanted = (site.folder / "renamed").read_bytes()
    assert digest(host, f"/opt/{name}/current/renamed") == hashlib.sha256(wanted).hexdigest()
    assert releases(host, name)[0] == older
    assert len(releases(host, name)) == 4


@pytest.mark.parametrize("damage", ["gone", "cut", "forged"])
def test_trouble_with_what_is_kept_here_costs_a_whole_upload_and_nothing_else(
    site: Site, cache: Path, damage: str
) -> None:
    name = f"cache-{damage}"
    site.write([task(name, program(site))], hosts=WITH_ZSTD)
    deploy(site)
    (kept,) = cache.iterdir()
    match damage:
        case "gone":
            kept.unlink()
            kept.parent.rmdir()
            kept.parent.write_text("in the way")
        case "cut":
            kept.write_bytes(kept.read_bytes()[:1000])
        case "forged":
            kept.write_bytes(b"no zstd at all")
    site.write([task(name, program(site, "exec sleep 1000000"))], hosts=WITH_ZSTD)
    run = deploy(site)
    assert staged(run)[WITH_ZSTD]["encoding"] == "zstd"
    assert run.named("upload_fell_back") == []
    assert run.stderr.count("binaries are not kept for later uploads") == (damage == "gone")


def test_bwlimit_is_for_all_hosts_together_and_nobody_is_given_up_meanwhile(site: Site) -> None:
    """Half a megabyte for each of two hosts, at 128 KiB a second; the hosts go back after 3 s of silence."""
    site.write([task("slow", program(site, size=500_000))], hosts="host1,host3")
    run = deploy(site, "--bwlimit", "128k", "--deadline", "3s")
    events = staged(run)
    sent = sum(event["sent"] for event in events.values())
    assert sent > 700_000
    started = dt.datetime.fromisoformat(run.named("run_started")[0]["time"])
    ended = max(dt.datetime.fromisoformat(event["time"]) for event in events.values())
    # What was sent last need not be waited for.
    assert (ended - started).total_seconds() > (sent - 2 * 65_536) / (128 * 1024)
    for host in (site.lab.hosts[0], site.lab.hosts[2]):
        assert shell(host, "systemctl is-active slow") == "active\n"


def test_a_tool_of_the_host_that_does_not_work_costs_bytes_and_no_deploy(site: Site) -> None:
    host, name = site.lab.hosts[1], "no-tool"
    broken = "/usr/local/sbin/zstd"
    shell(host, 'printf "#!/bin/sh\\necho no such codec >&2\\nexit 1\\n" >"$1"; chmod 755 "$1"', broken)
    try:
        site.write([task(name, program(site))], hosts=WITH_ZSTD)
        run = deploy(site)
    finally:
        shell(host, 'rm "$1"', broken)
    (fell,) = run.named("upload_fell_back")
    assert fell["encoding"] == "zstd"
    assert "no such codec" in fell["detail"]
    assert staged(run)[WITH_ZSTD]["encoding"] == "gzip"
