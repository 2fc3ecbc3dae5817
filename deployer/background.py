"""Work that goes on beside its caller's, in a thread that ends with the process at the latest."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Begin(Protocol):
    """What starts work and gives its future; tests do the work at once."""

    def __call__(self, work: Callable[[], _T], /) -> Future[_T]: ...  # noqa: D102


def begin(work: Callable[[], _T]) -> Future[_T]:
    """Start `work`; the future has what it returns or raises.  Nobody need ever ask.

    Pools wait for their threads when the process ends, and a host that is silent would keep it.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  it is the caller's to judge
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
