"""The app as it looks: pictures that were looked at, and that a change of the code may not change unseen.

`pytest tests/test_snapshots.py --snapshot-update` takes them anew; look at each before it is kept.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from infertui.event import RunStarted, Waited
from infertui.profile import Profile
from infertui.server import status
from infertui.server.record import Record
from infertui.server.state import State
from infertui.server.status import Status
from infertui.tui.app import InferTUI
from infertui.tui.screens import live
from infertui.tui.story import Story
from tests import recorded

SMALL, LARGE = (80, 24), (120, 30)
ROOT = Path(__file__).resolve().parent.parent
Compare = Callable[..., bool]


class StillScreen(live.LiveScreen):
    """Its clock stands at the last event."""

    CSS_PATH = Path(live.__file__).with_name("live.tcss")

    def _now_s(self) -> float:
        return self.host.story.newest_s if self.host.story is not None else 0.0


class Still(InferTUI):
    """The app with a run that stands still, where there is one."""

    MODES = {**InferTUI.MODES, "live": StillScreen}  # noqa: RUF012

    @property
    def running(self) -> bool:
        return self.story is not None and not self.story.over


def states(profiles: Sequence[Profile], records: Sequence[Record], *_: Any, **__: Any) -> list[Status]:
    """What servers would say: the same on every machine."""
    known = {
        "embedded-llama": {"state": State.READY, "address": "http://127.0.0.1:41001", "owner": "nobody"},
        "embedded-mlx": {"state": State.LOADING, "address": "http://127.0.0.1:41002", "reason": "it does not listen"},
        "llama-cpp-python": {"state": State.NOT_INSTALLED, "reason": "pip install 'infertui[llama-cpp-python]'"},
        "llama-server": {"state": State.STOPPED},
        "mlx-lm": {"state": State.ERROR, "reason": "it ended (exit 1): no such model"},
    }
    return [Status(profile=each.name, kind=each.kind, **known[each.name]) for each in profiles]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def everywhere_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(status, "statuses", states)
    monkeypatch.chdir(ROOT)
    time.tzset()


def opened(tmp_path: Path, story: Story | None = None) -> Still:
    app = Still(str(tmp_path / "results.db"))
    app.story = story
    return app


def shows(*words: str, on: str = "", keys: Sequence[str] = ()) -> Callable[[Pilot[None]], Any]:
    """Open a page, press keys, and wait until these words can be read."""

    async def before(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, InferTUI)
        await pilot.pause()
        if on:
            await pilot.press({"launch": "1", "live": "2", "results": "3", "compare": "4"}[on])
        for key in keys:
            await pilot.pause(0.3)
            await pilot.press(key)
        until = asyncio.get_running_loop().time() + 20
        while missing := [word for word in words if word not in read(app)]:
            assert asyncio.get_running_loop().time() < until, f"{missing} cannot be read"
            await pilot.pause(0.05)
        app.clear_notifications()
        await pilot.pause(0.3)

    return before


def read(app: InferTUI) -> str:
    """What stands on the screen, without its colours."""
    width, height = app.size
    rows = app.screen._compositor.render_strips()
    return "\n".join(row.text for row in rows[:height])[: (width + 1) * height]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x30"])
def test_launch(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    assert snap_compare(opened(tmp_path), terminal_size=size, run_before=shows("loading", "infertui run", "12 calls"))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x30"])
def test_live(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    story = recorded.story(recorded.half())
    assert snap_compare(opened(tmp_path, story), terminal_size=size, run_before=shows("Tokens/s", "Calls", on="live"))


def test_live_at_its_end(snap_compare: Compare, tmp_path: Path) -> None:
    app = opened(tmp_path, recorded.story())
    assert snap_compare(app, terminal_size=LARGE, run_before=shows("Tokens/s", "32/32", on="live"))


def test_live_that_waits(snap_compare: Compare, tmp_path: Path) -> None:
    story = Story()
    for event in recorded.events():
        if isinstance(event, RunStarted):
            story.add(event)
            run = event.run
    story.add(Waited(run=run, until="calm", cause="foreign_cpu", reason="other programs use 80 % of a core", left_s=21))
    assert snap_compare(opened(tmp_path, story), terminal_size=SMALL, run_before=shows("21 s", on="live"))


def test_live_without_a_run(snap_compare: Compare, tmp_path: Path) -> None:
    assert snap_compare(opened(tmp_path), terminal_size=SMALL, run_before=shows("No run yet", on="live"))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x30"])
def test_results(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    runs = recorded.database_of(tmp_path / "results.db", monkeypatch, times=3)
    told = shows(f"{len(runs)} runs", "embedded-llama", on="results", keys=["j", "space"])
    assert snap_compare(opened(tmp_path), terminal_size=size, run_before=told)


def test_results_without_any(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert snap_compare(opened(tmp_path), terminal_size=SMALL, run_before=shows("No runs yet", on="results"))


def test_results_that_cannot_be_read(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results.db").write_bytes(b"no database" * 100)
    told = shows("damaged", on="results")
    assert snap_compare(Still("results.db"), terminal_size=SMALL, run_before=told)


def test_a_run(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.database_of(tmp_path / "results.db", monkeypatch)
    told = shows("Time to first token", on="results", keys=["enter"])
    assert snap_compare(opened(tmp_path), terminal_size=LARGE, run_before=told)


def test_its_timeline(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.database_of(tmp_path / "results.db", monkeypatch)
    told = shows("decodes", on="results", keys=["enter", "]", "]"])
    assert snap_compare(opened(tmp_path), terminal_size=LARGE, run_before=told)


@pytest.mark.parametrize("keys", [(), ("]",), ("]", "]")], ids=["figures", "distributions", "replies"])
def test_compare(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]) -> None:
    runs = recorded.database_of(tmp_path / "results.db", monkeypatch)
    app = opened(tmp_path)
    app.comparing = (runs, runs[0])
    word = {0: "Decode speed", 1: "% of calls", 2: "router"}[len(keys)]
    assert snap_compare(app, terminal_size=LARGE, run_before=shows(word, on="compare", keys=keys))


def test_help(snap_compare: Compare, tmp_path: Path) -> None:
    told = shows("Measure this server", "esc closes", keys=["question_mark"])
    assert snap_compare(opened(tmp_path), terminal_size=LARGE, run_before=told)
