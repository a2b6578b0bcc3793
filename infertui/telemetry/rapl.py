"""Energy of the CPU's packages and of their memory, by the kernel's RAPL counters."""

from __future__ import annotations

from pathlib import Path

from infertui.sample import Absent, Values
from infertui.telemetry.source import Gone, Source
from infertui.telemetry.sysfs import number, text

MOST_W = 4000.0  # a zone that takes more was reset; it did not wrap
SURE_NS = 60_000_000_000  # in a longer time a counter may wrap more than once


class _Zone:
    """A counter of µJ, which begins anew at zero past its largest value."""

    def __init__(self, folder: Path) -> None:
        self._counter = folder / "energy_uj"
        self._most_uj = number(folder / "max_energy_range_uj")
        self._before: tuple[int, int] | None = None

    def exists(self) -> bool:
        return self._counter.exists()

    def power_w(self, at_ns: int) -> float | None:
        """Since the last reading."""
        energy_uj, before = number(self._counter), self._before
        self._before = None if energy_uj is None else (at_ns, energy_uj)
        if energy_uj is None or before is None or not 0 < at_ns - before[0] <= SURE_NS:
            return None
        grown_uj = energy_uj - before[1]
        if grown_uj < 0:
            grown_uj += self._most_uj or 0
        power_w = grown_uj * 1e3 / (at_ns - before[0])
        return power_w if 0 <= power_w <= MOST_W else None


class Rapl(Source):
    """Packages, and the memory at each as far as that has a counter. What else there is lies within these."""

    name = "RAPL"
    period_s = 0.5
    counted = True

    def __init__(self, packages: list[Path], memory: list[Path]) -> None:
        self._packages = [_Zone(zone) for zone in packages]
        self._memory = [_Zone(zone) for zone in memory]

    def read(self, at_ns: int) -> Values:
        packages_w = [zone.power_w(at_ns) for zone in self._packages]
        memory_w = [zone.power_w(at_ns) for zone in self._memory]
        if not any(zone.exists() for zone in self._packages):
            raise Gone("the kernel's energy counters are no longer there")
        # A package of 0 W is a counter that stands still. Memory has one of that kind on some CPUs that count none.
        known_w = [*filter(None, packages_w), *(power_w for power_w in memory_w if power_w is not None)]
        complete = len(known_w) == len(packages_w) + len(memory_w)
        return {"package_power_w": sum(known_w) if complete else None}


def found(root: Path = Path("/")) -> Source | Absent:
    """`root` is where /sys is."""
    every = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
    packages = [zone for zone in every if text(zone / "name").startswith("package")]
    if not packages:
        return Absent(name="RAPL", reason="the kernel shows no energy counter of this CPU")
    try:
        for zone in packages:
            (zone / "energy_uj").read_bytes()
    except PermissionError:
        return Absent(name="RAPL", reason="energy_uj is readable by root only on this kernel")
    except OSError as error:
        return Absent(name="RAPL", reason=f"energy_uj cannot be read: {error.strerror}")
    memory = [
        zone
        for zone in every
        if text(zone / "name") == "dram"
        and zone.name.rpartition(":")[0] in {package.name for package in packages}
        and number(zone / "energy_uj") is not None
    ]
    return Rapl(packages, memory)
