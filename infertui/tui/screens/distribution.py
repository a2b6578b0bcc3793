"""How the values of a metric are distributed: of one run, or of several over each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Static

from infertui.metric import METRICS, CallRecord, gaps
from infertui.report.figure import UNKNOWN, number
from infertui.stats import ENOUGH, Distribution, distribution
from infertui.text import plain
from infertui.tui.chart import COLOURS, MARKS, Chart, Line
from infertui.tui.screens.section import SIDEWAYS, Section
from infertui.tui.widgets import Column, Table

if TYPE_CHECKING:
    from array import array

    from infertui.store import Store

FIRST = ("ttft_ms", "e2e_ms", "itl_ms", "effective_tps", "decode_tps")
SHOWN = ("p50", "p90", "p95", "p99")
SIDE = 0.02  # of the range, on both sides
ROOMY = 105  # columns in which all figures of a named run have a line
SHORTEST = 12  # columns of a run's name
GAP = 2  # columns before a figure
TAIL = 4  # times its p99: beyond that a few values would press all others together

Sign = tuple[str, Style]


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
        rows = [(key, (METRICS[key].label, _counted([len(v.get(key, ())) for v in self._values]))) for key in keys]
        self.query_one(Metrics).fill(shape, rows)
        self._draw()
        return ""

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())

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
            _one_row(named[0][1], told[0], metric.unit, high)
            if len(named) == 1
            else _rows(
                [(self._sign(place), name, values) for place, (name, values) in enumerate(named)],
                told,
                metric.unit,
                high,
                self.size.width or self.screen.size.width,
            )
        )

    def _sign(self, place: int) -> Sign:
        """What tells the line of a run from the others in the chart."""
        chart = self.query_one(Chart)
        style = chart.get_component_rich_style(f"chart--{place % COLOURS + 1}", partial=True)
        drawn_in_colour = not self.app.no_color and chart.marker in ("braille", "block")
        return "●" if drawn_in_colour else MARKS[place % COLOURS], style


def _counted(counts: Sequence[int]) -> str:
    """How many values there are: of the run with the fewest, and of the one with the most."""
    least, most = min(counts), max(counts)
    return f"{most:,}" if least == most else f"{least:,}–{most:,}"


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


def _one_row(values: Sequence[float], one: Distribution, unit: str, high: float) -> Text:
    drawn = Text.assemble((f"n {one.n:,}", "dim"))
    for column in ("mean", *SHOWN, "max"):
        drawn.append(f"  {column} ", "dim").append(number(getattr(one, column)), "bold")
    drawn.append(f" {unit}", "dim")
    if beyond := sum(value > high for value in values):
        drawn.append(f"  {beyond} beyond the chart", "yellow")
    return drawn.append_text(_lacking([one]))


def _rows(
    named: Sequence[tuple[Sign, str, Sequence[float]]], told: Sequence[Distribution], unit: str, high: float, room: int
) -> Text:
    """A row a run beneath heads, each begun with the sign of its line."""
    shown = ("mean", *SHOWN, "max") if room >= ROOMY else (*SHOWN, "max")
    figures = [(f"{one.n:,}", *(number(getattr(one, column)) for column in shown)) for one in told]
    heads = ("n", *shown)
    sizes = [max(map(len, column)) for column in zip(heads, *figures, strict=True)]
    left = room - 4 - len(unit) - sum(size + GAP for size in sizes)
    width = max(SHORTEST, min(left, max(len(name) for _, name, _ in named)))
    drawn = Text(" " * (width + 2))
    for head, size in zip(heads, sizes, strict=True):
        drawn.append(f"{head:>{size + GAP}}", "dim")
    drawn.append(f" {unit}", "dim")
    for ((sign, style), name, _), row in zip(named, figures, strict=True):
        drawn.append("\n").append(sign, style).append(f" {_cut(name, width)}")
        for place, (figure, size) in enumerate(zip(row, sizes, strict=True)):
            drawn.append(f"{figure:>{size + GAP}}", "bold" if place else "")
    beyond = [(name.partition(" ")[0], sum(value > high for value in values)) for _, name, values in named]
    if any(count for _, count in beyond):
        drawn.append(
            f"\nbeyond the chart: {', '.join(f'{count} of {name}' for name, count in beyond if count)}", "yellow"
        )
    return drawn.append_text(_lacking(told))


def _cut(text: str, size: int) -> str:
    return set_cell_size(text if cell_len(text) <= size else f"{set_cell_size(text, size - 1)}…", size)


def _lacking(told: Sequence[Distribution]) -> Text:
    """Which percentiles are not known, because they need more values."""
    lacking = [column for column in SHOWN if any(one.n and getattr(one, column) is None for one in told)]
    needs = ", ".join(f"{column} {ENOUGH[int(column[1:])]}" for column in lacking)
    return Text(f"\n{UNKNOWN} n too small: {needs} values needed" if lacking else "", "dim")
