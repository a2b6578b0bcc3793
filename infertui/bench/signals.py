"""Ctrl-C and its kin, while a benchmark runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from infertui.client.driver import Stop
from infertui.event import Event, Warned


@contextlib.contextmanager
def heeded(stop: Stop, emit: Callable[[Event], None]) -> Iterator[None]:
    """Once: stop kindly. Twice: cut what is under way. A third time: leave at once; what had ended is stored."""
    loop = asyncio.get_running_loop()
    pressed = 0

    def asked_to_stop() -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 2:
            os._exit(130)
        emit(Warned(run=None, message="stopping: what is under way may finish" if pressed == 1 else "stopping now"))
        stop.ask()

    # what was set to be ignored (nohup) stays so
    kinds = [
        each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN
    ]
    for kind in kinds:
        loop.add_signal_handler(kind, asked_to_stop)
    try:
        yield
    finally:
        for kind in kinds:
            loop.remove_signal_handler(kind)
