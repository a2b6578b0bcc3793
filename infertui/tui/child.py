"""What is timed runs in a process of its own: `infertui run … --events`, whose lines are read here.

It is in a session of its own, so that what a terminal sends to us does not reach it twice; when we go, its events find
no reader and it stops as on Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from infertui.event import Event, parse
from infertui.pid import APP
from infertui.text import plain

LONGEST_LINE = 64 << 20  # bytes: the summary of a run is one line
KEPT = 200  # lines of what it says on stderr


def command(arguments: Sequence[str]) -> list[str]:
    """An `infertui` command in this very Python."""
    return [sys.executable, "-m", "infertui", *arguments]


class Child:
    """One `infertui run`. `arguments` are what a user would type after it."""

    def __init__(self, arguments: Sequence[str], database: Path) -> None:
        self.arguments = list(arguments)
        self.database = database
        self.said: deque[str] = deque(maxlen=KEPT)  # on stderr
        self.asked_to_stop = 0
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None

    @property
    def shown(self) -> str:
        """The command as a user would type it."""
        return shlex.join(["infertui", "run", *self.arguments])

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *command(["run", *self.arguments, "--events", "--db", str(self.database)]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            env={**os.environ, APP: str(os.getpid())},
            start_new_session=True,
        )
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):  # a line without measure
            async for line in self._process.stderr:
                self.said.append(plain(line.decode("utf-8", "replace"), 1000))

    async def events(self) -> AsyncIterator[Event]:
        """Until it says no more."""
        assert self._process is not None
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):
            async for line in self._process.stdout:
                if (event := parse(line)) is not None:
                    yield event

    async def ended(self) -> int:
        """Its exit code; a negative one is the signal that killed it."""
        assert self._process is not None
        assert self._listener is not None
        code = await self._process.wait()
        await asyncio.wait([self._listener], timeout=1)
        self._listener.cancel()
        return code

    def stop(self) -> None:
        """As Ctrl-C: once stops kindly, twice at once."""
        if self.alive and self._process is not None:
            self.asked_to_stop += 1
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)


def why(code: int, said: Sequence[str]) -> str:
    """How a run ended, in a line; empty when it ended well."""
    if code in (0, 130):
        return ""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"the run was killed ({signal.Signals(-code).name}): what it had measured is kept"
        return f"the run was killed (signal {-code}): what it had measured is kept"
    words = [line.removeprefix("infertui: ") for line in said if line.startswith("infertui: ")]
    return words[-1] if words else f"the run ended with code {code}"
