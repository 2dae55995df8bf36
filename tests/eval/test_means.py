"""Means, win rates, Arena-Hard's scores: values, intervals and what is left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from games import connected, sigmoid
from hypothesis import given as drawn_from
from hypothesis import settings
from hypothesis import strategies as st

from pica.eval.arena_hard_scores import score
from pica.eval.battles import Battles
from pica.eval.means import mean
from pica.eval.winrate import win_rates
from pica.synth.errors import UsageError


@settings(max_examples=40, deadline=None)
@drawn_from(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0, None]), st.integers(0, 4), st.sampled_from([1.0, 2.0])),
                     min_size=1, max_size=30))
def test_a_mean_is_weighted_and_counts_what_is_missing(rows: list[tuple[float | None, int, float]]) -> None:
    values, prompts, weights = zip(*rows, strict=True)
    made = mean(values, prompt=prompts, weight=weights, rounds=50)
    known = [row for row in rows if row[0] is not None]
    assert (made.n, made.unscored, made.prompts) == (len(known), len(rows) - len(known), len({row[1] for row in known}))
    if known:
        assert made.value == pytest.approx(sum(v * w for v, _, w in known) / sum(w for *_, w in known))
    assert math.isnan(made.value) is not bool(known)
    assert math.isnan(made.lower) == (made.prompts < 2)
    assert not made.lower > made.value + 1e-12
    assert not made.upper < made.value - 1e-12


def test_intervals_of_means_hold_the_truth() -> None:
    """Four values a prompt that resemble each other: 95 % intervals cover 93 to 97 %; by values alone far fewer."""
    generator = np.random.default_rng(0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    target = float((sigmoid(0.8 + 1.5 * nodes) * weights).sum() / weights.sum())
    prompt = np.repeat(np.arange(60), 4)
    covered = np.zeros(2)
    for world in range(600):
        values = (generator.random((60, 4)) < sigmoid(0.8 + 1.5 * generator.normal(size=(60, 1)))).astype(float).ravel()
        for way, given in enumerate((prompt, None)):
            estimate = mean(values, prompt=given, rounds=300, seed=world)
            covered[way] += estimate.lower <= target <= estimate.upper
    assert 0.93 <= covered[0] / 600 <= 0.97
    assert covered[1] / 600 < 0.9


def test_no_exception_in_k_prompts() -> None:
    """All zero: the upper end is the rate at which k prompts show none with a chance of 2.5 %."""
    made = mean([0] * 60, bounds=(0, 1))
    assert (made.value, made.lower) == (0, 0)
    assert (1 - made.upper) ** 60 == pytest.approx(0.025)
    best = mean([1.0] * 20, bounds=(-1, 1))
    assert (best.value, best.upper) == (1, 1)
    assert ((1 + best.lower) / 2) ** 20 == pytest.approx(0.025)
    assert made.explain() == ("0 [0, 0.05963]: mean of 60 values with its 95% interval from 1,000 bootstrap draws of 60 prompts "
                              "(seed 0).")
    assert "3 unscored values are left out" in mean([1, 0, None, None, None]).explain()


def test_means_refuse_nonsense() -> None:
    with pytest.raises(UsageError, match="values from 0 to 2; allowed: 0 to 1"):
        mean([0, 2], bounds=(0, 1))
    with pytest.raises(UsageError, match="2 values, 2 weights, 1 prompts"):
        mean([0, 2], prompt=["a"])
    with pytest.raises(UsageError, match="a weight is negative or not finite"):
        mean([0, 2], weight=[1, -1])


def arena(seed: int = 0, prompts: int = 150) -> Battles:
    """Three models against `base` in both orders, with clear wins of weight 3."""
    generator = np.random.default_rng(seed)
    rows = []
    for model, lead in (("weak", -1.5), ("even", 0.0), ("zed", 1.0)):
        for prompt in range(prompts):
            chance = sigmoid(lead + 1.5 * generator.normal())
            for order in range(2):
                won = float(generator.random() < chance)
                pair = (model, "base", won) if order else ("base", model, 1 - won)
                rows.append((*pair, int(generator.choice([1, 3])), prompt))
    a, b, outcome, weight, prompt = zip(*rows, strict=True)
    return Battles.of(a, b, outcome, weight=weight, prompt=prompt)


@settings(max_examples=30, deadline=None)
@drawn_from(connected())
def test_win_rates_are_those_of_a_loop(battles: Battles) -> None:
    for model, rate in win_rates(battles, "m1", rounds=2).items():
        scored = [(outcome if battles.models[a] == model else 1 - outcome, weight) for a, b, outcome, weight
                  in zip(battles.a, battles.b, battles.outcome, battles.weight, strict=True)
                  if {battles.models[a], battles.models[b]} == {model, "m1"}]
        assert rate.n == len(scored)
        if scored:
            assert rate.value == pytest.approx(sum(s * w for s, w in scored) / sum(w for _, w in scored))
        else:
            assert math.isnan(rate.value)


def test_the_conventions_of_arena_hard() -> None:
    """v0.1 and pica agree on the score; v2 is near; rows give narrower intervals than prompts, and v2's are of 90 %."""
    battles = arena()
    made = {name: score(battles, "base", convention=name, rounds=4000) for name in ("v0.1", "v2", "pica")}
    for model in ("weak", "even", "zed"):
        old, new, own = (made[name][model] for name in ("v0.1", "v2", "pica"))
        assert old.value == pytest.approx(own.value, abs=1e-9)
        assert new.value == pytest.approx(own.value, abs=0.002)
        assert own.upper - own.lower > 1.4 * (old.upper - old.lower) > 1.4 * 1.1 * (new.upper - new.lower)
        assert [estimate.level for estimate in (old, new, own)] == [0.95, 0.9, 0.95]
        assert [estimate.by for estimate in (old, new, own)] == ["rows", "rows", "prompts"]
        assert (old.n, new.n, own.n, own.prompts) == (300, 300, 300, 150)
    assert "4,000 bootstrap draws of rows, as if independent, (seed 42)" in made["v2"]["weak"].explain()
    assert score(battles, "base", convention="v2")["zed"].rounds == 100
    with pytest.raises(UsageError, match=r"unknown convention of scores 'v3'; known: v0.1, v2, pica"):
        score(battles, "base", convention="v3")  # type: ignore[arg-type]


def test_a_model_without_a_win_scores_zero() -> None:
    battles = Battles.of(["null"] * 40 + ["ok"] * 40, ["base"] * 80, [0] * 40 + [0, 1] * 20, prompt=list(range(40)) * 2)
    for convention in ("v0.1", "v2", "pica"):
        made = score(battles, "base", convention=convention)
        assert made["null"].value == 0
        assert made["ok"].value == pytest.approx(0.5, abs=0.03)
    assert made["null"].upper == pytest.approx(1 - 0.025 ** (1 / 40))
