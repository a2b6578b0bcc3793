"""The page of a run, on runs that were really measured, at both sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from infertui.metric import CallRecord
from infertui.report.figure import number
from infertui.stats import Distribution
from infertui.tui.screens.call_section import _columns as call_columns
from infertui.tui.screens.run import RunScreen
from infertui.tui.screens.run_section import TimelineSection
from infertui.tui.screens.section import Filter
from infertui.tui.widgets import Reader
from tests.kept import EVIL, FAULTY, FIRST, LARGE, SECOND, SIZES, SMALL, Face, play, until
from tests.kept import db as db
from tests.kept import measured as measured


async def opened(pilot: Pilot[None], run: int) -> RunScreen:
    """The page of a run, with its replies looked at."""
    app = pilot.app
    assert isinstance(app, Face)
    await until(pilot, "runs")
    app.show_run(run)
    await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.opened is not None)
    screen = app.screen
    assert isinstance(screen, RunScreen)
    await until(pilot, lambda: screen.opened is not None and screen.opened.flagged)
    return screen


@pytest.mark.parametrize("size", SIZES)
def test_every_section_of_a_run_shows_what_there_is(db: Path, size: tuple[int, int]) -> None:
    found = {
        "Figures": "Time to first token",
        "Distribution": "% of calls",
        "Timeline": "decodes",
        "Samples": "% of all cores",
        "Calls": "r1-001",
        "Warnings": "What limited it",
        "Set-up": "experiment",
        "Log": "This run started no server",
    }

    async def act(app: Face, pilot: Pilot[None]) -> None:
        screen = await opened(pilot, FIRST)
        for title, text in found.items():
            assert screen.sections is not None
            assert screen.sections.opened == title
            if title == "Warnings":  # a quiet machine leaves nothing to say but what could not be sampled
                await until(pilot, lambda: "What " in app.shown or "Nothing stands" in app.shown)
            else:
                await until(pilot, text)
            assert all(len(line) == size[0] for line in app.shown.splitlines())
            await pilot.press("]")
        assert screen.sections is not None
        assert screen.sections.opened == "Figures"
        await pilot.press("left")
        await until(pilot, lambda: screen.sections is not None and screen.sections.opened == "Log")
        await pilot.click("#section-names", offset=(app.shown.splitlines()[2].index("Calls") + 1, 0))
        await until(pilot, lambda: screen.sections is not None and screen.sections.opened == "Calls")
        await pilot.press("q")
        await until(pilot, "4 runs")

    play(db, size, act)


def test_the_figures_are_those_of_the_command_and_are_copied_as_markdown(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        screen = await opened(pilot, FIRST)
        report = screen.opened.whole.report if screen.opened is not None else None
        assert report is not None
        ttft = report.summary.metrics["ttft_ms"]
        assert isinstance(ttft, Distribution)
        await until(pilot, number(ttft.p50))
        await pilot.press("G")
        await until(pilot, "replies: 12 fine")
        await pilot.press("g", "v")
        await until(pilot, "Time to headers")
        await pilot.press("y")
        await until(pilot, lambda: app.copied)
        assert app.copied[0].startswith(f"# Run {FIRST}: concurrent")

    play(db, LARGE, act)


def test_the_timeline_is_zoomed_moved_and_stepped_through(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        screen = await opened(pilot, FIRST)
        await pilot.press("]", "]")
        await until(pilot, "decodes")
        section = screen.query_one(TimelineSection)
        whole = section._whole
        span = whole[1] - whole[0]

        def window() -> tuple[float, float]:
            return section._window

        await pilot.press("plus")
        assert window()[1] - window()[0] == pytest.approx(span / 2)
        await pilot.press("comma", "comma", "comma", "comma")
        assert window()[0] == pytest.approx(whole[0])
        await pilot.press("minus", "minus")
        assert window() == pytest.approx(whole)
        await pilot.press("greater_than_sign")
        first = window()
        await pilot.press("greater_than_sign")
        assert window()[0] > first[0]
        await pilot.press("less_than_sign")
        assert window() == first
        await pilot.press("0")
        assert window() == pytest.approx(whole)
        await pilot.press("m")
        await until(pilot, lambda: screen.maximized is not None and screen.maximized.size.height > 15)
        await pilot.press("m")
        await until(pilot, lambda: screen.maximized is None)

    play(db, SMALL, act)


@pytest.mark.parametrize("size", SIZES)
def test_calls_are_found_read_and_copied_as_curl(db: Path, size: tuple[int, int]) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        screen = await opened(pilot, FAULTY)
        await pilot.press("]", "]", "]", "]")
        await until(pilot, "failed")
        await pilot.press("slash", *"failed")
        await until(pilot, lambda: " of " in app.shown and "http" in app.shown)
        failed = [call for call in screen.opened.whole.calls if not call.good] if screen.opened is not None else []
        assert f"{len(failed)} of" in app.shown
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Reader) and "asked (" in app.screen._shown)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: not app.screen.query_one(Filter).value)
        await pilot.press("u")
        await until(pilot, lambda: app.copied)
        assert app.copied[0].startswith("curl -sN http://127.0.0.1:")
        assert json.loads(app.copied[0].split(" -d ", 1)[1].strip("'").replace("'\"'\"'", "'"))["model"] == "mock"
        await pilot.press("slash", *"nothing-like-it")
        await until(pilot, "No call has all of these words")
        await pilot.press("escape", "escape")
        await until(pilot, "4 runs")

    play(db, size, act)


def test_names_of_prompts_get_the_room_that_outcomes_leave() -> None:
    def call(prompt: str, outcome: str = "ok", message: str = "") -> CallRecord:
        return CallRecord(
            name="r1-001", role="measured", round=1, lane=0, kind="k", prompt_id=prompt, prompt_hash="", max_tokens=8,
            sched_ns=0, outcome=outcome, message=message,
        )  # fmt: skip

    def sizes(width: int, *calls: CallRecord) -> dict[str, int | None]:
        return {column.key: column.width for column in call_columns(calls, width)}

    # 80 less call 6, ttft 7, e2e 7, tok 5, tok/s 6, flag 7, and 2 for each of 8 columns: 26 for both
    long = "reasoning-long-division"
    for made, prompt, outcome in (
        (call(long), 19, 7),
        (call(long, "http", "nobody is there"), 13, 13),
        (call("short"), 6, 20),
    ):
        found = sizes(80, made)
        assert (found["prompt"], found["outcome"]) == (prompt, outcome)


def test_samples_that_nobody_wanted_are_said_to_be_so(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await opened(pilot, FAULTY)
        await pilot.press("]", "]", "]")
        await until(pilot, "Nothing was sampled: the run was asked not to")
        await pilot.press("]", "]")
        await until(pilot, "What went wrong")
        await pilot.press("y")
        await until(pilot, lambda: app.copied)
        assert "What went wrong\n  http" in app.copied[0]

    play(db, SMALL, act)


def test_a_run_is_tagged_noted_and_compared_from_its_page(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await opened(pilot, SECOND)
        await pilot.press("t")
        await until(pilot, f"Tags of run {SECOND}")
        await pilot.press(*"good", "enter")
        await until(pilot, "#good")
        await pilot.press("n")
        await until(pilot, "Note on run")
        await pilot.press(*"why", "enter")
        await until(pilot, "#good  why")
        await pilot.press("c")
        await until(pilot, lambda: app.current_mode == "compare")
        assert app.comparing[0] == [FIRST, SECOND]

    play(db, SMALL, act)


@pytest.mark.parametrize("size", SIZES)
def test_text_from_elsewhere_stays_text(db: Path, size: tuple[int, int]) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        assert "[bold]x[/]" in app.shown
        seen = app.shown
        screen = await opened(pilot, EVIL)
        for _ in range(8):
            await pilot.pause(0.05)
            seen += app.shown
            await pilot.press("]")
        await pilot.press("]", "]", "]", "]")
        await until(pilot, "looping")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Reader) and "it repeats" in app.shown)
        seen += app.shown
        await pilot.press("G")
        await pilot.pause()
        seen += app.shown
        await pilot.press("escape", "y")
        assert not [char for char in seen if char in "\x1b\x07\u202e"]
        assert "␛]0;x␇" in seen
        assert "<202E>evil" in seen
        assert screen.opened is not None

    play(db, size, act)
