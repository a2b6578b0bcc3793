"""Samples over stretches of time: what part of each counts, means by time, growth of counters. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from math import fsum, isfinite
from typing import NamedTuple

import msgspec

from infertui.sample import SERIES, Sample
from infertui.stats import Distribution, distribution

COVERED = 0.95  # of the time: what is known for so long is known for all of it


class Spans:
    """Stretches of time, sorted; where some overlap, they are one."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        found: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if found and start <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], end))
            elif start < end:
                found.append((start, end))
        self.spans = tuple(found)
        self.total_ns = sum(end - start for start, end in found)
        self._starts = [start for start, _ in found]

    def within(self, start: int, end: int) -> int:
        """How much of this time lies in them."""
        at = max(0, bisect_right(self._starts, start) - 1)
        within = 0
        while at < len(self.spans) and self.spans[at][0] < end:
            within += max(0, min(end, self.spans[at][1]) - max(start, self.spans[at][0]))
            at += 1
        return within

    def hold(self, at_ns: int) -> bool:
        at = bisect_right(self._starts, at_ns) - 1
        return at >= 0 and at_ns <= self.spans[at][1]

    def share(self, covered_ns: int) -> float:
        return covered_ns / self.total_ns if self.total_ns else 0.0


class Seen(msgspec.Struct):
    """What one source told of one series over some spans."""

    source: str
    until_ns: int  # what lies before has been counted
    values: list[float] = []  # of the samples of which at least half lies in the spans: a pause sets no peak
    covered_ns: int = 0
    product: float = 0.0  # Σ value × ns

    @property
    def mean(self) -> float | None:
        """By time. Readings that cover none (the first of a source) count only where there is nothing else."""
        if self.covered_ns:
            return self.product / self.covered_ns
        return fsum(self.values) / len(self.values) if self.values else None

    def distribution(self) -> Distribution:
        return msgspec.structs.replace(distribution(self.values), mean=self.mean)


def observed(samples: Iterable[Sample], spans: Spans, keys: Collection[str]) -> dict[str, dict[str, Seen]]:
    """These series by key and source, wherever anything was told of them, in the spans or not."""
    found: dict[str, dict[str, Seen]] = {key: {} for key in keys}
    rates = {key for key in keys if key in SERIES and SERIES[key].kind == "rate"}
    powers = {key for key in keys if key in SERIES and SERIES[key].of == "power"}
    for sample in sorted(samples, key=lambda each: each.at_ns):
        at = sample.at_ns
        since = at if sample.since_ns is None else sample.since_ns
        within, held = spans.within(since, at), spans.hold(at)
        for key, value in sample.values.items():
            if key not in found or value is None or not isfinite(value):
                continue
            # A rate needs a span, and a power of exactly 0 W is that of a meter which does not work.
            if (since == at and key in rates) or (value <= 0 and key in powers):
                continue
            seen = found[key].get(sample.source)
            if seen is None:
                seen = found[key][sample.source] = Seen(sample.source, since)
            start, part = since, within
            if start < seen.until_ns:  # the time that two samples tell of is counted once
                start = seen.until_ns
                part = spans.within(start, at)
            seen.until_ns = at
            seen.covered_ns += part
            seen.product += value * part
            if (part and 2 * part >= at - start) or (start == at and held and key not in rates):
                seen.values.append(value)
    return {key: by_source for key, by_source in found.items() if by_source}


def best(found: Mapping[str, Mapping[str, Seen]], spans: Spans) -> dict[str, Seen]:
    """Of each series the source that covers most. Where several cover enough, the one that tells of more series.

    So what is said of a GPU comes of one source, the one that knows it best, and of the same one in every run.
    """
    told = Counter(source for by_source in found.values() for source in by_source)

    def rank(seen: Seen) -> tuple[float, int, int, int, str]:
        return (
            min(COVERED, spans.share(seen.covered_ns)),
            told[seen.source],
            seen.covered_ns,
            len(seen.values),
            seen.source,
        )

    return {key: max(by_source.values(), key=rank) for key, by_source in found.items()}


class Growth(NamedTuple):
    """Of a counter: `whole` in all readings that touch the spans, `share` by how much of each lies in them."""

    whole: float
    share: float
    seen_ns: int  # of the spans, by those readings


def growth(samples: Iterable[Sample], key: str, spans: Spans) -> Growth | None:
    """How much a counter grew in the spans. One that falls starts anew.

    None: no two readings tell. Of several sources, the one that covers most.
    """
    before: dict[str, tuple[int, float]] = {}
    grown: dict[str, Growth] = {}
    for sample in sorted(samples, key=lambda each: each.at_ns):
        value = sample.values.get(key)
        if value is None or not isfinite(value):
            continue
        if sample.source in before:
            since, last = before[sample.source]
            if within := spans.within(since, sample.at_ns):
                so_far = grown.get(sample.source, Growth(0.0, 0.0, 0))
                more = max(0.0, value - last)
                part = more * within / (sample.at_ns - since)
                grown[sample.source] = Growth(so_far.whole + more, so_far.share + part, so_far.seen_ns + within)
        before[sample.source] = (sample.at_ns, value)
    return max(grown.values(), key=lambda each: (each.seen_ns, each.whole), default=None)
