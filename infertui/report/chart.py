"""A run's samples as small charts under each other on one axis of time: drawn once, for a terminal.

Stamps become seconds since the run's first sample or call. What was not read stays a gap, never a line or a zero.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from math import floor, fsum, isfinite, log10
from operator import itemgetter
from typing import NamedTuple

from rich.ansi import AnsiDecoder
from rich.console import Group
from rich.text import Text

from infertui.metric import CallRecord
from infertui.report.figure import number
from infertui.sample import SERIES, Sample
from infertui.span import Spans
from infertui.stats import percentile
from infertui.usage import windows

ROWS = 7  # of a chart without its title: ticks at halves and at thirds then stand in the middle of a row
MARGIN = 6  # columns for a chart's ticks
GAP = 2.5  # times the usual distance of two readings: more than that is a gap
EDGE_NS = 5_000_000_000  # of the time before the first call that is drawn
FINEST_S = 0.2  # over which tokens are counted, at least
NAMES = {"warmup": ("warm-up", "warm", "w"), "alone": ("alone", "a")}  # of blocks: the longest that fits
MIB, GIB = 1 << 20, 1 << 30
COLOURS = (12, 10, 13, 11)  # of the terminal's own palette
MARKS = "ox+*"  # tell the lines apart where there are no colours …
MARK_EVERY = 12  # … so many columns from each other
TIME_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)

# What each chart draws of the registry, by the names in its legend.
CPU = {"machine_cpu_percent": "machine", "server_cpu_percent": "server"}
MEMORY = {"server_private_bytes": "private", "server_mapped_bytes": "mapped", "server_gpu_bytes": "GPU"}
ALL_GPU = {"gpu_used_bytes": "GPU of all programs"}  # where the server's own part cannot be told
GPU = {"gpu_percent": "machine", "server_gpu_percent": "server"}
POWER = {"gpu_power_w": "GPU", "soc_power_w": "chip", "package_power_w": "CPU package", "system_power_w": "system"}
DRAWN = CPU | MEMORY | ALL_GPU | GPU | POWER

_Reading = tuple[int, int | None, float | None]  # at_ns, since_ns, value


class _Point(NamedTuple):
    """`weight`: its part in the mean, in whatever unit all points of a line share."""

    x_s: float
    y: float
    weight: float


class _Line(NamedTuple):
    """Unbroken stretches of points, no more than a chart can show; the figures are of all the measured ones."""

    label: str
    parts: list[list[_Point]]
    mean: float
    most: float


class _Chart(NamedTuple):
    title: str
    lines: list[_Line]
    note: str = ""


class _Frame(NamedTuple):
    """What all charts of a run share: its time, and the columns that it is drawn on."""

    start_ns: int
    span_s: float
    columns: int
    measured: Spans  # empty: no round was

    def at_s(self, at_ns: float) -> float:
        return max((at_ns - self.start_ns) / 1e9, 0.0)

    def counts(self, at_s: float) -> bool:
        """Whether a measured round was under way."""
        return self.measured.hold(self.start_ns + round(at_s * 1e9))

    def place(self, at_s: float, of: int) -> int:
        """In which of so many equal parts of the time it lies."""
        return min(int(at_s / self.span_s * of), of - 1)


def samples_view(
    samples: Sequence[Sample],
    calls: Sequence[CallRecord],
    reads: Mapping[str, array[int]],
    width: int = 120,
    colour: bool = True,
    cores: int | None = None,
) -> Text | Group:
    """Tokens/s, CPU, memory, GPU and power over the time of a run, each where there is something to draw.

    `reads`: by a call's name, in µs since it was sent, when the reads came that brought its tokens. `cores`: of the
    machine; a server's CPU is drawn as its share of all of them, and not at all where their number is unknown.
    A title's figures are of the measured rounds, or where there are none of all that its chart shows: the mean over
    time, and the highest. Of a long wait before the first call only the end is drawn.
    """
    if not samples:
        return Text("no samples: none taken while this run went on", "dim")
    colour = colour and not os.environ.get("NO_COLOR")
    sent = [call for call in calls if call.send_ns is not None]
    stamps = [stamp for call in sent for stamp in _flight(call, reads)]
    if stamps:  # a run may have waited long for its machine
        samples = [sample for sample in samples if sample.at_ns >= min(stamps) - EDGE_NS]
    stamps += [sample.at_ns for sample in samples]
    span_s = max((max(stamps) - min(stamps)) / 1e9, FINEST_S)
    frame = _Frame(min(stamps), span_s, max(width - MARGIN, 10), windows(sent))
    charts = [chart for chart in _charts(samples, sent, reads, frame, cores) if chart.lines]
    if not charts:
        return Text(f"no samples: {len(samples)} taken, and nothing in them to draw", "dim")
    drawn = [_blocks(sent, reads, frame)] if sent else []
    for chart in charts:
        drawn += _title(chart, width, colour)
        drawn += _canvas(chart.lines, frame, colour, with_time=chart is charts[-1])
    for line in drawn:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap, line.overflow = True, "crop"
    return Group(*drawn)


def _flight(call: CallRecord, reads: Mapping[str, array[int]]) -> tuple[int, int]:
    """From a call's sending to its end, or to the last that is known of it."""
    send_ns = call.send_ns or 0
    at_us = reads.get(call.name)
    known = (send_ns, call.last_ns, call.end_ns, send_ns + at_us[-1] * 1000 if at_us else None)
    return send_ns, max(stamp for stamp in known if stamp is not None)


# What is drawn.


def _charts(
    samples: Sequence[Sample],
    sent: Sequence[CallRecord],
    reads: Mapping[str, array[int]],
    frame: _Frame,
    cores: int | None,
) -> Iterator[_Chart]:
    found = _readings(samples)

    def lines(named: Mapping[str, str], unit: float = 1.0) -> list[_Line]:
        made = (_line(label, key, found[key], unit, frame) for key, label in named.items() if key in found)
        return [line for line in made if line]

    def most(key: str) -> float:
        return max((value for _, _, value in found.get(key, ()) if value is not None), default=-1.0)

    step_s = max(FINEST_S, _nice(frame.span_s / 200))
    tokens = _tokens(sent, reads, step_s, frame)
    yield _Chart("tokens/s", [tokens] if tokens else [], f"steps of {step_s:g} s")
    machine, server = ({key: label} for key, label in CPU.items())
    yield _Chart("CPU % of all cores", lines(machine) + (lines(server, cores) if cores else []))
    memory = MEMORY if most("server_gpu_bytes") >= 0 else MEMORY | ALL_GPU
    large = max(most(key) for key in memory) >= GIB
    yield _Chart("memory GiB" if large else "memory MiB", lines(memory, GIB if large else MIB))
    yield _Chart("GPU %", lines(GPU))
    yield _Chart("power W", lines(POWER))


def _readings(samples: Sequence[Sample]) -> dict[str, list[_Reading]]:
    """What was read of each series, in order of time. Where several sources tell it, by the one that told most."""
    found: dict[str, dict[str, list[_Reading]]] = {key: {} for key in DRAWN}
    for sample in samples:
        for key, value in sample.values.items():
            if key in found:
                is_known = value is not None and isfinite(value) and (value != 0 or key not in POWER)
                reading = (sample.at_ns, sample.since_ns, value if is_known else None)
                found[key].setdefault(sample.source, []).append(reading)
    known = {key: by_source.values() for key, by_source in found.items() if by_source}
    fullest = {key: max(told, key=lambda one: sum(each[2] is not None for each in one)) for key, told in known.items()}
    return {key: sorted(readings, key=itemgetter(0)) for key, readings in fullest.items()}


def _line(label: str, key: str, readings: Sequence[_Reading], unit: float, frame: _Frame) -> _Line | None:
    """A rate stands in the middle of its span and counts by its length; a level stands where it was read."""
    apart = sorted(later[0] - earlier[0] for earlier, later in pairwise(readings) if later[0] > earlier[0])
    usual_ns = percentile(apart, 50) if apart else 0.0
    rate = SERIES[key].kind == "rate"
    parts: list[list[_Point]] = [[]]
    before_ns: int | None = None
    for at_ns, since_ns, value in readings:
        if value is None or (before_ns is not None and at_ns - before_ns > GAP * usual_ns):
            parts.append([])
        before_ns = at_ns
        if value is None:
            continue
        length_ns = max(0, at_ns - since_ns) if rate and since_ns is not None else 0
        # A counter's rate covers a gap before it as well: it counts in full, and is not drawn into the gap.
        x_s = frame.at_s(at_ns - min(length_ns, usual_ns) / 2)
        parts[-1].append(_Point(x_s, value / unit, (length_ns or usual_ns or 1.0) if rate else 1.0))
    return _summed(label, parts, frame, highest=not rate)


def _tokens(sent: Sequence[CallRecord], reads: Mapping[str, array[int]], step_s: float, frame: _Frame) -> _Line | None:
    """Tokens of all calls together, while any is under way: where none is, there is no speed to speak of.

    A stretch of calls is cut into equal steps, each wholly within it, and divided by the time in which calls were under
    way: neither does the end of a call look slow, nor does a lone late token look like thousands a second.
    """
    flights: list[tuple[int, int]] = []
    came: list[tuple[int, float]] = []
    for call in sent:
        at_us = reads.get(call.name) or array("q")
        if not at_us and call.n_output:
            continue  # it came in one piece: when its tokens were made cannot be told
        flights.append(_flight(call, reads))
        shown = None if call.n_output is None else max(0, call.n_output - call.n_hidden)
        each = 1.0 if shown is None or not at_us else shown / len(at_us)
        came += [(flights[-1][0] + offset * 1000, each) for offset in at_us]
    if not came:
        return None
    came.sort()
    came_ns = [at_ns for at_ns, _ in came]
    amounts = [0.0, *accumulate(amount for _, amount in came)]
    busy = _united(flights, 0)
    starts = [start_ns for start_ns, _ in busy]
    lengths = [0, *accumulate(end_ns - start_ns for start_ns, end_ns in busy)]

    def busy_ns(until_ns: int) -> int:
        at = bisect_right(starts, until_ns)
        return lengths[at - 1] + min(until_ns, busy[at - 1][1]) - busy[at - 1][0] if at else 0

    parts: list[list[_Point]] = []
    for start_ns, end_ns in _united(flights, round(step_s * 1e9 / 2)):
        steps = max(1, round((end_ns - start_ns) / 1e9 / step_s))
        edges = [start_ns + (end_ns - start_ns) * step // steps for step in range(steps + 1)]
        until = [bisect_left(came_ns, edge) for edge in edges[:-1]] + [bisect_right(came_ns, end_ns)]
        part = []
        for (low, high), (first, last) in zip(pairwise(edges), pairwise(until), strict=True):
            taken_s = (busy_ns(high) - busy_ns(low)) / 1e9
            if taken_s > 0:
                tps = (amounts[last] - amounts[first]) / taken_s
                part.append(_Point(frame.at_s((low + high) / 2), tps, taken_s))
        parts.append(part)
    return _summed("all calls", parts, frame, highest=False)


def _united(spans: Sequence[tuple[int, int]], pause_ns: int) -> list[tuple[int, int]]:
    """Spans of time as few that do not touch; pauses up to that length are bridged."""
    united: list[tuple[int, int]] = []
    for start_ns, end_ns in sorted(spans):
        if united and start_ns - united[-1][1] <= pause_ns:
            united[-1] = (united[-1][0], max(end_ns, united[-1][1]))
        else:
            united.append((start_ns, end_ns))
    return united


def _summed(label: str, parts: Sequence[Sequence[_Point]], frame: _Frame, highest: bool) -> _Line | None:
    """A line with its figures. Of more points than there is room for, a column shows the mean, or the highest."""
    points = [point for part in parts for point in part]
    if not points:
        return None
    places = 2 * frame.columns  # a character of braille has two columns
    shown = [list(part) for part in parts if part]
    if len(points) > places:
        shown = [_thinned(part, frame, places, highest) for part in shown]
    told = [point for point in points if frame.counts(point.x_s)] or points
    return _Line(label, shown, _mean(told), max(point.y for point in told))


def _thinned(part: Sequence[_Point], frame: _Frame, places: int, highest: bool) -> list[_Point]:
    thinned = []
    for place, group in groupby(part, key=lambda point: frame.place(point.x_s, places)):
        points = list(group)
        y = max(point.y for point in points) if highest else _mean(points)
        thinned.append(_Point((place + 0.5) / places * frame.span_s, y, 1.0))
    return thinned


def _mean(points: Sequence[_Point]) -> float:
    return fsum(point.y * point.weight for point in points) / fsum(point.weight for point in points)


# How it is drawn.


def _blocks(sent: Sequence[CallRecord], reads: Mapping[str, array[int]], frame: _Frame) -> Text:
    """A line of where the blocks of calls lie; the measured ones are drawn last and heavier."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for call in sent:
        start_ns, end_ns = _flight(call, reads)
        known = spans.get((call.role, call.round), (start_ns, end_ns))
        spans[call.role, call.round] = (min(start_ns, known[0]), max(end_ns, known[1]))
    cells = [" "] * frame.columns
    heavy = [False] * frame.columns
    for measured in (False, True):
        blocks = [(span, key) for key, span in spans.items() if (key[0] == "measured") is measured]
        for (start_ns, end_ns), (role, turn) in sorted(blocks):
            first, last = (frame.place(frame.at_s(stamp), frame.columns) for stamp in (start_ns, end_ns))
            if heavy[first] and first < last:
                first += 1  # the round before has that column
            names = (f"round {turn}", str(turn)) if measured else NAMES.get(role, ())
            cells[first : last + 1] = _bar(last - first + 1, names, measured)
            heavy[first : last + 1] = [measured] * (last - first + 1)
    line = Text(" " * MARGIN)
    for bold, group in groupby(zip(cells, heavy, strict=True), key=lambda cell: cell[1]):
        line.append("".join(cell for cell, _ in group), "bold" if bold else "dim")
    line.rstrip()
    return line


def _bar(size: int, names: Sequence[str], heavy: bool) -> str:
    """A bar of that many characters, with the longest of the names that it has room for."""
    left, fill, right, alone = "┣━┫┃" if heavy else "├─┤│"
    if size == 1:
        return alone
    name = next((name for name in names if len(name) <= size - 2), "")
    if name and len(name) <= size - 4:
        name = f" {name} "
    return f"{left}{name:{fill}^{size - 2}}{right}"


def _title(chart: _Chart, width: int, colour: bool) -> list[Text]:
    """The chart's name and its legend with the figures: in one line, or in as many as the width makes it."""
    pieces = []
    for place, line in enumerate(chart.lines):
        mark = "━" if colour or len(chart.lines) == 1 else MARKS[place]
        name = (f"{mark} {line.label}", f"color({COLOURS[place]})" if colour else "")
        pieces.append(Text.assemble(name, f" {number(line.mean)}", (f" (max {number(line.most)})", "dim")))
    if chart.note:
        pieces.append(Text(chart.note, "dim"))
    lines = [Text.assemble((chart.title, "bold"), "  ", pieces[0])]
    for piece in pieces[1:]:
        if lines[-1].cell_len + 3 + piece.cell_len > width:
            lines.append(Text(" " * (len(chart.title) + 2)).append_text(piece))
        else:
            lines[-1].append(" · ", "dim").append_text(piece)
    return lines


def _canvas(lines: Sequence[_Line], frame: _Frame, colour: bool, with_time: bool) -> list[Text]:
    import plotext  # type: ignore[import-untyped]

    # A figure of our own: the package's one is global, and never larger than the terminal.
    figure = type(plotext.figure)(type(plotext.terminal)().limit(False, False))
    figure.plot_size(MARGIN + frame.columns, ROWS + with_time)
    figure.theme("colorless").canvas("default").axes(False)
    ticks, labels = _scale(max(point.y for line in lines for part in line.parts for point in part))
    rising = figure.ruler("y", "left").lim(0, ticks[-1])
    rising.ticks(ticks, labels=[f"{label:>{MARGIN - 1}} " for label in labels])
    rising.grid(True, style="dotted", pixel=plotext.pixel(style="dim"))
    along = figure.ruler("x", "lower").lim(0, frame.span_s).alignment(lim="edge")
    along.ticks(*(_time(frame) if with_time else ([], [])))
    for place, line in enumerate(lines):
        pixel = plotext.pixel(COLOURS[place]) if colour else plotext.pixel()
        dots, lone = plotext.marker("braille", pixel), plotext.marker("•", pixel)
        points = [point for part in line.parts for point in part]
        markers = [lone if len(part) == 1 else dots for part in line.parts for _ in part]
        signal = figure.signal([point.x_s for point in points], [point.y for point in points], marker=markers)
        signal.lines(True)
        for start in accumulate((len(part) for part in line.parts), initial=0):
            signal.line(start, False)
        figure.draw(signal)
    if not colour and len(lines) > 1:
        for place, line in enumerate(lines):
            marked = _marked(line, frame, place * MARK_EVERY // len(lines))
            xs, ys = [point.x_s for point in marked], [point.y for point in marked]
            figure.draw(figure.signal(xs, ys, marker=MARKS[place]))
    drawn = list(AnsiDecoder().decode(figure.build().string()))[: ROWS + with_time]
    for row, text in enumerate(drawn):
        text.stylize("dim", 0, MARGIN if row < ROWS else None)
        text.rstrip()
    return drawn


def _marked(line: _Line, frame: _Frame, shift: int) -> list[_Point]:
    """Points of a line at which its mark is set: one in so many columns, and each that stands alone."""
    chosen: dict[int, _Point] = {}
    for part in line.parts:
        for point in part:
            chosen.setdefault((frame.place(point.x_s, frame.columns) + shift) // MARK_EVERY, point)
    return [*chosen.values(), *(part[0] for part in line.parts if len(part) == 1)]


def _nice(least: float, leaders: Sequence[float] = (1, 2, 5, 10)) -> float:
    """The smallest round number that is no smaller."""
    size = 10.0 ** floor(log10(least))
    return next(leader * size for leader in leaders if leader * size >= least * (1 - 1e-9))


def _scale(most: float) -> tuple[list[float], list[str]]:
    """Ticks from zero to a round number above the highest value, two or three steps apart, and what they are called."""
    top = _nice(max(most, 0.01), (1, 1.5, 2, 3, 4, 6, 10)) if most > 0 else 1.0
    size = 10.0 ** floor(log10(top) + 1e-9)
    steps = 3 if round(top / size, 1) in (1.5, 3, 6) else 2
    step = top / steps
    digits = max(0, -floor(log10(step) + 1e-9))
    ticks = [step * count for count in range(steps + 1)]
    names = [f"{tick / 1000:g}k" if top >= 1e4 else f"{tick:,.{digits}f}" for tick in ticks]
    return ticks, ["0", *names[1:]]


def _time(frame: _Frame) -> tuple[list[float], list[str]]:
    """Where the axis of time has its ticks, and their names: the last one tells the unit."""
    room = max(2, frame.columns // 14)
    step_s = next((step for step in TIME_STEPS_S if frame.span_s / step <= room), TIME_STEPS_S[-1])
    unit_s, unit = (1, "s") if step_s < 60 else (60, "min") if step_s < 3600 else (3600, "h")
    ticks = [step_s * count for count in range(floor(frame.span_s / step_s * (1 + 1e-9)) + 1)]
    names = [f"{tick / unit_s:g}" for tick in ticks]
    return ticks, [*names[:-1], f"{names[-1]} {unit}"]
