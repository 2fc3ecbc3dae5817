"""What counts as healthy: every kind of test, asked from the host's point of view, and answered in time."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine import current, health, main_pid, shell, sshd_with
from tests.e2e.observed import active
from tests.e2e.programs import flapper, script, sleeper, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.site import Run, Site
    from tests.hosts.lab import Lab

pytestmark = pytest.mark.hosts

QUICK: dict[str, Any] = {
    "interval": "100ms",
    "timeout": "1s",
    "retries": 3,
    "start_period": "1s",
    "stay_up": "300ms",
}

TLS_SERVER = """
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"os"
)

func main() {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("over TLS")) })
	server := &http.Server{
		Addr:      ":" + os.Getenv("PORT"),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	panic(server.ListenAndServeTLS("", ""))
}
"""

SILENT = """
exec perl -MIO::Socket::INET -e '
  my $server = IO::Socket::INET->new(Listen => 9, LocalPort => $ENV{PORT}, ReuseAddr => 1) or die $!;
  my @held;
  push @held, $server->accept while 1;
'
"""
"""Takes every caller and never says a word."""


def tls_server(site: Site) -> str:
    source, binary = site.folder / "tls.go", site.folder / "tls-server"
    source.write_text(TLS_SERVER)
    settings = {"CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": "", "GOENV": "off"}
    subprocess.run(["go", "build", "-o", binary, source], check=True, env={**os.environ, **settings})
    return binary.name


def asked(name: str, binary: str, test: object, **keys: Any) -> dict[str, Any]:
    """A service task with this health test; keys of the health check are given in capitals."""
    check = QUICK | {"test": test} | {key.lower(): keys.pop(key) for key in list(keys) if key.isupper()}
    return task(name, binary, healthcheck=check, **keys)


def failure(run: Run, host: str) -> dict[str, Any]:
    found: dict[str, Any] = run.finished[host]["failure"]
    return found


def details(run: Run, service: str) -> list[str]:
    """What the service's health test answered, one after the other."""
    return [event["detail"] for event in run.named("health_probed") if event["service"] == service]


def test_every_kind_of_test_finds_a_healthy_service_healthy(site: Site, lab: Lab) -> None:
    sample = site.binary("1.0.0")
    in_its_place = (
        '[ "$(id -un)" = health-shell ] && [ "$(pwd -P)" = "$(readlink -f /opt/health-shell/current)" ]'
    )
    check = script(
        site,
        "health-cmd",
        'echo "$(id -un) $(id -gn) $(pwd -P)"; [ "$1 $2" = "two words " ] || exec sleep infinity',
    )
    site.write(
        [
            asked("health-tcp", sample, "tcp://127.0.0.1:25301", environment={"PORT": "25301"}),
            asked(
                "health-tls",
                tls_server(site),
                "https://127.0.0.1:25302/health",
                environment={"PORT": "25302"},
            ),
            asked("health-cmd", check, ["CMD", "./health-cmd", "two words", ""]),
            asked("health-shell", sleeper(site), ["CMD-SHELL", in_its_place]),
            asked("health-line", sleeper(site), in_its_place.replace("health-shell", "health-line")),
            asked("health-child", sleeper(site), ["CMD-SHELL", "sleep 45 & echo and a child stays"]),
            asked("health-none", sleeper(site), ["NONE"]),
            asked(
                "health-query",
                sample,
                "http://localhost:25303/health?a=1&b=%20",
                environment={"PORT": "25303"},
            ),
        ],
        hosts="host1,host2",
    )

    run = site.run()

    assert (run.code, run.outcomes) == (0, {"host1": "changed", "host2": "changed"}), run.finished
    assert run.named("probe_fell_back") == []
    assert details(run, "health-tcp")[-1] == "connected"
    assert details(run, "health-tls")[-1] == "200 over TLS"
    assert set(details(run, "health-child")) == {"and a child stays"}
    for host in lab.hosts[:2]:
        place = f"/opt/health-cmd/releases/{current(host, 'health-cmd')}"
        assert f"health-cmd health-cmd {place}" in details(run, "health-cmd")
        assert health(host, 25301)["version"] == "1.0.0"
    again = site.run()
    assert (again.code, again.outcomes) == (0, {"host1": "unchanged", "host2": "unchanged"})


def test_an_answer_that_is_not_ok_is_shown_and_a_first_release_is_stopped(site: Site, lab: Lab) -> None:
    bad = asked(
        "health-404", site.binary("1.0.0"), "http://127.0.0.1:25304/nope", environment={"PORT": "25304"}
    )
    site.write([bad], hosts="host1")

    run = site.run()
    as_text = site.deployer("run", "site.yml", "-i", str(lab.inventory))

    assert (run.code, run.outcomes) == (1, {"host1": "failed"})
    found = failure(run, "host1")
    assert found["cause"] == "unhealthy"
    assert found["service"] == "health-404"
    assert found["evidence"]["answer"] == "404 404 page not found"
    assert found["evidence"]["journal"]
    assert as_text.code == 1
    assert "404 page not found" in as_text.stdout
    assert active(lab.hosts[0], "health-404") == "inactive"


def test_a_port_nobody_listens_on_is_unhealthy(site: Site, lab: Lab) -> None:
    site.write([asked("health-closed", sleeper(site), "tcp://127.0.0.1:25305")], hosts="host1")

    run = site.run()

    assert (run.code, run.outcomes) == (1, {"host1": "failed"})
    assert failure(run, "host1")["cause"] == "unhealthy"
    assert failure(run, "host1")["evidence"]["answer"] == "cannot connect to 127.0.0.1 port 25305"
    assert active(lab.hosts[0], "health-closed") == "inactive"


def test_a_command_that_fails_is_unhealthy_and_its_words_are_shown(site: Site, lab: Lab) -> None:
    test = ["CMD-SHELL", "echo the database is asleep; exit 7"]
    site.write([asked("health-failing", sleeper(site), test)], hosts="host1")

    run = site.run()

    assert (run.code, run.outcomes) == (1, {"host1": "failed"})
    assert failure(run, "host1")["evidence"]["answer"] == "exit status 7: the database is asleep"
    assert active(lab.hosts[0], "health-failing") == "inactive"


@pytest.mark.parametrize("kind", ["http", "https", "cmd"])
def test_a_test_that_hangs_longer_than_its_timeout_is_a_failed_one(site: Site, lab: Lab, kind: str) -> None:
    name, port = f"health-hangs-{kind}", 25306 + ["http", "https", "cmd"].index(kind)
    test: object = ["CMD", "sleep", "60"] if kind == "cmd" else f"{kind}://127.0.0.1:{port}/"
    silent = script(site, "silent", SILENT)
    site.write(
        [asked(name, silent, test, TIMEOUT="300ms", START_PERIOD="0s", environment={"PORT": str(port)})],
        hosts="host1",
    )

    run = site.run()

    assert (run.code, run.outcomes) == (1, {"host1": "failed"})
    found = failure(run, "host1")
    assert found["cause"] == "unhealthy"
    assert len(details(run, name)) == 3
    assert run.finished["host1"]["seconds"] < 40  # each of them would go on for a minute
    if kind != "cmd":
        assert found["evidence"]["answer"] == "no answer within 0.3 s"
    assert active(lab.hosts[0], name) == "inactive"
    assert (
        shell(
            lab.hosts[0], "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done", check=False
        ).count("sleep 60")
        == 0
    )


def test_without_a_health_test_a_service_has_to_stay_up(site: Site, lab: Lab) -> None:
    host = lab.hosts[0]
    site.write([task("health-stays", sleeper(site))], hosts="host1")
    assert site.run().code == 0
    before = current(host, "health-stays")
    brief = script(site, "brief", "echo cannot go on; sleep 0.7; exit 3")
    check = {"disable": True, "stay_up": "1500ms"}
    site.write([task("health-stays", brief, healthcheck=check)], hosts="host1")

    run = site.run()

    assert (run.code, run.outcomes) == (1, {"host1": "reverted"}), run.finished
    found = failure(run, "host1")
    assert found["service"] == "health-stays"
    assert found["cause"] in {"crashed", "not_running"}
    assert any("cannot go on" in line for line in found["evidence"]["journal"])
    assert current(host, "health-stays") == before
    assert active(host, "health-stays") == "active"
    assert main_pid(host, "health-stays") > 0
    assert b"sleep" in host.nsenter(["cat", f"/proc/{main_pid(host, 'health-stays')}/cmdline"]).stdout

    site.write([task("health-brief", brief, healthcheck=check)], hosts="host1")
    first = site.run()
    assert (first.code, first.outcomes) == (1, {"host1": "failed"})
    assert failure(first, "host1")["cause"] in {"crashed", "not_running"}
    assert active(host, "health-brief") in {"inactive", "failed"}


def test_a_release_that_is_well_now_and_then_goes_back(site: Site, lab: Lab) -> None:
    host, url = lab.hosts[0], "http://127.0.0.1:25315/health"
    keys: dict[str, Any] = {"environment": {"PORT": "25315"}, "INTERVAL": "1s"}
    site.write([asked("health-flaps", site.binary("1.0.0"), url, **keys)], hosts="host1")
    assert site.run().code == 0
    before = current(host, "health-flaps")
    flaps = asked("health-flaps", flapper(site), url, RETRIES=5, STAY_UP="3s", **keys)
    site.write([flaps], hosts="host1")

    run = site.run()

    assert (run.code, run.outcomes) == (1, {"host1": "reverted"}), run.finished
    found = failure(run, "host1")
    assert (found["cause"], found["evidence"]["answer"]) == ("unhealthy", "503")
    assert "200" in details(run, "health-flaps")
    assert current(host, "health-flaps") == before
    assert health(host, 25315)["version"] == "1.0.0"
    assert run.finished["host1"]["seconds"] < 40


# -- servers that forbid forwarding ---------------------------------------------------------------------


@pytest.fixture
def forbidding(lab: Lab) -> Iterator[None]:
    """host1 and host2 forbid forwarding, each in one of sshd's two ways."""
    with (
        sshd_with(lab.hosts[0], "AllowTcpForwarding no"),
        sshd_with(lab.hosts[1], "DisableForwarding yes"),
    ):
        yield


@pytest.mark.usefixtures("forbidding")
def test_where_forwarding_is_forbidden_the_hosts_own_tools_test(site: Site, lab: Lab) -> None:
    sample = site.binary("1.0.0")
    site.write(
        [
            asked("health-own-http", sample, "http://127.0.0.1:25310/health", environment={"PORT": "25310"}),
            asked("health-own-tcp", sample, "tcp://127.0.0.1:25311", environment={"PORT": "25311"}),
        ],
        hosts="host1,host2,host3",
    )

    run = site.run()

    assert run.code == 0, run.finished
    assert set(run.outcomes.values()) == {"changed"}
    fell_back = {(event["host"], event["service"]) for event in run.named("probe_fell_back")}
    assert fell_back == {
        (host, service) for host in ("host1", "host2") for service in ("health-own-http", "health-own-tcp")
    }
    assert [health(host, 25310)["version"] for host in lab.hosts] == ["1.0.0"] * 3
    assert any(detail.startswith("200 {") for detail in details(run, "health-own-http"))


@pytest.mark.usefixtures("forbidding")
def test_where_forwarding_is_forbidden_a_sick_service_is_still_found_out(site: Site, lab: Lab) -> None:
    sample = site.binary("1.0.0")
    for name, test, answer in (
        ("health-own-404", "http://127.0.0.1:25312/nope", "404 404 page not found"),
        ("health-own-closed", "tcp://127.0.0.1:25313", "refused"),
    ):
        site.write([asked(name, sample, test, environment={"PORT": "25312"})], hosts="host1,host2")
        run = site.run()
        assert (run.code, run.outcomes) == (1, {"host1": "failed", "host2": "failed"})
        for host in lab.hosts[:2]:
            assert failure(run, host.name)["cause"] == "unhealthy"
            assert answer in failure(run, host.name)["evidence"]["answer"]
            assert active(host, name) == "inactive"


@pytest.mark.usefixtures("forbidding")
def test_where_nothing_can_ask_the_run_says_what_to_allow(site: Site, lab: Lab) -> None:
    site.write(
        [asked("health-no-probe", sleeper(site), "https://127.0.0.1:25314/health")], hosts="host1,host3"
    )

    run = site.run()

    assert (run.code, run.outcomes) == (1, {"host1": "failed", "host3": "failed"})
    assert failure(run, "host1")["cause"] == "no_probe"
    assert "AllowTcpForwarding" in failure(run, "host1")["hint"]
    assert failure(run, "host3")["cause"] == "unhealthy"
    assert active(lab.hosts[0], "health-no-probe") == "inactive"
