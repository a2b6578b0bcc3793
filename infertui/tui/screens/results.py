"""The page of results: all runs of the database, found by words, sorted, marked, told apart and thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from infertui.config import shown as known_as
from infertui.errors import InferTUIError
from infertui.text import plain
from infertui.tui.page import Page
from infertui.tui.screens import keep
from infertui.tui.screens.entry import SORTED_BY, Entry, cells, columns, in_order, listed, preview
from infertui.tui.screens.section import Filter, LongTable
from infertui.tui.widgets import Notice

if TYPE_CHECKING:
    from infertui.store import Store

NOTHING = "No runs yet: press 1, then r"
NOWHERE = "there is no database at {}: the first run makes it"


class Runs(LongTable):
    """The list."""

    HELP = """\
### Runs

All runs of the database, the newest first. **Enter** opens one; **space** marks it, and marks stay while you filter.

`/` finds runs: all words must stand in the server, model, scenario, label, tags, note or state of a run.
`s` sorts by the next column and `S` the other way round; a click on a head sorts as well.
`t` tags, `n` writes a note, `b` gives a label; `a` marks all that are shown. `D` deletes what is marked *and* shown.
`c` compares the marked ones; with none marked, all runs that were made together with this one.

A run is **done**, or *suspicious* (the machine was not calm), *not valid* (our own client was late), failed, stopped
or interrupted.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", id="results.open", tooltip="The run in full")
    ]


class ResultsScreen(Page):
    PAGE = "results"
    CSS_PATH = "results.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="results.mark", tooltip="Mark the run, or take its mark away"),
        Binding("c", "compare", "Compare", id="results.compare", tooltip="The marked runs side by side"),
        Binding("slash", "filter", "Filter", key_display="/", id="results.filter", tooltip="Find runs by words"),
        Binding("e", "export", "Export", id="results.export", tooltip="The run as a file or on the clipboard"),
        Binding("s", "sort", "Sort", show=False, id="results.sort", tooltip="Sort by the next column"),
        Binding("S,shift+s", "turn", "Sort backwards", show=False, id="results.turn", tooltip="The other way round"),
        Binding("a", "mark_all", "Mark all", show=False, id="results.mark-all", tooltip="All that are shown, or none"),
        Binding("t", "tag", "Tag", show=False, id="results.tag", tooltip="Tag the marked runs, or this one"),
        Binding("n", "note", "Note", show=False, id="results.note", tooltip="A note on this run"),
        Binding("b", "label", "Label", show=False, id="results.label", tooltip="A name to find this run by"),
        Binding("D,shift+d,delete", "delete", "Delete", show=False, id="results.delete", tooltip="Delete runs"),
        Binding("y", "copy", "Copy", show=False, id="results.copy", tooltip="Copy the command that shows this run"),
        Binding("f5", "load", "Read again", show=False, id="results.load", tooltip="Read the database again"),
        Binding("escape", "clear", "Clear the filter", show=False, id="results.clear"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []
        self._shown: list[Entry] = []
        self._by_key: dict[str, Entry] = {}
        self._marked: set[int] = set()
        self._by, self._backwards = "run", False
        self._was_running = False
        self._read = False  # the database, at least once
        self._there = True  # the database, when it was looked for last
        self._wrong = ""  # why it could not be read

    def body(self) -> ComposeResult:
        with Horizontal(id="results-head"):
            yield Static(id="results-count", markup=False)
            yield Filter(id="results-filter")
        yield Runs(id="results-table")
        yield Notice(id="results-notice")
        yield Static(id="results-preview", markup=False)

    def on_mount(self) -> None:
        self.watch(self.host, "under_way", self._look_at_run, init=False)

    def on_screen_resume(self) -> None:
        self.action_load()

    def _look_at_run(self, under_way: str) -> None:
        """A run that has begun or ended is another row."""
        if bool(under_way) != self._was_running:
            self._was_running = bool(under_way)
            if self.is_current:
                self.action_load()

    # What is listed.

    @work(exclusive=True, group="results")
    async def action_load(self) -> None:
        try:
            found = await self.host.read(listed)
        except InferTUIError as error:
            self._entries = []
            self._wrong = f"{plain(error.message, 300)}\n{plain(error.hint, 300)}".strip()
            self._fill()
            return
        self._read, self._there, self._wrong = True, found is not None, ""
        known = {entry.run: entry.summary for entry in self._entries}
        self._entries = [
            entry.summed(summary) if entry.summary is None and (summary := known.get(entry.run)) else entry
            for entry in found or []
        ]
        self._marked &= {entry.run for entry in self._entries}
        self._fill()
        if cut := [entry.run for entry in self._entries if entry.summary is None and entry.state != "running"]:
            await self._add_up(cut)

    async def _add_up(self, runs: Sequence[int]) -> None:
        """Figures of runs that were cut off before these were kept."""
        from infertui.result import stored

        def summary(store: Store, run: int) -> Entry | None:
            entry = next((entry for entry in self._entries if entry.run == run), None)
            return entry.summed(stored(store, str(run)).summary) if entry is not None else None

        for run in runs:
            try:
                found = await self.host.read(lambda store, run=run: summary(store, run))  # type: ignore[misc]
            except InferTUIError:
                continue  # it stands in the list without its figures
            if found is not None:
                self._entries = [found if entry.run == run else entry for entry in self._entries]
        self._fill()

    @on(Runs.Widened)
    def _fill(self) -> None:
        if not self.is_mounted:
            return
        words = self.query_one(Filter).words
        self._shown = in_order([entry for entry in self._entries if entry.matches(words)], self._by, self._backwards)
        self._by_key = {str(entry.run): entry for entry in self._shown}
        table = self.query_one(Runs)
        shape = columns(self._entries, table.room, self._by, self._backwards)

        def row(key: str) -> Sequence[Text]:
            entry = self._by_key[key]
            return cells(entry, shape, entry.run in self._marked)

        table.list_rows(shape, list(self._by_key), row)
        self._count()
        if self._wrong:
            self._say(self._wrong, "failed")
        elif not self._read:
            self._say("reading …", "busy")
        elif not self._shown:
            none = NOTHING if self._there else f"{NOTHING}\n{NOWHERE.format(known_as(self.host.database))}"
            self._say("No run has all of these words: esc clears them" if self._entries else none)
        else:
            self._say("")
        if self.focused is None and table.display:
            table.focus()
        self._preview()
        self.refresh_bindings()

    def _say(self, text: str, state: str = "empty") -> None:
        self.query_one(Notice).say(text, state)  # type: ignore[arg-type]
        for each in ("#results-table", "#results-preview"):
            self.query_one(each).display = not text

    def _count(self) -> None:
        all_, shown, marked = len(self._entries), len(self._shown), len(self._marked)
        said = f"{all_:,} run{'s' if all_ != 1 else ''}" if shown == all_ else f"{shown:,} of {all_:,} runs"
        drawn = Content.styled(said, "dim")
        if marked:
            drawn += Content.styled(f" · {marked} marked", "bold $warning")
        self.query_one("#results-count", Static).update(drawn)

    @property
    def _here(self) -> Entry | None:
        """The run that the cursor is on."""
        return self._by_key.get(self.query_one(Runs).chosen or "")

    @property
    def _meant(self) -> list[Entry]:
        """The marked ones, or the one that the cursor is on."""
        marked = [entry for entry in self._entries if entry.run in self._marked]
        return marked or ([self._here] if self._here is not None else [])

    @on(DataTable.RowHighlighted)
    def _moved(self) -> None:
        self._preview()

    def _preview(self) -> None:
        if (entry := self._here) is not None:
            self.query_one("#results-preview", Static).update(
                preview(entry, self.query_one("#results-preview").size.width)
            )

    # Finding and sorting.

    def action_filter(self) -> None:
        self.query_one(Filter).open()

    @on(Input.Changed, "#results-filter")
    def _filtered(self) -> None:
        self._fill()

    @on(Filter.Left)
    def _back_to_list(self) -> None:
        self.query_one(Runs).focus()

    def action_clear(self) -> None:
        self.query_one(Filter).clear_words()

    def action_sort(self) -> None:
        self._sort(SORTED_BY[(SORTED_BY.index(self._by) + 1) % len(SORTED_BY)])

    def action_turn(self) -> None:
        self._backwards = not self._backwards
        self._fill()

    @on(DataTable.HeaderSelected)
    def _head_clicked(self, event: DataTable.HeaderSelected) -> None:
        key = event.column_key.value or "run"
        by = key if key in SORTED_BY else "run"
        if by == self._by:
            self.action_turn()
        else:
            self._sort(by)

    def _sort(self, by: str) -> None:
        self._by, self._backwards = by, False
        self._fill()

    # What is done with runs.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        needs_run = ("mark", "mark_all", "compare", "export", "tag", "note", "label", "delete", "copy")
        return None if action in needs_run and not self._by_key else True

    @on(DataTable.RowSelected)
    def _opened(self) -> None:
        if (entry := self._here) is None:
            return
        story = self.host.story
        if entry.state == "running" and self.host.running and story is not None and entry.run in story.runs:
            self.host.go("live")
        else:
            self.host.show_run(entry.run)

    def action_mark(self) -> None:
        if (entry := self._here) is None:
            return
        self._marked ^= {entry.run}
        self._fill()
        self.query_one(Runs).action_cursor_down()

    def action_mark_all(self) -> None:
        shown = {entry.run for entry in self._shown}
        self._marked = self._marked - shown if shown <= self._marked else self._marked | shown
        self._fill()

    def action_compare(self) -> None:
        here = self._here
        runs = sorted(self._marked)
        if len(runs) < 2 and here is not None:
            runs = sorted(entry.run for entry in self._entries if entry.experiment == here.experiment)
        self.host.compare(runs)

    def action_export(self) -> None:
        from infertui.tui.screens.export import export_runs

        export_runs(self.host, [entry.run for entry in self._meant])

    def action_tag(self) -> None:
        if meant := self._meant:
            now = list(dict.fromkeys(tag for entry in meant for tag in entry.tags))
            keep.tag(self.host, [entry.run for entry in meant], now, self.action_load)

    def action_note(self) -> None:
        if (entry := self._here) is not None:
            keep.note(self.host, entry.run, entry.note, self.action_load)

    def action_label(self) -> None:
        if (entry := self._here) is not None:
            keep.label(self.host, entry.run, entry.label, self.action_load)

    def action_delete(self) -> None:
        """Nothing is thrown away that is not seen: marks that the filter hides do not count."""
        marked = [entry for entry in self._shown if entry.run in self._marked]
        if meant := marked or ([self._here] if self._here is not None else []):
            named = [(entry.run, f"{entry.scenario} · {entry.server} · {entry.model}") for entry in meant]
            gone = {entry.run for entry in meant}
            unseen = len(self._marked - {entry.run for entry in self._shown})
            keep.delete(self.host, named, partial(self._deleted, gone), unseen)

    def _deleted(self, gone: set[int]) -> None:
        """Neither here nor among what is compared."""
        runs, baseline = self.host.comparing
        self.host.comparing = ([run for run in runs if run not in gone], None if baseline in gone else baseline)
        self._marked -= gone
        self.action_load()

    def action_copy(self) -> None:
        if (entry := self._here) is not None:
            self.host.copy(f"infertui show {entry.run}", "the command")
