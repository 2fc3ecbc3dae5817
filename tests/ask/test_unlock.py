"""Who had which lock; and no host is taken for unlocked that did not say so."""

from __future__ import annotations

import pytest

from deployer.ask.unlock import parse_unlocked

BROKEN = ["broken", "app", "run=R1", "by=anna@laptop", "pid=42", "from=b-1", "since=1795346400", "left=60"]


def test_a_reply_has_a_word_for_each_service() -> None:
    app, worker = parse_unlocked([BROKEN, ["free", "worker"], ["unrecorded", "line"]], ["app", "worker"])
    assert (app.service, app.holder and app.holder.run) == ("app", "R1")
    assert (worker.service, worker.holder) == ("worker", None)


@pytest.mark.parametrize("lines", [[], [["Welcome!"]], [BROKEN], [["free", "worker"]]])
def test_a_reply_that_passes_over_a_service_is_none(lines: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="nothing about"):
        parse_unlocked(lines, ["app", "worker"])
