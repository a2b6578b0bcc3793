"""The launch page: what is marked and typed is what is run, and servers are told, attached to, started and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Input, Static

from infertui import profile
from infertui.errors import ServerError, UsageError
from infertui.mock import Server
from infertui.profile import Profile
from infertui.scenario.parameter import PARAMETERS
from infertui.server import record, status
from infertui.server.state import State
from infertui.server.status import Status
from infertui.settings import Settings
from infertui.store import RunRow
from infertui.tui import memory
from infertui.tui.app import InferTUI
from infertui.tui.memory import Memory
from infertui.tui.page import Confirm
from infertui.tui.screens import attach, serving
from infertui.tui.screens.errand import Errand
from infertui.tui.screens.forecast import effort, expected, history
from infertui.tui.screens.form import Field, Form, Number, arguments, wrong
from infertui.tui.screens.launch import FIRST, RUNNING, LaunchScreen
from infertui.tui.screens.log import LogReader, Tape
from infertui.tui.screens.servers import NONE_INSTALLED, Roster, Row, cells, columns, detail, sheet
from infertui.tui.screens.serving import ServerPane, Servers
from infertui.tui.widgets import Ask, Reader, Table

SIZES = [(80, 24), (120, 30)]
PALETTE = {name: name for name in ("dim", "success", "warning", "error", "primary")}
USUAL = ["embedded-llama", "embedded-mlx", "--scenario", "single"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home"
    (place / "profiles").mkdir(parents=True)
    monkeypatch.setenv("INFERTUI_HOME", str(place))
    monkeypatch.delenv("INFERTUI_DB", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return place


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> dict[str, Status]:
    """No server is asked: they are what this says, else stopped."""
    told: dict[str, Status] = {}

    def statuses(profiles: Sequence[Profile], records: Sequence[Any], **options: Any) -> list[Status]:
        assert options == {"prompted": False}
        usual = {each.name: Status(profile=each.name, kind=each.kind, state=State.STOPPED) for each in profiles}
        return list({**usual, **told}.values())

    monkeypatch.setattr(status, "statuses", statuses)
    return told


class App(InferTUI):
    """Notes what it is asked to run."""

    def __init__(self, db: Path, runs: bool = False) -> None:
        super().__init__(str(db))
        self.asked: list[list[str]] = []
        self.toasts: list[tuple[str, str]] = []
        self.runs = runs

    @property
    def running(self) -> bool:
        return self.runs

    def start(self, arguments: Sequence[str]) -> Any:
        self.asked.append(list(arguments))

    def tell(self, title: str, message: str, severity: Any = "information", timeout: float = 6) -> None:
        self.toasts.append((title, message))


def launch(
    tmp_path: Path,
    steps: Callable[[App, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
    runs: bool = False,
) -> App:
    """The app with its first page, while these steps are taken."""
    app = App(tmp_path / "results.db", runs)

    async def play() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(play())
    return app


async def until(pilot: Pilot[None], what: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        await pilot.pause(0.02)


def text_of(app: App, where: str) -> str:
    return str(app.screen.query_one(where, Static).render())


def table_of(app: App) -> dict[str, list[str]]:
    """The servers' cells as they are shown, by their rows."""
    table = app.screen.query_one(Servers)
    return {key: [cell.plain for cell in table.get_row(key)] for key in table.keys}


def page(app: App) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


def roster(app: App) -> Roster:
    return app.screen.query_one(ServerPane).roster


async def typed(pilot: Pilot[None], text: str) -> None:
    for char in text:
        await pilot.press({" ": "space", "-": "minus", ".": "full_stop", ":": "colon"}.get(char, char))


# The first start.


@pytest.mark.parametrize("size", SIZES)
def test_first_start_is_one_key_from_a_comparison(
    size: tuple[int, int], tmp_path: Path, home: Path, still: dict[str, Status]
) -> None:
    async def steps(app: App, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: FIRST in page(app))
        shown = table_of(app)
        assert [key for key, row in shown.items() if row[0] == "●"] == ["embedded-llama", "embedded-mlx"]
        await until(pilot, lambda: "12 calls a server, after 1" in page(app))
        assert "$ infertui run embedded-llama embedded-mlx --scenario single" in page(app)
        await pilot.press("r")
        assert app.asked == [USUAL]

    launch(tmp_path, steps, size)
    assert memory.recalled().servers == ["embedded-llama", "embedded-mlx"]


def test_rows_are_there_before_any_server_was_asked(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(ServerPane, "look", lambda pane, every=False: asked.append(""))

    async def steps(app: App, pilot: Pilot[None]) -> None:
        assert asked
        assert {row[2] for row in table_of(app).values()} == {"…"}
        await pilot.press("r")

    assert launch(tmp_path, steps).asked == [USUAL]


def test_without_an_engine_the_command_that_adds_two_is_said(
    tmp_path: Path, home: Path, still: dict[str, Status]
) -> None:
    for each in profile.available(("llama-server", "mlx-lm", "llama-cpp-python", "openai"))[0]:
        still[each.name] = Status(
            profile=each.name, kind=each.kind, state=State.NOT_INSTALLED, reason="pip install 'infertui[x]'"
        )

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: text_of(app, "#launch-hint") == NONE_INSTALLED)
        assert "Not installed: pip install 'infertui[x]'" in page(app)
        assert {row[2] for row in table_of(app).values()} == {"not installed"}

    launch(tmp_path, steps)


def test_a_folder_without_profiles_says_what_can_be_done(
    tmp_path: Path, home: Path, still: dict[str, Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "folders", lambda: [home / "profiles"])

    async def steps(app: App, pilot: Pilot[None]) -> None:
        assert {row[2] for row in table_of(app).values()} == {"broken"}  # those that the settings name
        assert "no profile `embedded-llama`" in text_of(app, "#servers-detail")
        roster(app).settings = Settings(servers=())
        await pilot.press("f5")
        await until(pilot, lambda: "No profile of a server is here: a attaches to one that runs" in page(app))
        await pilot.press("r", "s", "x", "L", "enter", "M", "space", "backspace")
        assert app.toasts[-1] == ("Not yet", "No server is marked: space marks the one under the cursor")

    assert launch(tmp_path, steps).asked == []


# What is chosen, and what comes of it.


@pytest.mark.parametrize("size", SIZES)
def test_marks_scenario_and_parameters_make_the_command(
    size: tuple[int, int], tmp_path: Path, home: Path, still: dict[str, Status]
) -> None:
    wanted = [
        "embedded-mlx",
        "--scenario",
        "concurrent",
        "--concurrency",
        "8",
        "--kind",
        "reasoning",
        "--kind",
        "coding",
    ]
    wanted += ["--no-alone", "--cache", "warm", "--label", "a b", "--wait", "0"]

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("space", "tab", "j", "tab")
        await typed(pilot, "8")
        await pilot.press("down", "down", "down", "enter")  # past calls, rounds and tokens
        assert isinstance(app.focused, Input) is False
        await pilot.press("right", "space", "l", "enter")  # reasoning, coding
        await pilot.press("down", "down", "right", "space")  # past the warm-up: alone
        await pilot.press("down", "h", "space", "down", "down")
        await typed(pilot, "a b")
        await pilot.press("enter")
        await typed(pilot, "--wait 0")
        await pilot.press("escape")
        assert isinstance(app.focused, Servers)
        await pilot.press("r")

    assert launch(tmp_path, steps, size).asked == [wanted]

    async def again(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("r")

    assert launch(tmp_path, again, size).asked == [wanted]


def test_parameters_belong_to_their_scenario(tmp_path: Path, home: Path, still: dict[str, Status]) -> None:
    async def steps(app: App, pilot: Pilot[None]) -> None:
        assert not app.screen.query_one("#field-concurrency", Field).display
        await pilot.press("tab", "tab", "3", "escape", "tab", "j", "tab", "5", "escape")
        assert text_of(app, "#launch-command").endswith("--scenario concurrent --concurrency 5")
        await pilot.press("tab", "k", "escape")
        assert text_of(app, "#launch-command").endswith("--scenario single --requests 3")
        await pilot.press("y")
        await until(pilot, lambda: bool(app.toasts))
        assert app.toasts[-1][0] == "Copied: the command"

    launch(tmp_path, steps)
    assert memory.recalled().parameters == {"single": {"requests": "3"}, "concurrent": {"concurrency": "5"}}


@pytest.mark.parametrize("size", SIZES)
def test_a_wrong_number_says_what_is_allowed_and_nothing_runs(
    size: tuple[int, int], tmp_path: Path, home: Path, still: dict[str, Status]
) -> None:
    told = "Calls a round: it takes 1 to 1,000,000"

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("tab", "tab", "0")
        assert text_of(app, "#form-help") == told
        assert text_of(app, "#launch-command") == told
        assert app.screen.query_one("#field-requests Input").has_class("-wrong")
        await pilot.press("escape", "r")
        assert app.toasts == [("Not yet", told)]
        await pilot.press("tab", "tab", "backspace", "7")
        assert text_of(app, "#form-help").startswith("Calls a round. 1 to 1,000,000; default: 12 in single")
        assert not app.screen.query_one("#field-requests Input").has_class("-wrong")
        await pilot.press("escape", "r")

    assert launch(tmp_path, steps, size).asked == [[*USUAL, "--requests", "7"]]


def test_a_letter_changes_no_number_and_is_a_key_of_the_page(
    tmp_path: Path, home: Path, still: dict[str, Status]
) -> None:
    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("tab", "tab", "2", "4", "enter", "3", "up")
        field = app.screen.query_one("#field-requests", Field)
        assert isinstance(app.focused, Number)
        assert app.focused is field.holder
        assert field.holder.selection.is_empty
        await pilot.press("w", "minus", "4")
        assert field.text == "244"  # after what was there, and digits alone
        await pilot.press("backspace", "r")
        await until(pilot, lambda: bool(app.asked))
        assert field.text == "24"

    assert launch(tmp_path, steps).asked == [[*USUAL, "--requests", "24", "--rounds", "3"]]


def test_only_a_seed_is_less_than_nothing(tmp_path: Path, home: Path, still: dict[str, Status]) -> None:
    async def steps(app: App, pilot: Pilot[None]) -> None:
        for name, text in (("seed", "-5"), ("warmup", "5")):
            field = app.screen.query_one(f"#field-{name}", Field)
            field.holder.focus()
            await pilot.press("minus", "5", "r" if name == "seed" else "z")
            assert field.text == text

    launch(tmp_path, steps)


def test_a_label_takes_letters(tmp_path: Path, home: Path, still: dict[str, Status]) -> None:
    async def steps(app: App, pilot: Pilot[None]) -> None:
        field = app.screen.query_one("#field-label", Field)
        field.holder.focus()
        await typed(pilot, "run 1")
        await pilot.press("tab", "shift+tab", "0")
        assert field.text == "run 10"

    assert launch(tmp_path, steps).asked == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("requests", "", ""),
        ("requests", " 12 ", ""),
        ("requests", "1e3", "a whole number is expected: it takes 1 to 1,000,000"),
        ("requests", "١٢", "a whole number is expected: it takes 1 to 1,000,000"),
        ("requests", "9" * 5000, "it takes 1 to 1,000,000"),
        ("warmup", "0", ""),
        ("warmup", "-1", "it takes 0 to 10,000"),
        ("seed", "-5", ""),
        ("cache", "warm", ""),
        ("label", "last", "`last` means the newest run: use another name"),
        ("label", "12", "a label has a letter in it: runs are numbered"),
        ("more", "--label 'x", "a quotation has no end"),
        ("more", "--wait 0", ""),
    ],
)
def test_what_fields_take(name: str, text: str, said: str) -> None:
    assert wrong(name, text) == said


def test_fields_as_flags() -> None:
    assert arguments({}) == []
    assert arguments({"alone": "yes", "seed": " -5 ", "max_tokens": " "}) == ["--alone", "--seed", "-5"]
    assert arguments({"kinds": "router coding"}) == ["--kind", "router", "--kind", "coding"]
    assert arguments({"more": "--api chat --target 'ttft_ms<5'"}) == ["--api", "chat", "--target", "ttft_ms<5"]


def test_models_are_named_for_each_server(tmp_path: Path, home: Path, still: dict[str, Status]) -> None:
    model = tmp_path / "some model.gguf"
    model.write_bytes(b"GGUF")

    async def steps(app: App, pilot: Pilot[None]) -> None:
        app.screen.query_one(Servers).choose("llama-server")
        await pilot.press("space")
        told = "llama-server: no model is named, M names one"
        assert text_of(app, "#launch-command") == told
        await pilot.press("r")
        assert app.toasts == [("Not yet", told)]
        await pilot.press("M")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        answer = app.screen.query_one(Input)
        answer.value = str(tmp_path)
        await pilot.press("enter")
        assert "is a folder (this server reads GGUF files)" in text_of(app, "#answer-note")
        answer.value = f" {model} "
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        await until(pilot, lambda: table_of(app)["llama-server"][3] == "some model.gguf")
        await pilot.press("r")

    named = ["--model", "embedded", "--model", "embedded", "--model", str(model)]
    servers = ["embedded-llama", "embedded-mlx", "llama-server"]
    assert launch(tmp_path, steps).asked == [[*servers, *named, "--scenario", "single"]]
    assert memory.recalled().models == {"llama-server": str(model)}


def test_one_model_is_named_once(home: Path) -> None:
    chosen = Roster(Settings(), Memory(servers=["mlx-lm"], scenario="single", models={"mlx-lm": "org/name"}))
    chosen.read()
    chosen.arrange()
    assert chosen.arguments() == ["mlx-lm", "--model", "org/name"]
    assert chosen.problem() == ""


def test_a_model_that_is_also_a_file_here_is_left_to_its_profile(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "embedded").mkdir()
    chosen = Roster(Settings(), Memory(servers=["embedded-llama", "mlx-lm"], models={"mlx-lm": "org/name"}))
    chosen.read()
    chosen.arrange()
    assert chosen.arguments() == ["embedded-llama", "mlx-lm", "--model", "", "--model", "org/name"]


def test_a_profile_of_the_settings_that_is_a_file_elsewhere(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "far" / "mine.toml"
    place.parent.mkdir()
    place.write_text('kind = "llama-server"\nmodel = "embedded"\n')
    chosen = Roster(Settings(servers=(str(place),)), Memory())
    chosen.read()
    chosen.arrange()
    assert chosen.arguments() == [str(place)]
    assert chosen.rows[str(place)].name == "mine"


# Texts from elsewhere.


@pytest.mark.parametrize("size", SIZES)
def test_a_broken_profile_is_a_row_with_its_reason(
    size: tuple[int, int], tmp_path: Path, home: Path, still: dict[str, Status]
) -> None:
    (home / "profiles" / "mine.toml").write_text('kind = "llama-server"\nslotz = 3\n')

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table_of(app)["embedded-llama"][2] == "stopped")
        await pilot.press("G")
        (key,) = (key for key, row in table_of(app).items() if row[2] == "broken")
        assert table_of(app)[key][:3] == ["!", "mine", "broken"]
        assert text_of(app, "#servers-detail").startswith("unknown key `slotz` (did you mean slots?) · ")
        assert "mine.toml:2" in text_of(app, "#servers-detail").replace("\n", "")
        await pilot.press("space", "r")
        (home / "profiles" / "mine.toml").write_text('kind = "llama-server"\nmodel = "embedded"\n')
        await pilot.press("f5")
        await until(pilot, lambda: table_of(app).get("mine", [""] * 3)[2] == "stopped")

    assert launch(tmp_path, steps, size).asked == [USUAL]


@pytest.mark.parametrize("size", SIZES)
def test_what_others_wrote_is_never_markup(
    size: tuple[int, int], tmp_path: Path, home: Path, still: dict[str, Status]
) -> None:
    hostile = "[bold]x[/]\x1b[31m"
    keys = {"kind": "llama-server", "model": f"/{hostile}", "about": hostile, "flags": [hostile]}
    (home / "profiles" / "mine.toml").write_text("\n".join(f"{key} = {json.dumps(each)}" for key, each in keys.items()))
    still["mine"] = Status(
        profile="mine", kind="llama-server", state=State.ERROR, reason=hostile, model=hostile, address=hostile
    )

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table_of(app)["mine"][2] == "error")
        app.screen.query_one(Servers).choose("mine")
        await pilot.pause()
        assert "[bold]x[/]␛[31m" in text_of(app, "#servers-detail")
        assert table_of(app)["mine"][3].startswith("[bold]")
        assert "\x1b" not in page(app)
        await pilot.press("enter")
        await until(pilot, lambda: "[bold]x[/]␛[31m" in str(app.screen.query_one("#reader-text", Static).render()))
        await pilot.press("escape", "a")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = hostile
        await pilot.press("enter")
        assert "this is no address" in text_of(app, "#answer-note")

    launch(tmp_path, steps, size)


# What is told of servers.


def test_states_in_words(home: Path) -> None:
    told = Roster(Settings(), Memory(servers=["embedded-llama"], addresses=["http://127.0.0.1:9"]))
    told.read()
    told.arrange()
    row, there = told.rows["embedded-llama"], told.rows["http://127.0.0.1:9"]
    assert (row.word, row.startable, row.ours) == (("…", "dim"), True, None)
    ready = Status(
        profile="embedded-llama", kind="llama-server", state=State.READY, owner="run", owner_pid=7, since=0.0, pid=3
    )
    stays = Status(profile="embedded-llama", kind="llama-server", state=State.LOADING, owner="nobody")
    lost = Status(profile="gone", kind="mlx-lm", state=State.READY, owner="nobody", address="http://127.0.0.1:4")
    asked = told.asked(True, [])
    assert [each.name for each in asked][-1] == "http://127.0.0.1:9"
    other = Status(profile="http://127.0.0.1:9", kind="openai", state=State.READY, owner="not ours")
    told.learn(asked, [ready, stays, lost, other])
    assert row.status is stays
    assert row.ours is ready
    assert (row.word, row.startable) == (("loading", "warning"), False)
    assert there.word == ("attached", "success")
    assert told.rows["orphan gone"].word == ("ready", "success")
    row.statuses = [ready]
    assert "2 of them run" not in detail(row, PALETTE).plain
    assert "belongs to the run of pid 7" in detail(row, PALETTE).plain
    assert "x stops it" in detail(told.rows["orphan gone"], PALETTE).plain
    assert "the run of pid 7" in sheet(row)
    quiet = told.asked(False, [])  # what cannot change by itself is not asked again
    assert [each.name for each in quiet] == [
        *(name for name in told.rows if name not in ("orphan gone",)),
    ]
    told.learn(asked, [Status(profile=each.name, kind=each.kind, state=State.STOPPED) for each in asked])
    assert [each.name for each in told.asked(False, [])] == ["http://127.0.0.1:9"]
    assert "orphan gone" not in told.rows


def test_what_is_wrong_comes_before_where_and_of_a_long_path_only_the_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = home / "profiles" / "mine.toml"
    model = f"/{'models/' * 12}qwen3.gguf"
    row = Row("mine", "mine", "profile", Profile(kind="llama-server", model=model, file=str(place)))
    row.statuses = [Status(profile="mine", kind="llama-server", state=State.STOPPED)]
    row.said = f"{place}:2: model: there is no file '{model}' (give the path of a GGUF file)"
    told = detail(row, PALETTE).plain.splitlines()
    assert told[0].startswith("model: there is no file '…/models/")
    assert f"/qwen3.gguf' (give the path of a GGUF file) · {place}:2" in told[0]
    row.said = f"nothing answers at http://127.0.0.1:8080/{'v1/' * 20}"
    assert detail(row, PALETTE).plain.startswith(row.said)
    monkeypatch.chdir(home)
    assert detail(row, PALETTE).plain.endswith(f"llama-server · profiles{os.sep}mine.toml")


def test_columns_fit_their_place(home: Path) -> None:
    told = Roster(Settings(), Memory(addresses=["http://a-very-long-name-of-a-host.example.org:8080/path"]))
    told.read()
    told.arrange()
    rows = list(told.rows.values())
    for width in (57, 77, 117):
        shown = columns(rows, width)
        assert sum((column.width or 0) + 2 for column in shown) <= width
        assert all(len(cells(row, False, shown, PALETTE)) == len(shown) for row in rows)
    assert [column.key for column in columns(rows, 77)] == ["mark", "name", "state", "model", "slots", "address"]


# Attaching.


@pytest.mark.parametrize("size", SIZES)
def test_attach_to_a_server_that_runs(
    size: tuple[int, int], tmp_path: Path, home: Path, served: Callable[..., Server]
) -> None:
    url = f"http://127.0.0.1:{served().port}"

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("space", "j", "space", "a")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = f"{url.removeprefix('http://')}/v1"
        await pilot.press("enter")
        await until(
            pilot, lambda: isinstance(app.screen, LaunchScreen) and table_of(app).get(url, [""] * 3)[2] == "attached"
        )
        assert table_of(app)[url][:2] == ["●", url.removeprefix("http://")]
        await pilot.press("r", "s", "x")
        assert app.asked == [["--attach", url, "--scenario", "single"]]
        await pilot.press("backspace")
        assert url not in table_of(app)
        assert app.toasts[-1][0] == "Forgotten"

    launch(tmp_path, steps, size)
    assert memory.recalled().addresses == []


def test_nothing_is_attached_where_no_server_is(
    tmp_path: Path, home: Path, still: dict[str, Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[str] = []
    monkeypatch.setattr(App, "fail", lambda app, title, error: failures.append(f"{title}: {error.message}"))

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await typed(pilot, "127.0.0.1:9")
        await pilot.press("enter")
        await until(pilot, lambda: bool(failures))
        assert failures == ["Not attached: no server answers at http://127.0.0.1:9"]
        assert text_of(app, "#launch-hint") == FIRST

    launch(tmp_path, steps)
    assert memory.recalled().addresses == []


def test_which_of_several_models_is_asked(
    tmp_path: Path, home: Path, still: dict[str, Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "offered", lambda url: ["one", "[bold]two", "three"])
    url = "http://10.0.0.1:8080"

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("space", "j", "space", "a")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = url
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, attach.Pick))
        await pilot.pause()
        assert "[bold]two" in page(app)
        await pilot.press("j", "enter")
        await until(pilot, lambda: url in roster(app).rows and app.screen.query_one(Servers).chosen == url)
        await pilot.press("r", "M")
        await until(pilot, lambda: isinstance(app.screen, attach.Pick))
        assert app.screen.query_one(Table).chosen == "1"
        await pilot.press("escape")

    told = ["--attach", url, "--model", "[bold]two", "--scenario", "single"]
    assert launch(tmp_path, steps).asked == [told]


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        (" https://host.example/api/v1/ ", "https://host.example/api"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_as_it_is_typed(typed: str, url: str) -> None:
    assert attach.address(typed) == url
    assert attach.wrong(typed) == ""


@pytest.mark.parametrize("typed", ["ftp://host", "http://", "host:0", "host:port", "a b", "http://h/?x=1", "u:p@host"])
def test_what_is_no_address(typed: str) -> None:
    with pytest.raises(UsageError):
        attach.address(typed)
    assert attach.wrong(typed)


# Runs.


def test_while_a_run_measures_nobody_is_asked_and_r_shows_it(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "awaited", lambda work: pytest.fail("a server was asked"))
    went: list[str] = []
    monkeypatch.setattr(App, "go", lambda app, page: went.append(page))

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("f5")
        assert text_of(app, "#launch-hint") == RUNNING
        bindings = app.screen.active_bindings
        assert (bindings["r"].enabled, bindings["r"].binding.action) == (False, "run")
        await pilot.press("r")
        assert went == ["live"]
        assert app.toasts[-1][0] == "A run is under way"

    assert launch(tmp_path, steps, runs=True).asked == []


def test_how_much_is_asked_of_a_server() -> None:
    assert effort("single", {}) == "12 calls a server, after 1 to warm up"
    assert effort("single", {"requests": "1", "warmup": "0"}) == "1 call a server"
    assert effort("concurrent", {"rounds": "3", "requests": "1000"}) == (
        "3,000 calls a server in 3 rounds, after 4 alone and 4 to warm up"
    )
    assert effort("concurrent", {"alone": "no", "warmup": "0"}) == "4 calls a server"


def run_of(experiment: int, server: str, seconds: int, shown: str = "", **other: Any) -> RunRow:
    columns = {"scenario": "single", "status": "done", "setup": '{"rounds": 1, "kinds": []}', **other}
    return RunRow(
        id=experiment,
        experiment_id=experiment,
        server_id=1,
        machine_id=1,
        model="m",
        started_at="2026-11-21T10:00:00+00:00",
        ended_at=f"2026-11-21T10:00:{seconds}+00:00",
        server=shown or server,
        facts=json.dumps({"profile": {"name": server}}),
        **columns,
    )


def test_how_long_it_took_the_last_time() -> None:
    many = '{"rounds": 3, "kinds": []}'
    rows = [
        run_of(9, "a", 50, setup=many),
        run_of(8, "a", 40, status="failed"),
        run_of(7, "a", 39, "a (CPU stand-in)"),
        run_of(7, "b", 40),
        run_of(6, "c", 10),
    ]
    past = history(rows)
    assert [each.servers for each in past] == [{"a"}, {"a", "b"}, {"c"}]
    assert expected(past, "single", ["a", "b"], {}) == "about 40 s for both, as last time"
    assert expected(past, "single", ["a", "b", "c"], {}) == "about 50 s for all 3, going by earlier runs"
    assert expected(past, "single", ["a"], {}) == "about 20 s, going by earlier runs"
    assert expected(past, "single", ["a"], {"rounds": "3"}) == "about 50 s, as last time"
    assert expected(past, "single", ["a"], {"requests": "3"}) == ""
    assert expected(past, "single", ["a", "d"], {}) == ""
    assert expected(past, "concurrent", ["a"], {}) == ""


# Starts and stops, for real.


def test_a_server_is_started_and_stopped(tmp_path: Path, home: Path) -> None:
    pytest.importorskip("xllamacpp")
    name = "embedded-llama"

    async def steps(app: App, pilot: Pilot[None]) -> None:
        pane = app.screen.query_one(ServerPane)
        await pilot.press("s")
        await until(pilot, lambda: table_of(app)[name][2] == "starting")
        await pilot.press("s")  # once is enough
        await until(pilot, lambda: table_of(app)[name][2] == "ready", 120)
        (known,) = record.all_of()
        try:
            assert known.url.removeprefix("http://") in table_of(app)[name][5]
            assert pane.still_running() == [name]
            await pilot.press("L")
            await until(pilot, lambda: isinstance(app.screen, LogReader) and bool(app.screen.query_one(Tape).lines))
            assert isinstance(app.screen, LogReader)
            assert app.screen.text.startswith(f"{known.log}\n")
            await pilot.press("escape")
        finally:
            await pilot.press("x")
            await until(pilot, lambda: not record.all_of())
        await until(pilot, lambda: table_of(app)[name][2] == "stopped")
        assert pane.still_running() == []

    assert launch(tmp_path, steps).toasts == []


def test_a_start_that_fails_says_why(tmp_path: Path, home: Path) -> None:
    (home / "profiles" / "mine.toml").write_text(
        'kind = "llama-server"\nmodel = "embedded"\ncommand = ["/bin/false"]\n'
    )

    async def steps(app: App, pilot: Pilot[None]) -> None:
        app.screen.query_one(Servers).choose("mine")
        await until(pilot, lambda: table_of(app)["mine"][2] == "stopped")
        await pilot.press("s")
        await until(pilot, lambda: bool(app.toasts), 60)
        title, why = app.toasts[-1]
        assert title == "mine did not start"
        assert "exit code 1" in why
        await until(pilot, lambda: table_of(app)["mine"][2] == "stopped")
        assert "exit code 1" in text_of(app, "#servers-detail").replace("\n", " ")

    launch(tmp_path, steps)


def test_x_gives_up_a_start_and_asks_before_it_takes_a_server_from_a_run(
    tmp_path: Path, home: Path, still: dict[str, Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[str]] = []

    async def run(errand: Errand, told: Callable[[str], None]) -> int:
        sent.append([errand.verb, *errand._arguments])
        told("embedded-llama: [bold]loading")
        while errand.verb == "start" and not errand.cancelled:
            await asyncio.sleep(0.01)
        return 130 if errand.cancelled else 0

    monkeypatch.setattr(Errand, "run", run)
    used = Status(profile="embedded-mlx", kind="mlx-lm", state=State.READY, owner="run", owner_pid=7)
    still["embedded-mlx"] = used

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table_of(app)["embedded-mlx"][2] == "ready")
        await pilot.press("s")
        await until(pilot, lambda: text_of(app, "#servers-detail").startswith("[bold]loading"))
        await pilot.press("x")
        await until(pilot, lambda: bool(app.toasts))
        assert app.toasts[-1][0] == "embedded-llama is not started"
        await pilot.press("j", "x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("n", "x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: len(sent) == 2)

    launch(tmp_path, steps)
    assert sent == [["start", "embedded-llama"], ["stop", "embedded-mlx", "--force"]]


def test_states_that_cannot_be_told_are_said(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> list[Status]:
        raise ServerError("[bold]no luck")

    monkeypatch.setattr(status, "statuses", failing)

    async def steps(app: App, pilot: Pilot[None]) -> None:
        hint = "What servers do is not known: [bold]no luck"
        await until(pilot, lambda: text_of(app, "#launch-hint") == hint)
        assert app.screen.query_one("#launch-hint").has_class("-failed")

    launch(tmp_path, steps)


# Over the page.


def test_doctor_is_busy_and_then_tells(
    tmp_path: Path, home: Path, still: dict[str, Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    from infertui import doctor
    from infertui.report import doctor as drawn

    widths: list[int] = []
    monkeypatch.setattr(doctor, "examine", lambda: None)

    def view(found: object, width: int) -> Text:
        widths.append(width)
        return Text("all is [bold]well")

    monkeypatch.setattr(drawn, "findings_view", view)

    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Reader) and app.screen._shown == "all is [bold]well")
        assert widths == [80 * 96 // 100 - 8]
        await pilot.press("escape")
        assert isinstance(app.screen, LaunchScreen)

    launch(tmp_path, steps)


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 30)])
def test_everything_can_be_reached(size: tuple[int, int], tmp_path: Path, home: Path, still: dict[str, Status]) -> None:
    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.press("tab")
        await pilot.press("j")
        seen: list[str] = []
        for field in app.screen.query_one(Form).fields:
            await pilot.press("tab")
            await pilot.pause()
            region, place = field.region, app.screen.query_one(Form).region
            assert place.contains_region(region), field.key
            seen.append(field.key)
        assert seen == [*PARAMETERS, "label", "more"]
        await pilot.press("escape", "G")
        await pilot.pause()
        assert app.screen.query_one(Servers).chosen == "mlx-lm"
        assert "mlx-lm" in page(app)

    launch(tmp_path, steps, size)


def test_a_click_on_the_circle_marks_and_a_pane_can_have_the_page(
    tmp_path: Path, home: Path, still: dict[str, Status]
) -> None:
    async def steps(app: App, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: table_of(app)["embedded-llama"][2] == "stopped")
        await pilot.click(Servers, offset=(1, 1))  # beneath the heads
        assert table_of(app)["embedded-llama"][0] == "○"
        await pilot.click(Servers, offset=(8, 2))  # on a name it only moves the cursor
        assert app.screen.query_one(Servers).chosen == "embedded-mlx"
        assert table_of(app)["embedded-mlx"][0] == "●"
        await pilot.press("m")
        await pilot.pause()
        assert app.screen.maximized is app.screen.query_one(ServerPane)
        assert "mlx-lm's server on a tiny model" in page(app)
        await pilot.press("escape", "r")
        assert app.screen.maximized is None

    assert launch(tmp_path, steps).asked == [["embedded-mlx", "--scenario", "single"]]


def test_words_are_chosen_with_the_mouse_as_well(tmp_path: Path, home: Path, still: dict[str, Status]) -> None:
    async def steps(app: App, pilot: Pilot[None]) -> None:
        await pilot.click("#field-cache Options", offset=(9, 0))
        assert app.screen.query_one("#field-cache", Field).text == "warm"
        await pilot.click("#field-cache Options", offset=(9, 0))
        assert app.screen.query_one("#field-cache", Field).text == ""

    launch(tmp_path, steps, (120, 30))
