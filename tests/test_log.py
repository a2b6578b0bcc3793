"""A server's log in the app: only what is new is read of it, and what is shown is data that stays where one reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from infertui.server.process import new_log, newest_log
from infertui.tui.app import InferTUI
from infertui.tui.screens import log
from infertui.tui.screens.log import MOST_BYTES, MOST_LINES, LogReader, Place, Tail, Tape, place_of
from infertui.tui.screens.servers import Row

HOSTILE = b"\x1b[31m[b]red[/b]\x1b[0m \x1b]0;title\x07 \xff end\n"
SAFE = "[b]red[/b] ␛]0;title␇ � end"


def tail(path: Path) -> Tail:
    return Tail(lambda: Place(str(path), "where it is"))


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def row(name: str = "mine") -> Row:
    return Row(key=name, name=name, sort="profile", argument=name)


class TestTail:
    def test_only_what_is_new_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(b"one\n\ntwo\n")
        told = tail(path)
        assert told.look() == ("where it is", ["one", "", "two"], "", True)
        assert told.look() == ("where it is", [], "", False)
        append(path, b"three\r\nfo")
        assert told.look()[1:] == (["three"], "fo", False)
        append(path, b"ur\nfive")
        assert told.look()[1:] == (["four"], "five", False)

    def test_a_letter_may_come_in_two_parts(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes("grün".encode()[:-2])
        told = tail(path)
        assert told.look().unfinished == "gr�"
        append(path, "grün\n".encode()[-3:])
        assert told.look()[1:] == (["grün"], "", False)

    def test_of_a_line_that_is_written_over_the_last_state_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(b"10 %\r20 %\r100 %\r\nload 1\rload 2")
        assert tail(path).look()[1:3] == (["100 %"], "load 2")

    def test_it_is_data(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(HOSTILE + "a\u2028b\u202e\n".encode())
        assert tail(path).look().lines == [SAFE, "a", "b<202E>"]

    def test_of_a_long_one_the_end_is_read_and_what_comes_too_fast_begins_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        line = b"x" * 99 + b"\n"
        path.write_bytes(line * 4000 + b"last\n")
        told = tail(path)
        found = told.look()
        assert found.anew
        assert found.lines[0] == "x" * 99  # not a part of one
        assert found.lines[-1] == "last"
        assert sum(len(each) + 1 for each in found.lines) <= MOST_BYTES
        append(path, line * 4000 + b"newest\n")
        found = told.look()
        assert (found.anew, found.lines[-1]) == (True, "newest")
        assert sum(len(each) + 1 for each in found.lines) <= MOST_BYTES

    def test_one_that_is_cut_or_another_begins_anew(self, tmp_path: Path) -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        first.write_bytes(b"a\nb")
        second.write_bytes(b"c\n")
        places = [first, first, second]
        told = Tail(lambda: Place(str(places.pop(0)), ""))
        assert told.look()[1:] == (["a"], "b", True)
        first.write_bytes(b"d\n")
        assert told.look()[1:] == (["d"], "", True)
        assert told.look()[1:] == (["c"], "", True)

    def test_without_a_file_it_is_said_why(self, tmp_path: Path) -> None:
        assert tail(tmp_path / "none").look() == (f"{tmp_path}/none: No such file or directory", [], "", True)
        assert Tail(lambda: Place("", "no log so far")).look() == ("no log so far", [], "", False)

    def test_a_line_without_end_does_not_grow_without_end(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(b"x" * 100_000)
        assert len(tail(path).look().unfinished) == log.MOST_UNFINISHED


def test_a_log_is_that_of_the_last_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path / "home"))
    assert place_of(row()) == ("", "mine has written no log so far: a run or a start writes one")
    new_log("not-mine").write_text("another's\n")
    path = new_log("mine")
    path.write_text("its words\n")
    assert newest_log("mine") == str(path)
    assert place_of(row()) == (str(path), f"{path} (it does not run any more)")


# On the screen.


class Host(InferTUI):
    def __init__(self, db: Path) -> None:
        super().__init__(str(db))
        self.copied = ""

    def copy(self, text: str, what: str) -> Any:
        self.copied = text

    @property
    def reader(self) -> LogReader:
        assert isinstance(self.screen, LogReader)
        return self.screen

    @property
    def tape(self) -> Tape:
        return self.reader.query_one(Tape)

    @property
    def rows(self) -> list[str]:
        """What is seen of the log."""
        return [self.tape.render_line(y).text.rstrip() for y in range(self.tape.size.height)]


Read = Callable[[tuple[int, int], Callable[[Host, Pilot[None]], Awaitable[None]]], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


@pytest.fixture
def read(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Opens the reader on the log, so large, and does something with it. It looks often."""
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(log, "EVERY_S", 0.1)

    def play(size: tuple[int, int], act: Callable[[Host, Pilot[None]], Awaitable[None]]) -> None:
        async def run() -> None:
            app = Host(tmp_path / "results.db")
            async with app.run_test(size=size) as pilot:
                await app.push_screen(LogReader("Log of mine", lambda: Place(str(path), "where it is")))
                await until(pilot, lambda: bool(app.tape.lines))
                await act(app, pilot)

        asyncio.run(run())

    return play


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("it did not come")


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 30)])
def test_it_follows_its_end_until_one_goes_up(read: Read, path: Path, size: tuple[int, int]) -> None:
    path.write_bytes(b"".join(b"line %d\n" % at for at in range(100)))

    async def act(app: Host, pilot: Pilot[None]) -> None:
        assert app.rows[-1] == "line 99"
        append(path, b"line 100\nhalf")
        await until(pilot, lambda: app.rows[-2:] == ["line 100", "half"])
        append(path, b" and half\n")
        await until(pilot, lambda: app.rows[-2:] == ["line 100", "half and half"])
        await pilot.press("k")
        await pilot.pause()
        held = app.rows
        assert held[-1] == "line 100"
        append(path, b"more\n")
        await until(pilot, lambda: app.tape.lines[-1] == "more")
        assert app.rows == held
        await pilot.press("g")
        await pilot.pause()
        assert app.rows[:2] == ["line 0", "line 1"]
        await pilot.press("j")
        await pilot.pause()
        assert app.rows[0] == "line 1"
        await pilot.press("pagedown")
        await pilot.pause()
        assert app.rows[0] == f"line {1 + app.tape.size.height - 2}"
        await pilot.press("pageup", "G")
        await until(pilot, lambda: app.rows[-1] == "more")
        append(path, b"the end\n")
        await until(pilot, lambda: app.rows[-1] == "the end")
        await pilot.press("y")
        assert app.copied.splitlines()[:3] == ["where it is", "", "line 0"]
        assert app.copied.splitlines()[-3:] == ["half and half", "more", "the end"]
        await pilot.press("escape")
        assert not isinstance(app.screen, LogReader)

    read(size, act)


def test_the_oldest_go_and_what_is_read_stays(read: Read, path: Path) -> None:
    path.write_bytes(b"".join(b"line %d\n" % at for at in range(MOST_LINES)))

    async def act(app: Host, pilot: Pilot[None]) -> None:
        for _ in range(20):
            await pilot.press("pageup")
        await pilot.pause()
        held = app.rows
        append(path, b"".join(b"more %d\n" % at for at in range(500)))
        await until(pilot, lambda: app.tape.lines[-1] == "more 499")
        assert len(app.tape.lines) == MOST_LINES
        assert app.tape.lines[0] == "line 500"
        assert app.rows == held
        append(path, b"".join(b"most %d\n" % at for at in range(MOST_LINES)))
        await until(pilot, lambda: app.tape.lines[-1] == f"most {MOST_LINES - 1}")
        await until(pilot, lambda: app.rows[0] == "most 0")  # it is gone: the oldest there is

    read((80, 24), act)


def test_long_lines_are_broken_for_the_width(read: Read, path: Path) -> None:
    path.write_bytes(b"".join(b"%04d " % at * 30 + b"\n" for at in range(100)) + "日本".encode() * 60 + b"\n")

    async def act(app: Host, pilot: Pilot[None]) -> None:
        wide = app.tape.scrollable_content_region.width
        assert max(map(len, app.rows)) <= wide
        assert "".join(app.rows).endswith("日本" * 60)
        await pilot.press("g", *"jjjjjj")
        await pilot.pause()
        top = app.rows[0][:4]
        await pilot.resize_terminal(120, 30)
        await pilot.pause()
        assert app.rows[0].startswith(top)
        await pilot.press("G")
        await pilot.pause()
        await pilot.resize_terminal(60, 18)
        await until(pilot, lambda: app.rows[-1].endswith("本"))
        assert app.reader.text.splitlines()[2] == ("0000 " * 30)

    read((80, 24), act)


def test_text_of_a_server_is_only_text(read: Read, path: Path) -> None:
    path.write_bytes(HOSTILE)

    async def act(app: Host, pilot: Pilot[None]) -> None:
        assert app.rows[0] == SAFE
        assert "\x1b" not in app.reader.text

    read((80, 24), act)


def test_words_can_be_chosen_with_the_mouse(read: Read, path: Path) -> None:
    path.write_bytes(b"alpha beta\ngamma delta\n")

    async def act(app: Host, pilot: Pilot[None]) -> None:
        await pilot.mouse_down(Tape, offset=(6, 0))
        await pilot.hover(Tape, offset=(5, 1))
        await pilot.mouse_up(Tape, offset=(5, 1))
        await pilot.pause()
        assert app.screen.get_selected_text() in ("beta\ngamma", "beta\ngamma ")
        assert app.rows[:2] == ["alpha beta", "gamma delta"]

    read((80, 24), act)
