"""Intervals: draws and sandwich against naive versions, and how often they hold the truth."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from games import connected, sigmoid
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.eval.battles import Battles, Floats, Pairs
from pica.eval.distributions import normal_cdf, t_quantile
from pica.eval.intervals import bootstrap, quantiles, sandwich, tails
from pica.eval.newton import maximise
from pica.eval.ratings import POINTS, fit
from pica.eval.resample import units_of
from pica.synth.errors import UsageError


def games_of(battles: Battles) -> list[tuple[int, int, float, float, int]]:
    return list(zip(battles.a.tolist(), battles.b.tolist(), battles.outcome.tolist(), battles.weight.tolist(),
                    battles.prompt.tolist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(connected(), st.integers(0, 5))
def test_prompts_are_drawn_with_all_their_games(battles: Battles, seed: int) -> None:
    """The counts of a draw are those of drawing the list of games again, prompt by prompt."""
    units = units_of(battles, "prompts")
    pairs = battles.pairs()
    place = {(int(i), int(j)): number for number, (i, j) in enumerate(zip(pairs.i, pairs.j, strict=True))}
    games = games_of(battles)
    single = {prompt for *_, prompt in games if sum(other == prompt for *_, other in games) == 1}
    lone = [(place[min(a, b), max(a, b)], out if a < b else 1 - out, w) for a, b, out, w, prompt in games if prompt in single]
    kinds = sorted(set(lone))
    blocks = [prompt for prompt in range(battles.prompts) if prompt not in single]
    assert units.count == battles.prompts
    chance = [lone.count(kind) / battles.prompts for kind in kinds] + [1 / battles.prompts] * len(blocks)
    generator = np.random.default_rng(seed)
    for wins, total in zip(*map(np.concatenate, zip(*units.draws(3, seed), strict=True)), strict=True):
        count = generator.multinomial(battles.prompts, chance)
        expected = np.zeros((2, len(place)))
        for times, (pair, score, weight) in zip(count, kinds, strict=False):
            expected[:, pair] += times * weight * np.array([score, 1])
        for times, block in zip(count[len(kinds):], blocks, strict=True):
            for a, b, outcome, weight, prompt in games:
                if prompt == block:
                    expected[:, place[min(a, b), max(a, b)]] += times * weight * np.array([outcome if a < b else 1 - outcome, 1])
        np.testing.assert_allclose([wins, total], expected, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(connected(), st.sampled_from(["prompts", "rows"]))
def test_every_draw_is_rated_by_maximum_likelihood(battles: Battles, by: str) -> None:
    """Draws in which all models stay connected and finite are rated as `fit` rates them."""
    ratings = fit(battles)
    intervals = bootstrap(battles, ratings, by=by, rounds=6, seed=3)
    pairs = battles.pairs()
    drawn = [np.concatenate(some) for some in zip(*units_of(battles, by).draws(6, 3), strict=True)]
    for wins, total, strength in zip(*drawn, intervals.draws, strict=True):
        if (total > 0).all() and ((wins > 0) & (wins < total)).all():
            np.testing.assert_allclose(strength, maximise(pairs, wins[None], total[None])[0], atol=1e-5)


def test_rows_are_drawn_as_copies() -> None:
    """A weight of 3 is three rows: as many are drawn as the weights add up to, each on its own."""
    battles = Battles.of(["a", "a", "b"], ["b", "b", "a"], [1, 0, 0.5], weight=[3, 1, 2], prompt=[0, 0, 0])
    units = units_of(battles, "rows")
    assert (units.count, units.kinds.tolist(), units.blocks) == (6, [1, 2, 3], 0)
    wins, total = map(np.concatenate, zip(*units.draws(20_000, 0), strict=True))
    assert (total == 6).all()
    assert wins.mean() == pytest.approx(4, abs=0.03)
    assert wins.var() == pytest.approx(6 * np.var([1, 1, 1, 0, 0.5, 0.5]), rel=0.05)
    with pytest.raises(UsageError, match=r"weight 0.5 of game 0 is no whole number"):
        units_of(Battles.of(["a"], ["b"], [1], weight=[0.5]), "rows")


@settings(max_examples=30, deadline=None)
@given(connected(), st.sampled_from(["prompts", "rows"]))
def test_the_sandwich_is_that_of_loops(battles: Battles, by: str) -> None:
    ratings = fit(battles, anchor="m0")
    made = sandwich(battles, ratings, by=by)
    n = len(battles.models)
    hessian, scores = np.zeros((n, n)), {}
    for number, (a, b, outcome, weight, prompt) in enumerate(games_of(battles)):
        chance = sigmoid(ratings.strength[a] - ratings.strength[b])
        side = np.zeros(n)
        side[a], side[b] = 1, -1
        hessian += weight * chance * (1 - chance) * np.outer(side, side)
        unit = prompt if by == "prompts" else number
        scores[unit] = scores.get(unit, 0) + weight * (outcome - chance) * side
    meat = sum(np.outer(score, score) for score in scores.values())
    bread = np.linalg.pinv(hessian)
    expected = bread @ meat @ bread * len(scores) / (len(scores) - 1)
    np.testing.assert_allclose(made.covariance, expected, atol=1e-8)
    turn = np.eye(n) - np.eye(n)[[0]]
    half = t_quantile(0.975, len(scores) - 1) * np.sqrt(np.maximum(np.diag(turn @ expected @ turn.T), 0))
    np.testing.assert_allclose(made.upper - ratings.points, POINTS * half, atol=1e-4)
    np.testing.assert_allclose(ratings.points - made.lower, POINTS * half, atol=1e-4)


def played(generator: np.random.Generator, prompts: int, strength: Floats, spread: float) -> Battles:
    """All pairs, twice on every prompt; each model is better or worse than usual on a prompt by `spread` logits."""
    n = len(strength)
    i, j = np.triu_indices(n, 1)
    mood = strength + spread * generator.normal(size=(prompts, n))
    chance = sigmoid(mood[:, i] - mood[:, j])
    outcome = (generator.random((2, *chance.shape)) < chance).astype(float)
    shape = outcome.shape
    return Battles.of(np.broadcast_to(i, shape).ravel(), np.broadcast_to(j, shape).ravel(), outcome.ravel(),
                      prompt=np.broadcast_to(np.arange(prompts)[:, None], shape).ravel(), models=[f"m{k}" for k in range(n)])


def truth(strength: Floats, spread: float) -> Floats:
    """The leads over the first model that infinitely many prompts would show."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    i, j = np.triu_indices(len(strength), 1)
    lead = strength[i] - strength[j]
    chance = (sigmoid(lead[:, None] + np.sqrt(2) * spread * nodes) * weights).sum(axis=1) / weights.sum()
    pairs = Pairs(len(strength), i, j, chance, np.ones(len(i)))
    limit = maximise(pairs, chance[None], np.ones((1, len(i))))[0]
    return limit - limit[0]


@pytest.mark.parametrize("prompts", [40, 150])
def test_intervals_over_prompts_hold_the_truth(prompts: int) -> None:
    """With games that resemble each other on a prompt, 95 % intervals over prompts cover 93 to 97 %; over rows far fewer."""
    strength, spread, worlds = np.array([0.0, 0.5, -0.4, 1.2]), 1.2, 250
    generator = np.random.default_rng(prompts)
    leads = truth(strength, spread)[1:]
    covered = {name: 0 for name in ("prompts", "rows", "sandwich over prompts", "sandwich over rows")}
    for world in range(worlds):
        battles = played(generator, prompts, strength, spread)
        ratings = fit(battles, anchor="m0")
        for name in covered:
            by = "rows" if name.endswith("rows") else "prompts"
            made = sandwich(battles, ratings, by=by) if "sandwich" in name else bootstrap(battles, ratings, by=by, rounds=300,
                                                                                         seed=world)
            lower, upper = made.relative("m0")
            covered[name] += int(((lower[1:] <= leads) & (leads <= upper[1:])).sum())
    share = {name: count / worlds / len(leads) for name, count in covered.items()}
    assert 0.93 <= share["prompts"] <= 0.97
    assert 0.93 <= share["sandwich over prompts"] <= 0.97
    assert share["rows"] < 0.88
    assert share["sandwich over rows"] < 0.88


def test_without_likeness_all_ways_agree() -> None:
    battles = played(np.random.default_rng(0), 4000, np.array([0.0, 0.5, -0.4]), 0.0)
    ratings = fit(battles, anchor="m0")
    widths = [made.upper[1:] - made.lower[1:] for made in (
        bootstrap(battles, ratings, rounds=2000), bootstrap(battles, ratings, by="rows", rounds=2000), sandwich(battles, ratings),
        sandwich(battles, ratings, by="rows"))]
    for width in widths[1:]:
        np.testing.assert_allclose(width, widths[0], rtol=0.08)


def test_the_same_seed_gives_the_same_bits_in_any_order_of_rows() -> None:
    battles = played(np.random.default_rng(1), 30, np.array([0.0, 0.5, -0.4]), 1.0)
    order = np.random.default_rng(2).permutation(len(battles))
    names = np.array(battles.models)
    shuffled = Battles.of(names[battles.b[order]], names[battles.a[order]], 1 - battles.outcome[order],
                          prompt=battles.prompt[order])
    draws = [bootstrap(some, fit(some), rounds=50, seed=7).draws for some in (battles, battles, shuffled)]
    assert np.array_equal(draws[0], draws[1])
    assert np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0], bootstrap(battles, fit(battles), rounds=50, seed=8).draws)


def test_who_lost_everything_has_an_infinite_end() -> None:
    """c lost all its games; b won 1 of 5, and some draws leave that win out."""
    battles = Battles.of(["a"] * 10, ["b"] * 5 + ["c"] * 5, [1, 1, 1, 1, 0] + [1] * 5, prompt=[0, 1, 2, 3, 4] * 2)
    ratings = fit(battles, anchor="a")
    intervals = bootstrap(battles, ratings, rounds=400)
    assert intervals.lower.tolist() == [1000, -np.inf, -np.inf]
    assert intervals.upper[2] == -np.inf
    assert 1000 - 400 < intervals.upper[1] < 1400
    lower, upper = intervals.against("a")
    assert (lower[1:].tolist(), upper[2]) == ([0, 0], 0)
    assert np.isnan(sandwich(battles, ratings).lower[2])
    assert intervals.ranks().tolist() == [1, 1, 2]


def test_draws_that_leave_a_model_out_are_counted() -> None:
    """d plays on one prompt of 4, which (3/4)^4 = 32 % of draws leave out."""
    battles = Battles.of(list("abababda"), list("bababaad"), [1] * 8, prompt=[0, 0, 1, 1, 2, 2, 3, 3])
    intervals = bootstrap(battles, fit(battles, anchor="a"), rounds=2000)
    assert intervals.missing[2] / 2000 == pytest.approx(0.75 ** 4, abs=0.03)
    assert f"{intervals.missing[2]} draws at most said nothing of a model" in intervals.explain()
    assert np.isfinite(intervals.lower).all()


def test_intervals_explain_themselves() -> None:
    battles = played(np.random.default_rng(1), 30, np.array([0.0, 0.5]), 1.0)
    ratings = fit(battles)
    explained = bootstrap(battles, ratings, rounds=20, seed=4).explain()
    assert explained == "95% intervals by 20 bootstrap draws of 30 prompts (seed 4)."
    assert sandwich(battles, ratings, by="rows", level=0.9).explain() == (
        "90% intervals by sandwich errors over 60 rows. Games on one prompt are taken for independent, so these are too narrow.")


def test_ends_are_widened_for_few_prompts() -> None:
    assert tails(0.95, None) == (pytest.approx(0.025), pytest.approx(0.975))
    assert tails(0.95, 10)[0] == pytest.approx(normal_cdf(-2.262157 * np.sqrt(10 / 9)), abs=1e-6)
    assert tails(0.95, 10**7)[0] == pytest.approx(0.025, abs=1e-6)
    lower, upper = quantiles(np.array([[0.0, np.nan, 20], [1, np.nan, 30], [2, np.nan, 40]]), 0.25, 0.75)
    assert (lower.tolist()[0], upper.tolist()[0], lower[2], upper[2]) == (0.5, 1.5, np.inf, np.inf)
    assert np.isnan([lower[1], upper[1]]).all()


def test_bad_settings_are_refused() -> None:
    battles = Battles.of(["a"], ["b"], [0.5])
    ratings = fit(battles)
    with pytest.raises(UsageError, match="only 1 of the prompts to draw from; an interval needs at least 2"):
        bootstrap(battles, ratings)
    with pytest.raises(UsageError, match="1 rounds of bootstrap"):
        bootstrap(battles, ratings, rounds=1)
    with pytest.raises(UsageError, match="level 95; allowed: between 0 and 1"):
        sandwich(battles, ratings, level=95)
    with pytest.raises(UsageError, match="cannot draw by 'models'; allowed: prompts, rows"):
        bootstrap(battles, ratings, by="models")  # type: ignore[arg-type]


def test_a_model_that_lost_everything_moves_nobody_else() -> None:
    """Without an anchor the mean of the others is the zero, in every draw as in the estimate."""
    names, rows = ["a", "b", "c", "last"], []
    for prompt in range(30):
        rows += [(one, other, 1.0 if other == "last" else float((prompt * 7 + place) % 10 < 6), prompt)
                 for place, (one, other) in enumerate(combinations(names, 2))]
    battles = Battles.of(*([row[column] for row in rows] for column in range(3)), prompt=[row[3] for row in rows])
    ratings = fit(battles)
    ends = bootstrap(battles, ratings, rounds=200)
    last = ratings.code("last")
    assert ratings.points[last] == ends.lower[last] == ends.upper[last] == -np.inf
    for code in range(len(names)):
        assert code == last or ends.lower[code] < ratings.points[code] < ends.upper[code]
