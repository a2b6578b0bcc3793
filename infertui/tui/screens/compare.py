"""The page that compares: runs side by side against one of them, the baseline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.cells import set_cell_size
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from infertui.compare import Column
from infertui.errors import InferTUIError, StoreError
from infertui.text import plain
from infertui.tui.screens.section import Links, Section, SectionedPage, Sections
from infertui.tui.widgets import Notice

if TYPE_CHECKING:
    from infertui.store import Store
    from infertui.tui.screens.compare_section import Kept, Picked

NOTHING = "Nothing to compare yet\nMark runs in Results (3) with space, then c; or enter after a run; a adds one here"
WIDEST, NARROWEST = 34, 14  # columns of a run's name


class CompareScreen(SectionedPage):
    PAGE = "compare"
    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = ""
    HELP = """\
### Compare

The runs stand above, one of them (`*`) is the **baseline**. Left and right choose a run: `b` makes it the baseline,
`delete` takes it out, **enter** opens it. `a` adds a run, `[` and `]` go through the sections, `e` exports, `y` copies
a Markdown table.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "sideways(-1)", "Run before", show=False, id="compare.left", tooltip="To the run before"),
        Binding("right,l", "sideways(1)", "Next run", show=False, id="compare.right", tooltip="To the next run"),
        Binding("a", "add", "Add", id="compare.add", tooltip="Add a run"),
        Binding("b", "baseline", "Baseline", id="compare.baseline", tooltip="Compare with this run"),
        Binding("delete,d", "remove", "Take out", id="compare.remove", tooltip="Take this run out; it is kept"),
        Binding("e", "export", "Export", id="compare.export", tooltip="As a file or on the clipboard"),
        Binding("y", "copy", "Copy", id="compare.copy", tooltip="Copy as a Markdown table; in Replies, the replies"),
    ]

    def __init__(self) -> None:
        from infertui.tui.screens.compare_section import Picked

        super().__init__()
        self.picked: Picked = Picked()

    def body(self) -> ComposeResult:
        yield Links(id="compare-runs")
        yield Notice(NOTHING, id="compare-notice")

    def on_screen_resume(self) -> None:
        self.shown_anew()

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._draw_runs)

    def shown_anew(self) -> None:
        """What is to be compared may be something else, or have come further."""
        self._load()

    @work(exclusive=True, group="compare")
    async def _load(self) -> None:
        runs, baseline = self.host.comparing
        known = self.picked.known
        if any(run not in known for run in runs):
            self._say("reading …", "busy")
        found: dict[int, Kept] = {}
        for run in runs:
            try:
                one = await self.host.read(partial(_kept, run=run, before=known.get(run)))
            except StoreError as error:
                self._say(f"{plain(error.message, 300)}\n{plain(error.hint, 300)}".strip(), "failed")
                return
            except InferTUIError as error:
                self.host.fail(f"Run {run} is not compared", error)
                continue
            if one is not None:
                found[run] = one
        is_same = list(found) == self.picked.runs and all(found[run] is known.get(run) for run in found)
        if is_same and baseline == self.picked.baseline and self.picked.comparison is not None:
            self._say("")
            return
        self.picked.known, self.picked.runs, self.picked.baseline = found, list(found), baseline
        await self._changed()

    async def _changed(self) -> None:
        """Other runs, or another baseline."""
        picked = self.picked
        try:
            picked.compare()
        except InferTUIError as error:
            self._say(str(error), "failed")
            return
        self.host.comparing = (list(picked.runs), picked.baseline)
        self._draw_runs()
        self.refresh_bindings()
        if picked.comparison is None:
            self._say(NOTHING)
            return
        self._say("")
        if self.sections is None:
            await self.mount(Sections(self._made()), after="#compare-notice")
        else:
            self.sections.again(self._made())

    def _made(self) -> dict[str, Callable[[], Section]]:
        """The sections in their order."""
        from infertui.tui.screens.compare_section import (
            FiguresSection,
            ManyDistributionsSection,
            RepliesSection,
            UnlikeSection,
        )

        return {
            FiguresSection.TITLE: partial(FiguresSection, self.picked),
            ManyDistributionsSection.TITLE: partial(ManyDistributionsSection, self.picked.numbered),
            RepliesSection.TITLE: partial(RepliesSection, self.picked),
            UnlikeSection.TITLE: partial(UnlikeSection, self.picked),
        }

    def _say(self, text: str, state: str = "empty") -> None:
        self.query_one("#compare-notice", Notice).say(text, state)  # type: ignore[arg-type]
        self.query_one("#compare-runs").display = not text
        if self.sections is not None:
            self.sections.display = not text

    def _draw_runs(self) -> None:
        comparison = self.picked.comparison
        if comparison is None or not self.is_mounted:
            return
        from infertui.tui.screens import figures
        from infertui.tui.screens.compare_section import numbered

        columns = comparison.columns
        size = max(NARROWEST, min(WIDEST, (self.size.width - 2) // len(columns) - 1))
        fit = max(1, (self.size.width - 2) // (size + 1))
        first = max(0, min(self.picked.cursor - fit + 1, len(columns) - fit))
        names, told = Content(""), Content("")
        for place, column in list(enumerate(columns))[first : first + fit]:
            here = place == self.picked.cursor
            link = f"@click=screen.column({place})"
            is_base = column.report is comparison.baseline
            name = f"{figures.BASELINE if is_base else ' '}{numbered(column)}"
            names += Content.assemble((_cut(name, size), f"bold {'reverse ' if here else ''}{link}"), " ")
            said, style = _state(column)
            told += Content.assemble((_cut(f" {said}", size), f"{style} {link}"), " ")
        self.query_one("#compare-runs", Static).update(Content("\n").join([names, told]))

    # What is done with the runs.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        needs_run = ("baseline", "remove", "export", "copy", "sideways", "step", "section")
        return None if action in needs_run and self.picked.comparison is None else True

    async def action_sideways(self, by: int) -> None:
        if self.picked.runs:
            self.action_column((self.picked.cursor + by) % len(self.picked.runs))

    def action_column(self, place: int) -> None:
        from infertui.tui.screens.compare_section import CompareSection

        self.picked.cursor = place
        self._draw_runs()
        if self.sections is not None and isinstance(self.sections.section, CompareSection):
            self.sections.section.moved()

    def action_add(self) -> None:
        from infertui.tui.screens.pick import PickRun

        def answered(run: int | None) -> None:
            if run is not None:
                self.picked.cursor = len(self.picked.runs)
                runs, baseline = self.host.comparing
                self.host.comparing = ([*runs, run], baseline)
                self.shown_anew()

        comparison = self.picked.comparison
        scenario = comparison.baseline.scenario if comparison is not None else ""
        self.host.push_screen(PickRun(self.picked.runs, scenario), answered)

    def action_baseline(self) -> None:
        self.host.comparing = (self.host.comparing[0], self.picked.here)
        self.shown_anew()

    def action_remove(self) -> None:
        runs, baseline = self.host.comparing
        self.host.comparing = ([run for run in runs if run != self.picked.here], baseline)
        self.shown_anew()

    def action_export(self) -> None:
        from infertui.tui.screens.export import export_comparison

        export_comparison(self.host, self.picked.runs, self.picked.baseline)

    def action_copy(self) -> None:
        from infertui.report.export import exported

        if self.picked.comparison is None or self.sections is None or self.sections.section is None:
            return
        if text := self.sections.section.told():
            self.host.copy(text, "the replies")
        else:
            self.host.copy(exported(self.picked.comparison, "md"), "the comparison as Markdown")


def _kept(store: Store, run: int, before: Kept | None) -> Kept:
    from infertui.tui.screens.compare_section import kept

    return kept(store, run, before)


def _cut(text: str, size: int) -> str:
    return set_cell_size(text if len(text) <= size else f"{text[: size - 1]}…", size)


def _state(column: Column) -> tuple[str, str]:
    """What stands against a run, and then its model: that may be cut."""
    from infertui.report.table import state_of

    state, model = state_of(column.report.status, column.report.summary), plain(column.report.model, 40)
    return (model, "dim") if state == "done" else (f"{state} · {model}", "$text-warning")
