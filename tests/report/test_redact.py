"""No secret is part of a text that went through the redactor, and the rest stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.report.redact import redactor
from deployer.secret import Secret

KEY = "-----BEGIN KEY-----\nMIIBhunter2\n\nab\n-----END KEY-----\n"


def redact(text: str, *secrets: str) -> str:
    return redactor(Secret(secret) for secret in secrets)(text)


@pytest.mark.parametrize(
    ("secrets", "text", "shown"),
    [
        (["hunter2"], "password hunter2, again hunter2!", "password ***, again ***!"),
        (["hunter2"], "nothing here", "nothing here"),
        ([], "nothing to hide", "nothing to hide"),
        (["hunter2", "hunter2-longer"], "a hunter2-longer b", "a *** b"),  # the longest first
        (["a.c*e(", "$HOME"], "x a.c*e( y $HOME", "x *** y ***"),  # no regular expression
        ([KEY], f"read {KEY}done", "read ***done"),
        ([KEY], "log: MIIBhunter2\nlog: -----END KEY-----", "log: ***\nlog: ***"),
        (["two words"], "say two words", "say ***"),
    ],
)
def test_secrets_are_replaced(secrets: list[str], text: str, shown: str) -> None:
    assert redact(text, *secrets) == shown


@pytest.mark.parametrize(
    "value", ["", "a", "abc", "8080", "65535", "true", "false", "none", "null", "info", "debug", "production"]
)
def test_ports_modes_and_very_short_values_stay_readable(value: str) -> None:
    assert redact(f"listening on :{value} now", value) == f"listening on :{value} now"


def test_a_service_cannot_write_escape_sequences_to_the_terminal() -> None:
    assert redact("ok\x1b[2J\x9b31m\rall good\n\tnext \u00e9\u4e16", "") == (
        "ok\ufffd[2J\ufffd31m\ufffdall good\n\tnext \u00e9\u4e16"
    )


def test_a_long_number_is_a_secret() -> None:
    assert redact("pin 123456", "123456") == "pin ***"


LONG = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=7)


@given(st.lists(LONG, min_size=1, max_size=4), st.text(), st.text())
def test_no_secret_survives(secrets: list[str], before: str, after: str) -> None:
    for secret in secrets:
        assert secret not in redact(f"{before}{secret}{after}", *secrets)
