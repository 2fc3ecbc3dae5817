"""A binary is compressed once, and is what it was when the playbook was read, or is not sent."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
import zstandard

from deployer.errors import HostError
from deployer.load.binary import read_binary
from deployer.stage.encode import Payloads

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = b"#!/bin/sh\n" + b"echo it runs\n" * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.write_bytes(SCRIPT)
    return path


def test_what_is_sent_unpacks_to_the_binary(path: Path) -> None:
    payloads, binary = Payloads(), read_binary(path)
    assert payloads.get(binary, "plain") == SCRIPT
    assert gzip.decompress(payloads.get(binary, "gzip")) == SCRIPT
    assert zstandard.ZstdDecompressor().decompress(payloads.get(binary, "zstd")) == SCRIPT


def test_it_is_compressed_once_a_run(path: Path) -> None:
    payloads, binary = Payloads(), read_binary(path)
    assert payloads.get(binary, "zstd") is payloads.get(binary, "zstd")


def test_a_binary_built_anew_during_the_run_is_not_sent(path: Path) -> None:
    payloads, binary = Payloads(), read_binary(path)
    path.write_bytes(SCRIPT + b"# newer\n")
    with pytest.raises(HostError, match="was built anew while the run went on"):
        payloads.get(binary, "gzip")


def test_a_binary_that_went_away_is_said_so(path: Path) -> None:
    payloads, binary = Payloads(), read_binary(path)
    path.unlink()
    with pytest.raises(HostError, match=r"cannot read .* any more: No such file"):
        payloads.get(binary, "plain")
