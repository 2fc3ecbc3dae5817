"""Signs of life: renews the locks of all hosts that a run works on, until it lets go of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from deployer.transaction.lock import renew_locks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.remote.remote import Remote
    from deployer.transaction.lock import Owner

_AT_ONCE = 64
"""Hosts that are told at a time.

One that hangs keeps a thread for a third of a lease; with few threads a dead rack would cost others theirs.
"""


class Keeper:
    """Knows which locks of which hosts are held, and renews them three times a lease."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._held: dict[str, tuple[Remote, tuple[str, ...]]] = {}
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def hold(self, host: str, remote: Remote, services: Sequence[str]) -> None:
        """From now on renew the locks of these services, over this connection."""
        with self._lock:
            if services:
                self._held[host] = (remote, tuple(services))

    def drop(self, host: str) -> None:
        """No longer."""
        with self._lock:
            self._held.pop(host, None)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Renew in the background, as long as this lasts."""
        pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="keeper")
        thread = threading.Thread(target=self._run, args=(pool,), name="keeper", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, pool: ThreadPoolExecutor) -> None:
        while not self._ended.wait(self._owner.lease / 3):
            with self._lock:
                due = self._held.keys() - self._busy  # a host that hangs must not fill the pool
                self._busy |= due
            for host in due:
                with suppress(RuntimeError):  # the pool was shut down this moment
                    pool.submit(self._renew, host)

    def _renew(self, host: str) -> None:
        try:
            with self._lock:
                found = self._held.get(host)
            if found:
                # Whoever uses the connection next will see what is wrong with it, and say so.
                with suppress(Exception):
                    renew_locks(found[0], self._owner, found[1])
        finally:
            with self._lock:
                self._busy.discard(host)
