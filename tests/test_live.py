"""The live page on recorded events: two servers in turn, two rounds, four calls at once; and on events made by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from infertui.event import (
    BlockEnded,
    BlockStarted,
    CallEnded,
    Event,
    RunEnded,
    RunStarted,
    Sampled,
    ServerChanged,
    Ticked,
    UnderWay,
    Waited,
    Warned,
)
from infertui.metric import CallRecord, Generator, summarise
from infertui.sample import Values
from infertui.tui.app import InferTUI
from infertui.tui.chart import Chart
from infertui.tui.course import LEVELS
from infertui.tui.lanes import Lanes
from infertui.tui.screens.headline import lag_style, standing
from infertui.tui.screens.live import Happened, LiveScreen
from infertui.tui.screens.panels import MOST_POINTS, View, turns
from infertui.tui.story import Story
from tests.recorded import events

EVENTS = events()
SIZES = [(80, 24), (120, 30)]
SMALL, LARGE = SIZES
SECOND = 1_000_000_000
HOSTILE = "[red]x[/] \x1b[2J [@click=app.quit]y[/]"


class Runner:
    """Stands for the process that measures."""

    def __init__(self) -> None:
        self.alive = True
        self.asked_to_stop = 0

    def stop(self) -> None:
        self.asked_to_stop += 1


class Host(InferTUI):
    """The app, open on the live page; what it is asked for is noted."""

    DEFAULT_MODE = "live"

    def __init__(self, db: Path) -> None:
        super().__init__(str(db))
        self.asked: list[tuple[str, Any]] = []

    def compare(self, runs: Sequence[int], baseline: int | None = None) -> None:
        self.asked.append(("compare", list(runs)))

    def show_run(self, run: int) -> None:
        self.asked.append(("run", run))

    def copy(self, text: str, what: str) -> Any:
        self.asked.append(("copy", text))

    @property
    def live(self) -> LiveScreen:
        screen = self.screen
        assert isinstance(screen, LiveScreen)
        return screen

    def tells(self, *events: Event, running: bool = True) -> None:
        """These have come; the page looks at them now."""
        story = self.story or Story()
        for event in events:
            story.add(event)
        self.story = story
        self.child = cast(Any, Runner()) if running and self.child is None else self.child if running else None
        self.live._look_now()

    @property
    def rows(self) -> list[str]:
        """What stands on the screen."""
        return ["".join(part.text for part in strip) for strip in self.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Opens the page so large and does something with it. Time stands still: it is the story's newest."""
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(LiveScreen, "_now_s", lambda self: 0.0 if self._story is None else self._story.newest_s)

    def play(size: tuple[int, int], act: Callable[[Host, Pilot[None]], Awaitable[None]]) -> None:
        async def run() -> None:
            app = Host(tmp_path / "results.db")
            async with app.run_test(size=size) as pilot:
                await act(app, pilot)

        asyncio.run(run())

    return play


Play = Callable[..., None]


def until(kind: type[Event], count: int) -> list[Event]:
    """The recorded events up to the so-manieth of that kind, with it."""
    seen = 0
    for at, event in enumerate(EVENTS):
        seen += isinstance(event, kind)
        if seen == count:
            return EVENTS[: at + 1]
    raise AssertionError(f"there are only {seen}")


HALF = until(CallEnded, 30)  # in the second server's first round


def started(run: int = 1, server: str = "alpha", calls: int = 8, rounds: int = 2, **more: Any) -> RunStarted:
    return RunStarted(
        run=run,
        experiment=1,
        server=server,
        model="m",
        scenario="concurrent",
        rounds=rounds,
        calls=calls,
        clock_ns=0,
        unix_ns=0,
        **more,
    )


def block(run: int = 1, role: str = "measured", round: int = 1, calls: int = 4) -> BlockStarted:
    return BlockStarted(run=run, role=role, round=round, calls=calls, concurrency=4)


def ticked(at_s: float, run: int = 1, begun_s: float = 0.0, **more: Any) -> Ticked:
    told: dict[str, Any] = {
        "role": "measured",
        "round": 1,
        "total": 4,
        "sent": 4,
        "ended": 0,
        "active": 4,
        "failed": 0,
        "tokens": 0,
        "tokens_per_s": 100.0,
        "left_s": None,
        "ttft_ms": None,
        "e2e_ms": None,
        **more,
    }
    return Ticked(run=run, elapsed_s=at_s - begun_s, at_ns=round(at_s * SECOND), **told)


def call(at_s: float, run: int = 1, lane: int = 0, outcome: str = "ok", **more: Any) -> CallEnded:
    """One that was sent then, had its first token half a second later, and its last after a second."""
    start_ns = round(at_s * SECOND)
    good = outcome == "ok"
    told: dict[str, Any] = {"role": "measured", "round": 1, **more}
    record = CallRecord(
        name=f"call-{at_s:g}-{lane}",
        lane=lane,
        kind="router",
        prompt_id="p",
        prompt_hash="h",
        max_tokens=50,
        sched_ns=start_ns,
        send_ns=start_ns,
        first_ns=start_ns + SECOND // 2 if good else None,
        last_ns=start_ns + SECOND if good else None,
        end_ns=start_ns + SECOND,
        n_output=50 if good else None,
        outcome=outcome,
        message="" if good else f"it says {outcome}",
        ttft_ms=500.0 if good else None,
        e2e_ms=1000.0 if good else None,
        **told,
    )
    return CallEnded(run=run, call=record)


def ended(run: int = 1, status: str = "done", calls: Sequence[CallEnded] = ()) -> RunEnded:
    return RunEnded(run=run, status=status, summary=summarise([each.call for each in calls], [], Generator()))


def sampled(at_s: float, run: int = 1, **values: float) -> Sampled:
    return Sampled(run=run, at_ns=round(at_s * SECOND), values=cast(Values, values))


# What is shown.


@pytest.mark.parametrize("size", SIZES)
def test_without_a_run_the_page_says_what_to_do(played: Play, size: tuple[int, int]) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        await pilot.pause()
        assert "No run yet: 1 opens Launch, r starts one" in app.text
        for key in ("space", "x", "plus", "minus", "0", "l", "f", "v", "o", "y", "enter", "left", "]"):
            await pilot.press(key)
        assert app.asked == []
        assert app.live.check_action("log", ()) is None

    played(size, act)


def test_before_the_run_has_a_number_it_begins_and_when_it_never_had_one_it_says_why(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells()
        await pilot.pause()
        assert "The run begins" in app.text
        app.tells(Warned(run=None, message="no profile is called 'x'"), running=False)
        await pilot.pause()
        assert "no profile is called 'x'" in app.text
        assert app.live.query_one("#live-notice").has_class("-failed")

    played(SMALL, act)


@pytest.mark.parametrize("size", SIZES)
def test_half_way(played: Play, size: tuple[int, int]) -> None:
    """30 calls have ended: 4 + 4 to warm up and alone of each server, and 8 + 6 of the 32 that count."""

    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*HALF)
        await pilot.pause()
        text = app.text
        assert "concurrent · round 1 of 2, 4 at once · ● B embedded-mlx" in text
        assert " 14/32" in text
        assert "4 under way" in text or "2 under way" in text
        assert "0 failed" in text
        assert re.search(r"● A embedded-llama +1/2 rounds +8/16 +100 %", text)
        assert re.search(r"▸● B embedded-mlx.* +round 1/2 +6/16 +100 %", text)
        assert "Tokens/s" in text
        assert "Latency ms" in text
        assert ("Memory MiB" in text) == (size == LARGE)
        assert "Calls" in text
        assert all(len(row) == size[0] for row in app.rows)

    played(size, act)


@pytest.mark.parametrize("size", SIZES)
def test_at_the_end_each_server_has_its_figures(played: Play, size: tuple[int, int]) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*EVENTS, running=False)
        await pilot.pause()
        text = app.text
        assert "1 done, 1 suspicious" in text
        assert "2 servers" in text
        assert "32/32" in text
        assert "enter compares the runs" in text
        assert "! other programs used 13 % of all cores; 10 % is tolerated" in text
        for server in EVENTS:
            if isinstance(server, RunEnded):
                tps = server.summary.metrics["output_tps"]
                assert f"{tps:.1f}" in text
        assert re.search(r"embedded-llama +done +16/16 +100 % +\S+ +185\.9 +325\.2", text)
        assert re.search(r"embedded-mlx.* +suspicious +16/16 +100 % +\S+ +5,331 +5,920", text)
        await pilot.press("enter")
        await pilot.press("o")
        assert app.asked == [("compare", [1, 2]), ("run", 1)]  # the server that was measured last

    played(size, act)


def test_one_server_has_no_letter_and_a_line_only_at_its_end(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        calls = [call(1.0), call(1.0, lane=1), call(2.0)]
        app.tells(started(calls=3, rounds=1), block(calls=3), ticked(1.1, begun_s=1.0), *calls[:2])
        await pilot.pause()
        assert "● A" not in app.text
        assert "● TTFT 500.0" in app.text or "● TTFT" in app.text
        assert "TTFT 500.0 ms" in app.text
        assert "2/3" in app.text
        app.tells(calls[2], BlockEnded(run=1, role="measured", round=1, elapsed_s=2.0), ended(calls=calls))
        await pilot.pause()
        assert re.search(r"alpha +done +3/3 +100 % +75\.0 +500\.0 +1,000", app.text)  # 150 tokens in 2 s
        assert "o opens the run" in app.text

    played(SMALL, act)


def test_stopped_half_way(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        first = call(1.0)
        app.tells(started(), block(), ticked(1.1, begun_s=1.0), first)
        await pilot.press("x")
        await pilot.pause()
        assert app.child is not None
        assert app.child.asked_to_stop == 1
        assert "stopping: calls under way may finish; x again stops at once" in app.text
        await pilot.press("x")
        assert app.child.asked_to_stop == 2
        cut = call(1.5, lane=1, outcome="cancelled")
        app.tells(cut, ended(status="stopped", calls=[first, cut]), running=False)
        await pilot.pause()
        assert "concurrent · stopped" in app.text
        assert re.search(r"alpha +stopped +1/8 +100 %", app.text)
        assert "failed: cancelled × 1" in app.text
        assert app.live.check_action("stop", ()) is None

    played(SMALL, act)


def test_a_server_that_did_not_start(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        why = "it ended with code 1: out of memory"
        app.tells(started(), started(run=2, server="beta"))
        app.tells(ServerChanged(run=1, state="loading", message="reading weights", elapsed_s=3.2))
        await pilot.pause()
        assert "loading 0.0 s: reading weights" in app.text
        app.tells(ServerChanged(run=1, state="error", message=why, elapsed_s=4.0))
        await pilot.pause()
        assert f"error: {why}" in app.text
        app.tells(ServerChanged(run=2, state="ready", message="", elapsed_s=0.5), block(run=2))
        app.tells(ticked(1.1, run=2, begun_s=1.0))
        await pilot.pause()
        assert f"alpha: {why}" in app.text
        assert re.search(r"● A alpha +error +0/8 +– +– +– +–", app.text)
        only = call(1.0, run=2)
        app.tells(only, ended(1, "failed"), ended(2, calls=[only]), running=False)
        await pilot.pause()
        assert "1 failed, 1 done" in app.text
        assert re.search(r"● A alpha +failed +0/8", app.text)

    played(SMALL, act)


def test_a_run_that_was_killed_keeps_what_came(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        reason = "the run was killed (SIGKILL): what it had measured is kept"
        app.tells(*HALF)
        app.tells(Warned(run=None, message=reason), running=False)
        await pilot.pause()
        assert "concurrent · cut off" in app.text
        assert re.search(r"▸● B embedded-mlx.* +cut off +6/16", app.text)
        assert reason in app.text
        assert "14/32" in app.text
        await pilot.press("c")
        assert app.asked == [("compare", [1, 2])]

    played(LARGE, act)


def test_every_call_fails(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        calls = [call(1.0 + lane / 10, lane=lane, outcome="timeout" if lane else "http") for lane in range(4)]
        app.tells(started(calls=4, rounds=1), block(), ticked(1.1, begun_s=1.0), *calls)
        await pilot.pause()
        assert "4 failed" in app.text
        assert "failed: http × 1, timeout × 3" in app.text
        assert "no measured call has ended yet" in app.text
        app.tells(ended(status="failed", calls=calls), running=False)
        await pilot.pause()
        assert re.search(r"alpha +failed +4/4 +0 % +– +– +–", app.text)

    played(SMALL, act)


def test_a_wait_has_its_reason_and_its_countdown(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        def waited(left_s: float) -> Waited:
            reason = "other programs use 31 % of all cores; 10 % is tolerated"
            return Waited(run=1, until="calm", cause="foreign_cpu", reason=reason, left_s=left_s)

        app.tells(started(), waited(30.0))
        await pilot.pause()
        assert "concurrent · waits" in app.text
        assert "waits, 30 s at most: other programs use 31 % of all cores" in app.text
        app.tells(waited(29.0))
        await pilot.pause()
        assert "waits, 29 s at most" in app.text
        app.tells(block())
        await pilot.pause()
        assert "at most" not in app.text

    played(SMALL, act)


@pytest.mark.parametrize("size", SIZES)
def test_text_from_elsewhere_is_only_text(played: Play, size: tuple[int, int]) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(started(server=HOSTILE, caveats=[HOSTILE]), started(run=2, server=HOSTILE))
        app.tells(ServerChanged(run=1, state="loading", message=HOSTILE, elapsed_s=1.0), Warned(run=1, message=HOSTILE))
        await pilot.press("l")
        await pilot.pause()
        assert "[red]x[/]" in app.text
        assert "\x1b" not in app.text
        app.tells(Warned(run=None, message=HOSTILE), running=False)
        await pilot.pause()
        assert "[red]x[/]" in app.rows[4]

    played(size, act)


def test_charts_for_which_nothing_is_known_are_not_shown(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        def shown() -> list[str]:
            return [chart.heading for chart in app.live.query(Chart) if chart.display]

        app.tells(started(), block(), ticked(1.1, begun_s=1.0))
        await pilot.pause()
        assert shown() == ["Tokens/s", "Latency", "CPU", "Memory"]
        assert "nothing read yet" in app.text
        app.tells(sampled(1.2, machine_cpu_percent=50.0, system_power_w=0.0))
        assert shown() == ["Tokens/s", "Latency", "CPU"]
        app.tells(sampled(1.4, server_private_bytes=3.0 * 2**30, gpu_percent=80.0, system_power_w=40.0))
        assert shown() == ["Tokens/s", "Latency", "CPU and GPU", "Memory"]
        assert app.live.query_one("#live-memory", Chart).unit == "GiB"
        await pilot.press("]")
        await pilot.pause()
        assert shown() == ["Power"]
        assert "● system 40.0" in app.text
        await pilot.press("]")
        assert shown() == ["Tokens/s", "Latency", "CPU and GPU", "Memory"]

    played(LARGE, act)


def test_a_small_terminal_reaches_all_charts_by_turning(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*HALF)
        await pilot.pause()
        seen = [app.rows[8].split("  ")[0], app.rows[12].split("  ")[0]]
        await pilot.press("]")
        await pilot.pause()
        assert "charts 2/2" in app.text
        seen += [app.rows[8].split(" ")[0], app.rows[12].split("  ")[0]]
        assert seen == ["Tokens/s", "Latency ms", "CPU", "Memory MiB"]
        await pilot.press("[")
        await pilot.pause()
        assert "charts 1/2" in app.text

    played(SMALL, act)


def test_the_smallest_terminal_has_a_chart_and_the_calls(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*HALF)
        await pilot.pause()
        assert "charts 1/4" in app.text
        assert "Tokens/s" in app.text
        assert "Calls" in app.text
        assert re.search(r"B embedded.* +round 1/2 +\S+ +5,\d{3} +5,\d{3}", app.text)

    played((60, 18), act)


# What keys do.


def spans(app: Host) -> tuple[float, float]:
    return app.live.query_one("#live-speed", Chart)._plot.x


def test_the_picture_is_held_and_the_run_goes_on(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*HALF)
        held = spans(app)
        await pilot.press("space")
        app.tells(*EVENTS[len(HALF) : len(HALF) + 100])
        await pilot.pause()
        assert "PAUSED" in app.text
        assert spans(app) == held
        assert app.story is not None
        assert app.story.newest_s > held[1]
        await pilot.press("space")
        await pilot.pause()
        assert "PAUSED" not in app.text
        assert spans(app) == (0.0, app.story.newest_s)
        await pilot.press("space")
        app.tells(*EVENTS[len(HALF) + 100 :], running=False)
        await pilot.pause()
        assert "PAUSED" in app.text
        assert "enter compares the runs" in app.text
        await pilot.press("space")  # also when there is nothing left to hold
        await pilot.pause()
        assert "PAUSED" not in app.text
        assert spans(app) == (0.0, app.story.newest_s)

    played(LARGE, act)


def test_time_is_zoomed_and_moved_in(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(started(), block(calls=100), *(ticked(at, begun_s=1.0) for at in range(1, 101)))
        assert spans(app) == (0.0, 100.0)
        await pilot.press("plus")
        await pilot.pause()
        assert spans(app) == (40.0, 100.0)
        assert "last 1 min" in app.text
        await pilot.press("equals_sign", "plus", "plus")
        assert spans(app) == (90.0, 100.0)  # not shorter than that
        await pilot.press("minus")
        assert spans(app) == (70.0, 100.0)
        await pilot.press("left")  # a quarter of 30 s; it pauses
        await pilot.pause()
        assert spans(app) == (62.5, 92.5)
        assert "PAUSED" in app.text
        assert "8 s back" in app.text
        await pilot.press(*["left"] * 20)
        assert spans(app) == (0.0, 30.0)
        await pilot.press("right")
        assert spans(app) == (7.5, 37.5)
        await pilot.press("space")
        assert spans(app) == (70.0, 100.0)
        await pilot.press("0")
        assert spans(app) == (0.0, 100.0)

    played(LARGE, act)


def test_of_a_long_run_the_last_two_minutes_are_drawn(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(started(), block(calls=100), *(ticked(at, begun_s=1.0) for at in range(1, 601)))
        await pilot.pause()
        assert spans(app) == (480.0, 600.0)
        assert "last 2 min" in app.text
        await pilot.press("minus")
        assert spans(app) == (300.0, 600.0)
        await pilot.press("0")
        await pilot.pause()
        assert spans(app) == (0.0, 600.0)

    played(LARGE, act)


def test_a_run_that_has_just_begun_has_ten_seconds_of_axis(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(started(), block(), ticked(1.5, begun_s=1.0))
        assert spans(app) == (0.0, 10.0)

    played(SMALL, act)


def test_the_server_before_lies_beneath_and_can_be_put_away(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        def ghosts() -> list[str]:
            return [line.label for line in app.live.query_one("#live-speed", Chart)._plot.lines if line.ghost]

        app.tells(*HALF)
        assert ghosts() == ["A before"]
        await pilot.press("f")
        assert ghosts() == []
        await pilot.press("f")
        assert ghosts() == ["A before"]
        app.tells(*EVENTS[len(HALF) :], running=False)
        assert ghosts() == ["B before"]  # the first server's second turn came last

    played(LARGE, act)


def test_one_server_alone_is_shown_in_its_own_time(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        def labels() -> list[str]:
            lines = app.live.query_one("#live-latency", Chart)._plot.lines
            return [line.label for line in lines if not line.ghost]

        app.tells(*EVENTS, running=False)
        assert labels() == ["A e2e", "A TTFT", "B e2e", "B TTFT"]
        await pilot.press("v")
        await pilot.pause()
        assert labels() == ["e2e", "TTFT"]
        assert "A embedded-llama (only this one is shown: v)" in app.text
        await pilot.press("v")
        await pilot.pause()
        assert "B embedded-mlx" in app.rows[1]
        assert "Calls · B" in app.text
        course = app.story.runs[2] if app.story is not None else None
        assert course is not None
        assert spans(app) == (course.spans[0].start_s, course.spans[-1].end_s)
        await pilot.press("o")
        assert app.asked == [("run", 2)]
        await pilot.press("v")
        assert len(labels()) == 4

    played(LARGE, act)


def test_a_chart_alone_and_back(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*HALF)
        chart = app.live.query_one("#live-latency", Chart)
        chart.focus()
        await pilot.press("m")
        await pilot.pause()
        assert app.live.maximized is chart
        assert chart.size.height > 20
        assert chart._plot.x_ticks
        before = spans(app)
        app.tells(*EVENTS[len(HALF) : len(HALF) + 60])
        await pilot.pause()
        assert chart._plot.x[1] > before[1]
        assert spans(app) == before  # nobody sees that one
        await pilot.press("escape")
        await pilot.pause()
        assert app.live.maximized is None
        assert spans(app) == chart._plot.x

    played(SMALL, act)


@pytest.mark.parametrize("size", SIZES)
def test_the_log(played: Play, size: tuple[int, int]) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*EVENTS, call(40.0, run=1, outcome="timeout"), running=False)
        await pilot.pause()
        assert not app.live.query_one(Happened).display
        await pilot.press("l")
        await pilot.pause()
        log = app.live.query_one(Happened)
        assert log.display
        assert app.live.query_one(Lanes).display == (size == LARGE)
        assert "timeout" in app.text
        lines = [strip.text.rstrip() for strip in log.lines]
        assert lines[0].lstrip().startswith("0.0")
        assert "run 1: concurrent on" in lines[0]
        assert any("× embedded-llama call-40-0:" in line for line in lines)
        log.focus()
        await pilot.press("g")
        await pilot.pause()
        assert log.scroll_offset.y == 0
        app.tells(Warned(run=1, message="something else"), running=False)
        await pilot.pause()
        assert log.scroll_offset.y == 0  # it does not run away from who reads
        await pilot.press("G")
        await pilot.pause()
        assert "something else" in app.text
        await pilot.press("l")
        await pilot.pause()
        assert app.live.query_one(Lanes).display

    played(size, act)


def test_the_figures_are_copied_as_text(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*HALF)
        await pilot.press("y")
        [(what, text)] = app.asked
        assert what == "copy"
        assert "14/32" in text
        assert "~ random weights made on the spot" in text
        assert re.search(r"B embedded-mlx \(CPU stand-in\) +round 1/2 +6/16", text)
        assert all(line == line.rstrip() for line in text.splitlines())

    played(SMALL, act)


def test_nothing_is_drawn_while_nobody_looks(played: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bool] = []
    draw = LiveScreen._draw

    def noted(screen: LiveScreen, picture: bool) -> None:
        drawn.append(picture)
        draw(screen, picture)

    monkeypatch.setattr(LiveScreen, "_draw", noted)

    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*HALF)
        live = app.live
        drawn.clear()
        live._look_now()
        assert drawn == []  # nothing has changed
        await app.push_screen(Screen())
        await pilot.pause()
        drawn.clear()
        assert app.story is not None
        app.story.add(EVENTS[len(HALF)])
        live._look_now()
        assert drawn == []
        app.pop_screen()
        await pilot.pause()
        assert drawn[0] is True

    played(LARGE, act)


def test_another_run_takes_the_place_of_the_one_before(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        app.tells(*EVENTS, running=False)
        await pilot.press("v", "space", "l")
        app.story = None
        app.tells(started(run=7, server="gamma"))
        await pilot.pause()
        assert "gamma" in app.text
        assert "embedded" not in app.text
        assert "PAUSED" not in app.text

    played(LARGE, act)


# Without a screen.


def told(*events: Event) -> Story:
    story = Story()
    for event in events:
        story.add(event)
    return story


def test_turns_and_the_ghost_by_hand() -> None:
    """Alpha's round began at 2 s, beta's at 12 s: alpha's course is drawn 10 s later."""
    done = BlockEnded(run=1, role="measured", round=1, elapsed_s=2.0)
    story = told(
        started(),
        started(run=2, server="beta"),
        block(role="warmup"),
        ticked(1.0, begun_s=0.5, role="warmup"),
        BlockEnded(run=1, role="warmup", round=1, elapsed_s=1.0),
        block(),
        ticked(3.0, begun_s=2.0, tokens_per_s=30.0),
        ticked(4.0, begun_s=2.0, tokens_per_s=40.0),
        done,
        block(run=2),
        ticked(12.5, run=2, begun_s=12.0, tokens_per_s=5.0),
    )
    taken = turns(story)
    assert [(turn.course.server, turn.start_s, turn.measured_s, turn.end_s) for turn in taken] == [
        ("alpha", 0.5, 2.0, 4.0),
        ("beta", 12.0, 12.0, None),
    ]
    panel = View(story).panels(0.0, 20.0)[0]
    ghost = next(line for line in panel.lines if line.ghost)
    assert [point for point in ghost.points if point[1] is not None and point[0] >= 12.0][:2] == [
        (13.0, 30.0),
        (14.0, 40.0),
    ]
    assert not any(line.ghost for line in View(story, ghost=False).panels(0.0, 20.0)[0].lines)


def test_uprights_are_named_and_never_a_fence() -> None:
    said: list[Event] = [started(rounds=30)]
    for number in range(1, 31):
        begun_s = float(number)
        said += [
            block(round=number),
            ticked(begun_s + 0.5, begun_s=begun_s, round=number),
            BlockEnded(run=1, role="measured", round=number, elapsed_s=0.8),
        ]
    view = View(told(*said))
    assert view.marks(0.0, 5.0) == [(float(at), f"round {at}") for at in range(1, 6)]
    assert view.marks(0.0, 40.0) == [(1.0, "round 1")]


def test_a_servers_standing_is_what_its_run_will_say() -> None:
    """Two calls from 1 s to 2 s and one from 2 s to 3 s: 150 tokens in 2 s, of four calls three good."""
    calls = [call(1.0), call(1.0, lane=1), call(2.0), call(2.0, lane=1, outcome="http")]
    story = told(started(), block(), ticked(1.1, begun_s=1.0), *calls)
    assert standing(story.runs[1]) == (4, 0.75, 75.0, 500.0, 1000.0)
    story.add(ended(calls=calls))
    assert standing(story.runs[1]) == (4, 0.75, 75.0, 500.0, 1000.0)


@pytest.mark.parametrize(
    ("lag_ms", "ttft_ms", "style"),
    [
        (None, None, "bold"),
        (2.0, 50.0, "bold"),
        (2.1, 50.0, "bold $text-warning"),
        (6.1, 50.0, "bold $text-warning"),  # it is the worst so far: what counts is the p99
        (20.0, 1000.0, "bold"),  # 2 % of it
        (21.0, 1000.0, "bold $text-warning"),
    ],
)
def test_our_own_lag_is_coloured_beyond_its_limit(lag_ms: float | None, ttft_ms: float | None, style: str) -> None:
    assert lag_style(lag_ms, ttft_ms) == style


@pytest.mark.parametrize("window_s", [10.0, 120.0, 4000.0])
def test_what_is_drawn_of_a_long_run_is_bounded(window_s: float) -> None:
    """Ten calls a second on four lanes, and five ticks, for more than an hour; one of the calls took 2 s."""
    story = told(started(calls=40_000), block(calls=40_000))
    for at in range(40_000):
        story.add(call(at / 10, lane=at % 4, outcome="http" if at == 20_000 else "ok"))
        if at % 2 == 0:
            story.add(ticked(at / 10, begun_s=0.0, tokens_per_s=float(at % 100)))
    view, high = View(story), story.newest_s
    low = max(0.0, high - window_s)
    speed, latency = view.panels(low, high)[:2]
    for line in (*speed.lines, *latency.lines):
        assert 20 < len(line.points) <= MOST_POINTS + 4 * LEVELS
        xs = [x for x, _ in line.points]
        assert xs == sorted(xs)
    assert speed.lines[0].points[-1] == (3999.8, 98.0)
    assert latency.lines[0].points[-1] == (4000.9, 1000.0)
    lanes = view.bars(low, high, high).tracks
    assert [len(track) for track in lanes] == [10_000] * 4
    assert all(len(track.seen(low, high, 100)) <= 200 for track in lanes)
    assert standing(story.runs[1])[:2] == (40_000, 39_999 / 40_000)


def test_the_worst_lag_is_named_so_and_fits(played: Play) -> None:
    async def act(app: Host, pilot: Pilot[None]) -> None:
        told: dict[str, Any] = {"tokens_per_s": 3000.0, "ttft_ms": 500.0, "e2e_ms": 1000.0, "active": 32}
        app.tells(started(), block(), ticked(1.1, begun_s=1.0, lag_ms=12.5, **told))
        await pilot.pause()
        assert "3,000 tok/s TTFT 500.0 ms e2e 1,000 ms 0 failed 32 under way worst lag 12.5 ms" in app.text

    played(SMALL, act)


def test_calls_under_way_are_bars_up_to_now() -> None:
    flying = UnderWay(name="call-1", lane=0, sched_ns=SECOND, send_ns=SECOND, first_ns=2 * SECOND)
    story = told(started(), block(), ticked(3.0, begun_s=1.0, under_way=[flying]), call(1.5, lane=1))
    assert [(bar.lane, bar.state) for bar in View(story).bars(0.0, 3.0, 3.0)] == [(1, "good"), (0, "running")]
    assert [bar.lane for bar in View(story).bars(2.8, 3.0, 3.0)] == [0]
