"""A terminal for the tests: a real pty with a program in it, and what a person would see of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType

import pyte

# What pyte would take for text: questions to the terminal, and what modern ones are told of their keyboard.
_UNKNOWN = re.compile(rb"\x1b\[[?<>=]?[0-9;]*\$?[pu]|\x1b\[>[0-9;]*[a-z]")
_OPEN = re.compile(rb"\x1b(\[[^@-~]*)?$")  # a sequence whose end is still to come


class Picture:
    """What a program has drawn so far."""

    def __init__(self, columns: int, rows: int) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.alternate = False  # whether the program has the whole screen
        self.mouse = False
        self._stream = pyte.ByteStream(self.screen)
        self._open = b""

    def feed(self, data: bytes) -> None:
        data = self._open + data
        self._open = found.group() if (found := _OPEN.search(data)) else b""
        data = data[: len(data) - len(self._open)]
        for mode, on in re.findall(rb"\x1b\[\?(1049|1003)([hl])", data):
            if mode == b"1049":
                self.alternate = on == b"h"
            else:
                self.mouse = on == b"h"
        self._stream.feed(_UNKNOWN.sub(b"", data))

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)


class Terminal:
    """`command` in a terminal of its own, which is its controlling one, as a person has it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        columns: int = 120,
        rows: int = 30,
    ) -> None:
        self.heard: list[tuple[int, bytes]] = []  # what it has written, and when
        self._drawn = 0  # of that, in the picture: drawing takes its time, and is done when somebody looks
        self._picture = Picture(columns, rows)
        self._size = (columns, rows)
        self._closed = False
        self._master, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        kept = {key: value for key, value in environment.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.started_ns = time.perf_counter_ns()
        self.process = subprocess.Popen(
            command,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            cwd=folder,
            env={**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inside)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._closed:
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # nobody is in it any more
                return
            if not data:
                return
            self.heard.append((time.perf_counter_ns(), data))

    @property
    def picture(self) -> Picture:
        while self._drawn < len(self.heard):
            self._picture.feed(self.heard[self._drawn][1])
            self._drawn += 1
        return self._picture

    @property
    def text(self) -> str:
        return self.picture.text

    def shown_ns(self, what: str) -> int | None:
        """When that was to be seen first, of what was written until now."""
        picture = Picture(*self._size)
        for at_ns, data in self.heard[:]:
            picture.feed(data)
            if what in picture.text:
                return at_ns
        return None

    @property
    def keyboard(self) -> int:
        """The end of the terminal that a person has."""
        return self._master

    def press(self, *keys: str) -> None:
        """Each by itself, as fingers do."""
        for key in keys:
            os.write(self._master, key.encode())
            time.sleep(0.02)

    def wait_for(self, what: str | Callable[[str], bool], within_s: float = 20.0) -> str:
        """The picture that shows it. An AssertionError shows the picture that does not."""
        until = time.monotonic() + within_s
        while True:
            shown = self.text
            if what in shown if isinstance(what, str) else what(shown):
                return shown
            gone = self.process.poll() is not None
            if gone or time.monotonic() > until:
                raise AssertionError(f"{what!r} is not there{' and the program has ended' if gone else ''}:\n{shown}")
            time.sleep(0.05)

    def ended(self, within_s: float = 20.0) -> int:
        """Its exit code, with all that it has written."""
        code = self.process.wait(within_s)
        self._reader.join(1)
        return code

    def close(self) -> None:
        """As when the window is closed: the system tells the program by SIGHUP."""
        if not self._closed:
            self._closed = True
            self._reader.join()
            os.close(self._master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
