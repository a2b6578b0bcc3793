"""What all screens have in common: the row of names on top, the footer, and a word where the terminal is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from infertui.text import plain

if TYPE_CHECKING:
    from infertui.tui.app import InferTUI

PAGES = {"launch": "Launch", "live": "Live", "results": "Results", "compare": "Compare"}
LEAST = (60, 18)  # columns and rows in which everything can be reached


class Navigation(Static):
    """The names of the pages, the one that is open, and at the right what is under way."""

    def __init__(self, page: str) -> None:
        super().__init__(id="navigation", markup=False)
        self._page = page
        self._told: object = None

    def on_mount(self) -> None:
        self.watch(self.app, "under_way", self._draw)

    def on_resize(self) -> None:
        self._told = None
        self._draw(cast("InferTUI", self.app).under_way)

    def _draw(self, under_way: str) -> None:
        if (under_way, self.size.width) == self._told:
            return
        self._told = (under_way, self.size.width)
        parts = [("InferTUI ", "bold")]
        drawn = Content.assemble(*parts)
        for number, (page, title) in enumerate(PAGES.items(), 1):
            style = "bold reverse" if page == self._page else ""
            name = f" {number} {title} "
            drawn += Content.assemble((name, f"{style} @click=app.go('{page}')".strip()), " ")
        said = Content.styled(plain(under_way, 60), "bold $success") if under_way else Content("")
        room = self.size.width - drawn.cell_length - said.cell_length
        self.update(drawn + Content(" " * max(1, room)) + said if room > 0 else drawn)


class Page(Screen[None]):
    """A screen with the navigation above and the footer below. `body` is what stands between them."""

    PAGE: ClassVar[str] = ""

    @property
    def host(self) -> InferTUI:
        return cast("InferTUI", self.app)

    def compose(self) -> ComposeResult:
        yield Navigation(self.PAGE)
        yield from self.body()
        yield Footer(show_command_palette=False)
        yield Static(id="too-small", markup=False)

    def body(self) -> ComposeResult:
        raise NotImplementedError

    def on_resize(self, event: Resize) -> None:
        small = event.size.width < LEAST[0] or event.size.height < LEAST[1]
        self.set_class(small, "-too-small")
        if small:
            told = f"InferTUI needs {LEAST[0]}x{LEAST[1]}; this is {event.size.width}x{event.size.height}"
            self.query_one("#too-small", Static).update(told)


class Confirm(ModalScreen[bool]):
    """A question before something is destroyed or stopped. `detail` says what will be gone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape,q", "answer(False)", "No", id="confirm.no"),
        Binding("left,right,h,l,tab", "other", "Other", show=False),
        Binding("enter", "chosen", "Choose", show=False),
    ]

    def __init__(self, question: str, detail: str = "", yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._words = (question, detail)
        self._names = (yes, no)
        self._yes = False

    def compose(self) -> ComposeResult:
        yield Static(id="dialog", markup=False)

    def on_mount(self) -> None:
        self._draw()

    def _draw(self) -> None:
        question, detail = self._words
        yes, no = (f" {key}  {name} " for key, name in zip("yn", self._names, strict=True))
        drawn = Content.assemble((question, "bold"), "\n\n", detail, "\n\n" if detail else "")
        drawn += Content.assemble((yes, f"{'reverse' if self._yes else ''} @click=screen.answer(True)".strip()), "   ")
        drawn += Content.assemble((no, f"{'' if self._yes else 'reverse'} @click=screen.answer(False)".strip()))
        self.query_one("#dialog", Static).update(drawn)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_other(self) -> None:
        self._yes = not self._yes
        self._draw()

    def action_chosen(self) -> None:
        self.dismiss(self._yes)


def told(value: object, style: str = "") -> Text:
    """A text for a cell, never markup."""
    return Text(plain(str(value), 400), style)
