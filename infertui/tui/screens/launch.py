"""The first page: which servers, what is sent to them, and the command that a key starts."""

from __future__ import annotations

import shlex
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Resize
from textual.widgets import DataTable, Static

from infertui.aside import awaited
from infertui.errors import InferTUIError
from infertui.scenario import NAMES, scenario
from infertui.tui import memory
from infertui.tui.page import Page, told
from infertui.tui.screens.forecast import RUNS, Past, effort, expected, history
from infertui.tui.screens.form import Form, arguments
from infertui.tui.screens.servers import NONE_INSTALLED
from infertui.tui.screens.serving import Pane, ServerPane, Servers
from infertui.tui.widgets import Column, Table

FIRST = "Two real engines on a tiny model made on the spot: press r to compare them"
RUNNING = "A run is under way: servers are not asked meanwhile; r shows it"


class Scenarios(Table):
    HELP = """\
### Scenario

What is sent to each server. The cursor chooses; beneath stands what it does and how long it took the last time.
"""


class Parameters(Pane):
    HELP = """\
### Parameters

What is left empty takes its default. Up, down, tab and enter go from field to field; escape goes back to the servers.
In a row of words, left and right go from word to word and space takes one; taken again, it is the default.
A number takes digits alone: `r` and the other keys of the page do there what they do elsewhere.
"""


class LaunchScreen(Page):
    PAGE = "launch"
    CSS_PATH = "launch.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "server('mark')", "Mark", id="launch.mark", tooltip="Measure this server, or leave it out"),
        Binding("r", "run", "Run", id="launch.run", tooltip="Run the command at the bottom"),
        Binding("r", "running", "Run", show=False, id="launch.run", tooltip="Show the run that is under way"),
        Binding("s", "server('start')", "Start", id="launch.start", tooltip="Start this server and leave it running"),
        Binding("a", "server('attach')", "Attach", id="launch.attach", tooltip="Measure a server that runs somewhere"),
        Binding("L", "server('logs')", "Log", id="launch.logs", tooltip="What it has written"),
        Binding("x", "server('stop')", "Stop", show=False, id="launch.stop", tooltip="Stop it, or give up its start"),
        Binding(
            "backspace,delete",
            "server('forget')",
            "Forget",
            show=False,
            id="launch.forget",
            tooltip="Forget this address",
        ),
        Binding("M", "server('model')", "Model", show=False, id="launch.model", tooltip="Name this server's model"),
        Binding("d", "doctor", "Doctor", show=False, id="launch.doctor", tooltip="What is installed here"),
        Binding("y", "copy", "Copy", show=False, id="launch.copy", tooltip="Copy the command"),
        Binding("f5,ctrl+r", "look", "Ask again", show=False, id="launch.look", tooltip="Ask all servers again"),
        Binding("escape", "servers", "Servers", id="launch.servers", tooltip="Back to the servers"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._past: list[Past] | None = None  # until it was looked for
        self._said = ServerPane.Said("")
        self._able: list[bool | None] = []
        self._shown: dict[str, str] = {}
        self._was_running = False
        self._forecast: object = None  # what the one that is shown was made for

    def body(self) -> ComposeResult:
        yield Static(id="launch-hint", markup=False)
        yield ServerPane(id="launch-servers")
        with Horizontal(id="launch-below"):
            with Pane(id="launch-scenario", classes="pane") as pane:
                pane.border_title = "Scenario"
                yield Scenarios(id="scenario-table")
                yield Static(id="scenario-about", markup=False)
            with Parameters(id="launch-form", classes="pane") as parameters:
                parameters.border_title = "Parameters"
                yield Form(id="form")
                yield Static(id="form-help", markup=False)
        yield Static(id="launch-command", markup=False)

    def on_mount(self) -> None:
        self.query_one(Scenarios).show_header = False
        self._list_scenarios(self.host.memory.scenario)
        self._show_form()
        self.watch(self.app, "under_way", self._run_changed)
        self.host.staying = self.still_running

    def on_resize(self, event: Resize) -> None:
        self._list_scenarios(self._scenario)

    def on_screen_resume(self) -> None:
        self._draw()
        self._read_history()
        self.query_one(ServerPane).look()

    def on_screen_suspend(self) -> None:
        memory.keep(self.host.memory)

    def on_unmount(self) -> None:
        memory.keep(self.host.memory)

    def _run_changed(self, under_way: str) -> None:
        """A run has begun or ended: what was not asked meanwhile is asked again."""
        if self._was_running != self.host.running:
            self._was_running = self.host.running
            if self.is_current:
                self.on_screen_resume()

    # What is drawn.

    @on(ServerPane.Changed)
    def _draw(self) -> None:
        """The line on top, the command, and how long it will take."""
        if not self.query_one(ServerPane).is_mounted:
            return
        roster, said = self.query_one(ServerPane).roster, self._said.text
        new = roster.fresh if self._past is None else not self._past
        usual = NONE_INSTALLED if roster.no_engine else FIRST if new and roster.usual else ""
        text = RUNNING if self.host.running else said or usual
        hint = self.query_one("#launch-hint", Static)
        hint.set_class(bool(text), "-shown")
        hint.set_class(text == FIRST, "-first")
        hint.set_class(self._said.failed and text == said, "-failed")
        self._put("#launch-hint", Content(text))
        problem = self._problem()
        if problem:
            self._put("#launch-command", Content.styled(problem, "$text-warning"))
        else:
            self._put("#launch-command", Content.styled("$ ", "$text-muted") + Content(self._command()))
        self._draw_bindings()
        forecast = (self._scenario, self.query_one(Form).values, [row.key for row in roster.marked], self._past)
        if forecast != self._forecast:
            self._forecast = forecast
            self._draw_forecast()

    def _put(self, where: str, text: Content) -> None:
        """Laid out anew only where it has changed."""
        if self._shown.get(where) != text.markup:
            self._shown[where] = text.markup
            self.query_one(where, Static).update(text)

    @on(ServerPane.Reached)
    def _draw_bindings(self) -> None:
        """What of the keys can be used is told anew where it has changed."""
        actions = ("mark", "start", "logs", "stop", "forget", "model")
        able = [self.check_action("run", ()), *(self.check_action("server", (what,)) for what in actions)]
        if able != self._able:
            self._able = able
            self.refresh_bindings()

    @on(ServerPane.Said)
    def _say(self, said: ServerPane.Said) -> None:
        self._said = said
        self._draw()

    @work(exclusive=True, group="forecast")
    async def _draw_forecast(self) -> None:
        name, form, marked = self._scenario, self.query_one(Form), self.query_one(ServerPane).roster.marked
        does = scenario(name).does
        text = Content(f"{does[:1].upper()}{does[1:]}.")
        if not form.problem:
            values = form.values
            calls = await awaited(partial(effort, name, values))
            servers = [row.profile.name if row.sort == "profile" else row.name for row in marked]
            time = expected(self._past or [], name, servers, values) if servers else ""
            text += Content.styled(f"\n{calls}" + (f"\n{time}" if time else ""), "$text-accent")
        self._put("#scenario-about", text)

    @work(exclusive=True, group="history")
    async def _read_history(self) -> None:
        try:
            self._past = await self.host.read(lambda store: history(store.runs(RUNS))) or []
        except InferTUIError as error:
            self._say(ServerPane.Said(f"What was measured before is not known: {error}", failed=True))
        self._draw()

    # The scenario and its parameters.

    @property
    def _scenario(self) -> str:
        return self.query_one(Scenarios).chosen or NAMES[0]

    def _list_scenarios(self, at: str) -> None:
        rows = [(name, ["●" if name == at else "○", scenario(name).title, told(name, "dim")]) for name in NAMES]
        shown = [Column("mark", "", 1), Column("title", "", max(len(scenario(name).title) for name in NAMES))]
        if self.has_class("-wide"):
            shown.append(Column("name", "", max(map(len, NAMES))))
        table = self.query_one(Scenarios)
        table.fill(shown, [(name, row[: len(shown)]) for name, row in rows])
        table.choose(at)

    def _show_form(self) -> None:
        name = self._scenario
        self.query_one(Form).show(scenario(name).parameters, self.host.memory.parameters.get(name, {}))

    @on(DataTable.RowHighlighted, "#scenario-table")
    def _scenario_chosen(self) -> None:
        name = self._scenario
        if self.host.memory.scenario != name:
            self.host.memory.scenario = name
            self._list_scenarios(name)
            self._show_form()

    @on(Form.Changed)
    def _filled_in(self, event: Form.Changed) -> None:
        self.host.memory.parameters[self._scenario] = event.values
        self._field_reached()
        self._draw()

    @on(Form.Entered)
    def _field_reached(self) -> None:
        self._put("#form-help", self.query_one(Form).note)

    # The command.

    def _arguments(self) -> list[str]:
        servers = self.query_one(ServerPane).roster.arguments()
        return [*servers, "--scenario", self._scenario, *arguments(self.query_one(Form).values)]

    def _command(self) -> str:
        return shlex.join(["infertui", "run", *self._arguments()])

    def _problem(self) -> str:
        return self.query_one(ServerPane).roster.problem() or self.query_one(Form).problem

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self.is_mounted:
            return True
        match action, parameters:
            case "run", _:
                return None if self.host.running else True
            case "running", _:
                return self.host.running
            case "servers", _:
                return not isinstance(self.focused, Servers)
            case "server", ("mark",) if not isinstance(self.focused, Servers):
                return False
            case "server", (str(what),):
                return self.query_one(ServerPane).able(what) or None
        return True

    def action_server(self, what: str) -> None:
        self.query_one(ServerPane).do(what)

    def action_run(self) -> None:
        if problem := self._problem():
            self.host.tell("Not yet", problem, "warning")
            return
        memory.keep(self.host.memory)
        self.host.start(self._arguments())

    def action_running(self) -> None:
        self.host.tell("A run is under way", "the next one can start when it has ended", "warning")
        self.host.go("live")

    def action_copy(self) -> None:
        if problem := self._problem():
            self.host.tell("Nothing to copy yet", problem, "warning")
        else:
            self.host.copy(self._command(), "the command")

    def action_doctor(self) -> None:
        self.host.doctor()

    def action_servers(self) -> None:
        self.query_one(Servers).focus()

    def action_look(self) -> None:
        self.query_one(ServerPane).look(True)

    def still_running(self) -> list[str]:
        """Servers that were started here and outlive the app."""
        return self.query_one(ServerPane).still_running()
