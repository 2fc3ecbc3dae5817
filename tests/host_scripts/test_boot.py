"""A script, its arguments and the data for it travel on one standard input, and arrive as they were sent."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.remote.script import BOOT_COMMAND, HELLO, boot_input, read_script

if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS = (["dash"], ["busybox", "sh"])


def boot(shell: Sequence[str], script: str, args: Sequence[str] = (), data: bytes = b"") -> bytes:
    """Run a script under `shell` as a host would; everything it says after the greeting."""
    body = boot_input(script, tuple(args))
    sh, *rest = shlex.split(BOOT_COMMAND)
    assert sh == "sh"
    done = subprocess.run([*shell, *rest], input=body + data, capture_output=True, timeout=60, check=False)
    hello, _, said = done.stdout.partition(b"\n")
    assert hello.decode() == HELLO, done.stderr
    return said


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_megabyte_arrives_intact(shell: list[str]) -> None:
    data = os.urandom(1024 * 1024)
    assert boot(shell, "cat", data=data) == data


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_long_script_is_read_to_its_end_and_no_further(shell: list[str]) -> None:
    script = "#" + "x" * 500_000 + '\nhead -c 3; printf %s "$1"; cat'
    assert boot(shell, script, ["-"], b"abcdef") == b"abc-def"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_data_that_trickles_in_arrives_intact(shell: list[str]) -> None:
    data = os.urandom(100_000)
    body = boot_input("dd bs=100000 count=1 iflag=fullblock 2>/dev/null; cat", ())
    _, *rest = shlex.split(BOOT_COMMAND)
    with subprocess.Popen([*shell, *rest], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        sent = body + data + b"end"
        for start in range(0, len(sent), 7000):
            process.stdin.write(sent[start : start + 7000])
            process.stdin.flush()
            time.sleep(0.002)
        process.stdin.close()
        assert process.stdout.read() == f"{HELLO}\n".encode() + data + b"end"


WORDS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), max_size=4
)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@given(words=WORDS)
@settings(max_examples=25, deadline=None)
def test_arguments_arrive_as_they_are(shell: list[str], words: list[str]) -> None:
    said = boot(shell, 'for word; do printf "%s\\0" "$word"; done', words)
    assert said == b"".join(word.encode() + b"\0" for word in words)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_exit_status_is_the_scripts(shell: list[str]) -> None:
    body = boot_input("exit 7", ())
    _, *rest = shlex.split(BOOT_COMMAND)
    assert subprocess.run([*shell, *rest], input=body, capture_output=True, check=False).returncode == 7


def say_all(shell: Sequence[str], sent: bytes) -> subprocess.CompletedProcess[bytes]:
    _, *rest = shlex.split(BOOT_COMMAND)
    done = subprocess.run([*shell, *rest], input=sent, capture_output=True, timeout=60, check=False)
    assert done.stdout.startswith(f"{HELLO}\n".encode())
    return done


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_shell_runs_one_script_after_another(shell: list[str]) -> None:
    first = boot_input('kept=1; cat; printf %s "$1"', ("a\nb",), end="end1")
    second = boot_input("echo ${kept:-forgotten}; exit 0", (), end="end2")
    done = say_all(shell, first + second + boot_input("cat; exit 7", ()) + b"data")
    assert done.stdout == b"\n".join(
        [HELLO.encode(), b"a", b"b", b"end1", b"forgotten", b"", b"end2", b"data"]
    )
    assert (done.returncode, done.stderr) == (7, b"")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("script", ["exit 7", "kill -9 $$", "oops() {"])
def test_after_a_script_that_fails_no_other_is_run(shell: list[str], script: str) -> None:
    done = say_all(shell, boot_input(script, (), end="end") + boot_input("echo more", (), end="end"))
    assert done.stdout == f"{HELLO}\n".encode()
    assert done.returncode != 0


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_of_a_later_script_that_is_cut_off_nothing_is_run(shell: list[str]) -> None:
    before = boot_input("echo before", (), end="end")
    body = boot_input("say() { echo more; }\nsay", (), end="end")
    for length in range(len(body)):
        done = say_all(shell, before + body[:length])
        assert done.stdout == f"{HELLO}\nbefore\n\nend\n".encode(), body[:length]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_shell_that_is_started_and_then_not_needed_does_nothing(shell: list[str]) -> None:
    _, *rest = shlex.split(BOOT_COMMAND)
    done = subprocess.run([*shell, *rest], input=b"", capture_output=True, timeout=60, check=False)
    assert done.stdout == f"{HELLO}\n".encode()
    assert done.stderr == b""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_of_a_script_that_is_cut_off_nothing_is_run(shell: list[str]) -> None:
    body = boot_input('say() { echo "$1"; }\nsay one\n{ say two; }\nsay three', ("-",))
    _, *rest = shlex.split(BOOT_COMMAND)
    for length in range(len(body)):
        done = subprocess.run(
            [*shell, *rest], input=body[:length], capture_output=True, timeout=60, check=False
        )
        assert done.stdout == f"{HELLO}\n".encode(), body[:length]


def test_the_command_line_is_always_the_same_and_short() -> None:
    assert len(BOOT_COMMAND) < 350


# -- command.sh ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_command_gets_its_words_and_no_input(shell: list[str]) -> None:
    script = read_script("command/command.sh")
    said = boot(shell, script, ["sh", "-c", 'pwd; echo "$#:$1"; cat; echo oops >&2', "x", "a b"], b"data")
    assert said == b"/\n1:a b\noops\n"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("words", "status"), [(["false"], 1), (["sh", "-c", "exit 42"], 42), (["/nonexistent"], 127)]
)
def test_a_command_that_fails_says_how(shell: list[str], words: list[str], status: int) -> None:
    body = boot_input(read_script("command/command.sh"), tuple(words))
    _, *rest = shlex.split(BOOT_COMMAND)
    assert subprocess.run([*shell, *rest], input=body, capture_output=True, check=False).returncode == status
