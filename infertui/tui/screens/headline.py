"""The texts of the live page: what is under way, how far it is, what stands against it, and the servers' figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from infertui.metric import LAG_LIMIT_MS, LAG_SHARE
from infertui.report.figure import number, percent, seconds, size
from infertui.stats import Distribution
from infertui.text import plain
from infertui.tui.screens.panels import View, colours, letter
from infertui.tui.story import STAGES, Course, Story

DARK = ("$primary", "$accent", "$success", "$text-secondary", "$warning", "$error", "$foreground", "$text-primary")
LIGHT = ("$text-primary", "$text-accent", "$text-success", "$text-secondary", "$text-warning", "$text-error", "", "")
FAINT = "dim"
NARROW, WIDE = 72, 110  # columns of the terminal: fewer and more figures
MOST_SERVERS = {True: 8, False: 4}  # rows, by whether there is room

Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a story does not know of itself: the time, and how it goes with the program that tells it."""

    now_s: float
    running: bool
    stopping: bool = False
    state_s: float = 0.0  # since when its server is in its state, by now
    window: str = ""  # what part of the time is drawn
    paused: bool = False


class Standing(NamedTuple):
    """A server's figures so far, and what they were made of."""

    calls: int
    good: float | None
    output_tps: float | None
    ttft_ms: float | None
    e2e_ms: float | None


def standing(course: Course) -> Standing:
    """As the run's own figures will be; of one that has ended they are these."""
    if course.summary is not None:
        metrics = course.summary.metrics
        figures = [
            value.p50 if isinstance(value := metrics.get(key), Distribution) else value
            for key in ("success_rate", "output_tps", "ttft_ms", "e2e_ms")
        ]
        return Standing(course.ended, *figures)
    so_far = course.so_far
    medians = so_far.ttft_ms.value, so_far.e2e_ms.value
    return Standing(course.ended, so_far.success_rate, so_far.output_tps, *medians)


class Headline:
    """The texts above the charts."""

    def __init__(self, dark: bool = True) -> None:
        self.dark = dark

    def rows(self, view: View, moment: Moment, width: int, words: int) -> list[Content]:
        """At most so many of them are words of warning."""
        course = view.at_hand
        if course is None:
            return []
        found = [self._title(view, course, moment, width), self._progress(view.story, moment, width)]
        found.append(self._ending(view) if view.story.over else self._figures(view, course, width))
        return found + _words(view, course, moment)[:words]

    def table(self, view: View, width: int, tall: bool, running: bool) -> list[Content]:
        """A line a server, where there are several or their figures are final."""
        story = view.story
        courses = list(story.runs.values())
        if len(courses) < 2 and not story.over:
            return []
        columns = {"state": 13, "calls": 8, "good": 7, "tok/s": 8, "TTFT ms": 9, "e2e ms": 9}
        if width < NARROW:
            columns = {name: wide for name, wide in columns.items() if name not in ("good", "calls")}
        if width >= WIDE:
            columns |= {"CPU % a core": 12, "memory": 11}
        room = max(8, width - 6 - sum(size + 1 for size in columns.values()))
        head = _cell("server", room) + "".join(f" {_cell(name, size, True)}" for name, size in columns.items())
        found = [Content.assemble(("     " + head, FAINT))]
        most = MOST_SERVERS[tall]
        at = courses.index(view.at_hand) if view.at_hand in courses else 0
        first = max(0, min(at - most // 2, len(courses) - most))
        found += [self._server(view, course, columns, room, running) for course in courses[first : first + most]]
        if len(courses) > most:
            found[0] = found[0] + Content.styled(f" {len(courses) - most} more", FAINT)
        return found

    def _colour(self, number: int) -> str:
        return (DARK if self.dark else LIGHT)[number]

    # The rows.

    def _title(self, view: View, course: Course, moment: Moment, width: int) -> Content:
        story = view.story
        parts: list[Part] = []
        scenario = (f" {plain(course.scenario, 40)}", "bold")
        name = f"{len(story.runs)} servers" if story.over and view.chosen is None else plain(course.server, 40)
        if len(story.runs) > 1 and not (story.over and view.chosen is None):
            parts += [(f"● {letter(story, course)} ", self._colour(colours(story, course)[0]))]
            name += " (only this one is shown: v)" if view.chosen is not None else ""
        elif len(story.runs) == 1:
            name = plain(course.server, 40)
        text, style = _stage(story, course, moment)
        left = Content.assemble(scenario, (" · ", FAINT), (text, style), (" · ", FAINT), *parts, (name, "bold"))
        right = Content.assemble((" PAUSED ", "bold reverse $warning")) if moment.paused else Content("")
        right += Content.styled(f" {moment.window} ", FAINT)
        room = width - right.cell_length
        return left.truncate(max(10, room), ellipsis=True).pad_right(max(0, room - left.cell_length)) + right

    def _progress(self, story: Story, moment: Moment, width: int) -> Content:
        done, of = story.progress()
        told = f" {done}/{of}"
        left = story.left() if moment.running else ""
        after = f" · {left}" if left else ""
        after += f" · {seconds(moment.now_s)} "
        bar = max(4, width - cell_len(told) - cell_len(after) - 1)
        filled = min(bar, round(bar * done / of)) if of else 0
        return Content.assemble(
            " ", ("━" * filled, "$primary"), ("─" * (bar - filled), FAINT), (told, "bold"), (after, FAINT)
        )

    def _figures(self, view: View, course: Course, width: int) -> Content:
        tick = course.tick if course.block is not None else None
        so_far = standing(course)
        ttft_ms = tick.ttft_ms if tick is not None and tick.ttft_ms is not None else so_far.ttft_ms
        e2e_ms = tick.e2e_ms if tick is not None and tick.e2e_ms is not None else so_far.e2e_ms
        failed = sum(each.errors.total() for each in view.shown)
        early = sum(each.early.total() for each in view.shown)
        before = f"failed · {early} before the rounds" if early else "failed"
        parts = [
            _figure(number(tick.tokens_per_s if tick is not None else None), "tok/s"),
            _figure(number(ttft_ms, "ms"), "TTFT", before=True),
            _figure(number(e2e_ms, "ms"), "e2e", before=True),
            _figure(str(failed), before, style="bold $text-error" if failed or early else "bold"),
            _figure(str(tick.active if tick is not None else 0), "under way"),
            _figure(number(course.lag_ms, "ms"), "worst lag", before=True, style=lag_style(course.lag_ms, ttft_ms)),
        ]
        told = Content(" ") + Content("  ").join(parts)
        return told if told.cell_length <= width else Content(" ") + Content(" ").join(parts)

    def _ending(self, view: View) -> Content:
        """What can be done with a run that is over."""
        words = [("enter", "puts it beside others"), ("o", "opens the run")]
        if len(view.story.runs) > 1 and view.at_hand is not None:
            words = [("enter", "compares the runs"), ("o", f"opens {letter(view.story, view.at_hand)}")]
            words.append(("v", "chooses another"))
        words.append(("y", "copies the figures"))
        parts = [Content.assemble((key, "bold $primary"), f" {does}") for key, does in words]
        return Content(" ") + Content.styled(" · ", FAINT).join(parts)

    def _server(self, view: View, course: Course, columns: dict[str, int], room: int, running: bool) -> Content:
        story = view.story
        at_hand = course is view.at_hand
        so_far = standing(course)
        first, second = colours(story, course)
        state, style = state_of(story, course, running)
        cpu, memory = _taken(course)
        cells = {
            "state": (state, style),
            "calls": (f"{course.measured}/{course.planned_calls}", ""),
            "good": (percent(so_far.good), "" if so_far.good in (None, 1) else "bold $text-error"),
            "tok/s": (number(so_far.output_tps), "bold"),
            "TTFT ms": (number(so_far.ttft_ms), self._colour(second)),
            "e2e ms": (number(so_far.e2e_ms), self._colour(first)),
            "CPU % a core": (number(cpu), ""),
            "memory": (size(memory), ""),
        }
        mark = "▸" if at_hand and not story.over else " "
        parts: list[Part] = [(f"{mark}● {letter(story, course)} ", self._colour(first))]
        parts.append((_cell(plain(course.server, 80), room), "bold" if at_hand else ""))
        parts += [(f" {_cell(cells[name][0], size, True)}", cells[name][1]) for name, size in columns.items()]
        return Content.assemble(*parts)


def state_of(story: Story, course: Course, running: bool = True) -> tuple[str, str]:
    """A server's state in a word or two, and how it is written."""
    if course.status:
        from infertui.report.table import state_of as ended

        state = ended(course.status, course.summary)
        bad = state in ("failed", "not valid")
        return state, "bold $text-error" if bad else "bold $text-warning" if state != "done" else "$text-success"
    if course.state == "error":
        return "error", "bold $text-error"
    if not running:
        return "cut off" if course.spans else "did not come", "bold $text-error"
    if course is story.current:
        if story.waiting is not None:
            return "waits", "$text-warning"
        if course.block is None:
            return plain(course.state, 20) or "begins", ""
        number = f"round {course.block.round}/{course.rounds}"
        return {"warmup": "warm-up", "alone": "alone"}.get(course.block.role, number), "$text-success"
    rounds = sum(span.role == "measured" for span in course.spans)
    return f"{rounds}/{course.rounds} rounds" if rounds else plain(course.state, 20) or "to come", FAINT


def _stage(story: Story, course: Course, moment: Moment) -> Part:
    """What is going on, in a few words."""
    if story.over:
        states = [state_of(story, each)[0] for each in story.runs.values()]
        told = dict.fromkeys(states)
        if len(told) == 1:
            return states[0], state_of(story, course)[1]
        return ", ".join(f"{states.count(state)} {state}" for state in told), "bold $text-warning"
    if not moment.running:
        return "cut off", "bold $text-error"
    if course is not story.current:
        return ("between two servers", FAINT) if story.current is None else state_of(story, course)
    if story.waiting is not None:
        return "waits", "bold $text-warning"
    if course.block is None:
        after = f" {seconds(moment.state_s)}" if course.state == "loading" else ""
        said = f": {course.state_message}" if course.state_message else ""
        return (
            f"{plain(course.state, 20) or 'begins'}{after}{said}",
            "bold $text-error" if course.state == "error" else "",
        )
    block = course.block
    stage = STAGES.get(block.role, f"round {block.round} of {course.rounds}")
    return stage + (f", {block.concurrency} at once" if (block.concurrency or 0) > 1 else ""), "$text-success"


def _words(view: View, course: Course, moment: Moment) -> list[Content]:
    """What stands against the run, the gravest first."""
    story = view.story
    found: list[Part] = []
    if not moment.running and not story.over:
        said = story.log[-1][2] if story.log and story.log[-1][1] != "info" else "the run ended and did not say why"
        found.append((said, "bold $text-error"))
    if moment.stopping and moment.running:
        found.append(("stopping: calls under way may finish; x again stops at once", "bold $text-warning"))
    if story.waiting is not None and moment.running:
        waiting = story.waiting
        found.append((f"waits, {waiting.left_s:.0f} s at most: {plain(waiting.reason, 300)}", "$text-warning"))
    failed = [each for each in view.shown if each.state == "error" or each.status == "failed"]
    found += [(f"{plain(each.server, 40)}: {_why(story, each)}", "$text-error") for each in failed]
    if errors := [(kind, each.errors[kind], each) for each in view.shown for kind in sorted(each.errors)]:
        several = len([each for each in view.shown if each.errors]) > 1
        kinds = [f"{letter(story, each) + ' ' if several else ''}{kind} × {count}" for kind, count, each in errors]
        found.append((f"failed: {', '.join(kinds)}", "$text-error"))
    doubts = {text: style for each in _heard(view, course) for text, style in _doubts(each)}
    found += [
        (f"! {plain(text, 300)}", style) for text, style in sorted(doubts.items(), key=lambda doubt: doubt[1] == FAINT)
    ]
    caveats = dict.fromkeys(caveat for each in _heard(view, course) for caveat in each.caveats)
    found += [(f"~ {plain(caveat, 300)}", FAINT) for caveat in caveats]
    return [Content.assemble((f" {text}", style)) for text, style in found]


def _doubts(course: Course) -> Iterator[Part]:
    """The newest first."""
    for doubt in reversed(course.doubts):
        yield doubt.text, "$text-warning" if doubt.level == "suspicious" else FAINT


def _heard(view: View, course: Course) -> Sequence[Course]:
    """Whose doubts are told: of a run that is over all, else of the server at hand."""
    return view.shown if view.story.over else [course]


def _why(story: Story, course: Course) -> str:
    """Why a server's run failed."""
    if course.state == "error" and course.state_message:
        return course.state_message
    return next((text for _, level, text in reversed(story.log) if level == "error"), "failed")


def _taken(course: Course) -> tuple[float | None, float | None]:
    """CPU and private memory: of a run that has ended the mean, else the newest reading."""
    keys = ("server_cpu_percent", "server_private_bytes")
    if course.summary is None:
        cpu, memory = (course.latest.get(key) for key in keys)
        return cpu, memory
    told = [course.summary.metrics.get(key) for key in keys]
    cpu, memory = (value.mean if isinstance(value, Distribution) else value for value in told)
    return cpu, memory


def lag_style(lag_ms: float | None, ttft_ms: float | None) -> str:
    """It is the worst so far: a run is judged by the p99, so beyond the limit it is no more than a warning."""
    limit = max(LAG_LIMIT_MS, LAG_SHARE * (ttft_ms or 0.0))
    return "bold $text-warning" if lag_ms is not None and lag_ms > limit else "bold"


def _figure(figure: str, name: str, before: bool = False, style: str = "bold") -> Content:
    value, word = (figure, style), (name, FAINT)
    return Content.assemble(word, " ", value) if before else Content.assemble(value, " ", word)


def _cell(text: str, width: int, right: bool = False) -> str:
    """Exactly so wide."""
    wide = cell_len(text)
    if wide > width:
        return set_cell_size(text, max(0, width - 1)) + "…"
    return " " * (width - wide) + text if right else text + " " * (width - wide)


def log_lines(log: Sequence[tuple[float, str, str]]) -> Iterator[Part]:
    """Lines of the log, each with its style."""
    for at_s, level, text in log:
        sign, style = {"error": ("×", "bold red"), "warn": ("!", "yellow")}.get(level, (" ", ""))
        yield f"{at_s:7.1f} {sign} {text}", style
