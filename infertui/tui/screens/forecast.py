"""How much a scenario asks of a server, and how long that took the last time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from infertui.report.figure import seconds
from infertui.scenario import scenario
from infertui.scenario.parameter import PARAMETERS

if TYPE_CHECKING:
    from infertui.scenario.base import Params
    from infertui.store import RunRow

RUNS = 200  # of the newest, in which a former one is looked for
SAME = ("concurrency", "requests", "rounds", "kinds", "warmup", "alone")  # what makes the time another


class Past(NamedTuple):
    """An experiment that came to its end: its servers took turns, so its time is that of all of them."""

    scenario: str
    servers: frozenset[str]
    setup: dict[str, Any]
    lasted_s: float


def params_of(values: Mapping[str, str]) -> Params:
    """What is typed into the form, once nothing is wrong with it."""
    from infertui.scenario.base import Params

    meant: dict[str, Callable[[str], Any]] = {
        "number": int,
        "choice": str,
        "choices": lambda text: tuple(text.split()),
        "switch": lambda text: text == "yes",
    }
    typed = {name: values[name].strip() for name in PARAMETERS if values.get(name, "").strip()}
    return Params(**{name: meant[PARAMETERS[name].kind](text) for name, text in typed.items()})


def effort(name: str, values: Mapping[str, str]) -> str:
    """How many calls each server gets. A plan of a million calls takes a second to make: not for the app's loop."""
    chosen, params = scenario(name), params_of(values)
    before = {"alone": 0, "warmup": 0}
    for block in chosen.prepare(params):
        before[block.role] += len(block.plan.calls)
    measured = params.rounds * len(chosen.round(params, 1).plan.calls)
    told = f"{measured:,} call{'s' if measured != 1 else ''} a server"
    if params.rounds > 1:
        told += f" in {params.rounds:,} rounds"
    first = [
        f"{count:,} {what}" for count, what in ((before["alone"], "alone"), (before["warmup"], "to warm up")) if count
    ]
    return told + (f", after {' and '.join(first)}" if first else "")


def history(rows: Sequence[RunRow]) -> list[Past]:
    """The experiments that came to their end, the newest first."""
    experiments: dict[int, list[RunRow]] = {}
    for row in rows:
        experiments.setdefault(row.experiment_id, []).append(row)
    found = []
    for runs in experiments.values():
        if any(run.status != "done" or not run.ended_at for run in runs):
            continue
        begun = min(datetime.fromisoformat(run.started_at) for run in runs)
        ended = max(datetime.fromisoformat(run.ended_at) for run in runs if run.ended_at)
        setup = msgspec.json.decode(runs[0].setup, type=dict[str, Any])
        names = frozenset(_name(run) for run in runs)
        found.append(Past(runs[0].scenario, names, setup, (ended - begun).total_seconds()))
    return found


def _name(run: RunRow) -> str:
    """A profile's name: with results a server may be shown by a longer one."""
    profile = msgspec.json.decode(run.facts, type=dict[str, Any]).get("profile")
    name = profile.get("name") if isinstance(profile, dict) else None
    return name if isinstance(name, str) and name else run.server


def expected(past: Sequence[Past], name: str, servers: Sequence[str], values: Mapping[str, str]) -> str:
    """How long it will take, as far as former runs tell; empty if none does."""
    wanted = msgspec.json.decode(msgspec.json.encode(params_of(values)), type=dict[str, Any])
    alike = [each for each in past if each.scenario == name and all(each.setup.get(k) == wanted[k] for k in SAME)]
    if (most := wanted["max_tokens"]) is not None:
        alike = [each for each in alike if each.setup.get("max_tokens") == most]
    whom = {1: "", 2: " for both"}.get(len(servers), f" for all {len(servers)}")
    whole = next((each for each in alike if each.servers == set(servers)), None)
    if whole is not None:
        return f"about {seconds(whole.lasted_s)}{whom}, as last time"
    parts = [
        next((each.lasted_s / len(each.servers) for each in alike if server in each.servers), None)
        for server in servers
    ]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return ""
    return f"about {seconds(sum(known))}{whom}, going by earlier runs"
