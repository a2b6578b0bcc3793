"""Work in threads that nobody has to wait for: one of a pool would hold up the end of the program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T]) -> Future[T]:
    """Begin it; whoever needs it asks the future."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # who waits no longer cannot make its end an error

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


async def awaited(work: Callable[[], T]) -> T:
    """The same for a loop that goes on meanwhile."""
    return await asyncio.wrap_future(aside(work))
