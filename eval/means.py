"""A mean with its interval: scores, pass rates, win rates, over prompts that may hold several values each.

    estimate = mean([1, 0, .5, 1], prompt=["p1", "p1", "p2", "p3"], bounds=(0, 1))
    print(estimate.value, estimate.lower, estimate.upper, estimate.explain())

The value is sum(weight * value) / sum(weight). Its interval comes from drawing prompts, with all their values, anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from pica.eval.battles import Floats, Ints, codes_of, tally
from pica.eval.intervals import check_level, tails
from pica.eval.resample import By
from pica.synth.errors import UsageError

_BATCH = 1 << 22


@dataclass(frozen=True)
class Estimate:
    """A mean, its interval, and what made them.

    `n`: values. `prompts`: prompts they come from. `unscored`: values that were missing. `lower` and `upper` are NaN with
    fewer than 2 prompts; `value` too with none. `level`, `rounds`, `seed`: as given. `by`: what was drawn.
    """

    value: float
    lower: float
    upper: float
    n: int
    prompts: int
    unscored: int
    level: float
    rounds: int
    seed: int
    by: By = "prompts"

    def explain(self) -> str:
        """In a sentence, what this is."""
        missing = f"; {self.unscored} unscored values are left out" if self.unscored else ""
        drawn = f"{self.prompts:,} prompts" if self.by == "prompts" else "rows, as if independent,"
        return (f"{self.value:.4g} [{self.lower:.4g}, {self.upper:.4g}]: mean of {self.n:,} values with its {self.level:.0%} "
                f"interval from {self.rounds:,} bootstrap draws of {drawn} (seed {self.seed}){missing}.")


def mean(values: Sequence[float | None] | Floats, *, weight: Sequence[float] | Floats | None = None,
         prompt: Sequence[Hashable] | Ints | None = None, bounds: tuple[float, float] | None = None, level: float = 0.95,
         rounds: int = 1000, seed: int = 0) -> Estimate:
    """The mean of values, None and NaN left out and counted.

    `weight`: default 1 each. `prompt`: what each value belongs to (default: each to a prompt of its own). `bounds`: the
    smallest and largest value there can be. Where all values are equal to one of them, drawing anew shows no spread, and
    the other end is that of k prompts without one exception: a share of 1 - ((1 - level) / 2) ** (1 / k) away.
    """
    check_level(level)
    number = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    load = np.ones(len(number)) if weight is None else np.asarray(weight, dtype=np.float64)
    code = np.arange(len(number)) if prompt is None else codes_of(prompt)
    if not len(number) == len(load) == len(code):
        raise UsageError(f"{len(number)} values, {len(load)} weights, {len(code)} prompts; give one of each for every value")
    if (~np.isfinite(load) | (load < 0)).any():
        raise UsageError("a weight is negative or not finite; allowed: numbers of at least 0")
    if bounds is not None and ((number < bounds[0]) | (number > bounds[1])).any():
        raise UsageError(f"values from {np.nanmin(number):g} to {np.nanmax(number):g}; allowed: {bounds[0]:g} to {bounds[1]:g}")
    known = ~np.isnan(number) & (load > 0)
    used, code = np.unique(code[known], return_inverse=True)
    top, bottom = tally(code, (number * load)[known], len(used)), tally(code, load[known], len(used))
    value = float(top.sum() / bottom.sum()) if len(used) else float("nan")
    lower, upper = _ends(top, bottom, bounds, level, rounds, seed) if len(used) > 1 else (float("nan"),) * 2
    return Estimate(value, lower, upper, int(known.sum()), len(used), int(np.isnan(number).sum()), level, rounds, seed)


def _ends(top: Floats, bottom: Floats, bounds: tuple[float, float] | None, level: float, rounds: int,
          seed: int) -> tuple[float, float]:
    """Both ends of the interval of sum(top) / sum(bottom), drawing their entries anew."""
    prompts = len(top)
    if bounds is not None:
        away = (bounds[1] - bounds[0]) * (1 - ((1 - level) / 2) ** (1 / prompts))
        if (top == bottom * bounds[0]).all():
            return bounds[0], bounds[0] + away
        if (top == bottom * bounds[1]).all():
            return bounds[1] - away, bounds[1]
    kinds, count = np.unique(np.stack([top, bottom], axis=1), axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    batch = max(1, _BATCH // len(kinds))
    ratios = []
    for begin in range(0, rounds, batch):
        drawn = generator.multinomial(prompts, count / prompts, min(batch, rounds - begin)) @ kinds
        ratios.append(drawn[:, 0] / drawn[:, 1])
    lower, upper = np.quantile(np.concatenate(ratios), tails(level, prompts))
    return float(lower), float(upper)
