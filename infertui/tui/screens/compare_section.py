"""The sections of the page that compares: figures, replies side by side, and in what the runs are unlike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import DataTable, Static

from infertui import reply
from infertui.compare import Column as Compared
from infertui.compare import Comparison, compare
from infertui.metric import CallRecord
from infertui.reply import Flag
from infertui.report.compare import replies_text
from infertui.report.figure import UNKNOWN
from infertui.result import Report
from infertui.text import lines, plain
from infertui.tui.screens import figures
from infertui.tui.screens.call_section import FLAG_STYLES
from infertui.tui.screens.distribution import DistributionSection
from infertui.tui.screens.section import SIDEWAYS, LongTable, Scroll, Section
from infertui.tui.widgets import Column, Reader, Wide

if TYPE_CHECKING:
    from infertui.store import Store

NARROWEST = 26  # columns of a reply
LONGEST = 40_000  # characters of a reply that is drawn beside others


class Kept(NamedTuple):
    """What is known of a run in a comparison."""

    report: Report
    replies: dict[str, int]
    machine: dict[str, Any]


def kept(store: Store, run: int, before: Kept | None = None) -> Kept:
    """`before`: what was known of it; that still holds unless it has come further, or another has its number now."""
    from infertui.result import stored

    row = store.run(str(run))
    if before is not None and row.status != "running":
        was = before.report
        if (was.started_at, was.status) == (row.started_at, row.status):
            return before
    texts = store.replies(run)
    told = [(call, *texts.get(call.name, ("", ""))) for call in store.calls(run)]
    counts = reply.shares(reply.run_flags(told).values())
    return Kept(stored(store, str(run)), counts, store.machine(row.machine_id))


class Picked:
    """The runs that are compared, in their order; one of them is the baseline, and on one of them is the cursor."""

    def __init__(self) -> None:
        self.known: dict[int, Kept] = {}
        self.runs: list[int] = []
        self.baseline: int | None = None
        self.cursor = 0
        self.comparison: Comparison | None = None

    def compare(self) -> None:
        there = [self.known[run] for run in self.runs if run in self.known]
        if not there:
            self.comparison = None
            return
        base = self.baseline if self.baseline in self.runs else None
        replies = {one.report.id: one.replies for one in there}
        machines = {one.report.id: one.machine for one in there}
        self.comparison = compare([one.report for one in there], base, replies, machines)
        self.baseline = self.comparison.baseline.id
        self.cursor = max(0, min(self.cursor, len(self.runs) - 1))

    @property
    def here(self) -> int | None:
        return self.runs[self.cursor] if self.runs else None

    def named(self) -> list[tuple[str, int]]:
        columns = self.comparison.columns if self.comparison is not None else []
        return [(column.name, column.report.id) for column in columns]

    def numbered(self) -> list[tuple[str, int]]:
        """With the number first, where a long name cannot hide it."""
        columns = self.comparison.columns if self.comparison is not None else []
        return [(numbered(column), column.report.id) for column in columns]


def numbered(column: Compared) -> str:
    return f"#{column.report.id} {plain(column.report.server, 60)}"


class CompareSection(Section):
    def __init__(self, picked: Picked) -> None:
        super().__init__()
        self.picked = picked

    def look(self, store: Store) -> Any:
        return True

    def moved(self) -> None:
        """The cursor is on another run."""


class Figures(LongTable):
    HELP = """\
### Figures

A row for each metric: the median of the calls, of what was sampled the mean. Beside each run stands what it is against
the **baseline**: ▲ for better, ▼ for worse (for a latency, less is better), = for the same, the difference and the
ratio. ≠ stands where the two are **not measured alike**, by another clock or meter: these are not judged. Where there
is no room for all of it differences are left out, then runs: those around the cursor are shown.

Left and right move the cursor from run to run; `b` makes that run the baseline, `delete` takes it out, `a` adds
another. `v` shows all metrics. **Enter** opens the run.
"""
    BINDINGS: ClassVar[list[BindingType]] = SIDEWAYS


class FiguresSection(CompareSection):
    TITLE = "Figures"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "all", "All metrics", show=False, id="compare.all", tooltip="Every metric, or the usual ones")
    ]

    def __init__(self, picked: Picked) -> None:
        super().__init__(picked)
        self._every = False

    def content(self) -> ComposeResult:
        yield Static(classes="nonsense", markup=False)
        yield Figures()
        with Scroll(classes="remarks"):
            yield Static(markup=False)
        yield Static(classes="legend", markup=False)

    def show(self, found: Any) -> str:
        self._fill()
        return ""

    def moved(self) -> None:
        self._fill()

    def action_all(self) -> None:
        self._every = not self._every
        self._fill()

    @on(Figures.Widened)
    def _fill(self) -> None:
        comparison = self.picked.comparison
        if comparison is None:
            return
        table, cursor = self.query_one(Figures), self.picked.cursor
        rows = figures.rows_of(comparison, self._every)
        laid = figures.layout(comparison, rows, cursor, table.room)
        made = {row.key: figures.line_of(row, laid) for row in rows}
        table.list_rows(figures.shape_of(comparison, laid, cursor), list(made), lambda key: made[key])
        above, below = _remarks(comparison)
        self._tell(".nonsense", above)
        self._tell(".remarks > Static", below)
        self.query_one(".remarks").display = bool(below)
        self._tell(".legend", figures.legend(comparison, len(comparison.columns) - len(laid.places), table.room))

    def _tell(self, where: str, text: Text) -> None:
        place = self.query_one(where, Static)
        place.update(text)
        place.display = bool(text)

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if (run := self.picked.here) is not None:
            self.host.show_run(run)


def _remarks(comparison: Comparison) -> tuple[Text, Text]:
    """What stands above the figures, of the first run whose replies are no answers; and what stands below them."""
    nonsense = next((column.nonsense for column in comparison.ordered if column.nonsense), "")
    told = [Text(f"! {warning}", "bold yellow") for warning in comparison.warnings if warning != nonsense]
    if comparison.unlike:
        told.append(Text(f"≠ unlike in: {', '.join(each.what for each in comparison.unlike)}", "yellow"))
    return Text(f"! {nonsense}" if nonsense else "", "bold yellow"), Text("\n").join(told)


class ManyDistributionsSection(DistributionSection):
    TITLE = "Distributions"


# Replies.


class Answer(NamedTuple):
    """What a run answered to a prompt; of several rounds the answer that is worst, else the first."""

    call: CallRecord
    text: str
    thought: str
    flags: tuple[Flag, ...]
    of: int = 1

    @property
    def said(self) -> str:
        if not self.call.good:
            return "failed"
        return reply.worst(self.flags) or "fine"


def answers(store: Store, run: int) -> dict[str, Answer]:
    """By a prompt's hash, in the order in which they were asked."""
    texts = store.replies(run)
    found: dict[str, Answer] = {}
    for call in sorted(store.calls(run), key=lambda call: call.sched_ns):
        if call.role != "measured" or call.outcome == "cancelled":
            continue
        text, thought = texts.get(call.name, ("", ""))
        flags = reply.flags(text, thought, call.finish, call.n_output) if call.good else ()
        one, before = Answer(call, text, thought, flags), found.get(call.prompt_hash)
        if before is None:
            found[call.prompt_hash] = one
        else:
            worse = before.said == "fine" and one.said != "fine"
            found[call.prompt_hash] = (one if worse else before)._replace(of=before.of + 1)
    return found


class Prompts(LongTable):
    HELP = """\
### Replies

The same prompt as each run has answered it. A reply that is **empty**, **looping** or **garbled** is flagged in red,
with the reason above it: fast nonsense must not win. `j`/`k` walk through the prompts, **enter** shows the reply of
the run under the cursor in full.
"""
    BINDINGS: ClassVar[list[BindingType]] = SIDEWAYS


class RepliesSection(CompareSection):
    TITLE = "Replies"

    def __init__(self, picked: Picked) -> None:
        super().__init__(picked)
        self._answers: list[dict[str, Answer]] = []
        self._known: list[tuple[Report, dict[str, Answer]]] = []
        self._panes: list[tuple[Scroll, Static]] = []

    def content(self) -> ComposeResult:
        yield Prompts()
        yield Horizontal(classes="replies")

    def look(self, store: Store) -> Any:
        comparison = self.picked.comparison
        reports = [column.report for column in comparison.columns] if comparison is not None else []
        known = {id(report): found for report, found in self._known}
        self._known = [(each, known.get(id(each)) or answers(store, each.id)) for each in reports]
        return [found for _, found in self._known]

    def show(self, found: Any) -> str:
        self._answers = found
        prompts = {key: answer.call for each in reversed(found) for key, answer in each.items()}
        if not prompts:
            return "No measured call was answered"
        order = list(dict.fromkeys(key for each in found for key in each))
        place = self.query_one(".replies", Horizontal)
        place.remove_children()
        self._panes = []
        for name, run in self.picked.named():
            text = Static(markup=False)
            pane = Scroll(text, classes="reply pane")
            pane.border_title = Content(f"{name} · run {run}")
            self._panes.append((pane, text))
        place.mount(*(pane for pane, _ in self._panes))
        names = [f"run {run}" for _, run in self.picked.named()]
        shape = [Column("prompt", "prompt", 22), *(Column(name, name, 9) for name in names)]

        def row(key: str) -> list[Text]:
            return [Text(plain(prompts[key].prompt_id or key, 60)), *(_verdict(each.get(key)) for each in found)]

        self.query_one(Prompts).list_rows(shape, order, row)
        self._draw()
        return ""

    def moved(self) -> None:
        self._draw()

    @on(DataTable.RowHighlighted)
    def _walked(self) -> None:
        self._draw()

    def _draw(self) -> None:
        key = self.query_one(Prompts).chosen
        comparison = self.picked.comparison
        if key is None or comparison is None:
            return
        for place, (pane, text) in enumerate(self._panes[: len(comparison.columns)]):
            pane.set_class(place == self.picked.cursor, "-here")
            pane.border_subtitle = Content(replies_text(comparison.columns[place]))
            text.update(_answer_text(self._answers[place].get(key), LONGEST))
            pane.scroll_home(animate=False)

    @on(DataTable.RowSelected)
    def _read(self, event: DataTable.RowSelected) -> None:
        event.stop()
        key, place = event.row_key.value or "", self.picked.cursor
        if place >= len(self._answers):
            return
        answer = self._answers[place].get(key)
        name, run = self.picked.named()[place]

        def fetch() -> Text:
            from infertui.store import Store

            with Store(self.host.database, write=False) as store:
                messages = store.prompt(key)
            drawn = Text()
            for message in messages:
                drawn.append(f"asked ({plain(message.role, 40)})\n", "bold cyan").append(
                    lines(message.content) + "\n\n"
                )
            return drawn.append("answered\n", "bold cyan").append_text(_answer_text(answer))

        self.host.push_screen(Reader(f"{name}, run {run}", fetch))

    def told(self) -> str:
        key = self.query_one(Prompts).chosen or ""
        parts = [
            f"{name}, run {run}\n{_answer_text(each.get(key)).plain}"
            for (name, run), each in zip(self.picked.named(), self._answers, strict=False)
        ]
        return "\n\n".join(parts)


def _verdict(answer: Answer | None) -> Text:
    if answer is None:
        return Text(UNKNOWN, "dim")
    return Text(answer.said, "red" if answer.said == "failed" else FLAG_STYLES.get(answer.said, "green"))


def _answer_text(answer: Answer | None, limit: int | None = None) -> Text:
    if answer is None:
        return Text("it was not asked this", "dim")
    drawn = Text()
    for flag in answer.flags:
        if flag.kind != "cut":
            drawn.append(f"! {flag.kind}: {plain(flag.why, 300)}\n", "bold red")
    call = answer.call
    if not call.good:
        return drawn.append(plain(f"{call.outcome}: {call.message}", 600), "red")
    several = f" · the {'worst' if answer.said != 'fine' else 'first'} of {answer.of}" if answer.of > 1 else ""
    count = UNKNOWN if call.n_output is None else f"{call.n_output:,}"
    drawn.append(f"{call.name} · {count} tokens · {plain(call.finish, 30) or 'ok'}{several}\n", "dim")
    if answer.thought:
        drawn.append(lines(answer.thought[:limit]) + "\n", "dim italic")
    drawn.append(lines(answer.text[:limit]) if answer.text.strip() else "(nothing)")
    if limit is not None and len(answer.text) > limit:
        drawn.append("\n… enter shows all of it", "dim")
    return drawn


# Unlike.


class UnlikeSection(CompareSection):
    TITLE = "Unlike"

    def content(self) -> ComposeResult:
        with Scroll(classes="reading"):
            yield Wide()

    def show(self, found: Any) -> str:
        comparison = self.picked.comparison
        if comparison is None:
            return ""
        caveats = any(column.report.caveats for column in comparison.columns)
        if not comparison.unlike and not caveats and not comparison.warnings:
            return "The runs differ in nothing but their servers" if len(comparison.columns) > 1 else "One run alone"
        self.query_one(Wide).show(lambda width: _unlike(comparison))
        return ""


def _unlike(comparison: Comparison) -> Group:
    table = Grid(box=None, pad_edge=False, padding=(0, 2, 1, 0), header_style="bold")
    table.add_column("", style="dim", no_wrap=True)
    for column in comparison.columns:
        table.add_column(Text(f"{column.name}\nrun {column.report.id}"), overflow="fold", ratio=1)
    for each in comparison.unlike:
        most = max(each.values, key=each.values.count)
        table.add_row(each.what, *(Text(value, "" if value == most else "yellow") for value in each.values))
    notes: dict[str, list[str]] = {}
    for column in comparison.columns:
        for caveat in column.report.caveats:
            notes.setdefault(caveat, []).append(column.name)
    said = [Text(f"~ {plain(caveat, 400)} ({', '.join(names)})", "magenta") for caveat, names in notes.items()]
    head = (
        "Beside their servers the runs differ in:"
        if comparison.unlike
        else "The runs differ in nothing but their servers."
    )
    warned = [Text(f"! {warning}", "bold yellow") for warning in comparison.warnings]
    parts = [*warned, *([Text()] if warned else []), Text(f"{head}\n", "bold")]
    return Group(*parts, *([table] if comparison.unlike else []), *said)
