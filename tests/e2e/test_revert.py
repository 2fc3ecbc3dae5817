"""A release that does not live up to it is undone: the one before serves again, and the run says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine import (
    answers,
    current,
    environ,
    eventually,
    get,
    health,
    main_pid,
    releases,
    shell,
    starts_at_boot,
    unit,
)

if TYPE_CHECKING:
    from tests.e2e.site import Run, Site
    from tests.hosts.host import TestHost

BOTH_FLAVOURS = "host1,host2"
IMPATIENT = {"interval": "200ms", "timeout": "1s", "retries": 4, "start_period": "1s", "stay_up": "300ms"}
PAST_THE_CRASH = IMPATIENT | {"stay_up": "2500ms", "start_period": "5s"}

# Runs as long as the file in its environment is there; the shortest program that can be broken from outside.
NEEDY = """#!/bin/sh
while [ -e "$NEEDS" ]; do sleep 0.1; done
echo "no $NEEDS" >&2
exit 3
"""


def sample(
    site: Site, name: str, *, binary: str, port: int, check: dict[str, Any] = IMPATIENT, **keys: Any
) -> dict[str, Any]:
    test = {"test": f"http://127.0.0.1:{port}/health"}
    return site.service(name, binary=binary, port=port, healthcheck=test | check, **keys)


def needy(site: Site, name: str, **environment: str) -> dict[str, Any]:
    (site.folder / "needy").write_text(NEEDY)
    return {
        "service": {
            "name": name,
            "binary": "needy",
            "environment": environment,
            "healthcheck": {"stay_up": "700ms"},
        }
    }


def deploy(site: Site, *tasks: dict[str, Any], hosts: str = BOTH_FLAVOURS) -> None:
    site.write(tasks, hosts=hosts)
    run = site.run()
    assert (run.code, set(run.outcomes.values())) == (0, {"changed"}), run


def both(site: Site) -> tuple[TestHost, ...]:
    return site.lab.hosts[:2]


def fail(site: Site, *tasks: dict[str, Any], hosts: str = BOTH_FLAVOURS) -> Run:
    site.write(tasks, hosts=hosts)
    run = site.run()
    assert run.code != 0, run
    return run


def assert_back(host: TestHost, name: str, release: str) -> None:
    """Everything of that release is in place again, and no other one runs."""
    assert current(host, name) == release
    folder = f"/opt/{name}/releases/{release}"
    assert host.read(f"/etc/systemd/system/{name}.service") == host.read(f"{folder}/{name}.service")
    state = unit(host, name)
    assert (state["ActiveState"], state["NRestarts"], state["NeedDaemonReload"]) == ("active", "0", "no")
    assert starts_at_boot(host, name)


def assert_stopped_for_good(host: TestHost, name: str) -> None:
    """Nothing runs and nothing will after a boot; what failed is kept to be looked at."""
    state = unit(host, name)
    assert state["ActiveState"] in {"inactive", "failed"}
    assert state["MainPID"] == "0"
    assert not starts_at_boot(host, name)
    (release,) = releases(host, name)
    kept = shell(host, 'ls -A "/opt/$1/releases/$2"', name, release).split()
    assert kept == [".env", f"{name}.service", "gin-api-template", "release.json"]


@pytest.mark.hosts
def test_a_release_that_never_gets_healthy_leaves_the_old_one_serving(site: Site) -> None:
    name, port = "sick", 20201
    good = sample(site, name, binary=site.binary("1.0.0"), port=port)
    deploy(site, good)
    old = {host.name: current(host, name) for host in both(site)}
    sick = sample(site, name, binary=site.binary("2.0.0", fault="never-healthy"), port=port)
    run = fail(site, sick)
    assert (run.code, set(run.outcomes.values())) == (1, {"reverted"}), run
    for host in both(site):
        eventually(lambda host=host: answers(host, port, "1.0.0"), what="the old release")  # type: ignore[misc]
        assert_back(host, name, old[host.name])
        failure = run.finished[host.name]["failure"]
        assert (failure["cause"], failure["service"]) == ("unhealthy", name)
        assert failure["evidence"]["answer"].startswith("503 ")
        assert failure["evidence"]["state"].startswith("active/running")
        journal = failure["evidence"]["journal"]
        assert 0 < len(journal) <= 20
        assert any("503" in line for line in journal)
        (reverted,) = (event for event in run.named("release_reverted") if event["host"] == host.name)
        assert reverted["to"] == old[host.name]
        assert releases(host, name) == [old[host.name], reverted["release"]]  # kept, to be looked at

    site.write([good], hosts=BOTH_FLAVOURS)
    again = site.run()
    assert (again.code, set(again.outcomes.values())) == (0, {"unchanged"}), again


@pytest.mark.hosts
def test_a_release_that_crashes_after_its_first_good_answers_is_undone(site: Site) -> None:
    name, port = "crashing", 20202
    deploy(site, sample(site, name, binary=site.binary("1.0.0"), port=port))
    old = {host.name: current(host, name) for host in both(site)}
    binary = site.binary("2.0.0", fault="crash-after-2s")
    run = fail(site, sample(site, name, binary=binary, port=port, check=PAST_THE_CRASH))
    assert (run.code, set(run.outcomes.values())) == (1, {"reverted"}), run
    for host in both(site):
        eventually(lambda host=host: answers(host, port, "1.0.0"), what="the old release")  # type: ignore[misc]
        assert_back(host, name, old[host.name])
        probes = [event for event in run.named("health_probed") if event["host"] == host.name]
        assert any(probe["healthy"] for probe in probes)  # it was well at first
        failure = run.finished[host.name]["failure"]
        assert failure["cause"] == "crashed"
        assert "status 3" in failure["evidence"]["state"]


@pytest.mark.hosts
@pytest.mark.parametrize(
    ("fault", "check", "cause", "port"),
    [("never-healthy", IMPATIENT, "unhealthy", 20203), ("crash-after-2s", PAST_THE_CRASH, "crashed", 20204)],
)
def test_a_first_release_that_fails_is_stopped_and_makes_way_for_a_good_one(
    site: Site, fault: str, check: dict[str, Any], cause: str, port: int
) -> None:
    name = f"first-{fault}"
    binary = site.binary("1.0.0", fault=fault)
    run = fail(site, sample(site, name, binary=binary, port=port, check=check))
    assert (run.code, set(run.outcomes.values())) == (1, {"failed"}), run
    for host in both(site):
        assert_stopped_for_good(host, name)
        finished = run.finished[host.name]
        assert (finished["failure"]["cause"], finished["needs_person"]) == (cause, False)
        assert finished["failure"]["evidence"]["journal"]
        with pytest.raises(OSError, match="refused"):
            get(host, port, "/health")

    deploy(site, sample(site, name, binary=site.binary("1.0.1"), port=port))
    for host in both(site):
        assert health(host, port)["version"] == "1.0.1"
        assert starts_at_boot(host, name)


@pytest.mark.hosts
def test_one_host_that_fails_goes_back_alone_and_the_exit_code_says_mixed(site: Site) -> None:
    """A stranger has the new port on host3, and answers the health test there as well as anybody."""
    name, old_port, new_port = "mixed", 20205, 20206
    first, second, third = site.lab.hosts
    deploy(site, sample(site, name, binary=site.binary("1.0.0"), port=old_port), hosts="all")
    old = current(third, name)
    binary = f"/opt/{name}/releases/{old}/gin-api-template"
    shell(third, f"systemd-run --quiet --unit=mixed-stranger --setenv=PORT={new_port} {binary}")
    try:
        eventually(lambda: health(third, new_port), what="the stranger")
        run = fail(site, sample(site, name, binary=site.binary("2.0.0"), port=new_port), hosts="all")
    finally:
        shell(third, "systemctl stop mixed-stranger")
    assert run.outcomes == {"host1": "changed", "host2": "changed", "host3": "reverted"}, run
    assert run.code == 4
    assert run.finished["host3"]["failure"]["cause"] == "crashed"
    assert any(
        "address already in use" in line for line in run.finished["host3"]["failure"]["evidence"]["journal"]
    )
    for host in (first, second):
        assert health(host, new_port)["version"] == "2.0.0"
    eventually(lambda: answers(third, old_port, "1.0.0"), what="the old release")
    assert_back(third, name, old)


@pytest.mark.hosts
def test_the_old_release_is_judged_by_the_health_check_it_came_with(site: Site) -> None:
    name, old_port, new_port = "moved", 20207, 20208
    deploy(site, sample(site, name, binary=site.binary("1.0.0"), port=old_port))
    binary = site.binary("2.0.0", fault="never-healthy")
    run = fail(site, sample(site, name, binary=binary, port=new_port))
    assert (run.code, set(run.outcomes.values())) == (1, {"reverted"}), run
    for host in both(site):
        assert health(host, old_port)["version"] == "1.0.0"
        assert environ(host, name)["PORT"] == str(old_port)


@pytest.mark.hosts
def test_a_failing_command_after_the_service_undoes_it(site: Site) -> None:
    name, port = "command-fails", 20209
    deploy(site, sample(site, name, binary=site.binary("1.0.0"), port=port))
    old = {host.name: current(host, name) for host in both(site)}
    command = {"name": "smoke test", "command": ["sh", "-c", "echo it is $0; exit 7", "bad"]}
    run = fail(site, sample(site, name, binary=site.binary("2.0.0"), port=port), command)
    assert (run.code, set(run.outcomes.values())) == (1, {"reverted"}), run
    for host in both(site):
        failure = run.finished[host.name]["failure"]
        assert failure["cause"] == "command_failed"
        assert failure["message"] == "the command 'smoke test' exited with status 7: it is bad"
        assert health(host, port)["version"] == "1.0.0"
        assert_back(host, name, old[host.name])


@pytest.mark.hosts
def test_commands_run_once_or_everywhere_and_only_where_something_changed(site: Site) -> None:
    name = "commanded"
    log = "/var/tmp/commanded.log"
    tasks = [
        needy(site, name, NEEDS="/srv"),
        {"name": "once", "command": f"sh -c 'echo once >>{log}'", "run_once": True},
        {"name": "each", "command": ["sh", "-c", 'echo "$0" >>"$1"', "each one", log]},
    ]

    def logged() -> list[str]:
        return sorted(
            line for host in site.lab.hosts for line in shell(host, f"cat {log}", check=False).splitlines()
        )

    deploy(site, *tasks, hosts="all")
    assert logged() == ["each one"] * 3 + ["once"]
    again = site.run()
    assert (again.code, set(again.outcomes.values())) == (0, {"unchanged"}), again
    assert again.named("command_finished") == []
    assert logged() == ["each one"] * 3 + ["once"]


@pytest.mark.hosts
@pytest.mark.parametrize("lost", ["release.json", "needy.service", "needy"])
def test_where_going_back_fails_a_person_is_called_for(site: Site, lost: str) -> None:
    name = f"stuck-{lost.replace('.', '-')}"
    deploy(site, needy(site, name, NEEDS="/srv"))
    lost = lost.replace("needy.service", f"{name}.service")
    # Between switch and revert, the only moment at which it is not noticed before.
    script = f'rm "/opt/{name}/releases/$(ls /opt/{name}/releases | head -n 1)/{lost}"; exit 1'
    run = fail(site, needy(site, name, NEEDS="/opt", NEW="1"), {"command": ["sh", "-c", script]})
    assert (run.code, set(run.outcomes.values())) == (4, {"failed"}), run
    for host in both(site):
        finished = run.finished[host.name]
        assert finished["needs_person"] is True
        assert finished["failure"]["cause"] == "command_failed"
        assert "going back failed" in finished["failure"]["message"]
        assert finished["failure"]["hint"]


@pytest.mark.hosts
def test_an_old_release_that_does_not_stay_up_either_is_not_called_reverted(site: Site) -> None:
    name = "both-bad"
    for host in both(site):
        shell(host, f"touch /srv/{name}")
    deploy(site, needy(site, name, NEEDS=f"/srv/{name}"))
    command = {"command": ["sh", "-c", f"rm /srv/{name}; exit 1"]}
    run = fail(site, needy(site, name, NEEDS="/srv"), command)
    assert (run.code, set(run.outcomes.values())) == (4, {"failed"}), run
    for host in both(site):
        assert run.finished[host.name]["needs_person"] is True
        assert "going back failed" in run.finished[host.name]["failure"]["message"]


@pytest.mark.hosts
def test_going_back_does_not_start_a_service_that_its_operator_stopped(site: Site) -> None:
    name = "stopped-back"
    deploy(site, needy(site, name, NEEDS="/srv"))
    old = {host.name: current(host, name) for host in both(site)}
    for host in both(site):
        shell(host, f"systemctl stop {name}")
    run = fail(site, needy(site, name, NEEDS="/srv", NEW="1"), {"command": ["false"]})
    assert (run.code, set(run.outcomes.values())) == (1, {"reverted"}), run
    for host in both(site):
        assert current(host, name) == old[host.name]
        assert main_pid(host, name) == 0
        assert unit(host, name)["ActiveState"] == "inactive"
    site.write([needy(site, name, NEEDS="/srv")], hosts=BOTH_FLAVOURS)
    after = site.run()
    assert (after.code, set(after.outcomes.values())) == (0, {"operator_stopped"}), after


@pytest.mark.hosts
def test_the_service_that_fell_is_named_when_another_was_switched_after_it(site: Site) -> None:
    falls, stands, file = "two-falls", "two-stands", "/srv/two-falls"
    for host in both(site):
        shell(host, 'touch "$1" /srv/two-stands', file)
    old = [needy(site, falls, NEEDS=file), needy(site, stands, NEEDS="/srv/two-stands")]
    deploy(site, *old)
    before = {(host.name, name): current(host, name) for host in both(site) for name in (falls, stands)}

    new = [
        needy(site, falls, NEEDS=file, NEW="1"),
        {"command": ["mv", file, f"{file}.away"]},
        needy(site, stands, NEEDS="/srv/two-stands", NEW="1"),
    ]
    run = fail(site, *new)

    # The old release of the first needs the file too, so going back cannot be called a success.
    assert (run.code, set(run.outcomes.values())) == (4, {"failed"}), run
    for host in both(site):
        failure = run.finished[host.name]["failure"]
        assert (failure["cause"], failure["service"]) == ("crashed", falls)
        assert failure["message"].startswith("it did not stay up")
        assert current(host, stands) == before[host.name, stands]
        assert current(host, falls) == before[host.name, falls]


@pytest.mark.hosts
def test_a_service_that_cannot_go_back_keeps_no_other_from_it(site: Site) -> None:
    first, second = "back-first", "back-second"
    deploy(site, needy(site, first, NEEDS="/srv"), needy(site, second, NEEDS="/srv"))
    old = {(host.name, name): current(host, name) for host in both(site) for name in (first, second)}
    lose = f'rm "/opt/{second}/releases/$(ls /opt/{second}/releases | head -n 1)/{second}.service"; exit 1'
    run = fail(
        site,
        needy(site, first, NEEDS="/srv", NEW="1"),
        needy(site, second, NEEDS="/srv", NEW="1"),
        {"command": ["sh", "-c", lose]},
    )
    assert (run.code, set(run.outcomes.values())) == (4, {"failed"}), run
    for host in both(site):
        failure = run.finished[host.name]["failure"]
        assert f"going back failed: {second}: " in failure["message"]
        assert failure["evidence"]["state"]
        assert_back(host, first, old[host.name, first])


@pytest.mark.hosts
def test_an_unchanged_service_that_is_sick_fails_the_host_and_undoes_the_change(site: Site) -> None:
    sick, fresh = "beside-sick", "beside-fresh"
    sleeper = needy(site, sick, NEEDS="/srv")
    deploy(site, sleeper, needy(site, fresh, NEEDS="/srv"))
    old = {host.name: current(host, fresh) for host in both(site)}
    sleeper["service"]["healthcheck"] = {"test": "tcp://127.0.0.1:20299", "retries": 2, "interval": "100ms"}
    run = fail(site, needy(site, fresh, NEEDS="/srv", NEW="1"), sleeper)
    assert (run.code, set(run.outcomes.values())) == (1, {"reverted"}), run
    for host in both(site):
        failure = run.finished[host.name]["failure"]
        assert (failure["cause"], failure["service"]) == ("unhealthy", sick)
        assert failure["evidence"]["answer"] == "cannot connect to 127.0.0.1 port 20299"
        assert_back(host, fresh, old[host.name])
