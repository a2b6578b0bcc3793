"""Every formula, by numbers worked out by hand. Stamps are given in milliseconds from an arbitrary zero."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from infertui.metric import (
    METRICS,
    Bound,
    CallRecord,
    Counts,
    Generator,
    Start,
    Summary,
    count,
    figure,
    gaps,
    observations,
    queue_beyond,
    speedup,
    summarise,
    verdict,
    wall_ns,
)
from infertui.stats import Distribution
from infertui.usage import Usage

MS = 1_000_000
ZERO = 7_000 * MS  # perf_counter_ns has no meaning of its own, so nothing may depend on where it starts
QUIET = Generator(lag_p99_ms=0.1, lag_max_ms=0.2, loop_lag_p99_ms=0.1, cpu_s=0.01)


def ns(ms: float | None) -> int | None:
    return None if ms is None else ZERO + round(ms * MS)


def call(
    send: float | None = 0,
    first: float | None = None,
    last: float | None = None,
    *,
    alone: bool = False,
    due: float | None = None,
    end: float | None = None,
    **fields: Any,
) -> CallRecord:
    """A call with its figures. By default it is due when it is sent, and its stream closes with its last token."""
    stamps = {"headers_ns": ns(fields.pop("headers", None)), "first_answer_ns": ns(fields.pop("answer", None))}
    given = {"name": "c", "role": "measured", "round": 1, "lane": 0, "kind": "router", "prompt_id": "p"}
    given |= {"prompt_hash": "h", "max_tokens": 1} | stamps | fields
    record = CallRecord(
        sched_ns=ns(due if due is not None else send or 0),
        send_ns=ns(send),
        first_ns=ns(first),
        last_ns=ns(last),
        end_ns=ns(end if end is not None else last if last is not None else send),
        **given,
    )
    figure(record, alone)
    return record


def run(*calls: CallRecord, generator: Generator = QUIET, **more: Any) -> Summary:
    return summarise(calls, more.pop("gaps_ms", ()), generator, **more)


# A call's times.


def test_times_count_from_the_first_byte_sent() -> None:
    # due at 0, sent at 40, headers at 50, first token at 140, first of the answer at 340, last at 1040, closed at 1900
    row = call(40, 140, 1040, due=0, headers=50, answer=340, end=1900, n_output=20, n_first=1)
    assert row.headers_ms == 10
    assert row.ttft_ms == 100
    assert row.ttfa_ms == 300
    assert row.e2e_ms == 1000  # to the last token, not to the stream's close
    assert row.sched_ttft_ms == 140
    assert row.sched_e2e_ms == 1040
    assert row.effective_tps == 20.0  # 20 tokens in 1 s


def test_a_call_that_was_not_sent_has_no_figures() -> None:
    row = call(None, outcome="refused")
    assert all(getattr(row, key) is None for key, metric in METRICS.items() if metric.per == "call")
    assert row.lag_ns is None


def test_a_failed_call_has_no_end_but_may_have_a_first_token() -> None:
    row = call(0, 100, 900, outcome="truncated", n_output=9, n_first=1)
    assert row.ttft_ms == 100
    assert (row.e2e_ms, row.sched_e2e_ms, row.effective_tps, row.decode_tps) == (None, None, None, None)


def test_a_reply_that_came_whole_has_an_end_and_no_first_token() -> None:
    row = call(0, None, 500, n_output=10)
    assert (row.ttft_ms, row.ttfa_ms, row.decode_tps) == (None, None, None)
    assert (row.e2e_ms, row.effective_tps) == (500, 20.0)


def test_connect_time_is_told_for_the_first_use_of_a_connection_only() -> None:
    assert call(0, connection_use=1, connect_ns=3 * MS).connect_ms == 3
    assert call(0, connection_use=2, connect_ns=3 * MS).connect_ms is None


@pytest.mark.parametrize(("send", "due", "wait", "lag"), [(10, 0, 0, 10), (10, 0, 7, 3), (10, 0, 12, 0), (5, 5, 0, 0)])
def test_lag_is_from_due_to_sent_without_waiting_for_a_connection(send: int, due: int, wait: int, lag: int) -> None:
    assert call(send, due=due, connect_wait_ns=wait * MS).lag_ns == lag * MS


# A call's speeds.


@pytest.mark.parametrize(
    ("output", "first_tokens", "first", "last", "expected"),
    [
        (11, 1, 100, 1100, 10.0),  # single tokens: (n − 1) / (last − first) = 10 / 1 s
        (100, 4, 80, 80 + 24 * 80, 50.0),  # 25 chunks of 4, one each 80 ms: (100 − 4) / (24 · 80 ms) = 96 / 1.92 s
        (12, 3, 200, 650, 20.0),  # (12 − 3) / 450 ms
        (1, 1, 100, 100, None),  # one token
        (12, 12, 100, 100, None),  # all in one read
        (None, None, 100, 200, None),
        (5, None, 100, 200, None),
    ],
)
def test_decode_speed_leaves_out_the_first_read(
    output: int | None, first_tokens: float | None, first: float, last: float, expected: float | None
) -> None:
    assert call(0, first, last, n_output=output, n_first=first_tokens).decode_tps == expected


def test_chunks_of_four_tokens_give_the_true_speed_from_usage_and_pieces() -> None:
    counts = count(100, None, array("l", [0] * 25), 1)
    assert counts == Counts(100, "usage", 4.0)
    assert call(0, 80, 2000, n_output=counts.output, n_first=counts.first).decode_tps == 50.0


@pytest.mark.parametrize("output", [None, 0])
def test_no_tokens_have_no_speed(output: int | None) -> None:
    row = call(0, 100, 200, alone=True, n_output=output, n_first=0)
    assert (row.effective_tps, row.decode_tps) == (None, None)


def test_prefill_speed_is_by_the_clock_of_the_server_where_it_has_one() -> None:
    # 300 new tokens in 150 ms by the server; ttft and the whole prompt would say otherwise
    for alone in (True, False):
        row = call(0, 200, 900, alone=alone, n_prompt=400, n_cached=100, server_prompt_n=300, server_prompt_ms=150)
        assert row.prefill_tps == 2000.0


@pytest.mark.parametrize(
    ("alone", "fields", "expected"),
    [
        (True, {"n_prompt": 400}, 2000.0),  # 400 / 200 ms
        (True, {"n_prompt": 400, "n_cached": 0}, 2000.0),
        (True, {"n_prompt": 400, "n_cached": 100}, 1500.0),  # (400 − 100) / 200 ms
        (True, {"n_prompt": 400, "n_cached": 400}, None),  # nothing was new
        (True, {"n_prompt": 400, "server_prompt_ms": 30.0}, 2000.0),  # Ollama tells the time, not how much was new
        (True, {"n_prompt": 400, "server_prompt_n": 0.0, "server_prompt_ms": 0.0}, 2000.0),
        (True, {}, None),
        (False, {"n_prompt": 400}, None),  # ttft holds the waiting for others
    ],
)
def test_prefill_speed_without_a_clock_of_the_server_needs_a_call_alone(
    alone: bool, fields: dict[str, Any], expected: float | None
) -> None:
    assert call(0, 200, 900, alone=alone, **fields).prefill_tps == expected


def test_decode_speed_of_the_server_is_by_its_own_clock() -> None:
    # llama.cpp: predicted_n 12, predicted_ms 6.566, predicted_per_second 1675.296984465428: 11 tokens in that time
    row = call(0, 100, 900, n_output=12, server_decode_n=11, server_decode_ms=6.566)
    assert row.server_decode_tps == pytest.approx(1675.296984465428)
    assert call(0, 100, 900, n_output=1, server_decode_n=0, server_decode_ms=6.566).server_decode_tps is None
    assert call(0, 100, 900, n_output=12, server_decode_ms=6.566).server_decode_tps is None


def test_what_comes_after_the_last_token_is_in_both_sides_of_the_speed_up() -> None:
    # A serial server that sends its usage 50 ms after the last token: 100 ms a call in all, two at once take 200 ms.
    alone = [call(0, 20, 50, role="alone", prompt_hash=name, end=100) for name in "ab"]
    together = [call(0, 20, 50, prompt_hash="a", end=100), call(0, 120, 150, prompt_hash="b", end=200)]
    assert run(*alone, *together).metrics["speedup"] == pytest.approx(1.0)


def test_a_bound_on_what_is_unknown_counts_nobody_out() -> None:
    whole = [call(0, None, 500, n_output=5) for _ in range(3)]
    assert run(*whole, bounds=[Bound("ttft_ms", 100.0)]).metrics["goodput_per_min"] is None


def test_queue_time_is_what_the_prompt_alone_did_not_take() -> None:
    # first token after 900 ms, alone after 250
    row = call(0, 900, 1000)
    queue_beyond(row, 250.0)
    assert (row.queue_ms, row.queue_source) == (650.0, "unloaded")
    told = call(0, 900, 1000, server_queue_ms=70.0)
    queue_beyond(told, 250.0)
    assert (told.queue_ms, told.queue_source) == (70.0, "server")
    quick = call(0, 200, 1000)
    queue_beyond(quick, 250.0)
    assert quick.queue_ms == 0.0
    unknown = call(0, 200, 1000)
    queue_beyond(unknown, None)
    assert unknown.queue_ms is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"server_queue_ms": 12.5, "headers": 30, "headers_mean_slot": True}, (12.5, "server")),
        ({"server_queue_ms": 0.0}, (0.0, "server")),  # known to be nothing
        ({"headers": 30, "headers_mean_slot": True}, (30, "headers")),
        ({"headers": 30}, (None, "")),  # headers that come at once say nothing of a queue
        ({"headers_mean_slot": True}, (None, "")),
        ({}, (None, "")),
    ],
)
def test_queue_time_names_its_source(fields: dict[str, Any], expected: tuple[float | None, str]) -> None:
    row = call(0, 100, 200, **fields)
    assert (row.queue_ms, row.queue_source) == expected


def test_gaps_are_between_the_reads_that_brought_tokens() -> None:
    assert gaps([10, 25, 25, 60]) == [15, 0, 35]
    assert gaps([10]) == gaps([]) == []


# How many tokens.


@pytest.mark.parametrize(
    ("usage", "server", "sizes", "first_pieces", "expected"),
    [
        # usage, then the server's counter, then token ids, then pieces
        (12, 11.0, [1] * 10, 1, (12, "usage", 1.2)),  # 12 · 1/10: sizes that do not add up to N are not believed
        (None, 11.0, [1] * 10, 1, (11, "server", 1.1)),
        (None, None, [2, 1, 3], 2, (6, "ids", 3.0)),  # 2 + 1
        (None, None, [0, 0, 0], 1, (3, "pieces", 1.0)),
        (None, None, [2, 0, 3], 1, (3, "pieces", 1.0)),  # a piece of unknown size: pieces are all that is known
        # the first read: exact where the sizes agree with N, else its share of N
        (6, None, [2, 1, 3], 1, (6, "usage", 2.0)),
        (6, None, [2, 1, 3], 3, (6, "usage", 6.0)),
        (6, 5.0, [0, 0, 0], 1, (6, "usage", 2.0)),  # 6 · 1/3
        (100, None, [0] * 25, 1, (100, "usage", 4.0)),
        (12, None, [0] * 11, 1, (12, "usage", 12 / 11)),  # MAX sent two tokens in one of 11 chunks
        (None, 6.0, [1] * 6, 2, (6, "server", 2.0)),
        # nothing came
        (0, None, [], 0, (0, "usage", None)),
        (12, None, [], 0, (12, "usage", None)),
        (None, None, [], 0, (None, "", None)),
        (None, 3.0, [], 0, (3, "server", None)),
    ],
)
def test_tokens_are_counted_by_the_best_source(
    usage: int | None, server: float | None, sizes: list[int], first_pieces: int, expected: tuple[Any, ...]
) -> None:
    assert count(usage, server, array("l", sizes), first_pieces) == Counts(*expected)


# A run's numbers.


def test_wall_is_the_sum_of_the_rounds_without_the_pauses() -> None:
    # round 1 from 0 to 1000 (the last end of three), round 2 from 60 000 to 60 500: 1500 ms
    calls = [
        call(5, 100, 400, due=0),
        call(5, 100, 1000, due=0),
        call(400, 500, 900, due=400),
        call(60_000, 60_100, 60_500, round=2),
    ]
    assert wall_ns(calls) == 1500 * MS
    assert run(*calls).metrics["wall_s"] == 1.5
    assert wall_ns([]) == 0


def test_wall_ends_with_the_last_token_of_a_good_call_and_the_end_of_a_failed_one() -> None:
    assert wall_ns([call(0, 100, 400, end=5000)]) == 400 * MS
    assert wall_ns([call(0, 100, 400, end=5000, outcome="truncated")]) == 5000 * MS


def test_tokens_and_requests_are_over_the_wall_of_all_rounds() -> None:
    # 2 rounds of 2 s with 2 calls each; one of the four failed. Good: 30 + 40 + 50 = 120 tokens in 4 s
    calls = [
        call(0, 100, 2000, n_output=30),
        call(0, 100, 1500, n_output=40),
        call(9000, 9100, 11_000, round=2, n_output=50),
        call(9000, end=9500, round=2, outcome="http-500"),
    ]
    summary = run(*calls)
    assert summary.metrics["output_tps"] == 30.0
    assert summary.metrics["requests_per_min"] == 45.0  # 3 in 4 s
    assert summary.metrics["success_rate"] == 0.75
    assert summary.errors == {"http-500": 1}
    assert summary.calls == 4


def alone(number: int, e2e: float = 1000) -> CallRecord:
    return call(0, 200, e2e, role="alone", round=0, prompt_hash=f"h{number}")


def test_a_serial_server_gains_nothing_however_many_calls_wait() -> None:
    # four calls at once of 1 s each, one after the other: e2e 1, 2, 3, 4 s
    calls = [call(0, k * 1000 - 800, k * 1000, prompt_hash=f"h{k}") for k in (1, 2, 3, 4)]
    metrics = run(*calls, *(alone(k) for k in (1, 2, 3, 4))).metrics
    assert metrics["wall_s"] == 4.0
    assert metrics["calls_in_flight"] == 2.5  # (1 + 2 + 3 + 4) / 4
    assert metrics["calls_in_decode"] == 0.8  # 4 · 0.8 / 4
    assert metrics["speedup"] == 1.0  # 4 · 1 / 4


def test_a_parallel_server_gains_what_it_serves_at_once() -> None:
    calls = [call(0, 200, 1000, prompt_hash=f"h{k}") for k in (1, 2, 3, 4)]
    metrics = run(*calls, *(alone(k) for k in (1, 2, 3, 4))).metrics
    assert metrics["wall_s"] == 1.0
    assert metrics["calls_in_flight"] == 4.0
    assert metrics["calls_in_decode"] == 3.2  # 4 · 0.8 / 1
    assert metrics["speedup"] == 4.0


def test_speedup_compares_the_same_prompts() -> None:
    calls = [call(0, 200, 1000, prompt_hash="h1"), call(0, 200, 1000, prompt_hash="h2")]
    # h1 took 600 and 800 ms alone, so 700; h2 took 500: (700 + 500) / 1000
    assert run(*calls, alone(1, 600), alone(1, 800), alone(2, 500)).metrics["speedup"] == 1.2
    assert run(*calls, alone(1)).metrics["speedup"] is None  # h2 was never alone
    assert run(*calls).metrics["speedup"] is None


def test_speedup_of_a_prompt_that_is_sent_twice_counts_it_twice() -> None:
    calls = [call(0, 200, 1000, prompt_hash="h1"), call(0, 200, 1000, prompt_hash="h1")]
    assert run(*calls, alone(1, 750)).metrics["speedup"] == 1.5


def test_a_call_alone_that_failed_compares_with_nothing() -> None:
    failed = call(0, end=10, role="alone", round=0, prompt_hash="h", outcome="http-500")
    assert run(call(0, 200, 1000), failed).metrics["speedup"] is None


def test_without_a_good_call_the_speedup_is_unknown() -> None:
    assert speedup([], [alone(1)], 1000 * MS) is None
    assert run(call(0, end=900, prompt_hash="h1", outcome="http-500"), alone(1)).metrics["speedup"] is None


def test_warm_up_calls_and_calls_alone_do_not_count() -> None:
    calls = [
        call(0, 90, 9000, role="warmup", round=0, n_output=16, n_source="pieces"),
        call(0, end=50, role="warmup", round=0, outcome="http-500"),
        call(0, 90, 9000, role="alone", round=0, n_output=16, prompt_hash="h"),
        call(20_000, 20_100, 21_000, n_output=10, n_source="usage"),
    ]
    summary = run(*calls)
    assert (summary.calls, summary.errors, summary.n_source) == (1, {}, "usage:1")
    assert summary.metrics["wall_s"] == 1.0
    assert summary.metrics["output_tps"] == 10.0
    assert summary.metrics["success_rate"] == 1.0
    assert summary.metrics["speedup"] == 9.0  # what the call alone is for
    assert summary.metrics["ttft_ms"] == Distribution(1, mean=100, min=100, p50=100, max=100)


def test_cancelled_calls_are_an_error_and_no_failure_of_the_server() -> None:
    summary = run(call(0, 100, 1000, n_output=10), call(0, 100, 500, end=700, outcome="cancelled", n_output=5))
    assert summary.calls == 2
    assert summary.errors == {"cancelled": 1}
    assert summary.metrics["success_rate"] == 1.0
    assert summary.metrics["output_tps"] == 10.0
    assert summary.metrics["requests_per_min"] == 60.0


def test_figures_of_failed_calls_are_in_no_distribution() -> None:
    summary = run(call(0, 100, 1000), call(0, 900, 950, outcome="truncated"))
    assert summary.metrics["ttft_ms"] == Distribution(1, mean=100, min=100, p50=100, max=100)


def test_a_run_without_calls_knows_nothing() -> None:
    summary = run()
    assert (summary.calls, summary.errors, summary.valid, summary.n_source) == (0, {}, False, "")
    for key, value in summary.metrics.items():
        assert value == Distribution(0) or value is None, key


def test_a_run_in_which_all_failed_knows_its_wall_and_its_rate() -> None:
    summary = run(call(0, end=500, outcome="reset"), call(0, end=1000, outcome="refused"))
    assert summary.metrics["success_rate"] == 0.0
    assert summary.metrics["wall_s"] == 1.0
    assert summary.errors == {"refused": 1, "reset": 1}
    unknown = ("calls_in_flight", "calls_in_decode", "speedup", "output_tps")
    assert [summary.metrics[key] for key in unknown] == [None] * 4
    assert (summary.valid, summary.warnings[0]) == (False, "no call succeeded")


def test_what_is_unknown_stays_unknown() -> None:
    row = call(0, None, 1000)
    assert (row.n_output, row.n_prompt, row.queue_ms, row.prefill_tps, row.server_decode_tps) == (None,) * 5
    metrics = run(row).metrics
    for key in ("ttft_ms", "decode_tps", "effective_tps", "prefill_tps", "queue_ms", "headers_ms", "itl_ms"):
        assert metrics[key] == Distribution(0), key
    assert (metrics["calls_in_decode"], metrics["output_tps"]) == (None, None)
    assert "goodput_per_min" not in metrics


def test_gaps_between_reads_have_a_distribution_of_their_own() -> None:
    value = run(call(0, 100, 200), gaps_ms=[10.0, 30.0, 20.0]).metrics["itl_ms"]
    assert value == Distribution(3, mean=20.0, min=10.0, p50=20.0, max=30.0)


def test_every_figure_of_a_run_is_a_metric_in_the_order_of_the_registry() -> None:
    more: dict[str, Any] = {"bounds": [Bound("ttft_ms", 500)], "starts": [Start(accept_ms=3)]}
    of_calls = run(call(0, 100, 200), **more).metrics
    assert {METRICS[key].per for key in METRICS.keys() - of_calls.keys()} == {"sample", "run"}
    of_samples = Usage(metrics=dict.fromkeys(reversed([*METRICS.keys() - of_calls.keys()]), 1.0), limits=None)
    assert list(run(call(0, 100, 200), usage=of_samples, **more).metrics) == list(METRICS)
    assert all(metric.key == key for key, metric in METRICS.items())


# Goodput.


@pytest.mark.parametrize(
    ("bound", "met"),
    [
        (Bound("ttft_ms", 100), True),  # at the bound is within it
        (Bound("ttft_ms", 99.9), False),
        (Bound("effective_tps", 20), True),  # higher is better
        (Bound("effective_tps", 20.1), False),
        (Bound("queue_ms", 1000), False),  # unknown is not kept
    ],
)
def test_a_bound_is_kept_or_not(bound: Bound, met: bool) -> None:
    assert bound.met(call(0, 100, 1000, n_output=20)) is met


def test_goodput_counts_good_calls_within_every_bound_a_minute() -> None:
    # wall 2 s; of four calls one has a late first token, one is too slow, one failed: 1 in 2 s is 30 a minute
    calls = [
        call(0, 100, 1000, n_output=50),
        call(0, 900, 1000, n_output=50),
        call(0, 100, 2000, n_output=10),
        call(0, 100, end=500, outcome="truncated"),
    ]
    bounds = [Bound("ttft_ms", 500), Bound("effective_tps", 20)]
    assert run(*calls, bounds=bounds).metrics["goodput_per_min"] == 30.0


def test_goodput_is_the_rate_of_requests_where_every_call_keeps_the_bounds() -> None:
    metrics = run(call(0, 100, 1000), call(0, 100, 3000), bounds=[Bound("ttft_ms", 100)]).metrics
    assert metrics["goodput_per_min"] == metrics["requests_per_min"] == 40.0  # 2 in 3 s


def test_goodput_is_zero_where_no_call_keeps_the_bounds() -> None:
    assert run(call(0, 100, 1000), bounds=[Bound("ttft_ms", 99)]).metrics["goodput_per_min"] == 0.0
    assert run(bounds=[Bound("ttft_ms", 99)]).metrics["goodput_per_min"] is None


# Whether the client was punctual.


@pytest.mark.parametrize(
    ("ttft_ms", "lag", "loop_lag", "valid"),
    [
        (50, 2.0, 2.0, True),  # 2 % of 50 ms is 1 ms: the limit is 2 ms
        (50, 2.01, 0, False),
        (50, 0, 2.01, False),
        (500, 10.0, 10.0, True),  # 2 % of 500 ms
        (500, 10.1, 0, False),
        (500, 0, 10.1, False),
        (None, 2.0, 0, True),
        (None, 2.1, 0, False),
        (50, None, None, True),
    ],
)
def test_a_run_is_invalid_past_2_ms_or_2_percent_of_the_median_ttft(
    ttft_ms: float | None, lag: float | None, loop_lag: float | None, valid: bool
) -> None:
    said, notes = verdict(Generator(lag_p99_ms=lag, loop_lag_p99_ms=loop_lag), ttft_ms, 1)
    assert said is valid
    assert bool(notes) is not valid
    assert all(note.startswith("invalid: ") for note in notes)


def test_an_invalid_run_says_so_before_all_other_warnings() -> None:
    late = Generator(lag_p99_ms=5.0, lag_max_ms=9.0, loop_lag_p99_ms=7.0)
    summary = run(call(0, 100, 200, n_output=1), generator=late, warnings=["the battery is low"])
    assert not summary.valid
    assert summary.warnings == [
        "invalid: calls were sent up to 5.0 ms late (p99; limit 2.0 ms): too much at once for this machine",
        "invalid: the client's loop ran up to 7.0 ms late (p99; limit 2.0 ms): too much at once for this machine",
        "the battery is low",
    ]
    assert summary.generator is late


def test_the_limit_follows_the_median_of_the_good_calls() -> None:
    # ttft 100, 400, 900 and a failed one: the median is 400, the limit 8 ms
    calls = [call(0, first, 1000, n_output=1) for first in (100, 400, 900)]
    calls.append(call(0, 5, end=10, outcome="truncated"))
    assert run(*calls, generator=Generator(lag_p99_ms=8.0)).valid
    assert not run(*calls, generator=Generator(lag_p99_ms=8.1)).valid


# What a reader should know.


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"n_prompt": 400, "n_cached": 21, "n_output": 1}, "1 of 2 calls found part of their prompt cached"),
        ({"n_output": 1, "max_tokens": 2}, "1 of 2 calls ended before max_tokens"),
        ({"n_output": 0, "max_tokens": 0}, "1 of 2 calls brought no token"),
        ({"n_output": None}, "1 of 2 calls brought no token"),
        ({"n_output": 1, "note": "the server did not stream"}, "1 of 2 calls: the server did not stream"),
    ],
)
def test_what_is_odd_about_a_call_is_said(fields: dict[str, Any], note: str) -> None:
    assert run(call(0, 100, 200, **fields), call(0, 100, 200, n_output=1)).warnings == [note]


@pytest.mark.parametrize(
    "fields",
    [
        {"n_prompt": 100, "n_cached": 5, "n_output": 1},  # a template's first tokens, no more
        {"n_prompt": 100, "n_cached": None, "n_output": 1},
        {"n_prompt": None, "n_cached": 50, "n_output": 1},
        {"n_output": 2, "max_tokens": 2},
    ],
)
def test_what_is_usual_is_not_said(fields: dict[str, Any]) -> None:
    assert run(call(0, 100, 200, **fields)).warnings == []


def test_a_reopened_connection_is_said() -> None:
    warnings = run(call(0, 100, 200, n_output=1, reopened=1)).warnings
    assert len(warnings) == 1
    assert "connection reopened" in warnings[0]


def test_only_measured_calls_are_spoken_of() -> None:
    others = [call(0, 100, 200, role=role, round=0, n_output=0) for role in ("warmup", "alone")]
    assert run(*others, call(0, 100, 200, n_output=1)).warnings == []


def test_failed_calls_are_counted_among_all_but_said_nothing_of() -> None:
    calls = [call(0, outcome="http-500"), call(0, 100, 200, n_output=1, max_tokens=9)]
    assert observations(calls, {}) == ["1 of 2 calls ended before max_tokens"]


def test_pieces_that_are_taken_for_tokens_are_said() -> None:
    summary = run(call(0, 100, 200, n_output=1, n_source="pieces"))
    assert summary.n_source == "pieces:1"
    assert summary.warnings == ["the server reports no token counts: pieces of text are counted as tokens"]


def test_counts_from_different_sources_are_said() -> None:
    sources = ("usage", "server", "usage")
    summary = run(*(call(0, 100, 200, n_output=1, n_source=source) for source in sources))
    assert summary.n_source == "usage:2 server:1"
    assert summary.warnings == ["token counts come from different sources (usage 2, server 1)"]
