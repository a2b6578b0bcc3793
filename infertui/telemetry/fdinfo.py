"""What the kernel tells of one process's use of a GPU: the fdinfo of the DRM files that it has open."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec

# Engines that compute. Those that copy and those that code video run beside them, and would be counted twice.
COMPUTING = ("gfx", "compute", "render", "rcs", "ccs")
# Memory that the GPU reaches: its own and that of the machine as far as it is mapped for it. "system" without a number
# is what xe has moved out of the GPU's reach.
_REACHED = re.compile(r"(?:vram|gtt|local)\d*|system\d+")
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "kB": 1 << 10, "MiB": 1 << 20}
_KINDS = ("resident", "memory", "total")  # of the same memory, the first that is told


class Engine(msgspec.Struct, frozen=True):
    """How long it has worked for a client: ns, or, where `cycles` are told, so many of them."""

    busy: int
    cycles: int | None = None  # that there have been
    capacity: int = 1  # engines of this kind


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a GPU's that was opened once. Processes may share it, and hold it more than once."""

    driver: str
    gpu: str  # its PCI address
    number: int
    memory_bytes: int | None
    engines: dict[str, Engine]  # those that compute; amdgpu leaves out what has not worked yet

    @property
    def tells_engines(self) -> bool:
        return bool(self.engines) or self.driver == "amdgpu"

    def busy_percent(self, before: Client, span_ns: int) -> float:
        """Since then, of the GPU's time. A counter may fall back for a while: until it catches up it has not grown."""
        percent = 0.0
        for name, now in self.engines.items():
            then = before.engines.get(name)
            grown = now.busy - (0 if then is None else then.busy)
            span = span_ns
            if now.cycles is not None:
                span = 0 if then is None or then.cycles is None else now.cycles - then.cycles
            if grown > 0 and span > 0:
                percent += 100 * grown / span / now.capacity
        return percent

    def caught_up(self, before: Client) -> Client:
        """With the counters of before wherever those are larger: what was counted once is not counted again."""
        ahead = {name: then for name, then in before.engines.items() if name not in self.engines}
        for name, now in self.engines.items():
            then = before.engines.get(name, now)
            ahead[name] = msgspec.structs.replace(now, busy=max(now.busy, then.busy))
        return msgspec.structs.replace(self, engines=ahead)


class Opened(msgspec.Struct, frozen=True):
    """What a process has open of some GPUs."""

    clients: tuple[Client, ...] = ()
    mute: bool = False  # a file of which the kernel tells nothing
    rocm: bool = False  # AMD's way to compute, whose time is in no engine's counter


def client(text: str) -> Client | None:
    """Out of the text of one fdinfo. None: it does not say whose counters these are."""
    told = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.startswith("drm-"):
            told[key.removeprefix("drm-")] = value.split()
    driver, number = _first(told, "driver"), _whole(told, "client-id")
    if not driver or number is None:
        return None
    gpu = _first(told, "pdev")
    return Client(driver=driver, gpu=gpu, number=number, memory_bytes=_memory_bytes(told), engines=_engines(told))


def _first(told: Mapping[str, list[str]], key: str) -> str:
    return next(iter(told.get(key, ())), "")


def _whole(told: Mapping[str, list[str]], key: str) -> int | None:
    said = _first(told, key)
    return int(said) if said.isdecimal() and said.isascii() else None


def _memory_bytes(told: Mapping[str, list[str]]) -> int | None:
    found: dict[str, int] = {}
    for kind in _KINDS:
        for key, said in told.items():
            region = key.removeprefix(f"{kind}-")
            if region == key or region in found or not _REACHED.fullmatch(region):
                continue
            number, unit = _whole(told, key), _UNITS.get(said[1] if len(said) > 1 else "")
            if number is not None and unit is not None:
                found[region] = number * unit
    return sum(found.values()) if found else None


def _engines(told: Mapping[str, list[str]]) -> dict[str, Engine]:
    found = {}
    for name in COMPUTING:
        capacity = _whole(told, f"engine-capacity-{name}") or 1
        busy_ns, cycles = _whole(told, f"engine-{name}"), _whole(told, f"cycles-{name}")
        if busy_ns is not None:
            found[name] = Engine(busy_ns, None, capacity)
        elif cycles is not None and (every := _whole(told, f"total-cycles-{name}")) is not None:
            found[name] = Engine(cycles, every, capacity)
    return found


def opened(pid: int, nodes: Collection[str], proc: Path) -> Opened:
    """`nodes` are the names of the GPUs' files under /dev/dri. PermissionError: the process is another user's."""
    folder = proc / str(pid)
    found, mute, rocm = [], False, False
    for number, target in _links(folder / "fd"):
        rocm = rocm or target == "/dev/kfd"
        if not target.startswith("/dev/dri/") or target.rpartition("/")[2] not in nodes:
            continue
        try:
            text = (folder / "fdinfo" / number).read_text("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # closed meanwhile
        each = client(text)
        if each is None:
            mute = True
        else:
            found.append(each)
    return Opened(tuple(found), mute, rocm)


def _links(folder: Path) -> Iterable[tuple[str, str]]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return
    except PermissionError:
        if _ended(folder.parent):  # nobody has to look after what is left of it: it belongs to root
            return
        raise
    for name in names:
        try:
            yield name, os.readlink(folder / name)
        except (FileNotFoundError, ProcessLookupError):
            continue


def _ended(process: Path) -> bool:
    try:
        return (process / "stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True
