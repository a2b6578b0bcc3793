"""What doctor has found, for a terminal: a line a finding, with the commands that mend what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import NamedTuple

from rich.text import Text

from infertui.condition import Tolerated, before
from infertui.doctor import Engine, Findings, Port, Running
from infertui.sample import SERIES
from infertui.server.status import offered
from infertui.text import plain

FINE, NONE, BAD = "✓", "–", "!"
STYLES = {FINE: "green", NONE: "dim", BAD: "bold yellow"}


class Line(NamedTuple):
    """A finding, and commands that stand on lines of their own, so that they can be copied."""

    mark: str
    name: str
    text: str
    commands: tuple[str, ...] = ()


def findings_view(found: Findings, width: int) -> Text:
    """Lines are broken here, between words alone: a path or a command can be copied whole."""
    sections = {head: list(lines) for head, lines in _sections(found).items()}
    names = max(len(line.name) for lines in sections.values() for line in lines if line.text)
    drawn: list[Text] = []
    for head, lines in sections.items():
        drawn += [Text(head, "bold"), *(_drawn(line, names, width) for line in lines), Text()]
    return Text("\n").join(drawn)


def _drawn(line: Line, names: int, width: int) -> Text:
    start = f"{plain(line.name, 60):{names}}  " if line.text else ""
    left = 4 + len(start)
    text = plain(line.text or line.name, 1000)
    first, *rest = wrap(text, max(20, width - left), break_long_words=False, break_on_hyphens=False) or [""]
    drawn = Text.assemble("  ", (line.mark, STYLES[line.mark]), f" {start}{first}")
    for more in rest:
        drawn.append(f"\n{' ' * left}{more}")
    for command in line.commands:
        drawn.append(f"\n        {plain(command, 1000)}", "cyan")
    return drawn


def _sections(found: Findings) -> dict[str, Iterator[Line]]:
    return {
        f"InferTUI {found.version}": _machine(found),
        "engines": map(_engine, found.engines),
        "telemetry": _telemetry(found),
        "usual ports": map(_port, found.ports),
        "servers started by InferTUI": _servers(found),
        "profiles and settings": _profiles(found),
        "files": _files(found),
        "problems": _problems(found),
    }


def _machine(found: Findings) -> Iterator[Line]:
    machine, facts = found.machine, found.machine.facts
    yield Line(FINE, "machine", f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_bytes'] / 2**30:.0f} GiB")
    yield Line(FINE, "system", f"{facts['system']} {facts['release']} {facts['arch']}")
    yield Line(FINE, "Python", f"{facts['python']}, {machine.python}")
    yield Line(FINE, "threads", f"{machine.server_threads} for a server, where its profile says nothing else")
    soft, hard = ("any number" if limit is None else str(limit) for limit in machine.open_files)
    yield Line(FINE, "open files", soft if soft == hard else f"{soft}, can be raised to {hard}")


def _engine(each: Engine) -> Line:
    if each.state == "found":
        known = each.version if each.version not in each.source else ""
        return Line(FINE, each.kind, f"found: {', '.join(filter(None, (known, each.source)))}")
    if each.state == "broken":
        return Line(BAD, each.kind, each.note)
    return Line(NONE, each.kind, f"missing ({each.note})" if each.note else "missing", each.commands)


def _telemetry(found: Findings) -> Iterator[Line]:
    """Each source with what it tells here, then what is missing and why."""
    seen = found.telemetry
    if seen is None or seen.trouble:
        yield Line(BAD, "sampler", seen.trouble if seen is not None else "it did not answer")
        return
    for name, keys in seen.sources.items():
        yield Line(FINE if keys else NONE, name, ", ".join(SERIES[key].label for key in keys) or "tells nothing here")
    for absent in seen.absent:
        yield Line(NONE, absent.name, absent.reason, (absent.mend,) if absent.mend else ())
    if seen.awake:
        yield Line(FINE, seen.awake, "keeps the machine awake while a run lasts")
    for doubt in before(seen.conditions, Tolerated()) if seen.conditions is not None else ():
        yield Line(BAD if doubt.level == "suspicious" else NONE, "now", doubt.text)


def _port(each: Port) -> Line:
    usual = ", ".join(each.kinds)
    if each.state == "free":
        return Line(NONE, str(each.port), f"free: no {usual.replace(', ', ' and no ')} there")
    if each.state == "foreign":
        return Line(BAD, str(each.port), f"held by {each.holder}: no server that InferTUI knows")
    models = offered(each.models)
    told = f"{each.title} runs at {each.url}" + (f", model {models}" if models else "")
    return Line(FINE, str(each.port), told, (f"infertui run --attach {each.url}",))


def _servers(found: Findings) -> Iterator[Line]:
    if not found.servers:
        yield Line(NONE, "none runs", "")
    for each in found.servers:
        state = {True: "ready", False: "loading", None: "runs"}[each.ready]
        told = f"{state} at {each.url}, pid {each.pid}, {_owner(each)}"
        yield Line(BAD if each.owner == "gone" else FINE, each.name, told)


def _owner(each: Running) -> str:
    if each.owner == "nobody":
        return "nobody's: it stays until `infertui server stop`"
    return f"of a run, pid {each.owner_pid}" if each.owner == "run" else "left behind by an InferTUI that was killed"


def _profiles(found: Findings) -> Iterator[Line]:
    profiles, chosen = found.profiles, found.settings
    yours = f"{len(profiles.yours)} of them yours" if profiles.yours else "none of them yours"
    told = f"{len(profiles.names)} can be used, {yours}" + (
        f"; {len(profiles.broken)} broken" if profiles.broken else ""
    )
    yield Line(BAD if profiles.broken else FINE, "profiles", told)
    if chosen.wrong is not None:
        yield Line(BAD, "settings", f"cannot be read: {chosen.path}")
    elif chosen.there:
        yield Line(FINE, "settings", chosen.path)
    else:
        yield Line(NONE, "settings", f"none, which is fine: {chosen.path} would be read")
    for use, names in (("servers", chosen.servers), ("baseline", (chosen.baseline,)), ("fallback", (chosen.fallback,))):
        if any(names):
            told = ", ".join(f"{name} (cannot be used)" if name in chosen.unusable else name for name in names)
            yield Line(BAD if chosen.unusable.keys() & set(names) else FINE, use, told)
    made, numpy = found.embedded.made, found.embedded.numpy
    if made:
        yield Line(FINE, "random model", "made already")
    else:
        told = "numpy is here" if numpy else "numpy is missing"
        yield Line(NONE, "random model", f"made at first use: {told}", () if numpy else ("pip install numpy",))


def _files(found: Findings) -> Iterator[Line]:
    yield Line(FINE if found.database else BAD, "database", found.database or "the current folder is gone")
    for each in found.folders:
        state = "" if each.there else " (made when it is needed)"
        told = each.path + (state if each.writable else " (cannot be written)")
        yield Line(FINE if each.writable else BAD, each.name, told)


def _problems(found: Findings) -> Iterator[Line]:
    if not found.problems:
        yield Line(FINE, "none", "")
    for each in found.problems:
        yield Line(BAD, each.message, "", (each.hint,) if each.hint else ())
