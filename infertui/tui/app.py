"""The app: its pages, its keys, the run that it has started, and what all of its screens ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from rich.text import Text
from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.screen import Screen

from infertui.aside import aside, awaited
from infertui.config import near
from infertui.errors import InferTUIError, UsageError
from infertui.settings import Settings, database, user
from infertui.text import plain
from infertui.tui import memory, theme
from infertui.tui.page import PAGES, Confirm

if TYPE_CHECKING:
    from infertui.store import Store
    from infertui.tui.child import Child
    from infertui.tui.story import Story

T = TypeVar("T")
STATUS_S = 0.5


def _launch() -> Screen[Any]:
    from infertui.tui.screens.launch import LaunchScreen

    return LaunchScreen()


def _live() -> Screen[Any]:
    from infertui.tui.screens.live import LiveScreen

    return LiveScreen()


def _results() -> Screen[Any]:
    from infertui.tui.screens.results import ResultsScreen

    return ResultsScreen()


def _compare() -> Screen[Any]:
    from infertui.tui.screens.compare import CompareScreen

    return CompareScreen()


class InferTUI(App[None]):
    """`story` and `child` are the run that this app started last, while it lasts and afterwards."""

    TITLE = "InferTUI"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "launch": _launch,
        "live": _live,
        "results": _results,
        "compare": _compare,
    }
    DEFAULT_MODE = "launch"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (28, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"go('{page}')", title, show=False, id=f"page.{page}", tooltip=f"Open {title}")
            for number, (page, title) in enumerate(PAGES.items(), 1)
        ),
        Binding(
            "question_mark,f1", "help", "Help", key_display="?", id="app.help", tooltip="What the focused thing does"
        ),
        Binding("q", "back", "Quit", id="app.quit", tooltip="Leave the app"),
        Binding("m", "maximise", "Maximise", show=False, id="app.maximise", tooltip="The focused pane alone, and back"),
        Binding("ctrl+c", "interrupt", show=False, system=True, priority=True),
        Binding("escape", "hide_help_panel", show=False, system=True, priority=True),
        Binding("pagedown", "page_help(1)", show=False, system=True, priority=True),
        Binding("pageup", "page_help(-1)", show=False, system=True, priority=True),
    ]

    under_way: reactive[str] = reactive("")
    """What runs now, in a few words."""

    def __init__(self, db: str | None = None) -> None:
        super().__init__()
        self.database: Path = database(db)
        self.memory = memory.recalled()
        self.child: Child | None = None
        self.story: Story | None = None
        self.comparing: tuple[list[int], int | None] = ([], None)  # runs, and which of them is the baseline
        self.wrong: list[str] = []  # with the settings and themes, told once
        self.settings = self._settings()
        self.ansi_theme_dark, self.ansi_theme_light = theme.sixteen(theme.DARK), theme.sixteen(theme.LIGHT)
        self.set_reactive(App.theme, self._chosen_theme())  # before anything is drawn: another costs a second drawing
        self.staying: Callable[[], list[str]] = list  # servers started here that outlive the app
        self.left_running: list[str] = []
        self._began = 0.0
        self._starting = self._leaving = False

    def _settings(self) -> Settings:
        try:
            return user()
        except UsageError as error:
            self.wrong.append(str(error))
            return Settings()

    # Coming and going.

    def on_mount(self) -> None:
        self._bind_keys()
        for message in self.wrong:
            self.tell("In your settings", message, "warning", timeout=12)
        self.theme_changed_signal.subscribe(self, lambda chosen: self._remember_theme(chosen.name))
        # The terminal is given back as it was, and a run hears of it. After SIGHUP there is no terminal to give back,
        # and Textual would wait for ever to write to it: that ends us at once, as any program.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._go_away)
        self.set_interval(STATUS_S, self._tell_status)
        self.call_after_refresh(self._look_back)

    def on_app_focus(self) -> None:
        """A tab of a browser gets the keys after its page was drawn, when nothing on that was given them."""
        self.call_later(self._focus_first)

    def _focus_first(self) -> None:
        if self.screen.AUTO_FOCUS is None and self.screen.focused is None:
            self.screen.focus_next()

    def _chosen_theme(self) -> str:
        themes, errors = theme.of_user()
        self.wrong += [str(error) for error in errors]
        for each in (*theme.OWN, *themes):
            self.register_theme(each)
        wanted = os.environ.get("TEXTUAL_THEME") or self.settings.app.theme or self.memory.theme
        if wanted in self.available_themes:
            return wanted
        if wanted:
            hints = filter(None, (near(wanted, sorted(self.available_themes)), "ctrl+p lists them"))
            self.wrong.append(f"there is no theme {plain(wanted, 40)!r} ({' '.join(hints)})")
        return theme.DARK.name

    def _remember_theme(self, name: str) -> None:
        if name != self.memory.theme:
            self.memory.theme = name
            memory.keep(self.memory)

    def _bind_keys(self) -> None:
        from infertui.tui.keys import checked

        keymap, errors = checked(self.settings.app.keys)
        self.wrong += errors
        if keymap:
            self.set_keymap(keymap)

    @work(group="look-back")
    async def _look_back(self) -> None:
        """What an app or a run that was killed has left behind is ended, and said."""
        from infertui.pid import alive

        def look(store: Store) -> list[int]:
            if cut := store.cut_off(alive):
                store.mark_interrupted(cut)
            return cut

        for line in await awaited(_swept):
            self.tell("Left behind, and ended", line)
        try:
            if cut := await self.read(look, write=True):
                numbers = ", ".join(str(number) for number in cut)
                self.tell(f"Run {numbers} was cut off", "what it had measured is kept")
        except InferTUIError as error:
            self.tell("The database cannot be used", str(error), "error", 20)

    async def action_back(self) -> None:
        """Out of what is on top of a page; from a page out of the app."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
            return
        await self.action_quit()

    async def action_quit(self) -> None:
        if self.child is None or not self.child.alive:
            self._go_away()
            return
        if self._leaving:
            self.child.stop()
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._leave()

        self.push_screen(Confirm("Stop the run and leave?", "What was measured is kept.", "Stop", "Stay"), answered)

    @work(group="leave", exclusive=True)
    async def _leave(self) -> None:
        """The run ends first, so that what it says last is kept as well."""
        child, self._leaving = self.child, True
        if child is not None and child.alive:
            child.stop()
            self.tell("Stopping", "calls under way may finish; q again leaves at once")
            await child.ended()
        self._go_away()

    def _go_away(self) -> None:
        self.left_running = self.staying()
        self.exit()

    def action_interrupt(self) -> None:
        """Ctrl-C copies what is selected, as everywhere; else it says how to leave."""
        if selected := self.screen.get_selected_text():
            self.copy(selected, "the selection")
        else:
            self.tell("Leave?", "q leaves; x on the live page stops a run")

    # Pages and what lies over them.

    def action_go(self, page: str) -> None:
        self.go(page)

    def go(self, page: str) -> None:
        """Open a page; what lies over it is put away."""
        if page != self.current_mode:
            self.switch_mode(page)
        while len(self.screen_stack) > 1 and not self.screen.is_modal:
            self.pop_screen()

    def show_run(self, run: int) -> None:
        """A run in full, over the page that is open."""
        from infertui.tui.screens.run import RunScreen

        self.push_screen(RunScreen(run))

    def compare(self, runs: Sequence[int], baseline: int | None = None) -> None:
        """Put these side by side."""
        self.comparing = (list(dict.fromkeys(runs)), baseline)
        self.go("compare")
        if callable(shown := getattr(self.screen, "shown_anew", None)):
            shown()

    def action_help(self) -> None:
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    def action_show_help_panel(self) -> None:
        from infertui.tui.help import Help

        if not self.screen.query("HelpPanel"):
            self.screen.mount(Help())

    def action_page_help(self, by: int) -> None:
        for panel in self.screen.query("HelpPanel"):
            panel.scroll_relative(y=by * max(1, panel.size.height - 2), animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the help are those of what lies beneath until it is open."""
        if action in ("hide_help_panel", "page_help"):
            return self._running and bool(self.screen_stack) and bool(self.screen.query("HelpPanel"))
        return True

    def action_command_palette(self) -> None:
        from infertui.tui.help import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        from textual.theme import ThemeProvider

        from infertui.tui.help import Palette

        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def action_maximise(self) -> None:
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.screen.focused is not None and self.screen.focused.allow_maximize:
            self.screen.maximize(self.screen.focused)
        else:
            self.tell("Nothing to maximise", "tab to a chart or a table first")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        for page, title in PAGES.items():
            yield SystemCommand(title, f"Open the page {title}", partial(self.go, page))
        own: dict[str, Binding] = {}  # by what they do: some have two keys
        for binding in screen.active_bindings.values():
            known = binding.binding
            if known.id and known.tooltip and binding.enabled and binding.node is screen:
                own.setdefault(known.action, known)
        if "doctor" not in own:
            yield SystemCommand("Doctor", "What is installed here, and what is missing", self.doctor)
        for action, known in own.items():
            yield SystemCommand(known.description, known.tooltip, partial(self.run_action, action, screen))

    def doctor(self) -> None:
        from infertui.tui.screens.doctor import doctor

        self.push_screen(doctor())

    def _handle_exception(self, error: Exception) -> None:
        """A fault of our own is a line to who uses the app; the whole of it to tests, and to who looks for it."""
        super()._handle_exception(error)
        if not self.is_headless and not os.environ.get("INFERTUI_DEBUG"):
            said = f"infertui: a fault of our own: {type(error).__name__}: {plain(str(error), 600)}"
            self._exit_renderables[:] = [Text(f"{said} (INFERTUI_DEBUG=1 shows where; please report it)")]

    # What screens ask for.

    def tell(self, title: str, message: str, severity: Any = "information", timeout: float = 6) -> None:
        """A toast; its text is never markup."""
        self.notify(plain(message, 600), title=plain(title, 80), severity=severity, timeout=timeout, markup=False)

    def fail(self, title: str, error: InferTUIError) -> None:
        """What went wrong, and the next step."""
        said = plain(error.message, 500) + (f"\n→ {plain(error.hint, 300)}" if error.hint else "")
        self.notify(said, title=title, severity="error", timeout=12, markup=False)

    @work(group="copy")
    async def copy(self, text: str, what: str) -> None:
        from infertui.tui.clipboard import copied

        taken = await awaited(partial(copied, text))
        self.copy_to_clipboard(text)
        size = f"{len(text.splitlines())} lines" if "\n" in text.strip() else plain(text, 60)
        how = size if taken else f"{size} (as far as this terminal takes it)"
        self.tell(f"Copied: {plain(what, 60)}", how, timeout=4)

    async def read(self, look: Callable[[Store], T], write: bool = False) -> T | None:
        """Ask the database, in a thread. None: there is none yet."""
        from infertui.store import Store

        def asked() -> T | None:
            if not self.database.exists():
                return None
            with Store(self.database, write) as store:
                return look(store)

        return await awaited(asked)

    # The run.

    @property
    def running(self) -> bool:
        return self._starting or (self.child is not None and self.child.alive)

    @work(group="run")
    async def start(self, arguments: Sequence[str]) -> None:
        """`infertui run` with these; its events become the story that the live page shows."""
        from infertui.event import Warned
        from infertui.tui.child import Child, why
        from infertui.tui.story import Story

        if self.running:
            self.tell("A run is under way", "x on the live page stops it", "warning")
            return
        self._starting = True  # before anything is waited for: a key may come twice
        child, story = Child(arguments, self.database), Story(self.settings.conditions)
        try:
            await child.start()
        except OSError as error:
            self.tell("The run did not start", str(error), "error")
            return
        finally:
            self._starting = False
        self.child, self.story, self._began = child, story, time.monotonic()
        self.go("live")
        async for event in child.events():
            story.add(event, time.perf_counter_ns())
        code = await child.ended()
        if reason := why(code, child.said):
            story.add(Warned(run=None, message=reason))
        if code < 0:  # it had no time to write down how its run ended
            self._look_back()
        self.under_way = ""
        self._ended(child, story, reason)

    def _ended(self, child: Child, story: Story, reason: str) -> None:
        took_s = time.monotonic() - self._began
        numbers = ", ".join(str(number) for number in story.runs)
        if reason:
            self.tell("The run failed", reason, "error", 15)
        elif child.asked_to_stop:
            self.tell("Stopped", f"run {numbers}: what was measured is kept")
        else:
            self.tell("Done", f"run {numbers}: enter compares, 3 lists all")
        if took_s >= self.settings.app.notify_s and not child.asked_to_stop:
            self.bell()
            from infertui.tui.desktop import notify

            aside(partial(notify, "InferTUI", plain(reason or f"run {numbers} is done", 200)))

    def stop_run(self) -> None:
        """As Ctrl-C: kindly first, at once the second time."""
        if self.child is None or not self.child.alive:
            self.tell("Nothing runs", "r on the launch page starts a run")
            return
        self.child.stop()
        kindly = self.child.asked_to_stop == 1
        self.tell("Stopping", "calls under way may finish; x again stops at once" if kindly else "at once")

    def _tell_status(self) -> None:
        story = self.story
        if story is None or not self.running:
            self.under_way = ""
            return
        done, of = story.progress()
        left = story.left()
        self.under_way = f"● {done}/{of}" + (f" · {left}" if left else "")


def _swept() -> list[str]:
    """Servers of an InferTUI that was killed are ended: which."""
    from infertui.server.process import sweep

    said: list[str] = []
    with contextlib.suppress(InferTUIError, OSError):
        sweep(said.append)
    return said


def run(db: str | None) -> None:
    """Open the app, and print on leaving what it has measured."""
    app = InferTUI(db)
    app.run()
    if app.return_code:
        sys.exit(app.return_code)
    if app.story is not None and app.story.runs:
        numbers = " ".join(str(number) for number in app.story.runs)
        print(f"infertui show {numbers}", file=sys.stderr)
    if app.left_running:
        names = " ".join(app.left_running)
        print(f"still running: {names} (`infertui server stop {names}` ends it)", file=sys.stderr)
