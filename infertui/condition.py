"""Whether a machine was fit to be measured on: its conditions, and the doubts that they cast on a result. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import Annotated, Literal, TypeGuard

import msgspec
from msgspec import Meta

from infertui.sample import Sample
from infertui.span import Growth, Spans, best, growth, observed
from infertui.text import plain

# NVML's bits for a GPU that holds itself back: because of heat or a lack of supply, and at its power limit.
GPU_THERMAL = 0x8 | 0x20 | 0x40 | 0x80
GPU_POWER_CAP = 0x4

HOT_SHARE = 0.05  # of the readings
BUSY_GPU_PERCENT = 50.0
CAPPED_SHARE = 0.5  # of the readings of a busy GPU
FULL_SHARE = 0.95  # of a memory limit
PAGEINS_PER_S = 100.0
ASLEEP_NS = 100_000_000
CLOCK_STEP_NS = 1_000_000_000
NAMED = 3  # of the processes that take most

_REASONS = {
    0x1: "idle",
    0x2: "clocks set by a program",
    0x4: "power limit",
    0x8: "slowed down by its hardware",
    0x10: "in step with other GPUs",
    0x20: "too hot, says its driver",
    0x40: "too hot, says its hardware",
    0x80: "too little supply",
    0x100: "clocks of the display",
}
_THERMAL_LEVELS = ("nominal", "moderate", "heavy", "trapping", "sleeping")
_SLOW_GOVERNORS = {"powersave", "ondemand", "conservative"}
_SPARING = {"power", "balance_power"}  # energy preferences
_MEANS = ("foreign_cpu_percent", "foreign_gpu_percent", "cpu_stall_percent", "memory_stall_percent")


class Busy(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is neither the server's nor ours, and what it took of one core."""

    name: str
    pid: int
    cpu_percent: float


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """A machine before or after a block. None, or an empty text: it cannot be told."""

    at_ns: int = 0
    thermal_level: int | None = None  # macOS: 0 nominal, 1 moderate, 2 heavy, 3 trapping, 4 sleeping
    thermal_throttles: int | None = None  # Linux: events so far, all cores
    on_battery: bool | None = None
    battery_percent: float | None = None
    low_power: bool | None = None  # the machine spares power on purpose
    power_mode: str = ""  # in the system's own words: "powermode 0", "balanced"
    governor: str = ""
    energy_preference: str = ""  # intel_pstate's and amd_pstate's hint
    swap_used_bytes: int | None = None
    swapouts: int | None = None  # pages so far
    memory_pressure: int | None = None  # macOS: 1 normal, 2 warning, 4 critical
    foreign_cpu_percent: float | None = None  # of all cores, over the last half second or more
    foreign_gpu_percent: float | None = None
    foreign: tuple[Busy, ...] = ()  # the busiest first
    gpu_throttle: int | None = None  # NVML's bits
    gpu_limit_mb: int | None = None  # macOS: iogpu.wired_limit_mb; 0 is the default
    translated: bool | None = None  # Rosetta
    virtual: bool | None = None
    cpu_limit: float | None = None  # cores that a cgroup allows
    asleep_ns: int | None = None
    clock_step_ns: int | None = None


class Tolerated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[conditions] of the settings: what is tolerated, and how long to wait for it."""

    wait_s: Annotated[float, Meta(ge=0, le=3600, description="In all, before a run's blocks. 0: go on at once.")] = 30.0
    idle_power_s: Annotated[
        float, Meta(ge=0, le=600, description="Quiet before a run, where power is known. 0: no figure above idle.")
    ] = 10.0
    foreign_cpu_percent: Annotated[float, Meta(gt=0, le=100, description="Of all cores, by other programs.")] = 10.0
    foreign_process_percent: Annotated[float, Meta(gt=0, description="Of one core, by one other program.")] = 50.0
    foreign_gpu_percent: Annotated[float, Meta(gt=0, le=100, description="By other programs (a desktop: 25).")] = 35.0
    thermal_level: Annotated[int, Meta(ge=0, le=4, description="macOS. 1 is moderate, 2 halves results.")] = 1
    cpu_stall_percent: Annotated[float, Meta(gt=0, le=100, description="Linux: tasks that wait for a CPU.")] = 20.0
    memory_stall_percent: Annotated[float, Meta(gt=0, le=100, description="Linux: all tasks wait for memory.")] = 1.0
    swap_growth_mb: Annotated[float, Meta(gt=0, description="Swap in use may grow so much in a block.")] = 64.0
    idle_gap_s: Annotated[float, Meta(gt=0, description="A Mac drops a model's memory after so long a pause.")] = 1.0


Level = Literal["suspicious", "note"]


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a reader of the figures should know. `passes`: it may be gone if one waits."""

    key: str  # one a cause: "thermal", "foreign_cpu", "battery"
    level: Level
    text: str
    passes: bool = False


def throttle_words(bits: int) -> list[str]:
    """NVML's reasons for a GPU's clocks in words; those that are unknown by their bits."""
    words = [word for bit, word in _REASONS.items() if bits & bit]
    rest = bits & ~sum(_REASONS)
    return [*words, f"unknown ({rest:#x})"] if rest else words


def before(now: Conditions, tolerated: Tolerated) -> list[Doubt]:
    """What speaks against beginning a block now."""
    return worst(_before(now, tolerated))


def over(
    before: Conditions | None,
    after: Conditions | None,
    samples: Sequence[Sample],
    windows: Sequence[tuple[int, int]],
    tolerated: Tolerated,
) -> list[Doubt]:
    """What happened between two looks, and in the measured windows (start_ns, end_ns) that lie between them."""
    return worst(_over(_Block(before, after, samples, windows), tolerated))


def waits(doubts: Iterable[Doubt]) -> list[Doubt]:
    """Those that are worth waiting for."""
    return [doubt for doubt in doubts if doubt.passes and doubt.level == "suspicious"]


def worst(doubts: Iterable[Doubt]) -> list[Doubt]:
    """One of each key, the first that has its worst level: also for the doubts of several blocks."""
    found: dict[str, Doubt] = {}
    for doubt in doubts:
        known = found.get(doubt.key)
        if known is None or (known.level == "note" and doubt.level == "suspicious"):
            found[doubt.key] = doubt
    return list(found.values())


# What the two judge.


def _before(now: Conditions, tolerated: Tolerated) -> Iterator[Doubt]:
    if _above(level := now.thermal_level, 0):
        said = f"{_heat(level)} ({tolerated.thermal_level} is tolerated)"
        if level > tolerated.thermal_level:
            yield _suspicious("thermal", f"the machine is hot: {said}", passes=True)
        else:
            yield _note("thermal", f"the machine is warm: {said}")
    yield from _foreign_cpu("use", now.foreign_cpu_percent, now.foreign, tolerated, passes=True)
    yield from _foreign_gpu("use", now.foreign_gpu_percent, tolerated, passes=True)
    if now.gpu_throttle is not None and (causes := throttle_words(now.gpu_throttle & GPU_THERMAL)):
        yield _suspicious("gpu_throttle", f"the GPU holds itself back: {'; '.join(causes)}", passes=True)
    if now.on_battery:
        charge = "" if now.battery_percent is None else f" ({_figure(now.battery_percent)} % full)"
        yield _suspicious("battery", f"the machine runs from its battery{charge}")
    if now.low_power:
        mode = f" ({plain(now.power_mode, 40)})" if now.power_mode else ""
        yield _suspicious("low_power", f"the machine saves power on purpose{mode}")
    yield from _governor(now.governor, now.energy_preference)
    yield from _pressure("is", now.memory_pressure, passes=True)
    if _above(swapped := now.swap_used_bytes, 0):
        yield _note("swap", f"{swapped / 1e6:,.0f} MB of memory are out in swap")
    if now.translated:
        yield _suspicious("translated", "InferTUI itself runs translated, as a program for Intel chips (Rosetta)")
    if now.virtual:
        # Only a Mac tells any of these; on Linux it is usual to serve from a virtual machine.
        mac = (now.thermal_level, now.memory_pressure, now.translated, now.gpu_limit_mb) != (None,) * 4
        said = "this is a virtual machine: what else its host does is not seen"
        yield _suspicious("virtual", said) if mac else _note("virtual", said)


def _over(block: _Block, tolerated: Tolerated) -> Iterator[Doubt]:
    levels = block.readings("thermal_level")
    hot = [level for level in levels if level > tolerated.thermal_level]
    if len(hot) > HOT_SHARE * len(levels):
        said = f"{_heat(max(hot))} ({tolerated.thermal_level} is tolerated), in {len(hot)} of {len(levels)} readings"
        yield _suspicious("thermal", f"the machine was hot: {said}")
    if _above(throttles := block.rise("thermal_throttles"), 0):
        yield _suspicious("thermal", f"heat made the CPU slow itself down (times: {throttles:,.0f}; none is tolerated)")
    foreign = () if block.after is None else block.after.foreign
    yield from _foreign_cpu("used", block.mean("foreign_cpu_percent"), foreign, tolerated)
    yield from _foreign_gpu("used", block.mean("foreign_gpu_percent"), tolerated)
    yield from _gpu_throttled(block.within)
    if any(powered := block.course("on_battery")):
        part = "" if all(powered) else ", for a part of the time"
        yield _suspicious("battery", f"the machine ran from its battery{part}")
    yield from _memory(block, tolerated)
    if _above(stalled := block.mean("cpu_stall_percent"), limit := tolerated.cpu_stall_percent):
        said = f"for {_figure(stalled)} % of the time ({_figure(limit)} % is tolerated)"
        yield _suspicious("cpu_stall", f"programs had to wait for a CPU {said}")
    held = block.growth("cgroup_throttled_ns")
    if held is not None and held.share > 0:
        said = f"for {_time(held.share)} (no time is tolerated)"
        yield _suspicious("cpu_limit", f"the CPU limit of this container or service held it back {said}")
    asleep = block.growth("asleep_ns")
    if _above(slept_ns := block.rise("asleep_ns") if asleep is None else asleep.whole, ASLEEP_NS):
        yield _suspicious(
            "asleep", f"the machine slept for {_time(slept_ns)} meanwhile ({_time(ASLEEP_NS)} is tolerated)"
        )
    steps = block.course("clock_step_ns")
    if _above(stepped_ns := max(steps) - min(steps) if steps else None, CLOCK_STEP_NS):
        said = f"by {_time(stepped_ns)} meanwhile ({_time(CLOCK_STEP_NS)} is tolerated): times of day may be wrong"
        yield _note("clock", f"the machine's clock was set {said}, the figures come from another clock")


def _foreign_cpu(
    use: str, percent: float | None, foreign: Sequence[Busy], tolerated: Tolerated, passes: bool = False
) -> Iterator[Doubt]:
    busiest = sorted(foreign, key=lambda each: each.cpu_percent, reverse=True)[:NAMED]
    limit = tolerated.foreign_process_percent
    if _above(percent, tolerated.foreign_cpu_percent):
        names = f" ({_names(busiest)}, of one core)" if busiest else ""
        said = f"{_figure(percent)} % of all cores{names}; {_figure(tolerated.foreign_cpu_percent)} % is tolerated"
        yield _suspicious("foreign_cpu", f"other programs {use} {said}", passes)
    elif heavy := [each for each in busiest if each.cpu_percent > limit]:
        said = f"of one core: {_names(heavy)}; {_figure(limit)} % is tolerated"
        yield _suspicious("foreign_cpu", f"other programs {use} much {said}", passes)


def _foreign_gpu(use: str, percent: float | None, tolerated: Tolerated, passes: bool = False) -> Iterator[Doubt]:
    if _above(percent, limit := tolerated.foreign_gpu_percent):
        said = f"{_figure(percent)} % of the GPU ({_figure(limit)} % is tolerated)"
        yield _suspicious("foreign_gpu", f"other programs {use} {said}", passes)


def _governor(governor: str, preference: str) -> Iterator[Doubt]:
    """Each may be several words, with commas: what the CPUs differ in."""
    preferences = set(preference.replace(",", " ").split())
    if preferences & _SPARING:
        yield _suspicious("governor", f"the CPU is set to spare energy (energy preference {plain(preference, 40)})")
    elif _SLOW_GOVERNORS & set(governor.replace(",", " ").split()):
        said = f"governor {plain(governor, 40)}"
        if not preferences:
            yield _suspicious("governor", f"the CPU is set to spare energy ({said})")
        elif preferences != {"performance"}:  # with a preference the hardware clocks itself, whatever the name says
            said += f", energy preference {plain(preference, 40)}"
            yield _note("governor", f"the CPU is not set to its full speed ({said})")


def _pressure(be: str, level: float | None, passes: bool = False) -> Iterator[Doubt]:
    if _above(level, 3):
        yield _suspicious("memory_pressure", f"memory {be} critically short (level {level:.0f}; 1 is normal)", passes)
    elif _above(level, 1):
        yield _note("memory_pressure", f"memory {be} short (level {level:.0f}; 1 is normal)")


def _memory(block: _Block, tolerated: Tolerated) -> Iterator[Doubt]:
    if _above(pages := block.rise("swapouts"), 0):
        yield _suspicious("swap", f"memory was written to swap (pages: {pages:,.0f}; none is tolerated)")
    swap = block.course("swap_used_bytes")
    if _above(grown_mb := (max(swap) - swap[0]) / 1e6 if swap else None, limit := tolerated.swap_growth_mb):
        yield _suspicious("swap", f"swap in use grew by {_figure(grown_mb)} MB ({_figure(limit)} MB is tolerated)")
    yield from _pressure("was", max(block.readings("memory_pressure"), default=None))
    if _above(stalled := block.mean("memory_stall_percent"), limit := tolerated.memory_stall_percent):
        said = f"for {_figure(stalled)} % of the time ({_figure(limit)} % is tolerated)"
        yield _suspicious("memory_stall", f"all programs had to wait for memory {said}")
    shares = [
        used / most
        for sample in block.within
        if (used := _known(sample, "cgroup_memory_bytes")) is not None
        and _above(most := _known(sample, "cgroup_limit_bytes"), 0)
    ]
    if _above(full := max(shares, default=None), FULL_SHARE):
        said = f"{_figure(100 * full)} % of the memory limit was in use ({_figure(100 * FULL_SHARE)} % is tolerated)"
        yield _suspicious("memory_limit", said)
    read = block.growth("server_pageins")
    if read is not None and _above(pageins := read.share * 1e9 / read.seen_ns, PAGEINS_PER_S):
        said = f"{_figure(pageins)} times a second ({_figure(PAGEINS_PER_S)} is tolerated)"
        yield _suspicious("pageins", f"the server read from disk what was no longer in memory, {said}")


def _gpu_throttled(samples: Iterable[Sample]) -> Iterator[Doubt]:
    """Where nobody says how busy the GPU is, it is taken to be so: it is being measured."""
    busy = [
        int(bits)
        for sample in samples
        if (bits := _known(sample, "gpu_throttle")) is not None
        and ((percent := _known(sample, "gpu_percent")) is None or percent > BUSY_GPU_PERCENT)
    ]
    hot = [bits & GPU_THERMAL for bits in busy if bits & GPU_THERMAL]
    if hot:
        causes = [word for bit, word in _REASONS.items() if any(bits & bit for bits in hot)]
        said = f"in {len(hot)} of {len(busy)} readings under load (none is tolerated)"
        yield _suspicious("gpu_throttle", f"the GPU held itself back {said}: {'; '.join(causes)}")
    capped = sum(1 for bits in busy if bits & GPU_POWER_CAP)
    if capped > CAPPED_SHARE * len(busy):
        said = f"in {capped} of {len(busy)} readings under load ({100 * CAPPED_SHARE:.0f} % is tolerated)"
        yield _note("gpu_power_cap", f"the GPU was at its power limit {said}")


# What is known of a block.


class _Block:
    """Readings of a block. What several sources tell is taken from the one that covers most of the windows."""

    def __init__(
        self,
        before: Conditions | None,
        after: Conditions | None,
        samples: Sequence[Sample],
        windows: Sequence[tuple[int, int]],
    ) -> None:
        self.before, self.after = before, after
        self._spans, self._samples = Spans(windows), samples
        self._means = best(observed(samples, self._spans, _MEANS), self._spans)
        self.within = [each for each in samples if self._spans.hold(each.at_ns)]

    def readings(self, key: str) -> list[float]:
        """A level while it was measured; where no sample tells, as it was at the look after."""
        found = [value for each in self.within if (value := _known(each, key)) is not None]
        return found or _looked(self.after, key)

    def course(self, key: str) -> list[float]:
        """A level from the look before, while it was measured, to the look after."""
        found = [value for each in self.within if (value := _known(each, key)) is not None]
        return _looked(self.before, key) + found + _looked(self.after, key)

    def mean(self, key: str) -> float | None:
        """Of a rate, by time."""
        return self._means[key].mean if key in self._means else None

    def growth(self, key: str) -> Growth | None:
        return growth(self._samples, key, self._spans)

    def rise(self, key: str) -> float | None:
        """Of a counter, by the samples or between the looks: whichever saw more."""
        seen = self.growth(key)
        found = [] if seen is None else [seen.whole]
        if (first := _looked(self.before, key)) and (last := _looked(self.after, key)):
            found.append(max(0.0, last[0] - first[0]))
        return max(found, default=None)


def _known(sample: Sample, key: str) -> float | None:
    value = sample.values.get(key)
    return value if value is not None and isfinite(value) else None


def _looked(look: Conditions | None, key: str) -> list[float]:
    value = getattr(look, key, None)
    return [] if value is None else [float(value)]


def _above(value: float | None, limit: float) -> TypeGuard[float]:
    """What is unknown is above nothing."""
    return value is not None and value > limit


# How it is said.


def _suspicious(key: str, text: str, passes: bool = False) -> Doubt:
    return Doubt(key=key, level="suspicious", text=text, passes=passes)


def _note(key: str, text: str) -> Doubt:
    return Doubt(key=key, level="note", text=text)


def _names(processes: Iterable[Busy]) -> str:
    return ", ".join(f"{plain(each.name, 40) or each.pid} {_figure(each.cpu_percent)} %" for each in processes)


def _heat(level: float) -> str:
    word = f", {_THERMAL_LEVELS[int(level)]}" if 0 <= level < len(_THERMAL_LEVELS) else ""
    return f"thermal level {level:.0f}{word}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _time(time_ns: float) -> str:
    return f"{_figure(time_ns / 1e9)} s" if time_ns >= 1e9 else f"{_figure(time_ns / 1e6)} ms"


def rested(idle_s: Iterable[float], tolerated: Tolerated) -> list[Doubt]:
    """Calls before which a server had rested so long that a Mac drops a model's memory."""
    long = sum(each > tolerated.idle_gap_s for each in idle_s)
    text = f"{long} calls came after the server had rested for more than {tolerated.idle_gap_s:g} s"
    return [_note("idle_gap", text)] if long else []
