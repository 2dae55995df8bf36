"""Arena-Hard's two ways to make a score out of verdicts, by name, and ours.

    scores = score(battles, baseline="gpt-4-0314", convention="v0.1")
    scores["gpt-4-turbo"].value

`battles` has a game for each order, weight 3 where one answer was much better, None where there is no verdict.

- `v0.1`: Bradley-Terry over all games; score = chance to beat the baseline; 95 % interval over 100 draws of rows.
- `v2`: mean of the means of 100 draws of a model's own rows; the ends are their 5 % and 95 % quantiles, so 90 %.
- `pica`: the share of games won, ties as half; 95 % interval over 1,000 draws of prompts.

The three agree on the score, but for the noise of v2's draws, where all models only meet the baseline. They differ in the
interval: rows taken for independent make it too narrow, since both games of a prompt, and the copies of a clear win, are not.
Upstream, v2 leaves out a prompt whole where one of its two games has no verdict, v0.1 only that game; leave them out before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from pica.eval.battles import Battles
from pica.eval.intervals import bootstrap
from pica.eval.means import Estimate
from pica.eval.ratings import fit
from pica.eval.resample import units_of
from pica.eval.winrate import win_rates
from pica.synth.errors import UsageError

Convention = Literal["v0.1", "v2", "pica"]


def score(battles: Battles, baseline: str, *, convention: Convention = "pica", rounds: int | None = None,
          seed: int = 42) -> dict[str, Estimate]:
    """Scores in [0, 1] by model, without the baseline. `rounds`: default 100 under v0.1 and v2, 1,000 under pica."""
    if convention not in CONVENTIONS:
        raise UsageError(f"unknown convention of scores '{convention}'; known: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[convention](battles, baseline, rounds or (1000 if convention == "pica" else 100), seed)


def _pica(battles: Battles, baseline: str, rounds: int, seed: int) -> dict[str, Estimate]:
    return win_rates(battles, baseline, rounds=rounds, seed=seed)


def _v01(battles: Battles, baseline: str, rounds: int, seed: int) -> dict[str, Estimate]:
    ratings = fit(battles, anchor=baseline)
    intervals = bootstrap(battles, ratings, by="rows", rounds=rounds, seed=seed)
    lower, upper = intervals.against(baseline)
    value = ratings.against(baseline)
    return {model: Estimate(float(value[code]), float(lower[code]), float(upper[code]), int(ratings.games[code]),
                            _prompts(battles, code), battles.unscored[code], 0.95, rounds, seed, "rows")
            for code, model in enumerate(battles.models) if model != baseline}


def _v2(battles: Battles, baseline: str, rounds: int, seed: int) -> dict[str, Estimate]:
    home = battles.code(baseline)
    scores = {}
    for code, model in enumerate(battles.models):
        if code == home:
            continue
        own = ((battles.a == code) & (battles.b == home)) | ((battles.a == home) & (battles.b == code))
        some = replace(battles, a=battles.a[own], b=battles.b[own], outcome=battles.outcome[own], weight=battles.weight[own],
                       prompt=battles.prompt[own])
        means = np.concatenate([wins[:, 0] / total[:, 0] for wins, total in units_of(some, "rows").draws(rounds, seed)])
        means = means if code < home else 1 - means
        lower, upper = np.quantile(means, [0.05, 0.95])
        scores[model] = Estimate(float(means.mean()), float(lower), float(upper), int(own.sum()), _prompts(battles, code),
                                 battles.unscored[code], 0.9, rounds, seed, "rows")
    return scores


def _prompts(battles: Battles, code: int) -> int:
    return len(np.unique(battles.prompt[(battles.a == code) | (battles.b == code)]))


CONVENTIONS: dict[str, Callable[[Battles, str, int, int], dict[str, Estimate]]] = {"v0.1": _v01, "v2": _v2, "pica": _pica}
