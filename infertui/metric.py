"""The registry of metrics, and the formulas behind each figure. Pure: stamps and counts in, figures out.

The key of a metric is its column in the database and its key in JSON. Stamps are perf_counter_ns; a figure that cannot
be known is None and never a zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from infertui.condition import Doubt
from infertui.stats import Distribution, distribution
from infertui.usage import Energy, Usage, rounds

NS_PER_MS = 1e6


class Metric(msgspec.Struct, frozen=True):
    """`per` tells what one value of it belongs to: a call, a gap between reads, a sample, the run, a server's start."""

    key: str
    label: str
    unit: str
    better: Literal["lower", "higher", ""]
    per: Literal["call", "gap", "sample", "run", "start"]
    meaning: str


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("ttft_ms", "Time to first token", "ms", "lower", "call", "send → first token on any channel"),
        Metric("ttfa_ms", "Time to first answer", "ms", "lower", "call", "send → first token of the answer"),
        Metric("itl_ms", "Gap between reads", "ms", "lower", "gap", "between two reads that brought tokens"),
        Metric("e2e_ms", "End to end", "ms", "lower", "call", "send → last token"),
        Metric("effective_tps", "Effective speed", "tok/s", "higher", "call", "output tokens / end to end"),
        Metric(
            "decode_tps",
            "Decode speed",
            "tok/s",
            "higher",
            "call",
            "(output tokens − those of the first read) / (last − first token)",
        ),
        Metric(
            "prefill_tps",
            "Prefill speed",
            "tok/s",
            "higher",
            "call",
            "new prompt tokens / the server's prompt time, else / ttft when alone",
        ),
        Metric("queue_ms", "Queue time", "ms", "lower", "call", "waiting for a slot, with its source"),
        Metric("headers_ms", "Time to headers", "ms", "lower", "call", "send → end of the response headers"),
        Metric("connect_ms", "Connect time", "ms", "lower", "call", "opening the connection; in no other figure"),
        Metric(
            "sched_ttft_ms", "First token since due", "ms", "lower", "call", "when the plan wanted it → first token"
        ),
        Metric("sched_e2e_ms", "End since due", "ms", "lower", "call", "when the plan wanted it → last token"),
        Metric("server_decode_tps", "Decode speed (server)", "tok/s", "higher", "call", "by the server's own clock"),
        Metric("idle_ms", "Idle before", "ms", "", "call", "nothing was under way for so long before it was sent"),
        Metric("output_tps", "Output tokens", "tok/s", "higher", "run", "output tokens of good calls / wall"),
        Metric("requests_per_min", "Requests", "/min", "higher", "run", "good calls / wall"),
        Metric("success_rate", "Success rate", "", "higher", "run", "good calls / calls, 0 to 1"),
        Metric("goodput_per_min", "Goodput", "/min", "higher", "run", "good calls within the given bounds / wall"),
        Metric("wall_s", "Wall", "s", "lower", "run", "of the measured blocks, without pauses"),
        Metric("calls_in_flight", "Calls in flight", "", "", "run", "Σ end to end / wall"),
        Metric("calls_in_decode", "Calls in decode", "", "higher", "run", "Σ (last − first token) / wall"),
        Metric("speedup", "Speed-up", "×", "higher", "run", "Σ end to end of the same calls alone / wall"),
        Metric("server_cpu_percent", "Server CPU", "%", "lower", "sample", "of one core; all of its processes"),
        Metric("machine_cpu_percent", "Machine CPU", "%", "", "sample", "of all cores"),
        Metric("foreign_cpu_percent", "Other CPU load", "%", "", "sample", "of all cores: neither server nor us"),
        Metric("memory_bytes", "Memory", "B", "lower", "sample", "private + mapped files (~); no GPU memory in it"),
        Metric("server_private_bytes", "Private memory", "B", "lower", "sample", "what cannot be dropped"),
        Metric("server_mapped_bytes", "Mapped files (~)", "B", "lower", "sample", "weights and libraries, in RAM now"),
        Metric("server_resident_bytes", "Resident memory", "B", "", "sample", "an upper view: shared pages twice"),
        Metric("server_gpu_bytes", "Server GPU memory", "B", "lower", "sample", "by the driver"),
        Metric("server_gpu_percent", "Server GPU", "%", "", "sample", "GPU time of the server's processes"),
        Metric("gpu_percent", "GPU", "%", "", "sample", "of the machine"),
        Metric("foreign_gpu_percent", "Other GPU load", "%", "", "sample", "of processes beside the server"),
        Metric("gpu_used_bytes", "GPU memory in use", "B", "", "sample", "by all programs"),
        Metric("gpu_growth_bytes", "GPU memory since the start", "B", "lower", "sample", "in use by all − before it"),
        Metric("ram_used_bytes", "RAM in use", "B", "", "sample", "of the machine"),
        Metric("swap_used_bytes", "Swap in use", "B", "", "sample", "of the machine"),
        Metric("gpu_power_w", "GPU power", "W", "lower", "sample", "all GPUs"),
        Metric("soc_power_w", "Chip power", "W", "lower", "sample", "CPU + GPU + neural engine; no DRAM"),
        Metric("package_power_w", "CPU package power", "W", "lower", "sample", "packages and their DRAM"),
        Metric("system_power_w", "System power", "W", "lower", "sample", "the whole machine"),
        Metric("gpu_temperature_c", "GPU temperature", "°C", "", "sample", "of the hottest one"),
        Metric("cpu_temperature_c", "CPU temperature", "°C", "", "sample", "of its sensors"),
        Metric("first_token_memory_bytes", "Memory at first token", "B", "lower", "sample", "a value a call"),
        Metric("first_token_cpu_percent", "Server CPU at first token", "%", "", "sample", "a value a call"),
        Metric("server_peak_bytes", "Peak since start", "B", "lower", "run", "as the system counts it, added up"),
        Metric("energy_j", "Energy", "J", "lower", "run", "of the measured blocks, by the meter that is named"),
        Metric("joules_per_token", "Energy a token", "J", "lower", "run", "energy / output tokens"),
        Metric("tokens_per_wh", "Tokens a watt-hour", "/Wh", "higher", "run", "output tokens / energy"),
        Metric("net_joules_per_token", "… above idle", "J", "lower", "run", "(energy − idle power × wall) / tokens"),
        Metric("net_tokens_per_wh", "… above idle", "/Wh", "higher", "run", "output tokens / energy above idle"),
        Metric("idle_power_w", "Idle power", "W", "", "run", "model loaded, nothing asked, right before the run"),
        Metric("electricity_cost_mtok", "Electricity", "$/Mtok", "lower", "run", "energy × price / output tokens"),
        Metric("rent_cost_mtok", "Rent", "$/Mtok", "lower", "run", "wall × price an hour / output tokens"),
        Metric("listed_cost_mtok", "Listed price", "$/Mtok", "lower", "run", "of this hardware, out of the settings"),
        Metric("accept_ms", "Start to listening", "ms", "lower", "start", "process → it accepts connections"),
        Metric("load_ms", "Start to loaded", "ms", "lower", "start", "process → its model is loaded"),
        Metric("first_answer_ms", "Start to answer", "ms", "lower", "start", "process → end of a one-token answer"),
    )
}

OK = "ok"


class CallRecord(msgspec.Struct, kw_only=True):
    """One request: what was asked, when what happened, what came of it. A row of the database, a line of the events."""

    # What was asked.
    name: str
    role: str
    round: int
    lane: int
    kind: str
    prompt_id: str
    prompt_hash: str
    max_tokens: int
    # When. None: did not happen.
    sched_ns: int
    send_ns: int | None = None
    headers_ns: int | None = None
    first_ns: int | None = None
    first_answer_ns: int | None = None
    last_ns: int | None = None
    end_ns: int | None = None
    connect_ns: int = 0  # what opening the connection took …
    connect_wait_ns: int = 0  # … and how much of it the call had to wait for
    idle_ms: float | None = None  # nothing had been under way for so long; None: something was, or ever had been
    connection_use: int = 0
    reopened: int = 0
    # How much. `n_first` is how many tokens the first read brought, `n_pieces` how many pieces of text there were.
    n_prompt: int | None = None
    n_cached: int | None = None
    n_output: int | None = None
    n_reasoning: int | None = None
    n_source: str = ""
    n_hidden: int = 0  # thoughts that are counted and were not shown
    n_pieces: int = 0
    n_first: float | None = None
    # What the server's own clocks say.
    server_prompt_n: float | None = None
    server_prompt_ms: float | None = None
    server_decode_n: float | None = None
    server_decode_ms: float | None = None
    server_queue_ms: float | None = None
    headers_mean_slot: bool = False
    # What came of it.
    outcome: str = OK
    message: str = ""
    status: int | None = None
    finish: str = ""
    note: str = ""
    reply_hash: str = ""
    response_id: str = ""
    # The figures, filled in by `figure`.
    ttft_ms: float | None = None
    ttfa_ms: float | None = None
    e2e_ms: float | None = None
    effective_tps: float | None = None
    decode_tps: float | None = None
    prefill_tps: float | None = None
    queue_ms: float | None = None
    queue_source: str = ""
    headers_ms: float | None = None
    connect_ms: float | None = None
    sched_ttft_ms: float | None = None
    sched_e2e_ms: float | None = None
    server_decode_tps: float | None = None

    @property
    def good(self) -> bool:
        return self.outcome == OK

    @property
    def lag_ns(self) -> int | None:
        """How late our own client was: from due to sent, without waiting for a connection to open."""
        return None if self.send_ns is None else max(0, self.send_ns - self.sched_ns - self.connect_wait_ns)


class Counts(msgspec.Struct, frozen=True):
    """Output tokens of a call, and how many of them its first read brought."""

    output: int | None
    source: str
    first: float | None


def count(usage: int | None, server: float | None, sizes: Sequence[int], first_pieces: int, hidden: int = 0) -> Counts:
    """N from `usage`, else from the server's own counters, else from the pieces of text that came.

    `sizes` has an entry a piece: its tokens where the server said so, else 0. The first read's tokens are known when
    its pieces say their size or when pieces are single tokens; otherwise it has its share of N by pieces. `hidden` ones
    (thoughts that the server counts and does not show) came in no read at all.
    """
    pieces = len(sizes)
    told = sum(sizes) if pieces and all(sizes) else None
    if usage is not None:
        output, source = usage, "usage"
    elif server is not None:
        output, source = int(server), "server"
    elif told is not None:
        output, source = told, "ids"
    elif pieces:
        output, source = pieces, "pieces"
    else:
        return Counts(None, "", None)
    if not pieces:
        return Counts(output, source, None)
    if told is not None and told == output:
        return Counts(output, source, float(sum(sizes[:first_pieces])))
    return Counts(output, source, max(0, output - hidden) * first_pieces / pieces)


def figure(call: CallRecord, alone: bool) -> None:
    """Fill in the figures of a call from its stamps and counts. `alone`: nothing else was under way, nothing cached."""
    send, first, last = call.send_ns, call.first_ns, call.last_ns
    if send is None:
        return
    call.connect_ms = call.connect_ns / NS_PER_MS if call.connection_use == 1 else None
    call.headers_ms = _ms(send, call.headers_ns)
    call.ttft_ms = _ms(send, first)
    call.ttfa_ms = _ms(send, call.first_answer_ns)
    call.sched_ttft_ms = _ms(call.sched_ns, first)
    if call.good:
        call.e2e_ms = _ms(send, last)
        call.sched_e2e_ms = _ms(call.sched_ns, last)
        call.effective_tps = _rate(call.n_output, call.e2e_ms)
        if call.n_output is not None and call.n_first is not None:
            call.decode_tps = _rate(call.n_output - call.n_hidden - call.n_first, _ms(first, last))
    if call.server_prompt_n and call.server_prompt_ms:
        call.prefill_tps = _rate(call.server_prompt_n, call.server_prompt_ms)
    elif alone and call.n_prompt is not None and first != last:  # all in one read: that is no time to first token
        call.prefill_tps = _rate(call.n_prompt - (call.n_cached or 0), call.ttft_ms)
    call.server_decode_tps = _rate(call.server_decode_n, call.server_decode_ms)
    if call.server_queue_ms is not None:
        call.queue_ms, call.queue_source = call.server_queue_ms, "server"
    elif call.headers_mean_slot and call.headers_ms is not None:
        call.queue_ms, call.queue_source = call.headers_ms, "headers"
        if call.headers_ms is not None and call.ttft_ms is not None and call.server_prompt_ms is not None:
            # headers may come late: what the server spent on the prompt was no waiting
            call.queue_ms = min(call.headers_ms, max(0.0, call.ttft_ms - call.server_prompt_ms))


def queue_beyond(call: CallRecord, unloaded_ttft_ms: float | None) -> None:
    """Queue time where the server tells none: how much later the first token came than with the prompt alone."""
    if call.queue_ms is None and call.ttft_ms is not None and unloaded_ttft_ms is not None:
        call.queue_ms, call.queue_source = max(0.0, call.ttft_ms - unloaded_ttft_ms), "unloaded"


def _ms(start: int | None, end: int | None) -> float | None:
    return None if start is None or end is None else (end - start) / NS_PER_MS


def _rate(amount: float | None, ms: float | None) -> float | None:
    """Per second; None when nothing is known, nothing came, or no time passed."""
    return None if amount is None or ms is None or ms <= 0 or amount <= 0 else amount * 1e3 / ms


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What it took until a server served, each from the start of its process. None: it cannot be told."""

    accept_ms: float | None = None
    load_ms: float | None = None
    first_answer_ms: float | None = None


class Generator(msgspec.Struct, frozen=True):
    """What our own client cost, and how late it was. Past the limit a run is invalid, not quietly wrong."""

    lag_p99_ms: float | None = None
    lag_max_ms: float | None = None
    loop_lag_p99_ms: float | None = None
    loop_lag_max_ms: float | None = None
    cpu_s: float | None = None
    cpu_us_per_token: float | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run: distributions by metric key, the run's own numbers, and what went wrong."""

    calls: int
    metrics: dict[str, Distribution | float | None]
    errors: dict[str, int]
    n_source: str
    valid: bool
    warnings: list[str]
    generator: Generator
    prefill_source: str = ""  # "server": its own clock; "ttft": our time to the first token; "mixed"
    limits: tuple[str, ...] | None = None  # what was saturated; (): nothing seen to be; None: it cannot be told
    limits_why: tuple[str, ...] = ()
    energy: tuple[Energy, ...] = ()
    doubts: tuple[Doubt, ...] = ()  # what the machine's conditions were like

    @property
    def suspicious(self) -> bool:
        """Whether the machine was in a state in which its figures may be far off."""
        return any(doubt.level == "suspicious" for doubt in self.doubts)


MERGED = 4
OPENING = 16  # tokens with which a chat template begins every prompt: a server may well know them
LAG_LIMIT_MS = 2.0
LAG_SHARE = 0.02


class Bound(msgspec.Struct, frozen=True):
    """A bound that a good call keeps: a metric of calls and the worst value it may have."""

    key: str
    worst: float

    def met(self, call: CallRecord) -> bool:
        value = getattr(call, self.key)
        if value is None:
            return False
        return bool(value <= self.worst if METRICS[self.key].better == "lower" else value >= self.worst)


def wall_ns(calls: Iterable[CallRecord], to_close: bool = False) -> int:
    """Σ over the rounds of (the last end − the first due time): pauses between the blocks are not in it."""
    return sum(high - low for low, high in rounds(calls, to_close))


def summarise(
    calls: Sequence[CallRecord],
    gaps_ms: Iterable[float],
    generator: Generator,
    warnings: Sequence[str] = (),
    bounds: Sequence[Bound] = (),
    starts: Sequence[Start] = (),
    usage: Usage | None = None,
    doubts: Sequence[Doubt] = (),
) -> Summary:
    """The figures of a run out of its calls. Warm-up calls never count; those made alone are only compared with."""
    measured = [call for call in calls if call.role == "measured" and call.outcome != "cancelled"]
    cancelled = sum(call.role == "measured" and call.outcome == "cancelled" for call in calls)
    good = [call for call in measured if call.good]
    wall = wall_ns(measured)
    per_call = [key for key, metric in METRICS.items() if metric.per == "call"]
    metrics: dict[str, Distribution | float | None] = {
        key: distribution(getattr(call, key) for call in good) for key in per_call
    }
    metrics["itl_ms"] = distribution(gaps_ms)
    metrics |= run_figures(good, len(measured), wall)
    alone = [call for call in calls if call.role == "alone" and call.good]
    metrics["speedup"] = speedup(good, alone, wall_ns(measured, to_close=True))
    if bounds:
        kept = sum(all(bound.met(call) for bound in bounds) for call in good)
        unknown = good and any(all(getattr(call, bound.key) is None for call in good) for bound in bounds)
        none = None if unknown or not measured else 0.0
        metrics["goodput_per_min"] = _rate(60 * kept, wall / NS_PER_MS) if kept else none
    if starts:
        per_start = [key for key, metric in METRICS.items() if metric.per == "start"]
        metrics |= {key: distribution(getattr(start, key) for start in starts) for key in per_start}
    if usage is not None:
        metrics |= usage.metrics
    sources = Counter(call.n_source for call in good if call.n_source)
    errors = Counter(call.outcome for call in measured if not call.good)
    if cancelled:
        errors["cancelled"] = cancelled
    ttft = metrics["ttft_ms"]
    valid, notes = verdict(generator, ttft.p50 if isinstance(ttft, Distribution) else None, len(good))
    return Summary(
        calls=len(measured) + cancelled,
        metrics={key: metrics[key] for key in METRICS if key in metrics},
        errors=dict(sorted(errors.items())),
        n_source=" ".join(f"{source}:{n}" for source, n in sources.most_common()),
        valid=valid,
        warnings=[*notes, *observations(measured, sources), *warnings, *(usage.notes if usage is not None else ())],
        generator=generator,
        prefill_source=_prefill_source(good),
        limits=usage.limits if usage is not None else None,
        limits_why=usage.limits_why if usage is not None else (),
        energy=usage.energy if usage is not None else (),
        doubts=tuple(doubts),
    )


def _prefill_source(good: Sequence[CallRecord]) -> str:
    found = {"server" if call.server_prompt_ms else "ttft" for call in good if call.prefill_tps is not None}
    return "mixed" if len(found) > 1 else "".join(found)


def run_figures(good: Sequence[CallRecord], asked: int, wall: int) -> dict[str, float | None]:
    """The numbers that belong to the run as a whole."""
    wall_ms = wall / NS_PER_MS
    tokens = sum(call.n_output or 0 for call in good)
    flight = sum((call.last_ns or 0) - (call.send_ns or 0) for call in good if call.last_ns)
    decode = sum((call.last_ns or 0) - (call.first_ns or 0) for call in good if call.first_ns)
    return {
        "wall_s": wall / 1e9 if asked else None,
        "success_rate": len(good) / asked if asked else None,
        "output_tps": _rate(tokens, wall_ms),
        "requests_per_min": _rate(len(good) * 60, wall_ms),
        "calls_in_flight": flight / wall if wall and flight else None,
        "calls_in_decode": decode / wall if wall and decode else None,
    }


def speedup(good: Sequence[CallRecord], alone: Sequence[CallRecord], wall: int) -> float | None:
    """Σ of what the same prompts took alone / wall: 1 on a server that serves one at a time, however many wait.

    Both from send to the stream's close: what comes after the last token (usage) holds a server's place as well.
    """
    took: dict[str, list[float]] = {}
    for call in alone:
        if call.send_ns is not None and call.end_ns is not None:
            took.setdefault(call.prompt_hash, []).append((call.end_ns - call.send_ns) / NS_PER_MS)
    if not took or not good or not wall or any(call.prompt_hash not in took for call in good):
        return None
    unloaded = sum(sum(took[call.prompt_hash]) / len(took[call.prompt_hash]) for call in good)
    return unloaded * NS_PER_MS / wall


def gaps(at: Sequence[int]) -> list[int]:
    """Between the reads of one call that brought tokens."""
    return [later - earlier for earlier, later in pairwise(at)]


def verdict(generator: Generator, ttft_ms: float | None, good: int) -> tuple[bool, list[str]]:
    """Whether our own client was punctual enough for the figures to be the server's."""
    if not good:
        return False, ["no call succeeded"]
    limit = max(LAG_LIMIT_MS, LAG_SHARE * (ttft_ms or 0.0))
    notes = []
    for lag, what in ((generator.lag_p99_ms, "calls were sent"), (generator.loop_lag_p99_ms, "the client's loop ran")):
        if lag is not None and lag > limit:
            late = f"{what} up to {lag:.1f} ms late (p99; limit {limit:.1f} ms)"
            notes.append(f"invalid: {late}: too much at once for this machine")
    return not notes, notes


def observations(calls: Sequence[CallRecord], sources: Mapping[str, int]) -> list[str]:
    """What a reader of the figures should know before believing them."""
    found: list[str] = []
    good = [call for call in calls if call.good]

    def say(which: Sequence[CallRecord], text: str) -> None:
        if which:
            found.append(f"{len(which)} of {len(calls)} calls {text}")

    known = [c for c in good if c.n_prompt and (c.n_cached or 0) > max(0.05 * c.n_prompt, OPENING)]
    say(known, "found part of their prompt cached")
    say([c for c in good if c.n_output is not None and c.n_output < c.max_tokens], "ended before max_tokens")
    say([c for c in good if not c.n_output], "brought no token")
    many = [c for c in good if c.first_ns and c.n_pieces and (c.n_output or 0) - c.n_hidden > MERGED * c.n_pieces]
    say(many, f"brought more than {MERGED} tokens a piece of text, by the server's count: their speed rests on it")
    say([c for c in good if c.reopened], "had their connection reopened: the server closed it before a byte came")
    if set(sources) == {"pieces"}:
        found.append("the server reports no token counts: pieces of text are counted as tokens")
    elif len(sources) > 1:
        found.append(f"token counts come from different sources ({', '.join(f'{s} {n}' for s, n in sources.items())})")
    notes = Counter(call.note for call in calls if call.note)
    found += [f"{n} of {len(calls)} calls: {note}" for note, n in notes.most_common(5)]
    return found
