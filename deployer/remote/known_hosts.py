"""known_hosts files as OpenSSH reads them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MARKERS = {"@revoked", "@cert-authority"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """One line: the names it is for, and the key."""

    names: tuple[str, ...]
    kind: str
    blob: bytes
    marker: str = ""

    def is_for(self, name: str) -> bool:
        """Whether `name` is one of its names, and not one that it excludes with `!`."""
        if any(pattern.startswith("!") and _matches(pattern[1:], name) for pattern in self.names):
            return False
        return any(_matches(pattern, name) for pattern in self.names)


def read_known_hosts(path: Path) -> list[KnownKey]:
    """The keys of a file; none if it is not there.  Lines that cannot be read are nobody's keys."""
    if not path.is_file():
        return []
    found = map(_parse, path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [key for key in found if key is not None]


def _parse(line: str) -> KnownKey | None:
    words = line.split()
    if words and words[0] in _MARKERS:
        key = _parse(" ".join(words[1:]))
        return key and replace(key, marker=words[0])
    if len(words) < 3 or words[0].startswith(("#", "@")):  # noqa: PLR2004  names, kind, key
        return None
    try:
        blob = base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return KnownKey(names=tuple(words[0].split(",")), kind=words[1], blob=blob)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        salt, _, digest = pattern[3:].partition("|")
        try:
            found = hmac.digest(base64.b64decode(salt), name.encode(), "sha1")
            return hmac.compare_digest(found, base64.b64decode(digest))
        except (binascii.Error, ValueError):
            return False
    expression = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name.lower()) is not None
