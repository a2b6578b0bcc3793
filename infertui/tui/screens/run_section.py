"""The sections of a run's page: its figures, its course in time, what stands against it and what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Group
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Log as Lines
from textual.widgets import Static

from infertui import reply
from infertui.report.chart import ALL_GPU, CPU, GPU, MEMORY, POWER
from infertui.report.data import Whole
from infertui.report.figure import number
from infertui.text import lines, plain
from infertui.tui.chart import Chart, Line
from infertui.tui.course import Course
from infertui.tui.lanes import Lanes
from infertui.tui.screens import account
from infertui.tui.screens.section import Scroll, Section
from infertui.tui.story import Story, of_run
from infertui.tui.widgets import Wide

if TYPE_CHECKING:
    from infertui.store import RunRow, Store

MIB, GIB = 1 << 20, 1 << 30
MOST_MARKS = 12  # uprights: more of them would be a fence
FEW_LANES = 10  # have a row each
LOG_BYTES = 1 << 20
CLOSEST_S = 0.05  # of a time axis


@dataclass(slots=True)
class Opened:
    """The run that a page is of. Its replies are looked at last: until then nothing is flagged."""

    whole: Whole
    row: RunRow
    flagged: bool = False

    @property
    def number(self) -> int:
        return self.whole.report.id


class RunSection(Section):
    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self.opened = opened

    def look(self, store: Store) -> Any:
        return True


class FiguresSection(RunSection):
    TITLE = "Figures"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "all", "All metrics", id="figures.all", tooltip="Every metric, or those that are asked for most")
    ]

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._every = False

    def content(self) -> ComposeResult:
        with Scroll(classes="reading"):
            yield Wide()

    def show(self, found: Any) -> str:
        self.query_one(Wide).show(self._drawn)
        return ""

    def _drawn(self, width: int) -> Group:
        from infertui.report.table import report_view

        run = self.opened.whole
        said = Text()
        if not self.opened.flagged:
            said = Text("replies: being looked at …", "dim")
        elif warning := reply.warning(run.replies, run.report.server):
            said = Text(f"! {warning}", "bold yellow")
        elif run.flags:
            said = Text(f"replies: {reply.said(run.replies)}", "dim")
        return Group(report_view(run.report, self._every, width), said)

    def action_all(self) -> None:
        self._every = not self._every
        self.load()


class TimelineSection(RunSection):
    """Calls and tokens/s on one axis of time."""

    TITLE = "Timeline"
    HELP = """\
### Timeline

Calls as bars, and beneath them how many tokens came in a second, on one axis of time. `+` shows less time, `-` more;
`,` and `.` go earlier and later, `<` and `>` to the block before and the next one, `0` shows the whole run.
`m` shows the focused picture alone.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(0.5)", "Closer", key_display="+", id="timeline.closer", tooltip="Less time"),
        Binding("minus", "zoom(2)", "Wider", key_display="-", id="timeline.wider", tooltip="More time"),
        Binding(
            "less_than_sign", "block(-1)", "Block before", show=False, id="timeline.before", tooltip="Block before"
        ),
        Binding("greater_than_sign", "block(1)", "Next block", show=False, id="timeline.next", tooltip="Next block"),
        Binding("comma", "go(-0.5)", "Earlier", show=False, id="timeline.earlier", tooltip="Earlier"),
        Binding("full_stop", "go(0.5)", "Later", show=False, id="timeline.later", tooltip="Later"),
        Binding("0", "whole", "All", show=False, id="timeline.whole", tooltip="The whole run"),
    ]

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._story: Story | None = None
        self._whole = self._window = (0.0, 1.0)
        self._blocks: list[tuple[float, float]] = []

    def content(self) -> ComposeResult:
        with Vertical(classes="timeline-lanes"):
            yield Lanes()
        yield Chart("Tokens/s", empty="when its tokens came is not known")

    def look(self, store: Store) -> Any:
        return _story(self.opened, store)

    def show(self, found: Any) -> str:
        self._story = found
        course = _course(found)
        self._blocks = [(span.start_s, span.end_s or span.start_s) for span in course.spans]
        if not self._blocks:
            return "No call was made"
        self._whole = self._window = _with_edges(self._blocks[0][0], max(end for _, end in self._blocks))
        lanes = len({bar.lane for bar in course.bars(self._whole[1])})
        self.query_one(".timeline-lanes").styles.height = lanes + 3 if lanes <= FEW_LANES else "2fr"
        self._draw()
        return ""

    def _draw(self) -> None:
        if self._story is None:
            return
        course = _course(self._story)
        lanes, chart = self.query_one(Lanes), self.query_one(Chart)
        lanes.marker = chart.marker = self.host.settings.app.chart
        marks = _marks(course)
        lanes.show(course.bars(self._whole[1]), self._window, marks=marks)
        chart.plot([Line("all calls", course.speed)], self._window, marks=marks)

    def action_zoom(self, by: float) -> None:
        low, high = self._window
        middle = (low + high) / 2
        at = min(self._blocks, key=lambda block: max(block[0] - middle, middle - block[1], 0.0))
        self._move(min(max(middle, at[0]), at[1]) if by < 1 else middle, (high - low) * by)

    def action_go(self, by: float) -> None:
        low, high = self._window
        self._move((low + high) / 2 + by * (high - low), high - low)

    def action_block(self, by: int) -> None:
        middle = -by * inf if self._window == self._whole else sum(self._window) / 2
        ahead = [block for block in self._blocks[::by] if by * (sum(block) / 2 - middle) > CLOSEST_S / 10]
        if ahead:
            self._window = _with_edges(*ahead[0])
            self._draw()

    def action_whole(self) -> None:
        self._move(0.0, self._whole[1] - self._whole[0])

    def _move(self, middle: float, span: float) -> None:
        """Within the run, and no closer than can be told apart."""
        first, last = self._whole
        span = min(max(span, CLOSEST_S), last - first)
        low = min(max(middle - span / 2, first), last - span)
        self._window = (low, low + span)
        self._draw()


class SamplesSection(RunSection):
    """What the machine and the server did meanwhile."""

    TITLE = "Samples"

    def content(self) -> ComposeResult:
        with Vertical(classes="samples"):
            for key in ("cpu", "memory", "gpu", "power"):
                with Vertical(classes="sample", id=f"sample-{key}"):
                    yield Chart({"cpu": "CPU", "gpu": "GPU"}.get(key, key.capitalize()))
                    yield Static(classes="sample-figures", markup=False)
        yield Static(classes="samples-absent", markup=False)

    def look(self, store: Store) -> Any:
        return _story(self.opened, store)

    def show(self, found: Any) -> str:
        course, report = _course(found), self.opened.whole.report
        if not course.samples:
            told = report.telemetry
            why = "; ".join(plain(f"{each.name}: {each.reason}", 200) for each in told.absent[:3])
            return (
                "Nothing was sampled: the run was asked not to" if told.off else f"Nothing was sampled\n{why}".strip()
            )
        high = max(points[-1][0] for points in course.samples.values() if points)
        missing = []
        for key, (unit, lines_) in _sampled(course, report.telemetry.known.cores).items():
            pane = self.query_one(f"#sample-{key}")
            pane.display = bool(lines_)
            if not lines_:
                missing.append({"cpu": "CPU", "gpu": "GPU"}.get(key, key))
                continue
            chart = pane.query_one(Chart)
            chart.unit, chart.marker = unit, self.host.settings.app.chart
            chart.plot(lines_, (0.0, high), marks=_marks(course))
            pane.query_one(Static).update(_mean_and_most(lines_, unit, course))
        said = f"not sampled: {', '.join(missing)}" if missing else ""
        self.query_one(".samples-absent", Static).update(Text(said, "dim"))
        shown = sum(pane.display for pane in self.query(".sample"))
        self.query_one(".samples").set_class(shown > 2, "-four")
        return ""


class WarningsSection(RunSection):
    TITLE = "Warnings"

    def content(self) -> ComposeResult:
        with Scroll(classes="reading"):
            yield Static(classes="warnings", markup=False)

    def show(self, found: Any) -> str:
        blocks = account.warnings(self.opened.whole)
        self.query_one(".warnings", Static).update(account.drawn(blocks))
        return "" if blocks else "Nothing stands against this run"

    def told(self) -> str:
        return account.text(account.warnings(self.opened.whole))


class SetupSection(RunSection):
    TITLE = "Set-up"

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._blocks: list[account.Block] = []

    def content(self) -> ComposeResult:
        with Scroll(classes="reading"):
            yield Static(classes="setup", markup=False)

    def look(self, store: Store) -> Any:
        return store.experiment(self.opened.row.experiment_id)

    def show(self, found: Any) -> str:
        self._blocks = account.setup(self.opened.whole, self.opened.row, found)
        self.query_one(".setup", Static).update(account.drawn(self._blocks))
        return ""

    def told(self) -> str:
        return account.text(self._blocks)


class LogSection(RunSection):
    """What the run's server wrote."""

    TITLE = "Log"

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._text = ""

    def content(self) -> ComposeResult:
        yield ServerLog(auto_scroll=False)

    def look(self, store: Store) -> Any:
        from infertui.server.process import text_of

        told = []
        for started_at, file, kept in store.logs(self.opened.number):
            data = kept if kept is not None else text_of(file, LOG_BYTES)  # its runner may still be at work
            told.append(f"[started {started_at}]\n{lines(data.decode('utf-8', 'replace'))}")
        return "\n".join(told)

    def show(self, found: Any) -> str:
        self._text = found
        log = self.query_one(ServerLog)
        log.clear()
        log.write(found)
        return "" if found else "This run started no server: what others started keeps its log elsewhere"

    def told(self) -> str:
        return self._text


class ServerLog(Lines):
    BINDINGS: ClassVar[list[BindingType]] = Scroll.BINDINGS


# What charts show.


def _with_edges(low: float, high: float) -> tuple[float, float]:
    edge = max(0.02 * (high - low), CLOSEST_S / 2)
    return max(0.0, low - edge), high + edge


def _story(opened: Opened, store: Store) -> Story:
    whole = opened.whole
    return of_run(whole.report, whole.calls, store.samples(opened.number), store.reads(opened.number))


def _course(story: Story) -> Course:
    return next(iter(story.runs.values()))


def _marks(course: Course) -> list[tuple[float, str]]:
    names = {"warmup": "warm-up"}
    found = [
        (start_s, f"round {turn}" if role == "measured" else names.get(role, role))
        for role, turn, start_s, _ in course.spans
    ]
    return found if len(found) <= MOST_MARKS else []


def _sampled(course: Course, cores: int | None) -> dict[str, tuple[str, list[Line]]]:
    """By chart: its unit and its lines. A server's CPU is its share of all cores, as the machine's is."""
    memory = MEMORY if "server_gpu_bytes" in course.samples else MEMORY | ALL_GPU
    most = max((y for key in memory for _, y in course.samples.get(key, ()) if y is not None), default=0.0)
    size, size_name = (GIB, "GiB") if most >= GIB else (MIB, "MiB")
    cpu = CPU if cores else {key: name for key, name in CPU.items() if not key.startswith("server")}
    units: dict[str, tuple[str, Mapping[str, str], float]] = {
        "cpu": ("% of all cores", cpu, 1.0),
        "memory": (size_name, memory, float(size)),
        "gpu": ("%", GPU, 1.0),
        "power": ("W", POWER, 1.0),
    }
    found = {}
    for chart, (unit, keys, scale) in units.items():
        drawn = []
        for place, (key, name) in enumerate(keys.items()):
            part = float(cores or 1) if key == "server_cpu_percent" else scale
            points = [(x, None if y is None else y / part) for x, y in course.samples.get(key, ())]
            if points:
                drawn.append(Line(name, points, place))
        found[chart] = (unit, drawn)
    return found


def _mean_and_most(drawn: Sequence[Line], unit: str, course: Course) -> Text:
    """Of the measured blocks; of all where there was none."""
    measured = [(start_s, end_s or start_s) for role, _, start_s, end_s in course.spans if role == "measured"]
    text = Text()
    for line in drawn:
        known = [(x, y) for x, y in line.points if y is not None]
        values = [y for x, y in known if any(low <= x <= high for low, high in measured)] or [y for _, y in known]
        text.append("   " if text else "").append(f"{line.label} ", "dim")
        text.append(number(sum(values) / len(values)), "bold").append(f" (max {number(max(values))})", "dim")
    return text.append(f" {'%' if unit.startswith('%') else unit}", "dim")
