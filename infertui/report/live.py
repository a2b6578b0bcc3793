"""Where the events of a running benchmark go: lines of JSON on stdout, or progress on stderr.

The load's own thread writes them, and only what is taken at once: a thread beside it could be held up by the system
while it holds the interpreter, for as long as a busy server's time slice. So progress on a terminal is drawn by a
process of its own, which reads the same lines. Of ticks the newest is kept, and every other event.

    python -m infertui.report.live      reads events on stdin, draws on stderr
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TextIO

from infertui.event import (
    BlockStarted,
    CallEnded,
    Event,
    RunEnded,
    RunStarted,
    Sampled,
    ServerChanged,
    Ticked,
    Waited,
    Warned,
    line,
    parse,
)
from infertui.report.figure import number, seconds, size
from infertui.sample import Values
from infertui.text import plain

if TYPE_CHECKING:
    from rich.live import Live

BAR = 16
TOLD_EVERY_S = 10.0
AT_ONCE = 4096  # bytes that a pipe takes without waiting once it says that it takes any


class Outlet(Protocol):
    """Takes events from any thread without ever waiting."""

    def put(self, event: Event) -> None: ...

    def close(self) -> None: ...


@contextlib.contextmanager
def outlet(as_events: bool) -> Iterator[Outlet]:
    """For programs: JSON lines. For people: a live line on a terminal, plain lines elsewhere."""
    if as_events:
        lines = Lines(sys.stdout.fileno(), _stop_ourselves)
        try:
            yield lines
        finally:
            lines.close(patience_ms=None)  # a reader may be slow: it gets every end of a call
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with drawn() as shown:
            yield shown
    else:
        with contextlib.closing(Told()) as told:
            yield told


def _stop_ourselves() -> None:
    """Nobody reads the events any more: whoever started us is gone, so the run ends as on Ctrl-C."""
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def drawn() -> Iterator[Outlet]:
    """Progress drawn by a child process. It does not hear Ctrl-C: it ends when we say nothing more."""
    command = [sys.executable, "-m", "infertui.report.live"]
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    finally:
        signal.signal(signal.SIGINT, heard)
    assert child.stdin is not None
    lines = Lines(child.stdin.fileno(), lambda: None)
    try:
        yield lines
    finally:
        lines.close()
        with contextlib.suppress(OSError):
            child.stdin.close()
        try:
            child.wait(timeout=3)
        except subprocess.TimeoutExpired:  # a terminal that takes nothing any more
            child.kill()
            child.wait()


class Lines:
    """Events as JSON lines to a file descriptor. `gone` is called once when nobody reads them any more."""

    def __init__(self, fileno: int, gone: Callable[[], None]) -> None:
        self._fileno = fileno
        self._gone = gone
        self._owner = threading.get_ident()
        self._events: deque[Event] = deque()
        self._newest: dict[type[Event], Event] = {}  # of what may be missed
        self._rest = b""
        self._dead = False
        self._ready = select.poll()
        self._ready.register(fileno, select.POLLOUT)

    def put(self, event: Event) -> None:
        if isinstance(event, Ticked | Sampled):
            self._newest[type(event)] = event
        else:
            self._events.append(event)
        if threading.get_ident() == self._owner:
            self._flush(0)

    def close(self, patience_ms: int | None = 3000) -> None:
        """Write what is left, waiting for the reader as long as that."""
        self._flush(patience_ms)

    def _flush(self, wait_ms: int | None) -> None:
        while not self._dead and (self._rest or self._events or self._newest):
            if not self._ready.poll(wait_ms):
                return
            if not self._rest:
                if self._events:
                    self._rest = line(self._events.popleft())
                else:
                    self._rest = line(self._newest.pop(next(iter(self._newest))))
            try:
                written = os.write(self._fileno, self._rest[:AT_ONCE])
            except BlockingIOError:
                return
            except OSError:
                self._dead = True
                self._gone()
            else:
                self._rest = self._rest[written:]


class Told:
    """Events as plain lines on stderr, where it is a file or a pipe."""

    def __init__(self) -> None:
        self._progress = Progress(sys.stderr)
        self._owner = threading.get_ident()
        self._events: deque[Event] = deque()

    def put(self, event: Event) -> None:
        self._events.append(event)
        if threading.get_ident() == self._owner:
            while self._events:
                self._progress.show(self._events.popleft())

    def close(self) -> None:
        while self._events:
            self._progress.show(self._events.popleft())


class Progress:
    """A line on stderr: how far, how fast, and how long it will take. Where it is no terminal, a line a stage."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.names: dict[int, str] = {}
        self.told = time.monotonic()
        self.live: Live | None = None
        self.errors = 0
        self.waited = ""  # for what, the last time
        self.seen: Values = {}  # of the machine and the server, the newest of each

    def show(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.names[event.run] = plain(event.server, 40)
            self._say(f"run {event.run}: {event.scenario} on {plain(event.server, 60)}, model {plain(event.model, 60)}")
        elif isinstance(event, ServerChanged):
            self._server(event)
        elif isinstance(event, BlockStarted) and not self.terminal:
            calls = f"{event.calls} call{'s' if event.calls > 1 else ''}"
            self._say(f"run {event.run}: {_stage(event.role, event.round)}, {calls}")
        elif isinstance(event, Warned):
            self._say(f"! {plain(event.message, 400)}")
        elif isinstance(event, CallEnded) and not event.call.good:
            self.errors += 1
            if self.errors <= 5:
                self._say(f"! {event.call.name}: {event.call.outcome}: {event.call.message}")
        elif isinstance(event, Sampled):
            self.seen.update(event.values)
        elif isinstance(event, Waited):
            self._wait(event)
        elif isinstance(event, Ticked):
            self._tick(event)
        elif isinstance(event, RunEnded):
            self.close()

    def _server(self, event: ServerChanged) -> None:
        """A server on its way: on a terminal in place while it loads, elsewhere a line now and then."""
        said = f": {plain(event.message, 400)}" if event.message else ""
        after = f" after {seconds(event.elapsed_s)}" if event.elapsed_s >= 0.1 else ""
        text = f"{self.names.get(event.run, '')} {event.state}{after}{said}"
        if event.state != "loading":
            self._say(f"run {event.run}: {text}")
        elif self.terminal:
            self._draw([(f"run {event.run}: {text}", "")])
        elif event.elapsed_s < 0.1 or time.monotonic() - self.told > TOLD_EVERY_S:
            self.told = time.monotonic()
            self._say(f"run {event.run}: {text}")

    def _wait(self, event: Waited) -> None:
        """Why nothing is sent, and for how long yet: on a terminal in place, elsewhere a line a reason."""
        skipped = " (--wait 0: not at all)" if event.until == "calm" else ""
        text = f"run {event.run} waits, {event.left_s:.0f} s at most{skipped}: {plain(event.reason, 300)}"
        if self.terminal:
            self._draw([(text, "yellow")])
        elif event.cause != self.waited:
            self.waited = event.cause
            self._say(text)

    def _tick(self, event: Ticked) -> None:
        if self.terminal:
            self._draw(self._parts(event))
        elif time.monotonic() - self.told > TOLD_EVERY_S and event.ended:
            self.told = time.monotonic()
            self._say(f"run {event.run}: " + "".join(text for text, _ in self._parts(event)))

    def _draw(self, parts: Iterable[tuple[str, str]]) -> None:
        """The line in place. Never in the load's own process: there nothing is imported or styled."""
        from rich.text import Text

        if self.live is None:
            from rich.console import Console
            from rich.live import Live

            shown = Console(file=self.stream, highlight=False, markup=False, emoji=False)
            self.live = Live(
                console=shown, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self.live.start()
        drawn = Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
        self.live.update(drawn, refresh=True)

    def _parts(self, event: Ticked) -> Iterator[tuple[str, str]]:
        """Pieces of the line with their styles. What matters most comes first: a narrow terminal cuts the end off."""
        done = round(BAR * event.ended / event.total) if event.total else 0
        if len(self.names) > 1:
            yield f"{self.names.get(event.run, '')} ", ""
        yield f"{_stage(event.role, event.round)} ", ""
        yield "━" * done, "cyan"
        yield "─" * (BAR - done), "dim"
        yield f" {event.ended}/{event.total}", "bold"
        if event.left_s is not None:
            yield f" · {'at least ' if event.left_least else ''}{seconds(event.left_s)} left", ""
        if event.failed:
            yield f" · {event.failed} failed", "red"
        yield f" · {number(event.tokens_per_s, 'tok/s')}", ""
        if event.ttft_ms is not None:
            yield f" · ttft {number(event.ttft_ms, 'ms')}", ""
        if (cpu := self.seen.get("server_cpu_percent")) is not None:
            yield f" · CPU {number(cpu, '%')}", ""
        if (memory := self.seen.get("server_private_bytes")) is not None:
            yield f" · {size(memory)}", ""
        if (gpu := self.seen.get("gpu_percent")) is not None:
            yield f" · GPU {number(gpu, '%')}", ""
        yield f" · {event.active} under way", "dim"

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


def main() -> None:
    progress = Progress(sys.stderr)
    try:
        for said in sys.stdin.buffer:
            if (event := parse(said)) is not None:
                progress.show(event)
    finally:
        progress.close()


if __name__ == "__main__":
    main()
