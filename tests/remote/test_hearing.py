"""What a host says has an end, in bytes and in time; and a reason is told as that of whoever gave it."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest

from deployer.errors import HostError
from deployer.remote import ssh
from deployer.remote.remote import telling_line
from deployer.remote.script import HELLO, end_mark
from deployer.target import Become

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import paramiko

GREETING = f"{HELLO}\n".encode()
MIB = 1024 * 1024


class Talker:
    """The reader's end of a channel; `None` among the pieces is a moment in which nothing is said."""

    def __init__(self, out: Iterable[bytes | None], errors: Iterable[bytes | None] = ()) -> None:
        self._out, self._errors = iter(out), iter(errors)
        self._next_error: bytes | None = next(self._errors, b"")
        self.status_event = threading.Event()
        self.status_event.set()
        self.heard = 0

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def _one(self, pieces: Iterator[bytes | None]) -> bytes:
        piece = next(pieces, b"")
        if piece is None:
            time.sleep(min(self._timeout, 0.01))
            raise TimeoutError
        self.heard += len(piece)
        return piece

    def recv(self, _size: int) -> bytes:
        return self._one(self._out)

    def recv_stderr_ready(self) -> bool:
        if self._next_error is None:
            self._next_error = next(self._errors, b"")
            return False
        return bool(self._next_error)

    def recv_stderr(self, _size: int) -> bytes:
        piece, self._next_error = self._next_error or b"", next(self._errors, b"")
        self.heard += len(piece)
        return piece

    def recv_exit_status(self) -> int:
        return 0


def hear(
    talker: Talker, *, greeted: bool = False, silence: float = 5.0, longest: float = 5.0, keep: int = 0
) -> ssh._Hearing:
    channel = cast("paramiko.Channel", talker)
    return ssh._Hearing(channel, b"", greeted=greeted, silence=silence, limit=ssh._Limit(longest), keep=keep)


def ended(talker: Talker, *, greeted: bool = False, longest: float = 5.0, keep: int = 0) -> str:
    """The cause with which it ends."""
    hearing = hear(talker, greeted=greeted, longest=longest, keep=keep)

    def listen() -> None:
        assert not hearing.until("")
        hearing.end()

    with pytest.raises(HostError) as caught:
        listen()
    assert caught.value.hint
    return caught.value.cause


YES = b"y\n" * 16_384


@pytest.mark.parametrize(
    "talker",
    [
        Talker(itertools.repeat(YES)),  # a login file, before the greeting
        Talker(itertools.chain([GREETING], itertools.repeat(YES))),  # one that goes on beside the script
        Talker([], itertools.repeat(YES)),
        Talker(itertools.chain([GREETING], itertools.repeat(None)), itertools.repeat(YES)),
        Talker([GREETING, b"fine"], itertools.repeat(YES)),
    ],
)
def test_an_answer_without_end_is_too_much_on_either_stream(talker: Talker) -> None:
    assert ended(talker) == "too_much"
    assert talker.heard <= 4 * MIB + 64 * 1024 + 100


@pytest.mark.parametrize("greeting", [[], [GREETING]])
def test_a_byte_now_and_then_is_no_answer(greeting: list[bytes]) -> None:
    began = time.monotonic()
    drip = itertools.chain(greeting, itertools.cycle([None, b"."]))
    assert ended(Talker(drip), longest=0.3) == "timed_out"
    assert ended(Talker(itertools.repeat(None), itertools.cycle([None, b"."])), longest=0.3) == "timed_out"
    assert time.monotonic() - began < 3


def test_who_says_nothing_for_long_enough_is_not_waited_for() -> None:
    with pytest.raises(TimeoutError):
        hear(Talker(itertools.repeat(None)), silence=0.1, longest=60).until("")


def test_what_comes_on_stderr_is_a_sign_of_life() -> None:
    words = [part for _ in range(15) for part in (b"still busy\n", None, None)]
    hearing = hear(Talker([GREETING, *[None] * 40, b"done\n"], words), silence=0.2)
    assert not hearing.until("")
    assert (hearing.output, hearing.end()) == ("done\n", 0)


def test_of_a_long_output_the_end_is_kept_and_memory_stays_flat() -> None:
    lines = (b"%07d\n" % number * 1000 for number in range(10_000))  # 80 MB
    hearing = hear(Talker(itertools.chain([b"Welcome\n" + GREETING], lines)), keep=MIB)
    while piece := hearing._next(hearing._channel.recv):
        hearing._take(piece)
        assert len(hearing._said) <= 2 * MIB + len(piece)
    assert hearing.output.endswith("0009999\n")
    assert len(hearing.output) >= MIB
    assert hearing.before == "Welcome\n"


@pytest.mark.parametrize("keep", [0, 64 * 1024])
def test_the_next_script_begins_where_a_long_one_ended(keep: int) -> None:
    mark = end_mark("f00d")
    hearing = hear(
        Talker([*[b"x" * 1000] * 1000, mark[:5], mark[5:], b"never read"]), greeted=True, keep=keep
    )
    assert hearing.until("f00d")
    assert hearing.output.strip("x") == ""


def test_a_program_that_never_stops_talking_is_not_listened_to_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ssh, "_MOST_IN_ALL", 8 * MIB)
    talker = Talker(itertools.repeat(YES))
    assert ended(talker, greeted=True, keep=64 * 1024) == "too_much"
    assert 8 * MIB < talker.heard < 9 * MIB


# -- whose reason it is -------------------------------------------------------------------------------------


def become(*, user: str = "root") -> Become:
    return Become(user=user, password=None)


@pytest.mark.parametrize(
    ("status", "before", "errors", "said"),
    [
        (142, "log in as admin\n", "", "log in as admin"),
        (
            142,
            "log in as admin\n\n",
            "bash: warning: setlocale\n",
            "log in as admin; bash: warning: setlocale",
        ),
        (1, "This account is currently not available.\n", "", "This account is currently not available."),
        (
            1,
            "",
            "WARNING: Your password has expired.\nPassword change required but no TTY available.\n",
            "Password change required but no TTY available.",
        ),
        (254, "", "/etc/profile: line 3: exec: nosuch: not found\n", "exec: nosuch: not found"),
        (-1, "the machine is going down\n", "", "the machine is going down"),
    ],
)
@pytest.mark.parametrize("by", [None, become()])
def test_what_a_login_said_is_told_and_sudo_is_not_blamed(
    by: Become | None, status: int, before: str, errors: str, said: str
) -> None:
    error = ssh._no_hello(by, status, before, errors)
    assert (error.cause, "sudo" in error.message) == ("shell_failed", False)
    assert said in error.message
    assert str(status) in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("errors", "asks"),
    [
        ("sudo: a terminal is required to read the password\nsudo: a password is required\n", True),
        ("bash: line 1: sudo: command not found\n", False),
        ("Sorry, user deploy is not allowed to execute 'sh' as root on web.\n", False),
        ("deploy is not in the sudoers file.\n", False),
        ("sudo: Account expired or PAM config lacks an account section for sudo\n", False),
        ("sudo: account validation failure, is your account locked?\n", False),
        ("Sorry, try again.\nsudo: 1 incorrect password attempt\n", False),
    ],
)
def test_what_sudo_said_is_told_as_its_own(errors: str, *, asks: bool) -> None:
    error = ssh._no_hello(become(), 1, "", errors)
    assert error.cause == "sudo_refused"
    assert errors.splitlines()[-1] in error.message
    assert bool(error.hint) == asks


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        (
            (
                "Job for app.service failed because the control process exited with error code.\n"
                'See "systemctl status app.service" and "journalctl -xeu app.service" for details.\n'
            ),
            "Job for app.service failed because the control process exited with error code.",
        ),
        (
            (
                "Failed to start app.service: Unit app.service has a bad unit file setting.\n"
                "See system logs and 'systemctl status app.service' for details.\n"
            ),
            "Failed to start app.service: Unit app.service has a bad unit file setting.",
        ),
        ("See you later\n", "See you later"),  # there is nothing else
    ],
)
def test_the_line_that_tells_why_is_not_the_one_that_tells_where_to_look(errors: str, line: str) -> None:
    assert telling_line(errors) == line
