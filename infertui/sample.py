"""What a sampler says: readings with their stamps, and the registry of all that may be read.

Stamps are perf_counter_ns, the clock of the calls. A reading that cannot be had is None, never a zero.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Series(msgspec.Struct, frozen=True):
    """`kind`: a level holds at its stamp, a rate is the mean of its span, a counter only ever grows."""

    key: str
    label: str
    unit: str
    of: Literal["server", "machine", "gpu", "power"]
    kind: Literal["level", "rate", "counter"]
    meaning: str


SERIES: dict[str, Series] = {
    series.key: series
    for series in (
        Series("server_cpu_percent", "Server CPU", "%", "server", "rate", "of one core; all processes of the server"),
        Series("server_cpu_ns", "Server CPU time", "ns", "server", "counter", "with the children that have ended"),
        Series("server_processes", "Server processes", "", "server", "level", "how many there are"),
        Series(
            "server_private_bytes",
            "Private memory",
            "B",
            "server",
            "level",
            "cannot be dropped: footprint on macOS; RssAnon + RssShmem + VmSwap on Linux",
        ),
        Series("server_mapped_bytes", "Mapped files", "B", "server", "level", "RssFile on Linux: weights, libraries"),
        Series("server_resident_bytes", "Resident memory", "B", "server", "level", "an upper view; shared pages twice"),
        Series("server_swapped_bytes", "Server in swap", "B", "server", "level", "part of the private memory"),
        Series("server_peak_bytes", "Peak memory", "B", "server", "level", "since the start of each process, added"),
        Series("server_pageins", "Page-ins", "", "server", "counter", "pages of the server read again from disk"),
        Series("server_cpu_power_w", "Server CPU power", "W", "server", "rate", "CPU alone, by the kernel's own model"),
        Series("server_gpu_percent", "Server GPU", "%", "server", "rate", "of its processes; on the GPU used most"),
        Series("server_gpu_bytes", "Server GPU memory", "B", "server", "level", "by the driver"),
        Series("machine_cpu_percent", "Machine CPU", "%", "machine", "rate", "of all cores"),
        Series("own_cpu_percent", "InferTUI's CPU", "%", "machine", "rate", "of all cores: runner, sampler, display"),
        Series("foreign_cpu_percent", "Other CPU load", "%", "machine", "rate", "of all cores: neither server nor us"),
        Series("sampler_cpu_percent", "Sampler's CPU", "%", "machine", "rate", "of one core; its children too"),
        Series("ram_total_bytes", "RAM", "B", "machine", "level", "that there is"),
        Series("ram_used_bytes", "RAM in use", "B", "machine", "level", "not to be had by a program that asks"),
        Series("swap_used_bytes", "Swap in use", "B", "machine", "level", "pages out on disk"),
        Series("swapouts", "Swap-outs", "", "machine", "counter", "pages written to swap, since boot"),
        Series("memory_pressure", "Memory pressure", "", "machine", "level", "macOS: 1 normal, 2 warning, 4 critical"),
        Series("cpu_stall_percent", "CPU stall", "%", "machine", "rate", "Linux PSI: some task waited for a CPU"),
        Series(
            "memory_stall_percent", "Memory stall", "%", "machine", "rate", "Linux PSI: all tasks waited for memory"
        ),
        Series("io_stall_percent", "Disk stall", "%", "machine", "rate", "Linux PSI: all tasks waited for a disk"),
        Series("cgroup_throttled_ns", "CPU limit hit", "ns", "machine", "counter", "cgroup: held back by cpu.max"),
        Series("cgroup_memory_bytes", "Memory in the limit", "B", "machine", "level", "cgroup: memory.current"),
        Series("cgroup_limit_bytes", "Memory limit", "B", "machine", "level", "cgroup: memory.max"),
        Series("thermal_level", "Thermal level", "", "machine", "level", "macOS: 0 nominal to 4; 2 halves results"),
        Series("thermal_throttles", "Thermal throttles", "", "machine", "counter", "Linux: events of all CPU cores"),
        Series("on_battery", "On battery", "", "machine", "level", "1: the machine runs from its battery"),
        Series("asleep_ns", "Asleep", "ns", "machine", "counter", "time that the machine was suspended since boot"),
        Series(
            "clock_step_ns", "Clock set", "ns", "machine", "level", "wall clock − (steady clock + sleep) since start"
        ),
        Series("cpu_temperature_c", "CPU temperature", "°C", "machine", "level", "mean of its sensors"),
        Series("gpu_percent", "GPU", "%", "gpu", "rate", "of the machine; the busiest one where there are several"),
        Series("foreign_gpu_percent", "Other GPU load", "%", "gpu", "rate", "of other processes; on the GPU used most"),
        Series("gpu_used_bytes", "GPU memory in use", "B", "gpu", "level", "by all programs, on all GPUs"),
        Series("gpu_total_bytes", "GPU memory", "B", "gpu", "level", "that there is; unknown where it is unified"),
        Series("gpu_temperature_c", "GPU temperature", "°C", "gpu", "level", "of the hottest one"),
        Series("gpu_clock_mhz", "GPU clock", "MHz", "gpu", "level", "of the slowest busy one"),
        Series("gpu_throttle", "GPU throttle reasons", "", "gpu", "level", "NVML's bits of all GPUs together"),
        Series("gpu_power_w", "GPU power", "W", "power", "rate", "all GPUs"),
        Series("cpu_power_w", "CPU power", "W", "power", "rate", "macmon: its cores alone"),
        Series("soc_power_w", "Chip power", "W", "power", "rate", "CPU, GPU, neural engine; amdgpu: the APU"),
        Series("package_power_w", "CPU package power", "W", "power", "rate", "RAPL: packages and DRAM"),
        Series("system_power_w", "System power", "W", "power", "rate", "the whole machine with its display"),
    )
}

Values = dict[str, float | None]


class Sample(msgspec.Struct, frozen=True, kw_only=True, tag="sample"):
    """What one source said at one instant. Its rates are means over `since_ns` to `at_ns`."""

    source: str
    at_ns: int
    since_ns: int | None = None  # None: its first reading, of which no rate can be known
    took_ns: int = 0
    values: Values = {}


class Absent(msgspec.Struct, frozen=True, kw_only=True, tag="absent"):
    """A source that is not there, or tells no more: why, and what would change that."""

    name: str
    reason: str
    mend: str = ""


class Count(msgspec.Struct, kw_only=True):
    """How a source kept its slots: readings taken, slots missed, readings longer than a slot, readings that failed."""

    period_s: float
    taken: int = 0
    missed: int = 0
    overruns: int = 0
    errors: int = 0


class Tally(msgspec.Struct, kw_only=True):
    """What sampling has come to so far, and what it cost."""

    sources: dict[str, Count] = {}
    cpu_s: float = 0.0  # of the sampler …
    children_cpu_s: float = 0.0  # … and of the programs that it reads from
    dropped: int = 0  # readings that nobody took

    def since(self, before: Tally) -> Tally:
        """What it grew by."""
        grown = {
            name: Count(
                period_s=now.period_s,
                taken=now.taken - then.taken,
                missed=now.missed - then.missed,
                overruns=now.overruns - then.overruns,
                errors=now.errors - then.errors,
            )
            for name, now in self.sources.items()
            for then in [before.sources.get(name, Count(period_s=now.period_s))]
        }
        return Tally(
            sources=grown,
            cpu_s=self.cpu_s - before.cpu_s,
            children_cpu_s=self.children_cpu_s - before.children_cpu_s,
            dropped=self.dropped - before.dropped,
        )

    def plus(self, more: Tally) -> Tally:
        """Both together."""
        nothing = Tally(sources={name: Count(period_s=each.period_s) for name, each in self.sources.items()})
        return more.since(nothing.since(self))
