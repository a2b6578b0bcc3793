"""Runs side by side: differences worked out by hand, what is not alike, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from infertui.compare import Comparison, compare, figure_of, machine_text, of_store, setup_of
from infertui.condition import Doubt
from infertui.errors import UsageError
from infertui.metric import METRICS, Generator, Summary
from infertui.mock import Server
from infertui.report.compare import compare_view, unlike_text
from infertui.result import Report, Telemetry
from infertui.stats import Distribution
from infertui.usage import Energy, Known
from tests.conftest import Command

SETUP: dict[str, Any] = {
    "api": "chat",
    "stream": True,
    "temperature": 0.0,
    "top_p": None,
    "sampling_seed": None,
    "targets": [],
    "requests": None,
    "concurrency": None,
    "rounds": 1,
    "max_tokens": None,
    "kinds": [],
    "warmup": None,
    "alone": None,
    "cache": "cold",
    "seed": 0,
}
A, B, C = "llama-server", "mlx-lm", "vllm"


def spread(p50: float, mean: float = 1.0) -> Distribution:
    return Distribution(3, mean=mean, min=p50, p50=p50, max=p50)


def report(
    id: int = 1,
    server: str = A,
    metrics: dict[str, Distribution | float | None] | None = None,
    setup: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    **fields: Any,
) -> Report:
    """A run that went well; `fields` of its summary or of itself."""
    summary: dict[str, Any] = {"calls": 3, "errors": {}, "n_source": "usage:3", "valid": True, "warnings": []}
    own = {"model": "m", "status": "done", "scenario": "single", "telemetry": Telemetry()}
    for key, value in fields.items():
        (summary if key in Summary.__struct_fields__ else own)[key] = value
    known = facts or {}
    profile = {"kind": server, "name": server, **known.get("profile", {})}
    return Report(
        id=id,
        server=server,
        url="",
        label="",
        message="",
        started_at="2026-03-01T12:00:00.000+00:00",
        setup={**SETUP, **(setup or {})},
        facts={**known, "profile": profile},
        summary=Summary(metrics=metrics or {"ttft_ms": spread(10.0)}, generator=Generator(), **summary),
        **own,
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path))
    return tmp_path


# Figures.


def test_the_figure_of_a_metric_is_its_median_its_mean_or_its_own() -> None:
    assert figure_of("ttft_ms", spread(12.0, mean=99.0)) == 12.0
    assert figure_of("itl_ms", spread(2.0, mean=99.0)) == 2.0
    assert figure_of("load_ms", spread(3.0, mean=99.0)) == 3.0
    assert figure_of("memory_bytes", spread(12.0, mean=99.0)) == 99.0
    assert figure_of("wall_s", 1.5) == 1.5
    assert figure_of("wall_s", None) is None
    assert figure_of("ttft_ms", Distribution(0)) is None


def test_differences_are_against_the_baseline() -> None:
    one = report(1, A, {"ttft_ms": spread(20.0), "effective_tps": spread(50.0), "idle_ms": spread(4.0)})
    two = report(2, B, {"ttft_ms": spread(25.0), "effective_tps": spread(75.0), "idle_ms": spread(8.0)})
    found = compare([one, two])
    assert found.baseline is one
    itself, other = (column.differences for column in found.columns)
    assert (other["ttft_ms"].baseline, other["ttft_ms"].value) == (20.0, 25.0)
    assert (other["ttft_ms"].difference, other["ttft_ms"].ratio, other["ttft_ms"].better) == (5.0, 1.25, "worse")
    assert (other["effective_tps"].difference, other["effective_tps"].ratio) == (25.0, 1.5)
    assert other["effective_tps"].better == "better"
    assert (other["idle_ms"].difference, other["idle_ms"].better) == (4.0, "")  # neither is better
    assert (itself["ttft_ms"].difference, itself["ttft_ms"].ratio, itself["ttft_ms"].better) == (0.0, 1.0, "same")


def test_what_is_unknown_is_compared_with_nothing() -> None:
    one = report(1, A, {"ttft_ms": spread(20.0), "queue_ms": Distribution(0), "goodput_per_min": 0.0})
    two = report(2, B, {"ttft_ms": spread(25.0), "queue_ms": spread(3.0), "goodput_per_min": 6.0, "speedup": 2.0})
    found = compare([one, two]).columns[1].differences
    for key in ("queue_ms", "speedup"):
        assert (found[key].difference, found[key].ratio, found[key].better) == (None, None, "–")
    assert (found["goodput_per_min"].difference, found["goodput_per_min"].ratio) == (6.0, None)
    assert found["goodput_per_min"].better == "better"


@pytest.mark.parametrize(
    ("value", "better"),
    [(200.0, "same"), (200.8, "same"), (199.2, "same"), (202.0, "worse"), (198.0, "better")],
)
def test_a_ratio_that_rounds_to_one_is_the_same(value: float, better: str) -> None:
    runs = [report(1, A, {"ttft_ms": spread(200.0)}), report(2, B, {"ttft_ms": spread(value)})]
    assert compare(runs).columns[1].differences["ttft_ms"].better == better


def test_nothing_is_the_same_as_zero_but_zero() -> None:
    figures: dict[str, Distribution | float | None] = {"queue_ms": spread(0.0), "wall_s": 0.0}
    runs = [report(1, A, figures), report(2, B, {"queue_ms": spread(0.0), "wall_s": 0.001})]
    found = compare(runs).columns[1].differences
    assert (found["queue_ms"].better, found["wall_s"].better) == ("same", "worse")


def test_the_load_of_other_programs_is_to_nobodys_credit() -> None:
    keys = ("foreign_cpu_percent", "foreign_gpu_percent")
    runs = [report(n, name, {key: spread(n, n) for key in keys}) for n, name in ((1, A), (2, B))]
    assert [compare(runs).columns[1].differences[key].better for key in keys] == ["", ""]


def energy(label: str) -> tuple[Energy, ...]:
    return (Energy(label=label, joules=3.0, coverage=1.0, samples=9),)


BOUND = {"targets": [{"key": "ttft_ms", "worst": 500.0}]}
TOKENS = {"effective_tps", "decode_tps", "prefill_tps", "output_tps", "joules_per_token", "rent_cost_mtok"}


@pytest.mark.parametrize(
    ("what", "one", "two", "keys"),
    [
        ("prefill clock", {"prefill_source": "server"}, {"prefill_source": "ttft"}, {"prefill_tps"}),
        ("energy meter", {"energy": energy("gpu")}, {"energy": energy("system")}, {"energy_j", "joules_per_token"}),
        ("token counts", {"n_source": "usage:3"}, {"n_source": "pieces:3"}, TOKENS),
        ("targets", {"setup": BOUND}, {}, {"goodput_per_min"}),
        ("", {"setup": {"rounds": 2}}, {}, set()),  # unlike, and yet measured in the same way
        ("", {"prefill_source": "server"}, {}, set()),  # what is unknown is no difference
    ],
)
def test_what_is_measured_unlike_gets_no_verdict(
    what: str, one: dict[str, Any], two: dict[str, Any], keys: set[str]
) -> None:
    known = [*TOKENS, "energy_j", "goodput_per_min", "wall_s", "speedup"]
    of_first: dict[str, Distribution | float | None] = dict.fromkeys(known, 10.0)
    of_second: dict[str, Distribution | float | None] = {**dict.fromkeys(known, 20.0), "speedup": None}
    found = compare([report(1, A, of_first, **one), report(2, B, of_second, **two)]).columns[1].differences
    assert {key for key, each in found.items() if each.unlike == what} == (keys or set(known))
    for key in keys:
        assert (found[key].better, found[key].difference, found[key].ratio) == ("", 10.0, 2.0)
    assert (found["wall_s"].better, found["wall_s"].unlike) == ("worse", "")
    assert (found["speedup"].better, found["speedup"].unlike) == ("–", "")


def test_of_three_runs_only_those_that_are_unlike_the_baseline_get_none() -> None:
    runs = [
        report(n, name, {"prefill_tps": spread(10.0 * n)}, prefill_source=source)
        for n, name, source in ((1, A, "server"), (2, B, "ttft"), (3, C, "server"))
    ]
    assert [column.differences["prefill_tps"].better for column in compare(runs).columns] == ["same", "", "better"]
    assert [column.differences["prefill_tps"].better for column in compare(runs, 2).columns] == ["", "same", ""]


def test_each_column_has_what_any_run_has() -> None:
    runs = [report(1), report(2, B, {"ttft_ms": spread(1.0), "speedup": 2.0}), report(3, C)]
    found = compare(runs)
    assert [set(column.differences) for column in found.columns] == [{"ttft_ms", "speedup"}] * 3
    assert found.keys == ["ttft_ms", "speedup"]


def test_a_ratio_that_no_number_can_hold_is_none() -> None:
    one, two = report(1, A, {"wall_s": 5e-324}), report(2, B, {"wall_s": 1e308})
    assert compare([one, two]).columns[1].differences["wall_s"].ratio is None


def test_the_baseline_is_the_one_named_else_that_of_the_settings_else_the_first(home: Path) -> None:
    runs = [report(4, A), report(5, f"{B} (CPU stand-in)", facts={"profile": {"name": B}}), report(6, C)]
    assert compare(runs).baseline.id == 4
    assert compare(runs, 6).baseline.id == 6
    (home / "settings.toml").write_text(f'baseline = "{B}"\n')
    assert compare(runs).baseline.id == 5
    assert compare(runs, 4).baseline.id == 4
    assert compare([runs[0], runs[2]]).baseline.id == 4
    assert [column.report.id for column in compare(runs).columns] == [4, 5, 6]
    with pytest.raises(UsageError, match="run 7 is none of those"):
        compare(runs, 7)
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([])


def test_runs_of_one_server_are_told_apart() -> None:
    found = compare([report(1, A), report(2, B), report(3, A)])
    assert [column.name for column in found.columns] == [f"{A} #1", B, f"{A} #3"]


# What stands against a run.


def test_it_is_said_why_a_run_is_not_valid_or_suspicious_the_baseline_first() -> None:
    doubts = (
        Doubt(key="battery", level="suspicious", text="the machine ran on its battery"),
        Doubt(key="idle_gap", level="note", text="2 calls came after a rest"),
        Doubt(key="swap", level="suspicious", text="it\x1b swapped"),
    )
    late = ["invalid: calls were sent up to 9.0 ms late", "invalid: the client's loop ran late"]
    runs = [
        report(1, A),
        report(2, B, doubts=doubts),
        report(3, B, valid=False, warnings=[*late, "3 of 3 calls ended before max_tokens"], doubts=doubts[:1]),
        report(4, C, valid=False, status="failed", warnings=["no call succeeded"]),
    ]
    assert compare(runs, 3, {2: {"fine": 2, "garbled": 1}, 4: {}}).warnings == [
        f"{B} #3: not valid: calls were sent up to 9.0 ms late; the client's loop ran late",
        f"{B} #3: suspicious: the machine ran on its battery",
        f"{B} #2: suspicious: the machine ran on its battery; it␛ swapped",
        f"1 of 3 replies of {B} #2 is garbled: their speed says little",
        f"{C}: not valid: no call succeeded",
    ]
    assert compare(runs[:1]).warnings == []


# What is not alike.


def unlike(*reports: Report, machines: dict[int, dict[str, Any]] | None = None) -> dict[str, list[str]]:
    return {each.what: each.values for each in compare(reports, machines=machines).unlike}


def test_another_kind_of_server_is_what_is_compared() -> None:
    one = report(1, A, facts={"version": "llama.cpp 7000", "model": "/m/q.gguf", "profile": {"flags": ["--fast"]}})
    two = report(2, B, facts={"version": "mlx-lm 0.32", "model": "/m/q", "profile": {"flags": []}})
    assert unlike(one, two) == {}


@pytest.mark.parametrize(
    ("what", "one", "two", "values"),
    [
        ("model", {"model": "q4"}, {"model": "q8"}, ["q4", "q8"]),
        ("scenario", {"scenario": "single"}, {"scenario": "concurrent"}, ["single", "concurrent"]),
        ("rounds", {"setup": {"rounds": 1}}, {"setup": {"rounds": 3}}, ["1", "3"]),
        ("cache", {"setup": {"cache": "cold"}}, {"setup": {"cache": "warm"}}, ["cold", "warm"]),
        ("API", {"setup": {"api": "chat"}}, {"setup": {"api": "native"}}, ["chat", "native"]),
        ("streaming", {"setup": {"stream": True}}, {"setup": {"stream": False}}, ["on", "off"]),
        ("max tokens", {}, {"setup": {"max_tokens": 64}}, ["each prompt's own", "64"]),
        ("calls at once", {"setup": {"concurrency": 4}}, {"setup": {"concurrency": 8}}, ["4", "8"]),
        ("prompts", {}, {"setup": {"kinds": ["router"]}}, ["all kinds, seed 0", "router, seed 0"]),
        ("prompts", {}, {"setup": {"seed": 7, "requests": 5}}, ["all kinds, seed 0", "5 a round, all kinds, seed 7"]),
        (
            "sampling",
            {"setup": {"top_p": 0.9}},
            {"setup": {"sampling_seed": 3}},
            ["temperature 0, top_p 0.9", "temperature 0, seed 3"],
        ),
        ("targets", {}, {"setup": {"targets": [{"key": "ttft_ms", "worst": 500.0}]}}, ["none", "ttft_ms 500"]),
        ("context", {"facts": {"settings": {"context": 4096}}}, {"facts": {"profile": {"context": 8}}}, ["4096", "8"]),
        ("slots", {"facts": {"settings": {"slots": 1}}}, {"facts": {"settings": {"slots": 4}}}, ["1", "4"]),
        ("quantisation", {"facts": {"settings": {"quant": "a"}}}, {"facts": {"settings": {"quant": "b"}}}, ["a", "b"]),
        ("CPU threads", {"facts": {"threads": 4}}, {"telemetry": Telemetry(known=Known(threads=7))}, ["4", "7"]),
        ("random weights", {"facts": {"caveats": ["random weights, made"]}}, {"facts": {"model": "/m"}}, ["yes", "no"]),
        ("token counts", {"n_source": "usage:3"}, {"n_source": "pieces:2 usage:1"}, ["usage", "pieces usage"]),
        (
            "prefill clock",
            {"prefill_source": "server"},
            {"prefill_source": "ttft"},
            ["the server's own clock", "prompt / time to first token"],
        ),
        ("model file", {"facts": {"model": "/a/m"}}, {"facts": {"model": "/b/m"}}, ["/a/m", "/b/m"]),
        ("engine version", {"facts": {"version": "b1"}}, {"facts": {"version": "b2"}}, ["b1", "b2"]),
        ("engine version", {"facts": {"settings": {"build": "b1"}}}, {"facts": {"fingerprint": "b2"}}, ["b1", "b2"]),
        (
            "flags",
            {"facts": {"profile": {"flags": ["-fa", "on"], "gpu_layers": 0, "env": {"X": "1"}}}},
            {},
            ["gpu_layers=0 -fa on X=1", "none"],
        ),
    ],
)  # fmt: skip
def test_what_differs_is_named(what: str, one: dict[str, Any], two: dict[str, Any], values: list[str]) -> None:
    assert unlike(report(1, **one), report(2, **two)) == {what: values}
    assert unlike(report(1, **one), report(2, **one)) == {}


def test_what_is_unknown_is_no_difference_and_shows_as_a_dash() -> None:
    one = report(1, A, facts={"settings": {"slots": 4}})
    two, three = report(2, B), report(3, C, facts={"settings": {"slots": 8}})
    assert unlike(one, two) == {}
    assert unlike(one, two, three) == {"slots": ["4", "–", "8"]}


def test_meters_of_different_reach_are_named() -> None:
    assert unlike(report(1, energy=energy("gpu")), report(2, energy=energy("system"))) == {
        "energy meter": ["gpu", "system"]
    }


def test_machines_are_compared_as_a_whole() -> None:
    here = {"cpu": "M4", "cores": 10, "memory_bytes": 32 << 30, "system": "Darwin", "release": "25.1", "arch": "arm64"}
    assert machine_text(here) == "M4, 10 cores, 32 GiB, Darwin 25.1 arm64"
    there = {**here, "memory_bytes": 64 << 30}
    assert unlike(report(1), report(2), machines={1: here, 2: here}) == {}
    assert unlike(report(1), report(2), machines={1: here, 2: there}) == {
        "machine": ["M4, 10 cores, 32 GiB, Darwin 25.1 arm64", "M4, 10 cores, 64 GiB, Darwin 25.1 arm64"]
    }


def test_servers_known_by_address_alone_are_of_the_kind_that_they_say() -> None:
    llama = [{"profile": {"kind": "openai"}, "header": "llama.cpp", "fingerprint": f"b{n}"} for n in (1, 2)]
    other = {"profile": {"kind": "openai"}, "header": "uvicorn", "fingerprint": "fp"}
    assert unlike(report(1, facts=llama[0]), report(2, facts=llama[1])) == {"engine version": ["b1", "b2"]}
    assert unlike(report(1, facts={**llama[0]}), report(2, facts=other)) == {}


def test_what_is_named_is_safe_to_show() -> None:
    (found,) = compare([report(1, model="a\x1b[2J"), report(2, model="b")]).unlike
    assert found.values == ["a␛[2J", "b"]


def test_the_setup_of_a_run_in_words() -> None:
    told = setup_of(report(facts={"settings": {"slots": 4}, "version": "b1"}))
    assert told["slots"] == "4"
    assert told["sampling"] == "temperature 0"
    assert told["engine version"] == "b1"
    assert "context" not in told


# How it is shown.


def drawn(view: RenderableType, width: int) -> list[str]:
    console = Console(width=width, no_color=True, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(view)
    return [line.rstrip() for line in captured.get().splitlines()]


def three(**first: Any) -> Comparison:
    figures: list[dict[str, Distribution | float | None]] = [
        {"ttft_ms": spread(20.0), "success_rate": 1.0, "server_private_bytes": spread(1, 1 << 30), "queue_ms": None},
        {"ttft_ms": spread(25.0), "success_rate": 0.5, "server_private_bytes": spread(1, 3 << 29), "queue_ms": 2.0},
        {"ttft_ms": spread(20.0), "success_rate": 1.0, "server_private_bytes": spread(1, 1 << 29), "queue_ms": None},
    ]
    reports = [report(n, name, own) for n, (name, own) in enumerate(zip((A, B, C), figures, strict=True), 1)]
    return compare(reports, replies={1: {"fine": 3}, 2: {"fine": 1, "looping": 2}}, **first)


def test_a_line_holds_figure_difference_and_ratio() -> None:
    lines = drawn(compare_view(three(), every=True, width=120), 120)
    (ttft,) = [line for line in lines if line.startswith("Time to first token")]
    assert ttft.split() == [
        "Time",
        "to",
        "first",
        "token",
        "ms",
        "20.0",
        "25.0",
        "+5.00",
        "×1.25",
        "▼",
        "20.0",
        "0",
        "=",
    ]
    (rate,) = [line for line in lines if line.startswith("Success rate")]
    assert rate.split() == ["Success", "rate", "%", "100.0", "50.0", "-50.0", "×0.500", "▼", "100.0", "0", "="]
    (memory,) = [line for line in lines if line.startswith("Private memory")]
    shown = "1.00 GiB 1.50 GiB +512.0 MiB ×1.50 ▼ 512.0 MiB -512.0 MiB ×0.500 ▲"
    assert " ".join(memory.split()[2:]) == shown
    assert any(line.startswith("Queue time") and line.split()[3:] == ["–", "2.00", "–", "–", "–"] for line in lines)


def test_where_it_is_narrow_differences_stand_below_the_figures() -> None:
    lines = drawn(compare_view(three(), every=True, width=80), 80)
    at = next(index for index, line in enumerate(lines) if line.startswith("Time to first token"))
    assert lines[at].split()[-3:] == ["20.0", "25.0", "20.0"]
    assert lines[at + 1].split() == ["+5.00", "×1.25", "▼", "0", "="]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_it_fits_whatever_the_width(width: int, count: int) -> None:
    names = ["a server with a rather long name (CPU stand-in)", *(f"127.0.0.1:{8000 + n}" for n in range(count - 1))]
    runs = [report(n, name, {"ttft_ms": spread(12345.0 * n)}) for n, name in enumerate(names, 1)]
    lines = drawn(compare_view(compare(runs), width=width), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert all(f"run {n}" in text for n in range(1, count + 1))
    assert text.count("baseline") >= 1


def test_the_baseline_stands_first_in_every_table() -> None:
    lines = drawn(compare_view(compare([report(n, f"server-{n}") for n in range(1, 7)], 3), width=70), 70)
    heads = [line.split() for line in lines if "run 3" in line]
    assert len(heads) > 1
    assert all(head[:2] == ["run", "3"] for head in heads)


def test_flagged_replies_and_what_is_not_alike_are_said() -> None:
    text = "\n".join(drawn(compare_view(three(baseline=2), width=120), 120))
    assert "Replies" in text
    assert "1 fine, 2" in text
    assert "! 2 of 3 replies of mlx-lm loop: their speed says little" in text
    found = compare([report(1, A, setup={"rounds": 2}), report(2, B), report(3, C)])
    assert unlike_text(found, found.unlike[0]) == f"rounds: 2 on {A}; 1 on {B}, {C}"
    assert f"≠ rounds: 2 on {A}; 1 on {B}, {C}" in "\n".join(drawn(compare_view(found, width=120), 120))


def test_a_run_that_is_not_sound_keeps_its_state() -> None:
    runs = [report(1), report(2, B, valid=False), report(3, C, status="interrupted")]
    lines = drawn(compare_view(compare(runs), width=120), 120)
    (state,) = [line for line in lines if line.startswith("State")]
    assert state.split() == ["State", "done", "not", "valid", "interrupted"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_says_why_and_judges_nothing_that_is_measured_unlike(width: int) -> None:
    late = "invalid: calls were sent up to 9.0 ms late"
    runs = [
        report(1, A, {"prefill_tps": spread(10.0)}, prefill_source="server"),
        report(2, B, {"prefill_tps": spread(30.0)}, prefill_source="ttft", valid=False, warnings=[late]),
    ]
    lines = drawn(compare_view(compare(runs), width=width), width)
    (prefill,) = [line for line in lines if line.startswith("Prefill speed")]
    assert prefill.split()[-3:] == ["+20.0", "×3.00", "≠"]
    assert f"! {B}: not valid: calls were sent up to 9.0 ms late" in lines
    assert "≠ not measured alike" in " ".join(lines)
    assert "≠ not measured" not in " ".join(drawn(compare_view(three(), width=width), width))


def test_names_are_no_markup() -> None:
    text = "\n".join(drawn(compare_view(compare([report(1, "[red]x\x1b[0m"), report(2, B)]), width=120), 120))
    assert "[red]x␛[0m" in text


# The command.


def test_compare_reads_what_run_has_kept(infertui: Command, served: Callable[..., Server]) -> None:
    slow, fast = served(tokens=8, gap_ms=8).address, served(tokens=8, gap_ms=2).address
    for url in (slow, fast):
        infertui.run_json(
            "--attach", url, "--model", "mock", "-n", "3", "--max-tokens", "8", "--label", f"at {url[-5:]}"
        )
    ran = infertui("compare", "1", "last")
    assert ran.returncode == 0, ran.stderr
    assert "Time to first token" in ran.stdout
    assert "3 fine" in ran.stdout
    found = infertui.json("compare", f"at {slow[-5:]}", "2")["comparison"]
    assert (found["baseline"], [run["id"] for run in found["runs"]]) == (1, [1, 2])
    (e2e,) = [each for each in found["runs"][1]["differences"] if each["key"] == "e2e_ms"]
    assert e2e["better"] == "better"
    assert e2e["value"] == found["runs"][1]["metrics"]["e2e_ms"]["p50"]
    assert e2e["difference"] == pytest.approx(e2e["value"] - e2e["baseline"])
    assert found["runs"][0]["replies"] == {"fine": 3}
    assert {each["key"] for each in found["runs"][0]["differences"]} <= set(METRICS)
    other = json.loads(infertui("compare", "1", "2", "--baseline", "2", "--format", "json").stdout)["comparison"]
    assert other["baseline"] == 2


def test_compare_with_wrong_words(infertui: Command, served: Callable[..., Server]) -> None:
    infertui.run_json("--attach", served(tokens=4).address, "--model", "mock", "-n", "1", "--max-tokens", "4")
    for flags, said in (
        (("1",), "a comparison needs two runs"),
        (("1", "1"), "run 1 is named twice"),
        (("1", "7"), "no run '7'"),
        (("1", "last"), "run 1 is named twice"),
        (("1", "2", "--json", "--format", "md"), "--json and --format md say different things"),
    ):
        ran = infertui("compare", *flags)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert said in ran.stderr
        assert len(ran.stderr.splitlines()) == 1


def test_a_baseline_has_to_be_one_of_the_runs(infertui: Command, served: Callable[..., Server]) -> None:
    url = served(tokens=4).address
    for _ in range(3):
        infertui.run_json("--attach", url, "--model", "mock", "-n", "1", "--max-tokens", "4")
    ran = infertui("compare", "1", "2", "--baseline", "3")
    assert ran.returncode == 2
    assert "the baseline '3' is none of the runs" in ran.stderr


def test_loops_are_said_of_a_run_in_the_database(tmp_path: Path) -> None:
    from infertui.store import Store
    from tests.test_store import a_run, record

    path = tmp_path / "results.db"
    with Store(path) as db:
        for said in ("a fine answer", "on and on " * 40):
            run = a_run(db, setup=json.dumps(SETUP))
            call = record(
                f"r{run}", reply_hash=f"h{run}", finish="stop", send_ns=20, first_ns=30, last_ns=40, ttft_ms=0.1
            )
            write_reply(path, run, call, said)
        found = of_store(db, ["1", "2"])
    assert [column.replies for column in found.columns] == [{"fine": 1}, {"looping": 1}]
    assert found.warnings == ["1 of 1 replies of name #2 loops: their speed says little"]


def write_reply(path: Path, run: int, call: Any, text: str) -> None:
    from array import array

    from infertui.store import Writer

    writer = Writer(path)
    writer.call(run, call, (array("I"), array("I"), array("I")), b"[]", (text, ""))
    writer.flush()
    writer.close()
