"""A release is sent in the cheapest way that works, and what went over the wire is told."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deployer.errors import HostError
from deployer.load.binary import read_binary
from deployer.plan.plan import Encoding, ServicePlan, plan_service
from deployer.report.events import Event, ReleaseStaged, StageStarted, UploadFellBack, UploadProgressed
from deployer.stage.stage import stage
from tests.made import make_context, make_observation, make_seen, make_service
from tests.memory import MemoryHost, Time

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.plan.plan import EncodingKind
    from deployer.remote.remote import Remote
    from deployer.target import Target

CONTENT = b"#!/bin/sh\n" + b"echo it runs\n" * 20_000
GZIP = Encoding(kind="gzip")


def nobody_connects(_target: Target) -> Remote:
    raise AssertionError


class Upload:
    """One upload to a host that says what a test wants it to."""

    def __init__(self, folder: Path, *encodings: Encoding, **says: str) -> None:
        (folder / "server").write_bytes(CONTENT)
        service = make_service(binary=replace(read_binary(folder / "server"), machine=None))
        observation = make_observation(make_seen(current=None, releases={}), files={})
        made = plan_service(service, observation, now=dt.datetime(2025, 6, 1, tzinfo=dt.UTC))
        self.plan: ServicePlan = replace(made, encodings=encodings)
        self.events: list[Event] = []
        self.host = MemoryHost(
            says={"stage": lambda args: says.get(args[13].partition(":")[0], "staged r\n")}
        )

    def go(self) -> None:
        context = make_context(connect=nobody_connects, emit=self.events.append, clock=Time().clock)
        stage(self.host, "web1", self.plan, context.stager)

    @property
    def tried(self) -> list[str]:
        """The encodings that were sent."""
        return [args[13] for name, args in self.host.ran if name == "stage"]

    def said(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kinds)]


def test_what_was_sent_and_what_was_saved_is_told(tmp_path: Path) -> None:
    upload = Upload(tmp_path, Encoding(kind="plain"))
    upload.go()
    sent = [event.sent for event in upload.events if isinstance(event, UploadProgressed)]
    (staged,) = upload.said(ReleaseStaged)
    assert isinstance(staged, ReleaseStaged)
    assert (staged.size, staged.encoding, staged.saved) == (len(CONTENT), "plain", 0)
    assert staged.sent == len(CONTENT)
    assert sent == sorted(sent)
    assert sent[-1] == staged.sent
    assert {event.total for event in upload.events if isinstance(event, UploadProgressed)} == {staged.sent}

    upload = Upload(tmp_path, GZIP)
    upload.go()
    (packed,) = upload.said(ReleaseStaged)
    assert isinstance(packed, ReleaseStaged)
    assert packed.sent + packed.saved == staged.sent
    assert packed.saved > 0.9 * len(CONTENT)
    assert {event.saved for event in upload.events if isinstance(event, UploadProgressed)} == {packed.saved}


@pytest.mark.parametrize("cause", ["cannot_unpack", "digest_mismatch"])
@pytest.mark.parametrize("kind", ["link", "patch"])
def test_a_link_or_a_patch_that_fails_is_followed_by_the_whole(
    tmp_path: Path, kind: EncodingKind, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = b"" if kind == "link" else b"a patch"
    monkeypatch.setattr("deployer.stage.encode.Payloads._patch", lambda *_: payload)
    cheap = Encoding(kind=kind, release="r1", reference="0" * 64)
    upload = Upload(tmp_path, cheap, GZIP, **{kind: f"failed {cause} not what it was\n"})
    upload.go()
    assert upload.tried == [f"{kind}:r1", "gzip"]
    started, *_, staged = upload.said(StageStarted, UploadFellBack, ReleaseStaged)
    assert isinstance(started, StageStarted)
    assert upload.said(UploadFellBack) == [
        UploadFellBack(host="web1", service="app", encoding=kind, detail="not what it was")
    ]
    assert isinstance(staged, ReleaseStaged)
    assert staged.encoding == "gzip"
    assert upload.said(ReleaseStaged) == [staged]
    whole = Upload(tmp_path, GZIP)
    whole.go()
    (alone,) = whole.said(ReleaseStaged)
    assert isinstance(alone, ReleaseStaged)
    assert staged.sent == alone.sent + len(payload)


def test_a_patch_that_cannot_be_made_costs_no_round_trip(tmp_path: Path) -> None:
    upload = Upload(tmp_path, Encoding(kind="patch", release="r1", reference="0" * 64), GZIP)
    upload.go()
    assert upload.tried == ["gzip"]
    assert upload.said(UploadFellBack) == []


@pytest.mark.parametrize("cause", ["no_user", "stale", "connection_lost", "cannot_write"])
def test_what_has_nothing_to_do_with_the_binary_is_not_tried_again(tmp_path: Path, cause: str) -> None:
    upload = Upload(tmp_path, Encoding(kind="link", release="r1"), GZIP, link=f"failed {cause} so it is\n")
    with pytest.raises(HostError, match="so it is"):
        upload.go()
    assert upload.tried == ["link:r1"]


def test_a_whole_binary_that_fails_is_a_failure(tmp_path: Path) -> None:
    upload = Upload(tmp_path, GZIP, gzip="failed digest_mismatch server arrived damaged\n")
    with pytest.raises(HostError, match="arrived damaged"):
        upload.go()
    assert (upload.tried, upload.said(ReleaseStaged, UploadFellBack)) == (["gzip"], [])
