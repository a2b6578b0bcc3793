"""The lines that tell what a run took of its machine, out of figures made by hand."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from infertui.condition import Doubt
from infertui.metric import Generator, Summary
from infertui.report.figure import size
from infertui.report.table import beside_view, state_of
from infertui.report.telemetry import limit_text, telemetry_lines
from infertui.result import Report, Telemetry
from infertui.sample import Absent, Count, Tally
from infertui.stats import Distribution, distribution
from infertui.usage import Energy

MIB = 1 << 20


def report(metrics: dict[str, Distribution | float | None], told: Telemetry | None = None, **more: Any) -> Report:
    summary = Summary(
        calls=1, metrics=metrics, errors={}, n_source="", valid=True, warnings=[], generator=Generator(), **more
    )
    return Report(
        id=1, server="s", url="", model="m", scenario="single", label="", status="done", message="", started_at="",
        setup={}, facts={}, summary=summary, telemetry=told or Telemetry(),
    )  # fmt: skip


def lines(made: Report, width: int = 120) -> list[str]:
    return [line.plain for line in telemetry_lines(made, width)]


SERVER = {
    "server_cpu_percent": distribution([90.0, 110.0]),
    "server_private_bytes": distribution([40 * MIB, 60 * MIB]),
    "server_mapped_bytes": distribution([1.5 * MIB]),
    "first_token_memory_bytes": distribution([51.5 * MIB]),
}


def test_server_and_machine_are_told_apart() -> None:
    machine = {
        "machine_cpu_percent": distribution([50.0]),
        "foreign_cpu_percent": distribution([0.25]),
        "ram_used_bytes": distribution([3 << 30]),
        "swap_used_bytes": distribution([0.0]),
    }
    assert lines(report({**SERVER, **machine}), 160) == [
        "server  CPU 100 % of a core (max 110) · private 50.0 MiB (max 60.0 MiB) · mapped ~1.50 MiB"
        " · memory at first token 51.5 MiB",
        "machine CPU 50.0 % (max 50.0) · others 0.2 % (max 0.2) · RAM 3.00 GiB (max 3.00 GiB)",
    ]


def test_weights_that_are_declared_and_not_measured_are_the_rest_of_the_memory() -> None:
    told = {"server_private_bytes": distribution([10 * MIB]), "memory_bytes": distribution([14 * MIB])}
    assert lines(report(told)) == ["server  private 10.0 MiB (max 10.0 MiB) · mapped ~4.00 MiB"]


def test_nothing_known_is_no_line() -> None:
    assert lines(report({})) == []


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_part_is_broken_however_narrow_it_is(width: int) -> None:
    found = lines(report(SERVER), width)
    assert all(cell_len(line) <= width for line in found)
    assert " · ".join(line[8:] for line in found).count("memory at first token 51.5 MiB") == 1


def test_energy_names_its_meter_and_the_idle_power_with_its_spread() -> None:
    energy = Energy(label="gpu", joules=50.0, coverage=1.0, samples=9, idle_w=10.0, idle_sd_w=0.5, idle_s=10.0)
    metrics = {"joules_per_token": 0.5, "tokens_per_wh": 7200.0, "net_joules_per_token": None}
    assert lines(report(metrics, energy=(energy,))) == [
        "energy  GPU 50.0 J · energy a token 0.500 J · tokens a watt-hour 7,200 /Wh · idle 10.0 W ± 0.500 over 10.0 s"
    ]


def test_energy_that_is_not_known_says_why() -> None:
    energy = Energy(label="gpu", joules=None, coverage=0.5, samples=9, reason="power was known for 50 % of the time")
    assert lines(report({}, energy=(energy,))) == ["energy  – (power was known for 50 % of the time)"]


def test_what_was_the_limit_is_told_with_its_figure_and_none_seen_is_not_unknown() -> None:
    seen = report({}, limits=("CPU", "slots"), limits_why=("CPU: 97 % (limit 90 %)", "slots: 30 % (limit 20 %)"))
    assert lines(seen) == ["limit   CPU 97 % (limit 90 %) · slots 30 % (limit 20 %)"]
    assert lines(report({}, limits=())) == ["limit   none seen"]
    assert lines(report({}, limits=None)) == []
    assert limit_text(report({}).summary) == "–"


def test_how_it_was_sampled_is_told_with_what_it_cost() -> None:
    tally = Tally(sources={"/proc": Count(period_s=0.2, taken=48, missed=2)}, cpu_s=0.05, children_cpu_s=0.1)
    absent = [Absent(name="server", reason="it is on another machine"), Absent(name="NVML", reason="no driver")]
    told = Telemetry(sources=["/proc"], absent=absent, tally=tally, sampled_s=10.0, waited_s=3.0)
    assert lines(report({}, told)) == [
        "sampled /proc · 2 of 50 missed · 1.5 % of a core · waited 3 s for the machine · it is on another machine"
    ]


def test_doubts_come_last_and_make_a_run_suspicious() -> None:
    doubts = (Doubt(key="a", level="suspicious", text="hot\x1b[31m"), Doubt(key="b", level="note", text="a VM"))
    made = report({}, doubts=doubts)
    assert lines(made) == ["! suspicious: hot␛[31m", "  note: a VM"]
    assert state_of("done", made.summary) == "suspicious"
    assert state_of("failed", made.summary) == "failed"
    assert state_of("done", report({}, doubts=doubts[1:]).summary) == "done"


def test_two_sizes_that_stand_together_have_one_unit() -> None:
    used = distribution([1010.0 * MIB, 1034.0 * MIB])
    assert lines(report({"ram_used_bytes": used})) == ["machine RAM 0.998 GiB (max 1.01 GiB)"]
    assert size(2 * MIB, 3 * MIB) == size(2 * MIB, None) == "2.00 MiB"
    assert size(None, MIB) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (40 * MIB, "40.0 MiB"), (1 << 40, "1,024 GiB")],
)
def test_bytes_are_told_in_the_unit_in_which_they_are_read_best(value: float | None, text: str) -> None:
    assert size(value) == text


def test_costs_have_a_line_of_their_own_also_without_a_meter() -> None:
    assert lines(report({"electricity_cost_mtok": None, "rent_cost_mtok": 0.36})) == [
        "cost    electricity – · rent 0.360 $/Mtok"
    ]


def test_that_nothing_was_sampled_on_purpose_is_said() -> None:
    assert lines(report({}, Telemetry(off=True))) == [
        "sampled nothing (--no-samples): neither were the machine's conditions looked at"
    ]


def test_energies_of_different_meters_are_not_compared_in_silence() -> None:
    made = [
        report({"joules_per_token": 1.0}, energy=(Energy(label=label, joules=5.0, coverage=1.0, samples=9),))
        for label in ("gpu", "package")
    ]
    out = StringIO()
    Console(file=out, width=120).print(beside_view(made))
    assert "! energies are not alike: they are of different meters (CPU package, GPU)" in out.getvalue()
    alike = StringIO()
    Console(file=alike, width=120).print(beside_view(made[:1] * 2))
    assert "energies" not in alike.getvalue()
