"""How a binary travels: compressed once a run, whatever the number of hosts."""

from __future__ import annotations

import gzip
import hashlib
import threading
from typing import TYPE_CHECKING

from deployer.errors import HostError

if TYPE_CHECKING:
    from deployer.desired import Binary

_ZSTD_LEVEL = 3
_GZIP_LEVEL = 1  # zlib's fastest: 0.15 s for 10 MB, and within a few percent of the default's size


class Payloads:
    """The bytes to send for each binary and encoding; made when first asked for, then shared."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], bytes] = {}
        self._lock = threading.Lock()

    def get(self, binary: Binary, encoding: str) -> bytes:
        """`binary` as `plain`, `gzip` or `zstd`.

        Raises:
            HostError: the file is gone, or is not what it was when the playbook was read.

        """
        with self._lock:
            key = (binary.sha256, encoding)
            if key not in self._made:
                try:
                    content = binary.path.read_bytes()
                except OSError as error:
                    message = f"cannot read {binary.path} any more: {error.strerror}"
                    raise HostError("binary_changed", message) from None
                if hashlib.sha256(content).hexdigest() != binary.sha256:
                    message = f"{binary.path} was built anew while the run went on"
                    raise HostError("binary_changed", message, hint="run it again")
                self._made[key] = _encode(content, encoding)
            return self._made[key]


def _encode(content: bytes, encoding: str) -> bytes:
    match encoding:
        case "zstd":
            import zstandard  # noqa: PLC0415  only where a host can unpack it

            return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(content)
        case "gzip":
            return gzip.compress(content, _GZIP_LEVEL, mtime=0)
        case _:
            return content
