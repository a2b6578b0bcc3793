"""One benchmark from what was asked to its last row: warm up, drive the blocks, keep each call, add up.

Servers take turns in each round, in rotated order, so that whatever drifts (heat, other load) drifts for all of them.
What happens is told as events; nothing but the load runs in this process while a block is timed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import resource
import signal
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from infertui import metric, stats
from infertui.client.api import CHAT, COMPLETIONS, NATIVE, Api
from infertui.client.driver import Drive, Live, Sender, Stop
from infertui.client.record import Done
from infertui.client.wire import Limits, Target
from infertui.errors import StoreError
from infertui.event import BlockEnded, BlockStarted, CallEnded, Event, RunEnded, RunStarted, Ticked, Warned
from infertui.metric import Bound, CallRecord
from infertui.pid import started
from infertui.result import Report, generator_of, report_of
from infertui.scenario import scenario
from infertui.scenario.base import Params, Scenario
from infertui.scenario.plan import Block, digest
from infertui.store import Store, Writer
from infertui.telemetry import machine

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
OPTIONAL = ("stream_options", "temperature", "seed", "max_tokens", "cache_prompt")


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """A server that already runs. The key itself is never part of what is stored."""

    name: str
    url: str
    model: str
    api: Literal["chat", "completions", "llama.cpp", "ollama"] = "chat"
    api_key_env: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as it was asked for: everything needed to do it again."""

    servers: tuple[Attached, ...]
    scenario: str
    params: Params = Params()
    stream: bool = True
    temperature: float | None = 0.0
    seed: int | None = None
    label: str = ""
    limits: Limits = Limits()
    bounds: tuple[Bound, ...] = ()

    def setup(self, server: Attached) -> dict[str, Any]:
        """How the calls of a run were made: what two runs must have in common to be compared without a word."""
        told: dict[str, Any] = {"api": server.api, "stream": self.stream, "temperature": self.temperature}
        told |= {"sampling_seed": self.seed, "targets": self.bounds}
        return {**told, **msgspec.structs.asdict(self.params)}


class _Turn:
    """A server in an experiment: its run, and what it has come to so far."""

    def __init__(self, run: int, server: Attached, sender: Sender) -> None:
        self.run = run
        self.server = server
        self.sender = sender
        self.records: list[CallRecord] = []
        self.reads_us: list[array[int]] = []  # of the good measured calls
        self.unloaded_ttft_ms: dict[str, float] = {}
        self.warnings: list[str] = []
        self.loop_lag_ns = array("q")
        self.cpu_s = 0.0
        self.failed = ""
        self.header = self.fingerprint = ""


def execute(asked: Asked, store: Store, emit: Callable[[Event], None]) -> list[Report]:
    """Run an experiment in this process, to its end or to the user's second thoughts."""
    work = _Bench(asked, store, emit).run()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a Mac starts with 256: too few for 256 calls at once
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 10_240)), hard))
    try:
        import uvloop
    except ImportError:  # a platform that it does not build on: the same code on the slower loop
        return asyncio.run(work)
    return uvloop.run(work)


class _Bench:
    def __init__(self, asked: Asked, store: Store, emit: Callable[[Event], None]) -> None:
        self.asked = asked
        self.store = store
        self.emit = emit
        self.scenario: Scenario = scenario(asked.scenario)
        self.stop = Stop()
        self.turns: list[_Turn] = []
        self.experiment, self.uid = store.add_experiment(msgspec.json.encode(asked))
        self.blocks_left = self.asked_for = 0

    async def run(self) -> list[Report]:
        params = self.scenario.checked(self.asked.params)
        rounds = [self.scenario.round(params, number) for number in range(1, params.rounds + 1)]
        for block in rounds:
            block.plan.checked()
        self.asked_for = sum(len(block.plan.calls) for block in rounds)
        self.writer = Writer(self.store.path, lambda message: self.emit(Warned(run=None, message=message)))
        try:
            with self._signals():
                self._begin(rounds)
                self.blocks_left = len(rounds) * len(self.turns)
                for turn in self.turns:
                    await self._prepare(turn, params)
                for number, block in enumerate(rounds):
                    for turn in self.turns[number % len(self.turns) :] + self.turns[: number % len(self.turns)]:
                        self.blocks_left -= 1
                        if not turn.failed and not self.stop.soon:
                            await self._drive(turn, block)
                return await self._end()
        finally:
            self.writer.close()

    def _begin(self, rounds: list[Block]) -> None:
        facts = machine.facts()
        machine_id = self.store.add_machine(digest(msgspec.json.encode(facts)), msgspec.json.encode(facts))
        pid = os.getpid()
        cold = self.asked.params.cache == "cold"
        clock_ns, unix_ns = time.perf_counter_ns(), time.time_ns()
        for server in self.asked.servers:
            target = Target(server.url, os.environ.get(server.api_key_env, "") if server.api_key_env else "")
            run = self.store.add_run(
                experiment_id=self.experiment,
                server_id=self._server(server, {}),
                machine_id=machine_id,
                scenario=self.scenario.name,
                model=server.model,
                setup=msgspec.json.encode(self.asked.setup(server)).decode(),
                plan_hash=digest("".join(block.plan.hash for block in rounds).encode()),
                label=self.asked.label,
                pid=pid,
                pid_started=started(pid),
                clock_ns=clock_ns,
                unix_ns=unix_ns,
            )
            sender = Sender(
                target=target,
                api=api_of(server.api),
                model=server.model,
                limits=self.asked.limits,
                stream=self.asked.stream,
                temperature=self.asked.temperature,
                seed=self.asked.seed,
                cold=cold,
                nonce=self._nonce if cold else lambda salt: "",
            )
            self.turns.append(_Turn(run, server, sender))
            self.emit(
                RunStarted(
                    run=run,
                    experiment=self.experiment,
                    server=server.name,
                    model=server.model,
                    scenario=self.scenario.name,
                    rounds=len(rounds),
                    calls=self.asked_for,
                    clock_ns=clock_ns,
                    unix_ns=unix_ns,
                )
            )

    def _server(self, server: Attached, facts: dict[str, Any]) -> int:
        encoded = msgspec.json.encode(facts, order="sorted")
        key = digest(msgspec.json.encode([server.name, server.url, server.api, facts], order="sorted"))
        return self.store.add_server(key, "openai", server.name, server.url, encoded)

    def _nonce(self, salt: str) -> str:
        """Ten single digits: as many tokens every time in whatever way a tokenizer treats a digit."""
        number = int.from_bytes(hashlib.blake2b(f"{self.uid}/{salt}".encode(), digest_size=8).digest())
        return " ".join(f"{number % 10**10:010}")

    # Blocks.

    async def _prepare(self, turn: _Turn, params: Params) -> None:
        for block in self.scenario.prepare(params):
            if turn.failed or self.stop.soon:
                return
            if block.role == "warmup":
                await self._warm_up(turn, block)
            else:
                await self._drive(turn, block)

    async def _warm_up(self, turn: _Turn, block: Block) -> None:
        """Until a server takes what we send it: a body field that it names in a 400 is left out from then on."""
        for _ in OPTIONAL:
            before = len(turn.records)
            await self._drive(turn, block)
            met = turn.records[before:]
            refused = [call for call in met if call.status in (400, 422)]
            named = [field for field in OPTIONAL for call in refused if _names(call.message, field)]
            named = [field for field in dict.fromkeys(named) if field not in turn.sender.without]
            if not named or self.stop.soon:
                break
            for field in named:
                turn.sender.without.add(field)
                told = "sent as max_completion_tokens" if field == "max_tokens" else "left out"
                self._warn(turn, f"the server refuses `{field}`: it is {told}")
        if met and not any(call.good for call in met):
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
        facts = {"server": turn.header, "fingerprint": turn.fingerprint}
        try:
            self.store.set_server(turn.run, self._server(turn.server, {k: v for k, v in facts.items() if v}))
        except StoreError as error:  # the calls matter more than what the server calls itself
            self._warn(turn, str(error))

    async def _drive(self, turn: _Turn, block: Block) -> None:
        plan = block.plan
        self.emit(
            BlockStarted(
                run=turn.run, role=block.role, round=block.round, calls=len(plan.calls), concurrency=plan.concurrency
            )
        )
        seen = _Seen(turn.run, block, self.blocks_left, self.emit)
        prompts = {call.name: call.prompt for call in plan.calls}

        def ended(done: Done) -> None:
            record, reads = done.record, done.reads
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
                (done.text, done.thought),
                lambda stored: self.emit(CallEnded(run=turn.run, call=record, stored=stored)),
            )

        drive = Drive(turn.sender, block, ended, seen.tick, self.stop)
        began = time.perf_counter_ns()
        with _quiet():
            cpu = _cpu_s()
            await drive.run()
            if block.role == "measured":
                turn.cpu_s += _cpu_s() - cpu
                turn.loop_lag_ns += drive.loop_lag_ns
        elapsed = (time.perf_counter_ns() - began) / 1e9
        await self._flush()
        self.emit(BlockEnded(run=turn.run, role=block.role, round=block.round, elapsed_s=elapsed))

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
            summary = metric.summarise(turn.records, gaps_ms, generator, turn.warnings, self.asked.bounds)
            whole = (
                sum(call.role == "measured" and call.outcome != "cancelled" for call in turn.records) == self.asked_for
            )
            status = "failed" if turn.failed else "stopped" if self.stop.soon and not whole else "done"
            told = (status, turn.failed, turn.warnings, msgspec.json.encode(generator), msgspec.json.encode(summary))
            self.writer.end_run(turn.run, *told)
            self.emit(RunEnded(run=turn.run, status=status, summary=summary))
            reports.append(report_of(self.store, turn.run, status, turn.failed, summary))
        if trouble := await self._flush():
            self.emit(Warned(run=None, message=trouble))
        return reports

    def _warn(self, turn: _Turn, message: str) -> None:
        turn.warnings.append(message)
        self.emit(Warned(run=turn.run, message=message))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Once: stop kindly. Twice: cut what is under way. A third time: leave at once; what had ended is stored."""
        loop = asyncio.get_running_loop()
        pressed = 0

        def asked_to_stop() -> None:
            nonlocal pressed
            pressed += 1
            if pressed > 2:
                os._exit(130)
            self.emit(
                Warned(run=None, message="stopping: calls under way may finish" if pressed == 1 else "stopping now")
            )
            self.stop.ask()

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


class _Seen:
    """What the live view is told of a block."""

    def __init__(self, run: int, block: Block, later: int, emit: Callable[[Event], None]) -> None:
        self.run = run
        self.block = block
        self.later = later
        self.emit = emit
        self.ttft: deque[float] = deque(maxlen=200)
        self.e2e: deque[float] = deque(maxlen=200)
        self.before = (0, 0)

    def call(self, record: CallRecord) -> None:
        if record.ttft_ms is not None:
            self.ttft.append(record.ttft_ms)
        if record.e2e_ms is not None:
            self.e2e.append(record.e2e_ms)

    def tick(self, live: Live) -> None:
        tokens, since = live.tokens - self.before[0], (live.elapsed_ns - self.before[1]) / 1e9
        self.before = (live.tokens, live.elapsed_ns)
        elapsed = live.elapsed_ns / 1e9
        part = (live.ended + live.active / 2) / live.total if live.ended else 0.0
        left = elapsed * (1 - part) / part if part else None
        if left is not None and self.block.role == "measured":
            left += self.later * (elapsed + left)
        self.emit(
            Ticked(
                run=self.run,
                role=self.block.role,
                round=self.block.round,
                total=live.total,
                sent=live.sent,
                ended=live.ended,
                active=live.active,
                failed=live.failed,
                tokens=live.tokens,
                tokens_per_s=tokens / since if since > 0 else 0.0,
                elapsed_s=elapsed,
                left_s=left,
                ttft_ms=stats.percentile(sorted(self.ttft), 50) if self.ttft else None,
                e2e_ms=stats.percentile(sorted(self.e2e), 50) if self.e2e else None,
            )
        )


def _why_none(records: list[CallRecord]) -> str:
    """The most frequent failure in the server's words, where no measured call succeeded."""
    measured = [call for call in records if call.role == "measured" and call.outcome != "cancelled"]
    if not measured or any(call.good for call in measured):
        return ""
    kind, times = Counter(call.outcome for call in measured).most_common(1)[0]
    said = next(call.message for call in measured if call.outcome == kind)
    return f"no call succeeded: {times} × {kind}: {said}"


def api_of(name: str) -> Api:
    return {"chat": CHAT, "completions": COMPLETIONS, **NATIVE}[name]


def _names(message: str, field: str) -> bool:
    import re

    return re.search(rf"(?<![A-Za-z_]){field}(?![A-Za-z_])", message) is not None


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No collection inside a timed block, and the loop's thread gets the interpreter back in half a millisecond."""
    interval = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.enable()
        gc.unfreeze()
