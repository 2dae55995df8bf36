"""Bradley-Terry against a second implementation, published numbers, and what has no finite answer."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from games import connected
from goldens import FOLDER, needs_golden
from hypothesis import given, settings

from pica.eval.battles import Battles, Floats
from pica.eval.elo import elo
from pica.eval.ratings import POINTS, fit
from pica.eval.winrate import win_rates
from pica.synth.errors import UsageError


def by_minorisation(battles: Battles) -> Floats:
    """Strengths by Hunter's minorisation-maximisation (2004), game by game: slow and simple."""
    n = len(battles.models)
    wins, met = np.zeros(n), np.zeros((n, n))
    for a, b, outcome, weight in zip(battles.a, battles.b, battles.outcome, battles.weight, strict=True):
        wins[a] += weight * outcome
        wins[b] += weight * (1 - outcome)
        met[a, b] += weight
        met[b, a] += weight
    worth, before = np.ones(n), np.zeros(n)
    while np.abs(worth - before).max() > 1e-11:
        before = worth
        worth = wins / (met / (worth[:, None] + worth[None, :])).sum(axis=1)
        worth /= np.exp(np.log(worth).mean())
    return np.log(worth)


@settings(max_examples=30, deadline=None)
@given(connected())
def test_ratings_are_those_of_a_second_implementation(battles: Battles) -> None:
    ratings = fit(battles)
    np.testing.assert_allclose(ratings.strength, by_minorisation(battles), atol=1e-6)
    assert not ratings.unbounded
    chances = ratings.chances()
    np.testing.assert_allclose(chances + chances.T, 1)


@settings(max_examples=40, deadline=None)
@given(connected())
def test_the_gradient_vanishes(battles: Battles) -> None:
    """At the maximum, every model's expected score is its score."""
    chances = fit(battles).chances()
    expected, scored = np.zeros(len(battles.models)), np.zeros(len(battles.models))
    for a, b, outcome, weight in zip(battles.a, battles.b, battles.outcome, battles.weight, strict=True):
        expected[[a, b]] += weight * np.array([chances[a, b], chances[b, a]])
        scored[[a, b]] += weight * np.array([outcome, 1 - outcome])
    np.testing.assert_allclose(expected, scored, rtol=1e-9)


@needs_golden
def test_food_as_published() -> None:
    with (FOLDER / "ranking/food.csv").open() as file:
        rows = list(csv.DictReader(file))
    battles = Battles.of([row["left"] for row in rows], [row["right"] for row in rows],
                         [{"left": 1, "right": 0, "tie": 0.5}[row["winner"]] for row in rows])
    with (FOLDER / "ranking/food-golden.csv").open() as file:
        published = {(row["algorithm"], row["item"]): float(row["score"]) for row in csv.DictReader(file)}
    worth = np.exp(fit(battles).strength)
    for code, name in enumerate(battles.models):
        assert worth[code] / worth.sum() == pytest.approx(published["bradley_terry", name], abs=1e-6)
        assert elo(battles).ratings[code] == pytest.approx(published["elo", name], abs=1e-9)


def test_the_example_of_wikipedia() -> None:
    """A-B 2:3, A-D 1:4, B-C 5:3, C-D 1:3."""
    results = [("A", "B", 2, 3), ("A", "D", 1, 4), ("B", "C", 5, 3), ("C", "D", 1, 3)]
    games = [(a, b, won) for a, b, wins, losses in results for won in [1] * wins + [0] * losses]
    worth = np.exp(fit(Battles.of(*zip(*games, strict=True))).strength)
    np.testing.assert_allclose(worth, [0.640, 1.043, 0.660, 2.270], rtol=1e-3)


def test_the_example_of_choix() -> None:
    ratings = fit(Battles.of(list("aabc"), list("bbca"), [1, 1, 1, 1]))
    np.testing.assert_allclose(ratings.strength, [0.419617624, -0.419617624, 0], atol=1e-9)


def test_an_anchor_sets_the_scale() -> None:
    battles = Battles.of(["a"] * 11, ["b"] * 11, [1] * 10 + [0])
    ratings = fit(battles, anchor="b", anchor_rating=1114)
    np.testing.assert_allclose(ratings.points, [1514, 1114])
    np.testing.assert_allclose(ratings.against("b"), [10 / 11, 0.5])
    assert ratings.order() == [0, 1]
    assert pytest.approx(400) == POINTS * np.log(10)
    assert ratings.explain() == (
        "Bradley-Terry ratings of 2 models by maximum likelihood from 11 games on 11 prompts, ties as half wins; 'b' is set to "
        "1114, 400 points are odds of ten to one.")


@settings(max_examples=30, deadline=None)
@given(connected())
def test_against_one_baseline_it_is_the_weighted_mean(battles: Battles) -> None:
    """The identity behind Arena-Hard v0.1's scores: in a star of games, Bradley-Terry predicts the share that was won."""
    star = battles.a * battles.b == 0
    base = battles.models[0]
    only = Battles.of([battles.models[i] for i in battles.a[star]], [battles.models[i] for i in battles.b[star]],
                      battles.outcome[star], weight=battles.weight[star], prompt=battles.prompt[star])
    chances = fit(only, anchor=base).against(base)
    for model, rate in win_rates(only, base, rounds=2).items():
        assert chances[only.code(model)] == pytest.approx(rate.value, abs=1e-9)


def test_who_won_or_lost_everything_is_named() -> None:
    """d beats all, e loses all; the rating of the others is as if neither had played."""
    inner = [("a", "b", 1), ("b", "c", 1), ("c", "a", 1), ("a", "b", 1)]
    outer = [("d", "a", 1), ("d", "c", 1), ("e", "b", 0)]
    ratings = fit(Battles.of(*zip(*inner, *outer, strict=True)), anchor="a")
    alone = fit(Battles.of(*zip(*inner, strict=True)), anchor="a")
    np.testing.assert_allclose(ratings.strength[:3], alone.strength, atol=1e-9)
    assert ratings.strength[3:].tolist() == [np.inf, -np.inf]
    assert dict(ratings.unbounded) == {"d": "won every game against the rest", "e": "lost every game against the rest"}
    assert ratings.against("a")[3:].tolist() == [1, 0]
    assert ratings.order()[0] == 3
    assert ratings.order()[-1] == 4
    assert "No finite rating: 'd' (won every game against the rest). No finite rating: 'e'" in ratings.explain()


def test_what_games_cannot_tell_is_not_a_number() -> None:
    """Both beat b, and never each other: neither order is better supported."""
    ratings = fit(Battles.of(["a", "c"], ["b", "b"], [1, 1]), anchor="a")
    assert np.isneginf(ratings.strength[1])
    assert np.isnan(ratings.strength[2])
    assert ratings.unbounded["c"] == "no chain of wins or losses to the anchor"
    assert np.isnan(ratings.against("a")[2])


def test_a_prior_keeps_all_ratings_finite() -> None:
    """A win and one tied game against an opponent at 0: the maximum solves s(2x) + s(x) = 1.5 for the winner."""
    ratings = fit(Battles.of(["a"], ["b"], [1]), prior=1)
    x = ratings.strength[0]
    assert 1 / (1 + np.exp(-2 * x)) + 1 / (1 + np.exp(-x)) == pytest.approx(1.5)
    assert ratings.strength[1] == pytest.approx(-x)
    assert not ratings.unbounded


def test_groups_that_never_met_are_named() -> None:
    with pytest.raises(UsageError, match="2 groups of models have no scored game with each other: a, b; c, d"):
        fit(Battles.of(["a", "c", "a"], ["b", "d", "c"], [1, 0.5, None]))


def test_bad_settings_are_refused() -> None:
    battles = Battles.of(["a"], ["b"], [1])
    with pytest.raises(UsageError, match="prior -1"):
        fit(battles, prior=-1)
    with pytest.raises(UsageError, match="no battle of model 'x'"):
        fit(battles, anchor="x")
    with pytest.raises(UsageError, match="no rating of model 'x'; rated models: a, b"):
        fit(battles).against("x")


def test_lopsided_games_converge() -> None:
    """Weights over six orders of magnitude, in a chain."""
    names = [f"m{i}" for i in range(30)]
    a, b = names[:-1] * 2, names[1:] * 2
    outcome, weight = [1] * 29 + [0] * 29, [10.0 ** (i % 7) for i in range(29)] + [1] * 29
    ratings = fit(Battles.of(a, b, outcome, weight=weight), anchor="m0")
    lead = ratings.strength[[ratings.code(name) for name in names]]
    np.testing.assert_allclose(-np.diff(lead), np.log([10.0 ** (i % 7) for i in range(29)]), atol=1e-5)
