"""An experiment under way: its servers, their blocks, what is told and what is kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from infertui import metric
from infertui.bench.asked import Asked, Turn
from infertui.bench.observer import Observer
from infertui.bench.quiet import cpu_s, many_files, quiet
from infertui.bench.seen import Seen, later
from infertui.bench.signals import heeded
from infertui.client.api import CHAT, COMPLETIONS, NATIVE, Api
from infertui.client.driver import Drive, Live, Sender, Stop
from infertui.client.record import Done
from infertui.client.wire import Target
from infertui.condition import Doubt
from infertui.errors import InferTUIError, Interrupted, StoreError
from infertui.event import (
    BlockEnded,
    BlockStarted,
    CallEnded,
    Event,
    RunEnded,
    RunStarted,
    ServerChanged,
    Warned,
)
from infertui.metric import CallRecord, Start
from infertui.pid import measured, measuring, started
from infertui.result import Report, generator_of, report_of
from infertui.scenario import scenario
from infertui.scenario.base import Scenario
from infertui.scenario.plan import Block, digest, nonce
from infertui.server.process import tail, text_of
from infertui.server.state import Begun, State
from infertui.store import Store, Writer, now
from infertui.telemetry import machine
from infertui.usage import Known, usage

# A failure in warm-up that the next call would only repeat.
HOPELESS = (
    "refused",
    "unreachable",
    "tls",
    "timeout-connect",
    "http-400",
    "http-401",
    "http-403",
    "http-404",
    "http-422",
)
# Body fields that a server may not know; without them a run still measures the same.
OPTIONAL = ("stream_options", "temperature", "top_p", "seed", "max_tokens", "cache_prompt")

COOLS = sys.platform == "darwin"  # macOS takes a model's memory back a second after its last use
LOG_BYTES = 1 << 20  # of a server's log are kept with a run: its end
T = TypeVar("T")


def execute(asked: Asked, store: Store, emit: Callable[[Event], None]) -> list[Report]:
    """Run an experiment in this process, to its end or to the user's second thoughts."""
    work = Work(asked, store, emit).run()
    many_files()
    try:
        import uvloop
    except ImportError:  # a platform that it does not build on: the same code on the slower loop
        return asyncio.run(work)
    return uvloop.run(work)


class Work:
    """From the first server's start to the last row."""

    def __init__(self, asked: Asked, store: Store, emit: Callable[[Event], None]) -> None:
        self.asked = asked
        self.store = store
        self.emit = emit
        self.scenario: Scenario = scenario(asked.scenario)
        self.stop = Stop()
        self.turns = [Turn(asked, profile, self.scenario) for profile in asked.servers]
        self.fallback = asked.fallback
        self.experiment, self.uid = store.add_experiment(msgspec.json.encode(asked))
        self.facts = machine.facts()
        facts = msgspec.json.encode(self.facts)
        self.machine = store.add_machine(digest(facts), facts)

    async def run(self) -> list[Report]:
        self.writer = Writer(self.store.path, lambda message: self.emit(Warned(run=None, message=message)))
        self.observer = Observer(self.asked, self.store, self.writer, self.emit, self.stop)
        try:
            with heeded(self.stop, self.emit), measured():
                for turn in self.turns:
                    self._enter(turn)
                rounds = self.turns[0].params.rounds
                for number in range(rounds):
                    first = number % len(self.turns)
                    for turn in self.turns[first:] + self.turns[:first]:
                        turn.rounds_left -= 1
                        await self._play(turn, number)
                for turn in self.turns:
                    await self._end_server(turn)
                return await self._end()
        finally:
            for turn in self.turns:
                turn.server.stop()
            self.observer.end()
            self.writer.close()

    def _enter(self, turn: Turn) -> None:
        """The run of a server begins: from here on it is in the database, whatever comes of it."""
        pid = os.getpid()
        clock_ns, unix_ns = time.perf_counter_ns(), time.time_ns()
        turn.model, caveats = turn.server.model().name, turn.server.caveats()
        turn.run = self.store.add_run(
            experiment_id=self.experiment,
            server_id=self._server(turn, {"caveats": caveats}),
            machine_id=self.machine,
            scenario=self.scenario.name,
            model=turn.model,
            setup=msgspec.json.encode(turn.setup(self.asked)).decode(),
            plan_hash=turn.plan_hash,
            label=self.asked.label,
            pid=pid,
            pid_started=started(pid),
            clock_ns=clock_ns,
            unix_ns=unix_ns,
        )
        self.emit(
            RunStarted(
                run=turn.run,
                experiment=self.experiment,
                server=turn.server.name,
                model=turn.model,
                scenario=self.scenario.name,
                rounds=turn.params.rounds,
                calls=turn.calls,
                clock_ns=clock_ns,
                unix_ns=unix_ns,
                caveats=caveats,
            )
        )

    def _server(self, turn: Turn, facts: dict[str, Any]) -> int:
        profile = turn.server.profile
        encoded = msgspec.json.encode({"profile": profile, **facts}, order="sorted")
        told = (turn.server.kind, turn.server.name, profile.address)
        return self.store.add_server(digest(msgspec.json.encode([*told, encoded.decode()])), *told, encoded)

    def _nonce(self, salt: str) -> str:
        return nonce(self.uid, salt)

    # Servers. One that we started is in memory at a time.

    async def _play(self, turn: Turn, number: int) -> None:
        """A server's turn in a round."""
        if turn.failed or self.stop.soon:
            return
        for other in self.turns:
            if other is not turn:
                await self._end_server(other)
        if turn.sender is None:
            await self._begin_server(turn)
        elif not turn.failed:
            await self.observer.watch(turn)
        if not turn.failed and not self.stop.soon:
            await self._drive(turn, turn.rounds[number])
        if turn.failed and not turn.prepared and self.fallback is not None:
            profile, self.fallback = self.fallback, None
            if all(other.server.profile != profile for other in self.turns):
                instead = Turn(self.asked, profile, self.scenario)
                self._enter(instead)
                self._warn(instead, f"in the place of {turn.server.name}, which did not start")
                self.turns.append(instead)
                instead.rounds_left = turn.rounds_left
                await self._play(instead, number)

    async def _begin_server(self, turn: Turn) -> None:
        at = now()
        await self.observer.unloaded(turn)
        try:
            begun = await self._start(turn)
            endpoint = await self._aside(turn.server.endpoint)
            target = Target(endpoint.url, turn.server.key())
            target.keeps = await self._aside(lambda: turn.server.keeps_connections)
        except Interrupted as error:
            self._keep_failed(turn, at, str(error))
            return
        except InferTUIError as error:
            turn.failed = str(error)
            self.emit(Warned(run=turn.run, message=turn.failed))
            self._keep_failed(turn, at, turn.failed)
            return
        for beside in turn.server.others():
            self._warn_once(turn, f"{beside.name} (pid {beside.pid}) runs beside it: `infertui server stop` ends it")
        if not begun.attached:
            turn.starts.append(begun.start)
            turn.log = (self.store.add_start(turn.run, at, begun.url, begun.pid, begun.start, begun.log), begun.log)
        if endpoint.shown != turn.model:
            self.store.set_model(turn.run, endpoint.shown)
        profile = turn.server.profile
        turn.sender = Sender(
            target=target,
            api=api_of(endpoint.api),
            model=endpoint.model,
            limits=self.asked.limits,
            stream=self.asked.stream,
            temperature=turn.temperature,
            top_p=profile.top_p,
            seed=self.asked.seed,
            cold=turn.params.cache == "cold",
            nonce=self._nonce if turn.params.cache == "cold" else lambda salt: "",
            without=turn.without,
        )
        await self.observer.watch(turn)
        for block in self.scenario.prepare(turn.params):
            if turn.failed or self.stop.soon:
                return
            if block.role == "warmup":
                await self._warm_up(turn, block)
            elif not turn.prepared:
                await self._drive(turn, block)
        if not turn.prepared and not turn.failed:
            await self._know(turn)
            await self.observer.rest(turn)
        turn.prepared = True

    def _keep_failed(self, turn: Turn, at: str, why: str) -> None:
        """A server that did not come to serve, with what it wrote."""
        if log := turn.server.log:
            row = self.store.add_start(turn.run, at, "", 0, Start(), log, why)
            self._keep_log(turn, row, log)

    def _keep_log(self, turn: Turn, row: int, log: str) -> None:
        with contextlib.suppress(StoreError):
            text = text_of(log, LOG_BYTES).decode("utf-8", "replace")
            self.store.set_log(row, turn.server.hidden(text).encode())

    async def _start(self, turn: Turn) -> Begun:
        """Start a server, or attach to it, in another thread, so that Ctrl-C is heard meanwhile."""
        loop = asyncio.get_running_loop()
        began = time.monotonic()

        def changed(state: State, message: str) -> None:
            told = ServerChanged(run=turn.run, state=state, message=message, elapsed_s=time.monotonic() - began)
            loop.call_soon_threadsafe(self.emit, told)

        begun = loop.run_in_executor(None, turn.server.start, changed)
        told = began
        while not (await asyncio.wait([begun], timeout=0.1))[0]:
            self.observer.tick()
            if self.stop.soon:
                turn.server.cancel()
            elif time.monotonic() - told >= 1:
                told = time.monotonic()
                changed(State.LOADING, "".join(tail(turn.server.log, 1)))
        return await begun

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, work)

    async def _end_server(self, turn: Turn) -> None:
        """End what we started, and keep what it wrote. A server that was attached to goes on."""
        if turn.server.process is None:
            return
        await self._still_there(turn)
        self.observer.leave()
        turn.sender = None
        held = turn.server.process
        self.emit(ServerChanged(run=turn.run, state="stopping", message="", elapsed_s=0.0))
        ending = asyncio.get_running_loop().run_in_executor(None, turn.server.stop)
        while not (await asyncio.wait([ending], timeout=0.1))[0]:
            if self.stop.now:  # the user does not wait for its grace
                held.end_now()
        ended = await ending
        if ended is not None and ended.killed and not turn.failed:
            grace = f"{turn.server.profile.stop_s:g} s"
            self._warn(turn, f"{turn.server.name} did not end within {grace} of SIGTERM: it was killed")
        self.emit(ServerChanged(run=turn.run, state=State.STOPPED, message="", elapsed_s=0.0))
        row, path = turn.log
        self._keep_log(turn, row, path)

    async def _know(self, turn: Turn) -> None:
        """What the server was, kept with its run."""
        facts = {"header": turn.header, "fingerprint": turn.fingerprint, **await self._aside(turn.server.facts)}
        turn.telemetry.known = self._known(turn, facts.get("settings", {}))
        for difference in turn.server.unlike(facts.get("settings", {})):
            self._warn(turn, difference)
        try:
            self.store.set_telemetry(turn.run, msgspec.json.encode(turn.telemetry))
            self.store.set_server(turn.run, self._server(turn, {k: v for k, v in facts.items() if v}))
        except StoreError as error:  # the calls matter more than what the server calls itself
            self._warn(turn, str(error))

    def _known(self, turn: Turn, settings: dict[str, Any]) -> Known:
        """What its samples are judged by."""
        return Known(
            cores=os.cpu_count() or 0,
            threads=turn.server.threads(),
            slots=settings.get("slots"),
            concurrency=turn.rounds[0].plan.concurrency,
            mapped_bytes=turn.server.mapped_bytes(),
            gpu_before_bytes=turn.telemetry.known.gpu_before_bytes,
            hardware=(str(self.facts["cpu"]), *turn.telemetry.sources),
            local=not turn.elsewhere,
        )

    async def _still_there(self, turn: Turn, asked: bool = True) -> None:
        """Whether the server has outlived the block. One that is not ours is asked only when a call of it failed."""
        if turn.failed or not (asked or turn.server.process is not None):
            return
        if why := await self._aside(turn.server.died):
            turn.failed = why
            self.emit(Warned(run=turn.run, message=why))

    # Blocks.

    async def _warm_up(self, turn: Turn, block: Block) -> None:
        """Until a server takes what we send it: a body field that it names in a 400 is left out from then on."""
        for _ in OPTIONAL:
            before = len(turn.records)
            await self._drive(turn, block)
            met = turn.records[before:]
            refused = [call for call in met if call.status in (400, 422)]
            named = [field for field in OPTIONAL for call in refused if _names(call.message, field)]
            named = [field for field in dict.fromkeys(named) if field not in turn.without]
            if not named or self.stop.soon:
                break
            for field in named:
                turn.without.add(field)
                told = "sent as max_completion_tokens" if field == "max_tokens" else "left out"
                self._warn(turn, f"the server refuses `{field}`: it is {told}")
        if met and not turn.failed and not any(call.good for call in met):
            worst = met[-1]
            if worst.outcome in HOPELESS:
                said = (
                    worst.message
                    if worst.send_ns is None
                    else f"{turn.server.name} answered {worst.outcome}: {worst.message}"
                )
                turn.failed = said
            elif worst.outcome != "cancelled":
                self._warn(turn, f"no warm-up call succeeded ({worst.outcome}: {worst.message})")

    async def _drive(self, turn: Turn, block: Block) -> None:
        plan = block.plan
        await self.observer.before(turn, block)
        if COOLS and block.role != "warmup" and self._rested(turn):
            for again in self.scenario.prepare(turn.params):
                if again.role == "warmup":
                    await self._drive(turn, again)
        if self.stop.soon:
            return
        self.emit(
            BlockStarted(
                run=turn.run, role=block.role, round=block.round, calls=len(plan.calls), concurrency=plan.concurrency
            )
        )
        seen = Seen(turn.run, block, later(turn, self.turns), self.emit)
        prompts = {call.name: call.prompt for call in plan.calls}

        def ended(done: Done) -> None:
            record, reads = done.record, done.reads
            record.message = turn.server.hidden(record.message)
            if record.role == "alone" and record.ttft_ms is not None:
                turn.unloaded_ttft_ms[record.prompt_hash] = record.ttft_ms
            elif record.role == "measured":
                metric.queue_beyond(record, turn.unloaded_ttft_ms.get(record.prompt_hash))
            turn.records.append(record)
            if record.role == "measured" and record.good:
                turn.reads_us.append(reads.at_us)
            turn.header = turn.header or done.server
            turn.fingerprint = turn.fingerprint or done.fingerprint
            seen.call(record)
            self.writer.call(
                turn.run,
                record,
                (reads.at_us, reads.pieces, reads.sent_us),
                msgspec.json.encode(prompts[record.name].messages),
                (turn.server.hidden(done.text), turn.server.hidden(done.thought)),
                lambda stored: self.emit(CallEnded(run=turn.run, call=record, stored=stored)),
            )

        def tick(live: Live) -> None:
            seen.tick(live)
            self.observer.tick()

        assert turn.sender is not None
        drive = Drive(turn.sender, block, ended, tick, self.stop)
        began = time.perf_counter_ns()
        with quiet():
            cpu = cpu_s()
            await drive.run()
            if block.role == "measured":
                turn.cpu_s += cpu_s() - cpu
                turn.loop_lag_ns += drive.loop_lag_ns
        elapsed = (time.perf_counter_ns() - began) / 1e9
        if block.role == "measured":
            turn.round_s = elapsed
        await self.observer.after(turn, block)
        await self._flush()
        self.emit(BlockEnded(run=turn.run, role=block.role, round=block.round, elapsed_s=elapsed))
        await self._still_there(turn, seen.failed)
        for other in measuring():
            if other != os.getpid():
                said = f"another InferTUI (pid {other}) measures on this machine: both disturb each other"
                self.observer.add(turn, [Doubt(key="infertui", level="suspicious", text=said)])

    def _rested(self, turn: Turn) -> bool:
        """Whether its server has had nothing to do for so long that the next call would be a slow one."""
        since = turn.sender.quiet_ns if turn.sender is not None else None
        return since is not None and time.perf_counter_ns() - since > self.asked.tolerated.idle_gap_s * 1e9

    # The end.

    async def _flush(self) -> str:
        """Wait for the writer, in another thread so that Ctrl-C is heard; why it could not write, if so."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.writer.flush)
        except StoreError as error:
            return f"not everything could be stored so far: {error}"
        return ""

    async def _end(self) -> list[Report]:
        reports = []
        trouble = await self._flush()
        for turn in self.turns:
            if trouble:
                turn.warnings.append(trouble)
            if not turn.failed:
                turn.failed = _why_none(turn.records)
            generator = generator_of(turn.records, turn.loop_lag_ns, turn.cpu_s)
            gaps_ms = (gap / 1000 for reads in turn.reads_us for gap in metric.gaps(reads))
            self.observer.finish(turn)
            told, asked = turn.telemetry, self.asked
            used = usage(turn.samples, turn.records, told.known, told.idle, asked.cost, asked.saturated)
            summary = metric.summarise(
                turn.records,
                gaps_ms,
                generator,
                turn.warnings,
                asked.bounds,
                turn.starts,
                used if turn.samples else None,
                told.doubts,
            )
            counted = sum(call.role == "measured" and call.outcome != "cancelled" for call in turn.records)
            whole = counted == turn.calls
            status = "failed" if turn.failed else "stopped" if self.stop.soon and not whole else "done"
            kept = [msgspec.json.encode(each) for each in (generator, summary, told)]
            self.writer.end_run(turn.run, status, turn.failed, turn.warnings, *kept)
            self.emit(RunEnded(run=turn.run, status=status, summary=summary))
            reports.append(report_of(self.store, turn.run, status, turn.failed, summary, told))
        if trouble := await self._flush():
            self.emit(Warned(run=None, message=trouble))
        return reports

    def _warn_once(self, turn: Turn, message: str) -> None:
        if message not in turn.warnings:
            self._warn(turn, message)

    def _warn(self, turn: Turn, message: str) -> None:
        turn.warnings.append(message)
        self.emit(Warned(run=turn.run, message=message))


def api_of(name: str) -> Api:
    return {"chat": CHAT, "completions": COMPLETIONS, **NATIVE}[name]


def _why_none(records: list[CallRecord]) -> str:
    """The most frequent failure in the server's words, where no measured call succeeded."""
    measured = [call for call in records if call.role == "measured" and call.outcome != "cancelled"]
    if not measured or any(call.good for call in measured):
        return ""
    kind, times = Counter(call.outcome for call in measured).most_common(1)[0]
    said = next(call.message for call in measured if call.outcome == kind)
    return f"no call succeeded: {times} × {kind}: {said}"


def _names(message: str, field: str) -> bool:
    import re

    return re.search(rf"(?<![A-Za-z_]){field}(?![A-Za-z_])", message) is not None
