"""Stories out of events that are built by hand. Seconds are counted from the first run's beginning."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec
import pytest

from infertui.condition import Busy, Conditions, Doubt, Tolerated
from infertui.event import (
    BlockEnded,
    BlockStarted,
    CallEnded,
    Event,
    Observed,
    RunEnded,
    RunStarted,
    Sampled,
    ServerChanged,
    Ticked,
    UnderWay,
    Waited,
    Warned,
)
from infertui.metric import CallRecord, Generator, Summary, summarise
from infertui.result import Report, Telemetry
from infertui.sample import Sample
from infertui.stats import Distribution, percentile
from infertui.tui import course
from infertui.tui.bar import Bar
from infertui.tui.course import LEVELS, Dots, Median, Series, Span, halved
from infertui.tui.story import MOST_LINES, Story, of_run

S = 1_000_000_000
ZERO = 5_000 * S


def ns(seconds: float) -> int:
    return ZERO + round(seconds * S)


def run_started(run: int = 1, server: str = "mlx", calls: int = 4, at: float = 0, **more: Any) -> RunStarted:
    return RunStarted(
        run=run,
        experiment=7,
        server=server,
        model="m",
        scenario="concurrent",
        rounds=2,
        calls=calls,
        clock_ns=ns(at),
        unix_ns=0,
        **more,
    )


def changed(state: str, run: int = 1, message: str = "", elapsed: float = 0.0) -> ServerChanged:
    return ServerChanged(run=run, state=state, message=message, elapsed_s=elapsed)


def block_started(role: str = "measured", turn: int = 1, run: int = 1, calls: int = 2) -> BlockStarted:
    return BlockStarted(run=run, role=role, round=turn, calls=calls, concurrency=2)


def block_ended(role: str = "measured", turn: int = 1, run: int = 1, elapsed: float = 10) -> BlockEnded:
    return BlockEnded(run=run, role=role, round=turn, elapsed_s=elapsed)


def ticked(
    at: float,
    tps: float = 100.0,
    role: str = "measured",
    turn: int = 1,
    run: int = 1,
    elapsed: float = 1.0,
    left: float | None = None,
    lag: float | None = None,
    under_way: Iterable[UnderWay] = (),
) -> Ticked:
    return Ticked(
        run=run,
        role=role,
        round=turn,
        total=2,
        sent=2,
        ended=0,
        active=2,
        failed=0,
        tokens=0,
        tokens_per_s=tps,
        elapsed_s=elapsed,
        left_s=left,
        ttft_ms=None,
        e2e_ms=None,
        at_ns=ns(at),
        lag_ms=lag,
        under_way=list(under_way),
    )


def flying(name: str, lane: int, sent: float, first: float | None = None) -> UnderWay:
    return UnderWay(
        name=name, lane=lane, sched_ns=ns(sent), send_ns=ns(sent), first_ns=None if first is None else ns(first)
    )


def call(
    name: str,
    due: float,
    sent: float | None,
    first: float | None = None,
    end: float | None = None,
    role: str = "measured",
    turn: int = 1,
    lane: int = 0,
    outcome: str = "ok",
    **more: Any,
) -> CallRecord:
    def stamp(seconds: float | None) -> int | None:
        return None if seconds is None else ns(seconds)

    good = outcome == "ok"
    return CallRecord(
        name=name,
        role=role,
        round=turn,
        lane=lane,
        kind="router",
        prompt_id="p",
        prompt_hash="h",
        max_tokens=8,
        sched_ns=ns(due),
        send_ns=stamp(sent),
        first_ns=stamp(first),
        last_ns=stamp(end) if good else None,
        end_ns=stamp(end),
        ttft_ms=1e3 * (first - sent) if first is not None and sent is not None else None,
        e2e_ms=1e3 * (end - sent) if good and end is not None and sent is not None else None,
        outcome=outcome,
        **more,
    )


def ended(record: CallRecord, run: int = 1, stored: bool = True) -> CallEnded:
    return CallEnded(run=run, call=record, stored=stored)


def sampled(at: float, run: int = 1, **values: float | None) -> Sampled:
    return Sampled(run=run, at_ns=ns(at), values=values)


def summary(calls: int = 2, doubts: tuple[Doubt, ...] = (), **more: Any) -> Summary:
    errors = more.pop("errors", {})
    return Summary(
        calls=calls,
        metrics={},
        errors=errors,
        n_source="",
        valid=True,
        warnings=more.pop("warnings", []),
        generator=more.pop("generator", Generator()),
        doubts=doubts,
    )


def run_ended(run: int = 1, status: str = "done", **more: Any) -> RunEnded:
    return RunEnded(run=run, status=status, summary=summary(**more))


def told(*events: Event, story: Story | None = None) -> Story:
    story = story or Story()
    for event in events:
        story.add(event)
    return story


def lines(story: Story, level: str = "") -> list[str]:
    return [text for _, at, text in story.log if not level or at == level]


class TestOneRun:
    def test_before_anything_is_known(self) -> None:
        story = Story()
        assert (story.over, story.progress(), story.left_s(), story.current) == (False, (0, 0), None, None)
        story.add(Warned(run=None, message="no server"))
        story.add(ticked(5, run=99))
        assert story.log == [(0.0, "warn", "no server")]

    def test_from_its_start_to_its_end(self) -> None:
        story = told(run_started(), changed("loading", message="starting"), changed("loading", message="50 %"))
        mlx = story.runs[1]
        assert (story.experiment, story.origin_ns) == (7, ZERO)
        assert story.current is mlx
        assert (mlx.state, mlx.state_message) == ("loading", "50 %")
        told(changed("ready", elapsed=3.2), block_started("warmup", 0), ticked(4, role="warmup", turn=0), story=story)
        assert mlx.spans == [Span("warmup", 0, 3.0, None)]
        told(ended(call("w1", 3, 3, 3.5, 5, "warmup", 0)), block_ended("warmup", 0, elapsed=2), story=story)
        assert mlx.block is None
        assert mlx.spans == [Span("warmup", 0, 3.0, 5.0)]
        assert story.progress() == (0, 4)
        assert mlx.first_s() is None
        told(block_started(), ticked(7, 50, elapsed=1, left=9), story=story)
        assert story.left_s() == 9
        told(ended(call("r1", 6, 6, 6.5, 8)), story=story)
        assert story.left_s() == pytest.approx(8)  # a second has passed since it was said
        told(ended(call("r2", 6, 6, 7, 9, lane=1)), block_ended(elapsed=3), run_ended(), story=story)
        assert mlx.spans[-1] == Span("measured", 1, 6.0, 9.0)
        assert mlx.first_s() == 6
        assert list(mlx.ttft) == [(8, 500), (9, 1000)]
        assert list(mlx.e2e) == [(8, 2000), (9, 3000)]
        assert list(mlx.speed) == [(4, 100), (4, None), (7, 50), (7, None)]
        assert story.progress() == (2, 4)
        assert story.over
        assert (story.current, story.left_s(), mlx.status) == (None, None, "done")
        assert lines(story) == [
            "run 1: concurrent on mlx, model m",
            "mlx: loading: starting",
            "mlx: ready after 3.2 s",
            "mlx: warm-up, 2 calls",
            "mlx: round 1, 2 calls",
            "mlx: done, 2 of 2 calls good",
        ]

    def test_ends_may_be_told_out_of_order(self) -> None:
        story = told(run_started(), block_started(), ended(call("b", 0, 0, 1, 9)), ended(call("a", 0, 0, 2, 8)))
        assert list(story.runs[1].ttft) == [(8, 2000), (9, 1000)]

    def test_ticks_may_be_missing(self) -> None:
        story = told(run_started(), block_started(), ended(call("a", 2, 3, 4, 5)), block_ended(elapsed=4))
        assert story.runs[1].spans == [Span("measured", 1, 2.0, 6.0)]
        assert story.newest_s == 5
        assert story.runs[1].tick is None

    def test_a_tick_that_comes_late_changes_nothing(self) -> None:
        story = told(run_started(), block_started(), ticked(3), block_ended(), ticked(4, 999))
        assert list(story.runs[1].speed) == [(3, 100), (3, None)]
        told(block_started(turn=2), ticked(4.1, 999, turn=1), ticked(5, 10, turn=2), story=story)
        assert list(story.runs[1].speed) == [(3, 100), (3, None), (5, 10)]
        assert [span.round for span in story.runs[1].spans] == [1, 2]

    def test_what_went_wrong_is_counted_and_told(self) -> None:
        story = told(
            run_started(caveats=["random weights"]),
            block_started("alone", 0),
            ended(call("x", 0, 0, None, 1, "alone", 0, outcome="reset")),
            block_started(),
            ended(call("a", 0, None, outcome="refused", message="\x1b[31mno")),
            ended(call("b", 0, 1, None, 2, outcome="cancelled")),
            ended(call("c", 0, 1, 2, 3), stored=False),
            Warned(run=1, message="suspicious: hot"),
            ticked(3, lag=2.5),
            ticked(4, lag=0.5),
        )
        mlx = story.runs[1]
        assert mlx.errors == {"refused": 1, "cancelled": 1}
        assert story.progress() == (2, 4)
        assert lines(story, "warn") == ["mlx: random weights", "suspicious: hot"]
        assert lines(story, "error") == ["mlx x: reset", "mlx a: refused: ␛[31mno", "mlx c could not be stored"]
        assert mlx.lag_ms == 2.5

    def test_the_log_is_bounded(self) -> None:
        story = told(*(Warned(run=None, message=str(number)) for number in range(3 * MOST_LINES)))
        assert len(story.log) <= MOST_LINES
        assert story.log[-1][2] == str(3 * MOST_LINES - 1)
        assert story.logged == 3 * MOST_LINES

    def test_a_wait_lasts_until_something_happens(self) -> None:
        waits = [Waited(run=1, until="calm", cause="cpu", reason="busy", left_s=left) for left in (30.0, 29.0)]
        story = told(run_started(), *waits)
        assert story.waiting is waits[1]
        assert lines(story)[1:] == ["mlx waits, 30 s at most: busy"]
        for event in (block_started(), ticked(1), changed("ready")):
            told(waits[0], event, story=story)
            assert story.waiting is None

    def test_conditions_make_doubts_until_the_run_says_which(self) -> None:
        def looked(**seen: Any) -> Observed:
            return Observed(run=1, role="measured", round=1, when="before", conditions=Conditions(**seen))

        busy = (Busy(name="make", pid=1, cpu_percent=90),)
        story = told(run_started(), looked(on_battery=True), looked(foreign_cpu_percent=50, foreign=busy))
        mlx = story.runs[1]
        assert mlx.suspicious
        assert [doubt.text.split(":")[0][:20] for doubt in mlx.doubts] == [
            "the machine runs fro",
            "other programs use 5",
        ]
        kind = Story(Tolerated(foreign_cpu_percent=60, foreign_process_percent=95))
        assert not told(run_started(), looked(foreign_cpu_percent=50, foreign=busy), story=kind).runs[1].doubts
        told(run_ended(doubts=(Doubt(key="swap", level="note", text="swapped"),)), story=story)
        assert [doubt.text for doubt in mlx.doubts] == ["swapped"]
        assert not mlx.suspicious

    def test_stopped_half_way(self) -> None:
        story = told(
            run_started(),
            block_started(),
            ticked(1, under_way=[flying("a", 0, 0), flying("b", 1, 0)]),
            ended(call("a", 0, 0, 1, 2)),
            ended(call("b", 0, 0, None, 3, lane=1, outcome="cancelled")),
            run_ended(status="stopped", calls=2, errors={"cancelled": 1}),
        )
        mlx = story.runs[1]
        assert story.over
        assert mlx.spans == [Span("measured", 1, 0.0, 3.0)]
        assert [bar.state for bar in mlx.bars(9)] == ["good", "failed"]
        assert lines(story)[-1] == "mlx: stopped, 1 of 2 calls good"

    def test_its_own_clock_may_tell_when_an_event_came(self) -> None:
        story = told(run_started())
        story.add(changed("loading"), at_ns=ns(4))
        assert story.newest_s == 4
        assert story.log[-1] == (4.0, "info", "mlx: loading")


class TestBars:
    def test_calls_that_have_ended_and_those_under_way(self) -> None:
        story = told(
            run_started(),
            block_started(),
            ended(call("a", 0, 1, 2, 3)),
            ended(call("n", 3, None, lane=2, outcome="refused")),
            ticked(5, under_way=[flying("b", 0, 3, 4), flying("c", 1, 4)]),
        )
        assert list(story.runs[1].bars(5)) == [
            Bar(0, 0, 1, 2, 3, "good", "mlx", "a"),
            Bar(2, 3, None, None, 3, "failed", "mlx", "n"),
            Bar(0, 3, 3, 4, None, "running", "mlx", "b"),
            Bar(1, 4, 4, None, None, "running", "mlx", "c"),
        ]

    def test_one_that_has_ended_stays_until_that_is_told(self) -> None:
        story = told(
            run_started(), block_started(), ticked(1, under_way=[flying("a", 0, 0, 0.5)]), ticked(2), ticked(3)
        )
        assert list(story.runs[1].bars(3)) == [Bar(0, 0, 0, 0.5, 2, "running", "mlx", "a")]
        told(ended(call("a", 0, 0, 0.5, 1.5)), story=story)
        assert list(story.runs[1].bars(3)) == [Bar(0, 0, 0, 0.5, 1.5, "good", "mlx", "a")]

    def test_none_is_drawn_twice_where_its_end_overtakes_a_tick(self) -> None:
        story = told(
            run_started(), block_started(), ended(call("a", 0, 0, 1, 2)), ticked(1.9, under_way=[flying("a", 0, 0)])
        )
        assert [bar.name for bar in story.runs[1].bars(2)] == ["a"]

    def test_none_is_under_way_when_its_block_has_ended(self) -> None:
        story = told(run_started(), block_started(), ticked(1, under_way=[flying("a", 0, 0)]), block_ended())
        assert not story.runs[1].bars(2)

    def test_what_is_not_measured_is_told_apart(self) -> None:
        for role in ("warmup", "alone"):
            story = told(
                run_started(),
                block_started(role, 0),
                ended(call("a", 0, 0, 1, 2, role, 0)),
                ended(call("b", 0, 0, None, 2, role, 0, outcome="reset")),
                ticked(3, role=role, turn=0, under_way=[flying("c", 0, 2)]),
            )
            assert [bar.state for bar in story.runs[1].bars(3)] == [role, "failed", role]

    def test_one_whose_end_is_told_late_stands_where_it_was_due(self) -> None:
        story = told(run_started(), block_started())
        for name, due, outcome in (("a", 0, "ok"), ("c", 4, "reset"), ("b", 2, "ok"), ("d", 6, "reset")):
            told(ended(call(name, due, due, due + 1, due + 2, outcome=outcome)), story=story)
        (track,) = story.runs[1].bars(9).tracks
        assert [(bar.name, bar.due_s, bar.state) for bar in track] == [
            ("a", 0, "good"),
            ("b", 2, "good"),
            ("c", 4, "failed"),
            ("d", 6, "failed"),
        ]
        assert [list(track.within(low, high)) for low, high in ((0, 9), (2.5, 4.5), (6.5, 7), (8.5, 9), (-2, -1))] == [
            [0, 1, 2, 3],
            [1, 2],
            [3],
            [],
            [],
        ]

    def test_only_the_newest_ends_are_remembered_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(course, "MOST_ENDED", 3)
        story = told(run_started(), block_started(), *(ended(call(f"r{at}", at, at, at, at + 1)) for at in range(9)))
        told(ticked(9, under_way=[flying("r8", 0, 8), flying("r9", 0, 9)]), story=story)
        assert [bar.name for bar in story.runs[1].bars(9)][-2:] == ["r8", "r9"]
        assert len(story.runs[1]._ended) == 3


class TestFigures:
    def test_they_are_those_of_the_whole_run_to_the_last_digit(self) -> None:
        """Four calls at once in three rounds, in the order of their ends; some fail, some are cancelled."""
        random = Random(5)
        calls: list[CallRecord] = []
        for turn in (1, 2, 3):
            for lane in range(4):
                at = 100 * turn + random.random()
                for number in range(25):
                    first, end = at + random.random(), at + 1 + random.random()
                    outcome = random.choice(["ok"] * 8 + ["reset", "cancelled"])
                    name, tokens = f"{turn}-{lane}-{number}", random.choice([None, 0, 7, 64])
                    calls.append(
                        call(name, at, at + 0.01, first, end, turn=turn, lane=lane, outcome=outcome, n_output=tokens)
                    )
                    at = end
        calls += [call("w", 50, 50, 51, 52, "warmup", 0, n_output=9), call("x", 60, 60, 61, 62, "alone", 0)]
        story = told(run_started(), block_started())
        for at, record in enumerate(sorted(calls, key=lambda each: each.end_ns or 0), 1):
            told(ended(record), story=story)
            so_far = story.runs[1].so_far
            if at % 40 == 0:  # asked now and then, as somebody who looks
                assert so_far.ttft_ms.value is not None
        found = summarise(calls, [], Generator())
        told_ms = [found.metrics[key] for key in ("ttft_ms", "e2e_ms")]
        assert [so_far.success_rate, so_far.output_tps] == [found.metrics[k] for k in ("success_rate", "output_tps")]
        assert [so_far.ttft_ms.value, so_far.e2e_ms.value] == [
            each.p50 for each in told_ms if isinstance(each, Distribution)
        ]
        assert so_far.calls == found.calls - found.errors["cancelled"]
        assert story.runs[1].ended == len(calls) == 302

    def test_of_no_call_nothing_is_known(self) -> None:
        so_far = told(run_started()).runs[1].so_far
        assert (so_far.success_rate, so_far.output_tps, so_far.ttft_ms.value) == (None, None, None)

    @pytest.mark.parametrize("every", [1, 7, 1000])
    def test_a_median_does_not_depend_on_when_it_is_asked_for(self, every: int) -> None:
        random = Random(every)
        values, median = [random.random() for _ in range(999)], Median()
        for at, value in enumerate(values, 1):
            median.add(value)
            if at % every == 0:
                assert median.value == percentile(sorted(values[:at]), 50)
        assert median.value == sorted(values)[499]


class TestSamples:
    def test_readings_that_are_far_apart_are_not_joined(self) -> None:
        story = told(run_started(), *(sampled(at, gpu_percent=10 * at) for at in (1, 2, 4.5, 7.1)))
        assert list(story.runs[1].samples["gpu_percent"]) == [(1, 10), (2, 20), (4.5, 45), (4.5, None), (7.1, 71)]

    def test_what_is_unknown_or_nothing_is_left_out(self) -> None:
        story = told(run_started(), sampled(1, gpu_percent=None, gpu_power_w=0.0, brand_new=4.0, swapouts=0))
        assert set(story.runs[1].samples) == {"swapouts"}
        assert story.runs[1].latest == {"swapouts": 0}

    def test_another_server_in_between_is_a_gap(self) -> None:
        story = told(
            run_started(1, "mlx"),
            run_started(2, "llama"),
            block_started(run=1),
            sampled(1, gpu_percent=5),
            block_started(run=2),
            sampled(1.5, run=2, gpu_percent=7),
            block_started(run=1, turn=2),
            sampled(2, gpu_percent=6),
        )
        assert list(story.runs[1].samples["gpu_percent"]) == [(1, 5), (1, None), (2, 6)]
        assert list(story.runs[2].samples["gpu_percent"]) == [(1.5, 7), (1.5, None)]


class TestSeries:
    def test_of_four_points_two_are_kept(self) -> None:
        points: list[course.Point] = [(0, 5.0), (1, 9.0), (2, 1.0), (3, 4.0), (4, 2.0), (4, None), (6, 7.0)]
        assert halved(points) == [(1, 9.0), (2, 1.0), (4, 2.0), (4, None), (6, 7.0)]

    def test_long_ones_are_thinned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(course, "MOST_POINTS", 100)
        series, alone = Series(), Series()
        for at in range(1000):
            series.put(at, 500 if at == 321 else at % 7)
            alone.put(at, at)
            alone.cut()
        assert len(series) <= 100
        assert (321, 500) in series
        assert [x for x, _ in series] == sorted(x for x, _ in series)
        assert len(alone) <= 101
        assert alone[-2:] == [(999, 999), (999, None)]

    def test_of_many_the_coarser_ones_are_seen_and_the_newest(self) -> None:
        series = Series()
        for at in range(1003):
            series.put(at, 500 if at == 321 else at % 7)
        assert series.seen(100, 109, 10) == [(at, at % 7) for at in range(99, 111)]
        seen = list(series.seen(0, 2000, 100))
        assert len(seen) <= 100 + 3 * 4
        assert (321, 500) in seen
        assert [x for x, _ in seen] == sorted(x for x, _ in seen)
        assert seen[-1] == (1002, 1002 % 7)

    def test_a_cloud_of_many_points_keeps_its_middle_and_its_edges(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of seven values in turn each is met about as often; what was only once the highest is not lost."""
        monkeypatch.setattr(course, "MOST_POINTS", 2000)
        dots = Dots()
        for at in range(5000):
            dots.put(at, 500 if at == 321 else at % 7)
        assert dots.seen(4900, 4909, 10) == [(at, at % 7) for at in range(4899, 4911)]
        for most in (100, 500):
            seen = dots.seen(0, 5000, most)
            assert len(seen) <= most + 4 * LEVELS
            assert (321, 500) in seen
            assert seen[-1] == (4999, 4999 % 7)
            assert [x for x, _ in seen] == sorted(x for x, _ in seen)
            assert {y for _, y in seen} == {0, 1, 2, 3, 4, 5, 6, 500}

    def test_gaps_are_seen_in_coarser_ones_as_well(self) -> None:
        series = Series()
        for at in range(300):
            series.put(at, 1.0)
            if at == 149:
                series.cut()
        seen = list(series.seen(0, 300, 80))
        assert len(seen) < 160
        (gap,) = [at for at, (_, y) in enumerate(seen) if y is None]
        assert seen[gap - 1][0] < 150 <= seen[gap + 1][0]

    def test_where_every_point_stands_alone_nothing_grows_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(course, "MOST_POINTS", 100)
        series = Series()
        for at in range(1000):
            series.put(at, at)
            series.cut()
        assert len(series.seen(0, 1000, 10)) <= 101
        assert list(series.seen(0, 1000, 10))[-2:] == [(999, 999), (999, None)]


class TestSeveralRuns:
    def test_servers_take_turns(self) -> None:
        story = told(run_started(1, "mlx"), run_started(2, "llama", at=0.1))
        mlx, llama = story.runs[1], story.runs[2]
        told(changed("ready", 1), block_started(run=1), ticked(2, left=20, elapsed=1), story=story)
        assert story.current is mlx
        told(ended(call("a", 1, 1, 2, 4)), block_ended(elapsed=3), changed("stopping", 1), story=story)
        assert story.current is None
        told(changed("stopped", 1), changed("loading", 2), story=story)
        assert story.current is llama
        told(block_started(run=2), ticked(7, run=2, elapsed=1), ended(call("a", 6, 6, 7, 8), run=2), story=story)
        assert (story.progress(), story.left_s()) == ((2, 8), 14)
        told(block_ended(run=2, elapsed=2), changed("ready", 1), block_started(turn=2), ticked(11, turn=2), story=story)
        assert story.current is mlx
        assert [span.round for span in mlx.spans] == [1, 2]
        assert [span.round for span in llama.spans] == [1]
        assert (mlx.first_s(), llama.first_s()) == (1, 6)
        assert list(mlx.speed) == [(2, 100), (2, None), (11, 100)]
        told(run_ended(1), story=story)
        assert not story.over
        told(run_ended(2), story=story)
        assert story.over

    def test_a_server_that_fails_leaves_the_others(self) -> None:
        story = told(
            run_started(1, "mlx"),
            run_started(2, "llama"),
            changed("loading", 1),
            Warned(run=1, message="no memory"),
            changed("loading", 2),
            block_started(run=2),
            ended(call("a", 0, 0, 1, 2), run=2),
            run_ended(1, "failed", calls=0),
            run_ended(2),
        )
        assert (story.runs[1].status, story.runs[2].status) == ("failed", "done")
        assert lines(story, "error") == ["mlx: failed, 0 of 0 calls good"]
        assert lines(story, "warn") == ["no memory"]
        assert story.runs[1].first_s() is None
        assert story.over


def report(**more: Any) -> Report:
    given: dict[str, Any] = {"id": 5, "server": "mlx", "url": "u", "model": "m", "scenario": "single", "label": ""}
    given |= {"status": "done", "message": "", "started_at": "", "setup": {"rounds": 2}, "facts": {"caveats": ["odd"]}}
    given |= {"summary": summary(warnings=["late"]), "telemetry": Telemetry()}
    return Report(**(given | more))


def at_ms(*offsets: int, pieces: Iterable[int] = ()) -> tuple[array[int], array[int], array[int]]:
    """Where nothing is said of pieces, each read brought one."""
    return array("I", [1000 * offset for offset in offsets]), array("I", pieces), array("I")


class TestStored:
    def test_a_run_out_of_the_database(self) -> None:
        calls = [
            call("w", 10, 10, 10.2, 11, "warmup", 0, n_output=2),
            call("a", 12, 12, 13, 14, n_output=4),
            call("b", 14, 14, None, 15, outcome="reset", message="gone"),
            call("c", 20, 20, 20.5, 21, turn=2, n_output=4),
        ]
        samples = [
            Sample(source="one", at_ns=ns(1), values={"gpu_percent": 1}),
            Sample(source="one", at_ns=ns(9), since_ns=ns(8), values={"gpu_percent": 3, "ram_used_bytes": 8}),
            Sample(source="two", at_ns=ns(9.5), since_ns=ns(9), values={"gpu_percent": 99}),
            Sample(source="one", at_ns=ns(10), since_ns=ns(9), values={"gpu_percent": 5, "ram_used_bytes": 9}),
        ]
        generator = Generator(lag_max_ms=1.5, loop_lag_max_ms=2.0)
        doubts = (Doubt(key="swap", level="suspicious", text="swapped"),)
        told = summary(calls=3, warnings=["late"], generator=generator, doubts=doubts)
        story = of_run(report(summary=told), calls, samples, {})
        mlx = story.runs[5]
        assert story.origin_ns == ns(9)  # what was read long before the first call is left out
        assert mlx.spans == [Span("warmup", 0, 1, 2), Span("measured", 1, 3, 6), Span("measured", 2, 11, 12)]
        assert mlx.first_s() == 3
        assert [bar.state for bar in mlx.bars(0)] == ["warmup", "good", "failed", "good"]
        assert list(mlx.ttft) == [(5, 1000), (12, 500)]
        assert list(mlx.samples["gpu_percent"]) == [(-0.5, 3), (0.5, 5)]
        assert list(mlx.samples["ram_used_bytes"]) == [(0, 8), (1, 9)]
        assert (mlx.errors, mlx.lag_ms, mlx.caveats) == ({"reset": 1}, 2.0, ["odd"])
        assert [doubt.text for doubt in mlx.doubts] == ["swapped"]
        assert (mlx.status, mlx.rounds, story.over, story.progress()) == ("done", 2, True, (3, 3))
        assert list(mlx.speed) == []
        assert lines(story) == ["mlx b: reset: gone", "late"]
        assert story.newest_s == 12

    def test_speed_is_that_of_all_calls_together(self) -> None:
        # Two calls side by side for a second: 10 pieces each, evenly, of 2 tokens a piece in the first.
        offsets = range(50, 1000, 100)
        calls = [call("a", 0, 0, 0.05, 1, n_output=20), call("b", 0, 0, 0.05, 1, lane=1, n_output=10)]
        story = of_run(report(), calls, [], {"a": at_ms(*offsets), "b": at_ms(*offsets)})
        speed = story.runs[5].speed
        assert [x for x, _ in speed] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
        assert [y for _, y in speed] == pytest.approx([30.0] * 5)

    def test_tokens_are_shared_out_by_pieces(self) -> None:
        calls = [call("a", 0, 0, 0.1, 0.4, n_output=8)]
        story = of_run(report(), calls, [], {"a": at_ms(100, 400, pieces=[3, 1])})
        assert [(round(x, 3), y) for x, y in story.runs[5].speed] == [(0.1, 30.0), (0.3, 10.0)]

    def test_where_no_call_is_under_way_there_is_no_speed(self) -> None:
        calls = [call("a", 0, 0, 0.1, 0.4, n_output=4), call("b", 3, 3, 3.1, 3.2, n_output=2)]
        story = of_run(report(), calls, [], {"a": at_ms(100, 150, 300, 400), "b": at_ms(100, 200)})
        speed = list(story.runs[5].speed)
        assert [(round(x, 3), y) for x, y in speed] == [(0.1, 10.0), (0.3, 10.0), (0.3, None), (3.1, 10.0)]

    def test_a_reply_in_one_piece_tells_no_speed(self) -> None:
        calls = [call("a", 0, 0, 1, 1, n_output=50)]
        assert list(of_run(report(), calls, [], {"a": at_ms()}).runs[5].speed) == []
        assert list(of_run(report(), calls, [], {}).runs[5].speed) == []

    def test_a_run_without_calls(self) -> None:
        story = of_run(report(status="failed", message="it did not start"), [], [], {})
        assert story.over
        assert lines(story, "error") == ["it did not start"]
        assert not story.runs[5].bars(0)


def test_events_survive_their_way_through_the_pipe() -> None:
    from infertui.event import line, parse

    events = [run_started(), block_started(), ticked(1, under_way=[flying("a", 0, 0)]), ended(call("a", 0, 0, 1, 2))]
    read = [parse(line(event)) for event in events]
    story = told(*(event for event in read if event is not None))
    assert len(story.runs[1].bars(2)) == 1
    assert msgspec.to_builtins(read[2]) == msgspec.to_builtins(events[2])


def test_calls_that_fail_before_the_rounds_are_counted_apart() -> None:
    refused = msgspec.structs.replace(call("w1", 3, 3, None, 5, "warmup", 0), outcome="http-500")
    story = told(run_started(), block_started("warmup", 0), ended(refused))
    assert (story.runs[1].early, story.runs[1].errors) == ({"http-500": 1}, {})


def test_the_time_left_is_told_as_the_least_where_it_is() -> None:
    story = told(run_started(), block_started(), ticked(7, left=31.2))
    assert story.left() == "31 s left"
    told(msgspec.structs.replace(ticked(8, left=25.0), left_least=True), story=story)
    assert story.left() == "at least 25 s left"
    told(ended(call("r1", 6, 6, 6.5, 60)), story=story)
    assert story.left() == ""  # it took longer
