"""Profiles and what runs of them, as tables for a terminal and as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from infertui.profile import Profile, folders
from infertui.report.figure import UNKNOWN, seconds
from infertui.server.status import Status
from infertui.settings import Settings
from infertui.text import plain

GAP = 2
NARROW = 110
LEAST = 6  # cells that a column keeps however narrow it is
STYLES = {"ready": "green", "loading": "yellow", "not loaded": "yellow", "error": "red"}


def _lines(rows: Sequence[Mapping[str, str]], more: Sequence[Sequence[str]], width: int, give: Sequence[str]) -> Text:
    """Rows under their heads, each followed by its own lines of text. The columns `give` way where it is narrow."""
    sizes = {head: max(cell_len(head), *(cell_len(row[head]) for row in rows)) for head in rows[0]}
    while sum(sizes.values()) + GAP * (len(sizes) - 1) > width and max(sizes[head] for head in give) > LEAST:
        sizes[max(give, key=lambda head: sizes[head])] -= 1
    heads = (" " * GAP).join(set_cell_size(head, size) for head, size in sizes.items())
    told = [Text(heads.rstrip(), "dim")]
    for row, below in zip(rows, more, strict=True):
        line = Text()
        for head, size in sizes.items():
            cell = row[head] if cell_len(row[head]) <= size else set_cell_size(row[head], size - 1) + "…"
            line.append(set_cell_size(cell, size), STYLES.get(cell, "") if head == "state" else "").append(" " * GAP)
        line.rstrip()
        told.append(line)
        told += [Text(f"  {text}", "dim") for text in below if text]
    return Text("\n").join(told)


# What runs.


def status_view(found: Sequence[Status], width: int) -> Text:
    """A line each; where it is narrow, a second for what nobody asks first, and one for what is wrong."""
    rows: list[dict[str, str]] = []
    more: list[list[str]] = []
    for each in found:
        owner, age = _owner(each), _age(each.since)
        row = {"profile": plain(each.profile, 40), "state": str(each.state)}
        row |= {"address": plain(each.address, 60) or UNKNOWN, "model": plain(each.model, 60) or UNKNOWN}
        details = {"pid": str(each.pid or UNKNOWN), "up": age, "owner": owner}
        reason = plain(each.reason, 400)
        if width < NARROW:
            known = [text if head == "owner" else f"{head} {text}" for head, text in details.items() if text != UNKNOWN]
            more.append([", ".join(known), reason])
        else:
            row = {"profile": row.pop("profile"), "kind": each.kind, **row, **details}
            more.append([reason])
        rows.append(row)
    return _lines(rows, more, width, ("profile", "model"))


def _owner(each: Status) -> str:
    """Who ends it."""
    if each.owner == "run":
        return f"run of pid {each.owner_pid}"
    return {"nobody": "nobody's", "not ours": "not ours", "": UNKNOWN}[each.owner]


def _age(since: float | None) -> str:
    if since is None:
        return UNKNOWN
    past = max(0.0, time.time() - since)
    return f"{past / 86400:.0f} days" if past > 2 * 86400 else seconds(past)


def status_object(each: Status) -> dict[str, Any]:
    since = None if each.since is None else datetime.fromtimestamp(each.since, UTC).isoformat(timespec="seconds")
    return {**msgspec.structs.asdict(each), "since": since, "owner": each.owner or None}


# Profiles.


def profiles_view(profiles: Sequence[Profile], chosen: Settings, width: int) -> Text:
    rows: list[dict[str, str]] = []
    more: list[list[str]] = []
    addresses = any(profile.address for profile in profiles) and width >= NARROW
    for profile in profiles:
        model = Path(profile.model).name if profile.model.startswith("/") else profile.model
        row = {"profile": plain(profile.name, 60), "kind": profile.kind, "model": plain(model, 80) or UNKNOWN}
        address, about = plain(profile.address, 80), plain(profile.about, 200)
        if addresses:
            row["address"] = address or UNKNOWN
        row["marks"] = ", ".join([*marks(profile, chosen), origin(profile)])
        if width < NARROW:
            more.append([address, about])
        else:
            row["about"] = about
            more.append([])
        rows.append(row)
    return _lines(rows, more, width, [head for head in ("profile", "model", "about") if head in rows[0]])


def profile_object(profile: Profile, chosen: Settings) -> dict[str, Any]:
    return {**msgspec.structs.asdict(profile), "origin": origin(profile), "marks": marks(profile, chosen)}


def origin(profile: Profile) -> str:
    return "yours" if Path(profile.file).parent == folders()[0] else "shipped"


def marks(profile: Profile, chosen: Settings) -> list[str]:
    """What the settings use it for."""
    uses = {
        "default": profile.name in chosen.servers,
        "baseline": profile.name == chosen.baseline,
        "fallback": profile.name == chosen.fallback,
    }
    return [use for use, is_used in uses.items() if is_used]
