"""Win rates against one baseline: the share of games won, ties as half, with intervals over prompts.

    rates = win_rates(battles, baseline="gpt-4-0314")
    rates["gpt-4-turbo"].value

Where every model only meets the baseline, this is also what Bradley-Terry predicts: the maximum of the likelihood lies
where the expected score of every model equals its score. So adding models to such a leaderboard changes no other row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pica.eval.battles import Battles
from pica.eval.means import Estimate, mean


def win_rates(battles: Battles, baseline: str, *, level: float = 0.95, rounds: int = 1000, seed: int = 0) -> dict[str, Estimate]:
    """Every model's win rate against `baseline`, in [0, 1], by name; only games against it count.

    A model that never met the baseline has n = 0 and NaN. `unscored` counts all of a model's games without a verdict.
    """
    home = battles.code(baseline)
    rates = {}
    for code, model in enumerate(battles.models):
        if code == home:
            continue
        first = (battles.a == code) & (battles.b == home)
        met = first | ((battles.b == code) & (battles.a == home))
        score = np.where(first, battles.outcome, 1 - battles.outcome)[met]
        rate = mean(score, weight=battles.weight[met], prompt=battles.prompt[met], bounds=(0, 1), level=level, rounds=rounds,
                    seed=seed)
        rates[model] = replace(rate, unscored=battles.unscored[code])
    return rates
