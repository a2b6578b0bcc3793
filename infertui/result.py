"""A run and its figures, the same whether it has just ended or comes out of the database."""

from __future__ import annotations

from array import array
from typing import Any

import msgspec

from infertui import condition, metric, stats
from infertui.condition import Conditions, Doubt
from infertui.errors import ServerError
from infertui.metric import Bound, CallRecord, Generator, Summary
from infertui.sample import Absent, Tally
from infertui.settings import user
from infertui.store import Store
from infertui.usage import Known, usage, windows

LEAST_S = 1.0  # a share of less time would be mostly rounding


class Telemetry(msgspec.Struct, kw_only=True):
    """How a run was observed: what is kept with it beside the samples, enough to judge it again."""

    sources: list[str] = []
    absent: list[Absent] = []
    server: str = ""  # the program that listened at an address that was attached to
    known: Known = Known()
    idle: list[tuple[int, int]] = []  # when nothing was asked of the server, to know its power then
    looks: list[tuple[Conditions, Conditions | None]] = []  # before and after each block
    doubts: list[Doubt] = []
    tally: Tally = msgspec.field(default_factory=Tally)  # of the measured blocks
    sampled_s: float = 0.0  # how long these were
    waited_s: float = 0.0  # for the machine to calm down
    off: bool = False  # nothing was sampled, because nobody wanted it: nor were the conditions looked at

    @property
    def own_percent(self) -> float | None:
        """Of a core, for the sampler in the measured blocks."""
        return 100 * self.tally.cpu_s / self.sampled_s if self.sampled_s >= LEAST_S else None

    @property
    def sampling_percent(self) -> float | None:
        """With the programs that it reads from."""
        spent_s = self.tally.cpu_s + self.tally.children_cpu_s
        return 100 * spent_s / self.sampled_s if self.sampled_s >= LEAST_S else None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run and its figures, fresh or out of the database."""

    id: int
    server: str
    url: str
    model: str
    scenario: str
    label: str
    status: str
    message: str
    started_at: str
    setup: dict[str, Any]
    facts: dict[str, Any]  # what is known of the server: version, command, settings in force, caveats
    summary: Summary
    telemetry: Telemetry

    @property
    def caveats(self) -> list[str]:
        """What has to be said wherever the figures are shown."""
        return [str(caveat) for caveat in self.facts.get("caveats", [])]


def generator_of(records: list[CallRecord], loop_lag_ns: array[int], cpu_s: float) -> Generator:
    """How punctual and how costly our own client was in the measured blocks."""
    lags = sorted(call.lag_ns / 1e6 for call in records if call.role == "measured" and call.lag_ns is not None)
    loop = sorted(lag / 1e6 for lag in loop_lag_ns)
    tokens = sum(call.n_output or 0 for call in records if call.role == "measured")
    return Generator(
        lag_p99_ms=stats.percentile(lags, 99) if lags else None,
        lag_max_ms=lags[-1] if lags else None,
        loop_lag_p99_ms=stats.percentile(loop, 99) if loop else None,
        loop_lag_max_ms=loop[-1] if loop else None,
        cpu_s=cpu_s,
        cpu_us_per_token=cpu_s * 1e6 / tokens if tokens else None,
    )


def report_of(store: Store, run: int, status: str, message: str, summary: Summary, telemetry: Telemetry) -> Report:
    row = store.run(str(run))
    return Report(
        id=run,
        server=row.server,
        url=row.url,
        model=row.model,
        scenario=row.scenario,
        label=row.label,
        status=status,
        message=message,
        started_at=row.started_at,
        setup=msgspec.json.decode(row.setup),
        facts=msgspec.json.decode(row.facts),
        summary=summary,
        telemetry=telemetry,
    )


def stored(store: Store, name: str, bounds: tuple[Bound, ...] = ()) -> Report:
    """The report of a run in the database, added up again from its calls: also of one that was cut off.

    Prices and thresholds are those of the user's settings now.
    Without bounds of the caller's it is held to those that it was asked with.
    """
    row = store.run(name)
    bounds = bounds or tuple(msgspec.convert(msgspec.json.decode(row.setup).get("targets", []), list[Bound]))
    records = store.calls(row.id)
    good = {call.name for call in records if call.role == "measured" and call.good}
    gaps = [
        gap / 1000 for call, (at_us, _, _) in store.reads(row.id).items() if call in good for gap in metric.gaps(at_us)
    ]
    generator = msgspec.json.decode(row.generator, type=Generator)
    if generator.lag_p99_ms is None:
        generator = generator_of(records, array("q"), 0.0)
        generator = msgspec.structs.replace(generator, cpu_s=None, cpu_us_per_token=None)
    warnings = msgspec.json.decode(row.warnings, type=list[str])
    told = msgspec.json.decode(row.telemetry, type=Telemetry)
    samples, wanted = store.samples(row.id), user()
    used = usage(samples, records, told.known, told.idle, wanted.cost, wanted.saturation) if samples else None
    doubts = told.doubts
    if row.status == "interrupted":  # nobody has judged what happened in its last block
        happened = condition.over(None, None, samples, windows(records).spans, wanted.conditions)
        doubts = condition.worst([*doubts, *happened])
    starts = store.starts(row.id)
    summary = metric.summarise(records, gaps, generator, warnings, bounds, starts, used, doubts)
    return report_of(store, row.id, row.status, row.message, summary, told)


def failure(reports: list[Report]) -> ServerError | None:
    """What to end with when a server answered no call at all, or did not live to the end."""
    failed = [
        report.message or "no call succeeded"
        for report in reports
        if report.status == "failed" or not report.summary.metrics["success_rate"]
    ]
    return ServerError("; ".join(failed)) if failed else None
