"""Intervals by empirical likelihood: against a search over bets, the binomial likelihood, and what they must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from pica.eval.distributions import t_quantile
from pica.eval.likelihood import likelihood_interval
from pica.synth.errors import UsageError

SHARES = st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.75, 1.0]), min_size=2, max_size=30)
LEVELS = st.sampled_from([0.6, 0.95, 0.9999])


def cost(values: list[float], mean: float) -> float:
    """By how much log likelihood a smaller mean is worse: the dual, by ternary search for the best bet against it."""
    number, low, high = np.array(values), 0.0, 1 / mean
    for _ in range(120):
        third = (high - low) / 3
        left, right = ([float(np.log(np.maximum(1 + bet * (number - mean), 1e-300)).sum())
                        for bet in (low + third, high - third)])
        low, high = (low + third, high) if left < right else (low, high - third)
    return float(np.log(np.maximum(1 + low * (number - mean), 1e-300)).sum())


@tried(max_examples=60, deadline=None)
@given(SHARES, LEVELS)
def test_the_lower_end_is_where_the_likelihood_has_fallen_far_enough(values: list[float], level: float) -> None:
    lower, upper = likelihood_interval(values, level=level)
    mean, allowed = sum(values) / len(values), t_quantile(0.5 + level / 2, len(values) - 1) ** 2 / 2
    assert 0 <= lower <= mean + 1e-9
    assert mean - 1e-9 <= upper <= 1
    if lower > 1e-6:
        assert cost(values, lower) == pytest.approx(allowed, rel=1e-5)
    mirrored = likelihood_interval([1 - value for value in values], level=level)
    assert mirrored == pytest.approx((1 - upper, 1 - lower), abs=1e-9)


@tried(max_examples=60, deadline=None)
@given(SHARES, st.randoms(use_true_random=False))
def test_order_and_scale_decide_nothing_and_a_higher_level_is_wider(values: list[float], random: object) -> None:
    lower, upper = likelihood_interval(values)
    assert likelihood_interval(sorted(values)) == (lower, upper)
    assert likelihood_interval([10 * value - 5 for value in values], bounds=(-5, 5)) == pytest.approx(
        (10 * lower - 5, 10 * upper - 5), abs=1e-6)
    wide = likelihood_interval(values, level=0.99)
    assert wide[0] <= lower
    assert upper <= wide[1]


def test_wins_and_losses_have_the_interval_of_the_binomial_likelihood() -> None:
    for n, wins in ((30, 24), (200, 110), (7, 6)):
        allowed = t_quantile(0.975, n - 1) ** 2 / 2
        lower, upper = likelihood_interval([1.0] * wins + [0.0] * (n - wins))
        for end in (lower, upper):
            share = wins / n
            lost = n * (share * math.log(share / end) + (1 - share) * math.log((1 - share) / (1 - end)))
            assert lost == pytest.approx(allowed)


def test_all_alike() -> None:
    t = t_quantile(0.975, 5)
    assert likelihood_interval([1.0] * 6) == pytest.approx((math.exp(-t * t / 12), 1))
    assert likelihood_interval([0.0] * 6) == pytest.approx((0, 1 - math.exp(-t * t / 12)))
    lower, upper = likelihood_interval([0.5] * 6)
    assert (lower, upper) == pytest.approx((0.5 * math.exp(-t * t / 12), 1 - 0.5 * math.exp(-t * t / 12)))


def test_it_holds_the_mean_of_skewed_values_far_out() -> None:
    """Values that are often a little above the mean and seldom far below it: the lower end is above the mean in hardly more cases
    than it may be, where that of a t-interval is in many times as many."""
    generator, chances, prompts, level = np.random.default_rng(0), [0.1, 0.7, 0.2], 30, 0.99
    kinds, times = np.unique(generator.multinomial(prompts, chances, 20_000), axis=0, return_counts=True)
    shares, missed = np.array([0.0, 0.5, 0.75]), np.zeros(2)
    for count, often in zip(kinds, times, strict=True):
        values = np.repeat(shares, count)
        half = t_quantile(0.5 + level / 2, prompts - 1) * values.std(ddof=1) / math.sqrt(prompts)
        missed += often * np.array([likelihood_interval(values, level=level)[0] > 0.5, values.mean() - half > 0.5])
    assert missed[0] / 20_000 <= 1.2 * (1 - level) / 2
    assert missed[1] / 20_000 >= 4 * (1 - level) / 2


def test_what_is_no_interval() -> None:
    assert all(math.isnan(end) for values in ([], [1.0]) for end in likelihood_interval(values))
    with pytest.raises(UsageError, match=r"values from -1 to 1; allowed: 0 to 1"):
        likelihood_interval([-1, 1])
    with pytest.raises(UsageError, match=r"level 1; allowed"):
        likelihood_interval([0, 1], level=1)
