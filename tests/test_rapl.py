"""RAPL's counters, in folders made as the kernel has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infertui.sample import SERIES, Absent
from infertui.telemetry import rapl
from infertui.telemetry.rapl import Rapl
from infertui.telemetry.source import Gone, Source

MS, SECOND = 1_000_000, 1_000_000_000
RANGE_UJ = 262_143_328_850


class Zones:
    """The zones of a made-up machine: /sys/class/powercap has a link for each, the folders lie in one another."""

    def __init__(self, root: Path, **names: str) -> None:
        self.root = root
        self.links = root / "sys/class/powercap"
        self.links.mkdir(parents=True)
        for number, name in names.items():
            self.add("intel-rapl:" + number.lstrip("z").replace("_", ":"), name)

    def add(self, zone: str, name: str) -> None:
        parts = zone.split(":")
        inner = "/".join(":".join(parts[: end + 1]) for end in range(1, len(parts)))
        folder = self.root / "sys/devices/virtual/powercap" / parts[0] / inner
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (folder / "energy_uj").write_text("1000000\n")
        (self.links / zone).symlink_to(Path("../..") / folder.relative_to(self.root / "sys"))

    def set(self, zone: str, energy_uj: Any) -> None:
        (self.links / f"intel-rapl:{zone}" / "energy_uj").write_text(f"{energy_uj}\n")

    def source(self) -> Source:
        source = rapl.found(self.root)
        assert isinstance(source, Rapl)
        return source


def power_w(source: Source, at_ns: int) -> float | None:
    values = source.read(at_ns)
    assert set(values) == {"package_power_w"} <= set(SERIES)
    return values["package_power_w"]


def test_power_is_what_the_package_used_between_two_readings(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0")
    source = zones.source()
    assert (source.name, source.period_s, source.counted) == ("RAPL", 0.5, True)
    assert power_w(source, SECOND) is None
    zones.set("0", 1_000_000 + 22_500_000)  # 22.5 J in 0.5 s
    assert power_w(source, SECOND + 500 * MS) == 45.0


def test_packages_and_their_memory_are_added_and_nothing_else_is(tmp_path: Path) -> None:
    zones = Zones(
        tmp_path,
        z0="package-0",
        z0_0="core",
        z0_1="uncore",
        z0_2="dram",
        z1="package-1-die-0",
        z1_0="dram",
        z2="psys",
        z2_0="dram",  # of no package
    )
    zones.add("intel-rapl-mmio:0", "package-0")  # the same counter by another way
    source = zones.source()
    power_w(source, SECOND)
    grown = {"0": 30, "0:0": 20, "0:1": 5, "0:2": 3, "1": 40, "1:0": 4, "2": 100, "2:0": 9}
    for zone, joules in grown.items():
        zones.set(zone, 1_000_000 + joules * 1_000_000)
    assert power_w(source, 2 * SECOND) == 77.0


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0")
    source = zones.source()
    zones.set("0", RANGE_UJ - 5_000_000)
    power_w(source, SECOND)
    zones.set("0", 7_000_000)
    assert power_w(source, 2 * SECOND) == 12.0


def test_a_counter_that_was_reset_is_no_wrap(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0")
    source = zones.source()
    zones.set("0", 90_000_000_000)
    power_w(source, SECOND)
    zones.set("0", 1_000_000)  # as a wrap it would be 172 kW
    assert power_w(source, 2 * SECOND) is None
    zones.set("0", 16_000_000)
    assert power_w(source, 3 * SECOND) == 15.0


def test_after_a_time_in_which_it_may_have_wrapped_nothing_is_known(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0")
    source = zones.source()
    power_w(source, SECOND)
    zones.set("0", 601_000_000)
    assert power_w(source, 61 * SECOND) == 10.0
    zones.set("0", 1_211_000_000)
    assert power_w(source, 122 * SECOND) is None


def test_a_fall_without_a_known_range_is_unknown(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0")
    (zones.links / "intel-rapl:0/max_energy_range_uj").unlink()
    source = zones.source()
    power_w(source, SECOND)
    zones.set("0", 5)
    assert power_w(source, 2 * SECOND) is None


def test_a_package_that_stands_still_is_unknown_and_memory_that_does_takes_none(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0", z0_0="dram")
    source = zones.source()
    power_w(source, SECOND)
    zones.set("0", 9_000_000)
    assert power_w(source, 2 * SECOND) == 8.0
    zones.set("0:0", 3_000_000)
    assert power_w(source, 3 * SECOND) is None


@pytest.mark.parametrize("zone", ["0", "0:0", "1"])
def test_a_sum_is_unknown_where_a_part_of_it_is(tmp_path: Path, zone: str) -> None:
    zones = Zones(tmp_path, z0="package-0", z0_0="dram", z1="package-1")
    source = zones.source()
    power_w(source, SECOND)
    for each in ("0", "0:0", "1"):
        zones.set(each, 2_000_000)
    zones.set(zone, "")
    assert power_w(source, 2 * SECOND) is None
    for each in ("0", "0:0", "1"):
        zones.set(each, 5_000_000)
    assert power_w(source, 3 * SECOND) is None  # since when is not known
    for each in ("0", "0:0", "1"):
        zones.set(each, 6_000_000)
    assert power_w(source, 4 * SECOND) == 3.0


def test_memory_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0", z0_0="dram")
    (zones.links / "intel-rapl:0:0/energy_uj").unlink()
    source = zones.source()
    power_w(source, SECOND)
    zones.set("0", 3_000_000)
    assert power_w(source, 2 * SECOND) == 2.0


def test_counters_that_go_away_are_gone(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0")
    source = zones.source()
    (zones.links / "intel-rapl:0").unlink()
    with pytest.raises(Gone, match="no longer there"):
        source.read(SECOND)


def test_a_machine_without_counters_has_none(tmp_path: Path) -> None:
    expected = Absent(name="RAPL", reason="the kernel shows no energy counter of this CPU")
    assert rapl.found(tmp_path) == expected
    Zones(tmp_path, z0="psys")  # the whole platform's, which has another meaning
    assert rapl.found(tmp_path) == expected


def test_counters_for_root_alone_are_told_so_and_nobody_is_sent_to_become_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Zones(tmp_path, z0="package-0")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)  # who runs the tests may be root
    assert rapl.found(tmp_path) == Absent(name="RAPL", reason="energy_uj is readable by root only on this kernel")


def test_counters_that_fail_are_told_so(tmp_path: Path) -> None:
    zones = Zones(tmp_path, z0="package-0")
    (zones.links / "intel-rapl:0/energy_uj").unlink()
    absent = rapl.found(tmp_path)
    assert absent == Absent(name="RAPL", reason="energy_uj cannot be read: No such file or directory")
