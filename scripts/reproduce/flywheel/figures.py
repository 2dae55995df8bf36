"""Ratings of every model on one scale, and leads of one model over another, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from arms import RANDOM, SELECTED, label
from settings import LEVEL
from world import START, Row

from pica.eval.battle_rows import battles_of
from pica.eval.distributions import t_quantile
from pica.eval.intervals import Intervals, bootstrap
from pica.eval.ratings import POINTS, fit

ANCHOR = 1000.0
PRIOR = 1.0  # tied games of every model against an average one: a model that won all of its games is rated too
Seeds = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Estimate:
    """Points of a Bradley-Terry scale with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.0f} [{self.low:.0f}, {self.high:.0f}]"

    @property
    def numbers(self) -> tuple[float, float, float]:
        """Value, lower and upper end."""
        return self.value, self.low, self.high


@dataclass(frozen=True)
class Scale:
    """The models of all seeds on one scale, where the start is 1000. `intervals`: of each seed, by prompts."""

    intervals: Sequence[Intervals]

    @classmethod
    def of(cls, battles: Sequence[Sequence[Row]], *, rounds: int) -> Scale:
        """The scale of the battles on held-out prompts of every seed."""
        found = []
        for seed, rows in enumerate(battles):
            games = battles_of(rows)
            ratings = fit(games, anchor=START, anchor_rating=ANCHOR, prior=PRIOR)
            found.append(bootstrap(games, ratings, rounds=rounds, level=LEVEL, seed=seed))
        return cls(found)

    def rating(self, model: str) -> Estimate:
        """The rating of a model; its interval is that of its lead over the start."""
        lead = self.lead(model, START)
        return Estimate(ANCHOR + lead.value, ANCHOR + lead.low, ANCHOR + lead.high)

    def lead(self, model: str, other: str) -> Estimate:
        """The points by which a model is ahead of another. With one seed the interval comes from prompts drawn again, with
        several it is Student's t over seeds."""
        values = [float(one.ratings.points[one.ratings.code(model)] - one.ratings.points[one.ratings.code(other)])
                  for one in self.intervals]
        if len(values) > 1:
            reach = t_quantile((1 + LEVEL) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
            return _estimate(fmean(values), fmean(values) - reach, fmean(values) + reach)
        one = self.intervals[0]
        low, high = (float(end[one.ratings.code(model)]) * POINTS for end in one.relative(other))
        return _estimate(values[0], low, high)

    def explain(self) -> str:
        """How the ratings and intervals came about."""
        one = self.intervals[0]
        if len(self.intervals) == 1:
            return f"{one.ratings.explain()} {one.explain()}"
        return (f"{one.ratings.explain()} So for each of {len(self.intervals)} seeds; values are means over seeds, intervals are "
                f"Student's t over seeds at {LEVEL:.0%}.")


def _estimate(*numbers: float) -> Estimate:
    """Rounded to hundredths of a point: finer than any interval, and free of the dust of binary arithmetic."""
    return Estimate(*(round(number, 2) + 0.0 for number in numbers))


def iterations(seeds: Seeds) -> int:
    """How many turns there were."""
    return (len(seeds[0]["models"]) - 1) // 2


def differences(scale: Scale, turns: int) -> dict[str, Estimate]:
    """The leads that the claim is about, and those of each model over the one before."""
    last, control = label(SELECTED, turns), label(RANDOM, turns)
    pairs = [(last, START), (control, START), (last, control),
             *((label(SELECTED, turn), label(SELECTED, turn - 1)) for turn in range(1, turns + 1))]
    return {f"{one} − {other}": scale.lead(one, other) for one, other in dict.fromkeys(pairs)}


def verdict(scale: Scale, turns: int) -> str:
    """What the figures say of the claim, in two sentences."""
    last, control = label(SELECTED, turns), label(RANDOM, turns)
    gain, lead = scale.lead(last, START), scale.lead(last, control)
    ratings = [scale.rating(label(SELECTED, turn)).value for turn in range(turns + 1)]
    steady = all(before < after for before, after in pairwise(ratings))
    course = "from iteration to iteration" if steady else "though not in every iteration"
    rose = (f"Learning from lost battles raised the rating by {gain} points over {turns} iterations, {course}" if gain.low > 0
            else f"Learning from lost battles did not raise the rating beyond the interval ({gain} points)")
    ahead = ("is ahead of" if lead.low > 0 else "is behind" if lead.high < 0 else "cannot be told apart from")
    return f"{rose}. The last model {ahead} that of as many unselected rows ({lead} points)."
