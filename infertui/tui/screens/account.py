"""A run in words: what stands against it, exactly how it was made, and one of its calls in full."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from infertui import reply
from infertui.metric import METRICS, CallRecord
from infertui.reply import Flag
from infertui.report.data import Whole
from infertui.report.figure import UNKNOWN, of_metric
from infertui.scenario.plan import Message
from infertui.store import RunRow
from infertui.text import lines, plain

NAME_WIDTH = 22
COUNTS = {
    "n_prompt": "prompt tokens",
    "n_cached": "of them cached",
    "n_output": "output tokens",
    "n_reasoning": "of them thought",
    "n_pieces": "pieces of text",
    "max_tokens": "tokens at most",
    "status": "HTTP status",
    "connection_use": "use of its connection",
}


class Block(NamedTuple):
    """Some lines under a head: of each its name, what is said, and its style."""

    head: str
    lines: list[tuple[str, str, str]]


def warnings(run: Whole) -> list[Block]:
    """Everything that has to be known before the figures are believed; empty if there is nothing."""
    report, summary = run.report, run.report.summary
    speeds = reply.warning(run.replies, report.server)
    found = [
        Block(
            "What went wrong",
            [("", report.message, "red")] * bool(report.message)
            + [("", f"{kind} × {count}", "red") for kind, count in summary.errors.items()],
        ),
        Block("Replies", [("", speeds, "bold yellow")] * bool(speeds)),
        Block(
            "The machine",
            [("", each.text, "bold yellow" if each.level == "suspicious" else "") for each in summary.doubts],
        ),
        Block("The measurement", [("", warning, "yellow") for warning in summary.warnings]),
        Block("The server", [("", caveat, "magenta") for caveat in report.caveats]),
        Block("What limited it", [("", why, "") for why in summary.limits_why]),
        Block(
            "What could not be sampled",
            [
                (each.name, each.reason + (f" → {each.mend}" if each.mend else ""), "dim")
                for each in report.telemetry.absent
            ],
        ),
    ]
    return [block for block in found if block.lines]


def setup(run: Whole, row: RunRow, asked: Mapping[str, Any]) -> list[Block]:
    """Exactly how a run was made. `asked`: of its experiment."""
    report, facts = run.report, dict(run.report.facts)
    command = facts.pop("command", None) or ()
    profile, model_file = facts.pop("profile", {}), facts.pop("model", "")
    facts.pop("caveats", None)
    own = {
        "number": report.id,
        "scenario": report.scenario,
        "label": report.label,
        "tags": run.tags,
        "note": run.note,
        "state": report.status,
        "started": report.started_at,
        "ended": row.ended_at,
        "plan": row.plan_hash,
        "experiment": row.experiment_id,
    }
    server = {
        "name": report.server,
        "address": report.url,
        "model": report.model,
        "model file": model_file,
        "command": shlex.join(map(str, command)),
        "listened": report.telemetry.server,
    }
    wanted = {key: asked.get(key) for key in ("scenario", "params", "stream", "samples", "fallback")}
    limits = {key: asked.get(key) for key in ("limits", "bounds", "tolerated", "saturated", "cost")}
    parts = {
        "Run": own,
        "Server": {**server, **_flat(facts)},
        "Profile": _flat(profile),
        "Calls": _flat(report.setup),
        "Machine": _flat(run.machine),
        "Asked for": _flat(wanted),
        "Limits and prices": _flat(limits),
    }
    found = []
    for head, values in parts.items():
        known = {name: value for name, value in values.items() if value not in (None, "", [], {})}
        if known:
            found.append(Block(head, [(name, _said(value), "") for name, value in known.items()]))
    return found


def drawn(blocks: Sequence[Block]) -> Table:
    """With what is long broken under itself."""
    table = Table.grid(padding=(0, 2, 0, 0))
    names = any(name for block in blocks for name, _, _ in block.lines)
    table.add_column(style="dim", no_wrap=True, max_width=NAME_WIDTH)
    table.add_column(overflow="fold")
    for place, block in enumerate(blocks):
        if place:
            table.add_row("", "")
        table.add_row(Text(block.head, "bold not dim"), "")
        for name, said, style in block.lines:
            table.add_row(Text(f"  {plain(name, 60)}" if names else ""), Text(plain(said, 4000), style))
    return table


def text(blocks: Sequence[Block]) -> str:
    """The same to copy, a line each."""
    parts = []
    for block in blocks:
        named = (f"  {plain(name, 60):{NAME_WIDTH}}  " if name else "  " for name, _, _ in block.lines)
        said = (plain(said, 4000) for _, said, _ in block.lines)
        parts.append("\n".join([block.head, *map("".join, zip(named, said, strict=True))]))
    return "\n\n".join(parts)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Tables within tables, by the way down to each value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_said(each) for each in value)
    return plain(str(value), 4000)


def call_text(
    run: int, call: CallRecord, messages: Sequence[Message], said: tuple[str, str], flags: Sequence[Flag]
) -> Text:
    """A call: what came of it, all its figures, what was asked and answered. `said`: the reply, and its thought."""
    answer, thought = said
    whole = Text.assemble((call.name, "bold"), f"  {call.role}, round {call.round}, lane {call.lane} · run {run}")
    for flag in flags:
        whole.append("\n").append(f"! {flag.kind}: {plain(flag.why, 300)}", "dim" if flag.kind == "cut" else "bold red")
    if not call.good:
        whole.append("\n").append(f"{plain(call.outcome, 60)}: {plain(call.message, 600)}", "red")
    whole.append("\n")
    for name, figure in _figures(call):
        whole.append(f"\n  {name:{NAME_WIDTH + 2}}  ", "dim").append(figure)
    for message in messages:
        _passage(whole, f"asked ({plain(message.role, 40)})", message.content)
    if thought:
        _passage(whole, "thought", thought)
    _passage(whole, "answered", answer)
    return whole


def _figures(call: CallRecord) -> Iterator[tuple[str, str]]:
    yield "prompt", plain(call.prompt_id, 120) or UNKNOWN
    for key, metric in METRICS.items():
        if metric.per == "call" and (value := getattr(call, key, None)) is not None:
            source = f" (by {plain(call.queue_source, 30)})" if key == "queue_ms" and call.queue_source else ""
            yield metric.label, of_metric(key, value) + source
    for key, name in COUNTS.items():
        if (count := getattr(call, key)) is not None:
            source = f" (by {plain(call.n_source, 30)})" if key == "n_output" and call.n_source else ""
            yield name, f"{count:,}{source}"
    for name, told in (("finish", call.finish), ("note", call.note), ("response", call.response_id)):
        if told:
            yield name, plain(told, 300)


def _passage(whole: Text, head: str, text: str) -> None:
    whole.append("\n\n").append(head, "bold cyan").append("\n")
    whole.append(lines(text) if text.strip() else "(nothing)", "" if text.strip() else "dim")
