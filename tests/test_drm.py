"""AMD's and Intel's GPUs, in folders made as the kernel has them. The values are made up; no such GPU was here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infertui.sample import SERIES, Absent, Values
from infertui.telemetry import drm
from infertui.telemetry.drm import Cards, Clients
from infertui.telemetry.fdinfo import Client, Engine, client
from infertui.telemetry.source import Gone, Source

MS, SECOND = 1_000_000, 1_000_000_000
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SERVER = 4242

AMDGPU = """\
pos:\t0
flags:\t02100002
mnt_id:\t26
ino:\t1078
drm-driver:\tamdgpu
drm-client-id:\t7
drm-pdev:\t0000:03:00.0
pasid:\t32771
drm-memory-vram:\t5120 KiB
drm-memory-gtt: \t1024 KiB
drm-memory-cpu: \t77 KiB
amd-requested-vram:\t9999 KiB
drm-shared-vram:\t64 KiB
drm-engine-gfx:\t1000000000 ns
drm-engine-compute:\t500000000 ns
drm-engine-dma:\t300000000 ns
"""
I915 = """\
drm-driver:\ti915
drm-client-id:\t3
drm-pdev:\t0000:00:02.0
drm-total-system0:\t4096 KiB
drm-resident-system0:\t2048 KiB
drm-total-stolen-system0:\t32 KiB
drm-engine-render:\t100000000 ns
drm-engine-copy:\t900000000 ns
drm-engine-capacity-video:\t2
drm-engine-compute:\t0 ns
drm-engine-capacity-compute:\t4
"""
XE = """\
drm-driver:\txe
drm-client-id:\t9
drm-pdev:\t0000:03:00.0
drm-total-system:\t8 MiB
drm-resident-system:\t8 MiB
drm-total-gtt:\t192 KiB
drm-resident-gtt:\t192 KiB
drm-total-vram0:\t24 MiB
drm-resident-vram0:\t23 MiB
drm-cycles-rcs:\t1000
drm-total-cycles-rcs:\t100000
drm-cycles-bcs:\t50000
drm-total-cycles-bcs:\t100000
drm-cycles-ccs:\t2000
drm-total-cycles-ccs:\t100000
drm-engine-capacity-ccs:\t4
"""


class Machine:
    """Folders of /sys and /proc as the kernel lays them out: with links, and with connectors beside the cards."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/class/drm").mkdir(parents=True)
        (root / "proc").mkdir()

    def card(self, number: int, driver: str, address: str, files: dict[str, Any], hwmon: dict[str, Any]) -> Path:
        device = self.root / "sys/devices/pci0000:00" / address
        names = [f"card{number}", f"renderD{128 + number}"]
        for name in (*names, f"card{number}-DP-1"):
            (device / "drm" / name).mkdir(parents=True)
            (device / "drm" / name / "device").symlink_to("../..")
            link = self.root / "sys/class/drm" / name
            link.symlink_to(Path("../../devices/pci0000:00") / address / "drm" / name)
        home = self.root / "sys/bus/pci/drivers" / driver
        home.mkdir(parents=True, exist_ok=True)
        (device / "driver").symlink_to(Path("../../../bus/pci/drivers") / driver)
        for name, value in files.items():
            write(device / name, value)
        for name, value in hwmon.items():
            write(device / f"hwmon/hwmon{3 + number}" / name, value)
        return device

    def opens(self, pid: int, files: dict[int, tuple[str, str]]) -> None:
        """A process with these files: where each leads, and its fdinfo."""
        folder = self.root / "proc" / str(pid)
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("fd", "fdinfo"):
            (folder / name).mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} (llama-server) S 1 1 1")
        for number, (target, text) in files.items():
            (folder / "fd" / str(number)).symlink_to(target)
            (folder / "fdinfo" / str(number)).write_text(text)

    def sources(self) -> Source:
        source = drm.found(self.root)
        assert isinstance(source, Cards)
        return source

    def clients(self, *pids: int) -> Clients:
        source = drm.clients(lambda: frozenset(pids), self.root)
        assert isinstance(source, Clients)
        return source


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        path.write_text(f"{value}\n")


def discrete(machine: Machine, number: int = 1, address: str = "0000:03:00.0", **changed: Any) -> Path:
    """A card of AMD's with 24 GiB in a machine with so much RAM that more of it can be mapped than the card has."""
    files = {
        "device": "0x744c",
        "gpu_busy_percent": 87,
        "mem_info_vram_used": 20 * GIB,
        "mem_info_vram_total": 24 * GIB,
        "mem_info_gtt_used": 1 * GIB,
        "mem_info_gtt_total": 62 * GIB,
        "gpu_metrics": bytes([120, 0, 1, 3]) + bytes(116),
        "power/runtime_status": "active",
    }
    sensors = {
        "name": "amdgpu",
        "power1_average": 285_000_000,
        "temp1_input": 61_000,
        "temp2_input": 79_000,
        "freq1_input": 2_450_000_000,
        "in0_label": "vddgfx",
    }
    hwmon = {name: changed.pop(name, value) for name, value in sensors.items()}
    return machine.card(number, "amdgpu", address, files | changed, hwmon)


def integrated(machine: Machine, number: int = 0, address: str = "0000:c5:00.0", **changed: Any) -> Path:
    """One of AMD's with a CPU beside it on the chip: little memory of its own, and much that it maps."""
    files = {
        "device": "0x1586",
        "gpu_busy_percent": 99,
        "mem_info_vram_used": 400 * MIB,
        "mem_info_vram_total": 512 * MIB,
        "mem_info_gtt_used": 40 * GIB,
        "mem_info_gtt_total": 96 * GIB,
        "power/runtime_status": "active",
    }
    sensors = {"power1_input": 110_000_000, "temp1_input": 70_000, "freq1_input": 2_900_000_000, "in1_label": "vddnb"}
    hwmon = {name: changed.pop(name, value) for name, value in sensors.items() if changed.get(name, value) is not None}
    return machine.card(number, "amdgpu", address, files | changed, {"name": "amdgpu"} | hwmon)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# The GPUs.


def test_a_card_of_amd_in_its_units_and_by_keys_of_the_registry(machine: Machine) -> None:
    discrete(machine)
    source = machine.sources()
    values = source.read(SECOND)
    assert values == {
        "gpu_percent": 87,
        "gpu_used_bytes": 20 * GIB,  # of its own memory alone
        "gpu_total_bytes": 24 * GIB,
        "gpu_clock_mhz": 2450.0,
        "gpu_temperature_c": 61.0,
        "gpu_power_w": 285.0,
    }
    assert set(values) <= set(SERIES)
    assert (source.name, source.period_s, source.counted) == ("amdgpu", 0.2, False)


def test_an_integrated_gpu_has_all_memory_it_can_reach_and_the_power_of_the_whole_chip(machine: Machine) -> None:
    integrated(machine)
    source = machine.sources()
    values = source.read(SECOND)
    assert values == {
        "gpu_percent": 99,
        "gpu_used_bytes": 40 * GIB + 400 * MIB,
        "gpu_total_bytes": 96 * GIB + 512 * MIB,
        "gpu_clock_mhz": 2900.0,
        "gpu_temperature_c": 70.0,
        "gpu_power_w": None,
        "soc_power_w": 110.0,
    }
    assert set(values) <= set(SERIES)
    assert isinstance(source, Cards)
    assert source.missing == {"gpu_power_w": "the GPU has one sensor together with the CPU: their power is the chip's"}


@pytest.mark.parametrize(
    ("changed", "is_one"),
    [
        ({}, True),
        ({"in1_label": None}, False),
        ({"in1_label": None, "gpu_metrics": bytes([128, 0, 2, 2])}, True),
        ({"in1_label": None, "gpu_metrics": bytes([8, 1, 3, 0])}, True),
        ({"in1_label": None, "gpu_metrics": bytes([120, 0, 1, 3])}, False),
        ({"in1_label": None, "gpu_metrics": b""}, False),
        ({"in1_label": None, "device": "0x74a0"}, True),
    ],
)
def test_an_integrated_gpu_is_told_by_what_only_those_show(
    machine: Machine, changed: dict[str, Any], is_one: bool
) -> None:
    integrated(machine, **changed)
    assert ("soc_power_w" in machine.sources().read(SECOND)) is is_one


def test_beside_a_card_the_power_of_the_chip_is_neither_added_nor_told_for_all(machine: Machine) -> None:
    integrated(machine, gpu_busy_percent=0)
    discrete(machine)
    values = machine.sources().read(SECOND)
    assert values["gpu_power_w"] == 285.0
    assert "soc_power_w" not in values
    assert values["gpu_used_bytes"] == 60 * GIB + 400 * MIB
    assert values["gpu_percent"] == 87
    assert values["gpu_temperature_c"] == 70.0
    assert values["gpu_clock_mhz"] == 2450.0  # of the one that works


def test_beside_a_card_of_nvidia_too_the_power_of_the_chip_is_not_told(machine: Machine) -> None:
    integrated(machine)
    (machine.root / "proc/driver/nvidia").mkdir(parents=True)
    values = machine.sources().read(SECOND)
    assert "soc_power_w" not in values
    assert (values["gpu_power_w"], values["gpu_percent"]) == (None, 99)


def test_of_two_idle_gpus_the_clock_is_the_slowest(machine: Machine) -> None:
    discrete(machine, 0, "0000:03:00.0", gpu_busy_percent=0, freq1_input=500_000_000)
    discrete(machine, 1, "0000:43:00.0", gpu_busy_percent=0, freq1_input=96_000_000)
    values = machine.sources().read(SECOND)
    assert (values["gpu_clock_mhz"], values["gpu_percent"], values["gpu_power_w"]) == (96.0, 0, 570.0)


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("gpu_busy_percent", "", "gpu_percent"),
        ("gpu_busy_percent", 65535, "gpu_percent"),
        ("mem_info_vram_used", "?", "gpu_used_bytes"),
        ("power1_average", 0, "gpu_power_w"),  # 0 W is a meter that does not work
        ("power1_average", "N/A", "gpu_power_w"),
        ("freq1_input", 0, "gpu_clock_mhz"),
    ],
)
def test_what_is_not_told_is_unknown(machine: Machine, name: str, value: Any, key: str) -> None:
    discrete(machine, **{name: value})
    values = machine.sources().read(SECOND)
    assert {each for each, known in values.items() if known is None} == {key}


def test_newer_cards_tell_power_and_temperature_under_other_names(machine: Machine) -> None:
    device = discrete(machine)
    hwmon = device / "hwmon/hwmon4"
    (hwmon / "power1_average").unlink()
    (hwmon / "temp1_input").unlink()
    write(hwmon / "power1_input", 301_000_000)
    values = machine.sources().read(SECOND)
    assert (values["gpu_power_w"], values["gpu_temperature_c"]) == (301.0, 79.0)


def test_a_sum_is_unknown_where_one_card_does_not_tell_it(machine: Machine) -> None:
    discrete(machine, 0, "0000:03:00.0")
    device = discrete(machine, 1, "0000:43:00.0")
    source = machine.sources()
    write(device / "mem_info_vram_used", "")
    write(device / "hwmon/hwmon4/power1_average", "")
    values = source.read(SECOND)
    assert (values["gpu_used_bytes"], values["gpu_power_w"]) == (None, None)
    assert (values["gpu_total_bytes"], values["gpu_percent"]) == (48 * GIB, 87)


def test_a_card_that_sleeps_is_not_woken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    discrete(machine, 0, "0000:03:00.0", gpu_busy_percent=40)
    sleeper = discrete(machine, 1, "0000:43:00.0")
    write(sleeper / "power/runtime_status", "suspended")
    write(sleeper / "gpu_metrics", bytes([128, 0, 2, 2]))  # read, they would make it an integrated one
    touched: list[str] = []
    read = Path.read_text

    def watch(path: Path, *arguments: Any) -> str:
        touched.append(str(path.resolve()))
        return read(path, *arguments)

    monkeypatch.setattr(Path, "read_text", watch)
    values = machine.sources().read(SECOND)
    assert values["gpu_percent"] == 40
    assert values["gpu_power_w"] == 285.0
    assert "soc_power_w" not in values
    assert values["gpu_total_bytes"] == 48 * GIB  # asked of the driver, not of the card
    asked = {Path(path).name for path in touched if "0000:43:00.0" in path}
    driver_alone = {"device", "in1_label", "runtime_status", "mem_info_vram_used", "mem_info_vram_total"}
    assert {"runtime_status"} <= asked <= driver_alone


def test_an_intel_card_counts_its_energy(machine: Machine) -> None:
    device = machine.card(0, "xe", "0000:03:00.0", {}, {"energy1_input": 5_000_000, "temp2_input": 55_000})
    source = machine.sources()
    assert (source.name, source.counted) == ("xe", True)
    assert source.read(SECOND)["gpu_power_w"] is None
    write(device / "hwmon/hwmon3/energy1_input", 35_000_000)  # 30 J in 0.2 s
    values = source.read(SECOND + 200 * MS)
    assert values == {
        "gpu_percent": None,
        "gpu_used_bytes": None,
        "gpu_total_bytes": None,
        "gpu_clock_mhz": None,
        "gpu_temperature_c": 55.0,
        "gpu_power_w": 150.0,
    }
    assert isinstance(source, Cards)
    assert set(source.missing) == {"gpu_percent", "gpu_used_bytes", "gpu_total_bytes", "gpu_clock_mhz"}
    write(device / "hwmon/hwmon3/energy1_input", 35_000_000)
    assert source.read(SECOND + 400 * MS)["gpu_power_w"] is None  # 0 W


def test_an_intel_card_that_counts_only_its_package_tells_that(machine: Machine) -> None:
    device = machine.card(0, "xe", "0000:03:00.0", {}, {"energy2_input": 5_000_000})
    source = machine.sources()
    source.read(SECOND)
    write(device / "hwmon/hwmon3/energy2_input", 85_000_000)
    assert source.read(2 * SECOND)["gpu_power_w"] == 80.0


def test_an_intel_card_that_slept_counts_from_when_it_woke(machine: Machine) -> None:
    files = {"power/runtime_status": "active"}
    device = machine.card(0, "i915", "0000:03:00.0", files, {"energy1_input": 5_000_000})
    source = machine.sources()
    source.read(SECOND)
    write(device / "power/runtime_status", "suspended")
    assert source.read(2 * SECOND)["gpu_power_w"] is None
    write(device / "power/runtime_status", "active")
    write(device / "hwmon/hwmon3/energy1_input", 65_000_000)
    assert source.read(3 * SECOND)["gpu_power_w"] is None
    write(device / "hwmon/hwmon3/energy1_input", 85_000_000)
    assert source.read(4 * SECOND)["gpu_power_w"] == 20.0


def test_a_gpu_that_is_pulled_out_is_gone(machine: Machine) -> None:
    device = discrete(machine)
    source = machine.sources()
    source.read(SECOND)
    shutil.rmtree(device)
    with pytest.raises(Gone, match="no longer there"):
        source.read(2 * SECOND)


NONE = Absent(name="DRM", reason="no AMD or Intel GPU that a server would use")


def test_a_machine_without_such_a_gpu_has_none(tmp_path: Path) -> None:
    assert drm.found(tmp_path) == drm.clients(frozenset, tmp_path) == NONE
    machine = Machine(tmp_path)
    machine.card(0, "ast", "0000:07:00.0", {}, {})
    machine.card(1, "nvidia", "0000:01:00.0", {}, {})
    assert drm.found(tmp_path) == drm.clients(frozenset, tmp_path) == NONE


def test_an_integrated_intel_gpu_alone_tells_who_uses_it(machine: Machine) -> None:
    machine.card(0, "i915", "0000:00:02.0", {}, {})
    absent = drm.found(machine.root)
    assert isinstance(absent, Absent)
    assert "integrated" in absent.reason
    assert machine.clients(SERVER).name == "i915 fdinfo"


def test_an_integrated_intel_gpu_beside_another_one_is_the_desktops(machine: Machine) -> None:
    machine.card(0, "i915", "0000:00:02.0", {}, {})
    (machine.root / "proc/driver/nvidia").mkdir(parents=True)
    assert drm.clients(frozenset, machine.root) == NONE
    discrete(machine)
    assert machine.clients(SERVER).name == machine.sources().name + " fdinfo" == "amdgpu fdinfo"


# The text of one fdinfo.


def test_a_client_of_amdgpu() -> None:
    assert client(AMDGPU) == Client(
        driver="amdgpu",
        gpu="0000:03:00.0",
        number=7,
        memory_bytes=6 * MIB,  # what was moved out of the GPU's reach is not in it
        engines={"gfx": Engine(1_000_000_000), "compute": Engine(500_000_000)},
    )


def test_a_client_of_a_newer_amdgpu_that_tells_the_same_memory_under_three_names() -> None:
    more = "drm-total-vram:\t9 MiB\ndrm-resident-vram:\t5 MiB\ndrm-total-gtt:\t3 MiB\n"
    found = client(more + AMDGPU)
    assert found is not None
    assert found.memory_bytes == 6 * MIB  # resident of the one, "memory" of the other


def test_a_client_of_i915() -> None:
    found = client(I915)
    assert found is not None
    assert (found.gpu, found.number, found.memory_bytes) == ("0000:00:02.0", 3, 2 * MIB)
    assert found.engines == {"render": Engine(100_000_000), "compute": Engine(0, None, 4)}


def test_a_client_of_xe() -> None:
    found = client(XE)
    assert found is not None
    assert found.memory_bytes == 23 * MIB + 192 * KIB  # "system" is what the GPU does not reach
    assert found.engines == {"rcs": Engine(1000, 100_000), "ccs": Engine(2000, 100_000, 4)}


def test_memory_without_a_unit_is_bytes_and_with_an_unknown_one_unknown() -> None:
    text = "drm-driver:\tamdgpu\ndrm-client-id:\t1\n"
    for said, known in {"4096": 4096, "0": 0, "3 MiB": 3 * MIB, "5 parsecs": None, "?": None, "": None}.items():
        found = client(text + f"drm-memory-vram:\t{said}\n")
        assert found is not None
        assert found.memory_bytes == known, said


@pytest.mark.parametrize("text", ["", "pos:\t0\n", "drm-driver:\tamdgpu\n", "drm-client-id:\t1\n", "drm-driver\n:\n"])
def test_a_text_that_does_not_say_whose_counters_it_has_is_of_no_client(text: str) -> None:
    assert client(text) is None


# Who uses them.


def render(text: str, node: str = "renderD129") -> tuple[str, str]:
    return f"/dev/dri/{node}", text


def amdgpu(number: int = 7, vram_kib: int = 5120, gfx: int = 0, compute: int = 0, gpu: str = "0000:03:00.0") -> str:
    text = f"drm-driver:\tamdgpu\ndrm-client-id:\t{number}\ndrm-pdev:\t{gpu}\ndrm-memory-vram:\t{vram_kib} KiB\n"
    for name, busy in {"gfx": gfx, "compute": compute}.items():
        text += f"drm-engine-{name}:\t{busy} ns\n" if busy else ""  # amdgpu leaves out what is zero
    return text


def read(source: Source, at_ns: int) -> tuple[float | None, float | None]:
    values = source.read(at_ns)
    assert set(values) == {"server_gpu_bytes", "server_gpu_percent"} <= set(SERIES)
    return values["server_gpu_bytes"], values["server_gpu_percent"]


def test_what_the_server_holds_and_how_much_of_the_time_it_computed(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients(SERVER)
    assert (source.period_s, source.counted) == (1.0, True)
    machine.opens(SERVER, {5: render(AMDGPU), 6: ("/dev/null", AMDGPU), 7: ("socket:[81]", AMDGPU)})
    assert read(source, SECOND) == (6 * MIB, None)
    later = AMDGPU.replace("300000000", "9" * 10).replace("500000000", "950000000").replace("1000000000", "1300000000")
    machine.opens(SERVER, {5: render(later)})
    assert read(source, 2 * SECOND) == (6 * MIB, 75.0)  # 300 ms of drawing and 450 ms of computing; copies beside it
    assert source.missing == {}


def test_a_file_that_is_held_twice_or_by_two_processes_counts_once(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients(SERVER, 4243)
    for at, busy in ((1, 10 * MS), (2, 510 * MS)):
        machine.opens(SERVER, {5: render(amdgpu(compute=busy)), 8: render(amdgpu(compute=busy))})
        other = amdgpu(number=8, vram_kib=1024, compute=busy // 2)
        machine.opens(4243, {3: render(amdgpu(compute=busy)), 4: render(other, "card1")})
        found = read(source, at * SECOND)
    assert found == (6 * MIB, 75.0)


def test_the_same_number_on_another_gpu_is_another_client_and_use_is_that_of_the_busiest(machine: Machine) -> None:
    discrete(machine)
    discrete(machine, 2, "0000:43:00.0")
    source = machine.clients(SERVER)
    for at in (1, 2):
        one, two = amdgpu(compute=at * 300 * MS), amdgpu(compute=at * 200 * MS, gpu="0000:43:00.0")
        machine.opens(SERVER, {5: render(one), 6: render(two, "renderD130")})
        found = read(source, at * SECOND)
    assert found == (10 * MIB, 30.0)


def test_an_engine_that_amdgpu_left_out_had_not_worked(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients(SERVER)
    machine.opens(SERVER, {5: render(amdgpu())})
    read(source, SECOND)
    machine.opens(SERVER, {5: render(amdgpu())})
    assert read(source, 2 * SECOND)[1] == 0.0
    machine.opens(SERVER, {5: render(amdgpu(compute=400 * MS))})
    assert read(source, 3 * SECOND)[1] == 40.0


def test_a_counter_that_falls_back_has_not_grown_until_it_catches_up(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients(SERVER)
    found = []
    for at, busy_ms in enumerate((1000, 1500, 900, 1400, 1700)):
        machine.opens(SERVER, {5: render(amdgpu(compute=busy_ms * MS))})
        found.append(read(source, at * SECOND)[1])
    assert found == [None, 50.0, 0.0, 0.0, 20.0]


def test_a_client_that_is_new_counts_from_its_first_reading(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients(SERVER)
    machine.opens(SERVER, {5: render(amdgpu(number=1, compute=100 * MS))})
    read(source, SECOND)
    machine.opens(SERVER, {5: render(amdgpu(number=2, compute=900 * MS))})  # the server started anew
    assert read(source, 2 * SECOND)[1] is None
    machine.opens(
        SERVER, {5: render(amdgpu(number=2, compute=950 * MS)), 6: render(amdgpu(number=3, compute=9 * SECOND))}
    )
    assert read(source, 3 * SECOND)[1] == 5.0


def test_engines_of_a_kind_share_their_time(machine: Machine) -> None:
    machine.card(0, "i915", "0000:00:02.0", {}, {})
    source = machine.clients(SERVER)
    for at, (draw, compute) in enumerate(((100, 0), (300, 2000))):  # four engines compute for 2 s in a second
        text = I915.replace("100000000", str(draw * MS)).replace("compute:\t0 ns", f"compute:\t{compute * MS} ns")
        machine.opens(SERVER, {5: render(text, "renderD128")})
        found = read(source, at * SECOND)
    assert found == (2 * MIB, 70.0)


def test_cycles_are_a_share_of_all_cycles_whatever_the_time(machine: Machine) -> None:
    machine.card(0, "xe", "0000:03:00.0", {}, {})
    source = machine.clients(SERVER)
    machine.opens(SERVER, {5: render(XE, "renderD128")})
    assert read(source, SECOND)[1] is None
    later = XE.replace("cycles-rcs:\t1000\n", "cycles-rcs:\t11000\n").replace("ccs:\t2000\n", "ccs:\t82000\n")
    later = later.replace("\t100000\n", "\t200000\n")
    machine.opens(SERVER, {5: render(later, "renderD128")})
    assert read(source, 9 * SECOND)[1] == 30.0  # 10 % of drawing; 80 % of one in four that compute


def test_cycles_that_nobody_counts_in_all_are_no_share(machine: Machine) -> None:
    machine.card(0, "xe", "0000:03:00.0", {}, {})
    source = machine.clients(SERVER)
    mute = "".join(line for line in XE.splitlines(keepends=True) if "cycles" not in line)
    for at in (1, 2):
        machine.opens(SERVER, {5: render(mute, "renderD128")})
        assert read(source, at * SECOND) == (23 * MIB + 192 * KIB, None)
    assert "does not tell how long" in source.missing["server_gpu_percent"]


def test_time_by_rocm_is_unknown_and_its_memory_is_not(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients(SERVER)
    for at in (1, 2):
        machine.opens(SERVER, {5: render(AMDGPU), 9: ("/dev/kfd", "pos:\t0\n")})
        assert read(source, at * SECOND) == (6 * MIB, None)
    assert source.missing == {"server_gpu_percent": "n/a for ROCm: its time is in no engine's counter"}


def test_memory_is_unknown_where_one_client_does_not_tell_it(machine: Machine) -> None:
    discrete(machine)
    silent = "drm-driver:\tamdgpu\ndrm-client-id:\t8\ndrm-pdev:\t0000:03:00.0\n"
    machine.opens(SERVER, {5: render(AMDGPU), 6: render(silent)})
    assert read(machine.clients(SERVER), SECOND)[0] is None


def test_files_of_other_gpus_are_not_looked_into(machine: Machine) -> None:
    discrete(machine)
    machine.opens(SERVER, {5: render(AMDGPU), 6: render("", "renderD128"), 7: render("pos:\t0\n", "card0")})
    assert read(machine.clients(SERVER), SECOND)[0] == 6 * MIB


def test_a_kernel_that_tells_nothing_of_clients_makes_them_unknown(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients(SERVER)
    machine.opens(SERVER, {5: render("pdev:\t0000:03:00.0\npasid:\t32771\nvram mem:\t5120 kB\ngfx0:\t12.5%\n")})
    assert read(source, SECOND) == (None, None)
    assert set(source.missing) == {"server_gpu_bytes", "server_gpu_percent"}
    assert "5.19" in source.missing["server_gpu_bytes"]


def test_a_server_without_a_gpu_is_unknown_and_not_zero(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients(SERVER)
    machine.opens(SERVER, {0: ("/dev/null", "pos:\t0\n")})
    assert read(source, SECOND) == (None, None)
    machine.opens(SERVER, {5: render(AMDGPU)})  # it loads its model
    assert read(source, 2 * SECOND) == (6 * MIB, None)
    assert source.missing == {}


def test_without_a_server_there_is_nothing_to_explain(machine: Machine) -> None:
    discrete(machine)
    source = machine.clients()
    assert read(source, SECOND) == (None, None)
    assert source.missing == {}


def test_a_process_that_ended_holds_nothing(machine: Machine) -> None:
    discrete(machine)
    machine.opens(SERVER, {5: render(AMDGPU)})
    assert read(machine.clients(SERVER, 4243), SECOND)[0] == 6 * MIB


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A process whose open files may not be listed: who runs the tests may be root, to whom all is open."""
    listdir = os.listdir

    def deny(pid: int) -> None:
        def refuse(path: Any) -> list[str]:
            if Path(path).parts[-2:] == (str(pid), "fd"):
                raise PermissionError(13, "Permission denied", str(path))
            return listdir(path)

        monkeypatch.setattr(os, "listdir", refuse)

    return deny


def test_a_server_of_another_user_cannot_be_looked_into(machine: Machine, denied: Callable[[int], None]) -> None:
    discrete(machine)
    machine.opens(SERVER, {5: render(AMDGPU)})
    machine.opens(4243, {5: render(AMDGPU)})
    denied(4243)
    source = machine.clients(SERVER, 4243)
    assert read(source, SECOND) == (None, None)  # a part of it would be no truth
    reason = "the server's processes belong to another user"
    assert source.missing == {"server_gpu_bytes": reason, "server_gpu_percent": reason}


def test_what_is_left_of_an_ended_process_is_not_taken_for_another_users(
    machine: Machine, denied: Callable[[int], None]
) -> None:
    discrete(machine)
    machine.opens(SERVER, {5: render(AMDGPU)})
    machine.opens(4243, {})
    write(machine.root / "proc/4243/stat", "4243 (a (odd) name) Z 1 1 1")
    denied(4243)
    assert read(machine.clients(SERVER, 4243), SECOND)[0] == 6 * MIB


def test_all_that_is_told_of_a_machine_is_in_the_registry(machine: Machine) -> None:
    integrated(machine)
    discrete(machine)
    machine.opens(SERVER, {5: render(AMDGPU)})
    told: list[Values] = [machine.sources().read(SECOND), machine.clients(SERVER).read(SECOND)]
    assert {key for values in told for key in values} <= set(SERIES)
