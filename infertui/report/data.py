"""Runs and comparisons as one JSON object, what --json prints; and a run with all that an export holds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from infertui import reply
from infertui.compare import Comparison
from infertui.metric import METRICS, Bound, CallRecord
from infertui.reply import Flag
from infertui.result import Report, Telemetry, stored
from infertui.sample import Sample
from infertui.store import RunRow, Store

GENERATOR = ("lag_p99_ms", "lag_max_ms", "loop_lag_p99_ms", "loop_lag_max_ms", "cpu_s", "cpu_us_per_token")


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A run with its calls, what is said of their replies, and what its user says of it."""

    report: Report
    calls: list[CallRecord]
    samples: list[Sample] = []
    flags: dict[str, tuple[Flag, ...]] = {}  # by a call's name, of those that count
    tags: list[str] = []
    note: str = ""
    machine: dict[str, Any] = {}

    @property
    def replies(self) -> dict[str, int]:
        """How many replies are fine, and of which kind the others are."""
        return reply.shares(self.flags.values())


def whole(store: Store, run: str) -> Whole:
    row = store.run(run)
    calls, replies = store.calls(row.id), store.replies(row.id)
    return Whole(
        report=stored(store, str(row.id)),
        calls=calls,
        samples=store.samples(row.id),
        flags=reply.run_flags((call, *replies.get(call.name, ("", ""))) for call in calls),
        tags=store.tags(row.id),
        note=row.note,
        machine=store.machine(row.machine_id),
    )


def run_object(report: Report) -> dict[str, Any]:
    summary = report.summary
    return {
        "id": report.id,
        "server": report.server,
        "url": report.url,
        "model": report.model,
        "scenario": report.scenario,
        "label": report.label,
        "status": report.status,
        "message": report.message,
        "started_at": report.started_at,
        "setup": report.setup,
        "facts": report.facts,
        "caveats": report.caveats,
        "valid": summary.valid,
        "warnings": summary.warnings,
        "calls": summary.calls,
        "token_source": summary.n_source,
        "metrics": {key: summary.metrics[key] for key in METRICS if key in summary.metrics},
        "errors": summary.errors,
        "suspicious": summary.suspicious,
        "doubts": summary.doubts,
        "limits": summary.limits,
        "limits_why": summary.limits_why,
        "energy": summary.energy,
        "telemetry": telemetry_object(report.telemetry),
        "generator": {key: getattr(summary.generator, key) for key in GENERATOR},
    }


def telemetry_object(told: Telemetry) -> dict[str, Any]:
    """How the run was observed: by what, what is missing and why, what that cost, and the machine's conditions."""
    return {
        "off": told.off,
        "sources": told.sources,
        "absent": told.absent,
        "server": told.server,
        "sampling": told.tally,
        "sampled_s": told.sampled_s,
        "sampling_percent": told.sampling_percent,
        "waited_s": told.waited_s,
        "conditions": [{"before": before, "after": after} for before, after in told.looks],
    }


def runs_text(reports: Sequence[Report]) -> str:
    return encoded({"runs": [run_object(report) for report in reports]})


def run_text(
    report: Report,
    calls: Sequence[CallRecord],
    samples: Sequence[Sample],
    bounds: Sequence[Bound] = (),
    said: Mapping[str, Any] | None = None,
) -> str:
    """`said`: what its user says of it, where that is anything: tags, a note."""
    return encoded({"runs": [{**_listed_object(report, calls, samples, bounds), **(said or {})}]})


def wholes_text(runs: Sequence[Whole]) -> str:
    return encoded({"runs": [whole_object(each) for each in runs]})


def whole_object(run: Whole) -> dict[str, Any]:
    """A run as `show --json` has it, its machine, and what is said of its replies; their texts stay in the database."""
    flagged = {name: found for name, found in run.flags.items() if found}
    return {
        **_listed_object(run.report, run.calls, run.samples),
        "tags": run.tags,
        "note": run.note,
        "machine": run.machine,
        "replies": {"counts": run.replies, "flags": flagged},
    }


def comparison_text(comparison: Comparison) -> str:
    columns = [
        {
            **run_object(column.report),
            "machine": column.machine,
            "replies": column.replies,
            "differences": list(column.differences.values()),
        }
        for column in comparison.columns
    ]
    told = {"baseline": comparison.baseline.id, "unlike": comparison.unlike, "warnings": comparison.warnings}
    return encoded({"comparison": {**told, "runs": columns}})


def _listed_object(
    report: Report, calls: Sequence[CallRecord], samples: Sequence[Sample], bounds: Sequence[Bound] = ()
) -> dict[str, Any]:
    kept = [{"key": b.key, "worst": b.worst, "met": sum(b.met(c) for c in counted(calls))} for b in bounds]
    return {**run_object(report), "targets": kept, "call_list": calls, "sample_list": samples}


def counted(calls: Sequence[CallRecord]) -> list[CallRecord]:
    return [call for call in calls if call.role == "measured" and call.good]


def list_text(rows: Sequence[RunRow], tags: Mapping[int, Sequence[str]] | None = None) -> str:
    return encoded({"runs": [{**listed(row), "tags": (tags or {}).get(row.id, [])} for row in rows]})


def listed(row: RunRow) -> dict[str, Any]:
    """A run in a list: what it was, and its figures where it has come to an end."""
    summary = msgspec.json.decode(row.summary) if row.summary else {}
    keys = ("id", "server", "url", "model", "scenario", "label", "note", "status", "message", "started_at", "ended_at")
    known = {key: getattr(row, key) for key in keys}
    known["caveats"] = msgspec.json.decode(row.facts).get("caveats", [])
    known["warnings"] = summary.get("warnings", [])
    known["doubts"] = summary.get("doubts", [])
    return {**known, "valid": summary.get("valid"), "metrics": summary.get("metrics", {})}


def encoded(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()
