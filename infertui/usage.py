"""What a run took of its machine, what that cost, and what held it back: figures of samples over the measured rounds.

A rate is the mean of its sample's span, a level is taken to have held over it: so each sample counts with the part of
its span that lies in a round, and the pauses between rounds count for nothing. Pure. What is not known is None.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import fsum, sqrt
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from infertui.sample import SERIES, Sample
from infertui.span import COVERED, Seen, Spans, best, growth, observed
from infertui.stats import Distribution, distribution

if TYPE_CHECKING:
    from infertui.metric import CallRecord

SEEN = 0.5  # of the time a series must be known, or nothing is said to be the limit by its mean
LEAST = 4  # samples that a power rests on
CRITICAL = 4  # of `memory_pressure`
IDLE_GPU_PERCENT = 3.0  # a GPU that works less does not serve
LACKING_NS = 3_000_000_000  # a shorter time without readings is the edge of a round
STALE_NS = 2_000_000_000  # a level that is older says nothing of a first token

# The headline is the first of these that is known: more of what the server uses before less, the display and the
# power supply in it last.
POWER = {"soc": "soc_power_w", "gpu": "gpu_power_w", "package": "package_power_w", "system": "system_power_w"}
SHOWN = (
    "server_cpu_percent",
    "machine_cpu_percent",
    "foreign_cpu_percent",
    "memory_bytes",
    "server_private_bytes",
    "server_mapped_bytes",
    "server_resident_bytes",
    "server_gpu_bytes",
    "server_gpu_percent",
    "gpu_percent",
    "foreign_gpu_percent",
    "gpu_used_bytes",
    "gpu_growth_bytes",
    "ram_used_bytes",
    "swap_used_bytes",
    *POWER.values(),
    "gpu_temperature_c",
    "cpu_temperature_c",
)
# Shares that two values of one sample make, and that only the limits are told by.
_SHARES = {
    "ram_percent": ("ram_used_bytes", "ram_total_bytes"),
    "cgroup_percent": ("cgroup_memory_bytes", "cgroup_limit_bytes"),
}
_LIMITING = ("cpu_stall_percent", "memory_stall_percent", "memory_pressure", *_SHARES)

Price = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(gt=0, le=100)]
Figures = dict[str, Distribution | float | None]


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[cost] of the settings. None: no price is set, and no cost is shown."""

    electricity_usd_per_kwh: Annotated[Price | None, Meta(description="What a kilowatt-hour costs.")] = None
    usd_per_hour: Annotated[Price | None, Meta(description="What an hour of a rented machine costs.")] = None
    price_per_token_usd: Annotated[
        dict[str, Price],
        Meta(description='Of an output token by hardware: "M4 Max" = 2e-6. The longest that occurs counts, "" is any.'),
    ] = {}


class Saturated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[saturation] of the settings: from where on something is called the limit of a run."""

    cpu_percent: Annotated[Percent, Meta(description="Of all cores, on average over the measured rounds.")] = 90.0
    threads_percent: Annotated[Percent, Meta(description="Of the server's threads, on average.")] = 90.0
    gpu_percent: Annotated[Percent, Meta(description="Of the GPU's time, on average.")] = 90.0
    memory_percent: Annotated[Percent, Meta(description="Of RAM, or of what a cgroup allows, at its peak.")] = 95.0
    memory_stall_percent: Annotated[Percent, Meta(description="Linux: all tasks wait for memory.")] = 1.0
    cpu_stall_percent: Annotated[Percent, Meta(description="Linux: some task waits for a CPU.")] = 20.0
    slots_wait_percent: Annotated[Percent, Meta(description="Of the time of all calls, spent in the queue.")] = 20.0


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the samples. None: it is not."""

    cores: int = 0
    threads: int | None = None
    slots: int | None = None
    concurrency: int | None = None
    mapped_bytes: int | None = None  # weights that the server maps, where the system cannot tell; 0: it maps none
    gpu_before_bytes: int | None = None  # GPU memory in use before the server was started, by all programs
    hardware: tuple[str, ...] = ()  # names of the CPU and of the GPUs
    local: bool = True  # False: the server is on another machine, of which the samples say nothing


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of meter says of the measured rounds, and of the idle time before them."""

    label: str  # one of POWER
    joules: float | None
    coverage: float  # of the time, 0 to 1
    samples: int
    idle_w: float | None = None
    idle_sd_w: float | None = None
    idle_s: float = 0.0  # of the idle time, how much was seen
    reason: str = ""  # why there are no joules


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """The figures by their keys. `limits`: () is none seen, None is that it cannot be told."""

    metrics: Figures
    limits: tuple[str, ...] | None
    limits_why: tuple[str, ...] = ()  # a sentence a limit
    energy: tuple[Energy, ...] = ()  # in the order of POWER
    notes: tuple[str, ...] = ()  # what a reader of the figures should know


FREE, USUAL = Cost(), Saturated()


def rounds(calls: Iterable[CallRecord], to_close: bool = False) -> list[tuple[int, int]]:
    """Each round of these calls from its first due time to its last end.

    A good call ends with its last token, or, `to_close`, with its stream.
    """
    spans: dict[int, tuple[int, int]] = {}
    for call in calls:
        end = (call.last_ns if call.good and not to_close else call.end_ns) or call.end_ns or call.sched_ns
        low, high = spans.get(call.round, (call.sched_ns, end))
        spans[call.round] = (min(low, call.sched_ns), max(high, end))
    return list(spans.values())


def windows(calls: Iterable[CallRecord]) -> Spans:
    """The measured rounds."""
    return Spans(rounds(call for call in calls if call.role == "measured" and call.outcome != "cancelled"))


def usage(
    samples: Sequence[Sample],
    calls: Sequence[CallRecord],
    known: Known,
    idle: Sequence[tuple[int, int]] = (),
    cost: Cost = FREE,
    saturated: Saturated = USUAL,
) -> Usage:
    """The figures of a run. `idle`: when the model was loaded and nothing was asked of the server."""
    spans, at_rest = windows(calls), Spans(idle)
    good = [call for call in calls if call.role == "measured" and call.good]
    told = [_completed(each, known) for each in samples] if known.local else []
    seen = best(observed(told, spans, (*SHOWN, *_LIMITING)), spans)
    resting = observed(told, at_rest, POWER.values())
    metrics: Figures = {key: seen[key].distribution() for key in SHOWN if key in seen and seen[key].values}
    metrics |= _first_tokens(told, good, seen)
    peaks = [value for each in told if (value := each.values.get("server_peak_bytes") or 0.0) > 0]
    if peaks:
        metrics["server_peak_bytes"] = max(peaks)
    energy = tuple(
        _energy(label, seen, spans, at_rest, resting.get(key, {}).get(seen[key].source))
        for label, key in POWER.items()
        if key in seen
    )
    tokens = _tokens(good)
    metrics |= _energy_figures(headline(energy), spans, tokens) if energy else {}
    metrics |= _costs(metrics.get("joules_per_token"), spans, tokens, known, cost)
    limits, why = _limits(seen, told, good, spans, known, saturated)
    notes = [*_sample_notes(metrics, seen, spans, known), *_cost_notes(metrics, energy, good, cost, known.local)]
    return Usage(metrics=metrics, limits=limits, limits_why=why, energy=energy, notes=tuple(notes))


def _tokens(good: Sequence[CallRecord]) -> int | None:
    """Output tokens of all good calls. None: there are none, or those of some call are not known."""
    counts = [call.n_output for call in good]
    return sum(count or 0 for count in counts) or None if None not in counts else None


def _completed(sample: Sample, known: Known) -> Sample:
    """With what two of its values make. GPU memory is never added: where it is unified, it is in the private one."""
    values = sample.values
    made: dict[str, float | None] = {}
    private, mapped = values.get("server_private_bytes"), values.get("server_mapped_bytes")
    if private is not None:
        made["memory_bytes"] = private + ((known.mapped_bytes or 0) if mapped is None else mapped)
    used = values.get("gpu_used_bytes")
    if used is not None and known.gpu_before_bytes is not None:
        made["gpu_growth_bytes"] = used - known.gpu_before_bytes
    for key, (part_key, whole_key) in _SHARES.items():
        part, whole = values.get(part_key), values.get(whole_key)
        if part is not None and whole:
            made[key] = 100 * part / whole
    return msgspec.structs.replace(sample, values={**values, **made}) if made else sample


def _first_tokens(samples: Iterable[Sample], good: Sequence[CallRecord], seen: Mapping[str, Seen]) -> Figures:
    """Memory at the first token of each call, by the newest reading; CPU by the sample that the token lies in."""

    def told(key: str) -> list[tuple[int, int, float]]:
        return sorted(
            (each.at_ns, each.at_ns if each.since_ns is None else each.since_ns, value)
            for each in samples
            if key in seen and each.source == seen[key].source and (value := each.values.get(key)) is not None
        )

    memory, cpu = told("memory_bytes"), told("server_cpu_percent")
    found: dict[str, list[float]] = {"first_token_memory_bytes": [], "first_token_cpu_percent": []}
    for first in (call.first_ns for call in good if call.first_ns is not None):
        at = bisect_right(memory, first, key=lambda each: each[0]) - 1
        if at >= 0 and first - memory[at][0] <= STALE_NS:
            found["first_token_memory_bytes"].append(memory[at][2])
        at = bisect_left(cpu, first, key=lambda each: each[0])
        if at < len(cpu) and cpu[at][1] < first:
            found["first_token_cpu_percent"].append(cpu[at][2])
    return {key: distribution(values) for key, values in found.items() if values}


# Energy and cost.


def _energy(label: str, found: Mapping[str, Seen], spans: Spans, at_rest: Spans, idle: Seen | None) -> Energy:
    seen = found[POWER[label]]
    coverage, reason = spans.share(seen.covered_ns), ""
    busy = found["gpu_percent"].mean if "gpu_percent" in found else None
    if coverage < COVERED:
        reason = f"power was known for {_rounded_down(coverage)} % of the time"
    elif len(seen.values) < LEAST:
        reason = f"there are {len(seen.values)} samples of power, and {LEAST} are needed"
    elif label == "gpu" and busy is not None and busy < IDLE_GPU_PERCENT:
        reason = "the GPU had nothing to do: its power is not the run's"
    enough = idle is not None and at_rest.share(idle.covered_ns) >= COVERED and len(idle.values) >= LEAST
    return Energy(
        label=label,
        joules=None if reason else seen.product / 1e9,
        coverage=coverage,
        samples=len(seen.values),
        idle_w=idle.mean if idle is not None and enough else None,
        idle_sd_w=_deviation(idle.values) if idle is not None and enough else None,
        idle_s=idle.covered_ns / 1e9 if idle is not None else 0.0,
        reason=reason,
    )


def headline(energy: Iterable[Energy]) -> Energy | None:
    """The one that the figures of a token are of."""
    return next((each for each in energy if each.joules is not None), None)


def _deviation(values: Sequence[float]) -> float:
    mean = fsum(values) / len(values)
    return sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _energy_figures(energy: Energy | None, spans: Spans, tokens: int | None) -> Figures:
    """Gross, and what was above idle, over the time in which the power was known."""
    gross = net = idle_w = None
    if energy is not None and energy.joules is not None:
        gross, idle_w = energy.joules, energy.idle_w
        net = None if idle_w is None else gross - idle_w * energy.coverage * spans.total_ns / 1e9
    figures: Figures = {"energy_j": gross, "idle_power_w": idle_w}
    for prefix, joules in (("", gross), ("net_", net)):
        each = joules / tokens if joules is not None and joules > 0 and tokens else None
        figures[f"{prefix}joules_per_token"] = each
        figures[f"{prefix}tokens_per_wh"] = None if each is None else 3600 / each
    return figures


def _costs(joules_per_token: object, spans: Spans, tokens: int | None, known: Known, cost: Cost) -> Figures:
    """For a million output tokens, where there is a price."""
    figures: Figures = {}
    if cost.electricity_usd_per_kwh is not None:
        kwh = joules_per_token / 3.6e6 if isinstance(joules_per_token, float) else None
        figures["electricity_cost_mtok"] = None if kwh is None else kwh * cost.electricity_usd_per_kwh * 1e6
    if cost.usd_per_hour is not None:
        hours = spans.total_ns / 3.6e12
        figures["rent_cost_mtok"] = cost.usd_per_hour * hours / tokens * 1e6 if tokens and hours else None
    if cost.price_per_token_usd:
        names = [name.casefold() for name in known.hardware]
        fitting = [part for part in cost.price_per_token_usd if any(part.casefold() in name for name in names)]
        figures["listed_cost_mtok"] = cost.price_per_token_usd[max(fitting, key=len)] * 1e6 if fitting else None
    return figures


# Limits.


def _limits(
    seen: Mapping[str, Seen],
    samples: Sequence[Sample],
    good: Sequence[CallRecord],
    spans: Spans,
    known: Known,
    saturated: Saturated,
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """What was saturated, and why. "None seen" is said only where the CPU and the queue were looked at."""
    causes: dict[str, list[str]] = {}

    def mean(key: str) -> float | None:
        each = seen.get(key)
        return each.mean if each is not None and each.values and each.covered_ns >= SEEN * spans.total_ns else None

    def peak(key: str) -> float | None:
        return max(seen[key].values, default=None) if key in seen else None

    def over(limit: str, value: float | None, threshold: float, text: str) -> None:
        if value is not None and value >= threshold:
            causes.setdefault(limit, []).append(f"{_figure(value)} % {text} (limit {threshold:g} %)")

    machine, server = mean("machine_cpu_percent"), mean("server_cpu_percent")
    held, swapped = (growth(samples, key, spans) for key in ("cgroup_throttled_ns", "swapouts"))
    over("CPU", machine, saturated.cpu_percent, "of all cores")
    if "CPU" in causes and server is not None and known.cores:
        causes["CPU"].append(f"the server had {_figure(server / known.cores)} %")
    over("CPU", mean("cpu_stall_percent"), saturated.cpu_stall_percent, "of the time a task waited for a core")
    held_percent = 100 * spans.share(round(held.share)) if held is not None else None
    over("CPU", held_percent, saturated.cpu_stall_percent, "of the time a limit of CPU time held it back")
    if "CPU" not in causes and server is not None and known.threads:
        over("threads", server / known.threads, saturated.threads_percent, f"of the server's {_threads(known.threads)}")
    over("GPU", mean("gpu_percent"), saturated.gpu_percent, "of the GPU's time")
    if swapped is not None and swapped.whole:
        causes["memory"] = [f"pages went out to swap ({swapped.whole:.0f})"]
    over("memory", mean("memory_stall_percent"), saturated.memory_stall_percent, "of the time all tasks waited for it")
    over("memory", peak("ram_percent"), saturated.memory_percent, "of RAM at its peak")
    over("memory", peak("cgroup_percent"), saturated.memory_percent, "of what the cgroup allows, at its peak")
    if peak("memory_pressure") == CRITICAL:
        causes.setdefault("memory", []).append("the system called its pressure critical")
    enough = known.concurrency is not None and known.concurrency <= max(1, known.slots or 0)
    waited = _waited(good, enough)
    over("slots", waited, saturated.slots_wait_percent, "of the calls' time was spent in the queue")
    unknown = known.threads is None and server is not None and server >= saturated.threads_percent  # of one
    if not causes and (machine is None or unknown or (waited is None and not enough)):
        return None, ()
    return tuple(causes), tuple(f"{limit}: {'; '.join(texts)}" for limit, texts in causes.items())


def _waited(good: Sequence[CallRecord], enough: bool) -> float | None:
    """The share of all calls' time that they queued. None: it is known of fewer than half of them.

    With `enough` slots a first token that came later than alone has waited for the processor, not for a slot.
    """
    told = [
        (call.queue_ms, call.e2e_ms)
        for call in good
        if call.queue_ms is not None and call.e2e_ms and not (enough and call.queue_source == "unloaded")
    ]
    if not told or 2 * len(told) < len(good):
        return None
    return 100 * fsum(queue for queue, _ in told) / fsum(whole for _, whole in told)


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"


def _figure(percent: float) -> str:
    return f"{percent:.0f}" if percent >= 10 else f"{percent:.1f}"


def _rounded_down(share: float) -> int:
    """In percent. What falls short of a threshold is not shown as the threshold."""
    return int(100 * share + 1e-9)


# What a reader should know.


def _sample_notes(metrics: Figures, seen: Mapping[str, Seen], spans: Spans, known: Known) -> Iterator[str]:
    if not known.local:
        yield "the server is on another machine: its CPU, GPU, memory and power cannot be seen from here"
    elif spans.total_ns and not any(each.values for each in seen.values()):
        yield "no sample lies in the measured rounds: nothing is known of CPU, GPU, memory and power"
    covered = {key: spans.share(seen[key].covered_ns) for key in SHOWN if key in metrics and key in SERIES}
    part = sorted((share, SERIES[key].label) for key, share in covered.items() if share < COVERED)
    if part and spans.total_ns * (1 - part[0][0]) > LACKING_NS:
        listed = ", ".join(f"{label} {_rounded_down(share)} %" for share, label in part[:3])
        others = f", {len(part) - 3} more" if len(part) > 3 else ""
        yield f"known for a part of the time only: {listed}{others}"
    if "memory_bytes" in metrics and "server_mapped_bytes" not in metrics:
        if known.mapped_bytes is None:
            yield "memory is the private one alone: what the server maps of its weights is not known"
        elif known.mapped_bytes:
            mib = known.mapped_bytes / 2**20
            size = f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"
            yield f"memory: {size} of it are mapped weights, by the size of their file"


def _cost_notes(
    metrics: Figures, energy: Sequence[Energy], good: Sequence[CallRecord], cost: Cost, local: bool
) -> Iterator[str]:
    chosen = headline(energy)
    if energy and chosen is None:
        yield f"{max(energy, key=lambda each: each.coverage).reason}: no energy figure"
    untold = sum(call.n_output is None for call in good)
    if untold and (chosen is not None or cost.usd_per_hour is not None):
        yield f"output tokens of {untold} of {len(good)} calls are not known: no energy and no cost for a token"
    gross, net = metrics.get("joules_per_token"), metrics.get("net_joules_per_token")
    if chosen is not None and chosen.idle_w is not None and gross is not None and net is None:
        yield "the power was no higher than when idle: no figure above idle"
    if cost.electricity_usd_per_kwh is not None and not energy and local:
        yield "no meter of power is known here: what the electricity costs cannot be told"
    if cost.price_per_token_usd and metrics.get("listed_cost_mtok") is None:
        yield "no price is listed for this hardware"
