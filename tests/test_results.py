"""The page of the results and its exports, on runs that were really measured, at both sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from infertui.pid import started
from infertui.report.figure import number
from infertui.stats import Distribution
from infertui.store import Store, Writer
from infertui.tui.page import Confirm
from infertui.tui.screens.entry import columns, in_order, listed
from infertui.tui.screens.results import ResultsScreen, Runs
from infertui.tui.screens.run import RunScreen
from infertui.tui.screens.section import ROOM
from infertui.tui.widgets import Ask
from tests.kept import EVIL, FAULTY, FIRST, LARGE, SECOND, SIZES, SMALL, Face, play, until
from tests.kept import db as db
from tests.kept import measured as measured


def page(app: Face) -> ResultsScreen:
    assert isinstance(app.screen, ResultsScreen)
    return app.screen


def keys(app: Face) -> list[int]:
    """The runs as they are listed."""
    return [int(key) for key in page(app).query_one(Runs).keys]


# The list.


@pytest.mark.parametrize("size", SIZES)
def test_runs_are_listed_with_their_figures_the_newest_first(db: Path, size: tuple[int, int]) -> None:
    with Store(db) as store:
        first = next(entry for entry in listed(store) if entry.run == FIRST)
    assert first.summary is not None
    ttft = first.summary.metrics["ttft_ms"]
    assert isinstance(ttft, Distribution)

    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        assert keys(app) == [EVIL, FAULTY, SECOND, FIRST]
        row = next(line for line in app.shown.splitlines() if line.split()[:1] == [str(FIRST)])
        assert number(ttft.p50) in row
        assert first.state in row
        assert f"run {EVIL}  single" in app.shown
        await pilot.press("G")
        await until(pilot, f"run {FIRST}  concurrent")
        assert "12 of 12" in app.shown
        assert "Compare" in app.shown.splitlines()[-1]
        assert all(len(line) == size[0] for line in app.shown.splitlines())

    play(db, size, act)


def test_words_find_runs_and_marks_stay(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        await pilot.press("j", "space")
        await until(pilot, "1 marked")
        await pilot.press("slash", *"pair concurrent")
        await until(pilot, "2 of 4 runs")
        assert keys(app) == [SECOND, FIRST]
        await pilot.press("enter", "space")
        await until(pilot, "2 marked")
        await pilot.press("slash", *" nonsense")
        await until(pilot, "No run has all of these words")
        await pilot.press("escape")
        await until(pilot, "4 runs · 2 marked")
        assert page(app)._marked == {FAULTY, SECOND}
        assert isinstance(app.focused, Runs)
        await pilot.press("slash", *"4 single", "enter")
        await until(pilot, "1 of 4 runs")
        assert app.current_mode == "results"  # a digit in the filter is no page
        await pilot.press("escape")
        await until(pilot, "4 runs")

    play(db, SMALL, act)


def test_sorting_by_keys_and_by_a_click(db: Path) -> None:
    with Store(db) as store:
        entries = listed(store)
    by_ttft = [entry.run for entry in in_order(entries, "ttft_ms", backwards=False)]
    known = {entry.run: entry.figure("ttft_ms") for entry in entries}
    assert by_ttft == sorted(known, key=lambda run: known[run] or 0)
    assert [entry.run for entry in in_order(entries, "ttft_ms", backwards=True)] == by_ttft[::-1]

    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        await pilot.press("S")
        await until(pilot, lambda: keys(app) == [FIRST, SECOND, FAULTY, EVIL])
        await pilot.press("s")
        await until(pilot, "▲scenario")
        assert keys(app) == [FAULTY, SECOND, FIRST, EVIL]  # of equals the newer one first
        head = app.shown.splitlines()[2]
        await pilot.click(Runs, offset=(head.index("ttft ms") + 2, 0))
        await until(pilot, "▲ttft ms")
        assert keys(app) == by_ttft
        await pilot.click(Runs, offset=(head.index("ttft ms") + 2, 0))
        await until(pilot, "▼ttft ms")
        assert keys(app) == by_ttft[::-1]

    play(db, LARGE, act)


def test_what_is_the_same_for_all_gives_way_where_it_is_narrow(db: Path) -> None:
    with Store(db) as store:
        entries = [entry for entry in listed(store) if entry.run in (FIRST, SECOND)]
    narrow = {column.key for column in columns(entries, 79)}
    assert {"mark", "run", "server", "state", "ttft_ms", "output_tps", "success_rate"} <= narrow
    assert not narrow & {"when", "e2e_ms"}
    for width in (60, 79, 100, 119, 200):
        assert sum((column.width or 0) + 2 for column in columns(entries, width)) <= width


def test_tags_a_note_and_a_label(db: Path) -> None:
    def told() -> tuple[list[str], list[str], str, str]:
        with Store(db, write=False) as store:
            row = store.run(str(EVIL))
            return store.tags(EVIL), store.tags(FAULTY), row.note, row.label

    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        await pilot.press("space", "space", "t")
        await until(pilot, "Tags of 2 runs")
        await pilot.press(*"nightly, a b, ", "enter")
        await until(pilot, lambda: told()[:2] == (["a b", "nightly"], ["a b", "nightly"]))
        await pilot.press("g", "t")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press(*"-nightly", "enter")
        await until(pilot, lambda: told()[:2] == (["a b"], ["a b"]))
        await until(pilot, "#a b")
        await pilot.press("t")
        await pilot.press(*"x" * 61, "enter")
        await until(pilot, "at most 60")
        await pilot.press("escape", "n")
        await until(pilot, "Note on run 4")
        app.screen.query_one(Input).value = "after the update"
        await pilot.press("enter")
        await until(pilot, lambda: told()[2] == "after the update")
        await until(pilot, "after the update")
        await pilot.press("b")
        await until(pilot, "Label of run 4")
        app.screen.query_one(Input).value = "12"
        await pilot.press("enter")
        await until(pilot, lambda: "how runs are numbered" in app.toasts)
        assert told()[3] != "12"

    play(db, LARGE, act)


def test_deleting_asks_names_what_goes_and_can_be_declined(db: Path) -> None:
    def left() -> list[int]:
        with Store(db, write=False) as store:
            return [row.id for row in store.runs()]

    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        await pilot.press("D")
        await until(pilot, "Delete run 4?")
        assert "With 1 call and" in app.shown
        assert "cannot be undone" in app.shown
        await pilot.press("enter")  # no is what is chosen at first
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        assert left() == [EVIL, FAULTY, SECOND, FIRST]
        await pilot.press("a", "D")
        await until(pilot, "Delete 4 runs?")
        await pilot.press("n")
        await until(pilot, "4 marked")
        app.comparing = ([FIRST, SECOND], FIRST)
        await pilot.press("a", "G", "delete")
        await until(pilot, "Delete run 1?")
        await pilot.press("y")
        await until(pilot, "3 runs")
        assert left() == [EVIL, FAULTY, SECOND]
        assert list(app.comparing) == [[SECOND], None]

    play(db, SMALL, act)


def test_what_the_filter_hides_is_not_deleted(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        await pilot.press("a")
        await until(pilot, "4 marked")
        await pilot.press("slash", *"pair", "enter")
        await until(pilot, "2 of 4 runs")
        await pilot.press("D")
        await until(pilot, "Delete 2 runs?")
        assert "2 more are marked and not shown: they stay" in app.shown
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        await pilot.press("space", "k", "D")  # the newer of the two is marked no more
        await until(pilot, "Delete run 1?")
        await pilot.press("y")
        await until(pilot, "1 of 3 runs")
        assert page(app)._marked == {FAULTY, EVIL}
        await pilot.press("D")  # of those that are shown none is marked
        await until(pilot, "Delete run 2?")
        await pilot.press("n", "escape")
        await until(pilot, "3 runs · 2 marked")
        await pilot.press("slash", *"evil", "enter", "D")
        await until(pilot, "Delete run 4?")
        assert "1 more is marked and not shown: it stays" in app.shown
        await pilot.press("n", "escape", "D")
        await until(pilot, "Delete 2 runs?")
        assert "more" not in app.shown

    play(db, SMALL, act)


def test_a_run_that_is_under_way_is_listed_and_not_deleted(db: Path) -> None:
    import os

    with Store(db) as store:
        row = store.run(str(FIRST))
        run = store.add_run(
            experiment_id=row.experiment_id,
            server_id=row.server_id,
            machine_id=row.machine_id,
            scenario="single",
            model="mock",
            pid=os.getpid(),
            pid_started=started(os.getpid()),
        )

    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "no figures yet")
        await pilot.press("D")
        await until(pilot, f"Delete run {run}?")
        await pilot.press("y")
        await until(pilot, lambda: "still running" in app.toasts)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until(pilot, "no call succeeded")

    play(db, SMALL, act)


def test_comparing_takes_the_marked_or_the_whole_experiment(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        await pilot.press("G", "c")
        await until(pilot, lambda: app.comparing[0] == [FIRST, SECOND])
        assert app.current_mode == "compare"
        await pilot.press("3", "g", "space", "space", "c")
        await until(pilot, lambda: app.comparing[0] == [FAULTY, EVIL])

    play(db, SMALL, act)


def test_many_runs_are_made_as_one_comes_near_them(db: Path) -> None:
    with Store(db) as store:
        row = store.run(str(FIRST))
        numbers = [
            store.add_run(
                experiment_id=row.experiment_id,
                server_id=row.server_id,
                machine_id=row.machine_id,
                scenario=row.scenario,
                model=f"model-{place % 10}",
            )
            for place in range(2000)
        ]
    writer = Writer(db)
    for run in numbers:
        writer.end_run(run, "done", "", [], b"{}", row.summary.encode(), b"{}")
    writer.flush()
    writer.close()

    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "2,004 runs")
        table = page(app).query_one(Runs)
        assert table.row_count == ROOM
        await pilot.press("G")
        await until(pilot, lambda: table.row_count == 2 * ROOM)
        assert table.chosen == str(numbers[-ROOM])  # the cursor is where it was
        await pilot.press("slash", *"model-3")
        await until(pilot, "200 of 2,004 runs")
        assert table.row_count == 200

    play(db, LARGE, act)


# What is not there.


@pytest.mark.parametrize("size", SIZES)
def test_without_runs_without_a_database_and_with_a_damaged_one(
    tmp_path: Path, db: Path, size: tuple[int, int]
) -> None:
    async def empty(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "No runs yet: press 1, then r")
        await pilot.press("c", "e", "D", "t", "space", "enter", "y", "s", "slash", "x", "escape")
        assert app.shown.count("No runs yet") == 1

    async def missing(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "there is no database at none.db: the first run makes it")
        await empty(app, pilot)

    async def damaged(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "move it away")
        assert "broken.db is" in app.shown

    play(tmp_path / "none.db", size, missing)
    assert not (tmp_path / "none.db").exists()
    Store(tmp_path / "empty.db").close()
    play(tmp_path / "empty.db", size, empty)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database\n" * 500)
    play(broken, size, damaged)


def test_a_run_that_is_gone_says_so(db: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        app.show_run(99)
        await until(pilot, "no run '99'")
        await pilot.press("c", "e", "t", "n", "y", "]", "right")
        await pilot.press("escape")
        await until(pilot, "4 runs")

    play(db, SMALL, act)


# Exports.


def test_a_run_is_exported_and_nothing_is_written_over_unasked(db: Path, tmp_path: Path) -> None:
    place = tmp_path / f"infertui-run-{FIRST}.json"

    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        await pilot.press("G", "e")
        await until(pilot, f"Export run {FIRST}")
        await pilot.press("j")
        assert app.screen.query_one(Input).value == place.name
        await pilot.press("enter")
        await until(pilot, lambda: f"written to {tmp_path}" in app.toasts)
        first = place.read_bytes()
        assert json.loads(first)["runs"][0]["id"] == FIRST
        place.write_text("mine")
        await pilot.press("e", "j", "enter")
        await until(pilot, "Write over this file?")
        assert "It holds 4 bytes" in app.shown
        await pilot.press("n")
        await until(pilot, "it is there already, and is kept")
        assert place.read_text() == "mine"
        await pilot.press("enter")
        await until(pilot, "Write over this file?")
        await pilot.press("y")
        await until(pilot, lambda: place.read_text() != "mine")
        assert json.loads(place.read_bytes())["runs"][0]["id"] == FIRST

    play(db, LARGE, act)


def test_the_dialog_says_what_cannot_be_written_and_copies(db: Path, tmp_path: Path) -> None:
    async def act(app: Face, pilot: Pilot[None]) -> None:
        await until(pilot, "4 runs")
        await pilot.press("space", "space", "e")
        await until(pilot, "Export 2 runs")
        await pilot.press("right")
        assert app.screen.query_one(Input).value == f"infertui-run-{EVIL}-{FAULTY}.csv"
        await pilot.press("tab")
        app.screen.query_one(Input).value = "nowhere/at/all.csv"
        await pilot.press("enter")
        await until(pilot, "cannot be written")
        app.screen.query_one(Input).value = " "
        await pilot.press("enter")
        await until(pilot, "the file has no name")
        app.screen.query_one(Input).value = str(tmp_path)
        await pilot.press("enter")
        await until(pilot, "is a folder")
        await pilot.press("shift+tab", "y")
        await until(pilot, lambda: app.copied)
        assert app.copied[0].splitlines()[0].startswith("run,server")

    play(db, SMALL, act)
