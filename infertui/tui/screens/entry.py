"""A run in a list of runs: what is shown of it, found by words, and sorted by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Group
from rich.text import Text

from infertui.compare import figure_of
from infertui.metric import Summary
from infertui.pid import alive
from infertui.report.figure import UNKNOWN, number
from infertui.text import plain
from infertui.tui.widgets import Column

if TYPE_CHECKING:
    from infertui.store import RunRow, Store

STATES = {
    "done": "green",
    "suspicious": "yellow",
    "not valid": "red",
    "failed": "red",
    "stopped": "yellow",
    "interrupted": "yellow",
    "running": "cyan",
}
FIGURES = {"ttft_ms": ("ttft ms", 8), "e2e_ms": ("e2e ms", 7), "output_tps": ("tok/s", 7), "success_rate": ("ok %", 6)}
SORTED_BY = ("run", "scenario", "server", "model", "label", "state", *FIGURES)
SHORT = {"ttft_ms": "ttft", "e2e_ms": "e2e", "output_tps": "all calls", "effective_tps": "a call", "wall_s": "wall"}
WIDE = 110
FEWEST = 6  # characters of a name
MARK = "●"


@dataclass(frozen=True, slots=True)
class Entry:
    """`words`: everything that it is found by."""

    run: int
    experiment: int
    server: str
    model: str
    scenario: str
    label: str
    note: str
    tags: tuple[str, ...]
    when: str
    state: str
    message: str
    setup: dict[str, Any]
    caveats: int
    summary: Summary | None
    words: str

    def figure(self, key: str) -> float | None:
        return None if self.summary is None else figure_of(key, self.summary.metrics.get(key))

    def matches(self, words: Sequence[str]) -> bool:
        return all(word in self.words for word in words)

    def summed(self, summary: Summary) -> Entry:
        """With figures that the database does not have: of a run that was cut off."""
        return replace(self, summary=summary)


def listed(store: Store) -> list[Entry]:
    """All runs of the database, the newest first. One whose runner is gone runs no more, whatever it says itself."""
    tags, cut = store.all_tags(), store.cut_off(alive)
    return [
        _entry(row, "interrupted" if row.id in cut else row.status, tuple(tags.get(row.id, ()))) for row in store.runs()
    ]


def _entry(row: RunRow, status: str, tags: tuple[str, ...]) -> Entry:
    from infertui.report.table import state_of

    summary = msgspec.json.decode(row.summary, type=Summary) if row.summary else None
    state = state_of(status, summary)
    shown = [plain(text, 120) for text in (row.server, row.model, row.scenario, row.label)]
    labels = tuple(plain(tag, 60) for tag in tags)
    note = plain(row.note, 600)
    return Entry(
        run=row.id,
        experiment=row.experiment_id,
        server=shown[0],
        model=shown[1],
        scenario=shown[2],
        label=shown[3],
        note=note,
        tags=labels,
        when=_local(row.started_at),
        state=state,
        message=plain(row.message, 600),
        setup=msgspec.json.decode(row.setup),
        caveats=len(msgspec.json.decode(row.facts).get("caveats", ())),
        summary=summary,
        words=" ".join((str(row.id), *shown, *labels, state, note)).casefold(),
    )


def _local(stamp: str) -> str:
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(stamp).astimezone().strftime("%m-%d %H:%M")
    return UNKNOWN


def in_order(entries: Sequence[Entry], by: str, backwards: bool) -> list[Entry]:
    """What is unknown comes last either way; of equals the newer one comes first."""
    newest_first = sorted(entries, key=lambda entry: -entry.run)
    if by == "run":
        return newest_first[::-1] if backwards else newest_first
    value: Callable[[Entry], Any] = (
        (lambda entry: entry.figure(by)) if by in FIGURES else (lambda entry: getattr(entry, by).casefold() or None)
    )
    known = [entry for entry in newest_first if value(entry) is not None]
    unknown = [entry for entry in newest_first if value(entry) is None]
    return sorted(known, key=value, reverse=backwards) + unknown


def columns(entries: Sequence[Entry], width: int, by: str = "", backwards: bool = False) -> list[Column]:
    """As many as there is room for. What is the same for all gives way first, then names; figures and states do not."""
    wide = width >= WIDE
    figures = [key for key in FIGURES if wide or key != "e2e_ms"]
    fixed = {"mark": 1, "run": 5, **({"when": 11} if wide else {})}
    left = width - sum(size + 2 for size in fixed.values()) - sum(FIGURES[key][1] + 2 for key in figures)
    names = ["scenario", "server", "model", *(["label"] if any(_name(entry, "label") for entry in entries) else [])]
    sizes = {name: max([len(name) + 1, *(len(_name(entry, name)) for entry in entries)]) for name in [*names, "state"]}

    def lacking() -> int:
        return sum(sizes.values()) + 2 * len(sizes) - left

    for name in ("model", "scenario"):
        if lacking() > 0 and len({_name(entry, name) for entry in entries}) == 1 and by != name:
            del sizes[name]
    if lacking() > 0 and not wide:
        sizes.pop("label", None)
    while lacking() > 0 and max(size for name, size in sizes.items() if name != "state") > FEWEST:
        sizes[max((name for name in sizes if name != "state"), key=lambda name: sizes[name])] -= 1

    def head(key: str, title: str) -> str:
        return f"{'▲' if backwards == (key == 'run') else '▼'}{title}" if key == by else title

    return [
        *(Column(key, head(key, "" if key == "mark" else key), size, key == "run") for key, size in fixed.items()),
        *(Column(name, head(name, name), size) for name, size in sizes.items()),
        *(Column(key, head(key, FIGURES[key][0]), FIGURES[key][1], right=True) for key in figures),
    ]


def cells(entry: Entry, shape: Sequence[Column], marked: bool) -> list[Text]:
    made = []
    for column in shape:
        key = column.key
        if key == "mark":
            made.append(Text(MARK if marked else " ", "bold yellow"))
        elif key in FIGURES:
            value = entry.figure(key)
            made.append(Text(number(100 * value if value is not None and key == "success_rate" else value)))
        elif key == "state":
            made.append(Text(entry.state, STATES.get(entry.state, "")))
        elif key == "server" and column.width is not None and len(entry.server) > column.width:
            made.append(Text("…" + entry.server[1 - column.width :]))  # local servers differ in their ports, at the end
        else:
            made.append(Text(_name(entry, key), "dim" if key in ("when", "model") else ""))
    return made


def _name(entry: Entry, key: str) -> str:
    if key == "label":
        return " ".join((entry.label, *(f"#{tag}" for tag in entry.tags))).strip()
    return str(getattr(entry, key))


def preview(entry: Entry, width: int) -> Group:
    """The run in a few lines, out of what the list knows already."""
    from infertui.report.table import setup_line

    title = Text.assemble((f"run {entry.run}", "bold"), f"  {entry.scenario} · {entry.server} · {entry.model}")
    title.append(f"  {entry.label}" if entry.label else "", "cyan")
    for tag in entry.tags:
        title.append(f"  #{tag}", "cyan")
    title.append(f"  {entry.when}", "dim")
    shown = [title, Text(setup_line(entry.setup), "dim"), *_figures(entry, width), _remarks(entry)]
    if entry.note:
        shown.append(Text(entry.note, "italic"))
    for line in shown:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*(line for line in shown if line))


def _figures(entry: Entry, width: int) -> list[Text]:
    """As many a line as fit."""
    from infertui.report.figure import of_metric, seconds
    from infertui.stats import Distribution

    summary = entry.summary
    if summary is None:
        return [Text("no figures yet" if entry.state == "running" else "no figures: it did not come to its end", "dim")]
    parts = [("good", f"{summary.calls - sum(summary.errors.values())} of {summary.calls}")]
    for key, name in SHORT.items():
        value = summary.metrics.get(key)
        if figure_of(key, value) is None:
            continue
        more = f" (p90 {number(value.p90)})" if isinstance(value, Distribution) and value.p90 is not None else ""
        parts.append((name, seconds(figure_of(key, value)) if key == "wall_s" else of_metric(key, value) + more))
    lines = [Text()]
    for name, figure in parts:
        if lines[-1] and len(lines[-1]) + len(name) + len(figure) + 4 > width:
            lines.append(Text())
        lines[-1].append("   " if lines[-1] else "").append(f"{name} ", "dim").append(figure, "bold")
    return lines


def _remarks(entry: Entry) -> Text:
    """What stands against it."""
    drawn = Text()
    summary = entry.summary
    counts = [(entry.caveats, "caveat", "magenta")]
    if summary is not None:
        counts = [(len(summary.warnings), "warning", "yellow"), (len(summary.doubts), "doubt", "yellow"), *counts]
    for count, name, style in counts:
        if count:
            drawn.append("   " if drawn else "").append(f"{count} {name}{'s' if count > 1 else ''}", style)
    if entry.message:
        drawn.append("   " if drawn else "").append(entry.message, "red")
    return drawn
