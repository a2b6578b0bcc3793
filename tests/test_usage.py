"""What a run took of its machine, by numbers worked out by hand. Stamps are given in seconds from an arbitrary zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf, nan
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infertui.config import read
from infertui.errors import UsageError
from infertui.metric import CallRecord, wall_ns
from infertui.sample import SERIES, Sample
from infertui.span import Spans, best, growth, observed
from infertui.stats import Distribution
from infertui.usage import SHOWN, Cost, Energy, Known, Saturated, Usage, headline, usage, windows

S = 1_000_000_000
ZERO = 7_000 * S  # perf_counter_ns has no meaning of its own, so nothing may depend on where it starts
GIB = 2**30
ALONE = Known(concurrency=1)
QUICK = settings(max_examples=60, deadline=None, database=None)


def ns(seconds: float) -> int:
    return ZERO + round(seconds * S)


def sample(start: float | None, end: float, source: str = "a", **values: float | None) -> Sample:
    return Sample(source=source, at_ns=ns(end), since_ns=None if start is None else ns(start), values=values)


def samples(
    key: str, values: Iterable[float | None], start: float = 0, step: float = 1, source: str = "a"
) -> list[Any]:
    """One reading after the other, each of `step` seconds."""
    return [sample(start + step * i, start + step * (i + 1), source, **{key: value}) for i, value in enumerate(values)]


def call(
    due: float, last: float | None, *, first: float | None = None, end: float | None = None, **more: Any
) -> CallRecord:
    """A call that is sent when it is due, and whose stream closes with its last token."""
    given: dict[str, Any] = {"name": "c", "role": "measured", "round": 1, "lane": 0, "kind": "router"}
    given |= {"prompt_id": "p", "prompt_hash": "h", "max_tokens": 10, "n_output": 10} | more
    closed = end if end is not None else last
    return CallRecord(
        sched_ns=ns(due),
        send_ns=ns(due),
        first_ns=None if first is None else ns(first),
        last_ns=None if last is None else ns(last),
        end_ns=None if closed is None else ns(closed),
        e2e_ms=None if last is None else (last - due) * 1e3,
        **given,
    )


def spans(*pairs: tuple[float, float]) -> Spans:
    return Spans((ns(start), ns(end)) for start, end in pairs)


def found(key: str, told: Sequence[Sample], over: Spans) -> Distribution | None:
    """The distribution of one series, by the source that is taken."""
    seen = best(observed(told, over, [key]), over)
    return seen[key].distribution() if key in seen else None


def of(told: Sequence[Sample], last: float = 10, known: Known = ALONE, **more: Any) -> Usage:
    """A run of one call from 0 to `last`, of 10 tokens."""
    return usage(told, [call(0, last)], known, **more)


def mean(result: Usage, key: str) -> float | None:
    value = result.metrics[key]
    assert isinstance(value, Distribution)
    return value.mean


# The measured rounds.


def test_a_round_is_from_the_first_due_time_to_the_last_end() -> None:
    calls = [
        call(2, 5, end=9),  # a good call ends with its last token
        call(1, None, end=6, outcome="truncated"),
        call(3, 4),
        call(20, 22, round=2),
        call(21, None, round=2, outcome="refused"),
    ]
    assert windows(calls).spans == ((ns(1), ns(6)), (ns(20), ns(22)))
    assert windows(calls).total_ns == wall_ns(calls) == 7 * S


def test_only_measured_calls_make_a_round() -> None:
    others = [call(0, 50, role="warmup"), call(0, 50, role="alone"), call(0, 50, outcome="cancelled")]
    assert windows(others).spans == ()
    assert windows([*others, call(3, 4)]).spans == ((ns(3), ns(4)),)


def test_spans_are_sorted_and_those_that_overlap_are_one() -> None:
    assert spans((5, 6), (1, 3), (2, 4), (4, 4.5), (8, 8), (9, 7)).spans == ((ns(1), ns(4.5)), (ns(5), ns(6)))
    assert spans((1, 9), (2, 3), (4, 5)).total_ns == 8 * S


@pytest.mark.parametrize(
    ("start", "end", "within"),
    [(0, 1, 0), (0, 2, 1), (1, 3, 2), (1.5, 2, 0.5), (3, 5, 0), (2, 6, 2), (0, 20, 4), (7, 9, 0), (6.5, 7.5, 0.5)],
)
def test_how_much_of_a_time_lies_in_the_spans(start: float, end: float, within: float) -> None:
    assert spans((1, 3), (5, 7)).within(ns(start), ns(end)) == within * S


# Means and peaks.


def test_a_sample_at_the_edge_counts_with_the_part_that_lies_inside() -> None:
    # window 1.5–3: of (0, 2] 0.5 s, of (2, 4] 1 s: (0.5 · 10 + 1 · 40) / 1.5 = 30
    told = [sample(0, 2, gpu_percent=10), sample(2, 4, gpu_percent=40)]
    # the first lies outside for three quarters, so only the second has a say in peaks
    assert found("gpu_percent", told, spans((1.5, 3))) == Distribution(1, mean=30, min=40, p50=40, max=40)


def test_a_sample_of_which_half_lies_inside_sets_a_peak() -> None:
    told = [sample(0, 2, gpu_percent=10), sample(2, 4, gpu_percent=40)]
    assert found("gpu_percent", told, spans((1, 3))) == Distribution(2, mean=25, min=10, p50=25, max=40)


def test_a_pause_between_rounds_counts_for_nothing() -> None:
    # rounds 0–2 and 6–8; the pause is at 100 %
    told = samples("machine_cpu_percent", [10, 20, 100, 100, 100, 100, 30, 40])
    value = found("machine_cpu_percent", told, spans((0, 2), (6, 8)))
    assert value == Distribution(4, mean=25, min=10, p50=25, max=40)


def test_one_sample_over_several_rounds_counts_with_all_of_them() -> None:
    # (0, 10] lies with 3 + 3 s in the rounds, (10, 20] with 2 s: (6 · 50 + 2 · 10) / 8 = 40
    told = [sample(0, 10, gpu_percent=50), sample(10, 20, gpu_percent=10)]
    assert found("gpu_percent", told, spans((0, 3), (5, 8), (10, 12))) == Distribution(
        1, mean=40, min=50, p50=50, max=50
    )


def test_long_samples_weigh_more_than_short_ones() -> None:
    # 3 s at 10, 1 s at 50: (30 + 50) / 4 = 20, though the plain mean is 30
    told = [sample(0, 3, ram_used_bytes=10), sample(3, 4, ram_used_bytes=50)]
    assert found("ram_used_bytes", told, spans((0, 4))) == Distribution(2, mean=20, min=10, p50=30, max=50)


def test_what_is_unknown_is_left_out_and_not_counted_as_zero() -> None:
    told = samples("gpu_percent", [80, None, nan, inf, 40])
    assert found("gpu_percent", told, spans((0, 5))) == Distribution(2, mean=60, min=40, p50=60, max=80)


def test_the_order_of_the_samples_does_not_matter() -> None:
    told = samples("gpu_percent", [80, 10, 40])
    assert found("gpu_percent", told[::-1], spans((0, 3))) == found("gpu_percent", told, spans((0, 3)))


def test_time_that_two_samples_of_a_source_tell_of_is_counted_once() -> None:
    # (0, 2] at 10, (1, 4] at 40 counts from 2 on: (2 · 10 + 2 · 40) / 4 = 25
    told = [sample(0, 2, gpu_percent=10), sample(1, 4, gpu_percent=40)]
    value = found("gpu_percent", told, spans((0, 4)))
    assert value is not None
    assert value.mean == 25


def test_the_first_level_of_a_source_has_no_weight_and_still_a_say_in_the_peak() -> None:
    told = [sample(None, 1, ram_used_bytes=90), sample(1, 2, ram_used_bytes=10)]
    assert found("ram_used_bytes", told, spans((0, 2))) == Distribution(2, mean=10, min=10, p50=50, max=90)


def test_levels_that_cover_no_time_have_a_plain_mean() -> None:
    told = [sample(None, 1, "a", ram_used_bytes=90), sample(None, 5, "b", ram_used_bytes=10)]
    assert found("ram_used_bytes", told[:1], spans((0, 2))) == Distribution(1, mean=90, min=90, p50=90, max=90)
    assert found("ram_used_bytes", told[1:], spans((0, 2))) == Distribution(0)


def test_a_rate_without_a_span_is_unknown() -> None:
    assert found("gpu_percent", [sample(None, 1, gpu_percent=50)], spans((0, 2))) is None
    assert found("gpu_percent", [sample(1, 1, gpu_percent=50)], spans((0, 2))) is None


def test_of_two_sources_of_a_series_the_one_that_covers_more_is_taken_alone() -> None:
    # b tells 4 of 10 s at 90, a 8 of 10 s at 20
    told = [*samples("gpu_percent", [20] * 8, source="a"), *samples("gpu_percent", [90] * 4, source="b")]
    for order in (told, told[::-1]):
        assert found("gpu_percent", order, spans((0, 10))) == Distribution(8, mean=20, min=20, p50=20, max=20)


def test_of_two_sources_that_cover_enough_the_one_that_tells_more_is_taken() -> None:
    # "zoo" covers 9.9 s of 10 and knows of the GPU's power too; "all" covers everything and knows one thing
    told = samples("gpu_percent", [60] * 10, source="all")
    told += [sample(0, 9.9, "zoo", gpu_percent=40, gpu_power_w=20, gpu_temperature_c=50)]
    over = spans((0, 10))
    seen = best(observed(told, over, ["gpu_percent", "gpu_power_w", "gpu_temperature_c"]), over)
    assert {key: each.source for key, each in seen.items()} == dict.fromkeys(seen, "zoo")
    told[-1] = sample(0, 9.4, "zoo", gpu_percent=40, gpu_power_w=20, gpu_temperature_c=50)  # 94 % is not enough
    assert best(observed(told, over, ["gpu_percent", "gpu_power_w"]), over)["gpu_percent"].source == "all"


@given(
    values=st.lists(st.floats(0, 1e6), min_size=1, max_size=12),
    lengths=st.lists(st.integers(1, 10**10), min_size=12, max_size=12),
    cut=st.tuples(st.integers(0, 11), st.floats(0, 1)),
    edges=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@QUICK
def test_a_sample_cut_in_two_changes_no_mean(
    values: list[float], lengths: list[int], cut: tuple[int, float], edges: tuple[float, float]
) -> None:
    stamps = [ZERO]
    for length in lengths[: len(values)]:
        stamps.append(stamps[-1] + length)
    told = [
        Sample(source="a", at_ns=end, since_ns=start, values={"gpu_percent": value})
        for (start, end), value in zip(pairwise(stamps), values, strict=True)
    ]
    at = cut[0] % len(told)
    whole = told[at]
    assert whole.since_ns is not None
    middle = whole.since_ns + round((whole.at_ns - whole.since_ns) * cut[1])
    parts = [msgspec.structs.replace(whole, at_ns=middle), msgspec.structs.replace(whole, since_ns=middle)]
    start, end = sorted(ZERO + round((stamps[-1] - ZERO) * edge) for edge in edges)
    over = Spans([(start, end)])
    before = observed(told, over, ["gpu_percent"])["gpu_percent"]["a"]
    after = observed([*told[:at], *parts, *told[at + 1 :]], over, ["gpu_percent"])["gpu_percent"]["a"]
    assert after.covered_ns == before.covered_ns == end - start
    assert after.product == pytest.approx(before.product)
    if before.covered_ns:
        assert min(values) * (1 - 1e-9) <= (before.mean or 0) <= max(values) * (1 + 1e-9)


# Counters.


def whole(told: list[Sample], over: Spans) -> float | None:
    grown = growth(told, "swapouts", over)
    return None if grown is None else grown.whole


def test_a_counter_grows_by_what_came_in_the_rounds() -> None:
    # rounds 1–3 and 4–6 of readings each second: 5 + 5 and 1 + 2; what came before, between and after is not counted
    told = [sample(at - 1, at, swapouts=value) for at, value in enumerate([0, 100, 105, 110, 150, 151, 153, 999])]
    assert whole(told, spans((1, 3), (4, 6))) == 13


def test_a_counter_that_falls_starts_anew() -> None:
    assert whole(samples("swapouts", [100, 103, 2, 6]), spans((0, 4))) == 3 + 4


def test_a_counter_is_followed_over_a_reading_that_failed() -> None:
    assert whole(samples("swapouts", [100, None, nan, 107]), spans((0, 4))) == 7


def test_what_a_counter_grew_by_at_the_edge_is_told_in_whole_and_by_the_part_of_its_time() -> None:
    told = [sample(None, 0, swapouts=0), sample(0, 2, swapouts=10), sample(2, 4, swapouts=40)]
    grown = growth(told, "swapouts", spans((1.5, 3)))
    assert grown is not None
    assert grown.whole == 40
    assert grown.share == pytest.approx(10 * 0.5 / 2 + 30 * 1 / 2)
    assert grown.seen_ns == 1.5e9


def test_a_counter_that_was_not_read_twice_tells_nothing() -> None:
    assert growth([], "swapouts", spans((0, 4))) is None
    assert growth(samples("swapouts", [100]), "swapouts", spans((0, 4))) is None
    assert growth(samples("swapouts", [100, 200]), "swapouts", spans((8, 9))) is None
    assert whole(samples("swapouts", [100, 100]), spans((0, 4))) == 0


def test_a_counter_of_two_sources_is_taken_from_one() -> None:
    told = [*samples("swapouts", [0, 9], source="a"), *samples("swapouts", [0, 1, 2], source="b")]
    assert whole(told, spans((0, 4))) == 2


# Figures of the server and of the machine.


def test_every_series_that_was_seen_has_a_distribution_and_no_other_has() -> None:
    values = dict.fromkeys(SERIES, 5.0)
    told = [sample(i, i + 1, **values) for i in range(10)]
    metrics = of(told, known=msgspec.structs.replace(ALONE, gpu_before_bytes=3)).metrics
    made = {"memory_bytes": 10.0, "gpu_growth_bytes": 2.0}  # private + mapped; in use now − before
    assert all(key in SERIES or key in made for key in SHOWN)
    for key in SHOWN:
        worth = made.get(key, 5.0)
        assert metrics[key] == Distribution(10, mean=worth, min=worth, p50=worth, p90=worth, max=worth)
    assert set(metrics) - set(SHOWN) == {
        "server_peak_bytes",
        "energy_j",
        "joules_per_token",
        "tokens_per_wh",
        "net_joules_per_token",
        "net_tokens_per_wh",
        "idle_power_w",
    }
    assert set(of(samples("gpu_percent", [1, 2])).metrics) == {"gpu_percent"}
    assert of([]).metrics == {}


def test_memory_is_private_and_mapped_of_the_same_sample_without_the_gpu() -> None:
    told = [
        sample(i, i + 1, server_private_bytes=private * GIB, server_mapped_bytes=4 * GIB, server_gpu_bytes=9 * GIB)
        for i, private in enumerate((1, 3))
    ]
    result = of(told, 2, Known(mapped_bytes=50 * GIB))  # the system can tell, so what is declared is not needed
    expected = Distribution(2, mean=6.0 * GIB, min=5.0 * GIB, p50=6.0 * GIB, max=7.0 * GIB)
    assert result.metrics["memory_bytes"] == expected
    assert result.notes == ()


@pytest.mark.parametrize(
    ("mapped", "gib", "note"),
    [
        (5 * GIB // 2, 3.5, "memory: 2.5 GiB of it are mapped weights, by the size of their file"),
        (10 * 2**20, 1 + 10 / 1024, "memory: 10 MiB of it are mapped weights, by the size of their file"),
        (0, 1, None),  # it is known to map none
        (None, 1, "memory is the private one alone: what the server maps of its weights is not known"),
    ],
)
def test_memory_where_the_system_cannot_tell_what_is_mapped(mapped: int | None, gib: float, note: str | None) -> None:
    told = [sample(0, 2, server_private_bytes=GIB, server_mapped_bytes=None)]
    result = of(told, 2, Known(mapped_bytes=mapped))
    assert mean(result, "memory_bytes") == gib * GIB
    assert list(result.notes) == ([] if note is None else [note])


def test_the_peak_is_the_greatest_that_was_seen_at_any_time() -> None:
    told = [sample(i, i + 1, server_peak_bytes=value) for i, value in enumerate([7, None, 12, 9, nan])]
    assert of(told, 2).metrics["server_peak_bytes"] == 12  # after the round: it is since the process began
    assert "server_peak_bytes" not in of(samples("server_peak_bytes", [None, 0])).metrics


# At the first token.


def test_memory_at_a_first_token_is_of_the_newest_reading_before_it() -> None:
    told = [sample(i - 1, i, server_private_bytes=10 * i) for i in range(1, 6)]
    told += [sample(3.2, 3.8, "other", server_private_bytes=999), sample(0, 5, server_private_bytes=None)]
    calls = [
        call(0.5, 5, first=3.9),  # the reading at 3: 30
        call(0.5, 5, first=4),  # at the very reading: 40
        call(0.5, 9, first=7),  # 2 s after the last reading: 50
        call(0.5, 9, first=7.1),  # older than that
        call(0.5, 9, first=0.6),  # before there was any
        call(0.5, 9),  # all in one piece: no first token
        call(0.5, None, first=2, end=9, outcome="truncated"),
        call(0.5, 9, first=2, role="warmup"),
    ]
    value = usage(told, calls, ALONE).metrics["first_token_memory_bytes"]
    assert value == Distribution(3, mean=40, min=30, p50=40, max=50)


def test_memory_at_a_first_token_may_have_been_read_before_the_round() -> None:
    told = [*samples("server_private_bytes", [10, 20, 30]), sample(None, 0, server_mapped_bytes=5)]
    told = [msgspec.structs.replace(each, values={**each.values, "server_mapped_bytes": 5}) for each in told]
    metrics = usage(told, [call(1.2, 1.9, first=1.4)], ALONE).metrics
    assert metrics["first_token_memory_bytes"] == Distribution(1, mean=15, min=15, p50=15, max=15)


def test_cpu_at_a_first_token_is_of_the_sample_that_it_lies_in() -> None:
    told = samples("server_cpu_percent", [100, 200, None, 400])  # nothing is known of 2–3
    told += [sample(4.5, 5.5, server_cpu_percent=900), sample(2.2, 2.7, "other", server_cpu_percent=900)]
    calls = [call(0, 5, first=first) for first in (0.5, 1, 1.1, 2, 2.5, 3.5, 4.5)]
    value = usage(told, calls, ALONE).metrics["first_token_cpu_percent"]
    # 0.5 and 1: 100; 1.1 and 2: 200; 2.5: unknown; 3.5: 400; 4.5: the next one begins after it
    assert value == Distribution(5, mean=200, min=100, p50=200, max=400)


def test_what_was_not_seen_at_a_first_token_has_no_key() -> None:
    told = [*samples("server_cpu_percent", [100, 200]), *samples("server_private_bytes", [1, 2])]
    assert not [key for key in usage(told, [call(0, 2)], ALONE).metrics if key.startswith("first_token")]
    assert not [key for key in usage([], [call(0, 2, first=1)], ALONE).metrics if key.startswith("first_token")]


# Energy.


def test_energy_is_power_by_time_over_the_rounds_alone() -> None:
    # rounds 0–4 and 6–10; the pause at 100 W; 20 W · 4 s + 30 W · 4 s = 200 J for 10 + 40 tokens
    told = samples("gpu_power_w", [20, 20, 20, 20, 100, 100, 30, 30, 30, 30])
    calls = [call(0, 4, n_output=10), call(6, 10, round=2, n_output=40)]
    result = usage(told, calls, ALONE)
    assert result.energy == (Energy(label="gpu", joules=200, coverage=1, samples=8),)
    metrics = result.metrics
    assert metrics["energy_j"] == 200
    assert metrics["joules_per_token"] == 4
    assert metrics["tokens_per_wh"] == 900  # 3600 / 4
    assert (metrics["idle_power_w"], metrics["net_joules_per_token"], metrics["net_tokens_per_wh"]) == (
        None,
        None,
        None,
    )
    assert result.notes == ()


def test_samples_at_the_edges_of_a_round_give_their_share_of_energy() -> None:
    # round 0.5–4.25: 0.5 s · 10 W + 20 + 30 + 40 + 0.25 s · 80 W = 115 J
    told = samples("gpu_power_w", [10, 20, 30, 40, 80])
    (energy,) = usage(told, [call(0.5, 4.25)], ALONE).energy
    assert energy.joules == pytest.approx(115)
    assert energy.samples == 4  # of the last one, most lies outside


def test_a_power_that_is_unknown_or_zero_in_the_middle_leaves_a_gap() -> None:
    for gap in (None, 0.0, -1.0, nan):
        result = of(samples("gpu_power_w", [10] * 5 + [gap] + [10] * 4))
        assert result.energy == (
            Energy(label="gpu", joules=None, coverage=0.9, samples=9, reason="power was known for 90 % of the time"),
        )
        assert result.metrics["gpu_power_w"] == Distribution(9, mean=10, min=10, p50=10, max=10)
        assert result.metrics["energy_j"] is result.metrics["joules_per_token"] is None
        assert "power was known for 90 % of the time: no energy figure" in result.notes


@pytest.mark.parametrize(("last", "joules"), [(0.95, 95.0), (0.94, None)])
def test_energy_needs_a_power_that_is_known_for_95_percent_of_the_time(last: float, joules: float | None) -> None:
    # of each of ten seconds so much, at 10 W
    told = [sample(i, i + last, gpu_power_w=10) for i in range(10)]
    (energy,) = of(told).energy
    assert energy.coverage == pytest.approx(last)
    assert energy.joules == (None if joules is None else pytest.approx(joules))
    assert energy.reason == ("" if joules else "power was known for 94 % of the time")


@pytest.mark.parametrize(("n", "joules"), [(4, 80.0), (3, None)])
def test_energy_needs_four_samples(n: int, joules: float | None) -> None:
    (energy,) = of(samples("soc_power_w", [10] * n, step=8 / n), 8).energy
    assert (energy.joules, energy.coverage, energy.samples) == (joules, 1, n)
    assert energy.reason == ("" if joules else "there are 3 samples of power, and 4 are needed")


def test_the_headline_is_of_the_first_label_whose_energy_is_known() -> None:
    def told(**watts: float) -> list[Sample]:
        return [sample(i, i + 1, **{f"{label}_power_w": watt for label, watt in watts.items()}) for i in range(10)]

    result = of(told(system=40, package=8, gpu=20, soc=30))
    assert [(each.label, each.joules) for each in result.energy] == [
        ("soc", 300),
        ("gpu", 200),
        ("package", 80),
        ("system", 400),
    ]
    assert headline(result.energy) == result.energy[0]
    assert result.metrics["joules_per_token"] == 30
    result = of(told(system=40, package=8, gpu=20))
    assert result.metrics["energy_j"] == 200
    # the chip's own meter died half-way
    result = of([*told(soc=30, system=40)[:5], *told(soc=0, system=40)[5:]])
    assert [(each.label, each.joules) for each in result.energy] == [("soc", None), ("system", 400)]
    assert result.metrics["energy_j"] == 400
    assert not any("no energy figure" in note for note in result.notes)


def test_two_meters_of_one_power_are_never_added() -> None:
    told = [*samples("gpu_power_w", [10] * 10, source="a"), *samples("gpu_power_w", [11] * 9, source="b")]
    assert [each.joules for each in of(told).energy] == [100]


def test_without_a_power_there_is_no_energy_figure_at_all() -> None:
    result = of(samples("gpu_power_w", [0.0, None] * 5))  # a dead meter
    assert result.energy == ()
    assert result.metrics == {}
    assert headline(result.energy) is None


def test_a_power_that_was_only_known_before_the_round_is_said_to_be_missing() -> None:
    result = usage(samples("gpu_power_w", [10] * 5), [call(5, 9)], ALONE, idle=[(ns(0), ns(5))])
    (energy,) = result.energy
    assert (energy.joules, energy.coverage, energy.samples, energy.idle_w) == (None, 0, 0, 10)
    assert energy.reason == "power was known for 0 % of the time"
    assert result.metrics["energy_j"] is None


@pytest.mark.parametrize("tokens", [0, None])
def test_energy_for_a_token_needs_tokens(tokens: int | None) -> None:
    result = usage(samples("gpu_power_w", [10] * 5), [call(0, 5, n_output=tokens)], ALONE, cost=Cost(usd_per_hour=1))
    assert result.metrics["energy_j"] == 50
    for key in ("joules_per_token", "tokens_per_wh", "net_joules_per_token", "net_tokens_per_wh", "rent_cost_mtok"):
        assert result.metrics[key] is None


def test_tokens_that_are_not_known_of_every_call_are_not_known() -> None:
    calls = [call(0, 5), call(0, 5, n_output=None), call(0, None, end=4, n_output=None, outcome="truncated")]
    result = usage(samples("gpu_power_w", [10] * 5), calls, ALONE)
    assert (result.metrics["energy_j"], result.metrics["joules_per_token"]) == (50, None)
    assert result.notes == ("output tokens of 1 of 2 calls are not known: no energy and no cost for a token",)


def test_tokens_of_calls_that_failed_or_were_not_measured_do_not_count() -> None:
    calls = [call(0, 5), call(0, None, end=5, outcome="truncated"), call(0, 5, role="warmup")]
    assert usage(samples("gpu_power_w", [10] * 5), calls, ALONE).metrics["joules_per_token"] == 5  # 50 J / 10


@given(
    watts=st.floats(0.001, 1e4),
    cuts=st.lists(st.integers(1, 10 * S - 1), min_size=3, max_size=40, unique=True),
    edges=st.tuples(st.integers(-S, 0), st.integers(10 * S, 11 * S)),
    pause=st.tuples(st.integers(S, 4 * S), st.integers(5 * S, 9 * S)),
)
@QUICK
def test_energy_of_a_constant_power_is_power_by_time_however_it_is_sampled(
    watts: float, cuts: list[int], edges: tuple[int, int], pause: tuple[int, int]
) -> None:
    stamps = [edges[0], *sorted(cuts), edges[1]]
    told = [
        Sample(source="a", at_ns=ZERO + end, since_ns=ZERO + start, values={"soc_power_w": watts})
        for start, end in pairwise(stamps)
    ]
    calls = [call(0, pause[0] / S), call(pause[1] / S, 10, round=2)]
    (energy,) = usage(told, calls, ALONE).energy
    assert energy.coverage == 1
    if energy.samples >= 4:
        assert energy.joules == pytest.approx(watts * (10 * S - pause[1] + pause[0]) / S)
    else:
        assert energy.joules is None


# Above idle.


def test_net_energy_is_what_was_above_idle() -> None:
    # idle 10 s at 4, 6, 4, 6, 5, … = 5 W; the run 10 s at 30 W = 300 J, of which 50 J idle: 250 J / 10 tokens
    told = samples("soc_power_w", [4, 6] * 5 + [30] * 10)
    result = usage(told, [call(10, 20)], ALONE, idle=[(ns(0), ns(10))])
    (energy,) = result.energy
    assert (energy.idle_w, energy.idle_s) == (5, 10)
    assert energy.idle_sd_w == pytest.approx((10 / 9) ** 0.5)  # ten values, each 1 from their mean
    metrics = result.metrics
    assert metrics["idle_power_w"] == 5
    assert metrics["joules_per_token"] == 30
    assert metrics["net_joules_per_token"] == pytest.approx(25)
    assert metrics["net_tokens_per_wh"] == pytest.approx(144)  # 3600 / 25


def test_where_a_power_has_a_gap_idle_is_taken_off_only_for_the_time_it_was_known() -> None:
    # 9.6 of 10 s known: 192 J, and 5 W · 9.6 s = 48 J of it idle
    told = samples("soc_power_w", [5] * 4) + [sample(4 + i, 4.96 + i, soc_power_w=20) for i in range(10)]
    metrics = usage(told, [call(4, 14)], ALONE, idle=[(ns(0), ns(4))]).metrics
    assert metrics["energy_j"] == pytest.approx(192)
    assert metrics["net_joules_per_token"] == pytest.approx(14.4)


def test_idle_power_is_weighed_by_time_over_all_idle_spans() -> None:
    # (0, 3] at 4 W counts 2 s, then 1 s each at 7, 7, 10; 8 + 24 = 32 J in 5 s
    told = [sample(0, 3, soc_power_w=4), *samples("soc_power_w", [7, 7, 100, 10], start=3)]
    told += samples("soc_power_w", [20] * 10, start=10)
    (energy,) = usage(told, [call(10, 20)], ALONE, idle=[(ns(1), ns(5)), (ns(6), ns(7))]).energy
    assert (energy.idle_w, energy.idle_s) == (pytest.approx(6.4), 5)
    assert energy.idle_sd_w == pytest.approx(6**0.5)  # 4, 7, 7, 10: mean 7, squares 9 + 0 + 0 + 9 over 3


def test_idle_power_needs_four_samples_of_the_same_meter() -> None:
    run = samples("soc_power_w", [20] * 10, start=10)
    few = usage([*samples("soc_power_w", [5] * 3), *run], [call(10, 20)], ALONE, idle=[(ns(0), ns(10))])
    assert (few.energy[0].idle_w, few.energy[0].idle_sd_w, few.energy[0].idle_s) == (None, None, 3)
    assert few.metrics["net_joules_per_token"] is None
    other = usage([*samples("soc_power_w", [5] * 9, source="b"), *run], [call(10, 20)], ALONE, idle=[(ns(0), ns(10))])
    assert (other.energy[0].idle_w, other.energy[0].idle_s) == (None, 0)


def test_a_run_that_took_no_more_than_idle_has_no_net_figure() -> None:
    result = usage(samples("soc_power_w", [20] * 20), [call(10, 20)], ALONE, idle=[(ns(0), ns(10))])
    assert (result.metrics["net_joules_per_token"], result.metrics["net_tokens_per_wh"]) == (None, None)
    assert result.metrics["joules_per_token"] == 20
    assert result.notes == ("the power was no higher than when idle: no figure above idle",)


# Cost.


def test_the_power_of_a_gpu_that_had_nothing_to_do_is_not_the_runs() -> None:
    told = [sample(i, i + 1, gpu_power_w=15, package_power_w=120, gpu_percent=0) for i in range(10)]
    result = of(told)
    assert result.metrics["energy_j"] == pytest.approx(1200)
    assert [each.reason for each in result.energy] == ["the GPU had nothing to do: its power is not the run's", ""]
    alone = [sample(i, i + 1, gpu_power_w=15, gpu_percent=0) for i in range(10)]
    assert of(alone).metrics["joules_per_token"] is None
    busy = [sample(i, i + 1, gpu_power_w=15, package_power_w=120, gpu_percent=3) for i in range(10)]
    assert of(busy).metrics["energy_j"] == pytest.approx(150)


def test_idle_power_needs_to_be_known_for_all_of_the_idle_time() -> None:
    told = [sample(i, i + 1, gpu_power_w=10) for i in range(10)]
    rest = [sample(i, i + 1, gpu_power_w=2 if i < -16 else 0) for i in range(-20, 0)]
    (energy,) = of([*rest, *told], idle=[(ns(-20), ns(0))]).energy
    assert (energy.idle_w, energy.idle_s) == (None, 4.0)


def test_no_price_no_cost() -> None:
    assert not [key for key in of(samples("gpu_power_w", [36] * 10)).metrics if key.endswith("_mtok")]


def test_what_a_million_tokens_cost() -> None:
    # 36 W · 10 s / 10 tokens = 36 J = 1e-5 kWh a token, at 0.25 $: 2.5 $ a million
    # 10 s at 1.8 $ an hour = 0.005 $ for 10 tokens: 500 $ a million
    cost = Cost(electricity_usd_per_kwh=0.25, usd_per_hour=1.8, price_per_token_usd={"m4": 2e-6})
    metrics = of(samples("gpu_power_w", [36] * 10), known=Known(hardware=("Apple M4",)), cost=cost).metrics
    assert metrics["electricity_cost_mtok"] == pytest.approx(2.5)
    assert metrics["rent_cost_mtok"] == pytest.approx(500)
    assert metrics["listed_cost_mtok"] == pytest.approx(2)


def test_rent_is_for_the_rounds_without_the_pauses() -> None:
    # 1 h + 1 h at 3 $ for 20 tokens
    calls = [call(0, 3600), call(9000, 12600, round=2)]
    assert usage([], calls, ALONE, cost=Cost(usd_per_hour=3)).metrics == {"rent_cost_mtok": pytest.approx(300_000)}


def test_electricity_without_an_energy_costs_an_unknown_amount() -> None:
    assert of([], cost=Cost(electricity_usd_per_kwh=0.3)).metrics == {"electricity_cost_mtok": None}


def test_a_price_of_nothing_is_a_price() -> None:
    cost = Cost(electricity_usd_per_kwh=0, usd_per_hour=0)
    metrics = of(samples("gpu_power_w", [36] * 10), cost=cost).metrics
    assert (metrics["electricity_cost_mtok"], metrics["rent_cost_mtok"]) == (0, 0)


@pytest.mark.parametrize(
    ("hardware", "price"),
    [
        (("Apple M4 Max",), 3.0),  # the longest name that occurs
        (("apple m4 pro",), 1.0),
        (("AMD Ryzen 9", "NVIDIA GeForce RTX 4090"), 7.0),
        (("Apple M2",), None),
        ((), None),
    ],
)
def test_a_listed_price_is_that_of_the_longest_name(hardware: tuple[str, ...], price: float | None) -> None:
    cost = Cost(price_per_token_usd={"M4": 1e-6, "M4 MAX": 3e-6, "rtx 4090": 7e-6, "Ryzen": 9e-6})
    result = of([], known=Known(hardware=hardware), cost=cost)
    assert result.metrics == {"listed_cost_mtok": price if price is None else pytest.approx(price)}
    assert ("no price is listed for this hardware" in result.notes) is (price is None)


# What held it back.


def limits(known: Known = ALONE, calls: Sequence[CallRecord] = (), **series: Sequence[float | None]) -> Usage:
    """A run of 4 s with readings of so many series, of one second each."""
    told = [
        sample(i, i + 1, **{key: values[i] for key, values in series.items()})
        for i in range(max(map(len, series.values()), default=0))
    ]
    return usage(told, calls or [call(0, 4)], known)


IDLE = [10.0] * 4


@pytest.mark.parametrize(
    ("series", "known", "found_limits", "why"),
    [
        ({}, ALONE, (), ()),
        (
            {"machine_cpu_percent": [100, 100, 94, 94]},
            ALONE,
            ("CPU",),
            ("CPU: 97 % of all cores (limit 90 %)",),
        ),
        (
            {"machine_cpu_percent": [90] * 4, "server_cpu_percent": [340] * 4},
            Known(cores=4, threads=2, concurrency=1),
            ("CPU",),  # all cores are busy: the server's threads are no limit of their own
            ("CPU: 90 % of all cores (limit 90 %); the server had 85 %",),
        ),
        ({"machine_cpu_percent": [89.9] * 4}, ALONE, (), ()),
        (
            {"cpu_stall_percent": [0, 0, 40, 40]},
            ALONE,
            ("CPU",),
            ("CPU: 20 % of the time a task waited for a core (limit 20 %)",),
        ),
        ({"cpu_stall_percent": [19.9] * 4}, ALONE, (), ()),
        (
            {"cgroup_throttled_ns": [0, 0.4e9, 0.8e9, 1.2e9]},
            ALONE,
            ("CPU",),  # 1.2 of 4 s
            ("CPU: 30 % of the time a limit of CPU time held it back (limit 20 %)",),
        ),
        ({"cgroup_throttled_ns": [0, 0.2e9, 0.4e9, 0.7e9]}, ALONE, (), ()),
        (
            {"server_cpu_percent": [200, 200, 180, 200]},
            Known(threads=2, concurrency=1),
            ("threads",),  # 195 of 200
            ("threads: 98 % of the server's 2 threads (limit 90 %)",),
        ),
        ({"server_cpu_percent": [179] * 4}, Known(threads=2, concurrency=1), (), ()),
        ({"server_cpu_percent": [900] * 4}, ALONE, None, ()),  # how many threads it has is not known
        ({"server_cpu_percent": [89] * 4}, ALONE, (), ()),  # fewer than one cannot be busy
        ({"gpu_percent": [80, 100, 100, 100]}, ALONE, ("GPU",), ("GPU: 95 % of the GPU's time (limit 90 %)",)),
        ({"gpu_percent": [89] * 4}, ALONE, (), ()),
        ({"swapouts": [5, 5, 5, 17]}, ALONE, ("memory",), ("memory: pages went out to swap (12)",)),
        ({"swapouts": [5, 5, 5, 5]}, ALONE, (), ()),
        (
            {"memory_stall_percent": [0, 0, 0, 5]},
            ALONE,
            ("memory",),
            ("memory: 1.2 % of the time all tasks waited for it (limit 1 %)",),
        ),
        ({"memory_stall_percent": [0.9] * 4}, ALONE, (), ()),
        (
            {"ram_used_bytes": [1, 1, 97, 1], "ram_total_bytes": [100] * 4},
            ALONE,
            ("memory",),
            ("memory: 97 % of RAM at its peak (limit 95 %)",),
        ),
        ({"ram_used_bytes": [94] * 4, "ram_total_bytes": [100] * 4}, ALONE, (), ()),
        ({"ram_used_bytes": [99] * 4, "ram_total_bytes": [None] * 4}, ALONE, (), ()),
        (
            {"cgroup_memory_bytes": [10, 10, 10, 39], "cgroup_limit_bytes": [40] * 4},
            ALONE,
            ("memory",),
            ("memory: 98 % of what the cgroup allows, at its peak (limit 95 %)",),
        ),
        ({"cgroup_memory_bytes": [37] * 4, "cgroup_limit_bytes": [40] * 4}, ALONE, (), ()),
        (
            {"memory_pressure": [1, 4, 1, 1]},
            ALONE,
            ("memory",),
            ("memory: the system called its pressure critical",),
        ),
        ({"memory_pressure": [2] * 4}, ALONE, (), ()),
        (
            {
                "gpu_percent": [100] * 4,
                "machine_cpu_percent": [95] * 4,
                "swapouts": [0, 1, 1, 1],
                "memory_pressure": [4] * 4,
            },
            ALONE,
            ("CPU", "GPU", "memory"),
            (
                "CPU: 95 % of all cores (limit 90 %)",
                "GPU: 100 % of the GPU's time (limit 90 %)",
                "memory: pages went out to swap (1); the system called its pressure critical",
            ),
        ),
    ],
)
def test_what_is_saturated_is_said_with_figure_and_threshold(
    series: dict[str, Sequence[float | None]], known: Known, found_limits: tuple[str, ...], why: tuple[str, ...]
) -> None:
    result = limits(known, **{"machine_cpu_percent": IDLE, **series})
    assert (result.limits, result.limits_why) == (found_limits, why)


def test_thresholds_are_those_that_are_written() -> None:
    told = [sample(i, i + 1, machine_cpu_percent=60, gpu_percent=30, memory_stall_percent=2) for i in range(4)]
    written = Saturated(cpu_percent=60, gpu_percent=30, memory_stall_percent=3)
    result = usage(told, [call(0, 4)], ALONE, saturated=written)
    assert result.limits == ("CPU", "GPU")
    assert result.limits_why[0] == "CPU: 60 % of all cores (limit 60 %)"


def test_a_pause_saturates_nothing() -> None:
    told = samples("machine_cpu_percent", [50, 50, 100, 100, 50, 50])
    told += [
        sample(i, i + 1, "b", swapouts=value, memory_pressure=pressure)
        for i, value, pressure in (
            (0, 0, 1),
            (1, 0, 1),
            (2, 70, 4),
            (3, 90, 4),
            (4, 90, 1),
            (5, 90, 1),
        )
    ]
    assert usage(told, [call(0, 2), call(4, 6, round=2)], ALONE).limits == ()


def test_what_was_seen_for_less_than_half_of_the_time_is_no_limit_and_clears_nothing() -> None:
    assert limits(machine_cpu_percent=[100, None, None, None]).limits is None
    assert limits(machine_cpu_percent=[100, 100, None, None]).limits == ("CPU",)
    assert limits(machine_cpu_percent=[10, None, None, None]).limits is None
    assert limits(machine_cpu_percent=[10, 10, None, None]).limits == ()


# Slots.


def waiting(*queues: float | None, source: str = "server") -> list[CallRecord]:
    """Calls of 1 s each that waited so many ms."""
    return [call(i % 4, i % 4 + 1, queue_ms=queue, queue_source=source) for i, queue in enumerate(queues)]


def test_calls_that_wait_for_a_slot_are_held_back_by_the_slots() -> None:
    # 500 + 0 + 300 + 0 of 4,000 ms
    result = limits(Known(), waiting(500, 0, 300, 0), machine_cpu_percent=IDLE)
    assert result.limits == ("slots",)
    assert result.limits_why == ("slots: 20 % of the calls' time was spent in the queue (limit 20 %)",)
    assert limits(Known(), waiting(500, 0, 299, 0), machine_cpu_percent=IDLE).limits == ()


def test_the_queue_must_be_known_of_half_of_the_good_calls() -> None:
    assert limits(Known(), waiting(500, None, 300, None), machine_cpu_percent=IDLE).limits == ("slots",)  # 800 / 2000
    assert limits(Known(), waiting(500, None, None, None), machine_cpu_percent=IDLE).limits is None
    failed = [call(0, None, end=1, outcome="truncated", queue_ms=None) for _ in range(9)]
    assert limits(Known(), [*failed, *waiting(500)], machine_cpu_percent=IDLE).limits == ("slots",)


def test_where_there_are_slots_enough_a_late_first_token_is_no_queue() -> None:
    late = waiting(600, 600, source="unloaded")
    told = {"machine_cpu_percent": IDLE}
    assert limits(Known(slots=1, concurrency=2), late, **told).limits == ("slots",)
    assert limits(Known(), late, **told).limits == ("slots",)
    assert limits(Known(slots=2, concurrency=2), late, **told).limits == ()
    assert limits(Known(concurrency=1), late, **told).limits == ()
    # the server says so itself: somebody else has its slots
    assert limits(Known(slots=2, concurrency=2), waiting(600, 600), **told).limits == ("slots",)


def test_none_seen_is_said_only_where_the_cpu_and_the_queue_were_looked_at() -> None:
    told: dict[str, Any] = {"machine_cpu_percent": IDLE}
    assert limits(Known(concurrency=4, slots=4), **told).limits == ()
    assert limits(Known(concurrency=1), **told).limits == ()
    assert limits(Known(), waiting(0, 0), **told).limits == ()
    assert limits(Known(concurrency=5, slots=4), **told).limits is None
    assert limits(Known(concurrency=4), **told).limits is None
    assert limits(Known(slots=4), **told).limits is None
    assert limits(Known(concurrency=1), gpu_percent=IDLE).limits is None
    assert limits(Known(concurrency=4), machine_cpu_percent=[95] * 4).limits == ("CPU",)  # one is enough to say so


def test_slots_can_be_told_without_a_sample() -> None:
    result = usage([], waiting(900, 900), Known())
    assert result.limits == ("slots",)
    assert usage([], waiting(0, 0), Known()).limits is None


# What a reader should know.


def test_of_a_server_elsewhere_nothing_is_told_but_its_queue_and_its_price() -> None:
    told = [sample(i, i + 1, machine_cpu_percent=99, gpu_power_w=10, server_peak_bytes=5) for i in range(10)]
    away = Known(local=False, concurrency=1, hardware=("RTX 4090",))
    cost = Cost(usd_per_hour=3.6, electricity_usd_per_kwh=1, price_per_token_usd={"4090": 1e-6})
    result = of(told, known=away, cost=cost, idle=[(ns(0), ns(5))])
    assert result.metrics == {
        "electricity_cost_mtok": None,
        "rent_cost_mtok": pytest.approx(1000),  # 0.01 $ for 10 tokens
        "listed_cost_mtok": pytest.approx(1),
    }
    assert (result.limits, result.limits_why, result.energy) == (None, (), ())
    assert result.notes == (
        "the server is on another machine: its CPU, GPU, memory and power cannot be seen from here",
    )
    assert usage(told, waiting(900, 900), away).limits == ("slots",)


def test_rounds_without_a_sample_are_told() -> None:
    note = "no sample lies in the measured rounds: nothing is known of CPU, GPU, memory and power"
    assert of([]).notes == (note,)
    short = usage(samples("machine_cpu_percent", [50, 50]), [call(0.5, 0.75)], ALONE)  # a quarter of a sample
    assert (short.metrics, short.limits, short.notes) == ({}, None, (note,))


def test_a_run_without_a_measured_call_has_nothing() -> None:
    result = usage(samples("machine_cpu_percent", [99] * 4), [call(0, 4, role="warmup")], ALONE)
    assert result == Usage(metrics={}, limits=None)


def test_what_was_known_for_a_part_of_the_time_is_told_worst_first() -> None:
    told = samples("machine_cpu_percent", [50] * 10)
    told += samples("gpu_percent", [50] * 6, source="b")
    assert of(told).notes == ("known for a part of the time only: GPU 60 %",)
    told += samples("swap_used_bytes", [5] * 2, source="c") + samples("ram_used_bytes", [5] * 7, source="d")
    told += samples("gpu_temperature_c", [50] * 8, source="e")
    assert of(told).notes == ("known for a part of the time only: Swap in use 20 %, GPU 60 %, RAM in use 70 %, 1 more",)


def test_a_short_time_without_readings_is_the_edge_of_a_round() -> None:
    told = samples("machine_cpu_percent", [50] * 10) + samples("ram_used_bytes", [5] * 8, source="b")
    assert of(told).notes == ()


def test_shares_are_rounded_down() -> None:
    (energy,) = of([sample(i, i + 0.949, gpu_power_w=10) for i in range(10)]).energy
    assert energy.reason == "power was known for 94 % of the time"
    (energy,) = of([sample(i, i + 0.29, gpu_power_w=10) for i in range(10)]).energy
    assert energy.reason == "power was known for 29 % of the time"


# As it is kept and as it is set.


def test_a_usage_is_the_same_after_json() -> None:
    told = [sample(i, i + 1, gpu_power_w=10, machine_cpu_percent=95) for i in range(10)]
    result = of(told, idle=[(ns(0), ns(5))], cost=Cost(electricity_usd_per_kwh=0.3))
    assert msgspec.json.decode(msgspec.json.encode(result), type=Usage) == result


def test_prices_and_thresholds_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('usd_per_hour = 2\n[price_per_token_usd]\n"M4 Max" = 2e-6\n')
    assert read(path, Cost) == Cost(usd_per_hour=2.0, price_per_token_usd={"M4 Max": 2e-6})
    path.write_text("gpu_percent = 80\n")
    assert read(path, Saturated) == Saturated(gpu_percent=80.0)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (Cost, "usd_per_hour = -1"),
        (Cost, "usd_per_week = 1"),
        (Cost, "price_per_token_usd = {M4 = -1}"),
        (Saturated, "cpu_percent = 0"),
        (Saturated, "memory_percent = 101"),
    ],
)
def test_a_price_or_a_threshold_that_cannot_be_is_refused(
    tmp_path: Path, type_: type[msgspec.Struct], text: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(UsageError):
        read(path, type_)


def test_each_price_and_threshold_is_described() -> None:
    for type_ in (Cost, Saturated):
        for field in msgspec.inspect.type_info(type_).fields:  # type: ignore[union-attr]
            assert isinstance(field.type, msgspec.inspect.Metadata)
            assert (field.type.extra_json_schema or {}).get("description")
