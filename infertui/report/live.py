"""Where the events of a running benchmark go: lines of JSON, or progress on a terminal.

A thread of its own writes them, so that neither a slow terminal nor a full pipe is ever waited for by the load. It
keeps only the newest tick, and every other event.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from infertui.event import BlockStarted, CallEnded, Event, RunEnded, RunStarted, Ticked, Warned, line
from infertui.report.figure import number, seconds
from infertui.text import plain

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text


BAR = 16


class Outlet:
    """Takes events without ever waiting; `show` gets them in the outlet's thread."""

    def __init__(self, show: Callable[[Event], None]) -> None:
        self._show = show
        self._events: deque[Event] = deque()
        self._tick: Ticked | None = None
        self._ready = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        with self._ready:
            if isinstance(event, Ticked):
                self._tick = event
            else:
                self._events.append(event)
            self._ready.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        with self._ready:
            self._open = False
            self._ready.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._ready:
                while self._open and not self._events and self._tick is None:
                    self._ready.wait()
                if self._events:
                    event: Event = self._events.popleft()
                elif self._tick is not None:
                    event, self._tick = self._tick, None
                else:
                    return
            self._show(event)


def json_lines(gone: Callable[[], None]) -> Callable[[Event], None]:
    """Events as lines on stdout. `gone` is called once when nobody reads them any more."""
    dead = False

    def show(event: Event) -> None:
        nonlocal dead
        if dead:
            return
        try:
            sys.stdout.buffer.write(line(event))
            sys.stdout.buffer.flush()
        except OSError:
            dead = True
            with contextlib.suppress(OSError):  # what is still buffered would fail again at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            gone()

    return show


class Progress:
    """A line on stderr: how far, how fast, and how long it will take. Where it is no terminal, a line a stage."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.stream = stream
        self.terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.names: dict[int, str] = {}
        self.drawn = 0.0
        self.live: Live | None = None
        self.errors = 0

    def show(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.names[event.run] = plain(event.server, 40)
            self._say(f"run {event.run}: {event.scenario} on {plain(event.server, 60)}, model {plain(event.model, 60)}")
        elif isinstance(event, BlockStarted) and not self.terminal:
            calls = f"{event.calls} call{'s' if event.calls > 1 else ''}"
            self._say(f"run {event.run}: {_stage(event.role, event.round)}, {calls}")
        elif isinstance(event, Warned):
            self._say(f"! {plain(event.message, 400)}")
        elif isinstance(event, CallEnded) and not event.call.good:
            self.errors += 1
            if self.errors <= 5:
                self._say(f"! {event.call.name}: {event.call.outcome}: {event.call.message}")
        elif isinstance(event, Ticked):
            self._tick(event)
        elif isinstance(event, RunEnded):
            self.close()

    def _tick(self, event: Ticked) -> None:
        now = time.monotonic()
        if not self.terminal:
            if now - self.drawn > 10 and event.ended:
                self.drawn = now
                self._say(f"run {event.run}: {self._line(event).plain}")
            return
        if self.live is None:
            from rich.console import Console
            from rich.live import Live

            shown = Console(file=self.stream, highlight=False, markup=False, emoji=False)
            self.live = Live(
                console=shown, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self.live.start()
        self.live.update(self._line(event), refresh=True)

    def _line(self, event: Ticked) -> Text:
        """What matters most comes first: a narrow terminal cuts the end off."""
        from rich.text import Text

        done = round(BAR * event.ended / event.total) if event.total else 0
        shown = Text(no_wrap=True, overflow="ellipsis")
        if len(self.names) > 1:
            shown.append(f"{self.names.get(event.run, '')} ")
        shown.append(f"{_stage(event.role, event.round)} ")
        shown.append("━" * done, "cyan").append("─" * (BAR - done), "dim")
        shown.append(f" {event.ended}/{event.total}", "bold")
        if event.left_s is not None:
            shown.append(f" · {seconds(event.left_s)} left")
        if event.failed:
            shown.append(f" · {event.failed} failed", "red")
        shown.append(f" · {number(event.tokens_per_s, 'tok/s')}")
        if event.ttft_ms is not None:
            shown.append(f" · ttft {number(event.ttft_ms, 'ms')}")
        return shown.append(f" · {event.active} under way", "dim")

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            if self.live is not None:
                self.live.console.print(text)
            else:
                print(text, file=self.stream, flush=True)

    def close(self) -> None:
        if self.live is not None:
            with contextlib.suppress(OSError):
                self.live.stop()
            self.live = None


def _stage(role: str, round: int) -> str:
    return {"warmup": "warm-up", "alone": "alone, to compare with"}.get(role, f"round {round}")
