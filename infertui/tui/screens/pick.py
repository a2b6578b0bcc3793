"""Choosing a run to add: all that there are, found by words; the newest one that is done of each server comes first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, cast

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, Static

from infertui.errors import InferTUIError
from infertui.tui.app import InferTUI
from infertui.tui.screens.entry import Entry, cells, columns, listed
from infertui.tui.screens.section import LongTable
from infertui.tui.widgets import Notice

NEWEST = "★"


class PickRun(ModalScreen[int | None]):
    """`taken` are not offered again. `scenario`: of which the newest run of each server is offered first."""

    CSS_PATH = "pick.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Cancel", show=False),
        Binding("down,ctrl+n", "move('down')", show=False),
        Binding("up,ctrl+p", "move('up')", show=False),
        Binding("pagedown", "move('page_down')", show=False),
        Binding("pageup", "move('page_up')", show=False),
    ]

    def __init__(self, taken: Collection[int], scenario: str) -> None:
        super().__init__()
        self._taken = taken
        self._scenario = scenario
        self._entries: list[Entry] = []
        self._newest: set[int] = set()

    def compose(self) -> ComposeResult:
        with Vertical(id="pick-run"):
            yield Input(placeholder="server, model, scenario, label, tag …", id="pick-run-words", compact=True)
            yield LongTable(id="pick-run-list")
            yield Notice("reading …", id="pick-run-none")
            yield Static(id="pick-run-note", markup=False)

    def on_mount(self) -> None:
        pane = self.query_one("#pick-run")
        pane.border_title = "Add a run"
        pane.border_subtitle = Content("enter adds it · esc leaves")
        self.query_one("#pick-run-list").can_focus = False
        self._load()

    @work(exclusive=True)
    async def _load(self) -> None:
        try:
            found = await cast(InferTUI, self.app).read(listed)
        except InferTUIError as error:
            self.query_one(Notice).say(str(error), "failed")
            return
        free = [entry for entry in found or () if entry.run not in self._taken]
        scenario = self._scenario or next((entry.scenario for entry in free), "")
        newest: dict[str, Entry] = {}
        for entry in free:
            if entry.scenario == scenario and entry.state in ("done", "suspicious", "not valid"):
                newest.setdefault(entry.server, entry)
        self._newest = {entry.run for entry in newest.values()}
        self._entries = [*newest.values(), *(entry for entry in free if entry.run not in self._newest)]
        if newest:
            note = Content.styled(f"{NEWEST} the newest run of {scenario} on each server", "dim")
            self.query_one("#pick-run-note", Static).update(note)
        self._fill()

    @on(LongTable.Widened)
    def _fill(self) -> None:
        words = self.query_one(Input).value.casefold().split()
        shown = {str(entry.run): entry for entry in self._entries if entry.matches(words)}
        table = self.query_one(LongTable)
        shape = columns(list(shown.values()), table.room)

        def row(key: str) -> Sequence[Text]:
            star, *others = cells(shown[key], shape, marked=False)
            return (Text(NEWEST, "yellow") if shown[key].run in self._newest else star, *others)

        table.list_rows(shape, list(shown), row)
        table.display = bool(shown)
        nothing = "No run has all of these words" if self._entries else "There is no other run: 1, then r makes one"
        self.query_one(Notice).say("" if shown else nothing)

    @on(Input.Changed)
    def _filtered(self) -> None:
        self._fill()
        self.query_one(LongTable).move_cursor(row=0)

    def action_move(self, how: str) -> None:
        table = self.query_one(LongTable)
        getattr(table, f"action_{how}" if how.startswith("page") else f"action_cursor_{how}")()

    @on(Input.Submitted)
    @on(DataTable.RowSelected)
    def _chosen(self) -> None:
        if (key := self.query_one(LongTable).chosen) is not None:
            self.dismiss(int(key))

    def action_close(self) -> None:
        self.dismiss(None)
