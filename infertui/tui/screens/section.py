"""A page in sections: a row of their names, and beneath it the one that is looked at, made when it is first opened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.message import Message
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from infertui.errors import InferTUIError
from infertui.text import plain
from infertui.tui.page import Page
from infertui.tui.widgets import Column, Notice, Table

if TYPE_CHECKING:
    from infertui.store import Store
    from infertui.tui.app import InferTUI

ROOM = 300  # rows of a long table that are made at first
NEAR = 30  # rows before the last one that is made


# To the page, in what would only scroll sideways where there is nothing more to see.
SIDEWAYS: list[BindingType] = [
    Binding("left", "screen.sideways(-1)", "Left", show=False),
    Binding("right", "screen.sideways(1)", "Right", show=False),
]


class Scroll(VerticalScroll):
    """Longer than its place, and read with the keys of a table."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *SIDEWAYS,
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("g", "scroll_home", "Top", show=False),
        Binding("G,shift+g", "scroll_end", "Bottom", show=False),
        Binding("ctrl+d", "page_down", "Page down", show=False),
        Binding("ctrl+u", "page_up", "Page up", show=False),
    ]


class Links(Static):
    """Words that can be clicked and keep the look that they are given."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.auto_links = False


class Filter(Input):
    """Words that must all be found in what is listed. It is there while it has words, or is being filled in."""

    DEFAULT_CSS = "Filter { width: 1fr; }"

    class Left(Message):
        """Done with it, and back to the list."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(placeholder="words that must all match", compact=True, id=id, classes="filter")
        self.display = False

    @property
    def words(self) -> list[str]:
        return self.value.casefold().split()

    def open(self) -> None:
        self.display = True
        self.focus()

    def clear_words(self) -> bool:
        """Whether there were any."""
        had = bool(self.value)
        self.value = ""
        self.display = False
        return had

    def on_key(self, event: Key) -> None:
        if event.key not in ("escape", "enter", "down"):
            return
        event.stop()
        event.prevent_default()
        if event.key == "escape" or not self.value:
            self.clear_words()
        self.post_message(self.Left())


class LongTable(Table):
    """A list of any length: its rows are made as the cursor comes near them."""

    class Widened(Message):
        """It has another width: which columns have room is another question now."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._list: tuple[Sequence[Column], Sequence[str], Callable[[str], Sequence[Text]]] = ((), (), lambda key: ())
        self._room = ROOM
        self._was_wide = 0

    @property
    def room(self) -> int:
        """Columns for what is in it, beside its scrollbar."""
        return max(1, (self.outer_size.width or self.screen.size.width) - 1)

    def on_resize(self) -> None:
        if self.outer_size.width not in (0, self._was_wide):
            self._was_wide = self.outer_size.width
            self.post_message(self.Widened())

    def list_rows(self, columns: Sequence[Column], keys: Sequence[str], row: Callable[[str], Sequence[Text]]) -> None:
        """`row` makes the cells of a key."""
        at = self.chosen
        self._list = (columns, keys, row)
        self._room = max(ROOM, keys.index(at) + 2 * NEAR if at in keys else 0)
        self._make()

    def _make(self) -> None:
        columns, keys, row = self._list
        self.fill(columns, [(key, row(key)) for key in keys[: self._room]])

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.cursor_row >= self._room - NEAR and len(self._list[1]) > self._room:
            self._room *= 2
            self._make()


class Section(Vertical):
    """Part of a page. `look` asks the database in a thread; `show` draws what it found, or says why it does not."""

    TITLE: ClassVar[str] = ""
    DEFAULT_CSS = """
    Section { height: 1fr; }
    Section .section-body { height: 1fr; }
    Section .reading { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    Section .reading > Static { height: auto; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown = False

    @property
    def host(self) -> InferTUI:
        return cast("InferTUI", self.app)

    def content(self) -> ComposeResult:
        raise NotImplementedError

    def look(self, store: Store) -> Any:
        """What is to be shown. Called in a thread."""
        raise NotImplementedError

    def show(self, found: Any) -> str:
        """Draw it; if there is nothing to draw, what to say in its place."""
        raise NotImplementedError

    def told(self) -> str:
        """What is copied from here, as text; empty: the page's own figures."""
        return ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="section-body"):
            yield from self.content()
        yield Notice()

    def on_mount(self) -> None:
        self.load()

    @work(exclusive=True)
    async def load(self) -> None:
        if not self._shown:
            self._say("reading …", "busy")
        try:
            found = await self.host.read(self.look)
        except InferTUIError as error:
            self._say(f"{error.message}\n{error.hint}".strip(), "failed")
            return
        if not self.is_attached:
            return
        self._shown = True
        self._say("there is no database any more" if found is None else self.show(found))
        if self.display and self.screen.focused is None:
            self.take_focus()

    def _say(self, text: str, state: Literal["empty", "busy", "failed"] = "empty") -> None:
        self.query_one(Notice).say(plain(text, 600) if state == "failed" else text, state)
        self.query_one(".section-body").display = not text

    def take_focus(self) -> None:
        """The first thing in it that has keys."""
        if self.query_one(".section-body").display:
            for child in self.walk_children(Widget):
                if child.focusable and child.display:
                    child.focus()
                    return


class Sections(Vertical):
    """`made`: by the title of each section, how to make it."""

    DEFAULT_CSS = """
    Sections { height: 1fr; }
    Sections #section-names { height: 1; padding: 0 1; margin: 0 0 1 0; }
    .-short Sections #section-names { margin: 0; }
    """

    def __init__(self, made: Mapping[str, Callable[[], Section]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._made = dict(made)
        self._sections: dict[str, Section] = {}
        self.opened = ""

    def compose(self) -> ComposeResult:
        yield Links(id="section-names")

    async def on_mount(self) -> None:
        await self.open(next(iter(self._made)))

    @property
    def section(self) -> Section | None:
        """The one that is looked at."""
        return self._sections.get(self.opened)

    async def open(self, title: str) -> None:
        self.opened = title
        self._draw()
        found = self._sections.get(title)
        for each in self._sections.values():
            each.display = each is found
        if found is None:
            found = self._sections[title] = self._made[title]()
            self.screen.set_focus(None)
            await self.mount(found)
        else:
            found.take_focus()

    async def open_number(self, number: int) -> None:
        await self.open(list(self._made)[number])

    async def step(self, by: int) -> None:
        titles = list(self._made)
        if self.opened not in titles:  # the first is about to be
            return
        await self.open(titles[(titles.index(self.opened) + by) % len(titles)])

    def again(self, titles: Collection[str] = ()) -> None:
        """What these show has changed, or what all show: those of them that have been opened read it anew."""
        for title, section in self._sections.items():
            if title in titles or not titles:
                section.load()

    def _draw(self) -> None:
        drawn = Content("")
        for number, title in enumerate(self._made):
            style = "bold $primary underline" if title == self.opened else "dim"
            drawn += Content.assemble((title, f"{style} @click=screen.section({number})"), "  ")
        self.query_one("#section-names", Static).update(drawn)


class SectionedPage(Page):
    """A page whose body has `Sections` in it. `sideways` is what left and right do there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("[", "step(-1)", "Section before", show=False, id="section.before", tooltip="The section before"),
        Binding("]", "step(1)", "Next section", show=False, id="section.next", tooltip="The next section"),
    ]

    @property
    def sections(self) -> Sections | None:
        """None while there is nothing to show in sections."""
        found = self.query(Sections)
        return found.first() if found else None

    async def action_section(self, number: int) -> None:
        if (sections := self.sections) is not None:
            await sections.open_number(number)

    async def action_sideways(self, by: int) -> None:
        raise NotImplementedError

    async def action_step(self, by: int) -> None:
        if (sections := self.sections) is not None:
            await sections.step(by)
