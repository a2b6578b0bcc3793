"""A server started or stopped by the command that a user would type, and what the command says meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from infertui.text import plain
from infertui.tui.child import command

KEPT = 50  # lines of what it says


class Errand:
    """`infertui server start` or `stop`, in a session of its own."""

    def __init__(self, verb: Literal["start", "stop"], arguments: Sequence[str]) -> None:
        self.verb = verb
        self.cancelled = False
        self._arguments = list(arguments)
        self._said: deque[str] = deque(maxlen=KEPT)
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, told: Callable[[str], None]) -> int:
        """Its exit code. Each line that it says is told."""
        self._process = process = await asyncio.create_subprocess_exec(
            *command(["server", self.verb, *self._arguments]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stderr is not None
        try:
            with contextlib.suppress(ValueError):  # a line without measure
                async for line in process.stderr:
                    self._said.append(plain(line.decode("utf-8", "replace"), 600))
                    told(self._said[-1])
            return await process.wait()
        finally:
            if process.returncode is None:  # the app goes: what is half started goes with it
                self.cancel()

    def cancel(self) -> None:
        """As Ctrl-C: a second time does not wait."""
        self.cancelled = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    @property
    def why(self) -> str:
        """What it said of its failure."""
        words = [line.removeprefix("infertui: ") for line in self._said if line.startswith("infertui: ")]
        return (words or list(self._said) or ["it said nothing"])[-1]
