"""How the values of a metric are distributed: of one run, or of several over each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Static

from infertui.metric import METRICS, CallRecord, gaps
from infertui.report.figure import UNKNOWN, number
from infertui.stats import ENOUGH, Distribution, distribution
from infertui.text import plain
from infertui.tui.chart import COLOURS, Chart, Line
from infertui.tui.screens.section import SIDEWAYS, Section
from infertui.tui.widgets import Column, Table

if TYPE_CHECKING:
    from array import array

    from infertui.store import Store

FIRST = ("ttft_ms", "e2e_ms", "itl_ms", "effective_tps", "decode_tps")
SHOWN = ("p50", "p90", "p95", "p99")
SIDE = 0.02  # of the range, on both sides
ROOMY = 105  # columns in which all figures of a named run have a line
TAIL = 4  # times its p99: beyond that a few values would press all others together


def values_of(calls: Iterable[CallRecord], reads: Mapping[str, tuple[array[int], ...]]) -> dict[str, list[float]]:
    """By a metric's key, in ascending order, what the good measured calls had."""
    counted = [call for call in calls if call.role == "measured" and call.good]
    found: dict[str, list[float]] = {}
    for key, metric in METRICS.items():
        if metric.per == "call":
            values = [value for call in counted if (value := getattr(call, key, None)) is not None]
        elif key == "itl_ms":
            values = [gap / 1000 for call in counted if call.name in reads for gap in gaps(reads[call.name][0])]
        else:
            continue
        if values:
            found[key] = sorted(values)
    return {key: found[key] for key in (*FIRST, *found) if key in found}


def shares(values: Sequence[float]) -> list[tuple[float, float]]:
    """Of ascending values, at each one how many percent of all are not above it."""
    return [(value, 100 * count / len(values)) for count, value in enumerate(values, 1)]


class Metrics(Table):
    BINDINGS: ClassVar[list[BindingType]] = SIDEWAYS
    HELP = """\
### Distribution

Of the metric under the cursor, how many of the values (in %) are at or below a value: a **steep** line means that all
calls were alike, a long flat end that a few were far slower. The further **left** a line stands, the faster (for
speeds: the further right). Uprights stand at the percentiles.

`j`/`k` choose the metric, `m` shows the chart alone.
"""


class DistributionSection(Section):
    """`runs` tells the name of each run and its number."""

    TITLE = "Distribution"
    DEFAULT_CSS = """
    DistributionSection {
        & .distribution { height: 1fr; }
        & Metrics { width: 33; height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
        & Chart { height: 1fr; }
        & .distribution-figures { height: auto; padding: 0 1; }
    }
    """

    def __init__(self, runs: Callable[[], Sequence[tuple[str, int]]]) -> None:
        super().__init__()
        self._runs = runs
        self._names: list[str] = []
        self._values: list[dict[str, list[float]]] = []

    def content(self) -> ComposeResult:
        with Horizontal(classes="distribution"):
            yield Metrics(classes="distribution-metrics")
            yield Chart("")
        yield Static(classes="distribution-figures", markup=False)

    def look(self, store: Store) -> Any:
        return [(name, values_of(store.calls(run), store.reads(run))) for name, run in self._runs()]

    def show(self, found: Any) -> str:
        self._names, self._values = [name for name, _ in found], [values for _, values in found]
        keys = list(dict.fromkeys(key for values in self._values for key in values))
        if not keys:
            return "No measured call came to a good end: there is nothing to distribute"
        shape = [Column("metric", "metric", 21), Column("n", "n", None, right=True)]
        rows = [(key, (METRICS[key].label, f"{max(len(v.get(key, ())) for v in self._values):,}")) for key in keys]
        self.query_one(Metrics).fill(shape, rows)
        self._draw()
        return ""

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self._draw()

    def _draw(self) -> None:
        key = self.query_one(Metrics).chosen
        if key is None:
            return
        chart = self.query_one(Chart)
        chart.marker = self.host.settings.app.chart
        metric = METRICS[key]
        chart.heading, chart.unit = metric.label, f"% of {'gaps' if metric.per == 'gap' else 'calls'}"
        named = [(plain(name, 40), values.get(key, [])) for name, values in zip(self._names, self._values, strict=True)]
        told = [distribution(values) for _, values in named]
        lines = [
            Line(name, [(values[0], 0.0), *shares(values)], place % COLOURS, steps=True)
            for place, (name, values) in enumerate(named)
            if values
        ]
        low, high = _range(told)
        marks = []
        if len(told) == 1:
            marks = [(value, name) for name in SHOWN[:3] if (value := getattr(told[0], name)) is not None]
        chart.plot(lines, (low, high), y=(0.0, 100.0), x_unit=metric.unit, marks=marks)
        self.query_one(".distribution-figures", Static).update(
            _figures(named, told, metric.unit, high, self.size.width)
        )


def _range(told: Sequence[Distribution]) -> tuple[float, float]:
    """Of all values; where a few are far away from all others, without these."""
    low = min((one.min for one in told if one.min is not None), default=0.0)
    high = max((_end(one) for one in told if one.max is not None), default=1.0)
    side = SIDE * (high - low) or abs(high) * SIDE or 1.0
    return max(0.0, low - side) if low >= 0 else low - side, high + side


def _end(one: Distribution) -> float:
    if one.p99 is not None and one.max is not None and one.max > TAIL * one.p99 > 0:
        return 1.5 * one.p99
    return one.max or 0.0


def _figures(
    named: Sequence[tuple[str, Sequence[float]]], told: Sequence[Distribution], unit: str, high: float, room: int
) -> Text:
    drawn = Text()
    wide = room >= ROOMY
    width = min(30 if wide else 20, max(len(name) for name, _ in named))
    for (name, values), one in zip(named, told, strict=True):
        drawn.append("\n" if drawn else "")
        if len(named) > 1:
            drawn.append(f"{name[:width]:{width}}  ")
        drawn.append(f"n {one.n:,}", "dim")
        for column in ("mean", *SHOWN, "max") if wide or len(named) == 1 else (*SHOWN, "max"):
            figure = getattr(one, column)
            drawn.append(f"  {column} ", "dim").append(UNKNOWN if figure is None else number(figure), "bold")
        drawn.append(f" {unit}", "dim")
        if beyond := sum(value > high for value in values):
            drawn.append(f"  {beyond} beyond the chart", "yellow")
    lacking = [column for column in SHOWN if any(one.n and getattr(one, column) is None for one in told)]
    if lacking:
        needs = ", ".join(f"{column} {ENOUGH[int(column[1:])]}" for column in lacking)
        drawn.append(f"\n{UNKNOWN} n too small: {needs} values needed", "dim")
    return drawn
