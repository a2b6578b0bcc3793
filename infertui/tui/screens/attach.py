"""What is asked of a user about servers: the address of one that runs, and which model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from infertui.errors import UsageError
from infertui.server.model import Form
from infertui.tui.widgets import Column, Table

EXAMPLE = "http://127.0.0.1:8080"
WANTED: dict[Form, str] = {
    "gguf": "the path of a GGUF file",
    "folder": "a folder, or the name of a repository",
    "any": "the name of its model",
}


def address(text: str) -> str:
    """An address as it is typed, with what may be left out of it."""
    text = text.strip()
    whole = text if "://" in text else f"http://{text}"
    hint = f"write it as {EXAMPLE}"
    if "@" in whole:
        raise UsageError("a name or a password stands in it", "a profile names the variable that holds a key")
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError:
        raise UsageError("this is no address", hint) from None
    named = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not named or parts.query or parts.fragment or not whole.isprintable() or " " in whole:
        raise UsageError("this is no address", hint)
    return whole.rstrip("/").removesuffix("/v1").rstrip("/")


def wrong(text: str) -> str:
    """What is wrong with it; empty if nothing is. Nothing typed is nothing wanted."""
    try:
        if text.strip():
            address(text)
    except UsageError as error:
        return str(error)
    return ""


def offered(url: str) -> list[str]:
    """The models of the server there. A ServerError says why there is none. Not for the app's loop."""
    from infertui.profile import Profile
    from infertui.server import server

    return server(Profile(kind="openai", name=url, address=url, start=False)).models()


def form_of(kind: str) -> Form:
    """What kind of model a kind of server reads."""
    from infertui.server import adapter

    return adapter(kind).form


def wrong_model(form: Form, text: str) -> str:
    """Why a server that reads such models cannot have this one; empty if it can. Nothing typed is the profile's own."""
    from infertui.server.model import NotHere, find

    text = text.strip()
    if not text or text.partition(":")[0] == "embedded":
        return ""
    try:
        find(text, form)
    except NotHere as error:
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return ""


def whole(text: str) -> str:
    """A model as it was typed; a file or a folder so that it is the same from everywhere."""
    text = text.strip()
    place = os.path.expanduser(text)
    return os.path.abspath(place) if text and os.path.exists(place) else text


class Pick(ModalScreen[str | None]):
    """One out of a list."""

    DEFAULT_CSS = """
    Pick { align: center middle; background: $background 60%; }
    Pick #pick-list { height: auto; max-height: 16; margin: 1 0 0 0; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Cancel", id="pick.close", tooltip="Choose none of them")
    ]

    def __init__(self, question: str, words: Sequence[str], at: str = "") -> None:
        super().__init__()
        self._question = question
        self._words = list(words)
        self._at = at

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content.styled(self._question, "bold"), markup=False)
            yield Table(id="pick-list")

    def on_mount(self) -> None:
        table = self.query_one(Table)
        table.show_header = False
        table.fill([Column("word", "")], [(str(number), [word]) for number, word in enumerate(self._words)])
        if self._at in self._words:
            table.choose(str(self._words.index(self._at)))

    @on(DataTable.RowSelected)
    def _chosen(self, event: DataTable.RowSelected) -> None:
        self.dismiss(self._words[int(event.row_key.value or 0)])

    def action_close(self) -> None:
        self.dismiss(None)
