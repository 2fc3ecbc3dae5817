"""--bwlimit: how fast all uploads of a run together may go."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.verify.verify import Clock

_PIECE = 65_408  # bytes: two of SSH's usual packets, without a third for what is left over


class Bandwidth:
    """Bytes per second that the uploads of all hosts share; 0 is no limit."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._free = clock.now()  # when the next piece may be sent
        self._lock = threading.Lock()

    def pace(self, content: bytes) -> Iterator[memoryview]:
        """The same bytes in pieces, each as soon as it may be sent."""
        view = memoryview(content)
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            self._wait(len(piece))
            yield piece

    def _wait(self, size: int) -> None:
        if not self._rate:
            return
        with self._lock:
            now = self._clock.now()
            turn = max(now, self._free)
            self._free = turn + size / self._rate
        self._clock.sleep(turn - now)
