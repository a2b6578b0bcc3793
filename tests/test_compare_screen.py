"""The page that compares, on runs that were really measured, at both sizes."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from rich.style import Style
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Input, Static

from infertui.compare import Comparison, compare, of_store
from infertui.report.compare import cells_of
from infertui.stats import distribution
from infertui.store import Store
from infertui.tui.chart import Chart
from infertui.tui.screens import figures
from infertui.tui.screens.compare import CompareScreen
from infertui.tui.screens.compare_section import Answer, Figures, Kept, Picked, Prompts, _remarks, kept
from infertui.tui.screens.distribution import _counted, _rows
from infertui.tui.screens.pick import PickRun
from infertui.tui.screens.run import RunScreen
from infertui.tui.widgets import Reader
from tests.kept import EVIL, FAULTY, FIRST, LARGE, SECOND, SIZES, SMALL, Face, play, until
from tests.kept import db as db
from tests.kept import measured as measured
from tests.test_compare import A, B, C, report, spread


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
    await until(pilot, "Good calls")
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
        assert f"▼ {ttft.difference} {ttft.ratio}" in line
        assert row(app, "Good calls").split()[2:] == ["12", "of", "12"] * 2
        await until(pilot, "▸run 1*")
        assert app.shown.splitlines()[1].startswith(" *#1 127.0.0.1:")
        assert "* baseline" in app.shown
        await pilot.click("#compare-runs", offset=(app.shown.splitlines()[1].index("#2 ") + 1, 1))
        await until(pilot, "▸run 2")
        await pilot.press("left", "right", "b")
        other = cells_of(back.columns[0].differences["ttft_ms"])
        await until(pilot, f"▲ {other.difference} {other.ratio}")
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
    found = picked.comparison
    rows = figures.rows_of(found, every=False)
    for cursor, width, least in ((0, 79, [0, 2]), (7, 79, [2, 7]), (5, 119, [2, 5, 6]), (5, 400, list(range(8)))):
        laid = figures.layout(found, rows, cursor, width)
        assert set(least) <= set(laid.places)
        assert laid.places == sorted(laid.places)
        taken = laid.label + figures.PADDING
        taken += sum(size + figures.PADDING for pair in laid.widths for size in pair if size)
        assert taken <= width
        for row in rows:
            for (figure, against), place in zip(laid.widths, laid.places, strict=True):
                cell = row.cells[place]
                assert row.elastic or len(cell.figure) <= figure
                assert len(cell.full if laid.in_full else cell.ratio) <= against
    assert figures.layout(found, rows, 5, 400).in_full
    assert not figures.layout(found, rows, 5, 20).in_full  # and yet the baseline, and the run under the cursor
    assert figures.layout(found, rows, 5, 20).places == [2, 5]
    picked.runs = [1, 2]
    picked.compare()
    assert picked.baseline == 1  # the one before is not among them


def test_the_signs_stand_before_the_figures() -> None:
    late = "invalid: calls were sent up to 9.0 ms late"
    runs = [
        report(1, A, {"ttft_ms": spread(20.0), "prefill_tps": spread(10.0)}, prefill_source="server"),
        report(2, B, {"ttft_ms": spread(25.0), "prefill_tps": spread(30.0)}, prefill_source="ttft"),
        report(3, C, {"ttft_ms": spread(20.0)}, valid=False, warnings=[late]),
    ]
    replies: dict[int, dict[str, int]] = {1: {"fine": 2, "looping": 1}, 2: {}}
    found = compare(runs, replies=replies)
    rows = figures.rows_of(found, every=False)

    def drawn(width: int) -> dict[str, list[str]]:
        laid = figures.layout(found, rows, 1, width)
        return {row.key: [cell.plain for cell in figures.line_of(row, laid)] for row in rows}

    wide, narrow = drawn(100), drawn(70)
    assert wide["ttft_ms"][1:] == ["20.0", "25.0", "▼ +5.00 ×1.25", "20.0", "= 0"]
    assert narrow["ttft_ms"][1:] == ["20.0", "25.0", "▼ ×1.25", "20.0", "="]
    assert wide["prefill_tps"][1:] == ["10.0", "30.0", "≠ +20.0 ×3.00", "–", "  –"]
    assert wide["state"][1:] == ["done", "done", "", "not valid", ""]
    assert wide["replies-0"][1:] == ["2 fine", "none", "", "–", ""]  # no reply at all, and nobody has looked
    assert wide["replies-1"][1:] == ["1 looping", "", "", "", ""]
    assert figures.legend(found, 0, 79).plain == (
        "* baseline · ▲ better ▼ worse = same ≠ not measured alike · medians of calls"
    )
    assert figures.legend(found, 2, 60).plain == "2 more: ← → · * baseline"


def test_what_stands_against_a_run_stands_above_and_below_its_figures() -> None:
    late = "invalid: calls were sent up to 9.0 ms late"
    found = compare(
        [report(1, A, valid=False, warnings=[late]), report(2, B), report(3, C, setup={"rounds": 2})],
        replies={2: {"garbled": 1}, 3: {"empty": 2, "fine": 1}},
    )
    above, below = _remarks(found)
    assert above.plain == f"! 1 of 1 replies of {B} is garbled: their speed says little"
    assert below.plain.splitlines() == [
        f"! {A}: not valid: calls were sent up to 9.0 ms late",
        f"! 2 of 3 replies of {C} are empty: their speed says little",
        "≠ unlike in: rounds",
    ]


@pytest.mark.parametrize("size", SIZES)
def test_replies_stand_side_by_side_and_nonsense_is_flagged(db: Path, size: tuple[int, int]) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        screen = await opened(pilot, FIRST, EVIL)
        shown = app.shown.splitlines()
        (above,) = [at for at, line in enumerate(shown) if "! 1 of 1 replies of evil" in line]
        assert above < shown.index(row(app, "Good calls"))
        assert row(app, "Replies").split()[1:] == ["12", "fine", "1", "looping"]
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
        shown = app.shown.splitlines()
        (heads,) = [at for at, line in enumerate(shown) if "p50" in line and "p99" in line and "max" in line]
        assert shown[heads + 1].startswith(" ● #1 127.0.0.1:")
        assert shown[heads + 2].startswith(" ● #3 127.0.0.1:")
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


@pytest.mark.parametrize("marker", ["braille", "ascii"])
def test_the_rows_below_a_distribution_begin_with_the_signs_of_their_lines(
    db: Path, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)

    async def act(app: Face, pilot: Pilot[None]) -> None:
        app.settings = msgspec.structs.replace(
            app.settings, app=msgspec.structs.replace(app.settings.app, chart=marker)
        )
        await opened(pilot, FIRST, SECOND)
        await pilot.press("]")
        await until(pilot, "% of calls")

        def signs() -> list[tuple[str, object]]:
            told = app.screen.query_one(".distribution-figures", Static).content
            assert isinstance(told, Text)
            return [
                (told.plain[span.start : span.end], span.style.color)
                for span in told.spans
                if isinstance(span.style, Style)
            ]

        def wanted() -> list[tuple[str, object]]:
            chart = app.screen.query_one(Chart)
            colours = [chart.get_component_rich_style(f"chart--{n}", partial=True).color for n in (1, 2)]
            return list(zip("●●" if marker == "braille" else "*+", colours, strict=True))

        assert signs() == wanted()
        assert len({colour for _, colour in signs()}) == 2
        before = signs()
        app.theme = "textual-light"
        await until(pilot, lambda: signs() == wanted() != before)

    play(db, SMALL, act)


def test_rows_of_a_distribution_keep_number_and_figures_where_names_are_long() -> None:
    many = [float(n) for n in range(1, 101)]
    named = [(("●", Style()), f"#{n} {'a long name' * 6}", values) for n, values in ((11, many), (12, [5.0]))]
    told = [distribution(values) for _, _, values in named]
    lines = _rows(named, told, "ms", 99.5, 78).plain.splitlines()
    assert max(map(len, lines)) <= 78
    assert lines[0].split() == ["n", "p50", "p90", "p95", "p99", "max", "ms"]
    assert lines[1].startswith("● #11 a long name")
    assert lines[1].split()[-6:] == ["100", "50.5", "90.1", "95.0", "99.0", "100.0"]
    assert lines[2].split()[-6:] == ["1", "5.00", "–", "–", "–", "5.00"]
    assert lines[3] == "beyond the chart: 1 of #11"
    assert lines[4] == "– n too small: p90 10, p95 20, p99 100 values needed"
    assert _counted([24, 48, 30]) == "24–48"
    assert _counted([1200, 1200]) == "1,200"
