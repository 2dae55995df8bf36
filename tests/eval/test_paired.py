"""Comparing two runs, and how small a difference can be seen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.eval.distributions import normal_cdf, normal_quantile, t_cdf, t_quantile
from pica.eval.paired import compare, sign_flips
from pica.eval.power import detectable
from pica.synth.errors import UsageError


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=9))
def test_sign_flips_are_those_of_every_pattern(change: list[float]) -> None:
    sums = [abs(sum(sign * value for sign, value in zip(signs, change, strict=True)))
            for signs in itertools.product([-1, 1], repeat=len(change))]
    expected = np.mean([total >= abs(sum(change)) - 1e-9 for total in sums])
    assert sign_flips(np.array(change)) == pytest.approx(expected)


def test_many_flips_are_sampled_and_seeded() -> None:
    change = np.random.default_rng(0).normal(0.25, 1, 60)
    t = change.mean() / change.std(ddof=1) * math.sqrt(60)
    assert sign_flips(change) == pytest.approx(2 * (1 - t_cdf(t, 59)), abs=0.01)
    assert sign_flips(change) == sign_flips(change)
    assert sign_flips(change, seed=1) != sign_flips(change)


def test_p_values_are_right_where_nothing_changed() -> None:
    generator = np.random.default_rng(0)
    low = np.mean([sign_flips(generator.normal(size=12)) <= 0.05 for _ in range(800)])
    assert 0.03 <= low <= 0.07


def test_a_comparison() -> None:
    first = {"a": 0.0, "b": 0.5, "c": 1.0, "d": None, "e": 1.0}
    second = {"a": 1.0, "b": 0.5, "c": 0.5, "d": 1.0, "f": 0.0}
    made = compare(first, second)
    assert (made.difference, made.better, made.equal, made.worse) == (pytest.approx(1 / 6), 1, 1, 1)
    assert (made.prompts, made.only_first, made.only_second, made.p_value) == (3, 1, 2, 1)
    assert made.spread == pytest.approx(np.std([1, 0, -0.5], ddof=1))
    assert made.upper - made.difference == pytest.approx(4.302653 * made.spread / math.sqrt(3), abs=1e-5)
    assert made.explain() == ("The score shows no change beyond chance: +0.1667 [-1.731, 2.064] on 3 shared prompts (1 better, "
                              "1 equal, 1 worse), p = 1 by sign flips. 3 prompts that only one run scored are left out.")
    better = compare({str(i): 0 for i in range(9)}, {str(i): 1 for i in range(9)})
    assert better.explain().startswith("The score changed: +1 [1, 1] on 9 shared prompts (9 better")
    assert better.p_value == 2 / 2 ** 9
    with pytest.raises(UsageError, match=r"no prompt was scored in both runs \(1 in the first, 1 in the second\)"):
        compare({"a": 1}, {"b": 1})


def test_power_is_what_simulation_finds() -> None:
    generator = np.random.default_rng(0)
    made = detectable(0.5, 25)
    sample = generator.normal(made.difference, 0.5, (20_000, 25))
    t = sample.mean(axis=1) / sample.std(axis=1, ddof=1) * 5
    assert np.mean(np.abs(t) > t_quantile(0.975, 24)) == pytest.approx(0.8, abs=0.01)
    assert made.chance(made.difference) == pytest.approx(0.8, abs=1e-4)
    assert made.chance(0) == pytest.approx(0.05)
    assert made.explain() == ("25 prompts show a difference of 0.292 or more with a probability of 80% (spread 0.5 over prompts, "
                              "two-sided test at 0.05); a smaller one may go unseen.")


@pytest.mark.parametrize("difference", [0.02, 0.1, 0.292, 2.0])
def test_prompts_for_a_difference(difference: float) -> None:
    needed = detectable(0.5, 25).prompts_for(difference)
    assert detectable(0.5, needed).difference <= difference
    assert needed == 2 or detectable(0.5, needed - 1).difference > difference


def test_power_refuses_nonsense() -> None:
    for arguments, says in (((0.5, 1), "1 prompts"), ((-1, 9), "spread -1")):
        with pytest.raises(UsageError, match=says):
            detectable(*arguments)
    with pytest.raises(UsageError, match="power 1; allowed"):
        detectable(0.5, 9, power=1)
    with pytest.raises(UsageError, match="difference 0; allowed"):
        detectable(0.5, 9).prompts_for(0)
    assert (detectable(0, 9).difference, detectable(0, 9).chance(0.1)) == (0, 1)


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706205), (2, 4.302653), (5, 2.570582), (24, 2.063899), (59, 2.000995),
                                                   (499, 1.964729), (2_000_000, 1.959964)])
def test_student_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, abs=1e-6)
    assert t_quantile(0.025, freedom) == pytest.approx(-quantile, abs=1e-6)
    assert t_cdf(quantile, freedom) == pytest.approx(0.975, abs=1e-7)
    assert t_cdf(0, freedom) == 0.5


def test_the_normal_distribution() -> None:
    assert normal_cdf(1.959963984540054) == pytest.approx(0.975)
    assert normal_quantile(0.975) == pytest.approx(1.959963984540054)
