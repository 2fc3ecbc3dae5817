"""Which group is taken for one that only the service's user is in, so that it may read .env."""

from __future__ import annotations

import subprocess

import pytest

from deployer.remote.script import read_script

SCRIPT = read_script("stage/stage.sh")
IS_PRIVATE = SCRIPT[SCRIPT.index("is_private() {") :].partition("\n}\n")[0] + "\n}\n"

# What a directory knows: the group $1, and everybody's primary groups $2; the files here know none of it.
DIRECTORY = """
group=$1 everybody=$2
timeout() { shift; "$@"; }
getent() {
  case $1 in
    group) [ -n "$group" ] && printf '%s\\n' "$group" ;;
    passwd) printf '%s\\n' "$everybody" ;;
  esac
}
is_private tapir tapir && echo private || echo shared
"""


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("group", "people", "said"),
    [
        ("tapir:*:20001:", "", "private"),
        ("tapir:*:20001:tapir", "tapir:*:20001:20001::/home/tapir:/bin/sh", "private"),
        ("tapir:*:20001:anna,bert", "", "shared"),
        ("tapir:*:20001:tapir,anna", "", "shared"),
        ("tapir:*:20001:", "anna:*:20002:20001::/home/anna:/bin/sh", "shared"),
        ("", "", "shared"),  # nobody knows it, so nobody knows who is in it
    ],
)
def test_a_group_that_only_a_directory_knows_is_asked_for_there(
    shell: list[str], group: str, people: str, said: str
) -> None:
    command = [*shell, "-c", IS_PRIVATE + DIRECTORY, "sh", group, people]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{said}\n"
