"""The figures of runs side by side, laid out for a width: no sign of a figure is cut, rather a run waits its turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from infertui.compare import Column as Run
from infertui.compare import Comparison
from infertui.metric import METRICS
from infertui.report.compare import Cells, cells_of, good_calls, replies_text, states, unit_of
from infertui.report.table import BESIDE, RUN_LINE, SHOWN
from infertui.report.telemetry import limit_text
from infertui.tui.widgets import Column

WIDEST_LABEL = 27
PADDING = 2  # columns beside what is in a column of the table
BASELINE, HERE = "*", "▸"  # what stands at the number of the baseline, and of the run under the cursor


class Cell(NamedTuple):
    """A run's part of a row: its figure, and what it is against the baseline's, as its ratio alone and in full."""

    figure: Text
    ratio: Text = Text()
    full: Text = Text()


class Row(NamedTuple):
    """`elastic`: words that take the room that is left."""

    key: str
    label: Text
    cells: list[Cell]
    elastic: bool = False


class Layout(NamedTuple):
    """The places of the runs for which there is room, what their columns are wide, and whether differences fit too."""

    places: list[int]
    label: int
    widths: list[tuple[int, int]]
    in_full: bool


def rows_of(comparison: Comparison, every: bool) -> list[Row]:
    """Of the usual metrics, or of every one that a run has."""
    columns = comparison.columns
    rows = [Row("good", Text("Good calls"), _words([good_calls(column) for column in columns]))]
    if set(told := states(comparison)) != {"done"}:
        styled = [Cell(Text(state, "" if state == "done" else "bold yellow")) for state in told]
        rows.append(Row("state", Text("State"), styled))
    rows += _replies(columns)
    for key in comparison.keys if every else (*SHOWN, *RUN_LINE, "first_answer_ms", *BESIDE):
        if key in comparison.keys:
            unit = unit_of(key)
            label = Text.assemble(METRICS[key].label, (f" {unit}" if unit else "", "dim"))
            rows.append(Row(key, label, [_cell(comparison, column, key) for column in columns]))
    if any(column.report.summary.limits is not None for column in columns):
        limits = _words([limit_text(column.report.summary) for column in columns])
        rows.append(Row("limit", Text("Limit"), limits, elastic=True))
    return rows


def _words(told: Sequence[str]) -> list[Cell]:
    return [Cell(Text(each)) for each in told]


def _replies(columns: Sequence[Run]) -> Iterator[Row]:
    """What a run's replies are worth; those of each kind on a line of their own."""
    if not any(column.replies for column in columns):
        return
    told = [replies_text(column).split(", ") for column in columns]
    for line in range(max(map(len, told))):
        shown = [parts[line] if line < len(parts) else "" for parts in told]
        cells = [Cell(Text(each, "bold red" if _is_doubtful(each) else "")) for each in shown]
        yield Row(f"replies-{line}", Text("" if line else "Replies"), cells)


def _is_doubtful(said: str) -> bool:
    return said[:1].isdigit() and not said.endswith("fine")


def _cell(comparison: Comparison, column: Run, key: str) -> Cell:
    is_base = column.report is comparison.baseline
    one = cells_of(column.differences[key], is_baseline=is_base)
    figure = Text(one.figure, "bold" if is_base else "")
    return Cell(figure) if is_base else Cell(figure, _against(one, False), _against(one, True))


def _against(one: Cells, in_full: bool) -> Text:
    """The sign first: whatever may be cut, it is not."""
    mark, style = one.mark
    parts = (mark or " ", one.difference if in_full else "", one.ratio)
    return Text(" ".join(part for part in parts if part).rstrip(), style)


def layout(comparison: Comparison, rows: Sequence[Row], cursor: int, width: int) -> Layout:
    """All runs with their differences if there is room, else with their ratios alone, else as many as there is room
    for: the baseline, the run under the cursor, and then those around it."""
    columns = comparison.columns
    label = min(WIDEST_LABEL, max(len(row.label) for row in rows))
    room = width - label - PADDING
    full, short = ([_widths(comparison, rows, place, wide) for place in range(len(columns))] for wide in (True, False))
    base = next(place for place, column in enumerate(columns) if column.report is comparison.baseline)
    wanted = sorted(range(len(columns)), key=lambda place: (place != base, abs(place - cursor), place))
    shown = wanted if _taken(full, wanted) <= room else wanted[:2]
    for place in wanted[len(shown) :]:
        if _taken(short, [*shown, place]) > room:
            break
        shown.append(place)
    shown.sort()
    in_full = _taken(full, shown) <= room
    widths = [(full if in_full else short)[place] for place in shown]
    return Layout(shown, label, _widened(rows, shown, widths, room), in_full)


def _widths(comparison: Comparison, rows: Sequence[Row], place: int, in_full: bool) -> tuple[int, int]:
    """Of a run's figures, and of what they are against the baseline's."""
    cells = [row.cells[place] for row in rows if not row.elastic]
    head = head_of(comparison, place, place)
    figure = max(len(head), *(len(cell.figure) for cell in cells))
    return figure, max(len(cell.full if in_full else cell.ratio) for cell in cells)


def _taken(widths: Sequence[tuple[int, int]], places: Sequence[int]) -> int:
    return sum(size + PADDING for place in places for size in widths[place] if size)


def _widened(
    rows: Sequence[Row], places: Sequence[int], widths: Sequence[tuple[int, int]], room: int
) -> list[tuple[int, int]]:
    """With the room that is left given to the words that need it."""
    left = room - sum(size + PADDING for pair in widths for size in pair if size)
    found = []
    for place, (figure, against) in zip(places, widths, strict=True):
        wish = max([figure, *(len(row.cells[place].figure) for row in rows if row.elastic)])
        more = max(0, min(left, wish - figure))
        left -= more
        found.append((figure + more, against))
    return found


def head_of(comparison: Comparison, place: int, cursor: int) -> str:
    report = comparison.columns[place].report
    sign = BASELINE if report is comparison.baseline else ""
    return f"{HERE if place == cursor else ''}run {report.id}{sign}"


def shape_of(comparison: Comparison, laid: Layout, cursor: int) -> list[Column]:
    shape = [Column("metric", "", laid.label)]
    for place, (figure, against) in zip(laid.places, laid.widths, strict=True):
        shape.append(Column(f"figure-{place}", head_of(comparison, place, cursor), figure, right=True))
        if against:
            shape.append(Column(f"against-{place}", "", against))
    return shape


def line_of(row: Row, laid: Layout) -> list[Text]:
    """A row as the cells of the table."""
    line = [row.label]
    for place, (_, against) in zip(laid.places, laid.widths, strict=True):
        cell = row.cells[place]
        line.append(cell.figure)
        if against:
            line.append(cell.full if laid.in_full else cell.ratio)
    return line


def legend(comparison: Comparison, hidden: int, width: int) -> Text:
    """How the runs are reached that had no room, what the signs mean, and as much else as there is room for."""
    parts = [f"{hidden} more: ← →"] if hidden > 0 else []
    parts.append(f"{BASELINE} baseline")
    if len(comparison.columns) > 1:
        alike = not any(one.unlike for column in comparison.columns for one in column.differences.values())
        parts.append(f"▲ better ▼ worse = same{'' if alike else ' ≠ not measured alike'}")
    parts += ["medians of calls", "of what was sampled means"]
    while len(" · ".join(parts)) > width and len(parts) > 1:
        del parts[-1]
    return Text(" · ".join(parts), "dim")
