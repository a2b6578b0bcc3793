"""The live page: the run that the app has started, while it goes on and after it has ended.

It looks at the story four times a second at most, and draws what is seen where that has changed. Pausing holds the
picture, not the run.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.widgets import RichLog, Static

from infertui.tui.chart import Chart
from infertui.tui.lanes import Lanes
from infertui.tui.page import Page
from infertui.tui.screens.headline import Headline, Moment, log_lines
from infertui.tui.screens.panels import Panel, View, letter
from infertui.tui.story import Story
from infertui.tui.widgets import Notice

FRAME_S = 0.25
MOST_SHARE = 0.09  # of a core, for this whole program …
LONGEST_S = 1.0  # … as long as there is a look each second
WINDOWS_S = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
WINDOW_NAMES = dict(zip(WINDOWS_S, ("10 s", "30 s", "1 min", "2 min", "5 min", "10 min", "30 min"), strict=True))
USUAL_S = 120.0  # so much of the time is drawn, where nobody has chosen: at first all of it
LEAST_S = 10.0  # of a run that has just begun the axis is as long as this already
EMPTY = {
    "speed": "no token yet",
    "latency": "no measured call has ended yet",
    "load": "nothing read yet",
    "memory": "nothing read yet",
    "power": "nothing read yet",
}
ELSEWHERE = "nothing in this part of the time"
COPIED = 120  # columns
ROWS_FOR_TWO, ROWS_FOR_THREE = 22, 44  # lines of the terminal: from these on so many charts stand above each other


class Happened(RichLog, can_focus=True):
    """The story's log, the newest at the bottom."""

    HELP = """\
### Log

What has happened, with the seconds since the beginning: states of servers, rounds, waits, and in red what failed.
It stays at the newest line unless you go up. `j` `k` lines, `g` `G` beginning and end, `l` puts it away.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("g", "scroll_home", "Top", show=False),
        Binding("G,shift+g", "scroll_end", "Bottom", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, max_lines=4000, min_width=0, wrap=True, markup=False, highlight=False)
        self._story: Story | None = None
        self._written = 0
        self._broken_for = 0  # columns

    def follow(self, story: Story) -> None:
        """Write what is new."""
        if story is not self._story:
            self.clear()
            self._story, self._written = story, 0
        fresh = min(story.logged - self._written, len(story.log))
        below = self.is_vertical_scroll_end
        for text, style in log_lines(story.log[len(story.log) - fresh :]):
            self.write(Text(text, style), scroll_end=below)
        self._written = story.logged

    def on_resize(self, event: Resize) -> None:
        """Lines are broken anew for the width."""
        if self._story is not None and event.size.width != self._broken_for:
            self._broken_for = event.size.width
            story, self._story = self._story, None
            self.follow(story)


class LiveScreen(Page):
    PAGE = "live"
    CSS_PATH = "live.tcss"
    HELP = """\
### Live

On top: what is under way, how far it has come, the figures of the server at hand, and what stands against the run
(`!` a doubt about the machine, `~` what has to be known of a server). Of several servers each has a line, with the
letter and the colour that the charts use for it. **worst lag** is how late our own client was when it was latest. It
is coloured beyond 2 ms, or 2 % of the time to the first token: a run is not valid when the p99 of its lag is.

The charts and the calls share one axis of time, from the start of the experiment.

- `space` holds the picture; the run goes on. `←` `→` then move in time
- `+` `-` a shorter or longer part of the time, `0` all of it
- `[` `]` other charts, where there is no room for all
- `v` all servers, or one of them alone
- `f` the server before, drawn beneath the one at hand: moved so that their measured rounds begin together
- `l` the log, `m` the focused pane alone, `y` copies the figures
- `x` stops the run and keeps what was measured; twice: at once
- when it is over: `enter` compares the runs, `o` opens one
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause", id="live.pause", tooltip="Hold the picture; the run goes on"),
        Binding("x", "stop", "Stop", id="live.stop", tooltip="Stop the run, keep what was measured; twice: at once"),
        Binding("minus", "zoom(1)", "Zoom", key_display="-/+", id="live.longer", tooltip="A longer part of the time"),
        Binding("l", "log", "Log", id="live.log", tooltip="What has happened, in words"),
        Binding("enter,c", "compare", "Compare", key_display="⏎", id="live.compare", tooltip="Compare the runs"),
        Binding("plus,equals_sign", "zoom(-1)", "Zoom in", show=False, id="live.shorter", tooltip="A shorter part"),
        Binding("0", "all", "All of the time", show=False, id="live.all", tooltip="All of the time"),
        Binding("left", "move(1)", "Back in time", show=False, id="live.back", tooltip="Back in time"),
        Binding("right", "move(-1)", "On in time", show=False, id="live.on", tooltip="On in time"),
        Binding(
            "left_square_bracket", "turn(-1)", "Charts before", show=False, id="live.former", tooltip="Charts before"
        ),
        Binding("right_square_bracket", "turn(1)", "More charts", show=False, id="live.next", tooltip="More charts"),
        Binding("f", "ghost", "Server before", show=False, id="live.ghost", tooltip="The server before, beneath"),
        Binding("v", "view", "Other server", show=False, id="live.view", tooltip="All servers, or one alone"),
        Binding("o", "open", "Open the run", show=False, id="live.open", tooltip="The run in full"),
        Binding("y", "copy", "Copy", show=False, id="live.copy", tooltip="Copy the figures"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._head = Headline()
        self._forget(None)
        self._window_s: float | None = USUAL_S  # None: all of the time
        self._ghost = True
        self._with_log = False
        self._looked = (0.0, 0.0)  # our CPU time and the clock at the last look

    def _forget(self, story: Story | None) -> None:
        """Another run is shown: as of now."""
        self._story = story
        self._head = Headline(self._head.dark)
        self._chosen: int | None = None  # run; None: all
        self._paused_s: float | None = None
        self._back_s = 0.0  # how far from the newest the picture ends
        self._first_panel = 0
        self._pages = (1, 1)  # which of the charts are shown, and how many such there are
        self._told: object = None
        self._arranged: object = None
        self._could: object = None
        self._heard = (-1.0, 0.0)  # the story's newest time, and our clock then
        self._state: tuple[object, float] = (None, 0.0)  # of the server at hand, and since when

    def body(self) -> ComposeResult:
        yield Notice("No run yet: 1 opens Launch, r starts one", id="live-notice")
        with Vertical(id="live-body"):
            yield Static(id="live-head", markup=False)
            yield Static(id="live-servers", markup=False)
            with Container(id="live-charts"):
                for key, empty in EMPTY.items():
                    yield Chart("", empty=empty, id=f"live-{key}")
            with Horizontal(id="live-below"):
                yield Lanes(id="live-lanes", empty="no call yet")
                yield Happened(id="live-log")

    def on_mount(self) -> None:
        for each in (*self.query(Chart), *self.query(Lanes)):
            each.marker = self.host.settings.app.chart
        self._head.dark = self.app.current_theme.dark
        self.app.theme_changed_signal.subscribe(self, self._recolour)
        self.watch(self, "maximized", self._anew, init=False)
        self.set_interval(FRAME_S, self._look)
        self._show_log()
        self._anew()

    def _recolour(self, theme: Any) -> None:
        self._head.dark = theme.dark
        self._anew()

    def on_resize(self, event: Resize) -> None:
        """The page's own handler is called as well."""
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        self._show_log()
        self._anew()

    def on_screen_resume(self) -> None:
        self._anew()

    # When it is drawn.

    def _look(self) -> None:
        """Four times a second, or less often where drawing would take more of a core than it is worth."""
        spent_s, now_s = time.process_time(), time.monotonic()
        since_s = now_s - self._looked[1]
        if since_s >= LONGEST_S or spent_s - self._looked[0] <= MOST_SHARE * since_s:
            self._looked = (spent_s, now_s)
            self._look_now()

    def _look_now(self, moved: bool = False) -> None:
        """What has changed since the last look is drawn; while nobody looks, nothing is.

        `moved`: a picture that is held is drawn as well.
        """
        if not self._seen:
            return
        story = self.host.story
        if story is not self._story:
            self._forget(story)
        told: object = None
        if story is not None:
            calls = sum(course.ended for course in story.runs.values())
            waits_s = None if story.waiting is None else story.waiting.left_s
            now = (self.host.running, self._stopping, int(self._now_s()))
            told = (story.newest_s, story.logged, calls, len(story.runs), story.over, waits_s, *now)
        if told != self._told:
            self._told = told
            self._draw(picture=moved or self._paused_s is None)

    def _anew(self) -> None:
        """The user, or the terminal, wants another look at the same."""
        if self._seen:
            self._told = ()
            self._look_now(moved=True)

    @property
    def _seen(self) -> bool:
        """Whether it is on top, or shines through a dialogue that is."""
        return self.is_active or (self.is_current and self.app.screen.is_modal)

    @property
    def _stopping(self) -> bool:
        return self.host.child is not None and self.host.child.asked_to_stop > 0

    def _now_s(self) -> float:
        """On the story's axis: what it has heard of last, and while it goes on the time since then."""
        story = self._story
        if story is None or not self.host.running:
            return 0.0 if story is None else story.newest_s
        if story.newest_s != self._heard[0]:
            self._heard = (story.newest_s, time.monotonic())
        return story.newest_s + time.monotonic() - self._heard[1]

    def _view(self) -> View | None:
        if self._story is None or not self._story.runs:
            return None
        chosen = None if self._chosen is None else self._story.runs.get(self._chosen)
        return View(self._story, chosen, self._ghost)

    def _draw(self, picture: bool) -> None:
        view = self._view()
        self.query_one("#live-notice").display = view is None
        self.query_one("#live-body").display = view is not None
        if view is None:
            self._notice()
        else:
            now_s = self._now_s()
            if picture:
                self._picture(view, now_s)
            self._texts(view, now_s)
            if self._with_log:
                self.query_one(Happened).follow(view.story)
        able = (view is None, self.host.running)
        if able != self._could:
            self._could = able
            self.refresh_bindings()

    def _notice(self) -> None:
        notice = self.query_one("#live-notice", Notice)
        story = self._story
        if story is None:
            notice.say("No run yet: 1 opens Launch, r starts one")
        elif self.host.running:
            notice.say("The run begins …", "busy")
        else:
            notice.say(story.log[-1][2] if story.log else "The run ended before it began", "failed")

    # What is drawn.

    def _texts(self, view: View, now_s: float) -> None:
        width, tall = self.size.width, self.has_class("-tall")
        head = self._head.rows(view, self._moment(view, now_s), width, 2 if tall else 1)
        self._show("#live-head", head)
        self._show("#live-servers", self._head.table(view, width, tall, self.host.running))

    def _show(self, name: str, rows: list[Content]) -> None:
        """Laid out again only where it has another height."""
        text = self.query_one(name, Static)
        text.display = bool(rows)
        same = len(rows) == text.size.height
        text.update(Content("\n").join(rows), layout=not same)

    def _moment(self, view: View, now_s: float) -> Moment:
        course = view.at_hand
        at = (course and course.run, course and course.state)
        if at != self._state[0]:
            self._state = (at, now_s)
        window = "all" if self._span_s(view, now_s) is None else f"last {WINDOW_NAMES[self._window_s or USUAL_S]}"
        if self._back_s:
            window += f", {self._back_s:.0f} s back"
        if self._pages[1] > 1:
            window += f" · charts {self._pages[0]}/{self._pages[1]}"
        return Moment(
            now_s=now_s,
            running=self.host.running,
            stopping=self._stopping,
            state_s=now_s - self._state[1],
            window=window,
            paused=self._paused_s is not None,
        )

    def _span_s(self, view: View, now_s: float) -> float | None:
        """How much of the time is drawn. None: all that there is."""
        low, high = view.extent(now_s)
        return self._window_s if self._window_s is not None and high - low > self._window_s else None

    def _range(self, view: View, now_s: float) -> tuple[float, float]:
        edge_s = now_s if self._paused_s is None else self._paused_s
        low, high = view.extent(edge_s)
        span_s = self._span_s(view, edge_s)
        if span_s is None:
            return low, max(high, low + LEAST_S) if self.host.running and high >= edge_s else high
        high = max(high - self._back_s, low + span_s)
        return high - span_s, high

    def _picture(self, view: View, now_s: float) -> None:
        low, high = self._range(view, now_s)
        panels = view.panels(low, high)
        shown, columns = self._page(panels)
        marks = view.marks(low, high)
        alone = self.maximized
        for place, panel in enumerate(shown):
            chart = self.query_one(f"#live-{panel.key}", Chart)
            if alone is not None and alone is not chart:
                continue
            last_row = place >= len(shown) - (len(shown) % columns or columns)
            with_time = alone is chart or (last_row and (columns > 1 or not self.query_one(Lanes).display))
            chart.heading, chart.unit = panel.title, panel.unit
            chart.empty = ELSEWHERE if any(line.points for line in panel.lines) else EMPTY[panel.key]
            chart.plot(panel.lines, (low, high), x_ticks=with_time, marks=[(at_s, "") for at_s, _ in marks])
        lanes = self.query_one(Lanes)
        if lanes.display and (alone is None or alone is lanes):
            edge_s = now_s if self._paused_s is None else self._paused_s
            lanes.heading = "Calls" if view.chosen is None else f"Calls · {letter(view.story, view.chosen)}"
            lanes.show(view.bars(low, high, edge_s), (low, high), edge_s, marks=marks)

    @property
    def _room(self) -> tuple[int, int]:
        """How many charts there is room for, beside and above each other."""
        rows = 1 if self.size.height < ROWS_FOR_TWO else 3 if self.size.height >= ROWS_FOR_THREE else 2
        return 2 if self.has_class("-wide") else 1, rows

    def _page(self, panels: list[Panel]) -> tuple[list[Panel], int]:
        """Which charts are shown, and how many beside each other; the others are a key away."""
        columns, rows = self._room
        room = columns * rows
        if self._first_panel >= len(panels):
            self._first_panel = 0
        first = self._first_panel // room * room
        shown = panels[first : first + room]
        columns = min(columns, len(shown))
        keys = tuple(panel.key for panel in shown)
        if (keys, columns, len(panels)) != self._arranged:
            self._arranged = (keys, columns, len(panels))
            grid = self.query_one("#live-charts")
            grid.styles.grid_size_columns = columns
            for key in EMPTY:
                chart = self.query_one(f"#live-{key}", Chart)
                chart.display = key in keys
                odd = columns == 2 and len(keys) % 2 == 1 and key == keys[-1]
                chart.styles.column_span = 2 if odd else 1
        self._pages = (first // room + 1, -(-len(panels) // room))
        return shown, columns

    def _show_log(self) -> None:
        """Beside the lanes, or in their place where there is no room for both."""
        log = self.query_one(Happened)
        log.display = self._with_log
        self.query_one(Lanes).display = not self._with_log or self.has_class("-wide")

    # What keys do.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stop":
            return self.host.running or None
        if action == "pause":
            return (self._view() is not None and (self.host.running or self._paused_s is not None)) or None
        if action == "compare":
            return (self._view() is not None and not self.host.running) or None
        if action in ("zoom", "log", "all", "move", "turn", "ghost", "view", "open", "copy"):
            return self._view() is not None or None
        return True

    def action_pause(self) -> None:
        if self._paused_s is None:
            self._paused_s = self._now_s()
        else:
            self._paused_s, self._back_s = None, 0.0
        self._anew()

    def action_stop(self) -> None:
        self.host.stop_run()
        self._anew()

    def action_zoom(self, by: int) -> None:
        view = self._view()
        if view is None:
            return
        low, high = view.extent(self._now_s())
        span_s = self._span_s(view, self._now_s()) or high - low
        if by > 0:
            self._window_s = next((each for each in WINDOWS_S if each > span_s), None)
        else:
            self._window_s = next((each for each in reversed(WINDOWS_S) if each < span_s), WINDOWS_S[0])
        self._anew()

    def action_all(self) -> None:
        self._window_s, self._back_s = None, 0.0
        self._anew()

    def action_move(self, by: int) -> None:
        """A quarter of what is drawn. What goes on would run away, so it is held."""
        view = self._view()
        if view is None:
            return
        if self._paused_s is None and self.host.running:
            self._paused_s = self._now_s()
        edge_s = self._now_s() if self._paused_s is None else self._paused_s
        low, high = view.extent(edge_s)
        if (span_s := self._span_s(view, edge_s)) is not None:
            self._back_s = min(max(0.0, self._back_s + by * span_s / 4), high - low - span_s)
        self._anew()

    def action_turn(self, by: int) -> None:
        page, of = self._pages
        columns, rows = self._room
        self._first_panel = (page - 1 + by) % of * columns * rows
        self._anew()

    def action_log(self) -> None:
        self._with_log = not self._with_log
        self._show_log()
        self._anew()
        if self._with_log and not self.has_class("-wide"):
            self.query_one(Happened).focus()

    def action_ghost(self) -> None:
        self._ghost = not self._ghost
        self._anew()

    def action_view(self) -> None:
        """All servers, then one after the other, and round again."""
        runs = list(self._story.runs) if self._story is not None else []
        if len(runs) > 1:
            at = -1 if self._chosen is None else runs.index(self._chosen)
            self._chosen = runs[at + 1] if at + 1 < len(runs) else None
            self._back_s = 0.0
            self._anew()

    def action_compare(self) -> None:
        if self._story is not None and self._story.runs:
            self.host.compare(list(self._story.runs))

    def action_open(self) -> None:
        view = self._view()
        if view is not None and view.at_hand is not None:
            self.host.show_run(view.at_hand.run)

    def action_copy(self) -> None:
        view = self._view()
        if view is not None:
            moment = self._moment(view, self._now_s())
            rows = self._head.rows(view, moment, COPIED, 20) + self._head.table(view, COPIED, True, self.host.running)
            self.host.copy("\n".join(row.plain.rstrip() for row in rows) + "\n", "the figures")
