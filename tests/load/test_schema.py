"""Words of a playbook mean what Compose and Ansible mean by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from deployer.desired import ExecTest, HealthTest, HttpTest, RestartPolicy, TcpTest
from deployer.duration import parse_duration
from deployer.load import LoadOptions
from deployer.load.load import load
from deployer.load.schema import Argv, HealthcheckModel, ServiceModel

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.desired import Service


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("2h", 7200),
        ("1h5m30s20ms", 3930.02),
        ("500ms", 0.5),
        ("250us", 0.00025),
        ("1.5s", 1.5),
        (" 5s ", 5),
        (5, 5),
        (0.5, 0.5),
        (0, 0),
        ("5", 5),
        ("0.5", 0.5),
    ],
)
def test_a_duration_is_composes_or_a_number_of_seconds(written: Any, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        *("", "s", "10 s", "10sec", "1d", "-5s", "-1", "1m30", "1e3", "s5", "5s5", ".", "1.", "٣s", "²"),
        *(-1, True, None, [], float("nan"), float("inf")),
    ],
)
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 500ms, 10s or 1m30s"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "argv"),
    [
        ("serve --port 80", ["serve", "--port", "80"]),
        ("echo 'two words' \"it's\" a\\ b", ["echo", "two words", "it's", "a b"]),
        ("", []),
        (["serve", 80, 1.5], ["serve", "80", "1.5"]),
        (["two words", ""], ["two words", ""]),
    ],
)
def test_a_command_is_a_list_or_split_as_a_shell_would(written: Any, argv: list[str]) -> None:
    assert TypeAdapter(Argv).validate_python(written) == argv


@pytest.mark.parametrize("written", ["'open", ["a", True], ["a", ["b"]], ["a", None], 5, "a\0b", ["a\0"]])
def test_what_is_no_command_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Argv).validate_python(written)


def service_model(**keys: Any) -> ServiceModel:
    return ServiceModel.model_validate({"name": "app", "binary": "app", **keys})


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("no", RestartPolicy(name="no")),
        (False, RestartPolicy(name="no")),  # what YAML makes of a bare no
        ("always", RestartPolicy(name="always")),
        ("unless-stopped", RestartPolicy(name="unless-stopped")),
        ("on-failure", RestartPolicy(name="on-failure")),
        ("on-failure:3", RestartPolicy(name="on-failure", max_retries=3)),
        ("on-failure:0", RestartPolicy(name="on-failure", max_retries=0)),
    ],
)
def test_a_restart_policy_is_dockers(written: Any, policy: RestartPolicy) -> None:
    assert service_model(restart=written).restart == policy


def test_the_restart_policy_is_unless_stopped_if_nothing_is_said() -> None:
    assert service_model().restart == RestartPolicy(name="unless-stopped")


@pytest.mark.parametrize(
    "written",
    [True, None, "", "never", "No", "always:3", "on-failure:", "on-failure:-1", "on-failure:²", 0, []],
)
def test_another_restart_policy_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError, match="must be one of no, on-failure, on-failure:N"):
        service_model(restart=written)


def http(url: str, *, host: str, port: int, path: str, tls: bool = False) -> HttpTest:
    return HttpTest(url=url, tls=tls, host=host, port=port, path=path)


@pytest.mark.parametrize(
    ("written", "test"),
    [
        ("http://127.0.0.1/", http("http://127.0.0.1/", host="127.0.0.1", port=80, path="/")),
        ("http://a.b:81", http("http://a.b:81", host="a.b", port=81, path="/")),
        ("http://a/x?y=z", http("http://a/x?y=z", host="a", port=80, path="/x?y=z")),
        ("http://a?y=z", http("http://a?y=z", host="a", port=80, path="/?y=z")),
        ("https://a/x", http("https://a/x", host="a", port=443, path="/x", tls=True)),
        ("http://[::1]:81/", http("http://[::1]:81/", host="::1", port=81, path="/")),
        ("http://A.B/x", http("http://A.B/x", host="a.b", port=80, path="/x")),
        ("tcp://127.0.0.1:5432", TcpTest(host="127.0.0.1", port=5432)),
        ("tcp://[::1]:5432/", TcpTest(host="::1", port=5432)),
        (["CMD", "curl", "-f", "x"], ExecTest(argv=("curl", "-f", "x"))),
        (["CMD-SHELL", "curl x || exit 1"], ExecTest(argv=("/bin/sh", "-c", "curl x || exit 1"))),
        ("curl x || exit 1", ExecTest(argv=("/bin/sh", "-c", "curl x || exit 1"))),
        (["NONE"], None),
    ],
)
def test_a_health_test_is_a_url_or_composes(written: Any, test: HealthTest | None) -> None:
    assert HealthcheckModel(test=written).test == test


@pytest.mark.parametrize(
    "written",
    [
        "ftp://a/",
        "httpx://a/",
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:65536/",
        "http://a:b/",
        "http://me@a/",
        "http://[::1/",
        "http://a/b c",
        "http://a/ž",
        "http://a/\r\nX: y",
        "tcp://a",
        "tcp://a:0",
        "tcp://a:1/x",
        [],
        ["CMD"],
        ["CMD-SHELL"],
        ["CMD-SHELL", "a", "b"],
        ["NONE", "x"],
        ["curl"],
        ["CMD", 5],
        ["CMD", "a\0b"],
        5,
        {},
    ],
)
def test_another_health_test_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        HealthcheckModel(test=written)


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({}, False),
        ({"stay_up": "1s"}, False),
        ({"disable": True, "interval": 1}, False),
        ({"interval": 1}, True),
        ({"retries": 5, "stay_up": 1}, True),
    ],
)
def test_settings_of_a_test_need_a_test(keys: dict[str, Any], *, needed: bool) -> None:
    if needed:
        with pytest.raises(ValidationError, match="needs a test"):
            HealthcheckModel(**keys)
    else:
        assert HealthcheckModel(**keys).test is None


# -- through the whole loader ------------------------------------------------------------------------------


def load_service(
    folder: Path, lines: str, *, environ: dict[str, str] | None = None, env: str = ""
) -> Service:
    (folder / "app").write_text("#!/bin/sh\n")
    (folder / "app.env").write_text(env)
    body = "".join(f"        {line}\n" for line in lines.splitlines())
    text = f"- hosts: all\n  tasks:\n    - service:\n        name: app\n        binary: app\n{body}"
    (folder / "site.yml").write_text(text)
    options = LoadOptions(playbook=str(folder / "site.yml"), inventory=("web1,",))
    return load(options, environ=environ or {}).plays[0].hosts[0].services[0]


def environment(service: Service) -> dict[str, str]:
    return {name: value.reveal() for name, value in service.environment}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1.10", "1.10"),
        ("yes", "yes"),
        ("no", "no"),
        ("True", "True"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("12:30:00", "12:30:00"),
        ("0x1F", "0x1F"),
        ("1e3", "1e3"),
        ("'quoted: yes'", "quoted: yes"),
        ('""', ""),
        ('"a\\nb"', "a\nb"),
        ("$HOME", "$HOME"),
        ('"{{ 1 + 1 }}"', "2"),
        ('"{{ true }}"', "true"),
    ],
)
def test_a_value_of_environment_is_what_was_typed(tmp_path: Path, written: str, value: str) -> None:
    service = load_service(tmp_path, f"environment:\n  VALUE: {written}\n")
    assert environment(service) == {"VALUE": value}


def test_environment_wins_over_env_file_as_in_compose(tmp_path: Path) -> None:
    lines = "env_file: app.env\nenvironment: {B: mine, C: new}\n"
    service = load_service(tmp_path, lines, env="A=1\nB=2\nD=${B}\n", environ={})
    assert environment(service) == {"A": "1", "B": "mine", "D": "mine", "C": "new"}


def test_a_variable_without_a_value_comes_from_the_controller_or_is_left_out(tmp_path: Path) -> None:
    outside = {"GIVEN": "from outside", "LISTED": "also"}
    mapping = load_service(tmp_path, "environment:\n  GIVEN:\n  ABSENT: null\n", environ=outside)
    assert environment(mapping) == {"GIVEN": "from outside"}
    listing = load_service(tmp_path, "environment: [LISTED, ABSENT, A=b=c, E=]\n", environ=outside)
    assert environment(listing) == {"LISTED": "also", "A": "b=c", "E": ""}


def test_an_unquoted_no_is_a_restart_policy(tmp_path: Path) -> None:
    assert load_service(tmp_path, "restart: no\n").restart == RestartPolicy(name="no")


def test_what_is_not_said_has_a_good_default(tmp_path: Path) -> None:
    service = load_service(tmp_path, "")
    assert (service.user, service.keep_releases, service.stop_grace_period) == ("app", 5, 10.0)
    assert service.healthcheck.test is None
    assert service.healthcheck.stay_up > 0
