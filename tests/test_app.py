"""The app around its pages: going from one to the other, keys, themes, what it remembers, and its run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.command import CommandList
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import DataTable, HelpPanel, Static

from infertui.event import CallEnded, RunEnded
from infertui.mock import Server
from infertui.store import Store
from infertui.tui import clipboard, desktop, keys, memory, theme
from infertui.tui.app import InferTUI
from infertui.tui.child import Child, why
from infertui.tui.help import Palette
from infertui.tui.page import PAGES, Confirm, Navigation
from infertui.tui.screens.launch import LaunchScreen
from tests.recorded import story

SIZES = [(80, 24), (120, 30)]
Serve = Callable[..., Server]
Flow = Callable[[InferTUI, Pilot[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NO_COLOR", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def driven(db: Path, flow: Flow, size: tuple[int, int] = (80, 24)) -> InferTUI:
    """The app on that database, led through a flow."""
    app = InferTUI(str(db))

    async def main() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await shown(pilot, lambda: isinstance(app.screen, LaunchScreen))
            await flow(app, pilot)

    asyncio.run(main())
    return app


async def shown(pilot: Pilot[None], condition: Callable[[], object], limit_s: float = 20.0) -> None:
    """Wait until it holds."""
    until = asyncio.get_running_loop().time() + limit_s
    while not condition():
        assert asyncio.get_running_loop().time() < until, "it did not come"
        await pilot.pause(0.02)


def toasts(app: InferTUI) -> str:
    return "\n".join(f"{each.title}: {each.message}" for each in app._notifications)


def row(app: InferTUI) -> str:
    return str(app.screen.query_one(Navigation).render())


# Pages.


@pytest.mark.parametrize("size", SIZES)
def test_the_pages_are_one_key_away_from_each_other(tmp_path: Path, size: tuple[int, int]) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        for key, page in (("2", "live"), ("3", "results"), ("4", "compare"), ("1", "launch")):
            await pilot.press(key)
            await shown(pilot, lambda page=page: app.current_mode == page and app.screen.is_current)
            assert "1 Launch" in row(app)
            assert "4 Compare" in row(app)

    driven(tmp_path / "none.db", flow, size)


def test_the_mouse_opens_pages(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        at = row(app).index("3 Results")
        await pilot.click(Navigation, offset=(at + 2, 0))
        await shown(pilot, lambda: app.current_mode == "results")

    driven(tmp_path / "none.db", flow)


def test_a_terminal_too_small_is_told_so_in_a_line(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        for page in ("1", "2", "3", "4"):
            await pilot.press(page)
            await shown(pilot, lambda page=page: app.current_mode == list(PAGES)[int(page) - 1])
            await pilot.resize_terminal(59, 17)
            await shown(pilot, lambda: app.screen.query_one("#too-small").region.height == 17)
            assert str(app.screen.query_one("#too-small", Static).render()) == "InferTUI needs 60x18; this is 59x17"
            await pilot.resize_terminal(60, 18)
            await shown(pilot, lambda: not app.screen.query_one("#too-small").display)

    driven(tmp_path / "none.db", flow)


@pytest.mark.parametrize("size", SIZES)
def test_the_footer_has_seven_keys_at_most(tmp_path: Path, size: tuple[int, int]) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        for page in ("1", "2", "3", "4"):
            await pilot.press(page)
            await pilot.pause(0.2)
            shown_keys = {each.binding.description for each in app.screen.active_bindings.values() if each.binding.show}
            assert 2 <= len(shown_keys) <= 7, shown_keys

    driven(tmp_path / "none.db", flow, size)


def test_help_tells_of_what_is_focused(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await shown(pilot, lambda: bool(app.screen.query(HelpPanel)))
        assert app.screen.focused is not None
        assert any(getattr(each, "HELP", None) for each in app.screen.focused.ancestors_with_self)
        await pilot.press("f1")
        await shown(pilot, lambda: not app.screen.query(HelpPanel))

    driven(tmp_path / "none.db", flow)


def test_help_can_be_read_in_a_small_terminal_and_escape_closes_it(tmp_path: Path) -> None:
    def lines(app: InferTUI) -> list[str]:
        return [strip.text for strip in app.screen._compositor.render_strips()]

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await shown(pilot, lambda: any("Measure this server" in line for line in lines(app)))
        panel = app.screen.query_one(HelpPanel)
        assert panel.size.width >= 40
        assert lines(app)[0].split("▏")[1].strip() == "Servers"  # what has the focus comes first
        told = app.screen.query_one("#help-keys").render_lines(Region(0, 0, 40, 60))
        words = "\n".join(line.text for line in told)
        assert words.index("space") < words.index("Leave the app") < words.index("↓ j")
        await pilot.press("pagedown")
        await shown(pilot, lambda: panel.scroll_offset.y > 0 and any("Leave the app" in line for line in lines(app)))
        focused = app.screen.focused
        await pilot.press("tab")
        await shown(pilot, lambda: any("What is sent to each server" in line for line in lines(app)))
        await pilot.press("escape")
        await shown(pilot, lambda: not app.screen.query(HelpPanel))
        assert app.screen.focused is not focused  # that escape went no further
        await pilot.press("escape")
        await shown(pilot, lambda: app.screen.focused is focused)

    driven(tmp_path / "none.db", flow)


def test_the_palette_is_asked_for_a_page_before_it_has_any(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        for open_it in (app.action_command_palette, app.action_change_theme):
            open_it()
            await pilot.press("pagedown", "pagedown", "pageup", "pagedown")
            assert isinstance(app.screen, Palette)
            await shown(pilot, lambda: app.screen.query_one(CommandList).size.height > 0)
            await pilot.press("pagedown")
            assert app.screen.query_one(CommandList).highlighted
            await pilot.press("escape")
            await shown(pilot, lambda: isinstance(app.screen, LaunchScreen))

    driven(tmp_path / "none.db", flow)


def test_every_command_of_a_page_is_in_the_palette(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        listed = [command.title for command in app.get_system_commands(app.screen)]
        assert [listed.count(title) for title in ("Doctor", "Ask again", "Run", "Forget")] == [1, 1, 1, 0]
        titles = set(listed)
        assert {"Launch", "Live", "Results", "Compare", "Doctor", "Theme", "Quit", "Attach", "Run", "Start"} <= titles
        await pilot.press("ctrl+p")
        await shown(pilot, lambda: isinstance(app.screen, Palette))

    driven(tmp_path / "none.db", flow)


def test_q_goes_back_and_then_leaves(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        app.push_screen(Confirm("Really?", "[bold]x[/]"))
        await shown(pilot, lambda: bool(app.screen.query("#dialog")))
        assert "[bold]x[/]" in str(app.screen.query_one("#dialog", Static).render())
        await pilot.press("q")
        await shown(pilot, lambda: isinstance(app.screen, LaunchScreen))
        await pilot.press("q")
        await shown(pilot, lambda: not app.is_running)

    driven(tmp_path / "none.db", flow)


@pytest.mark.parametrize(
    ("pressed", "answer"), [(["y"], True), (["n"], False), (["enter"], False), (["l", "enter"], True)]
)
def test_a_question_is_answered_by_keys(tmp_path: Path, pressed: list[str], answer: bool) -> None:
    answers: list[bool | None] = []

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        app.push_screen(Confirm("Delete?"), answers.append)
        await shown(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press(*pressed)
        await shown(pilot, lambda: bool(answers))

    driven(tmp_path / "none.db", flow)
    assert answers == [answer]


# Keys, themes, memory.


def test_keys_are_the_users_to_choose(tmp_path: Path, home: Path) -> None:
    (home / "settings.toml").write_text(
        '[app.keys]\n"page.results" = "f9"\n"live.stpo" = "x"\n"app.quit" = "hyperspace"\n'
    )

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        await shown(pilot, lambda: "live.stpo" in toasts(app) and "hyperspace" in toasts(app))
        assert "did you mean live.stop?" in toasts(app)
        await pilot.press("3")
        assert app.current_mode == "launch"
        await pilot.press("f9")
        await shown(pilot, lambda: app.current_mode == "results")

    driven(tmp_path / "none.db", flow)


def test_every_key_has_a_name_of_its_own_and_a_sentence() -> None:
    known = keys.all_of()
    assert len({key.id for key in known}) == len(known) > 50
    assert all(key.does and key.keys and key.id.count(".") == 1 for key in known)
    chosen = {"app.help": "f2,ctrl+h", "page.live": "!", "live.stop": "space", "live.pause": "x"}
    assert keys.checked(chosen) == (chosen, [])
    assert {key.id: key.keys for key in keys.all_of(chosen)}["live.stop"] == "space"


@pytest.mark.parametrize(
    ("wanted", "refused", "said"),
    [
        ({"launch.run": "s"}, {"launch.run"}, "launch.run: s is launch.start's key"),
        ({"launch.copy": "z", "launch.run": "z"}, {"launch.run"}, "launch.run: z is launch.copy's key"),
        ({"launch.run": "s", "launch.start": "r"}, set(), ""),  # each other's
        ({"launch.run": "f9", "results.mark": "f9"}, set(), ""),  # never at the same time
        ({"live.stop": "?"}, {"live.stop"}, "live.stop: ? is app.help's key"),
        ({"app.quit": "r"}, {"app.quit"}, "app.quit: r is launch.run's key"),
        ({"results.open": "space"}, {"results.open"}, "results.open: space is results.mark's key"),
        ({"results.sort": "shift+s"}, {"results.sort"}, "results.sort: shift+s is results.turn's key"),
        ({"run.tag": "]"}, {"run.tag"}, "run.tag: ] is section.next's key"),
        ({"calls.curl": "ctrl+x, t"}, {"calls.curl"}, "calls.curl: t is run.tag's key"),
        ({"confirm.yes": "q"}, {"confirm.yes"}, "confirm.yes: q is confirm.no's key"),
        ({"confirm.yes": "m"}, set(), ""),  # a dialog leaves nothing to the app
    ],
)
def test_a_key_that_is_taken_is_refused(wanted: dict[str, str], refused: set[str], said: str) -> None:
    usable, errors = keys.checked(wanted)
    assert set(usable) == set(wanted) - refused
    assert errors == [f"app.keys.{said} as well: give that another"] * bool(said)


def test_themes_are_the_users_and_broken_ones_are_told(tmp_path: Path, home: Path) -> None:
    (home / "settings.toml").write_text('[app]\ntheme = "dusk"\n')
    (home / "themes").mkdir()
    (home / "themes" / "dusk.toml").write_text('primary = "#aa5500"\ndark = false\n')
    (home / "themes" / "broken.toml").write_text('primary = "not a colour"\n')

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        assert app.theme == "dusk"
        await shown(pilot, lambda: "no colour: 'not a colour'" in toasts(app))

    driven(tmp_path / "none.db", flow)


def test_the_theme_that_was_chosen_last_is_remembered(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        assert app.theme == theme.DARK.name
        app.theme = theme.LIGHT.name
        await shown(pilot, lambda: memory.recalled().theme == theme.LIGHT.name)

    async def again(app: InferTUI, pilot: Pilot[None]) -> None:
        assert app.theme == theme.LIGHT.name

    driven(tmp_path / "none.db", flow)
    driven(tmp_path / "none.db", again)


def test_a_theme_that_is_not_there_is_told(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTUAL_THEME", "no-such")

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        assert app.theme == theme.DARK.name
        await shown(pilot, lambda: "there is no theme 'no-such' (ctrl+p lists them)" in toasts(app))

    driven(tmp_path / "none.db", flow)


def test_broken_settings_and_memory_do_not_keep_the_app_from_opening(tmp_path: Path, home: Path) -> None:
    (home / "settings.toml").write_text("app = 3\n")
    (home / "state").mkdir()
    (home / "state" / "app.json").write_text("{")

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        await shown(pilot, lambda: "settings.toml:1" in toasts(app))
        assert app.screen.query(DataTable)

    driven(tmp_path / "none.db", flow)


def test_without_colours_it_is_drawn_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        assert app.no_color
        for page in ("2", "3", "4", "1"):
            await pilot.press(page)
            await pilot.pause(0.1)

    driven(tmp_path / "none.db", flow)


# Its run.


def test_the_run_of_the_app_is_told_as_it_goes_and_can_be_stopped(tmp_path: Path, served: Serve) -> None:
    url = served(tokens=100, gap_ms=20).address

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        app.start(["--attach", url, "--wait", "0", "-n", "50"])
        await shown(pilot, lambda: app.story is not None and bool(app.story.runs))
        assert app.current_mode == "live"
        await shown(pilot, lambda: "/50" in row(app))
        app.start(["--attach", url])
        await shown(pilot, lambda: "A run is under way" in toasts(app))
        await pilot.press("q")
        await shown(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("n", "x")
        await shown(pilot, lambda: not app.running)
        await shown(pilot, lambda: "Stopped" in toasts(app))
        assert app.under_way == ""

    app = driven(tmp_path / "results.db", flow)
    assert app.story is not None
    assert app.story.over
    (course,) = app.story.runs.values()
    assert course.status == "stopped"


def test_leaving_stops_the_run_and_keeps_what_it_measured(tmp_path: Path, served: Serve) -> None:
    url = served(tokens=50, gap_ms=10).address

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        app.start(["--attach", url, "--wait", "0", "-n", "50"])
        await shown(pilot, lambda: app.story is not None and app.story.progress()[0] >= 2)
        await pilot.press("q")
        await shown(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await shown(pilot, lambda: not app.is_running)

    app = driven(tmp_path / "results.db", flow)
    assert app.child is not None
    assert not app.child.alive
    assert app.story is not None
    assert next(iter(app.story.runs.values())).status == "stopped"


def test_a_run_that_cannot_start_says_why(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        app.start(["no-such-profile"])
        await shown(pilot, lambda: "no profile `no-such-profile`" in toasts(app))

    driven(tmp_path / "results.db", flow)


def test_a_run_that_is_killed_is_told_and_what_came_stays(tmp_path: Path, served: Serve) -> None:
    url = served(tokens=50, gap_ms=10).address

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        app.start(["--attach", url, "--wait", "0", "-n", "50"])
        await shown(pilot, lambda: app.story is not None and app.story.progress()[0] >= 2)
        assert app.child is not None
        os.kill(app.child.pid, signal.SIGKILL)
        await shown(pilot, lambda: "SIGKILL" in toasts(app) and "was cut off" in toasts(app))
        assert app.story is not None
        assert app.story.progress()[0] >= 2

    driven(tmp_path / "results.db", flow)


def test_a_child_tells_events_and_its_exit(tmp_path: Path, served: Serve) -> None:
    child = Child(["--attach", served(tokens=5).address, "--wait", "0", "-n", "2"], tmp_path / "results.db")

    async def main() -> tuple[list[object], int]:
        await child.start()
        told = [event async for event in child.events()]
        return told, await child.ended()

    told, code = asyncio.run(main())
    assert code == 0
    assert sum(isinstance(each, CallEnded) for each in told) == 3  # one to warm up
    assert isinstance(told[-1], RunEnded)
    assert child.shown.startswith("infertui run --attach http://")


def test_how_a_run_ended_in_a_line() -> None:
    assert why(0, ["infertui: x"]) == ""
    assert why(130, []) == ""
    assert why(-9, []) == "the run was killed (SIGKILL): what it had measured is kept"
    assert why(3, ["note", "infertui: nobody answers (start it)"]) == "nobody answers (start it)"
    assert why(1, []) == "the run ended with code 1"


# The clipboard and the desktop.


def program(folder: Path, name: str, body: str) -> None:
    place = folder / name
    place.write_text(f"#!{sys.executable}\n{body}\n")
    place.chmod(place.stat().st_mode | stat.S_IXUSR)


def test_text_is_copied_by_the_systems_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "xclip", "import sys; sys.exit(1)")
    program(tmp_path, "xsel", f"import sys; open({str(tmp_path / 'copied')!r}, 'w').write(sys.stdin.read())")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert clipboard.copied("| a | b |\n")
    assert (tmp_path / "copied").read_text() == "| a | b |\n"
    monkeypatch.delenv("DISPLAY")
    assert clipboard.programs() == []
    assert not clipboard.copied("x")


def test_the_desktop_is_told_without_its_words_being_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = f"import sys, json; open({str(tmp_path / 'told')!r}, 'w').write(json.dumps(sys.argv[1:]))"
    program(tmp_path, "notify-send", written)
    program(tmp_path, "osascript", written)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    desktop.notify("InferTUI", '--help "x"')
    assert json.loads((tmp_path / "told").read_text())[-2:] == ["InferTUI", '--help "x"']
    monkeypatch.setattr(sys, "platform", "darwin")
    desktop.notify("InferTUI", 'a" & do shell script "rm')
    assert json.loads((tmp_path / "told").read_text()) == [
        "-e",
        'display notification "a & do shell script rm" with title "InferTUI"',
    ]


def test_a_recorded_story_can_be_shown_without_a_run(tmp_path: Path) -> None:
    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        app.story = story()
        await pilot.press("2")
        await pilot.pause(0.5)
        assert "embedded-llama" in app.export_screenshot()

    driven(tmp_path / "none.db", flow, (120, 30))


def test_a_key_that_comes_twice_starts_one_run(tmp_path: Path, served: Serve) -> None:
    url = served(tokens=5).address

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        for _ in range(2):
            app.start(["--attach", url, "--wait", "0", "-n", "2"])
        await shown(pilot, lambda: app.story is not None and app.story.over and not app.running)
        assert "A run is under way" in toasts(app)

    driven(tmp_path / "results.db", flow)
    with Store(tmp_path / "results.db") as store:
        assert len(store.runs()) == 1


def test_what_was_typed_wrong_the_last_time_does_not_keep_it_from_opening(tmp_path: Path) -> None:
    typed = {"more": "it's", "requests": "many"}
    memory.keep(memory.Memory(parameters={"single": typed}, models={"llama-server": "m" * 4000, "mlx-lm": "~nobody/x"}))

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        await shown(
            pilot, lambda: "a whole number is expected" in str(app.screen.query_one("#launch-command").render())
        )
        await pilot.press("y")
        await shown(pilot, lambda: "Nothing to copy yet" in toasts(app))

    driven(tmp_path / "none.db", flow)


def test_leaving_twice_leaves_at_once(tmp_path: Path, served: Serve) -> None:
    url = served(tokens=400, gap_ms=50).address

    async def flow(app: InferTUI, pilot: Pilot[None]) -> None:
        app.start(["--attach", url, "--wait", "0"])
        await shown(pilot, lambda: "/12" in row(app))
        await pilot.press("q")
        await shown(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await shown(pilot, lambda: app.child is not None and app.child.asked_to_stop == 1)
        await pilot.press("q")
        await shown(pilot, lambda: app.child is not None and app.child.asked_to_stop == 2)
        await shown(pilot, lambda: not app.is_running)

    driven(tmp_path / "results.db", flow)
