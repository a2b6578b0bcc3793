"""Percentiles by hand and against numpy's and scipy's, and what is said where there are too few values."""

from __future__ import annotations

from itertools import pairwise
from math import inf, nan

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats.mstats import mquantiles

from infertui.stats import Distribution, distribution, percentile

VALUES = st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=150)
QUICK = settings(max_examples=60, deadline=None, database=None)


@pytest.mark.parametrize(
    ("ordered", "percent", "expected"),
    [
        # type 7: the place is (n − 1) · p, counted from 0
        ([5.0], 50, 5.0),
        ([5.0], 99, 5.0),
        ([1.0, 2.0], 50, 1.5),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.5),
        ([1.0, 2.0, 3.0, 4.0], 25, 1.75),  # 3 · 0.25 = 0.75: 1 + 0.75 · (2 − 1)
        ([10.0, 20.0, 30.0, 40.0, 50.0], 90, 46.0),  # 4 · 0.9 = 3.6: 40 + 0.6 · 10
        ([0.0, 0.0, 0.0, 100.0], 90, 70.0),  # 3 · 0.9 = 2.7: 0 + 0.7 · 100
        ([1.0, 2.0, 3.0], 0, 1.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
        ([-4.0, -2.0], 75, -2.5),
    ],
)
def test_a_percentile_lies_on_the_line_between_its_neighbours(
    ordered: list[float], percent: float, expected: float
) -> None:
    assert percentile(ordered, percent) == pytest.approx(expected, abs=1e-12)


def test_percentiles_of_0_to_100_are_their_own_percent() -> None:
    ordered = [float(number) for number in range(101)]
    assert [percentile(ordered, percent) for percent in (50, 90, 95, 99)] == [50, 90, 95, 99]


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


@QUICK
@given(values=VALUES, percent=st.one_of(st.sampled_from([0, 50, 90, 95, 99, 100]), st.floats(0, 100)))
def test_percentiles_are_those_of_numpy_and_scipy(values: list[float], percent: float) -> None:
    ours = percentile(sorted(values), percent)
    assert ours == pytest.approx(float(numpy.percentile(values, percent, method="linear")), rel=1e-9, abs=1e-6)
    assert ours == pytest.approx(float(mquantiles(values, [percent / 100], alphap=1, betap=1)[0]), rel=1e-9, abs=1e-6)


@QUICK
@given(values=VALUES)
def test_a_distribution_is_in_order_and_knows_its_ends(values: list[float]) -> None:
    found = distribution(values)
    known = [value for value in (found.min, found.p50, found.p90, found.p95, found.p99, found.max) if value is not None]
    assert (found.n, found.min, found.max) == (len(values), min(values), max(values))
    assert all(low <= high + 1e-6 for low, high in pairwise(known))
    assert found.mean == pytest.approx(float(numpy.mean(values)), rel=1e-9, abs=1e-6)


@QUICK
@given(values=VALUES, seed=st.randoms(use_true_random=False))
def test_the_order_of_values_does_not_matter(values: list[float], seed: object) -> None:
    shuffled = list(values)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    assert distribution(shuffled) == distribution(values)


@pytest.mark.parametrize(
    ("n", "known"),
    [
        (1, (True, False, False, False)),
        (9, (True, False, False, False)),
        (10, (True, True, False, False)),
        (19, (True, True, False, False)),
        (20, (True, True, True, False)),
        (99, (True, True, True, False)),
        (100, (True, True, True, True)),
    ],
)
def test_p90_p95_and_p99_need_10_20_and_100_values(n: int, known: tuple[bool, ...]) -> None:
    found = distribution(range(n))
    assert tuple(value is not None for value in (found.p50, found.p90, found.p95, found.p99)) == known


def test_values_that_are_left_out_do_not_make_up_the_number() -> None:
    assert distribution([1.0] * 9 + [None]).p90 is None
    assert distribution([1.0] * 9 + [nan]).p90 is None
    assert distribution([1.0] * 10 + [None]).p90 == 1.0


@pytest.mark.parametrize("unknown", [None, nan, inf, -inf])
def test_unknown_values_are_left_out_and_never_zero(unknown: float | None) -> None:
    assert distribution([4.0, unknown, 2.0]) == Distribution(2, mean=3.0, min=2.0, p50=3.0, max=4.0)


def test_a_zero_that_is_known_counts() -> None:
    assert distribution([0.0, 2.0]) == Distribution(2, mean=1.0, min=0.0, p50=1.0, max=2.0)


@pytest.mark.parametrize("values", [[], [None], [nan, None, inf]])
def test_nothing_known_has_no_figures(values: list[float | None]) -> None:
    assert distribution(values) == Distribution(0)


def test_values_may_come_from_anything_that_yields_them_once() -> None:
    assert distribution(value for value in (1.0, None, 3.0)).mean == 2.0
