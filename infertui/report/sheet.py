"""Runs and comparisons as CSV: figures at full precision, empty where unknown, and no cell that a sheet would run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infertui import reply
from infertui.compare import Comparison
from infertui.metric import METRICS
from infertui.report.data import Whole
from infertui.store import CALL_COLUMNS

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would work out
COMPARED = ("metric", "unit", "better", "run", "server", "value", "baseline", "difference", "ratio", "remark")

_NONE = (None, None, None)  # of what has no baseline

Value = str | float | int | bool | None


def calls_sheet(runs: Sequence[Whole]) -> str:
    """A row a call, of all runs: every column of the database, and what its reply was."""
    rows: list[list[Value]] = []
    for run in runs:
        report = run.report
        for call in run.calls:
            found = run.flags.get(call.name) if call.role == "measured" else None
            judged = None if found is None else reply.worst(found) or "fine"
            row: list[Value] = [report.id, report.server, report.model, report.scenario]
            rows.append([*row, *(getattr(call, name) for name in CALL_COLUMNS), judged])
    return _written(("run", "server", "model", "scenario", *CALL_COLUMNS, "reply"), rows)


def comparison_sheet(comparison: Comparison) -> str:
    """A row for each figure of each run: the long form, which sheets and data frames turn as they like.

    `better` says which way it is, `remark` in what the two are not measured alike. Replies that are fine or else are
    counted in rows of their own; so is why a run is not valid or suspicious, as remarks.
    """
    rows: list[list[Value]] = []
    for key in comparison.keys:
        metric = METRICS[key]
        for column in comparison.columns:
            one = column.differences[key]
            figures = [one.value, one.baseline, one.difference, one.ratio]
            remark = f"not alike: {one.unlike}" if one.unlike else ""
            rows.append([key, metric.unit, metric.better, column.report.id, column.report.server, *figures, remark])
    for kind in ("fine", *reply.DOUBTFUL):
        for column in comparison.columns:
            if column.replies is not None:
                count = column.replies.get(kind, 0)
                rows.append([f"replies_{kind}", "", "", column.report.id, column.report.server, count, *_NONE, ""])
    for column in comparison.ordered:
        own: list[Value] = ["warning", "", "", column.report.id, column.report.server, None, *_NONE]
        rows += [[*own, warning] for warning in column.warnings]
    return _written(COMPARED, rows)


def _written(heads: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """By RFC 4180, but for its line ends: a lone CR is quoted as well, which the csv module leaves to its reader."""
    lines = [heads, *([_cell(value) for value in row] for row in rows)]
    return "".join(f"{','.join(map(_quoted, line))}\n" for line in lines)


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if set(text) & set('",\r\n') else text


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return repr(value)
