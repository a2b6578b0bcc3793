"""The drawing core of charts and lanes, without Textual: dots in character cells, axes, and rows of styled text.

A row is a list of runs: a text, and the name of the style that it is drawn in ("" is the widget's own).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

Run = tuple[str, str]
Row = list[Run]
Points = Sequence[tuple[float, float | None]]

MARGIN = 7  # columns left of what is drawn, the same everywhere so that axes of time stand under each other
LARGEST = 1e30  # what is larger is no measurement, and takes part in no arithmetic
MARKERS = ("braille", "block", "ascii")
EMPTY, AXIS = -1, -2  # owners of cells that no line owns
TIME_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
LABEL_EVERY = 12  # columns of the axis, at least, for each of its labels

# Of each marker: the bits of a cell's dots, by column and then from the bottom up, and the character of each mask.
_BITS = {
    "braille": ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08)),
    "block": ((4, 1), (8, 2)),
    "ascii": ((1,),),
}
_GLYPHS = {
    "braille": " " + "".join(chr(0x2800 + mask) for mask in range(1, 256)),
    "block": " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█",
    "ascii": " *",
}
# The bits of a cell's column from one of its dots to another.
_SPANS = {
    marker: [[[sum(bits[low : high + 1]) for high in range(len(bits))] for low in range(len(bits))] for bits in columns]
    for marker, columns in _BITS.items()
}


class Grid:
    """Dots in cells. y counts dots from the bottom. The line that drew into a cell last owns it, and gives its colour.

    Owners are numbers from 0. The first `ghosts` of them give their cells up to any other: their dots are not kept.
    """

    def __init__(self, columns: int, rows: int, marker: str = "braille", ghosts: int = 0) -> None:
        self.columns, self.rows = columns, rows
        self.across, self.down = len(_BITS[marker]), len(_BITS[marker][0])
        self.width, self.height = columns * self.across, rows * self.down
        self._spans, self._glyphs = _SPANS[marker], _GLYPHS[marker]
        self._ghosts = ghosts
        self._masks = [0] * (columns * rows)
        self._owners = [EMPTY] * (columns * rows)
        self._over: dict[int, tuple[str, int]] = {}  # characters that stand in the place of dots

    def span(self, x: int, low: int, high: int, owner: int) -> None:
        """All dots of a column from low to high; what lies outside is left out."""
        if not 0 <= x < self.width or high < 0 or low >= self.height:
            return
        low, high = max(low, 0), min(high, self.height - 1)
        down, masks, owners = self.down, self._masks, self._owners
        spans = self._spans[x % self.across]
        first, last = low // down, high // down
        for part in range(first, last + 1):
            cell = (self.rows - 1 - part) * self.columns + x // self.across
            bits = spans[low % down if part == first else 0][high % down if part == last else down - 1]
            if owners[cell] < self._ghosts <= owner:
                masks[cell] = bits
            else:
                masks[cell] |= bits
            owners[cell] = owner

    def line(self, x0: int, y0: int, x1: int, y1: int, owner: int) -> None:
        """Between two dots: as thin as Bresenham's, and without a hole."""
        if x1 < x0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        if x0 == x1:
            self.span(x0, min(y0, y1), max(y0, y1), owner)
            return
        slope = (y1 - y0) / (x1 - x0)
        steep = abs(slope) > 1
        for x in range(max(x0, 0), min(x1, self.width - 1) + 1):
            if not steep:
                y = floor(y0 + (x - x0) * slope + 0.5)
                self.span(x, y, y, owner)
                continue
            # Each column has the dots that are nearer to it than to its neighbours.
            start, end = max(x - 0.5, x0) - x0, min(x + 0.5, x1) - x0
            low, high = (y0 + start * slope, y0 + end * slope) if slope > 0 else (y0 + end * slope, y0 + start * slope)
            bottom, top = floor(low + 0.5), floor(high + 0.5)
            if end < x1 - x0 and slope > 0:
                top -= 1  # the next column begins there
            elif end < x1 - x0:
                bottom += 1
            self.span(x, min(bottom, top), max(bottom, top), owner)

    def owner(self, column: int, row: int) -> int:
        """Of the cell in that row from the top."""
        return self._owners[row * self.columns + column]

    def put(self, column: int, row: int, char: str, owner: int = AXIS) -> bool:
        """A character in the place of dots; of the axis only where there is nothing yet. Whether it could be put."""
        cell = row * self.columns + column
        if owner == AXIS and (self._masks[cell] or cell in self._over):
            return False
        self._over[cell] = (char, owner)
        return True

    def drawn(self, style: Callable[[int], str], glyph: Callable[[int], str] | None = None) -> list[Row]:
        """The rows from the top. `glyph`: in the place of dots, by their owner."""
        owners = self._owners[:]
        if glyph is None:
            chars = [self._glyphs[mask] for mask in self._masks]
        else:
            chars = [glyph(owner) if mask else " " for mask, owner in zip(self._masks, owners, strict=True)]
        for cell, (char, owner) in self._over.items():
            chars[cell], owners[cell] = char, owner
        found: list[Row] = []
        for start in range(0, len(chars), self.columns):
            row: Row = []
            first, held, end = start, EMPTY, start + self.columns
            for at, owner in enumerate(owners[start:end], start):
                if owner != held and owner != EMPTY:  # blanks go with what stands before them
                    if at > first:
                        row.append(("".join(chars[first:at]), "" if held == EMPTY else style(held)))
                    first, held = at, owner
            row.append(("".join(chars[first:end]), "" if held == EMPTY else style(held)))
            found.append(row)
        return found


# A line, as a grid can show it.


class Column(NamedTuple):
    """What a stretch of a line is in one column of dots: enough to draw it as all its points would be."""

    x: int
    first: float
    low: float
    high: float
    last: float


def within(points: Points, low: float, high: float, joined: bool = True, steps: bool = False) -> Points:
    """The points in a range of x. A joined line enters and leaves it at the border, where it would cross it."""
    begin = bisect_left(points, low, key=_x)
    end = bisect_right(points, high, lo=begin, key=_x)
    found = list(points[begin:end])
    if not joined:
        return found
    before = points[begin - 1] if begin else None
    after = points[end] if end < len(points) else None
    first = found[0] if found else after
    if before is not None and first is not None and first[0] > low and (y := _between(before, first, low, steps)):
        found.insert(0, y)
    last = found[-1] if found else None
    if after is not None and last is not None and last[0] < high and (y := _between(last, after, high, steps)):
        found.append(y)
    return found


def _x(point: tuple[float, float | None]) -> float:
    return point[0]


def _between(
    one: tuple[float, float | None], other: tuple[float, float | None], x: float, steps: bool
) -> tuple[float, float] | None:
    (x0, y0), (x1, y1) = one, other
    if not (known(y0) and known(y1) and known(x0) and known(x1)) or y0 is None or y1 is None:
        return None
    return x, y0 if steps or x1 <= x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def known(value: float | None) -> bool:
    """Whether it can be drawn."""
    return value is not None and -LARGEST <= value <= LARGEST


def stretches(points: Points, low: float, high: float, width: int) -> list[list[Column]]:
    """Unbroken stretches of a line by columns of dots: of many points in one, the first, the extremes and the last."""
    scale = (width - 1) / (high - low)
    found: list[list[Column]] = []
    part: list[Column] = []
    at = -1
    first = least = most = last = 0.0
    for x, y in points:
        if y is None or not -LARGEST <= y <= LARGEST:
            if at >= 0:
                part.append(Column(at, first, least, most, last))
                found.append(part)
                part, at = [], -1
            continue
        column = int((x - low) * scale + 0.5)
        if column == at:
            if y < least:
                least = y
            elif y > most:
                most = y
            last = y
        else:
            if at >= 0:
                part.append(Column(at, first, least, most, last))
            at = column
            first = least = most = last = y
    if at >= 0:
        part.append(Column(at, first, least, most, last))
        found.append(part)
    return found


def draw(grid: Grid, part: Sequence[Column], owner: int, dot: Callable[[float], int], steps: bool) -> None:
    """A stretch. `dot`: which dot from the bottom a value is."""
    for column in part:
        grid.span(column.x, dot(column.low), dot(column.high), owner)
    for one, other in pairwise(part):
        y, to = dot(one.last), dot(other.first)
        if steps:
            grid.line(one.x, y, other.x, y, owner)
            grid.span(other.x, min(y, to), max(y, to), owner)
        elif other.x > one.x + 1 or abs(to - y) > 1:
            grid.line(one.x, y, other.x, to, owner)


def scatter(grid: Grid, points: Points, low: float, high: float, owner: int, dot: Callable[[float], int]) -> None:
    """Points that are not joined, each a small square where cells have several dots: one dot is hard to see."""
    right = (grid.width - 1) / (high - low)
    size = min(grid.across, grid.down)
    for place, value in {(int((x - low) * right + 0.5), dot(y)) for x, y in points if y is not None and known(y)}:
        bottom = min(value, grid.height - size) if value < grid.height else value
        for x in range(place - place % size, place - place % size + size):
            grid.span(x, bottom, bottom + size - 1, owner)


# Axes.


def nice(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 … 0.5, 0.2 … that is no smaller."""
    size = 10.0 ** floor(log10(least))
    return next(leader * size for leader in (1, 2, 5, 10) if leader * size >= least * (1 - 1e-9))


class Scale(NamedTuple):
    low: float
    high: float
    ticks: list[float]
    step: float


def scale(least: float, most: float, low: float | None, high: float | None) -> Scale:
    """An axis for values from least to most, with its ticks: four at most.

    Where an end of it is not given, it is a tick at or beyond the values.
    """
    bottom = least if low is None else low
    top = max(most, bottom) if high is None else high
    if low is None and high is None and top == bottom:
        bottom, top = bottom - abs(bottom) / 20, top + abs(top) / 20
    if top - bottom <= max(1e-20, 1e-12 * max(abs(top), abs(bottom))):
        top = bottom + max(1.0, abs(bottom) * 1e-9)
    made: list[Scale] = []
    for count in (3, 2, 1):
        step = nice((top - bottom) / count)
        start = floor(bottom / step + 1e-9) * step if low is None else bottom
        end = start + ceil((top - start) / step - 1e-9) * step if high is None else top
        made.append(Scale(start, end, _multiples(start, end, step), step))
    few = [one for one in made if len(one.ticks) <= 4]
    # The one that wastes the least room, and of those the one with the most ticks.
    return min(few, key=lambda one: (round((one.high - one.low) / (top - bottom), 6), -len(one.ticks)))


def _multiples(low: float, high: float, step: float) -> list[float]:
    slack = 1e-6
    first, last = ceil(low / step - slack), floor(high / step + slack)
    return [count * step for count in range(first, min(last, first + 100) + 1)]


def labels(on: Scale) -> list[str]:
    """What its ticks are called, short enough for the margin."""
    most = max(abs(on.low), abs(on.high))
    size, sign = next((each for each in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if most >= 10 * each[0]), (1.0, ""))
    digits = max(0, -floor(log10(on.step / size) + 1e-9))
    names = [f"{tick / size:,.{digits}f}{sign}" if tick else "0" for tick in on.ticks]
    return [name if len(name) < MARGIN else f"{tick:.0e}" for name, tick in zip(names, on.ticks, strict=True)]


def x_ticks(low: float, high: float, unit: str, columns: int) -> list[tuple[float, str]]:
    """Where an axis has its ticks, and their names: the last one tells the unit. Seconds become minutes and hours."""
    least = (high - low) / max(2, columns // LABEL_EVERY)
    size = 1.0
    if unit != "s" or least <= TIME_STEPS_S[0]:
        step = nice(least)
    else:
        step = next((step for step in TIME_STEPS_S if step >= least), 0.0) or 3600 * nice(least / 3600)
        size, unit = (1.0, "s") if step < 60 else (60.0, "min") if step < 3600 else (3600.0, "h")
    ticks = _multiples(low, high, step)
    digits = max(0, -floor(log10(step / size) + 1e-9))
    if step / size % 1:
        digits = max(digits, 1)
    names = [f"{tick / size:.{digits}f}" for tick in ticks]
    if names and unit:
        names[-1] += f" {unit}"
    return list(zip(ticks, names, strict=True))


def x_row(ticks: Iterable[tuple[float, str]], low: float, high: float, columns: int) -> str:
    """The names of ticks under their places. The last comes first: it tells the unit. Others have the room left."""
    cells = [" "] * columns
    for value, name in reversed(list(ticks)):
        figure = len(name.partition(" ")[0])
        start = max(0, min(column_of(value, low, high, columns) - (figure - 1) // 2, columns - len(name)))
        if not "".join(cells[max(0, start - 1) : start + len(name) + 1]).strip() and len(name) <= columns:
            cells[start : start + len(name)] = name
    return " " * MARGIN + "".join(cells)


def column_of(x: float, low: float, high: float, columns: int) -> int:
    """The cell of a value, from 0; outside of the axis it is none of its cells."""
    return floor((x - low) / (high - low) * (columns - 1) + 0.5)


def bounds(low: float, high: float) -> tuple[float, float]:
    """A range that can be drawn, whatever was asked for."""
    if not (isfinite(low) and isfinite(high) and known(low) and known(high)):
        return 0.0, 1.0
    return (low, high) if high - low > 1e-9 * max(1e-3, abs(low)) else (low, low + max(1.0, abs(low) * 1e-3))


# Rows.


def fitted(row: Row, width: int) -> Row:
    """Exactly so many columns wide."""
    found: Row = []
    left = width
    for text, style in row:
        size = cell_len(text)
        if size > left:
            found.append((set_cell_size(text, left), style))
            return found
        found.append((text, style))
        left -= size
    if left:
        found.append((" " * left, ""))
    return found


def middle(text: str, style: str, width: int, height: int) -> list[Row]:
    """A text in the middle of empty rows, broken between words where it is too long."""
    rows: list[Row] = [[] for _ in range(height)]
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if cell_len(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > height:
        lines = [*lines[: max(0, height - 1)], " ".join(lines[height - 1 :])]
    for at, line in enumerate(lines[:height], (height - len(lines[:height])) // 2):
        shown = line if cell_len(line) <= width else set_cell_size(line, max(0, width - 1)) + "…"
        rows[at] = [(" " * ((width - cell_len(shown)) // 2), ""), (shown, style)]
    return [fitted(row, width) for row in rows]
