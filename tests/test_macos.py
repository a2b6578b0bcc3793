"""What macOS tells, by its structures worked out by hand, and through fakes of its system and its I/O registry."""

from __future__ import annotations

import ctypes
import os
import plistlib
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from infertui.condition import Conditions
from infertui.sample import SERIES, Absent
from infertui.telemetry import iokit, libsystem, macos
from infertui.telemetry.iokit import GPU, OF_ALL, OF_SERVER, Accelerator, Registry, gpus_of, time_of, together
from infertui.telemetry.libsystem import System
from infertui.telemetry.macos import MacOS, memory_of, power_of, swap_of, usage_of
from infertui.telemetry.source import Gone, Used
from infertui.telemetry.tree import Tree

S = 1_000_000_000
APPLE = (125, 3)  # an Apple chip's clock ticks 24 000 000 times a second
TICKS = 24_000_000

# struct rusage_info_v6 as the kernel declares it, after ri_uuid; version 4 ends with runnable_time.
FIELDS = """user_time system_time pkg_idle_wkups interrupt_wkups pageins wired_size resident_size phys_footprint
proc_start_abstime proc_exit_abstime child_user_time child_system_time child_pkg_idle_wkups child_interrupt_wkups
child_pageins child_elapsed_abstime diskio_bytesread diskio_byteswritten cpu_time_qos_default cpu_time_qos_maintenance
cpu_time_qos_background cpu_time_qos_utility cpu_time_qos_legacy cpu_time_qos_user_initiated
cpu_time_qos_user_interactive billed_system_time serviced_system_time logical_writes lifetime_max_phys_footprint
instructions cycles billed_energy serviced_energy interval_max_phys_footprint runnable_time flags user_ptime
system_ptime pinstructions pcycles energy_nj penergy_nj secure_time_in_system secure_ptime_in_system neural_footprint
lifetime_max_neural_footprint interval_max_neural_footprint r0 r1 r2 r3 r4 r5 r6 r7 r8"""
RUSAGE = FIELDS.split()
BYTES = {6: 464, 4: 296}


def rusage(flavour: int = 6, **fields: int) -> bytes:
    """A structure whose every other field is a number that must not be taken for anything."""
    values = {name: 900 + at for at, name in enumerate(RUSAGE)}
    values |= {"proc_start_abstime": 5 * TICKS, "proc_exit_abstime": 0} | fields
    return (b"\xaa" * 16 + struct.pack(f"<{len(RUSAGE)}Q", *values.values()))[: BYTES[flavour]]


def vm_statistics(**pages: int) -> bytes:
    given = dict.fromkeys(("active", "inactive", "wired", "purgeable", "speculative"), 0) | pages
    data = struct.pack("<4I", 100, given["active"], given["inactive"], given["wired"])
    data += struct.pack("<9Q", *range(901, 910))
    data += struct.pack("<2I", given["purgeable"], given["speculative"])
    data += struct.pack("<4Q", 911, 912, 913, given.get("swapouts", 0))
    data += struct.pack("<4I", given.get("compressor", 0), 914, given.get("external", 0), 915)
    return data + struct.pack("<Q", 916)


# Parsers.


def test_a_process_is_read_from_the_kernel_structure() -> None:
    data = rusage(
        user_time=3 * TICKS,
        system_time=TICKS // 2,
        child_user_time=2 * TICKS,
        child_system_time=TICKS,
        pageins=17,
        resident_size=3 << 30,
        phys_footprint=5 << 30,
        lifetime_max_phys_footprint=6 << 30,
        energy_nj=1_234_567,
    )
    assert usage_of(data, *APPLE) == (
        5 * TICKS,
        Used(
            cpu_ns=3_500_000_000,
            reaped_ns=3 * S,
            private_bytes=5 << 30,
            resident_bytes=3 << 30,
            peak_bytes=6 << 30,
            pageins=17,
            energy_nj=1_234_567,
        ),
    )


def test_ticks_become_nanoseconds_after_they_are_added() -> None:
    # 1 tick is 41.67 ns: 1 + 1 ticks are 83, not 41 + 41
    _, used = usage_of(rusage(user_time=1, system_time=1), *APPLE) or pytest.fail("nothing")
    assert used.cpu_ns == 83
    _, used = usage_of(rusage(user_time=1, system_time=1), 1, 1) or pytest.fail("nothing")
    assert used.cpu_ns == 2


def test_an_energy_of_zero_is_unknown() -> None:
    assert (usage_of(rusage(energy_nj=0), *APPLE) or pytest.fail("nothing"))[1].energy_nj is None


def test_the_older_structure_says_all_but_the_energy() -> None:
    data = rusage(4, user_time=TICKS, system_time=0, lifetime_max_phys_footprint=7)
    _, used = usage_of(data, *APPLE) or pytest.fail("nothing")
    assert (used.cpu_ns, used.peak_bytes, used.energy_nj) == (S, 7, None)


def test_a_process_that_its_parent_has_not_waited_for_keeps_its_times_and_holds_no_memory() -> None:
    times = {"user_time": TICKS, "system_time": 0, "child_user_time": 0, "child_system_time": 2 * TICKS}
    data = rusage(proc_exit_abstime=9 * TICKS, pageins=17, energy_nj=5, **times)
    assert usage_of(data, *APPLE) == (
        5 * TICKS,
        Used(cpu_ns=S, reaped_ns=2 * S, private_bytes=0, resident_bytes=0, peak_bytes=928, pageins=17, energy_nj=5),
    )


def test_a_structure_that_is_cut_short_says_nothing() -> None:
    assert usage_of(rusage()[:295], *APPLE) is None
    assert usage_of(b"", *APPLE) is None


def test_ram_in_use_leaves_out_what_could_be_read_again() -> None:
    pages = {"active": 1000, "inactive": 800, "wired": 500, "speculative": 70, "compressor": 200}
    data = vm_statistics(**pages, purgeable=30, external=400, swapouts=77)
    assert len(data) == 152  # 38 integers of 4 bytes
    # 1000 + 800 + 500 + 70 + 200 - 30 - 400 = 2140 pages
    assert memory_of(data, 16384) == (35_061_760, 77)
    assert memory_of(data, 4096) == (8_765_440, 77)
    assert memory_of(data[:139], 16384) is None


def test_swap_in_use_is_the_third_number() -> None:
    assert swap_of(struct.pack("<3Q2I", 2 << 30, (2 << 30) - 4096, 4096, 16384, 1)) == 4096
    assert swap_of(struct.pack("<3Q2I", 0, 0, 0, 16384, 1)) == 0
    assert swap_of(b"\0" * 16) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (" powermode            2", (False, "powermode 2")),
        (" powermode            1", (True, "powermode 1")),
        (" powermode            0", (False, "powermode 0")),
        (" lowpowermode         1", (True, "lowpowermode 1")),
        (" lowpowermode         0", (False, "lowpowermode 0")),
        (" lowpowermode         1\n powermode            2", (False, "powermode 2")),
        (" highpowermode        1", None),
        (" powermode", None),
        ("", None),
    ],
)
def test_the_power_mode_is_found_among_the_settings(line: str, told: tuple[bool, str] | None) -> None:
    settings = (
        f"System-wide power settings:\nCurrently in use:\n standby              1\n{line}\n sleep                1\n"
    )
    assert power_of(settings) == told


# The machine, on a fake system.


class FakeSystem:
    """Stands for libsystem.System: what each call would give."""

    def __init__(self) -> None:
        self.arch = "arm64"
        self.flavours = (6, 4)
        self.processes: dict[int, dict[str, int]] = {os.getpid(): {}}
        self.tree: dict[int, list[int]] = {}
        self.numbers = {"vm.pagesize": 16384, "hw.memsize": 36 << 30, "sysctl.proc_translated": 0}
        self.numbers |= {"kern.hv_vmm_present": 0, "kern.memorystatus_vm_pressure_level": 2}
        self.numbers |= {"iogpu.wired_limit_mb": 0}
        self.structures = {"vm.swapusage": struct.pack("<3Q2I", 4096, 0, 4096, 16384, 1)}
        self.memory: bytes | None = vm_statistics(active=10, swapouts=3)
        self.level: int | None = 0
        self.told_clocks = [(100 * S, 130 * S)]
        self.plugged: tuple[bool | None, float] | None = (True, 80)
        self.printed: bytes | None = b" powermode            1\n"
        self.ran: list[tuple[str, ...]] = []

    def rusage(self, pid: int, flavour: int) -> bytes | None:
        known = flavour in self.flavours and pid in self.processes
        return rusage(flavour, **self.processes[pid]) if known else None

    def children(self, pid: int) -> list[int]:
        return self.tree.get(pid, [])

    def timebase(self) -> tuple[int, int]:
        return APPLE

    def sysctl(self, name: str, size: int = 8) -> bytes | None:
        data = self.structures.get(name)
        return data if data is None or len(data) <= size else None

    def number(self, name: str) -> int | None:
        return self.numbers.get(name)

    def vm_statistics(self) -> bytes | None:
        return self.memory

    def thermal(self) -> int | None:
        return self.level

    def clocks(self) -> tuple[int, int]:
        return self.told_clocks.pop(0) if len(self.told_clocks) > 1 else self.told_clocks[0]

    def cores(self) -> list[tuple[float, float, float, float]]:
        return [(10.01, 0.5, 2.25, 100.0), (1.0, 0.0, 0.24, 200.0)]

    def battery(self) -> tuple[bool | None, float] | None:
        return self.plugged

    def run(self, *command: str) -> bytes | None:
        self.ran.append(command)
        return self.printed


@pytest.fixture
def system() -> FakeSystem:
    return FakeSystem()


def mac(system: Any) -> MacOS:
    return MacOS(system)


def test_busy_and_all_cpu_time_of_all_cores_are_in_nanoseconds(system: FakeSystem) -> None:
    assert mac(system).cpu() == (14 * S, 314 * S)


def test_a_reading_of_the_machine_holds_what_the_system_says(system: FakeSystem) -> None:
    assert mac(system).fast(0) == {"thermal_level": 0}
    assert mac(system).slow(0) == {
        "ram_total_bytes": 36 << 30,
        "ram_used_bytes": 163_840,
        "swapouts": 3,
        "swap_used_bytes": 4096,
        "memory_pressure": 2,
        "on_battery": 0.0,
        "asleep_ns": 30 * S,
    }


def test_every_reading_is_of_a_series_that_is_known(system: FakeSystem) -> None:
    assert set(mac(system).fast(0)) | set(mac(system).slow(0)) <= set(SERIES)


def test_what_the_system_does_not_say_is_unknown_and_no_zero(system: FakeSystem) -> None:
    system.numbers, system.structures, system.memory, system.plugged, system.level = {}, {}, None, None, None
    machine = mac(system)
    told = machine.slow(0) | machine.fast(0)
    assert {key for key, value in told.items() if value is not None} == {"asleep_ns"}


def test_without_a_page_size_the_events_are_known_and_the_bytes_are_not(system: FakeSystem) -> None:
    del system.numbers["vm.pagesize"]
    told = mac(system).slow(0)
    assert (told["ram_used_bytes"], told["swapouts"]) == (None, 3)


def test_the_time_asleep_never_seems_to_fall(system: FakeSystem) -> None:
    system.told_clocks = [(100, 130), (200, 229), (300, 340)]
    machine = mac(system)
    assert [machine.slow(0)["asleep_ns"] for _ in range(3)] == [30, 30, 40]


def test_a_look_gives_conditions(system: FakeSystem) -> None:
    system.level, system.plugged = 2, (False, 78)
    told = mac(system).look()
    assert msgspec.convert(told, Conditions, strict=False) == Conditions(
        thermal_level=2,
        on_battery=True,
        battery_percent=78,
        low_power=True,
        power_mode="powermode 1",
        swap_used_bytes=4096,
        swapouts=3,
        memory_pressure=2,
        gpu_limit_mb=0,
        translated=False,
        virtual=False,
        asleep_ns=30 * S,
    )
    assert system.ran == [("/usr/bin/pmset", "-g")]


def test_a_look_leaves_out_what_fails(system: FakeSystem) -> None:
    system.numbers, system.structures, system.memory, system.plugged, system.level = {}, {}, None, None, None
    system.printed = None
    told = mac(system).look()
    assert set(told) == {"asleep_ns"}
    assert msgspec.convert(told, Conditions) == Conditions(asleep_ns=30 * S)


def test_a_virtual_machine_has_no_thermal_level(system: FakeSystem) -> None:
    system.numbers["kern.hv_vmm_present"] = 1
    machine = mac(system)
    assert machine.fast(0) == {"thermal_level": None}
    assert machine.look()["virtual"] is True
    assert "thermal_level" not in machine.look()
    assert [each.name for each in machine.absent()] == ["thermal level"]


# Processes, on the fake system.


def test_a_process_is_held_and_read(system: FakeSystem) -> None:
    system.processes[42] = {"user_time": TICKS, "system_time": TICKS}
    handle = mac(system).handle(42) or pytest.fail("not found")
    assert handle.pid == 42
    system.processes[42]["user_time"] = 2 * TICKS
    assert (handle.read() or pytest.fail("nothing")).cpu_ns == 3 * S
    handle.close()


def test_another_process_with_the_same_pid_is_not_taken_for_it(system: FakeSystem) -> None:
    system.processes[42] = {}
    handle = mac(system).handle(42) or pytest.fail("not found")
    system.processes[42] = {"proc_start_abstime": 6 * TICKS}
    assert handle.read() is None


def test_a_process_that_has_ended_is_there_until_its_parent_has_waited_for_it(system: FakeSystem) -> None:
    system.processes[42] = {"user_time": TICKS, "system_time": 0}
    machine = mac(system)
    handle = machine.handle(42) or pytest.fail("not found")
    system.processes[42]["proc_exit_abstime"] = 9 * TICKS
    for held in (handle, machine.handle(42) or pytest.fail("not found")):
        used = held.read() or pytest.fail("nothing")
        assert (used.cpu_ns, used.private_bytes) == (S, 0)
    del system.processes[42]
    assert handle.read() is None
    assert machine.handle(42) is None


def test_the_time_of_a_child_that_is_waited_for_late_counts_once(system: FakeSystem) -> None:
    none = {"system_time": 0, "child_system_time": 0}
    system.processes |= {
        41: {"user_time": TICKS, "child_user_time": 0, **none},
        42: {"user_time": 3 * TICKS, "child_user_time": 0, **none},
    }
    system.tree = {41: [42]}
    tree = Tree(mac(system))
    tree.watch([41])
    read = [tree.read()]
    system.processes[42]["proc_exit_abstime"] = 9 * TICKS
    read += [tree.read(), tree.read()]
    del system.processes[42], system.tree[41]
    system.processes[41]["child_user_time"] = 3 * TICKS
    read += [tree.read(), tree.read()]
    assert [each["server_cpu_ns"] for each in read] == [4 * S] * 5
    assert [each["server_processes"] for each in read] == [2, 2, 2, 1, 1]
    footprint = 900 + RUSAGE.index("phys_footprint")
    assert [each["server_private_bytes"] for each in read] == [2 * footprint] + [footprint] * 4


def test_an_older_system_is_asked_for_the_older_structure(system: FakeSystem) -> None:
    system.flavours = (4,)
    system.processes[42] = {"user_time": TICKS, "system_time": 0}
    machine = mac(system)
    used = (machine.handle(42) or pytest.fail("not found")).read() or pytest.fail("nothing")
    assert (used.cpu_ns, used.energy_nj) == (S, None)
    assert [each.name for each in machine.absent()] == ["CPU power of the server"]


def test_descendants_are_found_to_any_depth_and_without_their_roots(system: FakeSystem) -> None:
    system.tree = {1: [2, 3], 3: [4], 4: [5], 9: [10]}
    assert mac(system).descendants([1]) == {2, 3, 4, 5}
    assert mac(system).descendants([1, 3, 10]) == {2, 4, 5}
    assert mac(system).descendants([]) == set()


def test_a_circle_of_parents_ends(system: FakeSystem) -> None:
    system.tree = {1: [2], 2: [3], 3: [2, 1]}
    assert mac(system).descendants(iter([1])) == {2, 3}


def test_nothing_is_missing_on_a_mac_that_says_all(system: FakeSystem) -> None:
    assert mac(system).absent() == []


def test_under_rosetta_no_process_is_looked_into(system: FakeSystem) -> None:
    system.numbers["sysctl.proc_translated"] = 1
    system.processes[42] = {}
    machine = mac(system)
    assert machine.handle(42) is None
    (absent,) = machine.absent()
    assert absent.name == "processes"
    assert "Rosetta" in absent.reason
    assert "arm64" in absent.mend
    assert machine.look()["translated"] is True


def test_each_thing_that_is_not_told_is_named(system: FakeSystem) -> None:
    system.processes, system.level, system.memory = {}, None, None
    assert [each.name for each in mac(system).absent()] == ["processes", "thermal level", "RAM in use"]


# The calls themselves, on a fake libSystem.


def library(**functions: Callable[..., int]) -> Any:
    """A fake libSystem in which nothing works but what is given."""
    names = ("proc_pid_rusage", "proc_listchildpids", "sysctlbyname", "mach_timebase_info", "mach_host_self")
    names += ("host_statistics64", "notify_register_check", "notify_get_state")
    made: dict[str, Any] = {name: lambda *arguments: -1 for name in names}
    return SimpleNamespace(**made | functions)


def test_a_call_that_is_refused_says_nothing() -> None:
    system = System(library())
    assert system.rusage(1, 6) is None
    assert system.children(1) == []
    assert system.sysctl("hw.memsize") is None
    assert system.number("hw.memsize") is None
    assert system.vm_statistics() is None
    assert system.thermal() is None


def test_a_process_is_asked_for_by_its_flavour_and_cut_to_its_size() -> None:
    asked = []

    def proc_pid_rusage(pid: int, flavour: int, buffer: Any) -> int:
        asked.append((pid, flavour))
        buffer[:4] = b"data"
        return 0

    system = System(library(proc_pid_rusage=proc_pid_rusage))
    six, four = system.rusage(42, 6), system.rusage(42, 4)
    assert (six or b"")[:4] == b"data"
    assert (len(six or b""), len(four or b"")) == (464, 296)
    assert asked == [(42, 6), (42, 4)]


def test_all_children_are_listed_however_many_there_are() -> None:
    def proc_listchildpids(pid: int, buffer: Any, size: int) -> int:
        assert size == ctypes.sizeof(buffer)
        count = min(2500, size // 4)
        buffer[:count] = range(1, count + 1)
        return count

    assert System(library(proc_listchildpids=proc_listchildpids)).children(1) == list(range(1, 2501))


def test_numbers_of_four_and_of_eight_bytes_are_read() -> None:
    values = {b"four": struct.pack("<I", 3_000_000_000), b"eight": struct.pack("<Q", 36 << 30), b"text": b"Apple\0"}

    def sysctlbyname(name: bytes, buffer: Any, size: Any, new: None, new_size: int) -> int:
        data = values[name]
        buffer[: len(data)] = data
        size._obj.value = len(data)
        return 0

    system = System(library(sysctlbyname=sysctlbyname))
    assert (system.number("four"), system.number("eight"), system.number("text")) == (3_000_000_000, 36 << 30, None)


def test_memory_statistics_are_asked_for_again_when_the_system_has_more_of_them() -> None:
    asked = []

    def host_statistics64(host: int, flavour: int, buffer: Any, count: Any) -> int:
        asked.append((host, flavour, count._obj.value))
        if count._obj.value < 40:
            count._obj.value = 40
            return -307
        buffer[:4] = b"page"
        return 0

    system = System(library(host_statistics64=host_statistics64, mach_host_self=lambda: 77))
    data = system.vm_statistics() or b""
    assert (data[:4], len(data)) == (b"page", 160)
    assert asked == [(77, 4, 38), (77, 4, 40)]


def test_the_thermal_level_is_registered_for_once_and_then_read() -> None:
    registered = []

    def notify_register_check(name: bytes, token: Any) -> int:
        registered.append(name)
        token._obj.value = 5
        return 0

    def notify_get_state(token: int, state: Any) -> int:
        state._obj.value = 2
        return 0 if token == 5 else 1

    system = System(library(notify_register_check=notify_register_check, notify_get_state=notify_get_state))
    assert (system.thermal(), system.thermal()) == (2, 2)
    assert registered == [b"com.apple.system.thermalpressurelevel"]


def test_a_tool_speaks_the_language_that_we_read_and_may_fail() -> None:
    assert libsystem.run("/bin/sh", "-c", "printf %s $LC_ALL") == b"C"
    assert libsystem.run("/bin/sh", "-c", "exit 3") is None
    assert libsystem.run("/nowhere/pmset", "-g") is None


# The GPU.

STATISTICS = {
    "Alloc system memory": 27917287424,
    "Device Utilization %": 97,
    "In use system memory": 18253611008,
    "In use system memory (driver)": 12,
}


def client(pid: int, *ns: int, name: str = "llama-server", kind: str = "AGXDeviceUserClient") -> dict[str, Any]:
    usage = [{"API": "Metal", "accumulatedGPUTime": each} for each in ns]
    return {"IOObjectClass": kind, "IOUserClientCreator": f"pid {pid}, {name}", "AppUsage": usage}


def gpu(*clients: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"PerformanceStatistics": STATISTICS, "IORegistryEntryChildren": list(clients), **more}


def listed(*devices: dict[str, Any]) -> list[GPU]:
    return gpus_of(plistlib.dumps(list(devices)))


def test_gpu_time_is_added_by_process_over_its_clients_and_apis() -> None:
    (found,) = listed(
        gpu(
            client(4242, 91_233_367_625),
            client(533, 7_112_340_001, name="WindowServer"),
            client(4242),
            client(4242, 5, 6),
            client(4242, 999, kind="AGXSharedUserClient"),
        )
    )
    assert found == GPU({4242: 91_233_367_636, 533: 7_112_340_001}, 18253611008)


def test_several_gpus_are_taken_together() -> None:
    assert together([GPU({1: 5, 2: None, 3: None}, 7), GPU({1: 6, 2: 8, 3: None}, None)]) == GPU(
        {1: 11, 2: 8, 3: None}, 7
    )
    assert together([GPU({}, 3), GPU({}, 4)]) == GPU({}, 7)


def test_clients_that_are_not_understood_are_passed_over() -> None:
    kind = {"IOObjectClass": "AGXDeviceUserClient"}
    odd = [{}, {**kind}, {**kind, "IOUserClientCreator": "launchd"}, {**kind, "IOUserClientCreator": 7}, "text"]
    assert listed({"IORegistryEntryChildren": [*odd, client(7)]}) == [GPU({7: 0}, None)]


def test_gpu_time_that_is_not_told_is_no_zero() -> None:
    assert time_of([]) == 0
    assert time_of([{"accumulatedGPUTime": 0}]) == 0
    assert time_of([{"accumulatedGPUTime": 3}, {"other": 3}, 8]) == 3
    for unread in (None, "text", [8], [{"other": 3}], [{"accumulatedGPUTime": -1}], [{"accumulatedGPUTime": True}]):
        assert time_of(unread) is None
    without = {key: value for key, value in client(7).items() if key != "AppUsage"}
    assert listed(gpu(without))[0].clients == {7: None}
    assert listed(gpu(without, client(7, 5)))[0].clients == {7: 5}


def test_memory_in_use_is_not_that_of_the_driver() -> None:
    assert listed(gpu())[0].used_bytes == 18253611008
    assert listed({"PerformanceStatistics": {"In use system memory (driver)": 12}})[0].used_bytes is None
    assert listed({}) == [GPU({}, None)]


def test_the_tool_prints_nothing_where_nothing_matches() -> None:
    assert gpus_of(b"") == []
    assert gpus_of(b"\n") == []
    assert gpus_of(plistlib.dumps([gpu(client(1, 2)), "text"])) == [GPU({1: 2}, 18253611008)]
    assert gpus_of(plistlib.dumps({"a": 1})) == []


class FakeGPU:
    """Gives one tree after the other, of those who are asked for."""

    def __init__(self, *trees: list[GPU]) -> None:
        self.trees = list(trees)
        self.asked: list[frozenset[int] | None] = []

    def __call__(self, only: frozenset[int] | None) -> list[GPU]:
        self.asked.append(only)
        return [
            GPU({pid: ns if only is None or pid in only else None for pid, ns in each.clients.items()}, each.used_bytes)
            for each in self.trees.pop(0)
        ]


SERVER = frozenset({4242})


def shares(*trees: list[GPU], pids: frozenset[int] = SERVER) -> list[Any]:
    """Server, foreign and whole share at readings that are 200 ms apart; the two sources agree with the one."""
    every = OF_SERVER + OF_ALL
    sources = [Accelerator(FakeGPU(*trees), lambda: pids, "fake", 0.2, keys) for keys in (every, OF_SERVER, OF_ALL)]
    read = [[source.read(S + at * S // 5) for at in range(len(trees))] for source in sources]
    assert set(every) <= set(SERIES)
    for at, told in enumerate(read[0]):
        assert set(told) == set(every)
        assert read[1][at] == {key: told[key] for key in OF_SERVER}
        assert read[2][at] == {key: told[key] for key in OF_ALL}
    keys = ("server_gpu_percent", "foreign_gpu_percent", "gpu_percent")
    return [tuple(each[key] for key in keys) for each in read[0]]


def ms(number: int) -> int:
    return number * 1_000_000


def test_shares_are_the_growth_of_gpu_time_over_the_span() -> None:
    # of 200 ms: the server's two clients 100 + 50 ms, others 20 ms
    before = listed(gpu(client(4242, ms(1000)), client(4242, ms(10)), client(533, ms(500))))
    after = listed(gpu(client(4242, ms(1100)), client(4242, ms(60)), client(533, ms(520))))
    assert shares(before, after) == [(None, None, None), (75.0, 10.0, 85.0)]


def test_a_client_that_closes_takes_its_time_away_and_counts_anew() -> None:
    both = listed(gpu(client(4242, ms(1000)), client(4242, ms(500)), client(533, 0)))
    one = listed(gpu(client(4242, ms(1010)), client(533, ms(20))))
    later = listed(gpu(client(4242, ms(1050)), client(533, ms(20))))
    assert shares(both, one, later)[1:] == [(0.0, 10.0, 10.0), (20.0, 0.0, 20.0)]


def test_a_process_that_is_new_counts_from_its_second_reading() -> None:
    none = listed(gpu(client(533, 0)))
    new = listed(gpu(client(533, 0), client(4242, ms(90_000))))
    later = listed(gpu(client(533, 0), client(4242, ms(90_100))))
    assert shares(none, new, later)[1:] == [(0.0, 0.0, 0.0), (50.0, 0.0, 50.0)]


def test_time_that_cannot_be_read_once_is_neither_a_fall_nor_a_leap() -> None:
    first, last = (listed(gpu(client(533, 0), client(4242, ns))) for ns in (ms(90_000), ms(90_100)))
    unread = [GPU({533: 0, 4242: None}, None)]
    # what others did is known all the while
    assert shares(first, unread, last)[1:] == [(None, 0.0, 0.0), (None, 0.0, 0.0)]


def test_a_machine_that_tells_no_gpu_time_is_not_idle() -> None:
    unread = [GPU({533: None, 4242: None}, None)]
    assert shares(unread, unread)[1] == (None, None, None)


def test_a_server_without_a_client_does_nothing_on_the_gpu() -> None:
    trees = [listed(gpu(client(533, ns))) for ns in (0, ms(20))]
    assert shares(*trees)[1] == (0.0, 10.0, 10.0)


def test_without_known_processes_of_a_server_nobody_is_foreign() -> None:
    trees = listed(gpu(client(1, 0))), listed(gpu(client(1, ms(100))))
    assert shares(*trees, pids=frozenset())[1] == (None, None, 50.0)


def test_without_any_client_no_share_is_known() -> None:
    assert shares(listed(gpu()), listed(gpu()))[1] == (None, None, None)


def test_the_share_of_a_server_that_was_attached_to_is_known_from_its_second_reading_on() -> None:
    # 90 s of GPU time were used before anybody asked whose they are
    trees = [listed(gpu(client(4242, ms(90_000 + 100 * at)))) for at in range(4)]
    server: frozenset[int] = frozenset()
    fake = FakeGPU(*trees)
    source = Accelerator(fake, lambda: server, "fake", 0.2, OF_SERVER)
    read = [source.read(S)]
    server = SERVER
    read += [source.read(S + at * S // 5) for at in (1, 2, 3)]
    assert [each["server_gpu_percent"] for each in read] == [None, None, 50.0, 50.0]
    assert fake.asked == [frozenset(), SERVER, SERVER, SERVER]


def test_shares_of_all_are_asked_of_all() -> None:
    fake = FakeGPU(listed(gpu()))
    assert set(Accelerator(fake, lambda: SERVER, "fake", 1.0, OF_ALL).read(1)) == {"gpu_percent", "foreign_gpu_percent"}
    assert fake.asked == [None]


def test_memory_is_known_from_the_first_reading_on() -> None:
    source = Accelerator(FakeGPU(listed(gpu())), lambda: frozenset(), "fake", 0.2, OF_SERVER)
    assert source.read(1) == {"server_gpu_percent": None, "gpu_used_bytes": 18253611008}
    assert source.counted


def test_a_gpu_that_goes_away_is_gone() -> None:
    source = Accelerator(FakeGPU(listed(gpu()), []), lambda: frozenset(), "fake", 0.2, OF_SERVER)
    source.read(1)
    with pytest.raises(Gone, match="no GPU"):
        source.read(2)


# Which way to the GPU.


def unreachable() -> Any:
    raise OSError("no such framework\x1b[31m")


def registry_of(monkeypatch: pytest.MonkeyPatch, *devices: dict[str, Any]) -> None:
    monkeypatch.setattr(iokit, "Registry", lambda: SimpleNamespace(devices=lambda only: listed(*devices)))


def test_calls_are_preferred_for_the_server_five_times_a_second_and_for_all_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry_of(monkeypatch, gpu(client(1, 2)))
    fast, slow = macos.accelerator(lambda: frozenset()), macos.everyone(lambda: frozenset())
    assert isinstance(fast, Accelerator)
    assert isinstance(slow, Accelerator)
    assert (fast.period_s, fast.name) == (0.2, "IOKit, GPU time of the server")
    assert (slow.period_s, slow.name) == (1.0, "IOKit, GPU time of all")
    assert set(fast.read(1)) == {"server_gpu_percent", "gpu_used_bytes"}
    assert set(slow.read(1)) == {"foreign_gpu_percent", "gpu_percent"}


def test_where_the_calls_fail_the_tool_is_asked_for_all_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(iokit, "Registry", unreachable)
    monkeypatch.setattr(libsystem, "run", lambda *command: asked.append(command) or plistlib.dumps([gpu(client(1, 2))]))
    source = macos.accelerator(lambda: frozenset({1}))
    assert isinstance(source, Accelerator)
    assert source.period_s == 1.0
    assert source.read(1)["gpu_used_bytes"] == 18253611008
    assert source.read(2) == {
        "server_gpu_percent": 0.0,
        "foreign_gpu_percent": 0.0,
        "gpu_percent": 0.0,
        "gpu_used_bytes": 18253611008,
    }
    assert asked == [("/usr/sbin/ioreg", "-a", "-l", "-r", "-c", "IOAccelerator")] * 3
    absent = macos.everyone(lambda: frozenset())
    assert isinstance(absent, Absent)
    assert absent.name == "GPU of other programs"
    assert absent.reason.startswith("left to ioreg, because IOKit fails: OSError: no such framework␛[31m")
    assert len(asked) == 3


def test_a_mac_without_a_gpu_or_with_one_that_says_nothing_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    registry_of(monkeypatch)
    assert macos.accelerator(lambda: frozenset()) == Absent(name="GPU", reason="no GPU is listed")
    assert macos.everyone(lambda: frozenset()) == Absent(name="GPU of other programs", reason="no GPU is listed")
    registry_of(monkeypatch, {"PerformanceStatistics": {}})
    for absent in (macos.accelerator(lambda: frozenset()), macos.everyone(lambda: frozenset())):
        assert isinstance(absent, Absent)
        assert "neither" in absent.reason


def test_where_both_ways_fail_the_reason_is_a_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iokit, "Registry", unreachable)
    monkeypatch.setattr(iokit, "by_tool", unreachable)
    absent = macos.accelerator(lambda: frozenset())
    assert isinstance(absent, Absent)
    assert "no such framework␛[31m" in absent.reason


# The registry itself, on fake frameworks.


class FakeFrameworks:
    """A tree of entries by IOKit's calls. Every reference that a call makes is in `held` until it is let go of."""

    def __init__(self, devices: list[dict[str, Any]]) -> None:
        self.devices = devices
        self.held: dict[int, Any] = {}
        self.broken = ""  # the call that fails
        self.kept: list[Any] = []  # memory whose address is out
        self.next = 100
        self.ids: dict[int, int] = {}  # where an entry of the tree is not its own number
        self.called: list[str] = []
        self.read: list[tuple[str, Any]] = []  # properties, and whose
        names = [name for name in dir(self) if name.startswith(("IO", "CF"))]
        calls = {name: self._call(name) for name in names}
        self.library = SimpleNamespace(**calls)

    def _call(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.called.append(name)
            if self.broken == name:
                return None if "Create" in name or name == "IOServiceMatching" else 5
            return getattr(self, name)(*arguments)

        return call

    def _made(self, value: Any) -> int:
        self.next += 1
        self.held[self.next] = value
        return self.next

    def IOServiceMatching(self, name: bytes) -> int:
        return self._made(("matching", name))

    def IOServiceGetMatchingServices(self, port: int, matching: int, iterator: Any) -> int:
        assert self.held.pop(matching) == ("matching", b"IOAccelerator")
        iterator._obj.value = self._made(iter(self.devices)) if self.devices else 0
        return 0

    def IOIteratorNext(self, iterator: int) -> int:
        entry = next(self.held[iterator], None)
        return 0 if entry is None else self._made(entry)

    def IOObjectRelease(self, entry: int) -> int:
        del self.held[entry]
        return 0

    def IOObjectGetClass(self, entry: int, name: Any) -> int:
        name.value = self.held[entry]["IOObjectClass"].encode()
        return 0

    def IORegistryEntryGetRegistryEntryID(self, entry: int, number: Any) -> int:
        number._obj.value = self.ids.get(id(self.held[entry]), id(self.held[entry]))
        return 0

    def IORegistryEntryGetChildIterator(self, entry: int, plane: bytes, iterator: Any) -> int:
        assert plane == b"IOService"
        iterator._obj.value = self._made(iter(self.held[entry]["IORegistryEntryChildren"]))
        return 0

    def IORegistryEntryCreateCFProperty(self, entry: int, key: int, allocator: None, options: int) -> int:
        value = self.held[entry].get(self.held[key])
        self.read.append((self.held[key], self.held[entry].get("IOUserClientCreator")))
        return 0 if value is None else self._made(value)

    def CFStringCreateWithCString(self, allocator: None, text: bytes, encoding: int) -> int:
        assert encoding == 0x08000100
        return self._made(text.decode())

    def CFPropertyListCreateData(self, *arguments: Any) -> int:
        _, value, form, _, _ = arguments
        assert form == 200
        return self._made(plistlib.dumps(self.held[value], fmt=plistlib.FMT_BINARY))

    def CFDataGetLength(self, data: int) -> int:
        return len(self.held[data])

    def CFDataGetBytePtr(self, data: int) -> int:
        self.kept.append(ctypes.create_string_buffer(self.held[data], len(self.held[data])))
        return ctypes.addressof(self.kept[-1])

    def CFRelease(self, reference: int) -> None:
        del self.held[reference]


TREE = [gpu(client(4242, 5, 6), client(533, 7, kind="AGXSharedUserClient"), client(9))]
MEMORY = ("PerformanceStatistics", None)


def test_the_registry_gives_what_the_tool_gives_and_keeps_nothing_but_its_keys() -> None:
    fake = FakeFrameworks(TREE)
    registry = Registry(fake.library, fake.library)
    keys = dict(fake.held)
    assert set(keys.values()) == {"PerformanceStatistics", "IOUserClientCreator", "AppUsage"}
    for only in (None, frozenset({9}), frozenset[int](), None):
        gpus = registry.devices(only)
        assert fake.held == keys
    assert gpus == listed(*TREE) == [GPU({4242: 11, 9: 0}, 18253611008)]


def test_of_processes_that_are_not_asked_for_nothing_is_read() -> None:
    fake = FakeFrameworks(TREE)
    registry = Registry(fake.library, fake.library)
    assert registry.devices(frozenset({4242})) == [GPU({4242: 11, 9: None}, 18253611008)]
    # once, to learn whose each client is
    creators = [("IOUserClientCreator", f"pid {pid}, llama-server") for pid in (4242, 9)]
    usage = [("AppUsage", f"pid {pid}, llama-server") for pid in (4242, 9)]
    assert sorted(fake.read) == sorted([*creators, usage[0], MEMORY])
    fake.read.clear()
    fake.called.clear()
    assert registry.devices(frozenset({9})) == [GPU({4242: None, 9: 0}, 18253611008)]
    assert sorted(fake.read) == [usage[1], MEMORY]
    assert "IOObjectGetClass" not in fake.called
    fake.read.clear()
    assert registry.devices(frozenset()) == [GPU({4242: None, 9: None}, 18253611008)]
    assert fake.read == [MEMORY]
    fake.read.clear()
    assert registry.devices() == [GPU({4242: 11, 9: 0}, 18253611008)]
    assert sorted(fake.read) == sorted([*usage, MEMORY])


def test_a_client_that_is_known_costs_three_calls_where_it_is_not_asked_for() -> None:
    fake = FakeFrameworks([gpu()])
    registry = Registry(fake.library, fake.library)
    registry.devices(frozenset())
    fake.called.clear()
    registry.devices(frozenset())
    none = len(fake.called)
    fake.devices = [gpu(*(client(pid, 1) for pid in range(1, 143)))]
    registry.devices(frozenset())
    fake.called.clear()
    registry.devices(frozenset())
    assert len(fake.called) - none == 142 * 3


def test_who_comes_is_found_and_who_is_not_met_any_more_is_forgotten() -> None:
    old, new = client(4242, 5), client(9, 6)
    fake = FakeFrameworks([gpu(old)])
    fake.ids = {id(old): 1 << 32, id(new): 2 << 32}  # they have 64 bits
    registry = Registry(fake.library, fake.library)
    registry.devices()
    fake.devices = [gpu(old, new)]
    assert registry.devices(frozenset({9})) == [GPU({4242: None, 9: 6}, 18253611008)]
    fake.devices = [gpu(new)]
    assert registry.devices(frozenset({9})) == [GPU({9: 6}, 18253611008)]
    # the ID is given again: it is read anew, not remembered
    other = client(77, 8)
    fake.ids[id(other)] = 1 << 32
    fake.devices = [gpu(new, other)]
    fake.read.clear()
    assert registry.devices(frozenset({77})) == [GPU({9: None, 77: 8}, 18253611008)]
    told = [("AppUsage", other["IOUserClientCreator"]), ("IOUserClientCreator", other["IOUserClientCreator"]), MEMORY]
    assert sorted(fake.read) == told
    assert len(fake.held) == 3


def test_a_client_whose_creator_is_not_told_yet_is_asked_again() -> None:
    late = client(4242, 5)
    told = late.pop("IOUserClientCreator")
    fake = FakeFrameworks([gpu(late)])
    registry = Registry(fake.library, fake.library)
    assert registry.devices() == [GPU({}, 18253611008)]
    late["IOUserClientCreator"] = told
    assert registry.devices() == [GPU({4242: 5}, 18253611008)]


def test_without_entry_ids_each_client_is_read_every_time() -> None:
    fake = FakeFrameworks(TREE)
    fake.ids[id(TREE[0]["IORegistryEntryChildren"][2])] = 0  # what is in memory that the call left alone
    registry = Registry(fake.library, fake.library)
    registry.devices()
    fake.broken = "IORegistryEntryGetRegistryEntryID"
    for _ in range(2):
        fake.read.clear()
        assert registry.devices(frozenset({4242})) == [GPU({4242: 11, 9: None}, 18253611008)]
        assert [name for name, _ in fake.read].count("IOUserClientCreator") == 2
        assert len(fake.held) == 3


def test_a_registry_without_a_gpu_gives_none() -> None:
    fake = FakeFrameworks([])
    registry = Registry(fake.library, fake.library)
    assert registry.devices() == []
    assert len(fake.held) == 3


@pytest.mark.parametrize("call", ["IORegistryEntryCreateCFProperty", "CFPropertyListCreateData", "IOObjectGetClass"])
def test_a_property_that_cannot_be_read_is_left_out_and_nothing_leaks(call: str) -> None:
    fake = FakeFrameworks(TREE)
    registry = Registry(fake.library, fake.library)
    fake.broken = call
    assert together(registry.devices()).clients == {}
    assert len(fake.held) == 3
    fake.broken = ""
    assert together(registry.devices()).clients == {4242: 11, 9: 0}
    if call != "IOObjectGetClass":
        fake.broken = call
        assert together(registry.devices()).clients == {4242: None, 9: None}
        assert len(fake.held) == 3


def test_a_search_that_fails_in_the_middle_leaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeFrameworks(TREE * 2)
    registry = Registry(fake.library, fake.library)
    fake.broken = "IORegistryEntryGetChildIterator"
    with pytest.raises(OSError, match="went away"):
        registry.devices()
    assert len(fake.held) == 3
    fake.broken = ""
    monkeypatch.setattr(plistlib, "loads", lambda data: unreachable())
    for only in (None, frozenset({4242})):
        with pytest.raises(OSError, match="no such framework"):
            registry.devices(only)
        assert len(fake.held) == 3


def test_a_search_that_cannot_begin_says_so() -> None:
    fake = FakeFrameworks(TREE)
    registry = Registry(fake.library, fake.library)
    fake.broken = "IOServiceMatching"
    with pytest.raises(OSError, match="cannot be searched"):
        registry.devices()
