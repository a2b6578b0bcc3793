"""The page that compares, on runs that were really measured, at both sizes."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from infertui.compare import Comparison, of_store
from infertui.report.compare import cells_of
from infertui.store import Store
from infertui.tui.screens.compare import CompareScreen
from infertui.tui.screens.compare_section import Answer, Figures, Kept, Picked, Prompts, _fitting, kept
from infertui.tui.screens.pick import PickRun
from infertui.tui.screens.run import RunScreen
from infertui.tui.widgets import Reader
from tests.kept import EVIL, FAULTY, FIRST, LARGE, SECOND, SIZES, SMALL, Face, play, until
from tests.kept import db as db
from tests.kept import measured as measured


def compared(db: Path, *runs: int, baseline: int | None = None) -> Comparison:
    with Store(db, write=False) as store:
        return of_store(store, [str(run) for run in runs], None if baseline is None else str(baseline))


async def opened(pilot: Pilot[None], *runs: int) -> CompareScreen:
    app = pilot.app
    assert isinstance(app, Face)
    await until(pilot, "runs")
    app.compare(runs)
    screen = app.screen
    assert isinstance(screen, CompareScreen)
    await until(pilot, "▼ worse")
    return screen


def row(app: Face, label: str) -> str:
    return next(line for line in app.shown.splitlines() if line.strip().startswith(label))


@pytest.mark.parametrize("size", SIZES)
def test_figures_stand_beside_what_they_are_against_the_baseline(db: Path, size: tuple[int, int]) -> None:
    forth, back = compared(db, FIRST, SECOND), compared(db, FIRST, SECOND, baseline=SECOND)
    ttft = cells_of(forth.columns[1].differences["ttft_ms"])
    assert ttft.better == "worse"
    assert cells_of(back.columns[0].differences["ttft_ms"]).better == "better"

    async def act(app: Face, pilot: Pilot[None]) -> None:
        screen = await opened(pilot, FIRST, SECOND)
        line = row(app, "Time to first token")
        assert ttft.figure in line
        assert f"{ttft.difference} {ttft.ratio} ▼" in line
        assert "Good calls                   12 of 12    12 of 12" in app.shown
        await until(pilot, "run 1 · ")
        assert "baseline" in app.shown.splitlines()[2]
        await pilot.click("#compare-runs", offset=(app.shown.splitlines()[2].index("run 2") + 1, 1))
        await until(pilot, "▸run 2")
        await pilot.press("left", "right", "b")
        other = cells_of(back.columns[0].differences["ttft_ms"])
        await until(pilot, f"{other.difference} {other.ratio} ▲")
        assert screen.picked.baseline == SECOND
        assert app.comparing == ([FIRST, SECOND], SECOND)
        await pilot.press("v")
        await until(pilot, lambda: screen.query_one(Figures).row_count > 25)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.run_number == SECOND)
        await pilot.press("escape")
        await until(pilot, "Good calls")
        assert all(len(shown) == size[0] for shown in app.shown.splitlines())

    play(db, size, act)


def test_runs_are_taken_out_and_added(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        screen = await opened(pilot, FIRST, SECOND)
        await pilot.press("delete")
        await until(pilot, lambda: screen.picked.runs == [SECOND])
        assert screen.picked.baseline == SECOND
        await pilot.press("d")
        await until(pilot, "Nothing to compare yet")
        await pilot.press("left", "b", "e", "y", "d", "]")
        await pilot.press("a")
        await until(pilot, "★ the newest run of single on each server")
        await pilot.press(*"pair")
        await until(pilot, lambda: isinstance(app.screen, PickRun) and "evil" not in app.shown)
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.picked.runs == [FIRST])
        await until(pilot, "Good calls")
        await pilot.press("a")
        await until(pilot, "★ the newest run of concurrent on each server")
        shown = [line for line in app.shown.splitlines() if "★" in line]
        assert len(shown) == 3  # of the two other servers, and the line that says so
        await pilot.press(*"no such run")
        await until(pilot, "No run has all of these words")
        await pilot.press("enter", "escape")
        await until(pilot, "Good calls")
        assert screen.picked.runs == [FIRST]

    play(db, SMALL, act)


def test_of_many_runs_those_around_the_cursor_and_the_baseline_are_shown(db: Path) -> None:
    with Store(db, write=False) as store:
        one = kept(store, FIRST)
    picked = Picked()
    for run in range(1, 9):
        report = msgspec.structs.replace(one.report, id=run)
        picked.known[run] = Kept(report, one.replies, one.machine)
    picked.runs, picked.baseline = list(range(1, 9)), 3
    picked.compare()
    assert picked.comparison is not None
    assert _fitting(picked.comparison, 0, 79) == ([0, 2], False)
    assert _fitting(picked.comparison, 7, 79) == ([2, 7], False)
    assert _fitting(picked.comparison, 5, 119) == ([2, 4, 5, 6], False)
    assert _fitting(picked.comparison, 5, 400) == (list(range(8)), True)
    picked.runs = [1, 2]
    picked.compare()
    assert picked.baseline == 1  # the one before is not among them
    assert picked.comparison is not None
    assert _fitting(picked.comparison, 0, 79) == ([0, 1], True)


@pytest.mark.parametrize("size", SIZES)
def test_replies_stand_side_by_side_and_nonsense_is_flagged(db: Path, size: tuple[int, int]) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        screen = await opened(pilot, FIRST, EVIL)
        assert "! 1 of 1 replies of evil" in app.shown
        assert "1 flagged" in row(app, "Replies")
        await pilot.press("[")  # the last: what differs, with names that look like markup
        await until(pilot, "[/y] [bold]x[/]")
        await pilot.press("[")
        await until(pilot, "12 fine")
        table = screen.query_one(Prompts)
        assert table.row_count == 3  # two prompts of the one, one of the other
        await until(pilot, "it was not asked this")
        await pilot.press("G")
        await until(pilot, "! looping: it repeats")
        assert "␛]0;x␇" in app.shown
        assert not [char for char in app.shown if char in "\x1b\x07\u202e"]
        await pilot.press("y")
        await until(pilot, lambda: app.copied)
        assert "again and again" in app.copied[0]
        await pilot.press("right", "enter")
        await until(pilot, lambda: isinstance(app.screen, Reader) and "asked (" in app.screen._shown)
        assert "it repeats `again and`" in app.screen._shown  # type: ignore[attr-defined]
        await pilot.press("escape")
        await until(pilot, "it was not asked this")

    play(db, size, act)


def test_of_several_rounds_the_worst_answer_is_shown(db: Path) -> None:
    from infertui.tui.screens.compare_section import answers

    with Store(db, write=False) as store:
        found = answers(store, FIRST)
        failed = answers(store, FAULTY)
    assert len(found) == 2
    assert {answer.of for answer in found.values()} == {6}  # twice in each of three rounds
    assert all(isinstance(answer, Answer) and answer.said == "fine" for answer in found.values())
    assert "failed" in {answer.said for answer in failed.values()}


@pytest.mark.parametrize("size", SIZES)
def test_distributions_lie_over_each_other_and_differences_are_named(db: Path, size: tuple[int, int]) -> None:
    unlike = [each.what for each in compared(db, FIRST, FAULTY).unlike]
    assert "rounds" in unlike

    async def act(app: Face, pilot: Pilot[None]) -> None:
        await opened(pilot, FIRST, FAULTY)
        assert "≠ unlike in: " in app.shown
        await pilot.press("]")
        await until(pilot, "% of calls")
        assert len([line for line in app.shown.splitlines() if " n " in line and "p50" in line]) == 2
        await pilot.press("j")
        await until(pilot, "End to end %")
        await pilot.press("]", "]")
        await until(pilot, "Beside their servers the runs differ in:")
        assert row(app, "rounds").split()[1:] == ["3", "1"]
        assert all(len(line) == size[0] for line in app.shown.splitlines())

    play(db, size, act)


def test_a_comparison_is_exported_and_copied(db: Path, tmp_path: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await opened(pilot, FIRST, SECOND)
        await pilot.press("right", "b", "e")
        await until(pilot, "Export the comparison of 2 runs")
        await pilot.press("j", "tab")
        app.screen.query_one(Input).value = "sub.json"
        await pilot.press("enter")
        await until(pilot, lambda: "written to" in app.toasts)
        told = json.loads((tmp_path / "sub.json").read_bytes())["comparison"]
        assert told["baseline"] == SECOND
        assert [run["id"] for run in told["runs"]] == [FIRST, SECOND]
        await pilot.press("y")
        await until(pilot, lambda: app.copied)
        assert "| Time to first token |" in app.copied[0]

    play(db, SMALL, act)


def test_nothing_to_compare_a_run_that_is_gone_and_a_damaged_database(db: Path, tmp_path: Path) -> None:
    async def empty(app: Face, pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await until(pilot, "Nothing to compare yet")
        assert "Mark runs in Results (3) with space" in app.shown
        await pilot.press("a")
        await until(pilot, "There is no other run")
        await pilot.press("escape")

    async def gone(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        app.compare([FIRST, 77])
        await until(pilot, "Good calls")
        assert app.comparing[0] == [FIRST]
        assert "Run 77 is not compared" in app.toasts

    async def damaged(app: Face, pilot: Pilot[None]) -> None:
        app.compare([1, 2])
        await until(pilot, "move it away")

    play(tmp_path / "none.db", SMALL, empty)
    play(db, SMALL, gone)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database\n" * 500)
    play(broken, LARGE, damaged)
