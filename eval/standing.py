"""How models stand after battles: ratings, their intervals, and what has no bound.

    standing = stand(battles, anchor="start")
    standing.of("mine")          # rating, lower end, upper end, why there is no bound

A model that won or lost every game against the rest has no finite rating and no interval; the others are rated as if it were not
there. An end is infinite where more draws than the level leaves out have nothing to bound it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pica.eval.battles import Battles
from pica.eval.intervals import Intervals, bootstrap
from pica.eval.ratings import Ratings, fit


@dataclass(frozen=True)
class Standing:
    """Ratings and their intervals, which one task does not have. `tamed`: ratings with a prior, which order what has no bound."""

    ratings: Ratings
    ends: Intervals | None
    tamed: Ratings

    @property
    def method(self) -> str:
        """How ratings and intervals came about."""
        return f"{self.ratings.explain()} {self.ends.explain() if self.ends else 'One task has no interval.'}"

    def of(self, label: str) -> tuple[float | None, float | None, float | None, str | None]:
        """(rating, lower end, upper end, why it has no bound) of a model; None where there is none. A rating without a bound is
        infinite, or NaN where games do not say on which side."""
        if label not in self.ratings.models:
            return None, None, None, None
        code, why = self.ratings.code(label), self.ratings.unbounded.get(label)
        lower, upper = (float(self.ends.lower[code]), float(self.ends.upper[code])) if self.ends and not why else (None, None)
        return float(self.ratings.points[code]), lower, upper, why

    def order(self, labels: Sequence[str]) -> list[str]:
        """All labels, the strongest first."""
        rated = [self.tamed.models[code] for code in self.tamed.order()]
        return [*rated, *(label for label in labels if label not in rated)]


def stand(battles: Battles, *, anchor: str | None = None, anchor_rating: float = 1000.0, prior: float = 0.0, rounds: int = 1000,
          level: float = 0.95, seed: int = 0) -> Standing:
    """How the models of these battles stand. Arguments are those of `fit` and `bootstrap`, with their errors."""
    ratings = fit(battles, anchor=anchor, anchor_rating=anchor_rating, prior=prior)
    several = ratings.prompts > 1
    ends = bootstrap(battles, ratings, rounds=rounds, level=level, seed=seed) if several else None
    return Standing(ratings, ends, fit(battles, prior=prior or 1.0))
