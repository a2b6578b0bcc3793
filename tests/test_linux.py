"""What Linux tells, out of trees of /proc and /sys written by hand, and of this machine where it is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from infertui.condition import Conditions
from infertui.sample import SERIES
from infertui.telemetry.linux import Linux, Process
from infertui.telemetry.linux import _since as linux_since

pytestmark = pytest.mark.skipif(not hasattr(os, "pread"), reason="no pread here")

SECOND = 1_000_000_000


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


MEMINFO = "MemTotal: 1000 kB\nMemFree: 50 kB\nMemAvailable: 400 kB\nSwapTotal: 300 kB\nSwapFree: 250 kB\n"


def test_busy_time_is_all_but_idle_and_waiting_for_disks(tmp_path: Path) -> None:
    # user nice system idle iowait irq softirq steal, and two that stand in user already
    put(tmp_path, {"proc/stat": "cpu  100 20 30 1000 50 1 2 7 90 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n"})
    tick = SECOND // os.sysconf("SC_CLK_TCK")
    assert Linux(tmp_path).cpu() == (160 * tick, 1210 * tick)


def test_stalls_are_shares_of_the_time_between_two_readings(tmp_path: Path) -> None:
    def pressure(kind: str, some: int, full: int) -> None:
        average = "avg10=9.99 avg60=0.00 avg300=0.05"
        put(tmp_path, {f"proc/pressure/{kind}": f"some {average} total={some}\nfull {average} total={full}\n"})

    for kind in ("cpu", "memory", "io"):
        pressure(kind, 1000, 500)
    linux = Linux(tmp_path)
    assert {key: value for key, value in linux.slow(SECOND).items() if "stall" in key and value is not None} == {}
    pressure("cpu", 1000 + 250_000, 500)
    pressure("memory", 900_000, 500 + 20_000)
    assert {key: value for key, value in linux.slow(3 * SECOND).items() if "stall" in key} == {
        "cpu_stall_percent": 12.5,
        "memory_stall_percent": 1.0,
        "io_stall_percent": 0.0,
    }


def test_a_kernel_without_pressure_files_says_so(tmp_path: Path) -> None:
    linux = Linux(tmp_path)
    assert not [key for key in linux.slow(SECOND) if "stall" in key]
    assert "pressure" in {absent.name for absent in linux.absent()}


def test_memory_and_swap_are_in_bytes(tmp_path: Path) -> None:
    put(tmp_path, {"proc/meminfo": MEMINFO, "proc/vmstat": "pswpin 4\npswpout 12\n"})
    read = Linux(tmp_path).slow(SECOND)
    assert read["ram_total_bytes"] == 1000 * 1024
    assert read["ram_used_bytes"] == 600 * 1024
    assert read["swap_used_bytes"] == 50 * 1024
    assert read["swapouts"] == 12
    assert set(read) <= set(SERIES)


def test_nothing_that_is_not_there_is_zero(tmp_path: Path) -> None:
    read = Linux(tmp_path).slow(SECOND)
    assert {key for key, value in read.items() if value is not None} <= {"asleep_ns"}


@pytest.mark.parametrize(
    ("status", "kind", "scope", "wanted"),
    [
        ("Discharging", "Battery", "", 1.0),
        ("Charging", "Battery", "System", 0.0),
        ("Not charging", "Battery", "", 0.0),
        ("Discharging", "Battery", "Device", None),  # a mouse
        ("Discharging", "Mains", "", None),
    ],
)
def test_the_battery_of_the_machine_is_told_from_that_of_a_mouse(
    tmp_path: Path, status: str, kind: str, scope: str, wanted: float | None
) -> None:
    files = {"type": f"{kind}\n", "status": f"{status}\n", "capacity": "78\n", **({"scope": scope} if scope else {})}
    put(tmp_path, {f"sys/class/power_supply/BAT0/{name}": text for name, text in files.items()})
    linux = Linux(tmp_path)
    assert linux.slow(SECOND)["on_battery"] == wanted
    assert linux.look().get("battery_percent") == (78.0 if wanted is not None else None)


def test_the_tightest_memory_limit_of_a_cgroup_and_those_around_it_counts(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/user/app"
    put(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user/app\n",
            f"{group}/memory.max": "max\n",
            f"{group}/memory.current": "111\n",
            "sys/fs/cgroup/user/memory.max": "5000\n",
            "sys/fs/cgroup/user/memory.current": "4000\n",
            f"{group}/cpu.max": "150000 100000\n",
            f"{group}/cpu.stat": "usage_usec 9\nnr_throttled 3\nthrottled_usec 2500\n",
            "sys/fs/cgroup/user/cpu.max": "400000 100000\n",
        },
    )
    linux = Linux(tmp_path)
    read = linux.slow(SECOND)
    assert read["cgroup_limit_bytes"] == 5000
    assert read["cgroup_memory_bytes"] == 4000
    assert read["cgroup_throttled_ns"] == 2_500_000
    assert linux.look()["cpu_limit"] == 1.5


def test_cgroups_of_the_first_version_are_read_and_their_none_is_a_huge_number(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/box\n2:cpu,cpuacct:/box\n",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "7000\n",
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "6900\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu/box/cpu.stat": "nr_periods 5\nthrottled_time 1234\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    linux = Linux(tmp_path)
    read = linux.slow(SECOND)
    assert (read["cgroup_limit_bytes"], read["cgroup_memory_bytes"]) == (7000, 6900)
    assert read["cgroup_throttled_ns"] == 1234
    assert linux.look()["cpu_limit"] == 0.5


def test_files_that_can_be_dropped_are_no_memory_in_use(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/box"
    files = {"proc/self/cgroup": "0::/box\n", f"{group}/memory.max": "300\n", f"{group}/memory.current": "299\n"}
    put(tmp_path, {**files, f"{group}/memory.stat": "anon 13\ninactive_file 285\nactive_file 1\n"})
    assert Linux(tmp_path).slow(SECOND)["cgroup_memory_bytes"] == 14


def test_who_is_known_is_read_again_only_if_its_pid_may_have_been_given_out_again() -> None:
    assert [pid for pid in range(1, 9) if linux_since(pid, 3, 6)] == [4, 5, 6]
    assert [pid for pid in range(1, 9) if linux_since(pid, 6, 3)] == [1, 2, 3, 7, 8]
    assert not any(linux_since(pid, 5, 5) for pid in range(1, 9))
    assert not any(linux_since(pid, None, 5) for pid in range(1, 9))


def test_where_the_last_pid_stands_still_children_are_found_nevertheless(tmp_path: Path) -> None:
    put(tmp_path, {"proc/loadavg": "0 0 0 0/0 0\n", "proc/10/stat": "10 (p) S 1 0 0\n"})
    linux = Linux(tmp_path)
    assert linux.descendants([10]) == set()
    put(tmp_path, {"proc/11/stat": "11 (p) S 10 0 0\n"})
    assert linux.descendants([10]) == {11}


def test_without_any_limit_none_is_told(tmp_path: Path) -> None:
    put(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"})
    linux = Linux(tmp_path)
    assert not {key for key in linux.slow(SECOND) if key.startswith("cgroup")}
    assert "cpu_limit" not in linux.look()


def test_governors_throttles_profile_and_heat_are_read(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu"
    put(
        tmp_path,
        {
            f"{cpu}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{cpu}/cpu1/cpufreq/scaling_governor": "powersave\n",
            f"{cpu}/cpu0/cpufreq/energy_performance_preference": "balance_power\n",
            f"{cpu}/cpu0/thermal_throttle/core_throttle_count": "3\n",
            f"{cpu}/cpu1/thermal_throttle/core_throttle_count": "4\n",
            "sys/firmware/acpi/platform_profile": "low-power\n",
            "sys/class/hwmon/hwmon0/name": "nvme\n",
            "sys/class/hwmon/hwmon0/temp1_input": "33000\n",
            "sys/class/hwmon/hwmon1/name": "coretemp\n",
            "sys/class/hwmon/hwmon1/temp1_input": "61500\n",
            "proc/cpuinfo": "flags : fpu hypervisor sse\n",
        },
    )
    linux = Linux(tmp_path)
    look = linux.look()
    assert look["governor"] == "powersave"
    assert look["energy_preference"] == "balance_power"
    assert look["low_power"] is True
    assert look["power_mode"] == "low-power"
    assert look["virtual"] is True
    assert look["thermal_throttles"] == 7
    read = linux.slow(SECOND)
    assert read["thermal_throttles"] == 7
    assert read["cpu_temperature_c"] == 61.5
    assert not {"CPU temperature", "governor"} & {absent.name for absent in linux.absent()}
    assert set(look) <= set(Conditions.__struct_fields__)


def test_a_pid_that_was_given_out_again_is_not_its_former_owners(tmp_path: Path) -> None:
    def given(newest: int, **parents: int) -> None:
        put(tmp_path, {"proc/loadavg": f"0.1 0.2 0.3 1/99 {newest}\n"})
        put(tmp_path, {f"proc/{pid[1:]}/stat": f"{pid[1:]} (p) S {parent} 0 0\n" for pid, parent in parents.items()})

    given(30, p10=1, p11=10, p30=1)
    linux = Linux(tmp_path)
    assert linux.descendants([10]) == {11}
    given(30, p12=10)  # nothing was given out, so nobody is looked for
    assert linux.descendants([10]) == {11}
    given(12, p11=1, p12=10)  # the numbers began anew: 11 is somebody else's now
    assert linux.descendants([10]) == {12}
    given(13, p11=10, p13=12)  # 11 was not given out again: who was adopted stays where it came from
    assert linux.descendants([10]) == {12, 13}


STATUS = """Name:\tllama (x) y
VmHWM:\t 8399416 kB
VmRSS:\t 8399000 kB
RssAnon:\t    4580 kB
RssFile:\t 8394420 kB
RssShmem:\t       8 kB
VmSwap:\t      12 kB
"""
STAT = "42 (a name) with ) S) S 7 42 42 0 -1 0 900 0 5 0 250 50 30 20 20 0 4 0 123456 1 1\n"


def test_a_process_is_read_out_of_its_files_whatever_its_name_holds(tmp_path: Path) -> None:
    put(tmp_path, {"proc/42/stat": STAT, "proc/42/status": STATUS})
    process = Process(tmp_path / "proc", 42)
    used = process.read()
    assert used is not None
    tick = SECOND // os.sysconf("SC_CLK_TCK")
    assert used.cpu_ns == 300 * tick
    assert used.reaped_ns == 50 * tick
    assert used.pageins == 5
    assert used.private_bytes == (4580 + 8 + 12) * 1024
    assert used.mapped_bytes == 8394420 * 1024
    assert used.resident_bytes == 8399000 * 1024
    assert used.swapped_bytes == 12 * 1024
    assert used.peak_bytes == 8399416 * 1024
    process.close()


def test_a_corpse_has_ended_and_a_kernel_that_tells_no_private_memory_is_not_believed_to_have_none(
    tmp_path: Path,
) -> None:
    put(tmp_path, {"proc/42/stat": STAT.replace(") S 7", ") Z 7"), "proc/42/status": ""})
    put(tmp_path, {"proc/43/stat": STAT, "proc/43/status": "VmRSS:\t 10 kB\n"})
    corpse, old = Process(tmp_path / "proc", 42), Process(tmp_path / "proc", 43)
    assert corpse.read() is None  # it never was anything else to us
    used = old.read()
    assert used is not None
    assert used.private_bytes is None
    assert used.resident_bytes == 10240
    corpse.close()
    old.close()


def test_a_process_whose_files_may_not_be_opened_is_nobody_and_leaks_no_file(tmp_path: Path) -> None:
    put(tmp_path, {"proc/42/stat": STAT})  # no status
    before = len(os.listdir("/dev/fd"))
    assert Linux(tmp_path).handle(42) is None
    assert len(os.listdir("/dev/fd")) == before


def test_descendants_are_found_by_parents_and_who_loses_its_parent_stays_one(tmp_path: Path) -> None:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1)):
        put(tmp_path, {f"proc/{pid}/stat": f"{pid} (p) S {parent} 0 0\n"})
    linux = Linux(tmp_path)
    assert linux.descendants([10]) == {11, 12}
    (tmp_path / "proc/11/stat").unlink()
    (tmp_path / "proc/11").rmdir()
    put(tmp_path, {"proc/12/stat": "12 (p) S 1 0 0\n", "proc/13/stat": "13 (p) S 12 0 0\n"})
    assert linux.descendants([10, 12]) == {13}
    assert linux.descendants([99]) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="of a real Linux")
def test_this_machine_tells_plausible_things() -> None:
    linux = Linux()
    busy, every = linux.cpu()
    assert 0 < busy < every
    read = linux.slow(SECOND)
    total, used = read["ram_total_bytes"], read["ram_used_bytes"]
    assert total is not None
    assert used is not None
    assert 0 < used < total
    assert total == pytest.approx(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), rel=0.02)
    asleep = read["asleep_ns"]
    assert asleep is not None
    assert asleep >= 0
    assert set(read) | set(linux.fast(SECOND)) <= set(SERIES)
