"""Runs that were really measured, on mocks, and one whose every text is hostile; and the app opened on them."""

from __future__ import annotations

import asyncio
import shutil
from array import array
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from infertui.metric import CallRecord, Generator, figure, summarise
from infertui.mock import Dials, Server, dial
from infertui.result import Telemetry
from infertui.scenario.corpus import load
from infertui.scenario.plan import digest
from infertui.store import Store, Writer
from infertui.tui.app import InferTUI
from tests.conftest import Command

SIZES = [(80, 24), (120, 30)]
SMALL, LARGE = SIZES
HOSTILE = "[/y] [bold]x[/]\x1b]0;x\x07"
RTL = "\u202eevil"
LOOP = "again and " * 60
FIRST, SECOND, FAULTY, EVIL = 1, 2, 3, 4  # the runs of the database

Act = Callable[["Face", Pilot[None]], Awaitable[None]]


@cache
def _made(folder: Path) -> Path:
    """Runs 1 and 2 belong to one experiment, in run 3 calls fail, run 4 is hostile."""
    infertui = Command(folder)
    common = ("--scenario", "concurrent", "-c", "2", "-n", "4", "--max-tokens", "8", "--model", "mock")
    with (
        Server(dial(Dials(), {"ttft_ms": 5, "gap_ms": 1, "timings": True})) as fast,
        Server(dial(Dials(), {"ttft_ms": 40, "gap_ms": 4, "slots": 1})) as slow,
    ):
        both = ("--attach", fast.address, "--attach", slow.address)
        ran = infertui("run", *both, *common, "--rounds", "3", "--label", "pair")
        assert ran.returncode == 0, ran.stderr
    with Server(dial(Dials(), {"ttft_ms": 5, "gap_ms": 1, "faults": "500", "fault_every": 3})) as faulty:
        ran = infertui("run", "--attach", faulty.address, *common, "--no-samples")
        assert ran.returncode in (0, 3), ran.stderr
    _add_hostile(infertui.db)
    with Store(infertui.db) as store:
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return infertui.db


def _add_hostile(path: Path) -> None:
    prompt = load()[0]
    text = f"{HOSTILE} {RTL} {LOOP}"
    call = CallRecord(
        name="r1-001",
        role="measured",
        round=1,
        lane=0,
        kind=prompt.kind,
        prompt_id=HOSTILE,
        prompt_hash=prompt.hash,
        max_tokens=200,
        sched_ns=0,
        send_ns=0,
        headers_ns=5_000_000,
        first_ns=10_000_000,
        first_answer_ns=10_000_000,
        last_ns=110_000_000,
        end_ns=110_000_000,
        n_output=100,
        n_source="usage",
        n_first=1,
        n_pieces=100,
        finish=HOSTILE,
        reply_hash=digest(text.encode()),
    )
    figure(call, alone=True)
    summary = summarise([call], [], Generator(), [f"! {HOSTILE}"])
    with Store(path) as store:
        asked = msgspec.json.encode({"scenario": HOSTILE})
        facts = {"caveats": [HOSTILE], "version": HOSTILE, "command": [HOSTILE, RTL]}
        server = store.add_server("evil", "openai", f"evil {HOSTILE}", "http://127.0.0.1:1", msgspec.json.encode(facts))
        run = store.add_run(
            experiment_id=store.add_experiment(asked)[0],
            server_id=server,
            machine_id=store.add_machine("evil", msgspec.json.encode({"cpu": HOSTILE})),
            scenario="single",
            model=f"{RTL} {HOSTILE}",
            setup=msgspec.json.encode({"api": "chat", "stream": True, "cache": "cold", "rounds": 1}).decode(),
            label=HOSTILE,
        )
        store.set_note(run, HOSTILE)
    writer = Writer(path)
    reads = (array("I", [10_000, 110_000]), array("I", [1, 99]), array("I"))
    writer.call(run, call, reads, msgspec.json.encode(prompt.messages), (text, HOSTILE))
    told = msgspec.json.encode(Telemetry(server=HOSTILE))
    generator = msgspec.json.encode(Generator())
    writer.end_run(run, "done", "", [f"! {HOSTILE}"], generator, msgspec.json.encode(summary), told)
    writer.flush()
    writer.close()


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database; it is copied before anybody writes."""
    folder = tmp_path_factory.getbasetemp() / "kept"
    folder.mkdir(exist_ok=True)
    return _made(folder)


@pytest.fixture
def db(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in the folder in which the test runs; nothing of the user's is touched."""
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "results.db"
    shutil.copy(measured, place)
    return place


class Face(InferTUI):
    """The app, open on the results; what it copies is noted."""

    DEFAULT_MODE = "results"

    def __init__(self, db: Path) -> None:
        super().__init__(str(db))
        self.copied: list[str] = []

    def copy(self, text: str, what: str) -> Any:
        self.copied.append(text)

    @property
    def shown(self) -> str:
        """What stands on the screen, a line a row."""
        return "\n".join(strip.text for strip in self.screen._compositor.render_strips())

    @property
    def toasts(self) -> str:
        return "\n".join(f"{each.title}: {each.message}" for each in self._notifications)


def play(db: Path, size: tuple[int, int], act: Act) -> None:
    """Open the app so large and do something with it."""

    async def run() -> None:
        app = Face(db)
        async with app.run_test(size=size) as pilot:
            await act(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], what: str | Callable[[], object]) -> None:
    """Wait until that stands on the screen, or is so."""
    app = pilot.app
    assert isinstance(app, Face)
    for _ in range(1500):
        await pilot.pause(0.01)
        if what in app.shown if isinstance(what, str) else what():
            return
    raise AssertionError(f"never: {what}\n{app.shown}\n{app.toasts}")
