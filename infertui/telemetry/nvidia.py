"""NVIDIA GPUs, by the library of their driver. What a GPU or a driver does not tell is unknown, with the reason kept.

There are two sources: the GPUs themselves, and who uses them. To ask for processes costs more, and once a second is
enough.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from infertui.sample import Absent, Values
from infertui.telemetry.source import Gone, Rates, Source
from infertui.text import plain

LIBRARY = "libnvidia-ml.so.1"
ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
NO_DRIVER = "no NVIDIA driver is loaded"
HOSTS = "no process that the driver lists exists here: in a container it names those of the host"

# Codes of NVML: its interface fixes them.
NOTHING = {0, 6}  # a list without entries: success, which pynvml raises too, and "not found"
NEVER = {2, 3, 4, 13, 25, 26}  # this GPU or driver will not answer that call, however often it is asked
OVER = {1, 9, 15, 16, 18}  # the driver is gone, or a GPU that the sums need
WORDS = {
    9: NO_DRIVER,
    12: NO_DRIVER,
    18: "the NVIDIA driver was updated while it ran: its library fits the kernel's module after a restart",
}


class _Question(NamedTuple):
    """Calls that answer the same, the best first, and the series that are unknown without an answer."""

    calls: tuple[str, ...]
    keys: tuple[str, ...]
    lists: bool = False


OF_GPUS = {
    "use": _Question(("nvmlDeviceGetUtilizationRates",), ("gpu_percent",)),
    "memory": _Question(("nvmlDeviceGetMemoryInfo",), ("gpu_used_bytes", "gpu_total_bytes")),
    "temperature": _Question(("nvmlDeviceGetTemperature",), ("gpu_temperature_c",)),
    "clock": _Question(("nvmlDeviceGetClockInfo",), ("gpu_clock_mhz",)),
    "throttle": _Question(
        ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"), ("gpu_throttle",)
    ),
    "power": _Question((ENERGY, "nvmlDeviceGetPowerUsage"), ("gpu_power_w",)),
}
OF_PROCESSES = {
    "compute": _Question(
        ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
        ("server_gpu_bytes",),
        lists=True,
    ),
    # Servers that compute by Vulkan are here, and those behind CUDA's multi-process service.
    "graphics": _Question(("nvmlDeviceGetGraphicsRunningProcesses_v3",), (), lists=True),
    "mps": _Question(("nvmlDeviceGetMPSComputeRunningProcesses_v3",), (), lists=True),
    "shares": _Question(
        ("nvmlDeviceGetProcessUtilization",), ("server_gpu_percent", "foreign_gpu_percent"), lists=True
    ),
    "use": OF_GPUS["use"]._replace(keys=()),
}
NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1
ARGUMENTS = {"nvmlDeviceGetTemperature": (NVML_TEMPERATURE_GPU,), "nvmlDeviceGetClockInfo": (NVML_CLOCK_SM,)}


def found() -> Source | Absent:
    """The GPUs; cheap and silent where there is no driver."""
    return _opened(Nvml)


def processes(pids: Callable[[], frozenset[int]]) -> Source | Absent:
    """Who uses the GPUs. `pids` are the server's processes now."""
    return _opened(lambda library: NvmlProcesses(library, pids))


def _opened(source: Callable[[Any], Source]) -> Source | Absent:
    import ctypes

    try:
        ctypes.CDLL(LIBRARY)  # before pynvml, which takes much longer to import than this to fail
        return source(importlib.import_module("pynvml"))
    except OSError:
        return Absent(name="NVML", reason=NO_DRIVER)
    except ImportError:
        return Absent(name="NVML", reason="the package nvidia-ml-py is missing", mend="pip install nvidia-ml-py")
    except Gone as gone:
        return Absent(name="NVML", reason=str(gone))


class _Gpus:
    """All GPUs that NVML shows, asked over a connection of their own. `library` is pynvml.

    `parts`: a GPU that is split (MIG) is asked part by part. `missing` has the series that it does not tell.
    """

    def __init__(self, library: Any, questions: dict[str, _Question], parts: bool = False) -> None:
        self.missing: dict[str, str] = {}
        self._nvml = library
        self._questions = questions
        self._open = False
        try:
            library.nvmlInit()
            self._open = True
            self.driver = plain(str(library.nvmlSystemGetDriverVersion()), 40)
            self._handles = list(self._shown(parts))
        except library.NVMLError as error:
            self.close()
            raise Gone(_words(error)) from None
        if not self._handles:
            self.close()
            raise Gone("the NVIDIA driver shows no GPU here")
        self.each = range(len(self._handles))
        self._calls = {(gpu, key): list(asked.calls) for gpu in self.each for key, asked in questions.items()}

    def _shown(self, parts: bool) -> Iterable[Any]:
        nvml = self._nvml
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
            except nvml.NVMLError as error:
                if error.value not in NEVER:
                    raise
                continue  # one that we may not use
            yield from (self._parts(handle) if parts else ()) or (handle,)

    def _parts(self, handle: Any) -> list[Any]:
        nvml, found = self._nvml, []
        with contextlib.suppress(nvml.NVMLError):
            if nvml.nvmlDeviceGetMigMode(handle)[0]:
                for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                    with contextlib.suppress(nvml.NVMLError):  # a slot that holds none
                        found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
        return found

    def ask(self, gpu: int, key: str, *more: object) -> Any:
        """None: it does not tell, now or ever. Gone: a GPU is lost, or the driver."""
        question, calls = self._questions[key], self._calls[gpu, key]
        while calls:
            call = calls[0]
            try:
                return getattr(self._nvml, call)(self._handles[gpu], *ARGUMENTS.get(call, ()), *more)
            except self._nvml.NVMLError as error:
                if error.value in OVER:
                    raise Gone(_words(error)) from None
                if error.value in NOTHING and question.lists:
                    return []
                if error.value not in NEVER:
                    return None
                calls.pop(0)
                if not calls:
                    self.missing |= dict.fromkeys(question.keys, f"GPU {gpu}: {_words(error)}")
        return None

    def asked(self, gpu: int, key: str) -> str:
        """The call that answers; empty: none."""
        return next(iter(self._calls[gpu, key]), "")

    def close(self) -> None:
        if self._open:
            self._open = False  # NVML counts who has it open: let go of it once
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()


class Nvml(Source):
    """The GPUs themselves. Of several: power and memory added, the busiest, the hottest, the slowest that is busy.

    What is added is unknown as soon as one GPU does not tell it. Use is the mean of a window of the driver's own, of
    1/6 s to 1 s. Memory in use has what the driver keeps for itself in it.
    """

    period_s = 0.2

    def __init__(self, library: Any) -> None:
        self._gpus = _Gpus(library, OF_GPUS)
        self._rates = Rates()
        self.name = f"NVML {self._gpus.driver}"
        for gpu in self._gpus.each:
            self._gpus.ask(gpu, "power")
        self.counted = all(self._counters())

    @property
    def missing(self) -> dict[str, str]:
        return self._gpus.missing

    def read(self, at_ns: int) -> Values:
        use = [None if said is None else said.gpu for said in self._asked("use")]
        memory = self._asked("memory")
        clocks = self._asked("clock")
        busy = [clock for clock, percent in zip(clocks, use, strict=True) if percent]
        return {
            "gpu_percent": max(_known(use), default=None),
            "gpu_used_bytes": _total(None if said is None else said.used for said in memory),
            "gpu_total_bytes": _total(None if said is None else said.total for said in memory),
            "gpu_temperature_c": max(_known(self._asked("temperature")), default=None),
            "gpu_clock_mhz": min(_known(busy) or _known(clocks), default=None),
            "gpu_throttle": reduce(or_, bits) if (bits := _known(self._asked("throttle"))) else None,
            "gpu_power_w": self._power_w(at_ns),
        }

    def _asked(self, key: str) -> list[Any]:
        return [self._gpus.ask(gpu, key) for gpu in self._gpus.each]

    def _power_w(self, at_ns: int) -> float | None:
        """What the counters grew by since the last reading, whose sum over all readings is what was used.

        They move in steps, of 100 ms or so: a single reading may be well off. All counters make one rate, so that a
        step that comes late is in the next reading, and not lost.
        """
        said = self._asked("power")
        counters = self._counters()
        self.counted = all(counters)
        energy_mj = _total(value for value, counter in zip(said, counters, strict=True) if counter)
        parts_mw = [value for value, counter in zip(said, counters, strict=True) if not counter]
        if any(counters):
            parts_mw.append(self._rates.of("energy", energy_mj, at_ns))
        return sum(parts_mw) / 1e3 if all(parts_mw) else None  # 0 W is a meter that does not work

    def _counters(self) -> list[bool]:
        return [self._gpus.asked(gpu, "power") == ENERGY for gpu in self._gpus.each]

    def close(self) -> None:
        self._gpus.close()


class NvmlProcesses(Source):
    """Who uses the GPUs. Of several: memory added, use on the one that is used most.

    A server that the driver does not list uses no GPU, or cannot be seen: that is unknown, not zero. The share of a
    process is the mean of the driver's own windows; one that the driver lists and has no new window of did not run.
    """

    period_s = 1.0
    counted = False

    def __init__(self, library: Any, pids: Callable[[], frozenset[int]], root: Path = Path("/")) -> None:
        self._gpus = _Gpus(library, OF_PROCESSES, parts=True)
        self._pids = pids
        self._proc = root / "proc"
        self._windows_us: dict[int, int] = {}  # the newest one seen, by GPU
        self._unseen: dict[str, str] = {}
        self.name = f"NVML {self._gpus.driver}, processes"

    @property
    def missing(self) -> dict[str, str]:
        return {**self._unseen, **self._gpus.missing}

    def read(self, at_ns: int) -> Values:
        server = self._pids()
        held = [self._held(gpu) for gpu in self._gpus.each]
        shares = [self._shares(gpu, held[gpu]) for gpu in self._gpus.each]
        told = {pid for each in (*held, *shares) for pid in each or ()}
        seen = not told.isdisjoint(server)
        strange = set() if seen else {pid for pid in told if not (self._proc / str(pid)).exists()}
        values: Values = dict.fromkeys(("server_gpu_bytes", "server_gpu_percent", "foreign_gpu_percent"))
        self._unseen = dict.fromkeys(values, HOSTS) if strange and strange == told else {}
        if seen and None not in held:
            values["server_gpu_bytes"] = _total(
                each[pid] for each in held if each is not None for pid in each if pid in server
            )
        known = [each for each in shares if each is not None]
        if len(known) == len(shares):
            if seen:
                values["server_gpu_percent"] = max(sum(each[pid] for pid in each if pid in server) for each in known)
            if server and not strange:
                values["foreign_gpu_percent"] = max(
                    sum(each[pid] for pid in each if pid not in server) for each in known
                )
        return values

    def _held(self, gpu: int) -> dict[int, int | None] | None:
        """GPU memory by process. None: the GPU does not tell who uses it."""
        found: dict[int, int | None] = {}
        for key in ("compute", "graphics", "mps"):
            listed = self._gpus.ask(gpu, key)
            if listed is None and key == "compute":
                return None
            for process in listed or ():
                used = [process.usedGpuMemory, found.get(process.pid, 0)]  # one in two lists holds the same in both
                found[process.pid] = None if None in used else max(used)
        return found

    def _shares(self, gpu: int, held: dict[int, int | None] | None) -> dict[int, float] | None:
        """Percent of the GPU's time by process since the last reading. None: it cannot be told."""
        since = self._windows_us.get(gpu)
        windows = self._gpus.ask(gpu, "shares", since or 0)
        if windows is None:
            return None
        # The driver is known to hand out old windows again, and some that were never filled in.
        new = [
            window
            for window in windows
            if window.timeStamp > (since or 0) and window.smUtil <= 100 and (held is None or window.pid in held)
        ]
        self._windows_us[gpu] = max((window.timeStamp for window in new), default=since or 0)
        if since is None:
            return None  # of a time before the first reading
        if not new:
            use = self._gpus.ask(gpu, "use")
            return {} if use is not None and use.gpu == 0 else None
        return {pid: fmean(each.smUtil for each in new if each.pid == pid) for pid in {each.pid for each in new}}

    def close(self) -> None:
        self._gpus.close()


def _words(error: Any) -> str:
    return WORDS.get(error.value) or plain(str(error), 100)


def _known(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _total(values: Iterable[Any]) -> Any:
    """None: one is not known, or there are none."""
    every = list(values)
    return None if None in every or not every else sum(every)
