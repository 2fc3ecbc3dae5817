"""What differs from the playbook is put right by one release and one restart; what does not is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine import (
    answers,
    current,
    environ,
    eventually,
    health,
    inode,
    main_pid,
    releases,
    shell,
    stat,
    unit,
)
from tests.e2e.site import Run, Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hosts.host import TestHost
    from tests.hosts.lab import Lab

QUICK = {"interval": "200ms", "timeout": "2s", "retries": 20, "start_period": "5s", "stay_up": "200ms"}
BOTH_FLAVOURS = "host1,host2"

# A binary of a few bytes that stays up; what it is called with can be seen in its argv.
IDLER = "#!/bin/sh\nwhile :; do sleep 1; done\n"


def sample(site: Site, name: str, *, binary: str, port: int, **keys: Any) -> dict[str, Any]:
    check = {"test": f"http://127.0.0.1:{port}/health", **QUICK}
    environment = {"PORT": str(port), "GIN_MODE": "release"} | keys.pop("environment", {})
    return site.service(name, binary=binary, port=port, healthcheck=check, environment=environment, **keys)


def idler(site: Site, name: str, **keys: Any) -> dict[str, Any]:
    (site.folder / "idler").write_text(IDLER)
    return {"service": {"name": name, "binary": "idler", "healthcheck": {"stay_up": "0s"}, **keys}}


def deploy(site: Site, task: dict[str, Any], *, hosts: str = BOTH_FLAVOURS) -> Run:
    site.write([task], hosts=hosts)
    run = site.run()
    assert run.code == 0, run
    assert set(run.outcomes.values()) == {"changed"}, run
    return run


def both(site: Site) -> tuple[TestHost, ...]:
    return site.lab.hosts[:2]


def state_of(hosts: tuple[TestHost, ...], service: str) -> dict[str, dict[str, str]]:
    return {host.name: unit(host, service) for host in hosts}


def changed(run: Run, host: str) -> str:
    """What the plan said must change."""
    (planned,) = (record for record in run.named("host_planned") if record["host"] == host)
    return " ".join(planned["changes"])


@pytest.mark.hosts
def test_a_changed_binary_is_one_release_and_one_restart(site: Site) -> None:
    name, port = "new-binary", 20101
    deploy(site, sample(site, name, binary=site.binary("1.0.0"), port=port))
    before = state_of(both(site), name)
    old = {host.name: current(host, name) for host in both(site)}
    run = deploy(site, sample(site, name, binary=site.binary("2.0.0"), port=port))
    for host in both(site):
        assert changed(run, host.name).startswith(f"{name}: binary {old[host.name][-12:]} -> ")
        assert releases(host, name) == [old[host.name], current(host, name)]
        answer = health(host, port)
        assert (answer["version"], answer["starts"]) == ("2.0.0", 2)
        after = unit(host, name)
        assert after["MainPID"] != before[host.name]["MainPID"]
        assert after["InvocationID"] != before[host.name]["InvocationID"]
        assert after["NRestarts"] == "0"


@pytest.mark.hosts
def test_a_changed_value_is_one_release_that_shares_the_binary(site: Site) -> None:
    name, port = "new-value", 20102
    binary = site.binary("1.0.0")
    (site.folder / "app.env").write_text("GREETING=before\nKEPT=same\n")
    task = sample(site, name, binary=binary, port=port, env_file="app.env")
    deploy(site, task)
    old = {host.name: current(host, name) for host in both(site)}
    (site.folder / "app.env").write_text("GREETING='after $it'\nKEPT=same\n")
    run = deploy(site, task)
    size = (site.folder / binary).stat().st_size
    for staged in run.named("release_staged"):
        assert staged["size"] == size
        assert staged["sent"] < 10_000
    for host in both(site):
        assert changed(run, host.name) == f"{name}: environment"
        new = current(host, name)
        assert releases(host, name) == [old[host.name], new]
        first, second = (
            inode(host, f"/opt/{name}/releases/{release}/gin-api-template")
            for release in (old[host.name], new)
        )
        assert first == second
        seen = environ(host, name)
        assert (seen["GREETING"], seen["KEPT"], seen["PORT"]) == ("after $it", "same", str(port))
        assert health(host, port)["starts"] == 2
        assert unit(host, name)["NRestarts"] == "0"
        # The old release keeps the old value, so that going back brings it back.
        assert b"GREETING=before" in host.read(f"/opt/{name}/releases/{old[host.name]}/.env")


@pytest.mark.hosts
def test_a_changed_unit_key_is_one_release_and_one_restart(site: Site) -> None:
    name = "new-unit"
    deploy(site, idler(site, name, command=["first word"]))
    before = state_of(both(site), name)
    run = deploy(site, idler(site, name, command=["$HOME %n", "second"], stop_grace_period="7s"))
    for host in both(site):
        assert changed(run, host.name) == f"{name}: unit"
        assert len(releases(host, name)) == 2
        after = unit(host, name)
        assert after["InvocationID"] != before[host.name]["InvocationID"]
        assert (after["NRestarts"], after["NeedDaemonReload"]) == ("0", "no")
        argv = shell(host, 'tr "\\0" "\\n" <"/proc/$1/cmdline"', after["MainPID"]).splitlines()
        assert argv == ["/bin/sh", f"/opt/{name}/current/idler", "$HOME %n", "second"]
        assert shell(host, f"systemctl show -P TimeoutStopUSec {name}") == "7s\n"


def edit_unit(host: TestHost, name: str) -> None:
    shell(host, f"sed -i s/PrivateTmp=yes/PrivateTmp=no/ /etc/systemd/system/{name}.service")


def remove_unit(host: TestHost, name: str) -> None:
    shell(host, f"rm /etc/systemd/system/{name}.service && systemctl daemon-reload")


def edit_env(host: TestHost, name: str) -> None:
    shell(host, f"sed -i s/GREETING=hello/GREETING=edited/ /opt/{name}/current/.env")


def open_env_to_all(host: TestHost, name: str) -> None:
    shell(host, f"chmod 0644 /opt/{name}/current/.env")


def give_env_away(host: TestHost, name: str) -> None:
    shell(host, f"chown nobody /opt/{name}/current/.env")


def give_env_to_a_group(host: TestHost, name: str) -> None:
    shell(host, f"chgrp users /opt/{name}/current/.env")


def replace_binary(host: TestHost, name: str) -> None:
    shell(host, f"cd /opt/{name}/current && echo '#!/bin/false' >new && chmod 755 new && mv new idler")


def edit_binary_in_place(host: TestHost, name: str) -> None:
    shell(host, f"echo exit 1 >>/opt/{name}/current/idler")


DRIFTS: tuple[Callable[[TestHost, str], None], ...] = (
    edit_unit,
    remove_unit,
    edit_env,
    open_env_to_all,
    give_env_away,
    give_env_to_a_group,
    replace_binary,
    edit_binary_in_place,
)


def drifting(drift: Callable[[TestHost, str], None]) -> str:
    return f"drift-{drift.__name__.replace('_', '-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One service for each drift on both flavours; the run after the drifts, and the run after that."""

    site: Site
    unit_files: dict[tuple[str, str], bytes]  # by host and service
    run: Run
    again: Run


@pytest.fixture(scope="module")
def repaired(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Repaired:
    site = Site(folder=tmp_path_factory.mktemp("drifts"), lab=lab)
    names = [drifting(drift) for drift in DRIFTS]
    site.write(
        [idler(site, name, environment={"GREETING": "hello"}, user="drift-user") for name in names],
        hosts=BOTH_FLAVOURS,
    )
    first = site.run()
    assert first.code == 0, first
    unit_files = {
        (host.name, name): host.read(f"/etc/systemd/system/{name}.service")
        for host in both(site)
        for name in names
    }
    for host in both(site):
        for drift in DRIFTS:
            drift(host, drifting(drift))
    return Repaired(site=site, unit_files=unit_files, run=site.run(), again=site.run())


@pytest.mark.hosts
@pytest.mark.parametrize("drift", DRIFTS, ids=drifting)
def test_what_somebody_changed_on_the_host_is_put_right_by_one_release(
    repaired: Repaired, drift: Callable[[TestHost, str], None]
) -> None:
    assert repaired.run.code == 0, repaired.run
    name = drifting(drift)
    for host in both(repaired.site):
        assert name in changed(repaired.run, host.name)
        assert len(releases(host, name)) == 2
        assert host.read(f"/etc/systemd/system/{name}.service") == repaired.unit_files[host.name, name]
        assert host.read(f"/opt/{name}/current/.env").endswith(b"\nGREETING=hello\n")
        assert stat(host, f"/opt/{name}/current/.env") == "regular file 640 root:drift-user"
        assert host.read(f"/opt/{name}/current/idler") == IDLER.encode()
        assert environ(host, name)["GREETING"] == "hello"
        assert unit(host, name)["ActiveState"] == "active"
        assert unit(host, name)["NeedDaemonReload"] == "no"


@pytest.mark.hosts
def test_what_was_put_right_stays_right(repaired: Repaired) -> None:
    assert repaired.again.outcomes == {host.name: "unchanged" for host in both(repaired.site)}


@pytest.mark.hosts
def test_keep_releases_prunes_the_oldest(site: Site) -> None:
    name, host = "pruned", site.lab.hosts[0]
    made = []
    for value in ("1", "2", "3", "4"):
        deploy(site, idler(site, name, keep_releases=2, environment={"VALUE": value}), hosts="host1")
        made.append(current(host, name))
    assert releases(host, name) == made[-2:]
    assert environ(host, name)["VALUE"] == "4"


@pytest.mark.hosts
def test_the_current_release_is_kept_even_where_others_claim_to_be_newer(site: Site) -> None:
    name, host = "pruned-late", site.lab.hosts[0]
    deploy(site, idler(site, name, keep_releases=2, environment={"VALUE": "1"}), hosts="host1")
    previous = current(host, name)
    # As a controller with a clock in the future would have left them.
    future = [f"2099010{day}T000000Z-0123456789ab" for day in (1, 2, 3)]
    for release in future:
        shell(host, 'cp -a "/opt/$1/current/." "/opt/$1/releases/$2"', name, release)
    deploy(site, idler(site, name, keep_releases=2, environment={"VALUE": "2"}), hosts="host1")
    assert releases(host, name) == [previous, current(host, name)]
    assert environ(host, name)["VALUE"] == "2"
    assert host.read(f"/opt/{name}/current/idler") == IDLER.encode()


@pytest.mark.hosts
def test_a_failed_service_is_started_again_without_a_new_release(site: Site) -> None:
    name = "killed"
    task = idler(site, name, restart="no")
    deploy(site, task)
    for host in both(site):
        shell(host, f"systemctl kill --signal=KILL {name}")
        eventually(lambda host=host: unit(host, name)["ActiveState"] == "failed", what="the failure")  # type: ignore[misc]
    run = deploy(site, task)
    assert run.named("release_staged") == []
    for host in both(site):
        assert changed(run, host.name) == f"{name}: it is failed"
        assert unit(host, name)["ActiveState"] == "active"
        assert len(releases(host, name)) == 1


@pytest.mark.hosts
def test_a_killed_service_comes_back_by_itself_and_is_then_unchanged(site: Site) -> None:
    name, host = "comes-back", site.lab.hosts[1]
    deploy(site, idler(site, name), hosts="host2")
    before = main_pid(host, name)
    shell(host, f"systemctl kill --signal=KILL {name}")
    eventually(lambda: main_pid(host, name) not in (0, before), what="the restart")
    run = site.run()
    assert (run.code, run.outcomes) == (0, {"host2": "unchanged"})


@pytest.mark.hosts
def test_a_service_that_crashes_over_and_over_is_not_called_unchanged(site: Site) -> None:
    """It has no health test that could tell, and the release matches."""
    name, host = "loops", site.lab.hosts[0]
    (site.folder / "needy").write_text("#!/bin/sh\n[ -e /srv/loops ] || exit 3\nexec sleep infinity\n")
    shell(host, "touch /srv/loops")
    deploy(site, idler(site, name, binary="needy"), hosts="host1")
    shell(host, "rm /srv/loops; systemctl kill --signal=KILL loops")
    eventually(lambda: int(unit(host, name)["NRestarts"]) > 4, what="a few crashes")
    eventually(lambda: unit(host, name)["ActiveState"] == "activating", what="a pause between two")
    run = site.run()
    assert (run.code, run.outcomes) == (4, {"host1": "failed"}), run
    assert run.finished["host1"]["needs_person"] is True
    assert run.finished["host1"]["failure"]["cause"] == "crashed"
    assert len(releases(host, name)) == 1

    shell(host, "touch /srv/loops")
    again = site.run()
    assert again.code == 0, again
    assert unit(host, name)["ActiveState"] == "active"


@pytest.mark.hosts
def test_a_run_leaves_a_service_stopped_that_its_operator_stopped(site: Site) -> None:
    name, port = "stopped", 20103
    task = sample(site, name, binary=site.binary("1.0.0"), port=port)
    deploy(site, task)
    old = {host.name: current(host, name) for host in both(site)}
    for host in both(site):
        shell(host, f"systemctl stop {name}")

    unchanged = site.run()
    assert (unchanged.code, set(unchanged.outcomes.values())) == (0, {"operator_stopped"}), unchanged
    for host in both(site):
        assert unchanged.finished[host.name]["services"] == [name]
        assert unchanged.finished[host.name]["changed"] is False
        assert unit(host, name)["ActiveState"] == "inactive"
        assert releases(host, name) == [old[host.name]]

    site.write([sample(site, name, binary=site.binary("2.0.0"), port=port)], hosts=BOTH_FLAVOURS)
    run = site.run()
    assert (run.code, set(run.outcomes.values())) == (0, {"operator_stopped"}), run
    for host in both(site):
        assert run.finished[host.name]["changed"] is True
        assert unit(host, name)["ActiveState"] == "inactive"
        assert unit(host, name)["MainPID"] == "0"
        assert releases(host, name) == [old[host.name], current(host, name)]

    again = site.run()
    assert (again.code, set(again.outcomes.values())) == (0, {"operator_stopped"}), again
    for host in both(site):
        assert unit(host, name)["ActiveState"] == "inactive"
        shell(host, f"systemctl start {name}")
        eventually(lambda host=host: answers(host, port, "2.0.0"), what="the new release")  # type: ignore[misc]
    assert set(site.run().outcomes.values()) == {"unchanged"}


def digest_of_everything(host: TestHost) -> list[str]:
    """Names, modes, owners, times and contents of all that a deploy writes to, users and units."""
    script = (
        "set -- opt etc usr/local var/lib/deployer var/lib/unless-stopped; cd /;"
        "find \"$@\" -printf '%p %y %m %U:%G %s %T@ %C@ %i %l\\n' 2>/dev/null | sort;"
        'find "$@" -type f -exec sha256sum {} + 2>/dev/null | sort -k 2;'
        "getent passwd; getent group;"
        "systemctl list-unit-files --no-legend; ls /run/systemd/system"
    )
    return shell(host, script).splitlines()


@pytest.mark.hosts
def test_check_changes_nothing_on_the_host(site: Site) -> None:
    name, port = "checked", 20104
    first = sample(site, name, binary=site.binary("1.0.0"), port=port, user="checked-user")
    site.write([first], hosts=BOTH_FLAVOURS)
    empty = {host.name: digest_of_everything(host) for host in both(site)}
    for words, code in (
        (["--check"], 0),
        (["--check", "--detailed-exitcode"], 10),
        (["--check", "--diff"], 0),
    ):
        run = site.run(*words)
        assert (run.code, set(run.outcomes.values())) == (code, {"would_change"}), run
        assert {host.name: digest_of_everything(host) for host in both(site)} == empty

    deploy(site, first)
    deployed = {host.name: digest_of_everything(host) for host in both(site)}
    assert all(deployed[host.name] != empty[host.name] for host in both(site))  # the digest sees a deploy
    pids = {host.name: main_pid(host, name) for host in both(site)}
    same = site.run("--check", "--detailed-exitcode")
    assert (same.code, set(same.outcomes.values())) == (0, {"unchanged"}), same
    site.write([sample(site, name, binary=site.binary("2.0.0"), port=port)], hosts=BOTH_FLAVOURS)
    run = site.run("--check", "--diff", "--detailed-exitcode")
    assert (run.code, set(run.outcomes.values())) == (10, {"would_change"}), run
    assert {host.name: digest_of_everything(host) for host in both(site)} == deployed
    assert {host.name: main_pid(host, name) for host in both(site)} == pids
    assert all(health(host, port)["version"] == "1.0.0" for host in both(site))


@pytest.mark.hosts
def test_a_diff_names_changed_variables_without_values_and_shows_the_unit(site: Site) -> None:
    name = "differs"
    old = {"CHANGED": "old-value-1", "GONE": "old-value-2", "KEPT": "kept-value-3"}
    new = {"CHANGED": "new-value-4", "ADDED": "new-value-5", "KEPT": "kept-value-3"}
    deploy(site, idler(site, name, environment=old))
    site.write([idler(site, name, environment=new, stop_grace_period="7s")], hosts=BOTH_FLAVOURS)
    for words in (["--check", "--diff"], ["--diff"]):
        run = site.run(*words)
        assert run.code == 0, run
        for planned in run.named("host_planned"):
            lines = planned["diff"].splitlines()
            assert "  .env: ~ CHANGED (changed)" in lines
            assert "  .env: + ADDED" in lines
            assert "  .env: - GONE" in lines
            assert not any("KEPT" in line for line in lines)
            assert "-TimeoutStopSec=10000ms" in lines
            assert "+TimeoutStopSec=7000ms" in lines
        assert "-value-" not in run.stdout + run.stderr
    plain = site.deployer("run", "site.yml", "--diff", "--check")
    assert "-value-" not in plain.stdout + plain.stderr
