"""Many connections to one server start no faster than its sshd takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.programs import inventory

if TYPE_CHECKING:
    from tests.e2e.site import Site

NAMES = 40


@pytest.mark.hosts
def test_forty_names_of_one_host_are_all_reached_and_none_is_dropped(site: Site) -> None:
    host = site.lab.hosts[0]
    names = {f"name{number}": {"ansible_host": host.address} for number in range(NAMES)}
    file = inventory(
        site.folder / "hosts.yml",
        names,
        ansible_user="deploy",
        ansible_ssh_private_key_file=str(site.lab.key),
        ansible_ssh_common_args=f"-o UserKnownHostsFile={site.lab.known_hosts}",
    )
    site.write([{"command": ["true"]}])
    before = host.ssh("date +%s").stdout.decode().strip()

    run = site.run("-i", file, "--forks", str(NAMES))

    assert (run.code, set(run.outcomes.values())) == (0, {"changed"}), run
    assert len(run.outcomes) == NAMES
    # sshd_config(5), MaxStartups 10:30:100: beyond ten that have not logged in it begins to drop callers.
    log = host.ssh(f"journalctl -u ssh --since @{before} -o cat --no-pager").stdout.decode()
    assert "MaxStartups" not in log
    assert log.count("Accepted publickey for deploy") >= NAMES
