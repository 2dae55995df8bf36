"""Intervals against published numbers and a second derivation."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pica.synth.intervals import Z95, mean_interval, wilson


@pytest.mark.parametrize(("successes", "n", "low", "high"), [  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)])
def test_published_shares(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_ends_are_the_shares_that_the_normal_test_just_allows(case: tuple[int, int]) -> None:
    successes, n = case
    for end in wilson(successes, n):
        assert 0 <= end <= 1
        assert abs(successes / n - end) == pytest.approx(Z95 * math.sqrt(end * (1 - end) / n), abs=1e-9)


def test_nothing_tells_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert all(map(math.isnan, mean_interval([])))
    mean, low, high = mean_interval([3.0])
    assert (mean, math.isnan(low), math.isnan(high)) == (3.0, True, True)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_a_mean(values: list[float]) -> None:
    half = Z95 * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    assert mean_interval(values) == pytest.approx((mean, mean - half, mean + half), rel=1e-6, abs=1e-6)
