"""Runs side by side: each metric against a baseline's, and in what the runs are unlike beside their servers. Pure.

Only `of_store` reads: reports, replies and machines out of the database, ready to be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Literal

import msgspec

from infertui import reply
from infertui.errors import UsageError
from infertui.metric import METRICS
from infertui.result import Report, stored
from infertui.settings import user
from infertui.stats import Distribution
from infertui.store import Store
from infertui.text import plain
from infertui.usage import headline

Better = Literal["better", "worse", "same", "–", ""]
RANDOM = "random weights"  # how the caveat of such a model begins
INVALID = "invalid: "  # how a warning begins that says why a run is not valid …
NO_CALL = "no call succeeded"  # … beside this one
SAME = 0.005  # of the baseline: a ratio nearer to 1 than that is written as 1.00


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of a run against the baseline's. `better`: – where either is unknown, empty where nothing is better, or
    where the two are not measured alike: `unlike` says in what."""

    key: str
    baseline: float | None
    value: float | None
    difference: float | None
    ratio: float | None  # None: the baseline is zero or unknown
    better: Better
    unlike: str = ""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a comparison. `replies`: how many are fine or else, None where nobody has looked."""

    report: Report
    name: str  # its server, with the run's number where several have the same
    differences: dict[str, Difference]
    replies: dict[str, int] | None = None
    machine: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def unsound(self) -> dict[str, str]:
        """Why the run is not valid, and why it is suspicious."""
        summary = self.report.summary
        invalid = [each for each in summary.warnings if each.startswith(INVALID) or each == NO_CALL]
        doubted = [doubt.text for doubt in summary.doubts if doubt.level == "suspicious"]
        reasons = {"not valid": [] if summary.valid else invalid, "suspicious": doubted}
        return {
            state: plain("; ".join(each.removeprefix(INVALID) for each in why), 600)
            for state, why in reasons.items()
            if why
        }

    @property
    def nonsense(self) -> str:
        """What is to be said of replies that are no answers; empty where there is none."""
        return reply.warning(self.replies or {}, self.name)

    @property
    def warnings(self) -> list[str]:
        """What has to be said before any of its figures is believed."""
        told = [f"{self.name}: {state}: {why}" for state, why in self.unsound.items()]
        return [*told, *([self.nonsense] if self.nonsense else [])]


class Unlike(msgspec.Struct, frozen=True, kw_only=True):
    """Something in which runs differ though they should not: what, and how it is in each column, as plain text."""

    what: str
    values: list[str]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Runs in the order in which they were given, and what they have not in common."""

    baseline: Report
    columns: list[Column]
    unlike: list[Unlike]

    @property
    def warnings(self) -> list[str]:
        """Why a run is not valid or suspicious, and whose replies are no answers: of the baseline first."""
        return [warning for column in self.ordered for warning in column.warnings]

    @property
    def ordered(self) -> list[Column]:
        """The baseline first, then the others in their order."""
        return sorted(self.columns, key=lambda column: column.report is not self.baseline)

    @property
    def keys(self) -> list[str]:
        """The metrics that at least one run has, in the order of the registry."""
        known = {key for column in self.columns for key, one in column.differences.items() if one.value is not None}
        return [key for key in METRICS if key in known]


def figure_of(key: str, value: Distribution | float | None) -> float | None:
    """A metric as one number: the median of calls, gaps and starts, the mean over time of samples, the run's own."""
    if isinstance(value, Distribution):
        return value.mean if METRICS[key].per == "sample" else value.p50
    return value


def compare(
    reports: Sequence[Report],
    baseline: int | None = None,
    replies: Mapping[int, dict[str, int]] | None = None,
    machines: Mapping[int, dict[str, Any]] | None = None,
) -> Comparison:
    """Each run against the baseline: the run of that number, else of the settings' baseline server, else the first.

    `replies` and `machines` are by a run's number, where they are known.
    """
    base = _baseline(reports, baseline)
    names = _names(reports)
    columns = [
        Column(
            report=report,
            name=name,
            differences=differences(reports, base, report),
            replies=(replies or {}).get(report.id),
            machine=(machines or {}).get(report.id, {}),
        )
        for report, name in zip(reports, names, strict=True)
    ]
    return Comparison(baseline=base, columns=columns, unlike=unlike(columns))


def of_store(store: Store, runs: Sequence[str], baseline: str | None = None) -> Comparison:
    """Runs of the database by their numbers or labels, with what is known of their replies and machines."""
    reports = [stored(store, run) for run in runs]
    numbers = [report.id for report in reports]
    if twice := next((number for number in numbers if numbers.count(number) > 1), None):
        raise UsageError(f"run {twice} is named twice", "`infertui list runs` shows others")
    base = None if baseline is None else store.run(baseline).id
    if base is not None and base not in numbers:
        raise UsageError(
            f"the baseline {plain(baseline or '', 60)!r} is none of the runs", "name it among them as well"
        )
    replies = {}
    for number in numbers:
        said = store.replies(number)
        told = [(call, *said.get(call.name, ("", ""))) for call in store.calls(number)]
        replies[number] = reply.shares(reply.run_flags(told).values())
    machines = {number: store.machine(store.run(str(number)).machine_id) for number in numbers}
    return compare(reports, base, replies, machines)


def _baseline(reports: Sequence[Report], number: int | None) -> Report:
    if not reports:
        raise UsageError("nothing to compare", "name two runs")
    if number is not None:
        found = next((report for report in reports if report.id == number), None)
        if found is None:
            raise UsageError(f"run {number} is none of those that are compared")
        return found
    wanted = user().baseline
    return next(
        (report for report in reports if wanted and wanted in (report.server, _profile(report, "name"))), reports[0]
    )


def _names(reports: Sequence[Report]) -> list[str]:
    names = [plain(report.server, 60) for report in reports]
    return [
        f"{name} #{report.id}" if names.count(name) > 1 else name for name, report in zip(names, reports, strict=True)
    ]


# Figures.


def differences(reports: Sequence[Report], baseline: Report, report: Report) -> dict[str, Difference]:
    """Of every metric that any of the reports has."""
    known = {key for each in reports for key in each.summary.metrics}
    return {key: _difference(key, baseline, report) for key in METRICS if key in known}


def _difference(key: str, baseline: Report, report: Report) -> Difference:
    base, value = (figure_of(key, each.summary.metrics.get(key)) for each in (baseline, report))
    if base is None or value is None:
        better: Better = "–" if METRICS[key].better else ""
        return Difference(key=key, baseline=base, value=value, difference=None, ratio=None, better=better)
    ratio = value / base if base else None
    apart = _measured_unlike(key, baseline, report)
    return Difference(
        key=key,
        baseline=base,
        value=value,
        difference=value - base,
        ratio=ratio if ratio is not None and isfinite(ratio) else None,
        better="" if apart else _better(key, base, value),
        unlike=apart,
    )


def _better(key: str, base: float, value: float) -> Better:
    wanted = METRICS[key].better
    if not wanted:
        return ""
    if value == base or (base and abs(value / base - 1) < SAME):
        return "same"
    return "better" if (value < base) == (wanted == "lower") else "worse"


def _measured_unlike(key: str, baseline: Report, report: Report) -> str:
    """In what the two measured it differently, as far as that is known of both; empty if in nothing."""
    for what, keys in CONCERNED.items():
        if key in keys:
            one, other = ({**SETUP, **FACTS}[what](each) for each in (baseline, report))
            if one is not None and other is not None and one != other:
                return what
    return ""


# What runs have not in common. What is unknown of a run is no difference.


def setup_of(report: Report) -> dict[str, str]:
    """The set-up of a run in words, as far as it is known."""
    told = {what: of_run(report) for what, of_run in {**SETUP, **FACTS, **OF_KIND}.items()}
    return {what: plain(value, 400) for what, value in told.items() if value is not None}


def unlike(columns: Sequence[Column]) -> list[Unlike]:
    """What two runs should share and these do not. Another kind of server is what is compared, and not among it."""
    reports = [column.report for column in columns]
    found = []
    for what, told in {**SETUP, **FACTS}.items():
        found += _told(what, [told(report) for report in reports])
    for what, of_kind in OF_KIND.items():
        if _differ_within(reports, of_kind):
            found += _told(what, [of_kind(report) for report in reports])
    found += _told("machine", [_machine(column) for column in columns])
    return found


def _told(what: str, values: Sequence[str | None]) -> list[Unlike]:
    if len({value for value in values if value is not None}) < 2:
        return []
    return [Unlike(what=what, values=["–" if value is None else plain(value, 200) for value in values])]


def _differ_within(reports: Sequence[Report], of_kind: Callable[[Report], str | None]) -> bool:
    """Whether two servers of one kind differ in it."""
    seen: dict[str, set[str]] = {}
    for report in reports:
        if (value := of_kind(report)) is not None:
            seen.setdefault(_engine(report), set()).add(value)
    return any(len(values) > 1 for values in seen.values())


def _engine(report: Report) -> str:
    """What kind of server it is; of one that is known by its address alone also by how it calls itself."""
    kind = _profile(report, "kind") or report.server
    header = str(report.facts.get("header", "")) if kind == "openai" else ""
    return f"{kind} {header.partition('/')[0]}"


def _profile(report: Report, key: str) -> Any:
    return report.facts.get("profile", {}).get(key)


def _setup(key: str, name: Callable[[Any], str] = str) -> Callable[[Report], str | None]:
    def told(report: Report) -> str | None:
        return name(report.setup[key]) if key in report.setup else None

    return told


def _setting(key: str) -> Callable[[Report], str | None]:
    """As the server says it, else as its profile wants it."""

    def told(report: Report) -> str | None:
        value = report.facts.get("settings", {}).get(key, _profile(report, key))
        return None if value is None else str(value)

    return told


def _sampling(report: Report) -> str | None:
    names = {"temperature": "temperature", "top_p": "top_p", "sampling_seed": "seed"}
    told = [f"{name} {report.setup[key]:g}" for key, name in names.items() if report.setup.get(key) is not None]
    return ", ".join(told) or None


def _prompts(report: Report) -> str | None:
    setup = report.setup
    if "seed" not in setup:
        return None
    count = f"{setup['requests']} a round, " if setup.get("requests") else ""
    return f"{count}{'/'.join(setup.get('kinds') or ()) or 'all kinds'}, seed {setup['seed']}"


def _model_file(report: Report) -> str | None:
    place = report.facts.get("model")
    return str(place) if place else None


def _version(report: Report) -> str | None:
    facts = report.facts
    found = facts.get("version") or facts.get("settings", {}).get("build") or facts.get("fingerprint")
    return str(found) if found else None


def _threads(report: Report) -> str | None:
    found = report.facts.get("threads") or report.telemetry.known.threads
    return str(found) if found else None


def _random(report: Report) -> str | None:
    """Of a server that is known by its address alone nobody can tell."""
    if any(caveat.startswith(RANDOM) for caveat in report.caveats):
        return "yes"
    return "no" if report.facts.get("model") else None


def _tokens(report: Report) -> str | None:
    """By whose count: pieces of text are no tokens."""
    return " ".join(part.partition(":")[0] for part in report.summary.n_source.split()) or None


def _prefill(report: Report) -> str | None:
    names = {"server": "the server's own clock", "ttft": "prompt / time to first token", "mixed": "both"}
    return names.get(report.summary.prefill_source)


def _meter(report: Report) -> str | None:
    found = headline(report.summary.energy)
    return found.label if found is not None else None


def machine_text(facts: Mapping[str, Any]) -> str:
    """A machine in a line: processor, cores, memory, system."""
    memory, cores = facts.get("memory_bytes"), facts.get("cores")
    parts = [facts.get("cpu"), f"{cores} cores" if cores else None, f"{memory / 2**30:.0f} GiB" if memory else None]
    parts.append(" ".join(str(facts[key]) for key in ("system", "release", "arch") if facts.get(key)))
    return plain(", ".join(str(part) for part in parts if part), 200)


def _machine(column: Column) -> str | None:
    known = column.report.telemetry.known
    if column.machine:
        return machine_text(column.machine)
    return f"{known.hardware[0]}, {known.cores} cores" if known.hardware else None


def _flags(report: Report) -> str | None:
    profile = report.facts.get("profile")
    if profile is None:
        return None
    layers = profile.get("gpu_layers")
    env = [f"{name}={value}" for name, value in sorted(profile.get("env", {}).items())]
    told = [f"gpu_layers={layers}" if layers is not None else "", *profile.get("flags", ()), *env]
    return " ".join(part for part in told if part) or "none"


SETUP: dict[str, Callable[[Report], str | None]] = {
    "scenario": lambda report: report.scenario,
    "prompts": _prompts,
    "calls at once": _setup("concurrency", lambda value: str(value or "the scenario's own")),
    "rounds": _setup("rounds"),
    "max tokens": _setup("max_tokens", lambda value: str(value or "each prompt's own")),
    "warm-up calls": _setup("warmup", lambda value: "the scenario's own" if value is None else str(value)),
    "cache": _setup("cache"),
    "API": _setup("api"),
    "streaming": _setup("stream", lambda value: "on" if value else "off"),
    "sampling": _sampling,
    "targets": _setup(
        "targets", lambda value: ", ".join(f"{each['key']} {each['worst']:g}" for each in value or ()) or "none"
    ),
}
FACTS: dict[str, Callable[[Report], str | None]] = {
    "model": lambda report: report.model or None,
    "quantisation": _setting("quant"),
    "context": _setting("context"),
    "slots": _setting("slots"),
    "CPU threads": _threads,
    "random weights": _random,
    "token counts": _tokens,
    "prefill clock": _prefill,
    "energy meter": _meter,
}
# Which metrics cannot be judged between runs that are unlike in it.
_A_TOKEN = ("joules_per_token", "tokens_per_wh", "net_joules_per_token", "net_tokens_per_wh", "electricity_cost_mtok")
CONCERNED: dict[str, tuple[str, ...]] = {
    "prefill clock": ("prefill_tps",),
    "energy meter": ("energy_j", "idle_power_w", *_A_TOKEN),
    "token counts": ("effective_tps", "decode_tps", "prefill_tps", "output_tps", *_A_TOKEN, "rent_cost_mtok"),
    "targets": ("goodput_per_min",),
}
# What only servers of one kind can share.
OF_KIND: dict[str, Callable[[Report], str | None]] = {
    "model file": _model_file,
    "engine version": _version,
    "flags": _flags,
}
