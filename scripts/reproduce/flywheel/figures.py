"""Ratings of every model on one scale, and leads of one model over another, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from arms import ARMS, DRAWN, RANDOM, SELECTED, label
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

    def alone(self) -> list[Scale]:
        """The scale of each seed by itself."""
        return [Scale([one]) for one in self.intervals]

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
    return (len(seeds[0]["models"]) - 1) // len(ARMS)


def gains(scale: Scale, turns: int) -> dict[str, Estimate]:
    """The lead of each model that learnt from lost battles over the one before."""
    return _leads(scale, [(label(SELECTED, turn), label(SELECTED, turn - 1)) for turn in range(1, turns + 1)])


def differences(scale: Scale, turns: int) -> dict[str, Estimate]:
    """The leads that the claim is about: of each model over the one before, of the last ones over the start, and of an arm over
    one that differs from it in one thing, by iteration."""
    return {**gains(scale, turns), **_leads(scale, [
        *((label(arm, turns), START) for arm in ARMS),
        *((label(one, turn), label(other, turn)) for one, other in ((SELECTED, DRAWN), (DRAWN, RANDOM), (SELECTED, RANDOM))
          for turn in range(1, turns + 1))])}


def _leads(scale: Scale, pairs: Sequence[tuple[str, str]]) -> dict[str, Estimate]:
    return {f"{one} − {other}": scale.lead(one, other) for one, other in dict.fromkeys(pairs)}


def verdict(scale: Scale, turns: int) -> str:
    """What the figures say of the claim, in three sentences."""
    gain = scale.lead(label(SELECTED, turns), START)
    beyond = sum(one.low > 0 for one in gains(scale, turns).values())
    rose = (f"raised the rating by {gain} points over {turns} iterations" if gain.low > 0
            else f"did not raise the rating beyond the interval ({gain} points)")
    told = (f"Learning from lost battles {rose}; {beyond} of {turns} iterations raised it beyond the interval.",
            _place(scale, turns, DRAWN, "the same rivals' answers to drawn prompts"),
            _place(scale, turns, RANDOM, "as many unselected rows"))
    return " ".join(told)


def _place(scale: Scale, turns: int, control: str, what: str) -> str:
    """Where the last model stands beside the last one of a control."""
    lead = scale.lead(label(SELECTED, turns), label(control, turns))
    ahead = "is ahead of" if lead.low > 0 else "is behind" if lead.high < 0 else "cannot be told apart from"
    return f"The last model {ahead} that of {what} ({lead} points)."
