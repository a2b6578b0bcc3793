"""NVIDIA GPUs, through a fake of pynvml that has the functions and the errors that are asked for. None was here."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from infertui.sample import SERIES, Absent
from infertui.telemetry import nvidia
from infertui.telemetry.nvidia import Nvml, NvmlProcesses
from infertui.telemetry.source import Gone

SECOND = 1_000_000_000
GIB = 1 << 30
NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, NOT_LOADED, TIMEOUT, NO_FUNCTION, LOST = 3, 4, 6, 9, 10, 13, 15
COMPUTE = "nvmlDeviceGetComputeRunningProcesses_v3"
GRAPHICS = "nvmlDeviceGetGraphicsRunningProcesses_v3"
MPS = "nvmlDeviceGetMPSComputeRunningProcesses_v3"
SHARES = "nvmlDeviceGetProcessUtilization"
USE = "nvmlDeviceGetUtilizationRates"
MEMORY = "nvmlDeviceGetMemoryInfo"
ENERGY, POWER = "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"
REASONS, OLD_REASONS = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"


class FakeError(Exception):
    WORDS: ClassVar = {3: "Not Supported", 4: "Insufficient Permissions", 13: "Function Not Found", 15: "GPU is lost"}

    def __init__(self, value: int) -> None:
        self.value = value

    def __str__(self) -> str:
        return self.WORDS.get(self.value, f"code {self.value}")


class FakeNvml:
    """pynvml with as many GPUs as there are answers. An answer that is an error is raised."""

    NVMLError = FakeError

    def __init__(self, *gpus: dict[str, Any], driver: str = "580.65.06") -> None:
        self.gpus = list(gpus)
        self.driver = driver
        self.opened = 0
        self.called: list[tuple[Any, ...]] = []
        self.parts: dict[int, list[int]] = {}

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        if not self.opened:
            raise FakeError(1)
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return self.driver

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus) - sum(len(each) for each in self.parts.values())

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if self.gpus[index].get("handle"):
            raise FakeError(self.gpus[index]["handle"])
        return index

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:
        return [int(handle in self.parts), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, index: int) -> int:
        if index >= len(self.parts[handle]):
            raise FakeError(NOT_FOUND)
        return self.parts[handle][index]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(handle: int, *arguments: Any) -> Any:
            self.called.append((name, handle, *arguments))
            answer = self.gpus[handle].get(name, FakeError(NOT_SUPPORTED))
            if isinstance(answer, FakeError):
                raise answer
            return answer

        return call


def use(percent: int) -> SimpleNamespace:
    return SimpleNamespace(gpu=percent, memory=0)


def memory(used: int, total: int) -> SimpleNamespace:
    return SimpleNamespace(used=used, total=total, free=total - used)


def process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def window(pid: int, at_us: int, percent: int) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, timeStamp=at_us, smUtil=percent, memUtil=0, encUtil=0, decUtil=0)


def gpu(**changed: Any) -> dict[str, Any]:
    """A GPU that tells everything, at 1 kJ."""
    answers = {
        USE: use(90),
        MEMORY: memory(6 * GIB, 24 * GIB),
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetClockInfo": 1800,
        REASONS: 0x4,
        ENERGY: 1_000_000,
        COMPUTE: [],
        GRAPHICS: [],
        MPS: FakeError(NOT_SUPPORTED),
        SHARES: FakeError(NOT_FOUND),
    }
    return answers | changed


def server(*pids: int) -> Callable[[], frozenset[int]]:
    return lambda: frozenset(pids)


def processes(library: FakeNvml, root: Path, *pids: int, alive: tuple[int, ...] = ()) -> NvmlProcesses:
    for pid in alive:
        (root / "proc" / str(pid)).mkdir(parents=True)
    return NvmlProcesses(library, server(*pids), root)


# The GPUs.


def test_one_gpu_in_its_units_and_by_keys_of_the_registry() -> None:
    library = FakeNvml(gpu())
    source = Nvml(library)
    values = source.read(SECOND)
    assert values == {
        "gpu_percent": 90,
        "gpu_used_bytes": 6 * GIB,
        "gpu_total_bytes": 24 * GIB,
        "gpu_temperature_c": 61,
        "gpu_clock_mhz": 1800,
        "gpu_throttle": 4,
        "gpu_power_w": None,  # a rate: the first reading has none
    }
    assert set(values) <= set(SERIES)
    assert (source.name, source.period_s, source.counted, source.missing) == ("NVML 580.65.06", 0.2, True, {})
    assert ("nvmlDeviceGetTemperature", 0, 0) in library.called  # the chip's sensor
    assert ("nvmlDeviceGetClockInfo", 0, 1) in library.called  # the clock of its processors, not of its memory


def test_power_is_what_the_energy_counter_grew_by_so_that_its_sum_is_what_was_used() -> None:
    card = gpu()
    source = Nvml(FakeNvml(card))
    source.read(SECOND)
    card[ENERGY] = 1_060_000  # 60 J in 0.2 s
    assert source.read(SECOND + 200_000_000)["gpu_power_w"] == 300.0
    card[ENERGY] = 1_060_000  # no step of the counter: not 0 W
    assert source.read(SECOND + 400_000_000)["gpu_power_w"] is None
    card[ENERGY] = 1_160_000  # two steps: the energy of both spans is in this one
    assert source.read(SECOND + 600_000_000)["gpu_power_w"] == 500.0
    card[ENERGY] = 1_360_000  # 200 J after a gap of 1 s
    assert source.read(SECOND + 1_600_000_000)["gpu_power_w"] == 200.0


def test_an_energy_counter_that_falls_or_fails_starts_anew() -> None:
    card = gpu()
    source = Nvml(FakeNvml(card))
    source.read(SECOND)
    card[ENERGY] = 500
    assert source.read(2 * SECOND)["gpu_power_w"] is None
    card[ENERGY] = 100_500
    assert source.read(3 * SECOND)["gpu_power_w"] == 100.0
    card[ENERGY] = FakeError(TIMEOUT)
    assert source.read(4 * SECOND)["gpu_power_w"] is None
    card[ENERGY] = 400_500
    assert source.read(5 * SECOND)["gpu_power_w"] is None
    card[ENERGY] = 450_500
    assert source.read(6 * SECOND)["gpu_power_w"] == 50.0
    assert source.missing == {}


def test_without_an_energy_counter_power_is_that_of_the_moment() -> None:
    card = gpu(**{ENERGY: FakeError(NOT_SUPPORTED), POWER: 71_500})
    source = Nvml(FakeNvml(card))
    assert not source.counted
    assert source.read(SECOND)["gpu_power_w"] == 71.5
    card[POWER] = 0
    assert source.read(2 * SECOND)["gpu_power_w"] is None
    assert source.missing == {}


def test_two_gpus_are_added_or_the_busiest_the_hottest_and_the_slowest_that_works() -> None:
    one = gpu(**{REASONS: 0x1, USE: use(0), "nvmlDeviceGetClockInfo": 210, "nvmlDeviceGetTemperature": 40})
    two = gpu(**{REASONS: 0x20, USE: use(35), MEMORY: memory(10 * GIB, 16 * GIB), ENERGY: 7_000_000})
    source = Nvml(FakeNvml(one, two))
    values = source.read(SECOND)
    assert values["gpu_percent"] == 35
    assert values["gpu_used_bytes"] == 16 * GIB
    assert values["gpu_total_bytes"] == 40 * GIB
    assert values["gpu_temperature_c"] == 61
    assert values["gpu_clock_mhz"] == 1800  # 210 is that of the idle one
    assert values["gpu_throttle"] == 0x21
    one[ENERGY], two[ENERGY] = 1_010_000, 7_200_000
    assert source.read(2 * SECOND)["gpu_power_w"] == 210.0
    one[ENERGY], two[ENERGY] = 1_010_000, 7_400_000  # one counter's step comes late …
    assert source.read(3 * SECOND)["gpu_power_w"] == 200.0
    one[ENERGY], two[ENERGY] = 1_030_000, 7_600_000  # … and is not lost
    assert source.read(4 * SECOND)["gpu_power_w"] == 220.0


def test_where_no_gpu_works_the_clock_is_that_of_the_slowest() -> None:
    idle = [gpu(**{USE: use(0), "nvmlDeviceGetClockInfo": mhz}) for mhz in (345, 210)]
    assert Nvml(FakeNvml(*idle)).read(SECOND)["gpu_clock_mhz"] == 210


def test_a_counter_and_a_meter_make_one_power() -> None:
    one, two = gpu(), gpu(**{ENERGY: FakeError(NOT_SUPPORTED), POWER: 25_000})
    source = Nvml(FakeNvml(one, two))
    assert not source.counted
    assert source.read(SECOND)["gpu_power_w"] is None
    one[ENERGY] = 1_100_000
    assert source.read(2 * SECOND)["gpu_power_w"] == 125.0


def test_a_sum_is_unknown_where_one_gpu_does_not_tell_it() -> None:
    silent = {
        MEMORY: FakeError(NOT_SUPPORTED),
        ENERGY: FakeError(NOT_SUPPORTED),
        POWER: FakeError(NO_PERMISSION),
        REASONS: FakeError(NOT_SUPPORTED),
    }
    source = Nvml(FakeNvml(gpu(), gpu(**silent, **{USE: FakeError(NOT_SUPPORTED)})))
    source.read(SECOND)
    values = source.read(2 * SECOND)
    assert (values["gpu_used_bytes"], values["gpu_total_bytes"], values["gpu_power_w"]) == (None, None, None)
    assert (values["gpu_percent"], values["gpu_throttle"]) == (90, 4)
    assert source.missing["gpu_power_w"] == "GPU 1: Insufficient Permissions"
    assert source.missing["gpu_percent"] == "GPU 1: Not Supported"


def test_what_is_not_supported_is_asked_once_and_its_reason_kept() -> None:
    library = FakeNvml(gpu(**{MEMORY: FakeError(NOT_SUPPORTED)}))  # unified memory
    source = Nvml(library)
    for at in (1, 2, 3):
        values = source.read(at * SECOND)
        assert (values["gpu_used_bytes"], values["gpu_total_bytes"]) == (None, None)
        assert values["gpu_percent"] == 90
    assert source.missing == dict.fromkeys(("gpu_used_bytes", "gpu_total_bytes"), "GPU 0: Not Supported")
    assert sum(call[0] == MEMORY for call in library.called) == 1


def test_what_fails_for_once_is_asked_again() -> None:
    card = gpu(**{USE: FakeError(TIMEOUT)})
    source = Nvml(FakeNvml(card))
    assert source.read(SECOND)["gpu_percent"] is None
    card[USE] = use(0)
    assert source.read(2 * SECOND)["gpu_percent"] == 0
    assert source.missing == {}


def test_an_older_driver_has_the_throttle_reasons_under_their_old_name() -> None:
    source = Nvml(FakeNvml(gpu(**{REASONS: FakeError(NO_FUNCTION), OLD_REASONS: 0x40})))
    assert source.read(SECOND)["gpu_throttle"] == 0x40
    assert source.missing == {}


def test_a_gpu_that_throttles_for_no_reason_says_zero() -> None:
    assert Nvml(FakeNvml(gpu(**{REASONS: 0}))).read(SECOND)["gpu_throttle"] == 0


@pytest.mark.parametrize("code", [1, 9, 15, 16, 18])
def test_with_the_driver_or_a_gpu_the_source_is_gone(code: int) -> None:
    one, two = gpu(), gpu()
    source = Nvml(FakeNvml(one, two))
    two["nvmlDeviceGetTemperature"] = FakeError(code)
    with pytest.raises(Gone):
        source.read(SECOND)


def test_a_lost_gpu_is_named_so() -> None:
    card = gpu()
    source = Nvml(FakeNvml(card))
    card[USE] = FakeError(LOST)
    with pytest.raises(Gone, match="GPU is lost"):
        source.read(SECOND)


def test_what_the_driver_says_is_made_safe() -> None:
    assert Nvml(FakeNvml(gpu(), driver="\x1b[31m580")).name == "NVML ␛[31m580"


def test_a_gpu_that_may_not_be_used_is_left_out() -> None:
    source = Nvml(FakeNvml(gpu(), gpu(handle=NO_PERMISSION)))
    assert source.read(SECOND)["gpu_used_bytes"] == 6 * GIB


def test_each_source_lets_go_of_the_library_once(tmp_path: Path) -> None:
    library = FakeNvml(gpu())
    one, two = Nvml(library), processes(library, tmp_path)
    assert library.opened == 2
    one.close()
    one.close()
    assert library.opened == 1
    two.close()
    assert library.opened == 0


# Who uses them.


def test_the_servers_processes_are_told_from_others(tmp_path: Path) -> None:
    mine = [process(10, 5 * GIB), process(11, 1 * GIB)]
    card = gpu(**{COMPUTE: [*mine, process(99, 2 * GIB)], GRAPHICS: [process(1, 30 << 20)]})
    source = processes(FakeNvml(card), tmp_path, 10, 11, 12)
    card[SHARES] = [window(10, 1_000, 99)]
    first = source.read(SECOND)
    assert first == {"server_gpu_bytes": 6 * GIB, "server_gpu_percent": None, "foreign_gpu_percent": None}
    card[SHARES] = [window(10, 2_000, 60), window(11, 2_000, 10), window(99, 2_000, 20), window(1, 2_000, 5)]
    values = source.read(2 * SECOND)
    assert values == {"server_gpu_bytes": 6 * GIB, "server_gpu_percent": 70, "foreign_gpu_percent": 25}
    assert set(values) <= set(SERIES)
    assert (source.name, source.period_s, source.counted) == ("NVML 580.65.06, processes", 1.0, False)
    assert source.missing == {}


def test_windows_are_asked_for_from_the_newest_that_was_seen(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: [process(10, GIB)], SHARES: [window(10, 5_000, 50), window(10, 4_000, 30)]})
    library = FakeNvml(card)
    source = processes(library, tmp_path, 10)
    source.read(SECOND)
    card[SHARES] = [window(10, 6_000, 40), window(10, 7_000, 60)]
    assert source.read(2 * SECOND)["server_gpu_percent"] == 50  # the mean of both
    source.read(3 * SECOND)
    assert [call[2] for call in library.called if call[0] == SHARES] == [0, 5_000, 7_000]


def test_windows_that_are_old_or_were_never_filled_in_count_for_nothing(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: [process(10, GIB)], SHARES: [window(10, 5_000, 50)]})
    source = processes(FakeNvml(card), tmp_path, 10)
    source.read(SECOND)
    odd = [window(10, 5_000, 90), window(0, 8_000, 100), window(10, 8_000, 4_000_000), window(7, 1 << 60, 3)]
    card[SHARES] = [window(10, 6_000, 40), *odd]
    assert source.read(2 * SECOND) == {
        "server_gpu_bytes": GIB,
        "server_gpu_percent": 40,
        "foreign_gpu_percent": 0,
    }
    card[SHARES] = [window(10, 7_000, 20)]  # no odd stamp hides it
    assert source.read(3 * SECOND)["server_gpu_percent"] == 20


@pytest.mark.parametrize("nothing", [FakeError(NOT_FOUND), FakeError(0), []])
def test_no_window_is_no_use_where_the_gpu_says_so_too(tmp_path: Path, nothing: Any) -> None:
    card = gpu(**{COMPUTE: [process(10, GIB)], SHARES: nothing, USE: use(0)})
    source = processes(FakeNvml(card), tmp_path, 10)
    source.read(SECOND)
    values = source.read(2 * SECOND)
    assert (values["server_gpu_percent"], values["foreign_gpu_percent"]) == (0, 0)
    card[USE] = use(40)  # somebody uses it, and the driver does not say who
    values = source.read(3 * SECOND)
    assert (values["server_gpu_percent"], values["foreign_gpu_percent"]) == (None, None)
    assert values["server_gpu_bytes"] == GIB


def test_a_server_that_did_not_run_while_another_did_used_nothing(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: [process(10, GIB), process(99, GIB)]})
    source = processes(FakeNvml(card), tmp_path, 10)
    source.read(SECOND)
    card[SHARES] = [window(99, 9_000, 80)]
    values = source.read(2 * SECOND)
    assert (values["server_gpu_percent"], values["foreign_gpu_percent"]) == (0, 80)


def test_on_two_gpus_memory_is_added_and_use_is_that_of_the_busiest(tmp_path: Path) -> None:
    one = gpu(**{COMPUTE: [process(10, GIB), process(99, GIB)]})
    two = gpu(**{COMPUTE: [process(10, 3 * GIB)]})
    source = processes(FakeNvml(one, two), tmp_path, 10)
    source.read(SECOND)
    one[SHARES] = [window(10, 9_000, 50), window(99, 9_000, 15)]
    two[SHARES] = [window(10, 9_000, 70)]
    assert source.read(2 * SECOND) == {
        "server_gpu_bytes": 4 * GIB,
        "server_gpu_percent": 70,
        "foreign_gpu_percent": 15,
    }


def test_a_process_that_computes_and_draws_is_counted_once(tmp_path: Path) -> None:
    both = {COMPUTE: [process(10, 2 * GIB)], GRAPHICS: [process(10, 2 * GIB)], MPS: [process(11, GIB)]}
    assert processes(FakeNvml(gpu(**both)), tmp_path, 10, 11).read(SECOND)["server_gpu_bytes"] == 3 * GIB


def test_a_server_that_computes_by_vulkan_is_among_those_that_draw(tmp_path: Path) -> None:
    card = gpu(**{GRAPHICS: [process(10, 2 * GIB)]})
    assert processes(FakeNvml(card), tmp_path, 10).read(SECOND)["server_gpu_bytes"] == 2 * GIB


def test_an_older_driver_lists_processes_by_an_older_call(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: FakeError(NO_FUNCTION), "nvmlDeviceGetComputeRunningProcesses_v2": [process(10, GIB)]})
    assert processes(FakeNvml(card), tmp_path, 10).read(SECOND)["server_gpu_bytes"] == GIB


@pytest.mark.parametrize("lists", [{COMPUTE: [process(10, None)]}, {COMPUTE: [process(10, None), process(11, GIB)]}])
def test_memory_that_the_driver_does_not_tell_is_unknown(tmp_path: Path, lists: dict[str, Any]) -> None:
    assert processes(FakeNvml(gpu(**lists)), tmp_path, 10, 11).read(SECOND)["server_gpu_bytes"] is None


def test_with_unified_memory_the_driver_still_tells_what_a_process_holds(tmp_path: Path) -> None:
    card = gpu(**{MEMORY: FakeError(NOT_SUPPORTED), COMPUTE: [process(10, 40 * GIB)]})
    assert processes(FakeNvml(card), tmp_path, 10).read(SECOND)["server_gpu_bytes"] == 40 * GIB


def test_in_a_container_the_hosts_pids_are_nobodys(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: [process(31_337, 5 * GIB)], SHARES: [window(31_337, 1_000, 90)]})
    source = processes(FakeNvml(card), tmp_path, 10, alive=(10,))
    source.read(SECOND)
    card[SHARES] = [window(31_337, 2_000, 90)]
    values = source.read(2 * SECOND)
    assert values == {"server_gpu_bytes": None, "server_gpu_percent": None, "foreign_gpu_percent": None}
    assert set(source.missing) == set(values)
    assert set(source.missing.values()) == {nvidia.HOSTS}
    card[COMPUTE] = [process(10, 5 * GIB)]
    assert source.read(3 * SECOND)["server_gpu_bytes"] == 5 * GIB
    assert source.missing == {}


def test_a_server_that_is_not_listed_is_unknown_and_others_are_not(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: [process(99, 5 * GIB)]})
    source = processes(FakeNvml(card), tmp_path, 10, alive=(10, 99))
    source.read(SECOND)
    card[SHARES] = [window(99, 2_000, 30)]
    values = source.read(2 * SECOND)
    assert values == {"server_gpu_bytes": None, "server_gpu_percent": None, "foreign_gpu_percent": 30}
    card[COMPUTE] = [process(99, 5 * GIB), process(10, GIB)]  # it loads its model
    assert source.read(3 * SECOND)["server_gpu_bytes"] == GIB
    assert source.missing == {}


def test_one_process_that_is_not_here_makes_it_unknown_who_is_foreign(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: [process(99, GIB), process(31_337, GIB)]})
    source = processes(FakeNvml(card), tmp_path, 10, alive=(10, 99))
    source.read(SECOND)
    card[SHARES] = [window(99, 2_000, 30), window(31_337, 2_000, 60)]
    assert source.read(2 * SECOND)["foreign_gpu_percent"] is None
    assert source.missing == {}  # it may have ended just now


def test_without_a_known_server_nobody_is_told_to_be_another(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: [process(99, 5 * GIB)]})
    source = processes(FakeNvml(card), tmp_path, alive=(99,))
    source.read(SECOND)
    card[SHARES] = [window(99, 2_000, 30)]
    values = source.read(2 * SECOND)
    assert values == {"server_gpu_bytes": None, "server_gpu_percent": None, "foreign_gpu_percent": None}
    assert source.missing == {}


def test_where_shares_are_not_told_memory_is(tmp_path: Path) -> None:
    card = gpu(**{COMPUTE: [process(10, GIB)], SHARES: FakeError(NOT_SUPPORTED)})
    source = processes(FakeNvml(card), tmp_path, 10)
    source.read(SECOND)
    values = source.read(2 * SECOND)
    assert values == {"server_gpu_bytes": GIB, "server_gpu_percent": None, "foreign_gpu_percent": None}
    assert source.missing == dict.fromkeys(("server_gpu_percent", "foreign_gpu_percent"), "GPU 0: Not Supported")


def test_where_processes_are_not_told_nothing_is_known_of_memory(tmp_path: Path) -> None:
    card = gpu(
        **{COMPUTE: FakeError(NO_PERMISSION), "nvmlDeviceGetComputeRunningProcesses_v2": FakeError(NO_PERMISSION)}
    )
    source = processes(FakeNvml(card, gpu(**{COMPUTE: [process(10, GIB)]})), tmp_path, 10)
    assert source.read(SECOND)["server_gpu_bytes"] is None
    assert source.missing["server_gpu_bytes"] == "GPU 0: Insufficient Permissions"


def test_a_split_gpu_is_asked_part_by_part(tmp_path: Path) -> None:
    part_one, part_two = {COMPUTE: [process(10, GIB)]}, {COMPUTE: [process(10, 2 * GIB), process(99, GIB)]}
    library = FakeNvml(gpu(**{COMPUTE: [process(10, 77 * GIB)]}), part_one, part_two)
    library.parts = {0: [1, 2]}
    source = processes(library, tmp_path, 10)
    source.read(SECOND)
    values = source.read(2 * SECOND)
    assert values == {"server_gpu_bytes": 3 * GIB, "server_gpu_percent": None, "foreign_gpu_percent": None}
    assert source.missing["server_gpu_percent"] == "GPU 1: Not Supported"
    assert Nvml(library).read(SECOND)["gpu_used_bytes"] == 6 * GIB  # the whole one


# Whether there are any.


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeNvml], None]:
    """A machine with a fake driver's library."""

    def install(library: FakeNvml) -> None:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: name)
        monkeypatch.setitem(sys.modules, "pynvml", library)

    return install


def test_without_a_driver_there_are_none_and_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # an import would fail
    for absent in (nvidia.found(), nvidia.processes(server())):
        assert absent == Absent(name="NVML", reason="no NVIDIA driver is loaded")


def test_with_a_driver_there_are_two_sources(driver: Callable[[FakeNvml], None]) -> None:
    driver(FakeNvml(gpu()))
    assert isinstance(nvidia.found(), Nvml)
    assert isinstance(nvidia.processes(server(1)), NvmlProcesses)


def test_a_driver_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: name)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    absent = nvidia.found()
    assert isinstance(absent, Absent)
    assert absent.mend == "pip install nvidia-ml-py"


@pytest.mark.parametrize(
    ("code", "reason"),
    [(NOT_LOADED, "no NVIDIA driver is loaded"), (18, "the NVIDIA driver was updated"), (LOST, "GPU is lost")],
)
def test_a_driver_that_cannot_be_asked_says_why(
    driver: Callable[[FakeNvml], None], code: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeNvml(gpu())
    driver(library)

    def fail() -> None:
        raise FakeError(code)

    monkeypatch.setattr(library, "nvmlInit", fail)
    absent = nvidia.found()
    assert isinstance(absent, Absent)
    assert absent.reason.startswith(reason)


def test_a_driver_without_a_gpu_says_so(driver: Callable[[FakeNvml], None]) -> None:
    library = FakeNvml()
    driver(library)
    assert nvidia.found() == Absent(name="NVML", reason="the NVIDIA driver shows no GPU here")
    assert library.opened == 0


def test_pynvml_has_every_call_and_numbers_its_errors_so() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is for Linux alone")
    asked = [*nvidia.OF_GPUS.values(), *nvidia.OF_PROCESSES.values()]
    assert [call for question in asked for call in question.calls if not hasattr(pynvml, call)] == []
    assert {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION} <= nvidia.NEVER
    assert {pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT} <= nvidia.NEVER
    assert {pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND} == nvidia.NOTHING
    assert {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_DRIVER_NOT_LOADED} <= nvidia.OVER
    assert {pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH} <= nvidia.OVER
    assert pynvml.NVMLError(0).value == 0
    assert (nvidia.NVML_TEMPERATURE_GPU, nvidia.NVML_CLOCK_SM) == (pynvml.NVML_TEMPERATURE_GPU, pynvml.NVML_CLOCK_SM)
