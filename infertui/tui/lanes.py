"""Calls as bars in lanes over time: who waits, who is read, who is answered. One sees whether a server is parallel.

Of each call there are three phases: due → sent (it waits for a place), sent → first token (it waits in the server, and
its prompt is read), first token → end (its answer is decoded).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor
from typing import ClassVar, NamedTuple

from textual.content import Content
from textual.events import Leave, MouseMove

from infertui.report.figure import number
from infertui.text import plain
from infertui.tui.bar import Bar, Bars, Track
from infertui.tui.braille import MARGIN, Row, bounds, column_of, fitted, middle, x_row, x_ticks
from infertui.tui.chart import LOWEST, NARROWEST, Marks, Picture, legend

NONE, WAIT, PREFILL, DECODE, NEXT, FAILED = range(6)  # what a cell of a lane shows
OTHER = 8  # added to it: of a call that is no measured one
GLYPHS = {True: " ·░█▓×", False: " .-#=x"}  # one lane in a row, in Unicode or ASCII …
THIN = " ˙.:"  # … and of two lanes in a row what is no block: of neither, the upper, the lower, both
SOLID = {PREFILL: "lanes--prefill-solid"}  # where a half is filled with what is a light pattern elsewhere
STYLES = ("", "lanes--wait", "lanes--prefill", "lanes--decode", "lanes--decode-next", "lanes--failed")
WORDS = {WAIT: "waits", PREFILL: "to first token", DECODE: "decodes", FAILED: "failed"}


class Lane(NamedTuple):
    group: str
    number: int
    tracks: list[Track]


class Lanes(Picture):
    """Bars of calls. Where there are more lanes than rows, two share a row."""

    HELP = """\
### Calls

Each row is a **lane**: a place in which one call follows another. A call is drawn from the time when it was due:
`·` it waits to be sent, `░` it waits for its first token, `█` and `▓` (in turn) its tokens come, `×` it failed.
Calls that are not measured are dim.

Answers that overlap are made at the same time: a **parallel** server. A **staircase**, each answer beginning where
another ends, is a server that serves one at a time, however many wait.

Point at a call to see its figures. `m` shows the lanes alone.
"""
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *STYLES[1:],
        *SOLID.values(),
        "lanes--other",
        "lanes--axis",
        "lanes--title",
    }
    DEFAULT_CSS = """
    Lanes {
        width: 1fr;
        height: 1fr;
        min-height: 3;
        & > .lanes--wait { color: $foreground; text-style: dim; }
        & > .lanes--prefill { color: $accent; }
        & > .lanes--prefill-solid { color: $accent 40%; }
        & > .lanes--decode { color: $primary; }
        & > .lanes--decode-next { color: $primary-darken-2; }
        & > .lanes--failed { color: $error; text-style: bold; }
        & > .lanes--other { color: $foreground 35%; }
        &:ansi > .lanes--other { text-style: dim; }
        & > .lanes--axis { color: $foreground; text-style: dim; }
        & > .lanes--title { color: $foreground; text-style: bold; }
        &:light > .lanes--decode-next { color: $primary-lighten-2; }
        &:focus > .lanes--title { color: $primary; text-style: bold underline; }
    }
    """

    def __init__(
        self,
        title: str = "Calls",
        *,
        empty: str = "no call yet",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.heading, self.empty = title, empty
        self._timeline = Timeline()
        self._said = ("", False)
        self._places: list[list[Lane]] = []  # the lanes of each row

    def show(
        self,
        bars: Bars | Sequence[Bar],
        x: tuple[float, float],
        now: float | None = None,
        *,
        x_ticks: bool = True,
        marks: Marks = (),
    ) -> None:
        """Show these over that time in seconds. Calls under way are drawn up to `now`, or to the end of it."""
        self._timeline = Timeline(Bars.of(bars), x, now, x_ticks, tuple(marks))
        self._said = ("", False)
        self.changed()

    def say(self, message: str, failed: bool = False) -> None:
        """In place of calls: why there are none."""
        if self._said != (message, failed):
            self._said = (message, failed)
            self.changed()

    def rows(self, width: int, height: int, colours: bool) -> list[Row]:
        message, failed = self._said
        shown = Timeline() if message else self._timeline
        nothing = (message or self.empty, "lanes--failed" if failed else "lanes--axis")
        made, self._places = shown.rows(self.heading, nothing, width, height, self.marker != "ascii", colours)
        return made

    def on_mouse_move(self, event: MouseMove) -> None:
        at = event.get_content_offset(self)
        lanes = self._places[at.y] if at is not None and at.y < len(self._places) else []
        bar = None
        if at is not None and at.x >= MARGIN:
            bar = self._timeline.bar_at(lanes, at.x - MARGIN, self.size.width - MARGIN)
        told = "" if bar is None else described(bar)
        if told != (self.tooltip.plain if isinstance(self.tooltip, Content) else ""):
            self.tooltip = Content(told) if told else None

    def on_leave(self, event: Leave) -> None:
        self.tooltip = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """What lanes show, and how it becomes rows of text. What that costs depends on its size, not on how many calls."""

    bars: Bars | Sequence[Bar] = ()
    x: tuple[float, float] = (0.0, 1.0)
    now: float | None = None
    x_ticks: bool = True
    marks: tuple[tuple[float, str], ...] = ()

    def rows(
        self, title: str, nothing: tuple[str, str], width: int, height: int, unicode: bool, colours: bool
    ) -> tuple[list[Row], list[list[Lane]]]:
        """The rows, and which lanes each of them shows. `nothing`: said where there is no call, and its style."""
        if width < 1 or height < 1:
            return [[] for _ in range(height)], []
        low, high = bounds(*self.x)
        head: Row = [(plain(title, 60), "lanes--title")]
        signs = GLYPHS[unicode]
        entries = [(signs[phase], word, "", STYLES[phase]) for phase, word in WORDS.items()]
        top = fitted([*head, *legend(entries, width - len(head[0][0]), "lanes--axis")], width)
        if width < NARROWEST or height < LOWEST:
            return [top] + [fitted([], width)] * (height - 1), []
        groups = _lanes(Bars.of(self.bars))
        if not groups:
            return [top, *middle(plain(nothing[0]), nothing[1], width, height - 1)], []
        columns = width - MARGIN
        with_ticks = self.x_ticks and height > LOWEST
        made, places = [top], [list[Lane]()]
        for text, lanes in arranged(groups, height - 1 - with_ticks, 2 if unicode else 1):
            places.append(lanes)
            if not lanes:
                made.append([(text, "lanes--axis")])
                continue
            cells = [self._cells(lane.tracks, low, high, columns) for lane in lanes]
            chars, styles = _single(cells[0], unicode) if len(cells) == 1 else _double(cells[0], cells[1], colours)
            self._upright(chars, styles, low, high, "┊" if unicode else "|", named=not any(places[:-1]))
            made.append([(text, "lanes--axis"), *_runs(chars, styles)])
        made += [[] for _ in range(height - with_ticks - len(made))]
        if with_ticks:
            made.append([(x_row(x_ticks(low, high, "s", columns), low, high, columns), "lanes--axis")])
        return [fitted(row, width) for row in made], places

    def _cells(self, tracks: Sequence[Track], low: float, high: float, columns: int) -> list[int]:
        """What each cell of a lane shows."""
        cells = [NONE] * columns
        failed: list[int] = []
        span, right = high - low, columns - 1
        before = 0  # calls of the lane, so that each keeps its shade as time goes on
        for track in tracks:
            for turn in track.seen(low, high, columns):
                _, due_s, sent_s, first_s, end_s, state, _, _ = bar = track[turn]
                if end_s is None:
                    end_s = self._end_s(bar, high)
                if end_s < low or due_s > high:
                    continue
                other = OTHER if state in ("alone", "warmup") else 0
                if first_s is None or sent_s is None:
                    first_s = end_s
                if sent_s is None:
                    sent_s = end_s
                decode = NEXT if (before + turn) % 2 else DECODE
                start = floor((due_s - low) / span * right + 0.5)  # as `column_of`, which would take most of the time
                end = floor((end_s - low) / span * right + 0.5)
                at = max(start, end - 1)
                if start != end:
                    sent = floor((sent_s - low) / span * right + 0.5)
                    first = floor((first_s - low) / span * right + 0.5)
                    for phase, begin, stop in ((WAIT, start, sent), (PREFILL, sent, first), (decode, first, end)):
                        begin, stop = max(0, begin), min(columns, stop)
                        if stop > begin:
                            cells[begin:stop] = [phase + other] * (stop - begin)
                elif 0 <= at < columns and cells[at] == NONE:  # no call is too short to be seen
                    lengths = (sent_s - due_s, first_s - sent_s, end_s - first_s)
                    cells[at] = (WAIT, PREFILL, decode)[lengths.index(max(lengths))] + other
                if state == "failed" and bar.end_s is not None and 0 <= at < columns:
                    failed.append(at)
            before += len(track)
        for at in failed:
            cells[at] = FAILED
        return cells

    def _end_s(self, bar: Bar, high: float) -> float:
        if bar.end_s is not None:
            return bar.end_s
        return max(bar.due_s, bar.sent_s or bar.due_s, bar.first_s or bar.due_s, high if self.now is None else self.now)

    def _upright(self, chars: list[str], styles: list[str], low: float, high: float, char: str, named: bool) -> None:
        """The marks, where there is nothing else; their names in the top row."""
        for x, name in self.marks:
            at = column_of(x, low, high, len(chars)) if low <= x <= high else -1
            shown = char + plain(name, 24) if named else char
            if at >= 0 and not "".join(chars[at : at + len(shown)]).strip() and at + len(shown) <= len(chars):
                chars[at : at + len(shown)] = shown
                styles[at : at + len(shown)] = ["lanes--axis"] * len(shown)
            elif at >= 0 and chars[at] == " ":
                chars[at], styles[at] = char, "lanes--axis"

    def bar_at(self, lanes: Sequence[Lane], column: int, columns: int) -> Bar | None:
        """The call that is drawn there: of several the one that was due last."""
        low, high = bounds(*self.x)
        half_s = (high - low) / max(1, columns - 1) / 2
        at_s = low + 2 * half_s * column
        found: list[Bar] = []
        for track in (track for lane in lanes for track in lane.tracks):
            for at in reversed(track.within(at_s - half_s, at_s + half_s)):
                if self._end_s(bar := track[at], high) + half_s >= at_s:
                    found.append(bar)
                    break
        return max(found, key=lambda bar: bar.due_s, default=None)


def _lanes(bars: Bars) -> list[list[Lane]]:
    """By group, in the order in which they appear, the lanes by their numbers."""
    found: dict[str, dict[int, list[Track]]] = {}
    for track in bars.tracks:
        found.setdefault(track.group, {}).setdefault(track.lane, []).append(track)
    return [[Lane(group, at, lanes[at]) for at in sorted(lanes)] for group, lanes in found.items()]


def arranged(groups: list[list[Lane]], room: int, most: int) -> list[tuple[str, list[Lane]]]:
    """What stands in each row: a text for the margin and up to `most` lanes; or a text alone."""
    needed = len(groups) + sum(-(-len(lanes) // most) for lanes in groups)
    if len(groups) > 1 and needed > room and room <= 2 * len(groups):  # no room for names: servers take turns in lanes
        shared: dict[int, list[Track]] = {}
        for lane in (lane for lanes in groups for lane in lanes):
            shared.setdefault(lane.number, []).extend(lane.tracks)
        groups = [[Lane("", at, shared[at]) for at in sorted(shared)]]
    heads = len(groups) if len(groups) > 1 else 0
    each = 1 if sum(map(len, groups)) + heads <= room else most
    packed = [[lanes[at : at + each] for at in range(0, len(lanes), each)] for lanes in groups]
    left = room - heads
    if sum(map(len, packed)) > left:
        given = [0] * len(packed)
        left -= left > 1  # for the word that there are more
        while left > 0:
            for at, rows in enumerate(packed):
                if given[at] < len(rows) and left > 0:
                    given[at] += 1
                    left -= 1
    else:
        given = [len(rows) for rows in packed]
    found: list[tuple[str, list[Lane]]] = []
    for rows, shown in zip(packed, given, strict=True):
        if heads:
            found.append((plain(rows[0][0].group, 60), []))
        found += [(_margin(lanes), lanes) for lanes in rows[:shown]]
    hidden = sum(len(lanes) for rows, shown in zip(packed, given, strict=True) for lanes in rows[shown:])
    if hidden and len(found) < room:
        found.append((f"{'':{MARGIN}}… {hidden} more lane{'s' if hidden > 1 else ''}", []))
    return found


def _margin(lanes: Sequence[Lane]) -> str:
    name = "-".join(str(lane.number) for lane in lanes)
    return f"{name if len(name) < MARGIN else lanes[0].number:>{MARGIN - 1}} "[-MARGIN:]


def _style(cell: int) -> str:
    return "lanes--other" if cell & OTHER else STYLES[cell]


def _single(cells: Sequence[int], unicode: bool) -> tuple[list[str], list[str]]:
    glyphs = GLYPHS[unicode]
    return [glyphs[cell % OTHER] for cell in cells], [_style(cell) for cell in cells]


def _double(upper: Sequence[int], lower: Sequence[int], colours: bool) -> tuple[list[str], list[str]]:
    """Two lanes by halves of characters. Without colours only what is decoded is solid."""
    filled = (PREFILL, DECODE, NEXT) if colours else (DECODE, NEXT)
    chars, styles = [], []
    for up, down in zip(upper, lower, strict=True):
        char, style = " ", ""
        above, below = (SOLID.get(cell, _style(cell)) if cell % OTHER in filled else "" for cell in (up, down))
        if FAILED in (up, down):
            char, style = "×", STYLES[FAILED]
        elif above and below:
            char, style = ("█", above) if above == below or not colours else ("▀", f"{above} on {below}")
        elif above or below:
            char, style = ("▀", above) if above else ("▄", below)
        elif up or down:
            char, style = THIN[bool(up) + 2 * bool(down)], _style(up or down)
        chars.append(char)
        styles.append(style)
    return chars, styles


def _runs(chars: Sequence[str], styles: Sequence[str]) -> Row:
    pairs = zip(chars, styles, strict=True)
    return [("".join(char for char, _ in run), style) for style, run in groupby(pairs, key=lambda pair: pair[1])]


def described(bar: Bar) -> str:
    """A call's figures in two lines."""
    where = f"lane {bar.lane}" + (f" · {plain(bar.group, 40)}" if bar.group else "")
    steps = [("waited", bar.due_s, bar.sent_s), ("first token after", bar.sent_s, bar.first_s)]
    steps.append(("decoded for", bar.first_s, bar.end_s))
    told = [
        f"{word} {number(1e3 * (end - start), 'ms')}"
        for word, start, end in steps
        if start is not None and end is not None
    ]
    state = (
        "measured" if bar.state == "good" else {"warmup": "warm-up", "running": "under way"}.get(bar.state, bar.state)
    )
    return "\n".join([f"{plain(bar.name, 40)} · {where} · {state}", " · ".join(told)]).strip()
