"""A chart that is redrawn while a benchmark runs: lines of dots over an axis, drawn whole at once and kept.

`Picture` is what it shares with the lanes: rows made once for a size, and handed out line by line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from infertui.report.figure import number
from infertui.text import plain
from infertui.tui.braille import (
    AXIS,
    LARGEST,
    MARGIN,
    Column,
    Grid,
    Points,
    Row,
    bounds,
    column_of,
    draw,
    fitted,
    known,
    labels,
    middle,
    scale,
    scatter,
    stretches,
    within,
    x_row,
    x_ticks,
)

COLOURS = 8
NARROWEST, LOWEST = 20, 3  # a smaller one is only its title
MARKS = "*+xo#@%&"  # tell lines apart where there are no colours …
MARK_EVERY = 12  # … so many columns from each other
Marks = Sequence[tuple[float, str]]


class Picture(Widget, can_focus=True):
    """A widget whose rows are all made when its data, its size or its colours have changed, and then only looked up.

    While it is hidden nobody asks for a row, and nothing is made.
    """

    ALLOW_SELECT = False

    marker: reactive[str] = reactive("braille")
    """Of what it is drawn: "braille", "block" (quarters of a cell) or "ascii"."""

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._strips: list[Strip] = []
        self._made_for: tuple[int, int, str] | None = None
        self._styles_of: dict[str, Style] = {}

    def rows(self, width: int, height: int, colours: bool) -> list[Row]:
        """What it shows now, so large. Without colours its parts differ in their characters."""
        raise NotImplementedError

    def changed(self) -> None:
        """The next look at it makes its rows anew."""
        self._made_for = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        wanted = (width, height, self.marker)
        if self._made_for != wanted:
            rows = self.rows(width, height, not self.app.no_color)
            self._strips = [self._strip(row, width) for row in rows]
            self._made_for = wanted
        return self._strips[y] if y < len(self._strips) else Strip.blank(width, self.rich_style)

    def _strip(self, row: Row, width: int) -> Strip:
        return Strip([Segment(text, self._style(style)) for text, style in row], width)

    def _style(self, name: str) -> Style:
        """Of a component; of "one on another" the colours of both."""
        found = self._styles_of.get(name)
        if found is None:
            front, _, behind = name.partition(" on ")
            found = self.get_component_rich_style(front) if front else self.rich_style
            if behind:
                found += Style(bgcolor=self._style(behind).color)
            self._styles_of[name] = found
        return found

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_of.clear()
        self._made_for = None


@dataclass(frozen=True, slots=True)
class Line:
    """x ascends. A None ends a stretch, and a gap is drawn as one. `steps`: horizontal, then vertical. `dots`: points
    that are not joined. A `ghost` is dim and lies beneath the others."""

    label: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 0
    ghost: bool = False
    steps: bool = False
    dots: bool = False


class Chart(Picture):
    """Lines over an axis of time or of values."""

    HELP = """\
### Chart

Each line has its colour and its name above, with its last known value; without colours it has a mark of its own.
The dotted rules stand at the figures on the left. A **gap** is time of which nothing is known: it is never bridged.
A dim line beneath the others is the former server, moved so that the measured rounds begin at the same place.
Uprights are the starts of rounds.

`m` shows this chart alone.
"""
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"chart--{number}" for number in range(1, COLOURS + 1)),
        "chart--ghost",
        "chart--axis",
        "chart--title",
        "chart--value",
        "chart--failed",
    }
    DEFAULT_CSS = """
    Chart {
        width: 1fr;
        height: 1fr;
        min-height: 3;
        & > .chart--1 { color: $primary; }
        & > .chart--2 { color: $accent; }
        & > .chart--3 { color: $success; }
        & > .chart--4 { color: $text-secondary; }
        & > .chart--5 { color: $warning; }
        & > .chart--6 { color: $error; }
        & > .chart--7 { color: $foreground; }
        & > .chart--8 { color: $text-primary; }
        & > .chart--ghost { color: $foreground; text-style: dim; }
        & > .chart--axis { color: $foreground; text-style: dim; }
        & > .chart--title { color: $foreground; text-style: bold; }
        & > .chart--value { color: $foreground; text-style: bold; }
        & > .chart--failed { color: $text-error; }
        &:light > .chart--1 { color: $text-primary; }
        &:light > .chart--2 { color: $text-accent; }
        &:light > .chart--3 { color: $text-success; }
        &:light > .chart--5 { color: $text-warning; }
        &:light > .chart--6 { color: $text-error; }
        &:light > .chart--8 { color: $primary; }
        &:focus > .chart--title { color: $primary; text-style: bold underline; }
    }
    """

    def __init__(
        self,
        title: str,
        unit: str = "",
        *,
        empty: str = "nothing yet",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.heading, self.unit, self.empty = title, unit, empty
        self._plot = Plot()
        self._said = ("", False)

    def plot(
        self,
        lines: Sequence[Line],
        x: tuple[float, float],
        *,
        y: tuple[float | None, float | None] = (0.0, None),
        x_unit: str = "s",
        x_ticks: bool = True,
        marks: Marks = (),
    ) -> None:
        """Show these over that range of x. An end of y that is not given is a round number beyond the values.

        `marks`: uprights with their names.
        """
        self._plot = Plot(tuple(lines), x, y, x_unit, x_ticks, tuple(marks))
        self._said = ("", False)
        self.changed()

    def say(self, message: str, failed: bool = False) -> None:
        """In place of lines: why there is nothing."""
        if self._said != (message, failed):
            self._said = (message, failed)
            self.changed()

    def rows(self, width: int, height: int, colours: bool) -> list[Row]:
        message, failed = self._said
        plot = Plot() if message else self._plot
        style = "chart--failed" if failed else "chart--axis"
        marker = self.marker if self.marker in ("braille", "block") else "ascii"
        return plot.rows(self.heading, self.unit, (message or self.empty, style), width, height, marker, colours)


@dataclass(frozen=True, slots=True)
class Plot:
    """What a chart shows, and how it becomes rows of text."""

    lines: tuple[Line, ...] = ()
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float | None, float | None] = (0.0, None)
    x_unit: str = "s"
    x_ticks: bool = True
    marks: tuple[tuple[float, str], ...] = ()

    def rows(
        self, title: str, unit: str, nothing: tuple[str, str], width: int, height: int, marker: str, colours: bool
    ) -> list[Row]:
        """`nothing`: what stands in the middle where there is no line to draw, and its style."""
        if width < 1 or height < 1:
            return [[] for _ in range(height)]
        low, high = bounds(*self.x)
        seen = [within(line.points, low, high, not line.dots, line.steps) for line in self.lines]
        plain_marks = not colours or marker == "ascii"
        head = [(plain(title, 60), "chart--title")]
        if unit:
            head.append((f" {unit}", "chart--axis"))
        left = width - sum(cell_len(text) for text, _ in head)
        head += legend(
            [self._entry(line, points, plain_marks) for line, points in zip(self.lines, seen, strict=True)], left
        )
        made = [fitted(head, width)]
        if width < NARROWEST or height < LOWEST:
            return made + [fitted([], width)] * (height - 1)
        if not any(known(value) for points in seen for _, value in points):
            return made + middle(plain(nothing[0]), nothing[1], width, height - 1)
        with_ticks = self.x_ticks and height > LOWEST
        made += self._canvas(seen, low, high, width - MARGIN, height - 1 - with_ticks, marker, colours)
        if with_ticks:
            columns = width - MARGIN
            made.append([(x_row(x_ticks(low, high, self.x_unit, columns), low, high, columns), "chart--axis")])
        return [fitted(row, width) for row in made]

    def _entry(self, line: Line, points: Points, plain_marks: bool) -> tuple[str, str, str, str]:
        """A line in the legend: its sign, its name, its last value, its style. A distribution has no last."""
        sign = "○" if line.ghost else "●"
        if plain_marks:
            sign = "." if line.ghost else MARKS[line.colour % COLOURS]
        last = None if line.steps else next((value for _, value in reversed(points) if known(value)), None)
        style = "chart--ghost" if line.ghost else f"chart--{line.colour % COLOURS + 1}"
        return sign, plain(line.label, 40), "" if last is None else number(last), style

    def _canvas(
        self, seen: Sequence[Points], low: float, high: float, columns: int, height: int, marker: str, colours: bool
    ) -> list[Row]:
        order = sorted(range(len(self.lines)), key=lambda at: not self.lines[at].ghost)
        ghosts = sum(line.ghost for line in self.lines)
        lines = [self.lines[at] for at in order]
        grid = Grid(columns, height, marker, ghosts)
        parts = [
            [] if line.dots else stretches(seen[at], low, high, grid.width)
            for line, at in zip(lines, order, strict=True)
        ]
        points = [seen[at] if line.dots else [] for line, at in zip(lines, order, strict=True)]
        on = scale(*_extremes(parts, points), *_given(self.y))
        up = (grid.height - 1) / (on.high - on.low)

        def dot(value: float) -> int:
            return int(max(-1e6, min(1e6, (value - on.low) * up + 0.5)) // 1)

        for owner, line in enumerate(lines):
            for part in parts[owner]:
                draw(grid, part, owner, dot, line.steps)
            if line.dots:
                scatter(grid, points[owner], low, high, owner, dot)
        if not colours and marker != "ascii" and len(lines) - ghosts > 1:
            _set_marks(grid, lines)
        _set_uprights(grid, self.marks, low, high, "|" if marker == "ascii" else "┊")
        margin = [" " * MARGIN] * height
        ticks = list(zip(on.ticks, labels(on), strict=True))
        for tick, text in ticks[::-1] if height >= 2 * len(ticks) - 1 else ticks[:: 1 - len(ticks) or 1]:
            row = height - 1 - dot(tick) // grid.down
            if not margin[row].strip():
                margin[row] = f"{text:>{MARGIN - 1}} "
                if marker != "ascii":
                    for column in range(columns):
                        grid.put(column, row, "┈")
        styles = ["chart--ghost" if line.ghost else f"chart--{line.colour % COLOURS + 1}" for line in lines]
        signs = ["." if line.ghost else MARKS[line.colour % COLOURS] for line in lines]
        drawn = grid.drawn(
            lambda owner: "chart--axis" if owner == AXIS else styles[owner],
            (lambda owner: signs[owner]) if marker == "ascii" else None,
        )
        return [[(text, "chart--axis"), *row] for text, row in zip(margin, drawn, strict=True)]


def _given(y: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = (end if known(end) else None for end in y)
    return low, None if low is not None and high is not None and high <= low else high


def _extremes(parts: Sequence[Sequence[Sequence[Column]]], points: Sequence[Points]) -> tuple[float, float]:
    least = [column.low for line in parts for part in line for column in part]
    most = [column.high for line in parts for part in line for column in part]
    alone = [value for line in points for _, value in line if value is not None and -LARGEST <= value <= LARGEST]
    return min(least + alone), max(most + alone)


def _set_marks(grid: Grid, lines: Sequence[Line]) -> None:
    """Every so many columns, each line shows the mark that stands before its name."""
    for owner, line in enumerate(lines):
        if not line.ghost:
            for column in range(owner * MARK_EVERY // len(lines), grid.columns, MARK_EVERY):
                row = next((row for row in range(grid.rows) if grid.owner(column, row) == owner), None)
                if row is not None:
                    grid.put(column, row, MARKS[line.colour % COLOURS], owner)


def _set_uprights(grid: Grid, marks: Marks, low: float, high: float, char: str) -> None:
    """Through what is empty; a name stands in the top row where there is room for it."""
    places = sorted((column_of(x, low, high, grid.columns), name) for x, name in marks if low <= x <= high)
    for at, (place, name) in enumerate(places):
        end = places[at + 1][0] if at + 1 < len(places) else grid.columns
        for row in range(grid.rows):
            grid.put(place, row, char)
        shown = plain(name, 24)
        cells = range(place + 1, place + 1 + len(shown))
        if cells.stop <= end and cell_len(shown) == len(shown) and all(grid.owner(cell, 0) < 0 for cell in cells):
            for cell, letter in zip(cells, shown, strict=True):
                grid.put(cell, 0, letter)


def legend(entries: Sequence[tuple[str, str, str, str]], room: int, more: str = "chart--axis") -> Row:
    """(sign, name, value, style) of each: with their values, else without, else those for which there is room.

    `more` is the style of how many are left out.
    """
    for with_value in (True, False):
        row: Row = []
        for sign, name, value, style in entries:
            row += [("  ", ""), (sign, style), (f" {name}", "")]
            if with_value and value:
                row.append((f" {value}", "chart--value"))
        if sum(cell_len(text) for text, _ in row) <= room:
            return row
    for shown in range(len(entries) - 1, 0, -1):
        row = [run for sign, name, _, style in entries[:shown] for run in (("  ", ""), (sign, style), (f" {name}", ""))]
        row.append((f"  +{len(entries) - shown}", more))
        if sum(cell_len(text) for text, _ in row) <= room:
            return row
    return []
