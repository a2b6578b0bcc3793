"""The servers of the launch page as a pane: asked for their state now and then, attached to, started and stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Click, Resize
from textual.message import Message
from textual.widgets import DataTable, Static

from infertui.aside import awaited
from infertui.errors import InferTUIError
from infertui.tui import memory
from infertui.tui.page import Confirm
from infertui.tui.screens import attach
from infertui.tui.screens.errand import Errand
from infertui.tui.screens.log import LogReader, place_of
from infertui.tui.screens.servers import Palette, Roster, Row, cells, columns, detail, sheet
from infertui.tui.widgets import Ask, Notice, Reader, Table

if TYPE_CHECKING:
    from infertui.tui.app import InferTUI

T = TypeVar("T")
POLL_S = 10.0
NO_PROFILE = "No profile of a server is here: a attaches to one that runs"


class Pane(Vertical):
    """Something in a border, which can have the whole page."""

    ALLOW_MAXIMIZE = True


class Servers(Table):
    HELP = """\
### Servers

Every profile, and every address that you attach to. **Space** (or a click on the circle) marks those that `r`
measures, one after the other.

`s` starts the one under the cursor and leaves it running; `x` stops it, or gives up its start. A run starts and stops
what it needs by itself, so `s` is only for looking around. `a` attaches to a server that runs; backspace forgets it.
`M` names a model. `L` reads its log, enter says all about it. `F5` asks all of them again.

**ready** was started here · **attached** was not, and is left as it is · **not loaded** is up, without a model
"""

    class Marked(Message):
        """Its circle was clicked."""

    def __init__(self) -> None:
        super().__init__(id="servers-table")
        self.cursor_foreground_priority = "renderable"  # a state keeps its colour under the cursor

    def on_click(self, event: Click) -> None:
        meta = event.style.meta
        if meta.get("column") == 0 and meta.get("row", -1) >= 0:
            event.prevent_default()
            event.stop()
            self.move_cursor(row=meta["row"], animate=False)
            self.post_message(self.Marked())


class ServerPane(Pane):
    """`roster` is what is known. What is done to a server in it is done to the one under the cursor."""

    class Changed(Message):
        """Marks, models or states are others now."""

    class Reached(Message):
        """The cursor is on another server, or what can be done to the one under it has changed."""

    @dataclass
    class Said(Message):
        """Something to be told above all. Empty: no longer."""

        text: str
        failed: bool = False

    roster: Roster

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane")
        self.border_title = "Servers"
        self._errands: dict[str, Errand] = {}
        self._started: set[str] = set()  # by this app, to stay
        self._palette: Palette = {}
        self._told = Text()  # of the one under the cursor
        self._asked = False  # whether all were asked once
        self._failed = False  # the last time that they were

    @property
    def host(self) -> InferTUI:
        return cast("InferTUI", self.app)

    def compose(self) -> ComposeResult:
        yield Servers()
        yield Notice(id="servers-notice")
        yield Static(id="servers-detail", markup=False)

    def on_mount(self) -> None:
        self.roster = Roster(self.host.settings, self.host.memory)
        self.roster.read()
        self.roster.arrange()
        self._draw()
        self.set_interval(POLL_S, self._poll)
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._draw())

    def on_resize(self, event: Resize) -> None:
        self._draw()

    @property
    def row(self) -> Row | None:
        """The one under the cursor."""
        return self.roster.rows.get(self.query_one(Servers).chosen or "")

    def _draw(self) -> None:
        names, known = ("success", "warning", "error", "primary"), self.app.theme_variables
        self._palette = {"dim": "dim", **{name: known[name].removeprefix("ansi_") for name in names}}
        table, rows = self.query_one(Servers), list(self.roster.rows.values())
        shown = columns(rows, (self.size.width or self.app.size.width) - 1)
        marked = {row.key for row in self.roster.marked}
        table.fill(shown, [(row.key, cells(row, row.key in marked, shown, self._palette)) for row in rows])
        self.border_subtitle = f"{len(marked)} marked" if marked else ""
        table.display = bool(rows)
        self.query_one("#servers-detail").display = bool(rows)
        self.query_one("#servers-notice", Notice).say("" if rows else NO_PROFILE)
        self._draw_row()
        self.post_message(self.Changed())

    def _draw_row(self) -> None:
        told = detail(self.row, self._palette) if self.row is not None else Text()
        if told != self._told:  # laid out anew only where it has changed
            self._told = told
            self.query_one("#servers-detail", Static).update(told)
        self.post_message(self.Reached())

    @on(DataTable.RowHighlighted)
    def _reached(self, event: Message) -> None:
        event.stop()
        self._draw_row()

    @on(DataTable.RowSelected)
    def _opened(self, event: Message) -> None:
        event.stop()
        if (row := self.row) is not None:
            self.app.push_screen(Reader(row.name, partial(sheet, row)))

    # What can be done, and whether it can be done now.

    def able(self, what: str) -> bool:
        row = self.row
        if row is None:
            return what == "attach"
        return {
            "mark": row.usable,
            "start": row.startable,
            "stop": row.ours is not None or row.key in self._errands,
            "forget": row.sort == "address",
            "logs": row.sort in ("profile", "orphan"),
            "model": row.usable,
        }.get(what, True)

    def do(self, what: str) -> None:
        actions: dict[str, Callable[[], object]] = {
            "mark": self._mark,
            "start": self._start,
            "stop": self._stop,
            "attach": self._ask_address,
            "forget": self._forget,
            "logs": self._show_log,
            "model": self._ask_model,
        }
        actions[what]()

    @on(Servers.Marked)
    def _mark(self) -> None:
        if (row := self.row) is not None and row.usable:
            self.roster.mark(row.key, row not in self.roster.marked)
            self._keep()

    def _show_log(self) -> None:
        if (row := self.row) is not None:
            self.app.push_screen(LogReader(f"Log of {row.name}", lambda: place_of(self.roster.rows.get(row.key, row))))

    def _keep(self) -> None:
        """What was chosen is shown, and there the next time."""
        self.roster.arrange()
        memory.keep(self.host.memory)
        self._draw()

    # Their states: asked without a prompt to any of them, and not while a run measures.

    @work(exclusive=True, group="poll")
    async def _poll(self) -> None:
        from infertui.pid import measuring

        if self.screen.is_current and not await awaited(measuring):  # of whichever InferTUI
            self.look()

    @work(exclusive=True, group="look")
    async def look(self, every: bool = False) -> None:
        """Ask those whose state can change by itself; the first time, and where it is wanted, all of them."""
        if self.host.running:
            return
        from infertui.server import record
        from infertui.server.status import statuses

        try:
            records = await awaited(record.all_of)
            await awaited(self.roster.read)
            self.roster.arrange()
            asked = self.roster.asked(every or not self._asked, records)
            self.roster.learn(asked, await awaited(partial(statuses, asked, records, prompted=False)))
        except (InferTUIError, OSError, ImportError, ValueError) as error:
            self._failed = True
            self.post_message(self.Said(f"What servers do is not known: {error}", failed=True))
            return
        self._asked = True
        if self._failed:
            self._failed = False
            self.post_message(self.Said(""))
        self._draw()

    # Addresses and models.

    @work(exclusive=True, group="attach")
    async def _ask_address(self) -> None:
        question = Ask("Address of a server that runs", hint=f"such as {attach.EXAMPLE}", check=attach.wrong)
        typed = await self.app.push_screen_wait(question)
        if not typed or not typed.strip():
            return
        url = attach.address(typed)
        if not await self._name_offered(url):
            return
        known = self.host.memory.addresses
        self.host.memory.addresses = [url, *(each for each in known if each != url)]
        self.roster.mark(url, True)
        self._keep()
        self.query_one(Servers).choose(url)
        self.look()

    async def _name_offered(self, url: str) -> bool:
        """Which of a server's models is meant, where it has several. Whether there is one, and it is known."""
        self.post_message(self.Said(f"Asking {url} for its models …"))
        try:
            models = await awaited(partial(attach.offered, url))
        except InferTUIError as error:
            self.host.fail("Not attached", error)
            return False
        finally:
            self.post_message(self.Said(""))
        model: str | None = ""
        if len(models) > 1:
            pick = attach.Pick("Which of its models?", models, self.host.memory.models.get(url, ""))
            model = await self.app.push_screen_wait(pick)
        elif not models:
            self.host.tell("It offers no model", f"load one at {url} before a run", "warning")
        if model is not None:
            self._name_model(url, model)
        return model is not None

    def _forget(self) -> None:
        if (row := self.row) is not None and row.sort == "address":
            self.host.memory.addresses = [each for each in self.host.memory.addresses if each != row.argument]
            self._name_model(row.key, "")
            self.roster.mark(row.key, False)
            self._keep()
            self.host.tell("Forgotten", f"{row.name}: a attaches to it again")

    @work(exclusive=True, group="attach")
    async def _ask_model(self) -> None:
        if (row := self.row) is None or not row.usable:
            return
        if row.sort == "address":
            if not await self._name_offered(row.argument):
                return
        else:
            form = await awaited(partial(attach.form_of, row.profile.kind))
            now, check = self.host.memory.models.get(row.key, ""), partial(attach.wrong_model, form)
            question = Ask(f"Model for {row.name}", now, hint=attach.WANTED[form], check=check)
            typed = await self.app.push_screen_wait(question)
            if typed is None:
                return
            self._name_model(row.key, attach.whole(typed))
        self._keep()
        self.look()

    def _name_model(self, key: str, model: str) -> None:
        models = {known: name for known, name in self.host.memory.models.items() if known != key}
        self.host.memory.models = {**models, key: model} if model else models

    # Starts and stops.

    def _start(self) -> None:
        if (row := self.row) is not None and row.startable:
            model = self.host.memory.models.get(row.key, "")
            self._send(row, Errand("start", [row.argument, *(["--model", model] if model else [])]))

    @work(group="stop")
    async def _stop(self) -> None:
        if (row := self.row) is None:
            return
        if (errand := self._errands.get(row.key)) is not None:
            errand.cancel()
            return
        if row.ours is None:
            return
        from infertui.pid import measuring

        used = row.ours.owner == "run" or bool(await awaited(measuring))
        if used:
            question = Confirm(f"Stop {row.name}?", "A run may be using it, and would fail.", "Stop", "Leave it")
            if not await self.app.push_screen_wait(question):
                return
        self._send(row, Errand("stop", [row.argument, *(["--force"] if used else [])]))

    @work(group="errand")
    async def _send(self, row: Row, errand: Errand) -> None:
        """Until it is done; several go on at once."""
        key, name, start = row.key, row.profile.name or row.name, errand.verb == "start"
        if key in self._errands:
            return
        self._errands[key] = errand
        busy = "starting" if start else "stopping"
        code: int | None = None
        try:
            self._mind(key, busy, f"{busy} …")
            code = await errand.run(lambda line: self._mind(key, busy, line.removeprefix(f"{name}: ")))
        except OSError as error:
            self.host.tell(f"{row.name}: the command cannot be run", str(error), "error")
        finally:
            del self._errands[key]
        failed = code != 0 and code is not None and not errand.cancelled
        if failed:
            self.host.tell(f"{row.name} did not {errand.verb}", errand.why, "error", 12)
        elif errand.cancelled and code:
            self.host.tell(f"{row.name} is not started", "its start was given up, and nothing of it is left")
        elif code == 0 and start:
            self._started.add(name)
        elif code == 0:
            self._started.discard(name)
        self._mind(key, "", errand.why if failed else "")
        self.look()

    def _mind(self, key: str, busy: str, said: str) -> None:
        """What happens to a server now."""
        if self.is_mounted and (row := self.roster.rows.get(key)) is not None:
            row.busy, row.said = busy, said
            self._draw()

    def still_running(self) -> list[str]:
        """Servers that were started here and would outlive the app; those that still start would not."""
        from infertui.server import record

        stay = {known.name for known in record.all_of() if not known.owner and known.ready and known.serves()}
        return sorted(stay & self._started)
