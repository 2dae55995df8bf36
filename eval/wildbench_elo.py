"""WB-Elo: ratings from scores, as if every two models had fought on every task.

    found = rate(scores, lengths, rounds=128)

The rating is the mean of online Elo (K = 4) over shuffled orders of these virtual battles. Its interval holds what is left of
the chance of the order in that mean, and what drawing tasks anew does to each order. The published one only shows what the order
does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pica.eval.battles import Battles, Floats
from pica.eval.distributions import t_quantile
from pica.eval.wildbench_figures import Figure
from pica.eval.wildbench_scores import virtual_battles

K = 4.0
START = 1000.0
POINTS = 400 / math.log(10)  # of a rating to one unit of log odds
LEAST_ROUNDS = 16
_MOST = 1 << 23  # games of all orders together, beyond which there are fewer orders
_CHUNK = 2048    # games that are looked up at once


@dataclass(frozen=True)
class WildBenchElo:
    """Ratings by model; a model without a battle is absent. `rounds`: orders that were played."""

    ratings: Mapping[str, Figure]
    battles: int
    rounds: int


def rate(scores: Mapping[str, Mapping[str, float]], lengths: Mapping[str, Mapping[str, int]], *, rounds: int = 128,
         level: float = 0.95, seed: int = 42) -> WildBenchElo:
    """WB-Elo from scores and lengths by model and task. Where there are very many battles, fewer `rounds` are played. The
    interval is Student's; NaN with one task or one round."""
    battles = virtual_battles(scores, lengths)
    if not len(battles):
        return WildBenchElo({}, 0, 0)
    rounds = min(rounds, max(LEAST_ROUNDS, _MOST // len(battles)))
    whole, drawn = _played(battles, rounds, seed)
    value, half = whole.mean(axis=0), np.full(len(battles.models), np.nan)
    if rounds > 1 and battles.prompts > 1:
        spread = np.sqrt((drawn - whole).var(axis=0, ddof=1) + whole.var(axis=0, ddof=1) / rounds)
        half = t_quantile((1 + level) / 2, battles.prompts - 1) * spread
    ratings = {model: Figure(float(one), float(one - away), float(one + away), int(games)) for model, one, away, games
               in zip(battles.models, value, half, battles.games, strict=True)}
    return WildBenchElo(ratings, len(battles), rounds)


def _played(battles: Battles, rounds: int, seed: int) -> tuple[Floats, Floats]:
    """Ratings after all battles of shuffled orders, float64 [rounds, models], twice: every battle counts once; and in the same
    orders, as often as its task was drawn."""
    generator = np.random.default_rng(seed)
    orders = np.empty((rounds, len(battles)), dtype=np.int32)
    for order in orders:
        order[:] = generator.permutation(len(battles))
    stake = np.full((battles.prompts, 2 * rounds), K / POINTS)
    stake[:, rounds:] *= generator.multinomial(battles.prompts, np.full(battles.prompts, 1 / battles.prompts), rounds).T
    rating = np.zeros(2 * rounds * len(battles.models))  # in log odds, one order behind the other
    lane = np.arange(2 * rounds)
    for begin in range(0, len(battles), _CHUNK):
        games = np.tile(orders[:, begin:begin + _CHUNK], (2, 1)).T
        a, b = (lane * len(battles.models) + side[games] for side in (battles.a, battles.b))
        for one, other, outcome, worth in zip(a, b, battles.outcome[games], stake[battles.prompt[games], lane], strict=True):
            mine, theirs = rating[one], rating[other]
            change = worth * (outcome - 1 / (1 + np.exp(theirs - mine)))
            rating[one] = mine + change
            rating[other] = theirs - change
    final = START + POINTS * rating.reshape(2 * rounds, -1)
    return final[:rounds], final[rounds:]
