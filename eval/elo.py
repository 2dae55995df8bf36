"""Online Elo: ratings that move after every game.

    ratings = elo(battles)                         # games in the order given
    ratings = elo(battles, rounds=128, seed=42)    # the mean over shuffled orders, with the spread that order alone makes

After a game, a gains k * (score - expected) and b loses it, expected = 1 / (1 + 10 ** ((R_b - R_a) / 400)). The result
depends on the order of games, and a small k forgets slowly: report Bradley-Terry (`pica.eval.ratings`) first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pica.eval.battles import Battles, Floats
from pica.eval.intervals import check_level
from pica.synth.errors import UsageError


@dataclass(frozen=True, eq=False)
class EloRatings:
    """Elo ratings, and what made them.

    `ratings`, `lower`, `upper`: float64 [models]; over shuffled orders the mean and the quantiles of the level, else all
    three alike. `rounds`: shuffled orders (0: the order given).
    """

    models: tuple[str, ...]
    ratings: Floats
    lower: Floats
    upper: Floats
    k: float
    rounds: int
    level: float
    seed: int

    def explain(self) -> str:
        """In a sentence, what these ratings are."""
        order = (f"mean over {self.rounds} shuffled orders of the games (seed {self.seed}); intervals show what order does, not "
                 "what few games do" if self.rounds else "one pass in the order of the games; another order gives other ratings")
        return f"Online Elo of {len(self.models)} models, K = {self.k:g}, {order}."


def elo(battles: Battles, *, k: float = 4.0, initial: float | Mapping[str, float] = 1000.0, rounds: int = 0,
        level: float = 0.95, seed: int = 0) -> EloRatings:
    """Elo ratings. `k`: points at stake in a game, times its weight. `initial`: where models begin; of a mapping, models that
    it leaves out begin at 1000. `rounds`: how many shuffled orders to average over; 0 keeps the order of the games."""
    check_level(level)
    if not k > 0 or rounds < 0:
        raise UsageError(f"k {k:g} and rounds {rounds}; allowed: k above 0, rounds 0 (order as given) or more")
    begin = initial if isinstance(initial, Mapping) else dict.fromkeys(battles.models, initial)
    start = np.array([begin.get(model, 1000.0) for model in battles.models])
    generator = np.random.default_rng(seed)
    orders = np.stack([generator.permutation(len(battles)) for _ in range(rounds)] or [np.arange(len(battles))], axis=1)
    final = _played(battles, start, orders, k)
    lower, upper = np.quantile(final, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return EloRatings(battles.models, final.mean(axis=0), lower, upper, k, rounds, level, seed)


def _played(battles: Battles, start: Floats, orders: np.ndarray, k: float) -> Floats:
    """float64 [orders, models]: ratings after all games, one column of `orders` (positions of games) each."""
    rating = np.tile(start, (orders.shape[1], 1))
    lane = np.arange(orders.shape[1])
    stake = k * battles.weight
    for games in orders:
        a, b = battles.a[games], battles.b[games]
        expected = 1 / (1 + 10 ** ((rating[lane, b] - rating[lane, a]) / 400))
        change = stake[games] * (battles.outcome[games] - expected)
        rating[lane, a] += change
        rating[lane, b] -= change
    return rating
