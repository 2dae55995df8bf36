"""Bradley-Terry ratings: how strong every model is, by maximum likelihood over all games.

    ratings = fit(battles, anchor="gpt-4-0314", anchor_rating=1000)
    ratings.points, ratings.against("gpt-4-0314"), ratings.explain()

The chance that a beats b is 1 / (1 + 10 ** ((R_b - R_a) / 400)); a tie is half a win for either. A difference of
ratings is found from counts by pair alone, so the number of games costs nothing.

A model that won (or lost) every game against the rest has no finite rating. Without a prior it gets inf (or -inf) and
stands in `unbounded` with the reason; a rating is NaN where games do not say on which side of the anchor it lies.
`prior=1` gives every model one tied game against an average opponent instead, which keeps all ratings finite. Models
that no chain of games connects cannot be compared: a UsageError names the groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pica.eval.battles import Battles, Bools, Floats, Ints, Pairs
from pica.eval.newton import beaten, maximise, reach, sigmoid
from pica.synth.errors import UsageError

#: Rating points of one logit: a model 400 points ahead is ten times as likely to win.
POINTS = 400 / math.log(10)
WON, LOST = "won every game against the rest", "lost every game against the rest"
APART = "no chain of wins or losses to the anchor"


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of models, and what made them.

    `strength`: float64 [models], logits; zero at the anchor, or of mean zero over the bounded models without one.
    `games`: int64 [models], scored games. `unscored`: games without a verdict. `prompts`: prompts played. `unbounded`:
    why a model has no finite rating. `anchor`, `anchor_rating`, `prior`: as given to `fit`.
    """

    models: tuple[str, ...]
    strength: Floats
    games: Ints
    unscored: tuple[int, ...]
    prompts: int
    anchor: str | None
    anchor_rating: float
    prior: float
    unbounded: Mapping[str, str]

    @property
    def points(self) -> Floats:
        """float64 [models]: ratings on the Elo scale."""
        return self.anchor_rating + POINTS * self.strength

    def code(self, model: str) -> int:
        """The position of a model's name; UsageError lists the names there are."""
        if model not in self.models:
            raise UsageError(f"no rating of model '{model}'; rated models: {', '.join(self.models)}")
        return self.models.index(model)

    def against(self, model: str) -> Floats:
        """float64 [models]: chance to beat `model`; .5 for itself, NaN where games do not say."""
        other = self.code(model)
        with np.errstate(invalid="ignore"):
            ahead = self.strength - self.strength[other]  # inf - inf is NaN: both beyond all games
        ahead[other] = 0.0
        return sigmoid(ahead)

    def chances(self) -> Floats:
        """float64 [models, models]: chance of the row's model to beat the column's."""
        return np.stack([self.against(model) for model in self.models], axis=1)

    def order(self) -> list[int]:
        """Codes of the models, best first; equals by name, NaN last."""
        return sorted(range(len(self.models)), key=lambda code: (
            math.isnan(self.strength[code]), -np.nan_to_num(self.strength[code], nan=0.0), self.models[code]))

    def explain(self) -> str:
        """In a sentence or two, what these ratings are."""
        anchor = f"'{self.anchor}' is set to {self.anchor_rating:g}" if self.anchor else f"their mean is {self.anchor_rating:g}"
        prior = f", with {self.prior:g} tied games of every model against an average opponent" if self.prior else ""
        loose = "".join(f" No finite rating: '{model}' ({why})." for model, why in self.unbounded.items())
        games = int(self.games.sum()) // 2
        return (f"Bradley-Terry ratings of {len(self.models)} models by maximum likelihood from {games:,} games "
                f"on {self.prompts:,} prompts, ties as half wins{prior}; {anchor}, 400 points are odds of ten to one.{loose}")


def fit(battles: Battles, *, anchor: str | None = None, anchor_rating: float = 1000.0, prior: float = 0.0) -> Ratings:
    """Ratings by maximum likelihood. UsageError where the models fall into groups that never met.

    `anchor`: the model whose rating is `anchor_rating` (default: the mean of all is). `prior`: tied games of every model
    against an average opponent, 0 for plain maximum likelihood.
    """
    if not (math.isfinite(prior) and prior >= 0):
        raise UsageError(f"prior {prior:g}; allowed: 0 (maximum likelihood) or a number of tied games such as 1")
    pairs = battles.pairs()
    check_connected(battles, pairs)
    strength = maximise(pairs, pairs.wins[None], pairs.total[None], prior=prior)[0]
    return placed(battles, pairs, strength, anchor=anchor, anchor_rating=anchor_rating, prior=prior)


def placed(battles: Battles, pairs: Pairs, strength: Floats, *, anchor: str | None, anchor_rating: float, prior: float = 0.0,
           penalised: bool = False) -> Ratings:
    """Ratings from fitted strengths, moved to the anchor, with what has no finite rating marked (none is, with a prior or a
    penalty)."""
    home = None if anchor is None else battles.code(anchor)
    above, below = (np.zeros(pairs.models, dtype=bool),) * 2 if prior or penalised else _beyond(pairs, home)
    bounded = ~(above | below)
    strength = strength - (strength[bounded].mean() if home is None else strength[home])
    strength[above & ~below], strength[below & ~above], strength[above & below] = np.inf, -np.inf, np.nan
    unbounded = {battles.models[code]: APART if above[code] and below[code] else WON if above[code] else LOST
                 for code in np.flatnonzero(~bounded)}
    return Ratings(battles.models, strength, battles.games, battles.unscored, battles.prompts, anchor, anchor_rating, prior,
                   MappingProxyType(unbounded))


def _beyond(pairs: Pairs, home: int | None) -> tuple[Bools, Bools]:
    """Which models lie infinitely above and below the anchor's group (without one, the largest); both: undetermined.

    Ratings are finite among models that reach each other by chains of wins (Ford, 1957).
    """
    linked = reach(beaten(pairs, pairs.wins[None], pairs.total[None])[0])
    mutual = linked & linked.T
    centre = int(mutual.sum(axis=1).argmax()) if home is None else home
    outside = ~mutual[centre]
    return outside & ~linked[centre], outside & ~linked[:, centre]


def check_connected(battles: Battles, pairs: Pairs) -> None:
    """UsageError that names the groups of models which no chain of games connects."""
    met = np.zeros((pairs.models, pairs.models), dtype=bool)
    met[pairs.i, pairs.j] = met[pairs.j, pairs.i] = True
    linked = reach(met)
    if linked[0].all():
        return
    groups = [[battles.models[code] for code in np.flatnonzero(linked[first])]
              for first in np.flatnonzero(linked.argmax(axis=1) == np.arange(pairs.models))]
    named = "; ".join(", ".join(group) for group in groups)
    raise UsageError(f"{len(groups)} groups of models have no scored game with each other: {named}; "
                     "let them play a common opponent or rate each group by itself")
