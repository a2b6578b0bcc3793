"""Runs as one JSON object: what --json prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from infertui.metric import METRICS, Bound, CallRecord
from infertui.result import Report, Telemetry
from infertui.sample import Sample
from infertui.store import RunRow

GENERATOR = ("lag_p99_ms", "lag_max_ms", "loop_lag_p99_ms", "loop_lag_max_ms", "cpu_s", "cpu_us_per_token")


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
    report: Report, calls: Sequence[CallRecord], samples: Sequence[Sample], bounds: Sequence[Bound] = ()
) -> str:
    kept = [{"key": b.key, "worst": b.worst, "met": sum(b.met(c) for c in counted(calls))} for b in bounds]
    lists = {"targets": kept, "call_list": calls, "sample_list": samples}
    return encoded({"runs": [{**run_object(report), **lists}]})


def counted(calls: Sequence[CallRecord]) -> list[CallRecord]:
    return [call for call in calls if call.role == "measured" and call.good]


def list_text(rows: Sequence[RunRow]) -> str:
    return encoded({"runs": [listed(row) for row in rows]})


def listed(row: RunRow) -> dict[str, Any]:
    """A run in a list: what it was, and its figures where it has come to an end."""
    summary = msgspec.json.decode(row.summary) if row.summary else {}
    keys = ("id", "server", "url", "model", "scenario", "label", "status", "message", "started_at", "ended_at")
    known = {key: getattr(row, key) for key in keys}
    known["caveats"] = msgspec.json.decode(row.facts).get("caveats", [])
    known["warnings"] = summary.get("warnings", [])
    known["doubts"] = summary.get("doubts", [])
    return {**known, "valid": summary.get("valid"), "metrics": summary.get("metrics", {})}


def encoded(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()
