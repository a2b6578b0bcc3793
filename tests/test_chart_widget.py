"""Charts as strings: what is drawn in which cell, worked out by hand; and the widget that shows them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from infertui.tui.braille import (
    EMPTY,
    MARGIN,
    MARKERS,
    Grid,
    Row,
    fitted,
    labels,
    middle,
    nice,
    scale,
    stretches,
    within,
    x_row,
    x_ticks,
)
from infertui.tui.chart import Chart, Line, Marks, Plot, legend

NOTHING = ("nothing yet", "chart--axis")
RULE = "┈"


@pytest.fixture(autouse=True)
def _colours_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


def text(row: Row) -> str:
    return "".join(piece for piece, _ in row)


def of_grid(grid: Grid) -> list[str]:
    return [text(row) for row in grid.drawn(str)]


def chart(
    *lines: Line,
    x: tuple[float, float] = (0, 10),
    y: tuple[float | None, float | None] = (0.0, None),
    width: int = 27,
    height: int = 6,
    marker: str = "braille",
    colours: bool = True,
    x_unit: str = "s",
    x_ticks: bool = False,
    marks: Marks = (),
) -> list[Row]:
    plot = Plot(lines, x, y, x_unit, x_ticks, tuple(marks))
    return plot.rows("Speed", "tok/s", NOTHING, width, height, marker, colours)


def canvas(rows: Sequence[Row]) -> list[str]:
    """What is drawn right of the margin, without the rules of the figures."""
    return [text(row)[MARGIN:].replace(RULE, " ") for row in rows[1:]]


class TestGrid:
    def test_dots_count_from_the_bottom_left(self) -> None:
        grid = Grid(2, 2)
        grid.span(0, 0, 0, 0)
        grid.span(3, 7, 7, 0)
        assert of_grid(grid) == [" ⠈", "⡀ "]

    def test_a_line_through_the_corners(self) -> None:
        grid = Grid(4, 2)
        grid.line(0, 0, 7, 7, 0)
        assert of_grid(grid) == ["  ⡠⠊", "⡠⠊  "]

    def test_a_line_is_the_same_both_ways(self) -> None:
        for end in ((7, 7), (7, 1), (2, 7), (0, 7), (7, 0)):
            one, other = Grid(4, 2), Grid(4, 2)
            one.line(0, 0, *end, 0)
            other.line(*end, 0, 0, 0)
            assert of_grid(one) == of_grid(other)

    def test_a_steep_line_has_neither_holes_nor_a_second_dot_in_a_row(self) -> None:
        grid = Grid(1, 4)
        grid.line(0, 0, 1, 15, 0)
        assert of_grid(grid) == ["⢸", "⢸", "⡇", "⡇"]

    def test_what_lies_outside_is_left_out(self) -> None:
        grid = Grid(2, 1)
        grid.span(-1, 0, 3, 0)
        grid.span(4, 0, 3, 0)
        grid.span(0, -50, -1, 0)
        grid.span(1, 4, 99, 0)
        grid.span(2, -9, 9, 0)
        assert of_grid(grid) == [" ⡇"]
        grid.line(-100, 2, 100, 2, 0)
        assert of_grid(grid) == ["⠒⡗"]

    def test_the_later_line_owns_a_cell_that_both_draw_into(self) -> None:
        grid = Grid(3, 1)
        grid.line(0, 0, 5, 0, 0)
        grid.span(2, 3, 3, 1)
        assert grid.drawn(str) == [[("⣀", "0"), ("⣁", "1"), ("⣀", "0")]]

    def test_a_ghost_gives_way(self) -> None:
        grid = Grid(3, 1, ghosts=1)
        grid.line(0, 0, 5, 0, 0)
        grid.span(2, 3, 3, 1)
        assert grid.drawn(str) == [[("⣀", "0"), ("⠁", "1"), ("⣀", "0")]]

    def test_blanks_go_with_what_stands_before_them(self) -> None:
        grid = Grid(4, 1)
        grid.span(2, 0, 0, 0)
        grid.span(6, 0, 0, 0)
        assert grid.drawn(str) == [[(" ", ""), ("⡀ ⡀", "0")]]
        assert grid.owner(0, 0) == EMPTY

    def test_blocks_and_letters(self) -> None:
        blocks = Grid(4, 2, "block")
        blocks.line(0, 0, 7, 3, 0)
        assert of_grid(blocks) == ["  ▄▀", "▄▀  "]
        letters = Grid(4, 4, "ascii")
        letters.line(0, 0, 3, 3, 0)
        assert of_grid(letters) == ["   *", "  * ", " *  ", "*   "]

    def test_a_character_stands_in_the_place_of_dots(self) -> None:
        grid = Grid(3, 1)
        grid.span(0, 0, 0, 0)
        assert not grid.put(0, 0, "x")
        assert grid.put(1, 0, "x")
        assert not grid.put(1, 0, "y")
        assert grid.put(0, 0, "o", 0)
        assert of_grid(grid) == ["ox "]


class TestPoints:
    def test_a_line_enters_and_leaves_where_it_crosses_the_border(self) -> None:
        points = [(0.0, 0.0), (10.0, 10.0), (20.0, 0.0)]
        assert within(points, 5, 15) == [(5, 5.0), (10.0, 10.0), (15, 5.0)]
        assert within(points, 2, 4) == [(2, 2.0), (4, 4.0)]
        assert within(points, 5, 15, joined=False) == [(10.0, 10.0)]
        assert within(points, 5, 15, steps=True) == [(5, 0.0), (10.0, 10.0), (15, 10.0)]

    def test_nothing_comes_out_of_a_gap(self) -> None:
        points = [(0.0, 1.0), (1.0, None), (9.0, 5.0)]
        assert within(points, 2, 8) == []
        assert within(points, 0, 8) == [(0.0, 1.0), (1.0, None)]
        assert within([], 0, 1) == []
        assert within([(0.0, 1.0)], 5, 6) == []
        assert within([(9.0, 1.0)], 5, 6) == []

    def test_many_points_in_a_column_are_told_by_four(self) -> None:
        points = [(0.0, 5.0), (0.1, 9.0), (0.2, 1.0), (0.3, 4.0), (10.0, 2.0)]
        assert stretches(points, 0, 10, 11) == [[(0, 5.0, 1.0, 9.0, 4.0), (10, 2.0, 2.0, 2.0, 2.0)]]

    def test_a_gap_parts_stretches_even_within_a_column(self) -> None:
        points = [(0.0, 5.0), (0.1, None), (0.2, math.nan), (0.3, 4.0), (0.4, math.inf)]
        assert stretches(points, 0, 10, 11) == [[(0, 5.0, 5.0, 5.0, 5.0)], [(0, 4.0, 4.0, 4.0, 4.0)]]


class TestAxes:
    def test_steps_of_1_2_and_5(self) -> None:
        assert [nice(value) for value in (1, 1.1, 2.5, 6, 30, 0.03)] == [1, 2, 5, 10, 50, pytest.approx(0.05)]

    @pytest.mark.parametrize(
        ("most", "names"),
        [
            (399, ["0", "200", "400"]),
            (101, ["0", "50", "100", "150"]),
            (600, ["0", "200", "400", "600"]),
            (0.037, ["0", "0.02", "0.04"]),
            (1500, ["0", "500", "1,000", "1,500"]),
            (12_345, ["0", "5k", "10k", "15k"]),
            (9_000_000, ["0", "5M", "10M"]),
            (29_000_000, ["0", "10M", "20M", "30M"]),
        ],
    )
    def test_figures_begin_at_zero_and_end_at_a_round_number(self, most: float, names: list[str]) -> None:
        on = scale(most / 2, most, 0.0, None)
        assert labels(on) == names
        assert on.high >= most

    def test_a_figure_without_room_is_told_by_its_power(self) -> None:
        assert labels(scale(0, 0.00003, 0.0, None)) == ["0", "1e-05", "2e-05", "3e-05"]

    def test_an_end_that_is_given_is_kept(self) -> None:
        assert scale(3, 7, 0.0, 100.0)[:2] == (0, 100)
        assert scale(10_200, 10_390, None, None)[:2] == (10_200, 10_400)
        assert scale(-3, 7, None, None)[:2] == (-5, 10)
        assert scale(0, 0, 0.0, None)[:2] == (0, 1)
        assert scale(5, 5, None, None).low < 5 < scale(5, 5, None, None).high

    @pytest.mark.parametrize(
        ("low", "high", "unit", "names"),
        [
            (0, 10, "s", ["0", "5", "10 s"]),
            (63.2, 123.2, "s", ["90", "120 s"]),
            (0, 400, "s", ["0", "5 min"]),
            (0, 90_000, "s", ["0", "12", "24 h"]),
            (0, 2e6, "s", ["0", "200", "400 h"]),
            (0, 0.3, "s", ["0.0", "0.1", "0.2", "0.3 s"]),
            (0, 0.03, "s", ["0.00", "0.01", "0.02", "0.03 s"]),
            (0, 480, "ms", ["0", "200", "400 ms"]),
        ],
    )
    def test_time_is_told_in_seconds_minutes_and_hours(
        self, low: float, high: float, unit: str, names: list[str]
    ) -> None:
        assert [name for _, name in x_ticks(low, high, unit, 36)] == names

    def test_names_stand_under_their_places(self) -> None:
        assert x_row(x_ticks(0, 10, "s", 21), 0, 10, 21) == " " * MARGIN + "0         5      10 s"

    def test_where_there_is_no_room_the_last_is_kept(self) -> None:
        row = x_row([(0, "0"), (1, "100"), (2, "200 s")], 0, 2, 6)
        assert row == " " * MARGIN + " 200 s"


class TestPlot:
    def test_a_rising_line(self) -> None:
        rows = chart(Line("a", [(0, 0), (10, 10)]), width=MARGIN + 20, height=6)
        assert text(rows[0]) == "Speed tok/s  ● a 10.0".ljust(27)
        assert canvas(rows) == [
            "                ⣀⠤⠒⠉",
            "            ⣀⠤⠒⠉    ",
            "        ⣀⠤⠒⠉        ",
            "    ⣀⠤⠒⠉            ",
            "⣀⠤⠒⠉                ",
        ]
        assert [text(row)[:MARGIN] for row in rows[1:]] == ["    10 ", "       ", "     5 ", "       ", "     0 "]

    def test_a_gap_is_drawn_as_one(self) -> None:
        points = [(0, 1.0), (4, 1.0), (4, None), (6, 1.0), (10, 1.0)]
        rows = chart(Line("a", points), height=4, y=(0, 2))
        assert canvas(rows)[1] == "⠒⠒⠒⠒⠒⠒⠒⠒⠂  ⠐⠒⠒⠒⠒⠒⠒⠒⠒"

    def test_a_point_alone_is_one_dot(self) -> None:
        rows = chart(Line("a", [(0, 4), (1, None), (5, 2), (6, None)]), height=4)
        assert canvas(rows) == ["⠁".ljust(20), "          ⠂         ", " " * 20]

    def test_points_are_not_joined_where_each_is_a_call(self) -> None:
        rows = chart(Line("a", [(0, 4), (10, 4)], dots=True), height=4)
        assert canvas(rows)[0] == "⠛" + " " * 18 + "⠛"
        assert canvas(chart(Line("a", [(5, 0)], dots=True), height=4))[2] == "          ⣤         "

    def test_steps_go_along_and_then_up(self) -> None:
        rows = chart(Line("a", [(0, 0), (10, 2)], steps=True), width=MARGIN + 13, height=4, marker="ascii")
        assert canvas(rows) == ["            *", "            *", "*************"]

    def test_a_ghost_lies_beneath(self) -> None:
        flat = [(0.0, 5.0), (10.0, 5.0)]
        rows = chart(Line("new", [(4, 5), (6, 5)]), Line("old", flat, ghost=True), height=4, y=(0, 10))
        styles = [style for row in rows[1:] for piece, style in row if "⠤" in piece or "⠒" in piece]
        assert styles == ["chart--ghost", "chart--1", "chart--ghost"]
        assert "○ old" in text(rows[0])

    def test_lines_have_the_colours_of_their_series(self) -> None:
        rows = chart(Line("a", [(0, 1), (10, 1)], colour=2), Line("b", [(0, 9), (10, 9)], colour=9), width=60)
        used = {style for row in rows for _, style in row if style.startswith("chart--") and style[-1].isdigit()}
        assert used == {"chart--3", "chart--2"}

    def test_letters_tell_lines_apart(self) -> None:
        two = (Line("a", [(0, 1), (10, 1)]), Line("b", [(0, 9), (10, 9)], colour=1))
        rows = chart(*two, marker="ascii", width=60)
        assert text(rows[0]).startswith("Speed tok/s  * a 1.00  + b 9.00")
        drawn = "".join(canvas(rows))
        assert drawn.count("*") == 53
        assert drawn.count("+") == 53
        assert drawn.isascii()

    def test_without_colours_each_line_carries_its_mark(self) -> None:
        two = (Line("a", [(0, 1), (10, 1)]), Line("b", [(0, 9), (10, 9)], colour=1))
        rows = chart(*two, colours=False, width=MARGIN + 48)
        drawn = "".join(canvas(rows))
        assert drawn.count("*") == 4
        assert drawn.count("+") == 4
        assert "* a" in text(rows[0])
        assert "*" not in "".join(canvas(chart(two[0], colours=False)))

    def test_uprights_have_their_names_where_there_is_room(self) -> None:
        rows = chart(Line("a", [(0, 0), (10, 0)]), marks=[(5, "round 1"), (99, "no")], width=MARGIN + 21, y=(0, 10))
        assert text(rows[1])[MARGIN + 10 :] == "┊round 1" + RULE * 3
        assert [text(row)[MARGIN + 10] for row in rows[1:]] == ["┊", "┊", "┊", "┊", "⣀"]

    def test_the_axis_of_time_is_the_last_row(self) -> None:
        rows = chart(Line("a", [(0, 0), (10, 1)]), x_ticks=True, width=MARGIN + 40)
        assert text(rows[-1]).split() == ["0", "5", "10", "s"]
        assert len(rows) == 6

    def test_without_anything_known_it_says_so(self) -> None:
        for points in ([], [(1.0, None)], [(1.0, math.nan)], [(99.0, 5.0)]):
            rows = chart(Line("a", points))
            assert [text(row).strip() for row in rows] == ["Speed tok/s  ● a", "", "", "nothing yet", "", ""]

    def test_three_rows_are_enough(self) -> None:
        rows = chart(Line("a", [(0, 0), (10, 150)]), height=3, x_ticks=True)
        assert [text(row)[:MARGIN] for row in rows[1:]] == ["   150 ", "     0 "]

    def test_what_is_smaller_is_a_title(self) -> None:
        assert [text(row) for row in chart(Line("a", [(0, 1)]), width=8, height=4)] == [
            "Speed to",
            " " * 8,
            " " * 8,
            " " * 8,
        ]
        assert [text(row) for row in chart(Line("a", [(0, 1)]), width=30, height=1)] == [
            "Speed tok/s  ● a 1.00".ljust(30)
        ]

    def test_the_legend_gives_up_values_and_then_names(self) -> None:
        entries = [("●", "first", "1.0", "s"), ("●", "second", "2.0", "s")]
        assert text(legend(entries, 40)) == "  ● first 1.0  ● second 2.0"
        assert text(legend(entries, 22)) == "  ● first  ● second"
        assert text(legend(entries, 18)) == "  ● first  +1"
        assert text(legend(entries, 5)) == ""

    def test_names_are_data(self) -> None:
        rows = chart(Line("[red]\x1b[2J\n日本", [(0, 1), (10, 1)]), width=60)
        assert "[red]␛[2J 日本" in text(rows[0])
        assert {cell_len(text(row)) for row in rows} == {60}

    floats = st.floats(allow_nan=True, allow_infinity=True)
    points = st.lists(st.tuples(st.floats(-1e9, 1e9), st.none() | floats), max_size=40).map(
        lambda found: sorted(found, key=lambda point: point[0])
    )
    lines = st.lists(
        st.builds(
            Line,
            st.text(max_size=12),
            points,
            st.integers(0, 20),
            ghost=st.booleans(),
            steps=st.booleans(),
            dots=st.booleans(),
        ),
        max_size=4,
    )

    @settings(max_examples=300, deadline=None)
    @given(
        lines=lines,
        x=st.tuples(floats, floats),
        y=st.tuples(st.none() | floats, st.none() | floats),
        width=st.integers(0, 90),
        height=st.integers(0, 20),
        marker=st.sampled_from(MARKERS),
        colours=st.booleans(),
        unit=st.sampled_from(["s", "ms"]),
        marks=st.lists(st.tuples(floats, st.text(max_size=8)), max_size=3),
    )
    def test_whatever_comes_every_row_has_its_width(
        self,
        lines: list[Line],
        x: tuple[float, float],
        y: tuple[float | None, float | None],
        width: int,
        height: int,
        marker: str,
        colours: bool,
        unit: str,
        marks: list[tuple[float, str]],
    ) -> None:
        rows = Plot(tuple(lines), x, y, unit, True, tuple(marks)).rows(
            "T", "u", NOTHING, width, height, marker, colours
        )
        assert len(rows) == height
        assert {cell_len(text(row)) for row in rows} <= {width}


def test_texts_are_cut_to_cells_and_not_to_letters() -> None:
    assert fitted([("日本語", "a"), ("x", "b")], 5) == [("日本 ", "a")]
    assert fitted([("ab", "a")], 4) == [("ab", "a"), ("  ", "")]
    assert [text(row) for row in middle("one two three", "", 7, 3)] == ["one two", " three ", "       "]
    assert [text(row) for row in middle("aaaaaaaaaa", "", 4, 1)] == ["aaa…"]


class Shown(App[None]):
    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self.chart = chart

    def compose(self) -> ComposeResult:
        yield self.chart


class Counted(Chart):
    made = 0

    def rows(self, width: int, height: int, colours: bool) -> list[Row]:
        self.made += 1
        return super().rows(width, height, colours)


def on_screen(chart: Chart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


class TestWidget:
    def test_it_is_drawn_once_for_what_it_shows(self) -> None:
        async def look() -> None:
            chart = Counted("Speed", "tok/s", empty="no speed yet")
            async with Shown(chart).run_test(size=(80, 24)) as pilot:
                await pilot.pause()
                assert chart.made == 1
                assert "no speed yet" in "".join(on_screen(chart))
                chart.plot([Line("mlx", [(0, 1), (10, 3)])], (0, 10))
                await pilot.pause()
                assert chart.made == 2
                shown = on_screen(chart)
                assert {cell_len(row) for row in shown} == {80}
                assert "● mlx 3.00" in shown[0]
                on_screen(chart)
                assert chart.made == 2
                chart.marker = "ascii"
                await pilot.pause()
                assert "* mlx 3.00" in on_screen(chart)[0]
                await pilot.resize_terminal(40, 10)
                await pilot.pause()
                assert {cell_len(row) for row in on_screen(chart)} == {40}
                chart.say("the server died", failed=True)
                await pilot.pause()
                assert "the server died" in "".join(on_screen(chart))
                assert "mlx" not in "".join(on_screen(chart))

        asyncio.run(look())

    def test_nothing_is_drawn_while_it_is_hidden(self) -> None:
        async def look() -> None:
            chart = Counted("Speed")
            async with Shown(chart).run_test(size=(80, 24)) as pilot:
                chart.display = False
                await pilot.pause()
                made = chart.made
                for at in range(5):
                    chart.plot([Line("mlx", [(0, at), (10, at)])], (0, 10))
                    await pilot.pause()
                assert chart.made == made
                chart.display = True
                await pilot.pause()
                assert "● mlx 4.00" in on_screen(chart)[0]

        asyncio.run(look())

    def test_its_colours_follow_the_theme(self) -> None:
        async def look() -> None:
            chart = Chart("Speed")
            app = Shown(chart)
            async with app.run_test(size=(80, 24)) as pilot:
                chart.plot([Line("mlx", [(0, 1), (10, 3)])], (0, 10))
                found = set()
                for theme in ("textual-dark", "nord", "textual-light", "ansi-dark"):
                    app.theme = theme
                    await pilot.pause()
                    sign = next(segment for segment in chart.render_line(0) if segment.text == "●")
                    assert sign.style is not None
                    assert sign.style.color is not None
                    found.add(sign.style.color.name)
                assert len(found) == 4

        asyncio.run(look())

    def test_no_colour_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")

        async def look() -> None:
            chart = Chart("Speed")
            async with Shown(chart).run_test(size=(80, 24)) as pilot:
                chart.plot([Line("a", [(0, 1), (10, 3)]), Line("b", [(0, 2), (10, 2)], colour=1)], (0, 10))
                await pilot.pause()
                assert "* a 3.00  + b 2.00" in on_screen(chart)[0]

        asyncio.run(look())

    def test_a_click_focuses_it(self) -> None:
        async def look() -> None:
            chart = Chart("Speed", id="speed")
            async with Shown(chart).run_test(size=(80, 24)) as pilot:
                await pilot.click("#speed")
                assert chart.has_focus

        asyncio.run(look())
