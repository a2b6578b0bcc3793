"""GPUs of AMD and Intel on Linux: what their drivers show in /sys of the GPUs, and in /proc of who uses them.

An integrated GPU shares memory and power supply with the CPU. AMD's tells one power for both: that is the chip's, never
the GPU's. Intel's tells none: it is in the CPU package's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from infertui.sample import Absent, Values
from infertui.telemetry.fdinfo import Client, Opened, opened
from infertui.telemetry.source import Gone, Rates, Source
from infertui.telemetry.sysfs import number, text

AMD, INTEL = "amdgpu", ("i915", "xe")
MI300A = "0x74a0"  # the one AMD chip with a CPU in it whose driver shows the sensors of a card
_CARD = re.compile(r"card\d+")


def found(root: Path = Path("/")) -> Source | Absent:
    """The GPUs. `root` is where /sys and /proc are."""
    cards = _cards(root)
    if not cards:
        return _NONE
    told = [card for card in cards if card.amd or card.energy]
    if not told:
        return Absent(name="DRM", reason="an integrated Intel GPU tells nothing of itself, only who uses it")
    return Cards(told, beside=_nvidia(root))


def clients(pids: Callable[[], frozenset[int]], root: Path = Path("/")) -> Source | Absent:
    """Who uses the GPUs. `pids` are the server's processes now."""
    cards = _cards(root)
    return Clients(cards, pids, root / "proc") if cards else _NONE


_NONE = Absent(name="DRM", reason="no AMD or Intel GPU that a server would use")


class _Card:
    """One GPU, by its device's folder."""

    def __init__(self, name: str, device: Path, driver: str) -> None:
        self.name, self.driver, self.device = name, driver, device
        self.amd = driver == AMD
        self.nodes = {each.name for each in (device / "drm").glob("*")} | {name}
        hwmon = next(iter(sorted((device / "hwmon").glob("hwmon*"))), None)
        self._hwmon = hwmon or device / "hwmon"
        energy = [self._hwmon / each for each in ("energy1_input", "energy2_input")]  # the card, else its package
        self.energy = [each for each in energy if not self.amd and each.exists()][:1]
        self.integrated = self._integrated() if self.amd else not self.energy

    def _integrated(self) -> bool:
        """By what the driver shows of chips with a CPU alone: the northbridge's voltage, their form of metrics.

        The sizes of memory tell nothing: a small card in a machine with much RAM looks like them.
        """
        if text(self.device / "device") == MI300A or text(self._hwmon / "in1_label") == "vddnb":
            return True
        if self.asleep():
            return False  # it would be woken, and only cards sleep
        try:
            with open(self.device / "gpu_metrics", "rb") as file:
                header = file.read(4)
        except OSError:
            return False
        return len(header) == 4 and header[2] in (2, 3)

    def asleep(self) -> bool:
        """Switched off until it is used. To read a sensor would wake it."""
        return text(self.device / "power/runtime_status") in ("suspended", "suspending")

    def busy_percent(self) -> float | None:
        if not self.amd:
            return None
        if self.asleep():
            return 0.0
        percent = number(self.device / "gpu_busy_percent")
        return percent if percent is not None and percent <= 100 else None

    def memory_bytes(self, which: str) -> int | None:
        """`which`: used, or total. Both pools of an integrated one: models lie in the one that RAM is mapped into."""
        pools = ("vram", "gtt") if self.integrated else ("vram",)
        return _total(number(self.device / f"mem_info_{pool}_{which}") for pool in pools)

    def sensor(self, *names: str) -> int | None:
        """The first that tells something. 0 is a sensor that is off."""
        if not self.asleep():
            for name in names:
                if value := number(self._hwmon / name):
                    return value
        return None


class Cards(Source):
    """The GPUs themselves. Of several: power and memory added, the busiest, the hottest, the slowest that is busy.

    What is added is unknown as soon as one GPU does not tell it; one that sleeps takes no power. The power of a chip
    is told only where its GPU is the only one: it would pass for that of all. `beside`: there is one of NVIDIA's.
    """

    period_s = 0.2

    def __init__(self, cards: list[_Card], beside: bool = False) -> None:
        self._cards = cards
        self._rates = Rates()
        self.name = ", ".join(sorted({card.driver for card in cards}))
        self.counted = all(card.energy for card in cards)
        self._own = [card for card in cards if not card.integrated]
        self._chip = cards[:1] if len(cards) == 1 and not self._own and not beside else []
        self._missing: dict[str, str] = {}
        intel = "Intel's drivers do not tell it of a whole GPU"
        if not all(card.amd for card in cards):
            self._missing |= dict.fromkeys(("gpu_used_bytes", "gpu_total_bytes"), intel)
        if not any(card.amd for card in cards):
            self._missing |= dict.fromkeys(("gpu_percent", "gpu_clock_mhz"), intel)
        if not self._own:
            self._missing["gpu_power_w"] = "the GPU has one sensor together with the CPU: their power is the chip's"

    @property
    def missing(self) -> dict[str, str]:
        return self._missing

    def read(self, at_ns: int) -> Values:
        if not any(card.device.exists() for card in self._cards):
            raise Gone("the GPU is no longer there")
        use = [card.busy_percent() for card in self._cards]
        clocks_hz = [card.sensor("freq1_input") for card in self._cards]
        busy_hz = [clock_hz for clock_hz, percent in zip(clocks_hz, use, strict=True) if percent]
        clock_hz = min(_known(busy_hz) or _known(clocks_hz), default=None)
        heat_mc = max(_known(card.sensor("temp1_input", "temp2_input") for card in self._cards), default=None)
        values: Values = {
            "gpu_percent": max(_known(use), default=None),
            "gpu_used_bytes": _total(card.memory_bytes("used") for card in self._cards),
            "gpu_total_bytes": _total(card.memory_bytes("total") for card in self._cards),
            "gpu_clock_mhz": None if clock_hz is None else clock_hz / 1e6,
            "gpu_temperature_c": None if heat_mc is None else heat_mc / 1e3,
            "gpu_power_w": self._power_w(self._own, at_ns),
        }
        if self._chip:
            values["soc_power_w"] = self._power_w(self._chip, at_ns)
        return values

    def _power_w(self, cards: list[_Card], at_ns: int) -> float | None:
        """Of those that are awake."""
        powers = []
        for card in cards:
            if card.asleep():
                self._rates.of(card.name, None, at_ns)
            elif card.energy:
                powers.append(self._rates.of(card.name, number(card.energy[0]), at_ns))
            else:
                powers.append(card.sensor("power1_average", "power1_input"))
        return sum(filter(None, powers)) / 1e6 if powers and all(powers) else None  # 0 W is a meter that is off


class Clients(Source):
    """Who uses the GPUs, by the counters of the files that the server has open. Use is that of the one used most.

    Buffers that two processes of the server share count in both. A server without such a file uses no GPU of these:
    that is unknown, not zero, because there may be others.
    """

    period_s = 1.0
    counted = True

    def __init__(self, cards: list[_Card], pids: Callable[[], frozenset[int]], proc: Path) -> None:
        self._pids, self._proc = pids, proc
        self._nodes = {node for card in cards for node in card.nodes}
        self._before: tuple[int, dict[tuple[str, int], Client]] | None = None
        self.name = ", ".join(sorted({card.driver for card in cards})) + " fdinfo"
        self._missing: dict[str, str] = {}

    @property
    def missing(self) -> dict[str, str]:
        return self._missing

    def read(self, at_ns: int) -> Values:
        values: Values = dict.fromkeys(("server_gpu_bytes", "server_gpu_percent"))
        seen = self._seen(self._pids())
        if isinstance(seen, str):
            self._before, self._missing = None, dict.fromkeys(values, seen)
            return values
        before_ns, before = self._before or (at_ns, {})
        now = {
            key: each if key not in before else each.caught_up(before[key])
            for files in seen
            for each in files.clients
            for key in [(each.gpu, each.number)]
        }
        self._before = (at_ns, now)
        values["server_gpu_bytes"] = _total(each.memory_bytes for each in now.values())
        self._missing = {}
        if any(each.rocm for each in seen):
            self._missing["server_gpu_percent"] = "n/a for ROCm: its time is in no engine's counter"
        elif not all(each.tells_engines for each in now.values()):
            self._missing["server_gpu_percent"] = "this driver does not tell how long its engines work for whom"
        elif known := now.keys() & before.keys():
            percents = dict.fromkeys((gpu for gpu, _ in now), 0.0)
            for key in known:
                percents[key[0]] += now[key].busy_percent(before[key], at_ns - before_ns)
            values["server_gpu_percent"] = max(percents.values())
        return values

    def _seen(self, server: frozenset[int]) -> list[Opened] | str:
        """What the server has open, or why that cannot be told."""
        try:
            found = [opened(pid, self._nodes, self._proc) for pid in server]
        except PermissionError:
            return "the server's processes belong to another user"
        if any(each.mute for each in found):
            return "this kernel tells nothing of who uses a GPU (Linux 5.19 does)"
        return found


def _cards(root: Path) -> list[_Card]:
    """An integrated Intel GPU only where it is alone: beside another one it shows the desktop."""
    found = []
    for entry in sorted((root / "sys/class/drm").glob("card*")):
        device = entry / "device"
        driver = (device / "driver").resolve().name
        if _CARD.fullmatch(entry.name) and driver in (AMD, *INTEL):
            found.append(_Card(entry.name, device, driver))
    cards = [card for card in found if card.amd or not card.integrated]
    return cards if cards or _nvidia(root) else found


def _nvidia(root: Path) -> bool:
    return (root / "proc/driver/nvidia").exists()


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _total(values: Iterable[int | None]) -> int | None:
    """None: one is not known, or there are none."""
    every = list(values)
    known = [value for value in every if value is not None]
    return sum(known) if known and len(known) == len(every) else None
