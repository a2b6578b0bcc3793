"""Lanes as strings: what is drawn in which cell, worked out by hand; and the widget that shows them."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.content import Content

from infertui.tui.bar import Bar, Bars, Track
from infertui.tui.braille import MARGIN, Row
from infertui.tui.chart import Marks
from infertui.tui.lanes import Lanes, Timeline, described

NOTHING = ("no call yet", "lanes--axis")


@pytest.fixture(autouse=True)
def _colours_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


def text(row: Row) -> str:
    return "".join(piece for piece, _ in row)


def bar(
    lane: int,
    due: float,
    sent: float | None,
    first: float | None,
    end: float | None,
    state: str = "good",
    group: str = "",
    name: str = "c",
) -> Bar:
    return Bar(lane, due, sent, first, end, state, group, name)


def drawn(
    *bars: Bar,
    x: tuple[float, float] = (0, 20),
    now: float | None = None,
    width: int = MARGIN + 21,
    height: int = 6,
    unicode: bool = True,
    colours: bool = True,
    ticks: bool = False,
    marks: Marks = (),
) -> list[Row]:
    shown = Timeline(bars, x, now, ticks, tuple(marks))
    rows, places = shown.rows("Calls", NOTHING, width, height, unicode, colours)
    assert len(places) <= len(rows)
    return rows


def lanes(rows: list[Row]) -> list[str]:
    """Below the title, without what is empty."""
    found = [text(row).rstrip() for row in rows[1:]]
    while found and not found[-1]:
        found.pop()
    return found


# A second is a cell: the axis has 21 cells for 0 to 20 s.
SERIAL = [bar(lane, 0, 0, 4 * lane + 1, 4 * lane + 4) for lane in range(3)]
PARALLEL = [bar(lane, 0, 2, 4, 12) for lane in range(3)]


class TestOneLaneARow:
    def test_a_serial_server_is_a_staircase(self) -> None:
        assert lanes(drawn(*SERIAL)) == [
            "     0 ░███",
            "     1 ░░░░░███",
            "     2 ░░░░░░░░░███",
        ]

    def test_a_parallel_one_is_a_block(self) -> None:
        assert lanes(drawn(*PARALLEL)) == [
            "     0 ··░░████████",
            "     1 ··░░████████",
            "     2 ··░░████████",
        ]

    def test_calls_in_turn_have_two_shades(self) -> None:
        assert lanes(drawn(*(bar(3, 4 * at, 4 * at, 4 * at, 4 * at + 4) for at in range(3)))) == ["     3 ████▓▓▓▓████"]

    def test_one_under_way_reaches_to_now(self) -> None:
        assert lanes(drawn(bar(0, 0, 1, 3, None, "running"), now=8)) == ["     0 ·░░█████"]
        assert lanes(drawn(bar(0, 0, 1, None, None, "running"), now=8)) == ["     0 ·░░░░░░░"]
        assert lanes(drawn(bar(0, 0, None, None, None, "running"), now=3)) == ["     0 ···"]

    def test_a_failed_one_ends_with_a_cross(self) -> None:
        rows = drawn(bar(0, 0, 1, 3, 8, "failed"), bar(1, 0, 1, None, 4, "failed"), bar(2, 5, None, None, 5, "failed"))
        assert lanes(rows) == ["     0 ·░░████×", "     1 ·░░×", "     2      ×"]
        assert [style for piece, style in rows[1] if "×" in piece] == ["lanes--failed"]

    def test_phases_have_their_colours_and_calls_that_do_not_count_are_dim(self) -> None:
        rows = drawn(bar(0, 0, 2, 4, 8), bar(1, 0, 2, 4, 8, "warmup"), bar(2, 0, 2, 4, 8, "alone"))
        styles = [[style for piece, style in row[1:] if piece.strip()] for row in rows[1:4]]
        assert styles == [["lanes--wait", "lanes--prefill", "lanes--decode"], ["lanes--other"], ["lanes--other"]]

    def test_none_is_too_short_to_be_seen(self) -> None:
        assert lanes(drawn(bar(0, 5, 5.01, 5.02, 5.2), bar(1, 5, 5.2, 5.21, 5.22))) == [
            "     0      █",
            "     1      ·",
        ]

    def test_what_lies_outside_is_cut(self) -> None:
        assert lanes(drawn(bar(0, 0, 0, 12, 40), bar(1, 50, 50, 51, 52), bar(2, 0, 0, 1, 5), x=(10, 30))) == [
            "     0 ░░███████████████████",
            "     1",
            "     2",
        ]

    def test_letters_will_do(self) -> None:
        rows = drawn(bar(0, 0, 2, 4, 8, "failed"), bar(0, 8, 8, 9, 12), unicode=False, width=60)
        assert text(rows[0]).rstrip() == "Calls  . waits  - to first token  # decodes  x failed"
        shown = drawn(bar(0, 0, 2, 4, 8, "failed"), bar(0, 8, 8, 9, 12), unicode=False)
        assert lanes(shown) == ["     0 ..--###x-==="]

    def test_marks_stand_where_nothing_else_does(self) -> None:
        rows = drawn(bar(0, 0, 0, 2, 4), bar(1, 0, 0, 2, 12), marks=[(8, "round 2"), (99, "no")])
        assert lanes(rows) == ["     0 ░░██    ┊round 2", "     1 ░░██████████"]

    def test_the_axis_of_time_is_that_of_charts(self) -> None:
        rows = drawn(*SERIAL, ticks=True)
        assert text(rows[-1]) == " " * MARGIN + "0         10     20 s"


class TestGroups:
    def test_several_servers_have_their_names_above(self) -> None:
        rows = drawn(bar(0, 0, 0, 1, 4, group="mlx"), bar(0, 5, 5, 6, 9, group="[b]llama\n"), height=5)
        assert lanes(rows) == ["mlx", "     0 ░███", "[b]llama", "     0      ░███"]

    def test_one_server_has_none(self) -> None:
        assert lanes(drawn(bar(0, 0, 0, 1, 4, group="mlx"))) == ["     0 ░███"]

    def test_without_room_for_names_lanes_are_shared(self) -> None:
        rows = drawn(bar(0, 0, 0, 1, 4, group="mlx"), bar(0, 5, 5, 6, 9, group="llama"), height=4)
        assert lanes(rows) == ["     0 ░███ ░▓▓▓"]


class TestTwoLanesARow:
    def test_halves_of_characters(self) -> None:
        rows = drawn(*SERIAL, bar(3, 0, 0, 0, 4), height=3)
        assert lanes(rows) == ["   0-1 █▀▀▀▄▄▄▄", "   2-3 ▀▀▀▀▀▀▀▀▀▀▀▀"]
        assert rows[1][1:5] == [
            ("█", "lanes--prefill-solid"),
            ("▀▀▀", "lanes--decode on lanes--prefill-solid"),
            ("▄", "lanes--prefill-solid"),
            ("▄▄▄", "lanes--decode"),
        ]

    def test_without_colours_only_what_is_decoded_is_solid(self) -> None:
        rows = drawn(*SERIAL, bar(3, 0, 0, 0, 4), height=3, colours=False)
        assert lanes(rows) == ["   0-1 :▀▀▀.▄▄▄", "   2-3 ▄▄▄▄˙˙˙˙˙▀▀▀"]

    def test_what_has_no_room_is_counted(self) -> None:
        many = [bar(lane, 0, 0, 1, 4) for lane in range(9)]
        assert lanes(drawn(*many, height=4))[-1] == "       … 5 more lanes"
        assert len(lanes(drawn(*many, height=6))) == 5
        assert lanes(drawn(*many, height=4, unicode=False))[-1] == "       … 7 more lanes"
        two = [bar(lane, 0, 0, 1, 4, group=group) for group in ("a", "b") for lane in range(9)]
        shown = lanes(drawn(*two, height=7))
        assert [row[:7].strip() for row in shown] == ["a", "0-1", "2-3", "b", "0-1", ""]
        assert shown[-1] == "       … 12 more lanes"


class TestMany:
    """Of more calls than a lane has cells a picture is made of a few, and is the same."""

    def serial(self, random: Random, calls: int) -> Track:
        track, at = Track("", 0), 0.0
        size = random.choice([0.01, 0.1, 1, 5])
        for number in range(calls):
            due = at + random.random() * size * random.choice([0, 0.1, 3])
            sent = due + random.random() * size * 0.3
            first = sent + random.random() * size
            at = first + random.random() * size * random.choice([0.1, 1, 10])
            state = random.choice(["good"] * 9 + ["failed"])
            track.add(Bar(0, due, sent, first, at, state, "", f"r{number}"))
        return track

    @pytest.mark.parametrize("seed", range(10))
    def test_the_picture_is_that_of_all_calls(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        random = Random(seed)
        track = self.serial(random, 1500)
        ends = [each.end_s or 0.0 for each in track]
        for columns in (20, 53, 113):
            low, high = sorted(random.sample(ends, 2))
            shown = Timeline(Bars([track]), (low, high))
            assert len(track.seen(low, high, columns)) <= 2 * columns
            few = shown._cells([track], low, high, columns)
            monkeypatch.setattr("infertui.tui.bar.FEW", 10_000)
            assert shown._cells([track], low, high, columns) == few
            monkeypatch.undo()

    def test_one_that_lasts_is_seen_beneath_short_ones(self) -> None:
        calls = [bar(0, 0, 0, 0, 20), *(bar(0, 5 + at / 1000, 5, 5, 5 + (at + 1) / 1000) for at in range(1000))]
        assert lanes(drawn(*calls))[0].replace("▓", "█") == "     0 " + "█" * 20

    def test_one_that_failed_is_seen_among_short_ones(self) -> None:
        calls = [bar(0, at / 100, at / 100, at / 100, (at + 1) / 100) for at in range(1000)]
        calls[500] = calls[500]._replace(state="failed")
        assert lanes(drawn(*calls))[0].index("×") == MARGIN + 5

    def test_the_one_that_is_pointed_at_is_found(self) -> None:
        calls = [bar(0, at / 100, at / 100, at / 100, (at + 0.5) / 100, name=f"r{at}") for at in range(1000)]
        shown = Timeline(calls, (0, 20))
        _, places = shown.rows("Calls", NOTHING, MARGIN + 21, 6, True, True)
        found = shown.bar_at(places[1], 5, 21)
        assert found is not None
        assert found.name == "r550"  # the last one due until half a cell later
        assert shown.bar_at(places[1], 15, 21) is None

    @given(st.text(max_size=5), st.none() | st.floats(-1e6, 1e6))
    def test_what_is_kept_of_a_call_is_the_call(self, name: str, time: float | None) -> None:
        kept = Bar(3, 1.5, time, None, time, "warmup", "mlx", name)
        (found,) = Bars.of([kept])
        assert found == kept._replace(name=name.replace("\0", ""))


class TestSizes:
    def test_empty(self) -> None:
        rows = drawn()
        assert [text(row).strip() for row in rows[1:]] == ["", "", "no call yet", "", ""]

    def test_the_legend_gives_way(self) -> None:
        assert text(drawn(*SERIAL, width=30)[0]).rstrip() == "Calls  · waits  +3"
        assert text(drawn(*SERIAL, width=5, height=2)[0]) == "Calls"

    seconds = st.none() | st.floats(-1e6, 1e6)
    bars = st.lists(
        st.builds(
            Bar,
            st.integers(0, 40),
            st.floats(-1e6, 1e6),
            seconds,
            seconds,
            seconds,
            st.sampled_from(["good", "failed", "alone", "warmup", "running"]),
            st.sampled_from(["", "mlx", "日本"]),
            st.text(max_size=5),
        ),
        max_size=30,
    )

    @settings(max_examples=300, deadline=None)
    @given(
        bars=bars,
        x=st.tuples(st.floats(), st.floats()),
        now=seconds,
        width=st.integers(0, 90),
        height=st.integers(0, 20),
        unicode=st.booleans(),
        colours=st.booleans(),
        marks=st.lists(st.tuples(st.floats(), st.text(max_size=8)), max_size=3),
    )
    def test_whatever_comes_every_row_has_its_width(
        self,
        bars: list[Bar],
        x: tuple[float, float],
        now: float | None,
        width: int,
        height: int,
        unicode: bool,
        colours: bool,
        marks: list[tuple[float, str]],
    ) -> None:
        rows, _ = Timeline(tuple(bars), x, now, True, tuple(marks)).rows("T", NOTHING, width, height, unicode, colours)
        assert len(rows) == height
        assert {cell_len(text(row)) for row in rows} <= {width}


def test_a_call_is_told_in_words() -> None:
    told = described(bar(2, 0, 0.5, 1.5, 4, group="mlx", name="r1-002\x1b"))
    assert (
        told == "r1-002␛ · lane 2 · mlx · measured\nwaited 500.0 ms · first token after 1,000 ms · decoded for 2,500 ms"
    )
    assert described(bar(0, 0, 0.5, None, None, "running")) == "c · lane 0 · under way\nwaited 500.0 ms"


class Shown(App[None]):
    def __init__(self, lanes: Lanes) -> None:
        super().__init__()
        self.lanes = lanes

    def compose(self) -> ComposeResult:
        yield self.lanes


def on_screen(lanes: Lanes) -> list[str]:
    return [lanes.render_line(y).text for y in range(lanes.size.height)]


class TestWidget:
    def test_it_shows_calls_and_tells_of_the_one_that_is_pointed_at(self) -> None:
        async def look() -> None:
            widget = Lanes(id="lanes")
            async with Shown(widget).run_test(size=(80, 24)) as pilot:
                await pilot.pause()
                assert "no call yet" in "".join(on_screen(widget))
                widget.show([bar(0, 0, 1, 2, 8, name="[b]r1-001"), bar(1, 0, 1, 2, 20)], (0, 20), 20)
                await pilot.pause()
                shown = on_screen(widget)
                assert {cell_len(row) for row in shown} == {80}
                assert "░░░███" in shown[1]
                await pilot.hover("#lanes", offset=(MARGIN + 10, 1))
                assert isinstance(widget.tooltip, Content)
                assert widget.tooltip.plain.startswith("[b]r1-001 · lane 0 · measured\n")
                await pilot.hover("#lanes", offset=(MARGIN + 60, 1))
                assert widget.tooltip is None
                await pilot.hover("#lanes", offset=(MARGIN + 60, 2))
                assert isinstance(widget.tooltip, Content)
                widget.say("the server died", failed=True)
                await pilot.pause()
                assert "the server died" in "".join(on_screen(widget))

        asyncio.run(look())

    @pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "ansi-dark", "ansi-light"])
    def test_halves_have_two_colours_in_every_theme(self, theme: str) -> None:
        async def look() -> None:
            widget = Lanes()
            app = Shown(widget)
            async with app.run_test(size=(80, 3)) as pilot:
                app.theme = theme
                widget.show([bar(0, 0, 0, 0, 9), bar(1, 0, 0, 9, 9), bar(2, 0, 0, 0, 9), bar(3, 0, 0, 0, 9)], (0, 10))
                await pilot.pause()
                halves = [segment for segment in widget.render_line(1) if "▀" in segment.text]
                assert len(halves) == 1
                assert halves[0].style is not None
                assert halves[0].style.color != halves[0].style.bgcolor

        asyncio.run(look())
