"""Runs as tables for a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from infertui.compare import figure_of
from infertui.metric import METRICS, Bound, CallRecord, Summary
from infertui.report.figure import UNKNOWN, number, of_metric, percent, seconds, size
from infertui.report.telemetry import METERS, limit_text, telemetry_lines
from infertui.result import Report
from infertui.stats import ENOUGH, Distribution
from infertui.store import RunRow
from infertui.text import plain
from infertui.usage import headline

COLUMNS = ("n", "mean", "min", "p50", "p90", "p95", "p99", "max")
FEW = ("n", "p50", "p90", "max")  # where there is no room for more
# What a reader wants first; the rest is in --json and in `show --all`.
SHOWN = ("ttft_ms", "ttfa_ms", "itl_ms", "e2e_ms", "effective_tps", "decode_tps", "prefill_tps", "queue_ms")
RUN_LINE = ("output_tps", "requests_per_min", "success_rate", "wall_s", "calls_in_decode", "speedup", "goodput_per_min")


# Beside each other of what a run took: a mean over the measured time, where it is not the run's own number.
BESIDE = (
    "memory_bytes",
    "server_gpu_bytes",
    "server_cpu_percent",
    "gpu_percent",
    "joules_per_token",
    "net_joules_per_token",
)


def state_of(status: str, summary: Summary | None) -> str:
    """A run's state, and of one that is done what stands against it."""
    if status != "done" or summary is None:
        return status
    return "not valid" if not summary.valid else "suspicious" if summary.suspicious else status


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would end the process with 1, which says that a gate failed


def console() -> Console:
    """For stdout: as wide as the terminal, or wide enough for a table where there is none."""
    found = _Console(highlight=False, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = 120
    return found


def report_view(report: Report, every: bool = False, width: int = 120) -> RenderableType:
    """A run: what it was, its distributions, its own figures, and what to know before believing them."""
    summary = report.summary
    title = Text.assemble(
        (f"run {report.id}", "bold"),
        f"  {report.scenario} · {plain(report.server, 60)} · {plain(report.model, 60)}",
        (f"  {plain(report.label, 40)}" if report.label else "", "cyan"),
        ("" if report.status == "done" else f"  {report.status}", "bold yellow"),
        ("" if summary.valid else "  not valid", "bold red"),
        ("  suspicious" if summary.suspicious else "", "bold yellow"),
    )
    parts: list[RenderableType] = [title, Text(setup_line(report.setup), "dim")]
    if any(_some(summary, key) for key in SHOWN):
        parts.append(_distributions(summary, every, width))
    parts.append(_own_figures(summary, every, width))
    if line := _start_line(report):
        parts.append(Text(line, "dim"))
    parts += telemetry_lines(report, width)
    if report.message:
        parts.append(Text(plain(report.message, 600), "red"))
    parts += [Text(f"~ {plain(caveat, 400)}", "magenta") for caveat in report.caveats]
    parts += [Text(f"error: {kind} × {count}", "red") for kind, count in summary.errors.items()]
    parts += [Text(f"! {plain(warning, 400)}", "yellow") for warning in summary.warnings]
    parts.append(Text(_generator_line(summary), "dim"))
    return Group(*parts, "")


def _start_line(report: Report) -> str:
    """What the server was, and how long it took to serve."""
    version, settings = report.facts.get("version"), report.facts.get("settings", {})
    parts = [plain(str(version), 60)] if version else []
    if report.facts.get("attached"):
        parts.append("attached")
    settings = {**settings, **({"threads": report.facts["threads"]} if report.facts.get("threads") else {})}
    shown = ("slots", "context", "threads", "quant")
    parts += [f"{name} {plain(str(settings[name]), 30)}" for name in shown if name in settings]
    for key in ("accept_ms", "load_ms", "first_answer_ms"):
        value = report.summary.metrics.get(key)
        if isinstance(value, Distribution):
            label = METRICS[key].label.lower()
            parts.append(f"{label} {UNKNOWN if value.p50 is None else seconds(value.p50 / 1000)}")
    return " · ".join(parts)


def beside_view(reports: Sequence[Report], baseline: str = "") -> RenderableType:
    """The runs of an experiment side by side: the median of each figure, and each run's own."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title_justify="left")
    table.add_column("side by side", no_wrap=True)
    table.add_column("unit", style="dim", no_wrap=True)
    for report in reports:
        name = plain(report.server, 60) + (" (baseline)" if report.server == baseline else "")
        table.add_column(Text(name), justify="right", overflow="fold")
    calls = [report.summary.calls for report in reports]
    good = [report.summary.calls - sum(report.summary.errors.values()) for report in reports]
    table.add_row("Good calls", "", *(f"{n} of {of}" for n, of in zip(good, calls, strict=True)))
    states = [state_of(report.status, report.summary) for report in reports]
    if set(states) != {"done"}:
        table.add_row("State", "", *states, style="bold yellow")
    for key in (*SHOWN, *RUN_LINE, "first_answer_ms", *BESIDE):
        if any(_some(report.summary, key) for report in reports):
            unit = "%" if key == "success_rate" else METRICS[key].unit.replace("B", "")
            figures = [one_figure(key, report.summary.metrics.get(key)) for report in reports]
            table.add_row(METRICS[key].label, unit, *figures)
    if any(report.summary.limits is not None for report in reports):
        table.add_row("Limit", "", *(limit_text(report.summary) for report in reports))
    caveats = dict.fromkeys(caveat for report in reports for caveat in report.caveats)
    sources = {report.summary.prefill_source for report in reports} - {""}
    notes = [Text(f"~ {plain(caveat, 400)}", "magenta") for caveat in caveats]
    meters = {each.label for report in reports if (each := headline(report.summary.energy)) is not None}
    if len(meters) > 1:
        listed = ", ".join(sorted(METERS[meter] for meter in meters))
        notes.insert(0, Text(f"! energies are not alike: they are of different meters ({listed})", "yellow"))
    if len(sources) > 1:
        notes.insert(0, Text("! prefill speeds are not alike: the server's own clock, and prompt / ttft", "yellow"))
    sampled = any(METRICS[key].per == "sample" and _some(each.summary, key) for key in BESIDE for each in reports)
    table.caption = "medians of calls" + ("; of what was sampled means, by time" if sampled else "")
    table.caption_justify = "left"
    return Group(table, *notes)


def _some(summary: Summary, key: str) -> bool:
    value = summary.metrics.get(key)
    return value.n > 0 if isinstance(value, Distribution) else value is not None


def _distributions(summary: Summary, every: bool, width: int) -> Table:
    columns = COLUMNS if width >= 76 else FEW
    table = Table(box=None, pad_edge=False, padding=(0, 1 if width < 100 else 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("unit", style="dim", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True, style="bold" if column == "p50" else "")
    lacking = set()
    for key, value in summary.metrics.items():
        if not isinstance(value, Distribution) or not value.n or (key not in SHOWN and not every):
            continue
        figures = [getattr(value, column) for column in columns[1:]]
        lacking |= {column for column, figure in zip(columns[1:], figures, strict=True) if figure is None}
        unit = METRICS[key].unit
        if unit == "B":
            unit, figures = "MiB", [None if figure is None else figure / 2**20 for figure in figures]
        table.add_row(METRICS[key].label, unit, str(value.n), *(number(figure) for figure in figures))
    if lacking:
        needs = ", ".join(f"p{percent} {least}" for percent, least in ENOUGH.items() if f"p{percent}" in lacking)
        table.caption = f"{UNKNOWN} n too small: {needs} values needed"
        table.caption_justify = "left"
    return table


def _own_figures(summary: Summary, every: bool, width: int) -> Text:
    """The run's own numbers, as many a line as fit: a label is never parted from its figure."""
    lines = [Text()]
    for key, value in summary.metrics.items():
        if isinstance(value, Distribution) or value is None or not (every or key in RUN_LINE):
            continue
        figure = seconds(value) if key == "wall_s" else of_metric(key, value)
        piece = Text.assemble((f"{METRICS[key].label} ", "dim"), (figure, "bold"))
        if lines[-1] and len(lines[-1]) + 3 + len(piece) > width:
            lines.append(Text())
        lines[-1].append("   " if lines[-1] else "").append_text(piece)
    return Text("\n").join(lines)


def setup_line(setup: Mapping[str, Any]) -> str:
    """How the calls were made, in words."""
    parts = [str(setup.get("api", UNKNOWN)), "streamed" if setup.get("stream") else "in one piece"]
    parts += [f"{setup.get('cache')} cache", f"temperature {setup.get('temperature', 0):g}"]
    names = {"concurrency": "at once", "requests": "calls a round", "max_tokens": "tokens at most"}
    parts += [f"{setup[key]} {name}" for key, name in names.items() if setup.get(key)]
    parts.append(f"{setup.get('rounds', 1)} round{'s' if setup.get('rounds', 1) > 1 else ''}")
    if setup.get("kinds"):
        parts.append("/".join(setup["kinds"]))
    return " · ".join(parts)


def _generator_line(summary: Summary) -> str:
    own = summary.generator
    parts = [f"{summary.calls} calls"]
    if summary.n_source:
        parts.append(f"tokens by {summary.n_source}")
    if own.lag_p99_ms is not None:
        parts.append(f"own lag p99 {number(own.lag_p99_ms, 'ms')}")
    if own.cpu_us_per_token is not None:
        parts.append(f"own CPU {number(own.cpu_us_per_token, 'µs')} a token")
    return " · ".join(parts)


def _columns(table: Table, widths: Mapping[str, int], left: Sequence[str]) -> None:
    """Columns of given widths: rich alone would squeeze the numbers before the names."""
    for head, width in widths.items():
        table.add_column(
            head, justify="left" if head in left else "right", width=width, no_wrap=True, overflow="ellipsis"
        )


def calls_view(calls: Sequence[CallRecord], bounds: Sequence[Bound] = (), width: int = 120) -> Table:
    """Each call of a run, in the order in which they ended."""
    narrow = width < 110
    gap = 1 if narrow else 2
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    widths = {"call": 11, "prompt": 13, "lane": 4, "due s": 7, "ttft ms": 7, "e2e ms": 7, "tok": 5, "tok/s": 7}
    widths |= {"decode": 7, "queue": 7, **({"target": 6} if bounds else {})}
    if narrow:
        widths = {head: size for head, size in widths.items() if head not in ("lane", "due s", "queue")}
    widths["outcome"] = max(10, width - sum(size + gap for size in widths.values()) - gap)
    _columns(table, widths, ("call", "prompt", "target", "outcome"))
    start = min((call.sched_ns for call in calls), default=0)
    for call in calls:
        outcome = call.finish or "ok" if call.good else f"{call.outcome}: {call.message}"
        met = call.good and all(bound.met(call) for bound in bounds)
        counted = call.role == "measured"
        known = not call.good or all(getattr(call, bound.key) is not None for bound in bounds)
        row: dict[str, str | Text] = {
            "call": call.name,
            "prompt": plain(call.prompt_id, 24),
            "lane": str(call.lane),
            "due s": f"{(call.sched_ns - start) / 1e9:.2f}",
            "ttft ms": number(call.ttft_ms),
            "e2e ms": number(call.e2e_ms),
            "tok": str(call.n_output) if call.n_output is not None else UNKNOWN,
            "tok/s": number(call.effective_tps),
            "decode": number(call.decode_tps),
            "queue": number(call.queue_ms),
            "target": Text("met" if met else "missed", "green" if met else "red") if counted and known else UNKNOWN,
            "outcome": Text(plain(outcome, 200), "" if call.good else "red"),
        }
        table.add_row(*(row[head] for head in widths), style="" if counted else "dim")
    return table


def targets_view(calls: Sequence[CallRecord], bounds: Sequence[Bound]) -> Table:
    """How many of the measured calls keep each bound, and all of them."""
    measured = [call for call in calls if call.role == "measured" and call.outcome != "cancelled"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("target")
    table.add_column("met", justify="right")
    table.add_column("of", justify="right")
    table.add_column("", justify="right")

    def line(name: str, met: int) -> None:
        table.add_row(name, str(met), str(len(measured)), percent(met / len(measured) if measured else None))

    for bound in bounds:
        metric = METRICS[bound.key]
        sign = "≤" if metric.better == "lower" else "≥"
        line(
            f"{metric.label} {sign} {number(bound.worst, metric.unit)}", sum(c.good and bound.met(c) for c in measured)
        )
    if len(bounds) > 1:
        line("all of them", sum(c.good and all(bound.met(c) for bound in bounds) for c in measured))
    return table


def runs_view(rows: Sequence[RunRow], width: int = 120, tags: Mapping[int, Sequence[str]] | None = None) -> Table:
    """The newest first, with their tags. Names give way where it is narrow; numbers do not."""
    tagged = {row.id: plain(", ".join(tags[row.id]), 200) for row in rows if tags and row.id in tags}
    narrow = width < 110
    gap = 1 if narrow else 2
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    figures = {"ttft ms": "ttft_ms", "e2e ms": "e2e_ms", "tok/s": "output_tps", "ok %": "success_rate"}
    if narrow:
        del figures["e2e ms"]
    fixed = {"run": 4, "when (UTC)": 11, "scenario": 10, **dict.fromkeys(figures, 7)}
    if narrow:
        del fixed["when (UTC)"]
    if width < 76:
        del figures["tok/s"], fixed["tok/s"]
    names = ["server", "model", *(["label"] if any(row.label for row in rows) else [])]
    names += [*(["tags"] if tagged else []), "status"]
    room = width - sum(size + gap for size in fixed.values()) - gap * len(names)
    heads = [*(head for head in fixed if head not in figures), *names, *figures]
    lines = []
    for row in rows:
        summary = msgspec.json.decode(row.summary, type=Summary) if row.summary else None
        cells = {"run": str(row.id), "when (UTC)": row.started_at[5:16].replace("T", " "), "scenario": row.scenario}
        cells |= {"server": plain(row.server, 60), "model": plain(row.model, 60), "label": plain(row.label, 60)}
        cells |= {"tags": tagged.get(row.id, ""), "status": state_of(row.status, summary)}
        for head, key in figures.items():
            cells[head] = one_figure(key, summary.metrics.get(key)) if summary else UNKNOWN
        lines.append(cells)
    shares = {name: max(len(name), *(len(cells[name]) for cells in lines)) for name in names}
    while sum(shares.values()) > room and max(shares.values()) > 6:
        shares[max(shares, key=lambda name: shares[name])] -= 1
    _columns(table, {head: fixed.get(head) or shares[head] for head in heads}, [*names, "when (UTC)", "scenario"])
    for cells in lines:
        if len(cells["server"]) > shares["server"]:  # local servers differ in their ports: the end is what tells them
            cells["server"] = "…" + cells["server"][1 - shares["server"] :]
        table.add_row(*(cells[head] for head in heads))
    return table


def one_figure(key: str, value: Distribution | float | None) -> str:
    """A metric as one number without its unit: the median of many, or the run's own."""
    shown = figure_of(key, value)
    if METRICS[key].unit == "B":
        return size(shown)
    return number(None if shown is None else 100 * shown if key == "success_rate" else shown)
