"""The dialog that exports: in which format, to a file or to the clipboard."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from infertui.errors import InferTUIError
from infertui.text import plain
from infertui.tui.page import Confirm
from infertui.tui.screens.section import Links

if TYPE_CHECKING:
    from infertui.report.export import Format
    from infertui.store import Store
    from infertui.tui.app import InferTUI

NAMES: dict[Format, str] = {"md": "Markdown", "csv": "CSV", "json": "JSON"}


def export_runs(host: InferTUI, runs: Sequence[int]) -> None:
    """Runs with their calls."""

    def text(store: Store, format: Format) -> str:
        from infertui.report.data import whole
        from infertui.report.export import exported

        return exported([whole(store, str(run)) for run in runs], format)

    numbers = "-".join(str(run) for run in runs[:3]) + ("-more" if len(runs) > 3 else "")
    if runs:
        host.push_screen(ExportDialog(_named(runs), f"infertui-run-{numbers}", text))


def export_comparison(host: InferTUI, runs: Sequence[int], baseline: int | None) -> None:
    """Runs side by side."""

    def text(store: Store, format: Format) -> str:
        from infertui.compare import of_store
        from infertui.report.export import exported

        return exported(
            of_store(store, [str(run) for run in runs], None if baseline is None else str(baseline)), format
        )

    if runs:
        numbers = "-".join(str(run) for run in runs[:6])
        host.push_screen(ExportDialog(f"the comparison of {_named(runs)}", f"infertui-compare-{numbers}", text))


def _named(runs: Sequence[int]) -> str:
    return f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs"


def _place(name: str) -> tuple[Path, int | None]:
    """Where the file is to be, and how large one is that is there already."""
    place = Path(os.path.expanduser(name)).absolute()
    with contextlib.suppress(OSError, ValueError):
        return place, place.stat().st_size if place.is_file() else None
    return place, None


class Formats(Links, can_focus=True):
    """The choice of a format."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "Before", show=False),
        Binding("right,l", "step(1)", "Next", show=False),
    ]
    chosen: Format = "md"

    def on_mount(self) -> None:
        self.choose(self.chosen)

    def choose(self, format: Format) -> None:
        self.chosen = format
        drawn = Content("")
        for key, name in NAMES.items():
            style = "bold $primary" if key == format else "dim"
            drawn += Content.assemble(
                (f"{'●' if key == format else '○'} ", style),
                (name[0], f"{style} underline"),
                (name[1:], f"{style} @click=screen.format('{key}')"),
                "    ",
            )
        self.update(drawn)

    def action_step(self, by: int) -> None:
        keys = list(NAMES)
        cast("ExportDialog", self.screen).action_format(keys[(keys.index(self.chosen) + by) % len(keys)])


class ExportDialog(ModalScreen[None]):
    """`text` makes the export out of the database; it is called in a thread."""

    CSS_PATH = "export.tcss"
    AUTO_FOCUS = "#export-formats"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Cancel", id="export.close"),
        Binding("m", "format('md')", "Markdown", id="export.md"),
        Binding("c", "format('csv')", "CSV", id="export.csv"),
        Binding("j", "format('json')", "JSON", id="export.json"),
        Binding("enter", "write", "To the file", id="export.write"),
        Binding("y,ctrl+y", "copy", "To the clipboard", id="export.copy"),
        Binding("q", "close", show=False),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, what: str, stem: str, text: Callable[[Store, Format], str]) -> None:
        super().__init__()
        self._what = what
        self._stem = stem
        self._text = text

    @property
    def host(self) -> InferTUI:
        return cast("InferTUI", self.app)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="dialog", can_focus=False):
            yield Static(Content.styled(f"Export {self._what}", "bold"), markup=False)
            yield Formats(id="export-formats")
            yield Input(f"{self._stem}.md", id="export-path")
            yield Static(id="export-note", markup=False)

    def on_mount(self) -> None:
        self._tell("")

    def _tell(self, wrong: str) -> None:
        keys = "enter writes the file · y copies to the clipboard · tab to its name · esc leaves"
        drawn = Content.styled(keys, "dim")
        if wrong:
            drawn = Content.styled(plain(wrong, 400), "$text-error") + Content("\n") + drawn
        self.query_one("#export-note", Static).update(drawn)

    def action_format(self, format: Format) -> None:
        """The file's ending follows, as long as it is one of ours."""
        path = self.query_one("#export-path", Input)
        stem, dot, ending = path.value.rpartition(".")
        if dot and ending in NAMES:
            path.value = f"{stem}.{format}"
        self.query_one(Formats).choose(format)
        self._tell("")

    @on(Input.Changed)
    def _named(self, event: Input.Changed) -> None:
        """An ending that is typed is the format that is meant."""
        ending = event.value.strip().rpartition(".")[2].lower()
        if ending in NAMES and ending != self.query_one(Formats).chosen:
            self.query_one(Formats).choose(ending)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_write()

    def action_close(self) -> None:
        self.dismiss(None)

    @work(exclusive=True, group="export")
    async def action_copy(self) -> None:
        if text := await self._made():
            self.host.copy(text, f"{self._what} as {NAMES[self.query_one(Formats).chosen]}")
            self.dismiss(None)

    @work(exclusive=True, group="export")
    async def action_write(self) -> None:
        name = self.query_one("#export-path", Input).value.strip()
        if not name:
            self._tell("the file has no name")
            return
        place, size = await asyncio.to_thread(_place, name)
        force = False
        if size is not None:
            question = Confirm(
                "Write over this file?",
                f"{plain(str(place), 300)}\nIt holds {size:,} bytes.",
                "Write over it",
                "Keep it",
            )
            force = await self.host.push_screen_wait(question)
            if not force:
                self._tell("it is there already, and is kept: give another name")
                return
        if (text := await self._made()) is None:
            return
        from infertui.report.export import save

        try:
            await asyncio.to_thread(save, text, place, force)
        except InferTUIError as error:
            self._tell(error.message if "--" in error.hint else str(error))  # hints may name flags of a command
            return
        self.host.tell(f"Exported: {self._what}", f"written to {place}", timeout=10)
        self.dismiss(None)

    async def _made(self) -> str | None:
        format = self.query_one(Formats).chosen
        self._tell("")
        try:
            text = await self.host.read(lambda store: self._text(store, format))
        except InferTUIError as error:
            self._tell(str(error))
            return None
        if text is None:
            self._tell("there is no database any more")
        return text
