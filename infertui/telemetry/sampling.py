"""The sampler from its owner's side: started, told whom to watch, read without waiting, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO

import msgspec

from infertui.pid import app
from infertui.sample import Absent, Sample
from infertui.telemetry.sampler import Look, Looked, Order, Ready, Said, Watch, Watching
from infertui.text import plain

MODULE = "infertui.telemetry.sampler"
READY_S = 6.0
LOOK_S = 5.0
END_S = 2.0
GONE_S = 0.1  # between its pipe's end and its own
WORDS = 2000  # of what it said last on stderr


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
        self._unheeded = self._since_ns = 0  # watches that it has not begun with yet; when it did with the last
        self._heard = self._last_words = b""
        self._decoder = msgspec.json.Decoder(Said)
        self._child: subprocess.Popen[bytes] | None = None
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is not for it
                cwd="/",  # no folder of the user's is held, and none shadows a module
            )
        except OSError as error:
            self.dead = f"the sampler cannot be started: {error.strerror or error}"
            return
        for pipe in (self._child.stdout, self._child.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)

    @property
    def pid(self) -> int:
        return self._child.pid if self._child is not None else 0

    def watch(
        self,
        roots: Iterable[int],
        adopters: Iterable[int] = (),
        elsewhere: bool = False,
        own: Iterable[int] | None = None,
    ) -> None:
        """Whose processes are the server's from now on. `own`: whose are ours, if not this one's."""
        ours = tuple(filter(None, (os.getpid(), app()))) if own is None else tuple(own)
        watched = Watch(roots=tuple(roots), adopters=tuple(adopters), own=ours, elsewhere=elsewhere)
        self.drain()
        self._unheeded += 1
        self._order(watched)

    def drain(self) -> None:
        """Take what it has said so far."""
        if self._child is None or self.dead:
            return
        more, open_ = _read(self._child.stdout)
        *lines, self._heard = (self._heard + more).split(b"\n")
        for line in lines:
            self._take(line)
        self._last_words = (self._last_words + _read(self._child.stderr)[0])[-WORDS:]
        if not (open_ or self._ending):
            self._died()

    def _take(self, line: bytes) -> None:
        try:
            said = self._decoder.decode(line)
        except msgspec.MsgspecError:
            return
        if isinstance(said, Sample):
            if not self._unheeded and said.at_ns >= self._since_ns:  # else it is of who was watched before
                self.on_sample(said)
        elif isinstance(said, Watching):
            self._unheeded, self._since_ns = self._unheeded - 1, said.at_ns
        elif isinstance(said, Absent):
            self.absent[said.name] = said
        elif isinstance(said, Looked):
            self._looked = said
        elif isinstance(said, Ready):
            self.sources, self._ready = said.sources, True

    def _died(self) -> None:
        assert self._child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=GONE_S)
        code = self._child.returncode
        why = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        words = self._last_words.decode("utf-8", "replace").strip().splitlines()
        self.dead = f"the sampler died ({why}{f': {plain(words[-1], 200)}' if words else ''})"

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
        if self._looked is None and not self.dead:
            self.dead = f"the sampler did not answer within {LOOK_S:g} s"
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
        self._ending = True
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self.drain()
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()
        self._child = None


def _read(pipe: IO[bytes] | None) -> tuple[bytes, bool]:
    """What there is in a pipe now, and whether there may come more."""
    assert pipe is not None
    heard = b""
    try:
        while said := os.read(pipe.fileno(), 1 << 16):
            heard += said
    except BlockingIOError:
        return heard, True
    return heard, False
