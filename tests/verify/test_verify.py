"""A release is good when it answers and has stayed up; how long that is waited for is Compose's rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from deployer.desired import ExecTest, HttpTest, TcpTest
from deployer.errors import HostError
from deployer.remote.remote import ForwardingRefusedError, Reply
from deployer.report.events import HealthProbed, ProbeFellBack
from deployer.verify.verify import UnhealthyError, check_running, verify
from tests.made import make_healthcheck, make_service, make_unit
from tests.memory import OK, SICK, MemoryHost, Time, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.init import UnitState
    from deployer.report.events import Event


@dataclass(slots=True, kw_only=True)
class Trial:
    """One service on one host; `asked` is when its health test was asked."""

    host: MemoryHost = field(default_factory=MemoryHost)
    time: Time = field(default_factory=Time)
    events: list[Event] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)

    def answer(self, when: Callable[[float], bytes | Exception]) -> None:
        """Let the answer depend on the time."""

        def answers() -> bytes | Exception:
            self.asked.append(self.time.now)
            return when(self.time.now)

        self.host.answers = answers

    def _emit(self, event: Event) -> None:
        self.events.append(event)

    def verify(self, unit: UnitState | None = None, **check: Any) -> None:
        verify(
            self.host,
            "web1",
            make_service(healthcheck=make_healthcheck(**check)),
            unit or make_unit(),
            redact=lambda text: text.replace("hunter2", "***"),
            emit=self._emit,
            clock=self.time.clock,
        )

    def check_running(self, **check: Any) -> None:
        check_running(
            self.host,
            "web1",
            make_service(healthcheck=make_healthcheck(**check)),
            redact=lambda text: text,
            emit=self._emit,
            clock=self.time.clock,
        )

    def probes(self) -> list[HealthProbed]:
        return [event for event in self.events if isinstance(event, HealthProbed)]


@pytest.fixture
def trial() -> Trial:
    made = Trial()
    made.answer(lambda _now: OK)
    return made


# -- the stay-up window -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stay_up", "interval", "least", "most"),
    [
        (3.0, 1.0, 10, 22),
        (3.0, 0.2, 15, 32),  # `interval` is shorter than a tenth of the window
        (3.0, 5.0, 10, 22),  # and longer than all of it
        (60.0, 5.0, 13, 26),
        (0.2, 1.0, 3, 6),  # not more often than at the start
        (0.0, 1.0, 1, 1),
    ],
)
def test_a_service_must_stay_healthy_for_the_whole_window(
    trial: Trial, stay_up: float, interval: float, least: int, most: int
) -> None:
    trial.verify(stay_up=stay_up, interval=interval)
    assert trial.asked[0] == 0
    assert trial.asked[-1] == trial.time.now == pytest.approx(stay_up)  # the last answer is a fresh one
    assert least <= len(trial.asked) <= most
    assert [probe.healthy for probe in trial.probes()] == [True] * len(trial.asked)
    assert all(pause <= interval for pause in trial.time.slept)


def test_the_window_begins_with_the_first_good_answer(trial: Trial) -> None:
    trial.answer(lambda now: OK if now >= 5 else SICK)
    trial.verify(stay_up=3.0, start_period=10.0)
    first = next(when for when in trial.asked if when >= 5)
    assert trial.asked[-1] == trial.time.now == pytest.approx(first + 3.0)


def test_a_bad_answer_begins_the_window_anew(trial: Trial) -> None:
    trial.answer(lambda now: SICK if 2 <= now < 2.6 else OK)
    trial.verify(stay_up=3.0, interval=1.0)
    back = next(when for when in trial.asked if when >= 2.6)
    assert trial.time.now == pytest.approx(back + 3.0)


@pytest.mark.parametrize("begins", [0.0, 5.0], ids=["at once", "late"])
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (0.3, 0.7),
        (0.7, 0.3),
        (0.05, 0.95),
        (0.2, 0.1),  # as long as the shortest window's tenth
        (1.0, 1.0),  # twice the interval
        (2.5, 0.5),  # nearly as long as the window
    ],
)
def test_a_service_that_is_well_now_and_then_is_not_well_and_does_not_take_for_ever(
    trial: Trial, good: float, bad: float, begins: float
) -> None:
    """Asked once a second, one that is well for a part of every second looks well all the time."""
    trial.answer(lambda now: OK if now >= begins and (now - begins) % (good + bad) < good else SICK)
    with pytest.raises(UnhealthyError) as caught:
        trial.verify(stay_up=3.0, interval=1.0, retries=30, start_period=10.0)
    assert caught.value.cause == "unhealthy"
    assert trial.time.now <= 10.0 + 30 * (3.0 + 1.0)


def test_without_a_test_the_service_only_has_to_stay_up(trial: Trial) -> None:
    trial.verify(test=None, stay_up=3.0)
    assert trial.time.now == 3.0
    assert trial.host.ran == []


def test_a_crash_of_the_release_before_is_not_counted(trial: Trial) -> None:
    trial.answer(lambda now: OK if now >= 2 else SICK)
    trial.host.says["status"] = state(MainPID=42, NRestarts=1)
    trial.verify(make_unit(restarts=1), start_period=10.0)
    assert trial.host.ran


# -- patience ---------------------------------------------------------------------------------------------


def test_failures_in_the_start_period_do_not_count(trial: Trial) -> None:
    trial.answer(lambda now: OK if now >= 9 else SICK)
    trial.verify(start_period=10.0, retries=1, stay_up=0.0)
    assert trial.time.now < 10.0


def test_after_the_start_period_so_many_failures_in_a_row_are_the_end(trial: Trial) -> None:
    trial.answer(lambda _now: SICK)
    with pytest.raises(UnhealthyError) as caught:
        trial.verify(start_period=0.0, retries=3, interval=2.0)
    assert trial.asked == [0, 2, 4]
    assert caught.value.cause == "unhealthy"
    assert caught.value.message == "not healthy after 3 attempts in 4.0 s"
    assert caught.value.answer == "503 sick"


def test_patience_ends_soon_after_the_start_period(trial: Trial) -> None:
    trial.answer(lambda _now: SICK)
    with pytest.raises(UnhealthyError):
        trial.verify(start_period=10.0, retries=3, interval=1.0)
    assert sum(time >= 10.0 for time in trial.asked) == 3
    assert trial.time.now < 14.0


def test_a_good_answer_does_not_forgive_the_failures_before(trial: Trial) -> None:
    trial.answer(lambda now: OK if 3 <= now < 6 else SICK)
    with pytest.raises(UnhealthyError) as caught:
        trial.verify(start_period=0.0, retries=5, interval=1.0, stay_up=9.0)
    bad = [probe.healthy for probe in trial.probes()].count(False)
    assert bad == 5
    assert trial.time.now < 9
    assert caught.value.message.startswith("not healthy after ")


def test_the_first_good_answer_ends_the_start_period(trial: Trial) -> None:
    trial.answer(lambda now: OK if now == 0 else SICK)
    with pytest.raises(UnhealthyError):
        trial.verify(start_period=100.0, retries=2, stay_up=60.0, interval=1.0)
    assert len(trial.asked) == 3
    assert trial.time.now < 3


def test_a_starting_service_is_asked_less_often_the_longer_it_takes(trial: Trial) -> None:
    trial.answer(lambda now: OK if now >= 30 else SICK)
    trial.verify(start_period=60.0, start_interval=0.1, interval=5.0, stay_up=0.0)
    pauses = trial.time.slept
    assert pauses[0] == pytest.approx(0.1)
    assert pauses == sorted(pauses)
    assert max(pauses) <= 5.0
    assert len(pauses) < 30  # not three hundred
    late = trial.asked[-1] - 30
    assert late <= 30 / 4  # and a start is seen at most a quarter later


def test_a_starting_service_is_never_asked_less_often_than_a_running_one(trial: Trial) -> None:
    trial.answer(lambda now: OK if now >= 30 else SICK)
    trial.verify(start_period=60.0, start_interval=9.0, interval=1.0, stay_up=0.0)
    assert max(trial.time.slept) <= 1.0


# -- crashes ----------------------------------------------------------------------------------------------


WAITS = {"ActiveState": "activating", "SubState": "auto-restart"}


@pytest.mark.parametrize(
    ("said", "cause", "message"),
    [
        (
            state(MainPID=0, ExecMainCode=1, ExecMainStatus=3, **WAITS),
            "crashed",
            "it did not stay up: its process exited with status 3",
        ),
        (
            state(MainPID=44, NRestarts=1),
            "crashed",
            "it did not stay up: its process ended and was started again",
        ),
        (
            state(MainPID=0, ActiveState="inactive").replace("= journal", "= stopped\n= journal"),
            "operator_stopped",
            "its operator stopped it while it was on trial, and so it stays stopped",
        ),
    ],
)
def test_a_service_that_has_no_process_is_not_asked(
    trial: Trial, said: str, cause: str, message: str
) -> None:
    dead = make_unit(active="inactive", main_pid=0, exit_code=1, exit_status=3)
    trial.host.says["status"] = said
    with pytest.raises(UnhealthyError) as caught:
        trial.verify(dead)
    assert (caught.value.cause, caught.value.message) == (cause, message)
    assert trial.asked == []


def test_a_service_that_was_restarted_by_hand_before_it_was_seen_is_asked(trial: Trial) -> None:
    trial.host.says["status"] = state(MainPID=44)
    trial.verify(make_unit(active="activating", main_pid=0))
    assert trial.asked


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            {"MainPID": 43, "NRestarts": 1},
            "it did not stay up: its process ended and was started again",
        ),
        ({"MainPID": 42, "NRestarts": 1}, "it did not stay up: its process ended and was started again"),
        (
            {"MainPID": 0, "ExecMainCode": 2, "ExecMainStatus": 11},
            "it did not stay up: its process was killed by signal 11",
        ),
        (
            {"MainPID": 0, "ExecMainCode": 1, "ExecMainStatus": 1},
            "it did not stay up: its process exited with status 1",
        ),
    ],
)
def test_a_process_that_ended_is_seen_long_before_patience_ends(
    trial: Trial, properties: dict[str, object], message: str
) -> None:
    trial.answer(lambda _now: ConnectionRefusedError("connection refused"))
    trial.host.says["status"] = state(**properties)
    with pytest.raises(UnhealthyError) as caught:
        trial.verify(start_period=60.0, retries=30)
    assert (caught.value.cause, caught.value.message) == ("crashed", message)
    assert caught.value.answer == "cannot connect to 127.0.0.1 port 8080"
    assert len(trial.asked) <= 2


def test_a_process_that_is_alive_is_given_time(trial: Trial) -> None:
    trial.answer(lambda now: OK if now >= 3 else ConnectionRefusedError("connection refused"))
    trial.verify(stay_up=0.0)
    assert "status" in trial.host.names()


def test_a_host_that_knows_nothing_of_the_unit_is_an_error(trial: Trial) -> None:
    trial.answer(lambda _now: SICK)
    trial.host.says["status"] = "= state\n= journal\n"
    with pytest.raises(HostError, match="nothing is known of the unit of app"):
        trial.verify()


# -- how it is asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "healthy", "detail"),
    [
        (OK, True, "200 ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True, "204"),
        (b"HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n", True, "302"),
        (b"HTTP/1.1 399 Odd\r\n\r\n", True, "399"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", False, "400"),
        (SICK, False, "503 sick"),
        (b"HTTP/1.1 200 OK\r\n\r\n a\n\n b\t" + b"x" * 300, True, f"200 a b {'x' * 196}..."),
        (b"HTTP/1.1 200 OK\r\n\r\nhunter2", True, "200 ***"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 197 + b"hunter2", True, f"200 {'x' * 197}***"),  # not cut in two
        (b"SSH-2.0-OpenSSH\r\n", False, "the answer is not HTTP"),
        (b"", False, "the connection was closed without an answer"),
        (ConnectionRefusedError("connection refused"), False, "cannot connect to 127.0.0.1 port 8080"),
        (TimeoutError(), False, "no answer within 2 s"),
        (OSError(), False, "OSError"),
    ],
)
def test_an_answer_is_judged_and_shown_in_one_line(
    trial: Trial, answer: bytes | Exception, detail: str, *, healthy: bool
) -> None:
    trial.answer(lambda now: answer if now == 0 else OK)
    trial.verify(stay_up=0.0)
    assert (trial.probes()[0].healthy, trial.probes()[0].detail) == (healthy, detail)


def test_a_tcp_test_only_connects(trial: Trial) -> None:
    trial.answer(lambda now: ConnectionRefusedError("connection refused") if now == 0 else b"")
    trial.verify(test=TcpTest(host="::1", port=5432), stay_up=0.0)
    assert trial.host.ran[0] == ("connect", ("::1", "5432"))
    assert [probe.detail for probe in trial.probes()] == ["cannot connect to ::1 port 5432", "connected"]


def test_a_command_is_run_on_the_host_as_the_services_user(trial: Trial) -> None:
    replies = iter(["not yet\nexit 1\n", "exit 124\n", "ready\nexit 0\n"])
    trial.host.says["probe"] = lambda _args: next(replies)
    trial.verify(test=ExecTest(argv=("pg_isready", "-q x")), stay_up=0.0, timeout=2.5)
    arguments = ("exec", "2.5", "app", "app", "pg_isready", "-q x")
    assert [args for name, args in trial.host.ran if name == "probe"] == [arguments] * 3
    details = [probe.detail for probe in trial.probes()]
    assert details == ["exit status 1: not yet", "exit status 124", "ready"]


def test_where_forwarding_is_forbidden_the_host_is_asked_once_and_then_its_own_tools(trial: Trial) -> None:
    trial.answer(lambda _now: ForwardingRefusedError())
    replies = iter(
        [
            "curl: (7) Failed to connect\nexit 7\n",
            "HTTP/1.1 503 Sick\r\nX: y\r\n\r\nsick\nexit 0\n",
            "  HTTP/1.1 200 OK\n  X: y\nexit 0\n",
            "HTTP/1.0 200 OK\r\nX: y\r\n\r\nfine\nexit 0\n",
        ]
    )
    trial.host.says["probe"] = lambda _args: next(replies)
    trial.verify(stay_up=0.2, start_interval=0.4, interval=0.4)
    assert len(trial.asked) == 1
    assert sum(isinstance(event, ProbeFellBack) for event in trial.events) == 1
    args = ("http", "2", "http://127.0.0.1:8080/health", "127.0.0.1", "8080", "/health")
    assert [args for name, args in trial.host.ran if name == "probe"] == [args] * 4
    assert [probe.detail for probe in trial.probes()] == [
        "exit status 7: curl: (7) Failed to connect",
        "503 sick",
        "200",
        "200 fine",
    ]


def test_a_tcp_test_falls_back_too(trial: Trial) -> None:
    trial.answer(lambda _now: ForwardingRefusedError())
    trial.host.says["probe"] = "exit 0\n"
    trial.verify(test=TcpTest(host="127.0.0.1", port=5432), stay_up=0.0)
    assert trial.host.ran[-1] == ("probe", ("tcp", "2", "127.0.0.1", "5432"))
    assert trial.probes()[-1].healthy


def test_a_host_that_can_be_asked_in_no_way_is_not_called_healthy(trial: Trial) -> None:
    trial.answer(lambda _now: ForwardingRefusedError())
    trial.host.says["probe"] = "exit 99\n"
    with pytest.raises(HostError) as caught:
        trial.verify()
    assert caught.value.cause == "no_probe"
    assert "AllowTcpForwarding" in caught.value.hint


def test_a_probe_that_said_nothing_is_not_healthy(trial: Trial) -> None:
    trial.host.says["probe"] = Reply(status=137, stdout="", stderr="Killed")
    with pytest.raises(UnhealthyError):
        trial.verify(test=ExecTest(argv=("true",)), start_period=0.0)
    assert not any(probe.healthy for probe in trial.probes())


# -- a service that nothing was done to -------------------------------------------------------------------


def test_one_good_answer_is_enough_for_a_service_that_was_not_touched(trial: Trial) -> None:
    trial.check_running(stay_up=60.0)
    assert (trial.asked, trial.time.now, trial.events) == ([0], 0.0, [])


def test_it_has_no_start_period_any_more(trial: Trial) -> None:
    trial.answer(lambda _now: SICK)
    with pytest.raises(UnhealthyError) as caught:
        trial.check_running(start_period=100.0, retries=3)
    assert trial.asked == [0, 1, 2]
    assert caught.value.message == "the release is in place but not healthy after 3 attempts"
    assert caught.value.answer == "503 sick"
    assert [probe.attempt for probe in trial.probes()] == [1, 2, 3]


def test_it_may_answer_late(trial: Trial) -> None:
    trial.answer(lambda now: OK if now >= 2 else SICK)
    trial.check_running(retries=3)
    assert trial.asked == [0, 1, 2]


@pytest.mark.parametrize("takes", [0.0, 2.0])
def test_it_is_not_waited_for_without_end_either(trial: Trial, takes: float) -> None:
    """However long each answer takes, and whatever else comes in between."""

    def answer(_now: float) -> bytes | Exception:
        trial.time.now += takes
        return TimeoutError() if takes else SICK

    trial.answer(answer)
    with pytest.raises(UnhealthyError):
        trial.check_running(start_period=100.0, stay_up=60.0, retries=30, interval=1.0, timeout=2.0)
    assert trial.time.now <= 30 * (1.0 + 2.0)


def test_an_https_test_is_asked_over_tls(trial: Trial) -> None:
    trial.answer(lambda now: b"HTTP/1.1 400 plain HTTP\r\n\r\n" if now == 0 else ConnectionResetError("gone"))
    test = HttpTest(url="https://127.0.0.1/", tls=True, host="127.0.0.1", port=443, path="/")
    with pytest.raises(UnhealthyError):
        trial.verify(test=test, start_period=0.0, retries=2)
    assert trial.probes()[0].detail.startswith("TLS failed: ")
    assert trial.probes()[1].detail == "gone"
