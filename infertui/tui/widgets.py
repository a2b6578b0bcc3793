"""What several screens are made of: tables with vim keys, notices, a reader for long texts, a field to fill in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.coordinate import Coordinate
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from infertui.aside import awaited
from infertui.text import lines, plain

VIM: list[BindingType] = [
    Binding("j", "cursor_down", "Down", show=False),
    Binding("k", "cursor_up", "Up", show=False),
    Binding("g", "scroll_top", "Top", show=False),
    Binding("G,shift+g", "scroll_bottom", "Bottom", show=False),
    Binding("ctrl+d", "page_down", "Page down", show=False),
    Binding("ctrl+u", "page_up", "Page up", show=False),
]


@dataclass(frozen=True, slots=True)
class Column:
    """`width` None: as wide as what is in it. `right`: figures."""

    key: str
    head: str
    width: int | None = None
    right: bool = False


class Table(DataTable[Text]):
    """Rows that one walks through. `fill` shows rows by their keys; the cursor stays on its row."""

    BINDINGS: ClassVar[list[BindingType]] = VIM

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(
            id=id, classes=classes, cursor_type="row", zebra_stripes=False, cell_padding=1, show_row_labels=False
        )
        self._shape: tuple[Column, ...] = ()
        self._rows: dict[str, tuple[Text, ...]] = {}

    def fill(self, columns: Sequence[Column], rows: Sequence[tuple[str, Sequence[str | Text]]]) -> None:
        """Show these. Where only cells differ from what is shown, only these are drawn again."""
        shape = tuple(columns)
        wanted = {
            key: tuple(_cell(cell, column) for cell, column in zip(cells, shape, strict=True)) for key, cells in rows
        }
        if shape == self._shape and list(wanted) == list(self._rows):
            for key, cells in wanted.items():
                for column, cell, old in zip(shape, cells, self._rows[key], strict=True):
                    if cell != old:
                        self.update_cell(key, column.key, cell, update_width=column.width is None)
            self._rows = wanted
            return
        at = self.chosen
        place = self.cursor_row
        self._rows = {}
        if shape != self._shape:
            self.clear(columns=True)
            for column in shape:
                head = Text(column.head, justify="right" if column.right else "left")
                self.add_column(head, width=column.width, key=column.key)
            self._shape = shape
        else:
            self.clear()
        for key, cells in wanted.items():
            self.add_row(*cells, key=key)
        self._rows = wanted
        if wanted:
            keys = list(wanted)
            row = keys.index(at) if at in wanted else min(max(0, place), len(keys) - 1)
            self.move_cursor(row=row, animate=False)

    @property
    def chosen(self) -> str | None:
        """The key of the row that the cursor is on."""
        if not self._rows or not self.is_valid_coordinate(Coordinate(self.cursor_row, 0)):
            return None
        return self.coordinate_to_cell_key(Coordinate(self.cursor_row, 0)).row_key.value

    def choose(self, key: str) -> None:
        if key in self._rows:
            self.move_cursor(row=list(self._rows).index(key), animate=False)

    @property
    def keys(self) -> list[str]:
        return list(self._rows)


def _cell(cell: str | Text, column: Column) -> Text:
    text = Text(plain(cell, 400)) if isinstance(cell, str) else cell
    text.no_wrap, text.overflow = True, "ellipsis"
    if column.right:
        text.justify = "right"
    return text


class Notice(Static):
    """Why a pane shows nothing: empty with what to do, busy, or failed with the reason."""

    def __init__(self, text: str = "", *, id: str | None = None) -> None:
        super().__init__(Content(text), id=id, classes="notice", markup=False)

    def say(self, text: str, state: Literal["empty", "busy", "failed"] = "empty") -> None:
        self.set_class(state == "busy", "-busy")
        self.set_class(state == "failed", "-failed")
        self.update(Content(text))
        self.display = bool(text)


class Reader(ModalScreen[None]):
    """A longer text to read and copy: a reply, what doctor says. `fetch` is called in a thread."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", id="reader.close"),
        Binding("y,c", "copy", "Copy", id="reader.copy", tooltip="Copy the whole text"),
        Binding("j,down", "line(1)", "Down", show=False),
        Binding("k,up", "line(-1)", "Up", show=False),
        Binding("pagedown,space,ctrl+d", "page(1)", "Page down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("g,home", "top", "Top", show=False),
        Binding("G,shift+g,end", "end", "End", show=False),
    ]

    def __init__(self, title: str, fetch: Callable[[], str | Text] | str | Text) -> None:
        super().__init__()
        self._head = title
        self._fetch = fetch if callable(fetch) else lambda: fetch
        self._shown = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="reader"):
            yield Static("…", id="reader-text", markup=False)

    @property
    def scrolled(self) -> Widget:
        return self.query_one("#reader")

    @property
    def text(self) -> str:
        """What is shown, to be copied."""
        return self._shown

    def on_mount(self) -> None:
        pane = self.query_one("#reader")
        pane.border_title = Content(plain(self._head, 100))
        pane.border_subtitle = Content("y copy · esc close")
        self._load()

    @work(exclusive=True)
    async def _load(self) -> None:
        from infertui.errors import InferTUIError

        try:
            found = await awaited(self._fetch)
        except (InferTUIError, OSError) as error:
            found = Text(plain(str(error)), "red")
        if self.is_mounted:
            text = Text(lines(found)) if isinstance(found, str) else found
            self._shown = text.plain
            self.query_one("#reader-text", Static).update(text if text.plain else Text("(nothing)", "dim"))

    def action_close(self) -> None:
        self.dismiss(None)

    def action_copy(self) -> None:
        from infertui.tui.app import InferTUI

        if isinstance(self.app, InferTUI):
            self.app.copy(self.text, self._head)

    def action_line(self, by: int) -> None:
        self.scrolled.scroll_relative(y=by, animate=False)

    def action_page(self, by: int) -> None:
        self.scrolled.scroll_relative(y=by * max(1, self.scrolled.size.height - 2), animate=False)

    def action_top(self) -> None:
        self.scrolled.scroll_home(animate=False)

    def action_end(self) -> None:
        self.scrolled.scroll_end(animate=False)


class Ask(ModalScreen[str | None]):
    """One line to fill in. `check` says what is wrong with it; None of it: it is taken."""

    AUTO_FOCUS = "#answer"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Cancel", id="ask.close")]

    def __init__(
        self, question: str, value: str = "", *, hint: str = "", check: Callable[[str], str] = lambda text: ""
    ) -> None:
        super().__init__()
        self._question = question
        self._value = value
        self._hint = hint
        self._check = check

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="dialog"):
            yield Static(Content.styled(self._question, "bold"), markup=False)
            yield Input(self._value, id="answer", placeholder=self._hint)
            yield Static(Content("enter takes it · esc leaves it"), id="answer-note", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if wrong := self._check(event.value):
            note = self.query_one("#answer-note", Static)
            note.update(Content.styled(plain(wrong, 300), "$text-error"))
            return
        self.dismiss(event.value)

    def action_close(self) -> None:
        self.dismiss(None)


class Wide(Static):
    """A report that is drawn for the width it gets: `draw` makes it anew when that changes."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._draw: Callable[[int], object] | None = None
        self._for = 0

    def show(self, draw: Callable[[int], object]) -> None:
        self._draw, self._for = draw, 0
        self._again()

    def on_resize(self, event: Resize) -> None:
        self._again()

    def _again(self) -> None:
        width = self.size.width
        if self._draw is not None and width and width != self._for:
            self._for = width
            self.update(self._draw(width))  # type: ignore[arg-type]
