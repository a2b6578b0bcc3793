"""Figures of many values: percentiles by linear interpolation (type 7), given only where there are enough values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum, isfinite

import msgspec

# A percentile that rests on fewer values than this is a guess about the largest one.
ENOUGH = {50: 1, 90: 10, 95: 20, 99: 100}


class Distribution(msgspec.Struct, frozen=True):
    """What is said of many values of one metric. None: no value, or too few for that percentile."""

    n: int
    mean: float | None = None
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the sorted values lie, by linear interpolation between neighbours."""
    if not ordered:
        raise ValueError("a percentile of nothing")
    at = (len(ordered) - 1) * percent / 100
    low = int(at)
    if low + 1 >= len(ordered):
        return ordered[-1]
    part = at - low
    return ordered[low] if part == 0 else ordered[low] * (1 - part) + ordered[low + 1] * part


def distribution(values: Iterable[float | None]) -> Distribution:
    """Of the values that are known; unknown ones are left out, not counted as zero."""
    ordered = sorted(value for value in values if value is not None and isfinite(value))
    n = len(ordered)
    if not n:
        return Distribution(0)
    points = {f"p{percent}": percentile(ordered, percent) for percent, least in ENOUGH.items() if n >= least}
    return Distribution(n, mean=fsum(ordered) / n, min=ordered[0], max=ordered[-1], **points)
