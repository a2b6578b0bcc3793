"""Runs and comparisons as Markdown: tables that a page, an issue or a chat shows as they are.

Everything that came from elsewhere stands in cells and lines in which nothing of it can act as markup.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from infertui import __version__, reply
from infertui.compare import Comparison, machine_text, setup_of
from infertui.metric import METRICS, CallRecord
from infertui.report.compare import cells_of, good_calls, replies_text, states, unit_of, unlike_text
from infertui.report.data import Whole
from infertui.report.figure import UNKNOWN, number
from infertui.report.table import COLUMNS, one_figure, state_of
from infertui.report.telemetry import limit_text
from infertui.result import Report
from infertui.stats import Distribution
from infertui.text import plain

_ESCAPED = str.maketrans({char: f"\\{char}" for char in "\\`*~[]|"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})

_EMPHASIS = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")  # within a word an underline is one


def cell(text: str, limit: int = 300) -> str:
    """A text as one line of Markdown that means nothing but itself."""
    return _EMPHASIS.sub(r"\\_", plain(text, limit).translate(_ESCAPED))


def runs_page(runs: Sequence[Whole], at: str) -> str:
    """Runs one after the other."""
    return "\n".join("\n".join(_run(run, at)) for run in runs)


def comparison_page(comparison: Comparison, at: str) -> str:
    return "\n".join(_comparison(comparison, at))


# A run.


def _run(run: Whole, at: str) -> Iterator[str]:
    report, summary = run.report, run.report.summary
    yield f"# Run {report.id}: {cell(report.scenario, 60)} on {cell(report.server, 60)}"
    yield ""
    yield from _table(("Set-up", ""), _setup(run), ":--")
    yield from _percentiles(report)
    own = [
        (METRICS[key].label, unit_of(key), one_figure(key, value))
        for key, value in summary.metrics.items()
        if isinstance(value, float)
    ]
    yield from _table(("Of the run", "unit", "figure"), own, "--:", 2)
    yield from _list(_remarks(run))
    rows = [_call(run, call) for call in run.calls]
    heads = ("call", "role", "prompt", "ttft ms", "e2e ms", "tokens", "tok/s", "decode", "queue ms", "outcome", "reply")
    yield from _table(heads, rows, "--:", 3)
    yield _foot([machine_text(run.machine)], at)


def _setup(run: Whole) -> Iterator[tuple[str, str]]:
    report, facts = run.report, run.report.facts
    command = facts.get("command") or ()
    told = {
        "server": report.server,
        "address": report.url,
        **setup_of(report),
        "command": shlex.join(map(str, command)),
        "label": report.label,
        "tags": ", ".join(run.tags),
        "note": run.note,
        "state": state_of(report.status, report.summary),
        "message": report.message,
        "started": f"{report.started_at[:19].replace('T', ' ')} UTC" if report.started_at else "",
        "limit": limit_text(report.summary),
        "replies": reply.said(run.replies),
    }
    yield from ((name, cell(value, 2000)) for name, value in told.items() if value)


def _percentiles(report: Report) -> Iterator[str]:
    rows = []
    for key, value in report.summary.metrics.items():
        if isinstance(value, Distribution) and value.n:
            figures = [one_figure(key, getattr(value, column)) for column in COLUMNS[1:]]
            rows.append((METRICS[key].label, unit_of(key), str(value.n), *figures))
    yield from _table(("", "unit", *COLUMNS), rows, "--:", 2)


def _remarks(run: Whole) -> Iterator[str]:
    report, summary = run.report, run.report.summary
    if warning := reply.warning(run.replies, report.server):
        yield f"**{cell(warning)}**"
    for doubt in summary.doubts:
        yield f"{'**suspicious**' if doubt.level == 'suspicious' else 'note'}: {cell(doubt.text, 400)}"
    yield from (f"error: {cell(kind)} × {count}" for kind, count in summary.errors.items())
    yield from (f"warning: {cell(warning, 400)}" for warning in summary.warnings)
    yield from (f"caveat: {cell(caveat, 400)}" for caveat in report.caveats)


def _call(run: Whole, call: CallRecord) -> tuple[str, ...]:
    outcome = call.finish or "ok" if call.good else f"{call.outcome}: {call.message}"
    flagged = "; ".join(f"{flag.kind}: {flag.why}" for flag in run.flags.get(call.name, ()) if flag.kind != "cut")
    counted = call.name in run.flags
    return (
        cell(call.name, 60),
        call.role,
        cell(call.prompt_id, 60),
        number(call.ttft_ms),
        number(call.e2e_ms),
        UNKNOWN if call.n_output is None else str(call.n_output),
        number(call.effective_tps),
        number(call.decode_tps),
        number(call.queue_ms),
        cell(outcome),
        cell(flagged) or ("fine" if counted else ""),
    )


# A comparison.


def _comparison(comparison: Comparison, at: str) -> Iterator[str]:
    columns, base = comparison.columns, comparison.baseline
    yield f"# Comparison of {len(columns)} run{'s' if len(columns) > 1 else ''}"
    yield ""
    rows = [
        (
            f"{column.report.id}{' (baseline)' if column.report is base else ''}",
            cell(column.name, 60),
            cell(column.report.model, 60),
            cell(column.report.scenario, 60),
            column.report.started_at[:16].replace("T", " "),
            state,
            good_calls(column),
            replies_text(column),
            limit_text(column.report.summary),
        )
        for column, state in zip(columns, states(comparison), strict=True)
    ]
    heads = ("run", "server", "model", "scenario", "started (UTC)", "state", "good calls", "replies", "limit")
    yield from _table(heads, rows, ":--")
    names = ["", "unit"]
    for column in columns:
        names.append(cell(column.name, 60))
        names += [] if column.report is base else ["difference", "ratio", ""]
    figures = []
    for key in comparison.keys:
        row = [METRICS[key].label, unit_of(key)]
        for column in columns:
            own = cells_of(column.differences[key], is_baseline=column.report is base)
            row.append(own.figure)
            judged = "not alike" if own.unlike else own.better.replace(UNKNOWN, "")
            row += [] if column.report is base else [own.difference, own.ratio, judged]
        figures.append(row)
    yield from _table(names, figures, "--:", 2)
    yield "Medians of calls; of what was sampled means, by time. A difference is to the baseline's figure."
    yield ""
    remarks = [f"**{cell(warning, 700)}**" for warning in comparison.warnings]
    remarks += [f"not alike: {cell(unlike_text(comparison, each), 1000)}" for each in comparison.unlike]
    caveats = dict.fromkeys(caveat for column in columns for caveat in column.report.caveats)
    yield from _list([*remarks, *(f"caveat: {cell(caveat, 400)}" for caveat in caveats)])
    yield _foot(list(dict.fromkeys(machine_text(column.machine) for column in columns)), at)


# Parts of a page, each with an empty line after it.


def _table(
    heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]], align: str, left: int = 0
) -> Iterator[str]:
    """Nothing where there are no rows. So many columns stand to the left; the others as `align` says."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if lines:
        marks = [":--" if index < left else align for index in range(len(heads))]
        yield f"| {' | '.join(heads)} |"
        yield f"| {' | '.join(marks)} |"
        yield from lines
        yield ""


def _list(items: Iterator[str] | Sequence[str]) -> Iterator[str]:
    lines = [f"- {item}" for item in items]
    yield from lines
    if lines:
        yield ""


def _foot(machines: Sequence[str], at: str) -> str:
    parts = [f"InferTUI {__version__}", *(cell(machine, 200) for machine in machines if machine), f"{at} UTC"]
    return f"*{' · '.join(parts)}*\n"
