"""Intervals for Bradley-Terry ratings: bootstrap over prompts (default), over rows, or sandwich errors.

    intervals = bootstrap(battles, ratings)                 # prompts with all their games are drawn
    intervals = bootstrap(battles, ratings, by="rows")      # every game by itself, as Arena-Hard's authors do
    intervals = sandwich(battles, ratings)                  # no drawing; errors clustered by prompt

Games on one prompt resemble each other: both orders of one pair of answers, one hard question for all. Drawing rows
takes them for independent and gives intervals that are too narrow, the more so the more games a prompt has. Percentiles
over prompts are taken a little further out than the level says, as far as Student's t lies beyond the normal and
n / (n - 1) beyond 1 (Hesterberg, What Teachers Should Know About the Bootstrap, 2015), since few prompts vary too little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pica.eval.battles import Battles, Bools, Floats, Ints, Pairs, tally
from pica.eval.distributions import normal_cdf, t_quantile
from pica.eval.newton import beaten, derivatives, maximise, reach, sigmoid
from pica.eval.ratings import POINTS, Ratings
from pica.eval.resample import By, units_of
from pica.synth.errors import UsageError

#: Differences beyond this many logits (odds of 3 million to one) come from models that won or lost everything.
BEYOND = 15.0
#: To which share of a model's games a draw is fitted: 1e-5 points.
CLOSE = 1e-8
_TILE = 1 << 22


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals around ratings, and what made them.

    `method`: how. `by`: what was drawn, or the clusters of the sandwich. `units`: how many of those there are. `rounds`,
    `seed`: of the bootstrap (0 rounds: sandwich). `level`: .95 for 95 %. `draws`: float64 [rounds, models], logits; NaN
    where a draw left a model without games against the rest. `covariance`: float64 [models, models], squared logits.
    """

    ratings: Ratings
    method: Literal["bootstrap", "sandwich"]
    by: By
    units: int
    rounds: int
    seed: int
    level: float
    draws: Floats
    covariance: Floats

    @property
    def lower(self) -> Floats:
        """float64 [models]: lower ends, in points."""
        return self.ratings.anchor_rating + POINTS * self.relative(self.ratings.anchor)[0]

    @property
    def upper(self) -> Floats:
        """float64 [models]: upper ends, in points."""
        return self.ratings.anchor_rating + POINTS * self.relative(self.ratings.anchor)[1]

    @property
    def missing(self) -> Ints:
        """int64 [models]: draws that say nothing of a model; they are left out of its interval."""
        missing: Ints = np.isnan(self.draws).sum(axis=0)
        return missing

    def relative(self, model: str | None) -> tuple[Floats, Floats]:
        """Both ends, in logits, of every model's lead over `model` (None: over the mean)."""
        code = None if model is None else self.ratings.code(model)
        if self.method == "sandwich":
            return self._by_errors(code)
        return quantiles(self._lead(code), *tails(self.level, self.units if self.by == "prompts" else None))

    def against(self, model: str) -> tuple[Floats, Floats]:
        """Both ends of every model's chance to beat `model`."""
        lower, upper = self.relative(model)
        return sigmoid(lower), sigmoid(upper)

    def ranks(self) -> Ints:
        """int64 [models]: 1 + how many models are better beyond doubt (their lower end lies above this upper end)."""
        lower, upper = self.relative(self.ratings.anchor)
        ranks: Ints = 1 + (lower[None, :] > upper[:, None]).sum(axis=1)
        return ranks

    def explain(self) -> str:
        """In a sentence or two, what these intervals are."""
        clusters = f"{self.units:,} {self.by}"
        how = (f"{self.rounds:,} bootstrap draws of {clusters} (seed {self.seed})" if self.method == "bootstrap"
               else f"sandwich errors over {clusters}")
        lost = f" {int(self.missing.max())} draws at most said nothing of a model." if self.missing.any() else ""
        plain = " Games on one prompt are taken for independent, so these are too narrow." if self.by == "rows" else ""
        return f"{self.level:.0%} intervals by {how}.{plain}{lost}"

    def _lead(self, code: int | None) -> Floats:
        """Strengths of every draw over a model's, or over the mean of those that have a finite rating: one without would pull
        the mean of a draw away."""
        if code is not None:
            return np.asarray(self.draws - self.draws[:, [code]])
        if not self.ratings.unbounded:
            return self.draws
        bounded = np.isfinite(self.ratings.strength) & (np.abs(self.draws) < BEYOND)
        inside = np.where(bounded, self.draws, 0.0).sum(axis=1) / np.maximum(bounded.sum(axis=1), 1)
        return np.asarray(self.draws - inside[:, None])

    def _by_errors(self, code: int | None) -> tuple[Floats, Floats]:
        variance = np.diag(self.covariance).copy()
        centre = self.ratings.strength.copy()
        if code is not None:
            variance += self.covariance[code, code] - 2 * self.covariance[code]
            with np.errstate(invalid="ignore"):
                centre -= centre[code]
            centre[code] = 0.0
        elif self.ratings.anchor is not None:
            centre -= centre[np.isfinite(centre)].mean()
        half = t_quantile(0.5 + self.level / 2, self.units - 1) * np.sqrt(np.maximum(variance, 0))
        return centre - half, centre + half


def bootstrap(battles: Battles, ratings: Ratings, *, by: By = "prompts", rounds: int = 1000, level: float = 0.95,
              seed: int = 0) -> Intervals:
    """Intervals from ratings of battles drawn again; `ratings` are those of `battles`. Seeded: the same call, same bits."""
    if rounds < 2:
        raise UsageError(f"{rounds} rounds of bootstrap; allowed: at least 2, and 1,000 for ends that stand still")
    check_level(level)
    units = units_of(battles, by)
    _check_units(units.count, by)
    start = np.where(np.isfinite(ratings.strength), ratings.strength, 0.0)
    draws = np.concatenate([_rated(units.pairs, wins, total, ratings.prior, start) for wins, total in units.draws(rounds, seed)])
    n = len(ratings.models)
    return Intervals(ratings, "bootstrap", by, units.count, rounds, seed, level, draws, np.full((n, n), np.nan))


def sandwich(battles: Battles, ratings: Ratings, *, by: By = "prompts", level: float = 0.95) -> Intervals:
    """Intervals from the robust covariance of the estimate, clustered by prompt or (`rows`) by game; NaN for a model
    without a finite rating."""
    check_level(level)
    units = battles.prompts if by == "prompts" else len(battles)
    _check_units(units, by)
    pairs = battles.pairs()
    bounded = np.isfinite(ratings.strength)
    strength = np.where(bounded, ratings.strength, 0.0)
    low, high, score = battles.sides()
    inner = bounded[low] & bounded[high]
    surplus = np.where(inner, battles.weight * (score - sigmoid(strength[low] - strength[high])), 0.0)
    meat = _clustered(battles, low, high, surplus) if by == "prompts" else _laplacian(pairs.models, low, high, surplus ** 2)
    keep = bounded[pairs.i] & bounded[pairs.j]
    kept = Pairs(pairs.models, pairs.i[keep], pairs.j[keep], pairs.wins[keep], pairs.total[keep])
    hessian = derivatives(kept, kept.wins[None], kept.total[None], ratings.prior, strength[None])[1][0]
    inside = np.ix_(bounded, bounded)
    bread = np.linalg.pinv(hessian[inside], hermitian=True)
    covariance = np.full_like(hessian, np.nan)
    covariance[inside] = bread @ meat[inside] @ bread * (units / (units - 1))
    return Intervals(ratings, "sandwich", by, units, 0, 0, level, np.empty((0, pairs.models)), covariance)


def tails(level: float, units: int | None) -> tuple[float, float]:
    """Which quantiles of a bootstrap are the ends of an interval; widened for `units` independent units, unless None."""
    lower = (1 - level) / 2
    if units is not None:
        lower = normal_cdf(t_quantile(lower, units - 1) * math.sqrt(units / (units - 1)))
    return lower, 1 - lower


def quantiles(draws: Floats, lower: float, upper: float) -> tuple[Floats, Floats]:
    """Two quantiles of every column, NaN left out, what lies beyond all games as infinite; NaN for an empty column."""
    ends = np.full((2, draws.shape[1]), np.nan)
    for column, values in enumerate(draws.T):
        known = values[~np.isnan(values)]
        if len(known):
            ends[:, column] = np.quantile(np.clip(known, -BEYOND, BEYOND), [lower, upper])
    ends[ends >= BEYOND], ends[ends <= -BEYOND] = np.inf, -np.inf
    return ends[0], ends[1]


def check_level(level: float) -> None:
    """UsageError for a level that is none."""
    if not 0 < level < 1:
        raise UsageError(f"level {level:g}; allowed: between 0 and 1, such as .95")


def _check_units(units: int, by: str) -> None:
    if units < 2:
        raise UsageError(f"only {units} of the {by} to draw from; an interval needs at least 2: use more, or read ratings "
                         "without one")


def _rated(pairs: Pairs, wins: Floats, total: Floats, prior: float, start: Floats) -> Floats:
    """Strengths of every draw; NaN for models that a draw cut off from most others."""
    strength = maximise(pairs, wins, total, prior=prior, start=start, tolerance=CLOSE)
    torn = np.flatnonzero((total <= 0).any(axis=1))
    if len(torn) and not prior:
        met = _met(pairs, total[torn])
        largest = met.sum(axis=2).argmax(axis=1)
        strength[torn] = np.where(met[np.arange(len(torn)), largest], strength[torn], np.nan)
    return strength


def _met(pairs: Pairs, total: Floats) -> Bools:
    """bool [draws, models, models]: whether a chain of games of this draw joins two models."""
    return reach(beaten(pairs, total, total) | beaten(pairs, total, total).swapaxes(1, 2))


def _clustered(battles: Battles, low: Ints, high: Ints, surplus: Floats) -> Floats:
    """Sum over prompts of the outer products of their gradients, float64 [models, models]."""
    n = len(battles.models)
    alone = np.bincount(battles.prompt)[battles.prompt] == 1
    meat = _laplacian(n, low[alone], high[alone], surplus[alone] ** 2)
    if alone.all():
        return meat
    order = np.argsort(battles.prompt, kind="stable")
    order = order[~alone[order]]
    prompt = battles.prompt[order]
    tile = max(1, _TILE // n)
    for begin in range(0, battles.prompts, tile):  # prompts of one game are gaps here: rows of zeros
        some = order[slice(*np.searchsorted(prompt, [begin, begin + tile]))]
        base = (battles.prompt[some] - begin) * n
        size = min(tile, battles.prompts - begin) * n
        scores = tally(base + low[some], surplus[some], size) - tally(base + high[some], surplus[some], size)
        table = scores.reshape(-1, n)
        meat += table.T @ table
    return meat


def _laplacian(n: int, low: Ints, high: Ints, values: Floats) -> Floats:
    """float64 [n, n]: every game's value on the diagonal of both models, minus it between them."""
    grid = tally(low * n + high, values, n * n).reshape(n, n)
    grid = grid + grid.T
    laplacian: Floats = np.diag(grid.sum(axis=1)) - grid
    return laplacian
