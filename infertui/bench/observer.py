"""What is seen of the machine and the server while an experiment lasts, and whether the machine is fit to go on."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Literal

import msgspec
from msgspec.structs import replace

from infertui import condition
from infertui.bench.asked import Asked, Turn
from infertui.client.driver import Stop
from infertui.condition import Conditions, Doubt
from infertui.errors import StoreError
from infertui.event import Event, Observed, Sampled, Waited, Warned
from infertui.sample import SERIES, Absent, Sample, Tally, Values
from infertui.scenario.plan import Block
from infertui.server.whereabouts import whereabouts
from infertui.store import Store, Writer
from infertui.telemetry.awake import Awake
from infertui.telemetry.sampling import Sampling

KEEP_S = 5.0  # samples are handed to the writer so often
CLOSED_S = 1.2  # for a meter to tell of a block's end
LEAST_WAIT_S = 0.05
AGAIN_S = 1.0  # while waiting, the machine is looked at so often
BASE_NS = 3_000_000_000  # before a block: readings that its first ones are compared with
REVIVALS = 2  # of a sampler that died
POWERS = frozenset(key for key, series in SERIES.items() if series.of == "power")
GATED = ("alone", "measured")  # blocks that are worth waiting for
DEAR_PERCENT = 2.0  # of a core: more than this for the sampler is said …
DEAR_WITH_CHILDREN_PERCENT = 5.0  # … or this with the programs that it reads from
MISSED_SHARE = 0.05


class Observer:
    """The sampler of an experiment. What it says belongs to the run whose server is watched."""

    def __init__(self, asked: Asked, store: Store, writer: Writer, emit: Callable[[Event], None], stop: Stop) -> None:
        self.asked, self.store, self.writer, self.emit, self.stop = asked, store, writer, emit, stop
        self._turn: Turn | None = None
        self._fresh: Values = {}  # since the last event
        self._powered: dict[str, int] = {}  # when each meter of power was read the last time
        self._gpu_bytes: int | None = None  # in use by all programs, at the last reading …
        self._gpu_at_ns = 0  # … and when that was
        self._pending: list[Sample] = []
        self._kept_at = time.monotonic()
        self._revivals = 0
        self._before: tuple[Conditions, Tally] | None = None
        self._began_ns = self._first = 0
        self._held = ExitStack()
        self._awake = self._held.enter_context(Awake("a benchmark runs"))
        self._sampling = Sampling(self._sampled) if asked.samples else None

    def end(self) -> None:
        """The machine may sleep again, and nothing is sampled any more."""
        if self._sampling is not None:
            self._sampling.stop()
            self._keep()
        self._held.close()

    # What is sampled.

    async def unloaded(self, turn: Turn) -> None:
        """GPU memory in use before its server is there: where none is told by process, what is added is it."""
        if self._sampling is None:
            return
        await self._sampling.ready()
        began, until = time.perf_counter_ns(), time.monotonic() + CLOSED_S
        meters = len(self._sampling.sources) > 2  # more than the system's own two
        while meters and self._gpu_at_ns < began and time.monotonic() < until and not self._sampling.dead:
            await asyncio.sleep(0.02)
            self._sampling.drain()
        turn.telemetry.known = replace(turn.telemetry.known, gpu_before_bytes=self._gpu_bytes)

    async def watch(self, turn: Turn) -> None:
        """From now on it is this turn's server that is measured."""
        told = turn.telemetry
        self._awake.failed()  # a program that was refused has ended by now, and somebody has to take notice
        where = await asyncio.get_running_loop().run_in_executor(None, whereabouts, turn.server)
        self._keep()
        self._turn, self._fresh = turn, {}
        turn.elsewhere, told.server = where.elsewhere, where.who
        if where.reason and all(each.name != "server" for each in told.absent):
            told.absent.append(Absent(name="server", reason=where.reason))
        while self._sampling is not None:
            self._sampling.watch(where.roots, where.adopters, where.elsewhere)
            await self._sampling.ready()
            told.sources = list(self._sampling.sources) or told.sources
            self._take_absent(turn)
            if not self._revived(turn):
                break

    def _revived(self, turn: Turn) -> bool:
        """Whether there is a new sampler in the place of one that died, and that has to be told whom to watch."""
        if self._sampling is None or not self._sampling.dead:
            return False
        self._warn(turn, f"{self._sampling.dead}: what it would have seen is missing")
        if self._revivals >= REVIVALS:
            return False
        self._revivals += 1
        self._sampling.stop()
        self._sampling = Sampling(self._sampled)
        return True

    def leave(self) -> None:
        """The server that was watched ends."""
        self._keep()
        self._turn = None
        if self._sampling is not None:
            self._sampling.watch(())

    def tick(self) -> None:
        """Take what has been sampled. A few microseconds: it is called while a block is timed."""
        if self._sampling is None:
            return
        self._sampling.drain()
        if self._turn is not None and self._fresh:
            self.emit(Sampled(run=self._turn.run, at_ns=time.perf_counter_ns(), values=self._fresh))
            self._fresh = {}
        if time.monotonic() - self._kept_at > KEEP_S:
            self._keep()

    def _sampled(self, sample: Sample) -> None:
        if (used := sample.values.get("gpu_used_bytes")) is not None:
            self._gpu_bytes, self._gpu_at_ns = int(used), sample.at_ns
        if self._turn is None:
            return
        self._turn.samples.append(sample)
        self._pending.append(sample)
        self._fresh.update(sample.values)
        if any(sample.values[key] is not None for key in POWERS & sample.values.keys()):
            self._powered[sample.source] = sample.at_ns

    def _keep(self) -> None:
        self._kept_at = time.monotonic()
        if self._turn is not None and self._pending:
            self.writer.samples(self._turn.run, self._pending)
        self._pending = []

    def _take_absent(self, turn: Turn) -> None:
        """Sources that have gone since: their figures are missing from here on."""
        told, sampling = turn.telemetry, self._sampling
        assert sampling is not None
        known = {each.name for each in told.absent}
        for absent in sampling.absent.values():
            if absent.name not in known:
                told.absent.append(absent)
                self._powered.pop(absent.name, None)
                if absent.name in told.sources:
                    self._warn(turn, f"{absent.name} tells no more: {absent.reason}")

    # Conditions.

    async def before(self, turn: Turn, block: Block) -> None:
        """Look at the machine, and give it time to calm down where that may help."""
        if self._sampling is None or block.role not in GATED:
            return
        self._before = None
        while True:
            looked = await self._sampling.look(timed=True)
            if looked is None:
                if not self._revived(turn):
                    return
                await self.watch(turn)
                continue
            doubts = condition.before(looked.conditions, self.asked.tolerated)
            passing = condition.waits(doubts)
            if not passing or turn.wait_left_s < LEAST_WAIT_S or self.stop.soon:
                break
            waited_s = await self._wait(turn, "calm", passing[0], turn.wait_left_s)
            turn.wait_left_s -= waited_s
            turn.telemetry.waited_s += waited_s
        self._told(turn, block, "before", looked.conditions)
        self.add(turn, doubts)
        self._save(turn)
        self._before = (looked.conditions, looked.tally)
        self._began_ns, self._first = time.perf_counter_ns(), len(turn.samples)

    async def after(self, turn: Turn, block: Block) -> None:
        """What the block's conditions were like, once it has ended."""
        if self._sampling is None or self._before is None or block.role not in GATED:
            return
        ended_ns = time.perf_counter_ns()
        before, tally = self._before
        await self._closed(ended_ns)
        looked = await self._sampling.look(timed=False)
        after = looked.conditions if looked is not None else None
        if after is not None:
            self._told(turn, block, "after", after)
        turn.telemetry.looks.append((before, after))
        if block.role == "measured":
            first = self._first  # counters have to have been read before it began
            while first and turn.samples[first - 1].at_ns > self._began_ns - BASE_NS:
                first -= 1
            seen, windows = turn.samples[first:], [(self._began_ns, ended_ns)]
            self.add(turn, condition.over(before, after, seen, windows, self.asked.tolerated))
            if looked is not None:
                turn.telemetry.tally = turn.telemetry.tally.plus(looked.tally.since(tally))
                turn.telemetry.sampled_s += (ended_ns - self._began_ns) / 1e9
        self._keep()
        self._take_absent(turn)
        if self._revived(turn):
            await self.watch(turn)
        self._save(turn)

    def _save(self, turn: Turn) -> None:
        """Kept as it is now: a run that is cut off has its doubts."""
        with suppress(StoreError):  # its end will say that nothing can be stored
            self.store.set_telemetry(turn.run, msgspec.json.encode(turn.telemetry))

    async def _closed(self, ended_ns: int) -> None:
        """Wait for the reading of each meter that covers the block's end: those that stream come when they come."""
        until = time.monotonic() + CLOSED_S
        while min(self._powered.values(), default=ended_ns) < ended_ns and time.monotonic() < until:
            await asyncio.sleep(0.02)
            self.tick()

    async def rest(self, turn: Turn) -> None:
        """A while in which nothing is asked of the server, to know what power the machine takes then."""
        left = self.asked.tolerated.idle_power_s
        if self._sampling is None or not self._powered or turn.elsewhere or turn.telemetry.idle or left <= 0:
            return
        began = time.perf_counter_ns()
        why = Doubt(key="idle_power", level="note", text="measuring the power when idle")
        while left > 0 and not self.stop.soon:
            left -= await self._wait(turn, "idle_power", why, left)
        turn.telemetry.idle.append((began, time.perf_counter_ns()))

    async def _wait(self, turn: Turn, until: Literal["calm", "idle_power"], why: Doubt, left_s: float) -> float:
        """A second, or what is left; how long it was."""
        self.emit(Waited(run=turn.run, until=until, cause=why.key, reason=why.text, left_s=left_s))
        began = time.monotonic()
        while (passed := time.monotonic() - began) < min(AGAIN_S, left_s) and not self.stop.soon:
            await asyncio.sleep(min(0.1, left_s - passed))
            self.tick()
        return passed

    def _told(self, turn: Turn, block: Block, when: Literal["before", "after"], seen: Conditions) -> None:
        self.emit(Observed(run=turn.run, role=block.role, round=block.round, when=when, conditions=seen))

    def add(self, turn: Turn, doubts: Sequence[Doubt]) -> None:
        """Of each cause the worst is kept, and said once."""
        known = turn.telemetry.doubts
        turn.telemetry.doubts = condition.worst([*known, *doubts])
        for doubt in turn.telemetry.doubts:
            if doubt not in known and doubt.level == "suspicious":
                self.emit(Warned(run=turn.run, message=f"suspicious: {doubt.text}"))

    def finish(self, turn: Turn) -> None:
        """The last doubts about a run: how well it was sampled, and how long its server had rested before calls."""
        if sys.platform == "darwin" and not turn.elsewhere:
            idle_s = [call.idle_ms / 1e3 for call in turn.records if call.role == "measured" and call.idle_ms]
            self.add(turn, condition.rested(idle_s, self.asked.tolerated))
        tally = turn.telemetry.tally
        missed = sum(each.missed for each in tally.sources.values())
        slots = missed + sum(each.taken for each in tally.sources.values())
        if slots and missed > MISSED_SHARE * slots:
            text = f"{missed} of {slots} samples were missed: the machine was too busy to take them"
            self.add(turn, [Doubt(key="sampler", level="note", text=text)])
        if failed := self._awake.failed():
            turn.telemetry.absent.append(Absent(name="awake", reason=failed))
        own, every = turn.telemetry.own_percent, turn.telemetry.sampling_percent
        if tally.dropped:
            text = f"{tally.dropped} samples came too fast to be taken"
            self.add(turn, [Doubt(key="dropped", level="note", text=text)])
        if own is not None and every is not None and (own > DEAR_PERCENT or every > DEAR_WITH_CHILDREN_PERCENT):
            text = f"sampling took {every:.1f} % of a core"
            self.add(turn, [Doubt(key="sampler_cpu", level="note", text=text)])

    def _warn(self, turn: Turn, message: str) -> None:
        if message not in turn.warnings:
            turn.warnings.append(message)
            self.emit(Warned(run=turn.run, message=message))
