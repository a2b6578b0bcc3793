"""A comparison for a terminal: each run's figures, and what they are against the baseline's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infertui import reply
from infertui.compare import Better, Column, Comparison, Difference, Unlike
from infertui.metric import METRICS
from infertui.report.figure import UNKNOWN, number
from infertui.report.table import BESIDE, RUN_LINE, SHOWN, one_figure, state_of
from infertui.report.telemetry import limit_text
from infertui.text import plain

MARKS: dict[Better, tuple[str, str]] = {"better": ("▲", "green"), "worse": ("▼", "red"), "same": ("=", "dim")}
UNLIKE = ("≠", "yellow")
HEADS = ("differ", "ratio")
NAME_WIDTH = 14  # of a head; what is longer is broken


class Cells(NamedTuple):
    """A run's part of a row."""

    figure: str
    difference: str = ""
    ratio: str = ""
    better: Better = ""
    unlike: str = ""  # in what the two are not measured alike

    @property
    def mark(self) -> tuple[str, str]:
        """What the difference is worth, as a sign and its style."""
        return UNLIKE if self.unlike else MARKS.get(self.better, ("", ""))

    @property
    def against(self) -> Text:
        """What it is against the baseline's, in one piece."""
        mark, style = self.mark
        return Text(" ".join(part for part in (self.difference, self.ratio, mark) if part), style)


class Row(NamedTuple):
    label: str
    unit: str
    cells: list[Cells]
    style: str = ""


def compare_view(comparison: Comparison, every: bool = False, width: int = 120) -> RenderableType:
    """Figures side by side, the baseline first: on one line where there is room, else what they differ by below them.

    Where that is too wide as well, the runs stand in several tables, each with the baseline.
    """
    columns = comparison.ordered
    rows = list(_rows(comparison, columns, every))
    gap = 1 if width < 100 else 2
    room = width - sum(gap + max(len(text) for text in texts) for texts in zip(*(row[:2] for row in rows), strict=True))
    for stacked in (False, True):
        parts = [_widths([row.cells[index] for row in rows], column, stacked) for index, column in enumerate(columns)]
        taken = [sum(widths) + gap * len(widths) for widths in parts]
        if sum(taken) <= room + gap:
            break
    tables: list[RenderableType] = []
    shown = [0]
    for index in range(1, len(columns)):
        if len(shown) > 1 and sum(taken[each] for each in (*shown, index)) > room + gap:
            tables.append(_table(columns, rows, shown, parts, stacked, gap))
            shown = [0]
        shown.append(index)
    tables.append(_table(columns, rows, shown, parts, stacked, gap))
    caption = "medians of calls; of what was sampled means, by time"
    marks = " · ▲ better, ▼ worse" if len(columns) > 1 else ""
    if any(cells.unlike for row in rows for cells in row.cells):
        marks += ", ≠ not measured alike"
    return Group(*tables, Text(caption + marks, "dim italic"), *_notes(comparison))


def _notes(comparison: Comparison) -> Iterator[Text]:
    for warning in comparison.warnings:
        yield Text(f"! {warning}", "bold yellow")
    for each in comparison.unlike:
        yield Text(f"≠ {unlike_text(comparison, each)}", "yellow")
    for caveat in dict.fromkeys(caveat for column in comparison.columns for caveat in column.report.caveats):
        yield Text(f"~ {plain(caveat, 400)}", "magenta")


def unlike_text(comparison: Comparison, unlike: Unlike) -> str:
    """`context: 4096 on A; 8192 on B, C`."""
    named: dict[str, list[str]] = {}
    for column, value in zip(comparison.columns, unlike.values, strict=True):
        named.setdefault(value, []).append(column.name)
    return f"{unlike.what}: " + "; ".join(f"{value} on {', '.join(names)}" for value, names in named.items())


def states(comparison: Comparison) -> list[str]:
    """Of each run what stands against it; `done` if nothing does."""
    return [state_of(column.report.status, column.report.summary) for column in comparison.columns]


def good_calls(column: Column) -> str:
    summary = column.report.summary
    return f"{summary.calls - sum(summary.errors.values())} of {summary.calls}"


def replies_text(column: Column) -> str:
    return UNKNOWN if column.replies is None else reply.said(column.replies) or "none"


def cells_of(one: Difference, is_baseline: bool = False) -> Cells:
    """A figure and what it is against the baseline's, as they are written: in percent where that is its unit."""
    figure = one_figure(one.key, one.value)
    if is_baseline:
        return Cells(figure)
    if one.difference is None:
        return Cells(figure, UNKNOWN, "", one.better)
    if not one.difference:
        return Cells(figure, "0", "", one.better, one.unlike)
    sign = "+" if one.difference > 0 else "-" if one.difference < 0 else ""
    ratio = UNKNOWN if one.ratio is None else f"×{number(one.ratio)}"
    return Cells(figure, sign + one_figure(one.key, abs(one.difference)), ratio, one.better, one.unlike)


def unit_of(key: str) -> str:
    """Bytes are written with theirs."""
    return "%" if key == "success_rate" else METRICS[key].unit.replace("B", "")


def _rows(comparison: Comparison, columns: Sequence[Column], every: bool) -> Iterator[Row]:
    yield Row("Good calls", "", [Cells(good_calls(column)) for column in columns])
    told = [state_of(column.report.status, column.report.summary) for column in columns]
    if set(told) != {"done"}:
        yield Row("State", "", [Cells(state) for state in told], "bold yellow")
    if any(column.replies for column in columns):
        doubtful = any(column.replies and column.replies.keys() - {"fine"} for column in columns)
        yield Row("Replies", "", [Cells(replies_text(column)) for column in columns], "bold yellow" * doubtful)
    wanted = comparison.keys if every else [*SHOWN, *RUN_LINE, "first_answer_ms", *BESIDE]
    for key in wanted:
        if key not in comparison.keys:
            continue
        cells = [
            cells_of(column.differences[key], is_baseline=column.report is comparison.baseline) for column in columns
        ]
        yield Row(METRICS[key].label, unit_of(key), cells)
    if any(column.report.summary.limits is not None for column in columns):
        yield Row("Limit", "", [Cells(limit_text(column.report.summary)) for column in columns])


def _widths(cells: Sequence[Cells], column: Column, stacked: bool) -> list[int]:
    """Of a run's figures, and where they stand on the same line of their differences and ratios."""
    words = [word for word in plain(column.report.server, 60).split() if len(word) <= NAME_WIDTH]
    figures = [len(each.figure) if each.difference else min(len(each.figure), NAME_WIDTH) for each in cells]
    figure = max(*figures, *(len(word) for word in words), len("baseline"))
    if not any(each.difference for each in cells):
        return [figure]
    if stacked:
        return [max(figure, *(len(each.against) for each in cells))]
    difference = max(len(HEADS[0]), *(len(each.difference) for each in cells))
    return [figure, difference, max(len(HEADS[1]), *(len(each.ratio) + 2 for each in cells))]


def _table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    shown: Sequence[int],
    widths: Sequence[Sequence[int]],
    stacked: bool,
    gap: int,
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("unit", style="dim", no_wrap=True)
    for index in shown:
        report = columns[index].report
        head = f"{plain(report.server, 60)}\nrun {report.id}" + ("" if index else "\nbaseline")
        table.add_column(Text(head), justify="right", overflow="fold", width=widths[index][0])
        for name, width in zip(HEADS, widths[index][1:], strict=False):
            table.add_column(name, justify="right", no_wrap=True, width=width, header_style="dim")
    for row in rows:
        line: list[str | Text] = [row.label, row.unit]
        for index in shown:
            cells = row.cells[index]
            mark, style = cells.mark
            if len(widths[index]) > 1:
                line += [cells.figure, Text(cells.difference, style), Text(f"{cells.ratio} {mark}".strip(), style)]
            elif cells.difference:
                line.append(Text.assemble(cells.figure, "\n", cells.against))
            else:
                line.append(cells.figure)
        table.add_row(*line, style=row.style)
    return table
