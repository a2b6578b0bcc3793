"""The sampler from its owner's side: started, told whom to watch, read without waiting, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import msgspec

from infertui.sample import Absent, Sample
from infertui.telemetry.sampler import Look, Looked, Order, Ready, Said, Watch

READY_S = 6.0
LOOK_S = 5.0
END_S = 2.0


class Sampling:
    """A sampler process. Nothing here waits, but for what says so; once it is dead it only says nothing more.

    `on_sample` gets each reading when it is drained, in the order in which they were taken.
    """

    def __init__(self, on_sample: Callable[[Sample], None]) -> None:
        self.on_sample = on_sample
        self.sources: tuple[str, ...] = ()
        self.absent: dict[str, Absent] = {}
        self.dead = ""  # why it says nothing more
        self._looked: Looked | None = None
        self._ready = self._ending = False
        self._heard = b""
        self._decoder = msgspec.json.Decoder(Said)
        self._child: subprocess.Popen[bytes] | None = None
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "infertui.telemetry.sampler"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is not for it
                cwd="/",  # no folder of the user's is held, and none shadows a module
            )
        except OSError as error:
            self.dead = f"the sampler cannot be started: {error.strerror or error}"
            return
        assert self._child.stdout is not None
        os.set_blocking(self._child.stdout.fileno(), False)

    @property
    def pid(self) -> int:
        return self._child.pid if self._child is not None else 0

    def watch(self, roots: Iterable[int], adopters: Iterable[int] = (), elsewhere: bool = False) -> None:
        """Whose processes are the server's from now on."""
        watched = Watch(roots=tuple(roots), adopters=tuple(adopters), own=(os.getpid(),), elsewhere=elsewhere)
        self._order(watched)

    def drain(self) -> None:
        """Take what it has said so far."""
        if self._child is None or self.dead:
            return
        assert self._child.stdout is not None
        try:
            while said := os.read(self._child.stdout.fileno(), 1 << 16):
                self._heard += said
        except BlockingIOError:
            pass
        else:
            if not self._ending:
                self._died()
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = self._decoder.decode(line)
        except msgspec.MsgspecError:
            return
        if isinstance(said, Sample):
            self.on_sample(said)
        elif isinstance(said, Absent):
            self.absent[said.name] = said
        elif isinstance(said, Looked):
            self._looked = said
        elif isinstance(said, Ready):
            self.sources, self._ready = said.sources, True

    def _died(self) -> None:
        assert self._child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=END_S)
        code = self._child.returncode
        self.dead = f"the sampler died ({f'signal {-code}' if code is not None and code < 0 else f'exit code {code}'})"

    def _order(self, order: Order) -> None:
        if self._child is None or self.dead:
            return
        assert self._child.stdin is not None
        try:
            os.write(self._child.stdin.fileno(), msgspec.json.encode(order) + b"\n")
        except OSError:
            self._died()

    async def ready(self) -> None:
        """Wait until every source has said whether it is there."""
        await self._until(lambda: self._ready, READY_S)

    async def look(self, timed: bool) -> Looked | None:
        """The conditions now, before a block (`timed`) or after it; None where the sampler does not answer."""
        self.drain()
        self._looked = None
        self._order(Look(timed=timed))
        await self._until(lambda: self._looked is not None, LOOK_S)
        return self._looked

    async def _until(self, met: Callable[[], bool], within_s: float) -> None:
        until = time.monotonic() + within_s
        while not (met() or self.dead or time.monotonic() > until):
            await asyncio.sleep(0.01)
            self.drain()

    def stop(self) -> None:
        """End it. What it had said until then is taken."""
        if self._child is None:
            return
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._ending = True
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self.drain()
        self._child.stdout.close()
        self._child = None
