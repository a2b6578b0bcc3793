"""What a run took of its machine, and what the machine was like: the lines below a run's figures."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from infertui.metric import METRICS, Summary
from infertui.report.figure import UNKNOWN, number, size
from infertui.result import Report
from infertui.stats import Distribution
from infertui.text import plain

METERS = {"soc": "chip (CPU + GPU + neural engine)", "gpu": "GPU", "package": "CPU package", "system": "whole machine"}
COSTS = ("electricity_cost_mtok", "rent_cost_mtok", "listed_cost_mtok")


def telemetry_lines(report: Report, width: int = 120) -> Iterator[Text]:
    """A line each about server, machine, energy and limit; then what casts doubt on the figures."""
    summary = report.summary
    rows = {
        "server": list(_server(summary)),
        "machine": list(_machine(report)),
        "energy": list(_energy(summary)),
        "cost": list(_cost(summary)),
        "limit": list(_limit(summary)),
        "sampled": list(_sampled(report)),
    }
    for name, parts in rows.items():
        if parts:
            yield from _row(name, parts, width)
    for doubt in summary.doubts:
        said = plain(doubt.text, 400)
        suspicious = doubt.level == "suspicious"
        yield Text(f"! suspicious: {said}" if suspicious else f"  note: {said}", "bold yellow" if suspicious else "dim")


def limit_text(summary: Summary) -> str:
    """What was saturated, in a word or two."""
    if summary.limits is None:
        return UNKNOWN
    return ", ".join(summary.limits) or "none seen"


def _row(name: str, parts: list[Text], width: int) -> Iterator[Text]:
    """As many parts a line as fit: none is broken."""
    line = Text(f"{name:8}", "dim")
    start = len(line)
    for part in parts:
        if len(line) > start and len(line) + 3 + len(part) > width:
            yield line
            line = Text(" " * start)
        line.append(" · " if len(line) > start else "", "dim").append_text(part)
    yield line


def _part(label: str, figure: str, more: str = "") -> Text:
    return Text.assemble((f"{label} ", "dim"), (figure, "bold"), (f" {more}" if more else "", "dim"))


def _memory(label: str, found: Distribution) -> Text:
    """Both figures in one unit."""
    return _part(label, size(found.mean, found.max), f"(max {size(found.max)})")


def _found(summary: Summary, key: str) -> Distribution | None:
    value = summary.metrics.get(key)
    return value if isinstance(value, Distribution) and value.n else None


def _percent(summary: Summary, key: str, label: str, of: str = "") -> Iterator[Text]:
    if (found := _found(summary, key)) is not None:
        yield _part(label, f"{_short(found.mean)} %", f"{of} (max {_short(found.max)})".strip())


def _short(percent: float | None) -> str:
    """A share as exactly as it can be measured."""
    return UNKNOWN if percent is None else f"{percent:.0f}" if percent >= 99.95 else f"{percent:.1f}"


def _server(summary: Summary) -> Iterator[Text]:
    yield from _percent(summary, "server_cpu_percent", "CPU", "of a core")
    private, mapped = _found(summary, "server_private_bytes"), _found(summary, "server_mapped_bytes")
    whole, first = _found(summary, "memory_bytes"), _found(summary, "first_token_memory_bytes")
    if private is not None:
        yield _memory("private", private)
    if mapped is not None:
        yield _part("mapped", f"~{size(mapped.mean)}")
    elif whole is not None and private is not None and whole.mean != private.mean:
        yield _part("mapped", f"~{size((whole.mean or 0) - (private.mean or 0))}")
    if first is not None:
        yield _part("memory at first token", size(first.mean))
    if (memory := _found(summary, "server_gpu_bytes")) is not None:
        yield _memory("GPU memory", memory)
    elif (grown := _found(summary, "gpu_growth_bytes")) is not None:
        yield _part("GPU memory", f"~{size(grown.mean)}", "more than before its start")
    yield from _percent(summary, "server_gpu_percent", "GPU")


def _machine(report: Report) -> Iterator[Text]:
    summary = report.summary
    yield from _percent(summary, "machine_cpu_percent", "CPU")
    yield from _percent(summary, "foreign_cpu_percent", "others")
    if (used := _found(summary, "ram_used_bytes")) is not None:
        yield _memory("RAM", used)
    if (swap := _found(summary, "swap_used_bytes")) is not None and swap.max:
        yield _memory("swap", swap)
    yield from _percent(summary, "gpu_percent", "GPU")
    if (memory := _found(summary, "gpu_used_bytes")) is not None:
        yield _memory("GPU memory", memory)
    for key, label in (("cpu_temperature_c", "CPU"), ("gpu_temperature_c", "GPU")):
        if (heat := _found(summary, key)) is not None:
            yield _part(label, number(heat.mean, "°C"), f"(max {number(heat.max)})")


def _energy(summary: Summary) -> Iterator[Text]:
    if not summary.energy:
        return
    known = [each for each in summary.energy if each.joules is not None]
    if not known:
        yield Text(f"{UNKNOWN} ({summary.energy[0].reason})", "dim")
        return
    for each in known:
        yield _part(METERS.get(each.label, each.label), number(each.joules, "J"))
    for key in ("joules_per_token", "tokens_per_wh", "net_joules_per_token", "net_tokens_per_wh"):
        value = summary.metrics.get(key)
        if isinstance(value, float):
            yield _part(METRICS[key].label.lower(), number(value, METRICS[key].unit))
    if known[0].idle_w is not None:
        spread = f"± {number(known[0].idle_sd_w)} over {number(known[0].idle_s, 's')}"
        yield _part("idle", number(known[0].idle_w, "W"), spread)


def _cost(summary: Summary) -> Iterator[Text]:
    """Of a million output tokens, where there is a price."""
    for key in COSTS:
        if key in summary.metrics:
            value = summary.metrics[key]
            known = number(value, METRICS[key].unit) if isinstance(value, float) else UNKNOWN
            yield _part(METRICS[key].label.lower(), known)


def _limit(summary: Summary) -> Iterator[Text]:
    if summary.limits is None:
        return
    if not summary.limits:
        yield Text(limit_text(summary), "bold")
    for name, why in zip(summary.limits, summary.limits_why, strict=False):
        first, *others = plain(why.removeprefix(f"{name}: "), 300).split("; ")
        yield Text.assemble((f"{name} ", "bold"), (first, "dim"))
        yield from (Text(other, "dim") for other in others)


def _sampled(report: Report) -> Iterator[Text]:
    told = report.telemetry
    if told.off:
        yield Text("nothing (--no-samples): neither were the machine's conditions looked at", "yellow")
    if not told.tally.sources:
        return
    taken, missed = (sum(getattr(each, key) for each in told.tally.sources.values()) for key in ("taken", "missed"))
    yield Text(", ".join(plain(source, 60) for source in told.sources), "dim")
    yield Text(f"{missed} of {taken + missed} missed", "dim")
    if told.sampling_percent is not None:
        yield Text(f"{told.sampling_percent:.1f} % of a core", "dim")
    if told.waited_s:
        yield Text(f"waited {told.waited_s:.0f} s for the machine", "dim")
    if told.server:
        yield Text(f"server: {plain(told.server, 80)}", "dim")
    for absent in told.absent:
        if absent.name in ("server", *told.sources):
            yield Text(plain(absent.reason, 200), "yellow")
