"""What a server writes, while it writes it. Of its log only what is new is read, and only what is seen is drawn."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, cast

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from infertui.aside import awaited
from infertui.text import lines, plain
from infertui.tui.screens.servers import Row
from infertui.tui.widgets import Reader

if TYPE_CHECKING:
    from infertui.tui.app import InferTUI

MOST_LINES = 2_000
MOST_BYTES = 256 * 1024  # that are read at once
MOST_UNFINISHED = 16 * 1024  # bytes of a line that has no end yet
EVERY_S, MEASURING_S = 1.0, 2.0  # between two looks; and while a run measures
_COLOURS = re.compile(r"\x1b\[[0-9;:]*[mK]")


class Place(NamedTuple):
    """Where a log is, and what is to be said of it. No path: there is none."""

    path: str
    said: str


def place_of(row: Row) -> Place:
    """The log of the server that runs, else of the last that ran."""
    from infertui.server.process import newest_log

    known = row.ours.log if row.ours is not None else ""
    path = known or newest_log(row.profile.name or row.argument)
    if not path:
        return Place("", f"{row.name} has written no log so far: a run or a start writes one")
    return Place(path, f"{path}{'' if known else ' (it does not run any more)'}")


class News(NamedTuple):
    """`anew`: what was shown before is not what comes before this."""

    said: str
    lines: list[str]
    unfinished: str
    anew: bool


class Tail:
    """The end of a file that grows, by and by. Looks come one after the other; each asks `find` where the file is."""

    def __init__(self, find: Callable[[], Place]) -> None:
        self._find = find
        self._path = ""
        self._read = 0  # bytes of the file
        self._rest = b""  # of them, the line that has no end yet

    def look(self) -> News:
        """What has come since the last look. Where that is more than can be read at once, the end of it, anew."""
        path, said = self._find()
        anew = path != self._path
        if anew:
            self._path, self._read, self._rest = path, 0, b""
        data = b""
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                if size < self._read or size - self._read > MOST_BYTES:
                    self._read, self._rest, anew = max(0, size - MOST_BYTES), b"", True
                file.seek(self._read)
                data = file.read(size - self._read)
        except OSError as error:
            said = f"{path}: {error.strerror}" if path else said
        cut = anew and self._read > 0
        self._read += len(data)
        if cut:  # in the middle of a line
            data = data.partition(b"\n")[2]
        done, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest[-MOST_UNFINISHED:]
        return News(said, _written(done) if newline else [], " ".join(_written(self._rest)), anew)


def _written(data: bytes) -> list[str]:
    """As a terminal would show them: without what sets colours, and of a line that is written over its last state."""
    text = _COLOURS.sub("", data.decode("utf-8", "replace"))
    last = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return [part for line in last for part in lines(line).split("\n")]


class Tape(ScrollView, can_focus=False):
    """Lines that grow at their end, broken where the room ends, as in a terminal; the oldest go. Who looks at the end
    stays there, who looks at something else stays with that."""

    ALLOW_SELECT = True
    DEFAULT_CSS = "Tape { height: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque()
        self.unfinished = ""
        self._rows: list[str] = []
        self._heights: deque[int] = deque()  # of the lines, in rows
        self._loose = 0  # rows of what is unfinished
        self._broken_for = 0  # columns
        self._end = 0  # how far it could be scrolled when it was laid out last

    @property
    def _at_end(self) -> bool:
        """Whether somebody looks at the end, or did before it got another size."""
        return self.scroll_offset.y >= min(self._end, self.max_scroll_y)

    def clear(self) -> None:
        self.lines.clear()
        self._heights.clear()
        self._rows, self._loose, self.unfinished = [], 0, ""
        self._laid_out(True)

    def write(self, new: Sequence[str], unfinished: str = "") -> None:
        """`unfinished` stands beneath them until there is more of it."""
        if not new and unfinished == self.unfinished:
            return
        below = self._at_end
        del self._rows[len(self._rows) - self._loose :]
        for line in new:
            broken = self._broken(line)
            self._heights.append(len(broken))
            self._rows += broken
        self.lines.extend(new)
        gone = 0
        while len(self.lines) > MOST_LINES:
            self.lines.popleft()
            gone += self._heights.popleft()
        del self._rows[:gone]
        loose = self._broken(unfinished) if unfinished else []
        self._rows += loose
        self._loose, self.unfinished = len(loose), unfinished
        self._laid_out(below, self.scroll_offset.y - gone)

    def _laid_out(self, below: bool, top: int = 0) -> None:
        self.virtual_size = Size(self._broken_for, len(self._rows))
        self._end = self.max_scroll_y
        if below:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        else:
            self.scroll_to(y=max(0, top), animate=False)
        self.refresh()

    def _broken(self, line: str) -> list[str]:
        width = self._broken_for
        if not width or len(line) <= width // 2 or cell_len(line) <= width:
            return [line]
        if line.isascii():
            return [line[at : at + width] for at in range(0, len(line), width)]
        return chop_cells(line, width)

    def on_resize(self, event: Resize) -> None:
        """Lines are broken anew for the width; the one on top stays there."""
        below, top = self._at_end, self.scroll_offset.y
        if self.scrollable_content_region.width != self._broken_for:
            line = self._line_at(top)
            self._broken_for = self.scrollable_content_region.width
            held, unfinished = list(self.lines), self.unfinished
            self.clear()
            self.write(held, unfinished)
            top = sum(islice(self._heights, line))
        self._laid_out(below, top)

    def _line_at(self, row: int) -> int:
        for at, height in enumerate(self._heights):
            row -= height
            if row < 0:
                return at
        return len(self._heights)

    def render_line(self, y: int) -> Strip:
        width, style = self.size.width, self.rich_style
        at = self.scroll_offset.y + y
        if at >= len(self._rows):
            return Strip.blank(width, style)
        text = Text(self._rows[at], style, no_wrap=True, end="")
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(at)) is not None:
            first, last = span
            chosen = self.screen.get_component_rich_style("screen--selection")
            text.stylize(chosen, first, len(text) if last == -1 else last)
            parts = list(text.render(self.app.console))
        else:
            parts = [Segment(text.plain, style)]
        return Strip(parts).crop_extend(0, width, style).apply_offsets(0, at)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract("\n".join(self._rows)), "\n"


class LogReader(Reader):
    """A server's log, over any page. `find` is asked at each look: a server that is started again has another one."""

    DEFAULT_CSS = """
    LogReader #log-place { height: auto; color: $text-muted; }
    """

    def __init__(self, title: str, find: Callable[[], Place]) -> None:
        super().__init__(title, "")
        self._tail = Tail(find)
        self._said = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="reader"):
            yield Static("…", id="log-place", markup=False)
            yield Tape()

    @property
    def scrolled(self) -> Widget:
        return self.query_one(Tape)

    @property
    def text(self) -> str:
        tape = self.query_one(Tape)
        held = [*tape.lines, tape.unfinished] if tape.unfinished else list(tape.lines)
        return "\n".join([self._said, "", *held])

    @work(exclusive=True)
    async def _load(self) -> None:
        host = cast("InferTUI", self.app)
        while tapes := self.query(Tape):
            self._tell(await awaited(self._tail.look), tapes.first())
            await asyncio.sleep(MEASURING_S if host.running else EVERY_S)

    def _tell(self, news: News, tape: Tape) -> None:
        if not tape.is_attached:
            return
        if news.anew:
            tape.clear()
        tape.write(news.lines, news.unfinished)
        said = plain(news.said, 400)
        if said != self._said:
            self._said = said
            self.query_one("#log-place", Static).update(Content(said))
