"""How a binary travels: made once, whatever the number of hosts, and kept for the next run."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import deflate

from deployer.errors import HostError
from deployer.plan.plan import Encoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from deployer.desired import Binary
    from deployer.stage.cache import Cache

_ZSTD_LEVEL = 3
_GZIP_LEVEL = 6
_GZIP_HEAD = 10  # bytes at the beginning of each member, the same for all of ours
_GZIP_PIECE = 1024 * 1024  # bytes; smaller ones are packed worse

_LARGEST = 64 * 1024 * 1024
"""Bytes of a binary that a patch is made from or for: to apply it, a host needs memory for both."""


class Payloads:
    """The bytes to send for each binary and encoding; made when first asked for, then shared.

    A compressed binary is kept in `cache` under its own digest; patches are made from those.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._made: dict[tuple[str, str, str], bytes | None] = {}
        self._turns: dict[tuple[str, str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def references(self) -> frozenset[str]:
        """Digests of the binaries that patches can be made from."""
        names = self._cache.names()
        return frozenset(name.removesuffix(".zstd") for name in names if name.endswith(".zstd"))

    def get(self, binary: Binary, encoding: Encoding) -> bytes | None:
        """`binary` in that encoding; None if there is no such patch, so that another way must do.

        Raises:
            HostError: the file is gone, or is not what it was when the playbook was read.

        """
        key = (binary.sha256, encoding.kind, encoding.reference)
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # hosts wait for what they need, and for nothing else
            if key not in self._made:
                self._made[key] = self._make(binary, encoding)
            return self._made[key]

    def _make(self, binary: Binary, encoding: Encoding) -> bytes | None:
        match encoding.kind:
            case "link":
                return b""
            case "plain":
                return _read(binary)
            case "patch":
                return self._patch(binary, encoding.reference)
            case kind:
                return self._whole(binary, kind)

    def _whole(self, binary: Binary, kind: str) -> bytes:
        if kept := self._kept(binary.sha256, kind):
            return kept[0]
        payload = _compress(_read(binary), kind)
        self._cache.write(f"{binary.sha256}.{kind}", payload)
        return payload

    def _patch(self, binary: Binary, reference: str) -> bytes | None:
        # The whole is what the next patch will be made from, and what is sent should this one not do.
        whole = self.get(binary, Encoding(kind="zstd"))
        kept = self._kept(reference, "zstd")
        if whole is None or kept is None or max(binary.size, len(kept[1])) > _LARGEST:
            return None
        return _patch(kept[1], _decompress(whole, "zstd"))

    def _kept(self, sha256: str, kind: str) -> tuple[bytes, bytes] | None:
        """A compressed binary of the cache, and the binary, if it is that."""
        name = f"{sha256}.{kind}"
        payload = self._cache.read(name)
        if payload is None:
            return None
        try:
            content = _decompress(payload, kind)
        except (zstd.ZstdError, deflate.DeflateError, ValueError, MemoryError):
            content = b""
        if hashlib.sha256(content).hexdigest() == sha256:
            return payload, content
        self._cache.drop(name)
        return None


def _read(binary: Binary) -> bytes:
    try:
        content = binary.path.read_bytes()
    except OSError as error:
        message = f"cannot read {binary.path} any more: {error.strerror}"
        raise HostError("binary_changed", message) from None
    if hashlib.sha256(content).hexdigest() != binary.sha256:
        message = f"{binary.path} was built anew while the run went on"
        raise HostError("binary_changed", message, hint="run it again")
    return content


def _compress(content: bytes, kind: str) -> bytes:
    if kind == "zstd":
        return zstd.compress(content, _ZSTD_LEVEL)
    # On all cores: members one after the other are a gzip file, too (RFC 1952, 2.2).
    pieces = (content[start : start + _GZIP_PIECE] for start in range(0, len(content), _GZIP_PIECE))
    with ThreadPoolExecutor(os.cpu_count()) as cores:
        members = cores.map(lambda piece: bytes(deflate.gzip_compress(piece, _GZIP_LEVEL)), pieces)
        return b"".join(members)


def _decompress(payload: bytes, kind: str) -> bytes:
    if kind == "zstd":
        return zstd.decompress(payload)
    # Three times as fast as the standard library's, and for one member only.  Should those bytes ever stand
    # inside of one, it cannot be read, and is made anew.
    head = payload[:_GZIP_HEAD]
    return b"".join(_decompress_member(head + rest) for rest in payload.split(head)[1:])


def _decompress_member(member: bytes) -> bytes:
    content = bytes(deflate.gzip_decompress(member))
    if int.from_bytes(member[-4:], "little") != len(content):  # RFC 1952, 2.3.1
        raise ValueError("what follows the end is garbage, and gzip(1) fails there")
    return content


def _patch(old: bytes, new: bytes) -> bytes:
    """What `zstd --patch-from=OLD NEW` makes (zstd(1)): NEW, with OLD as what came before it."""
    window = max(len(old), len(new), 1 << 16).bit_length()
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: _ZSTD_LEVEL,
        # The window holds all of OLD, and the tables in which matches are looked up know all of it: a smaller
        # patch in less time than with long distance matching, which is what the command falls back to.
        parameter.window_log: window,
        parameter.hash_log: window - 2,
        parameter.chain_log: window - 4,
    }
    return zstd.compress(new, options=options, zstd_dict=zstd.ZstdDict(old, is_raw=True).as_prefix)
