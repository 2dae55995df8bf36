"""Means over seeds with intervals: rewards by goal, how reward follows the goal, and differences between the arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from arms import ARMS, BASE, GOALS

from pica.eval.correlation import spearman
from pica.eval.distributions import t_quantile

LEVEL = 0.95
TOP = str(GOALS[-1])
RA, HALF = ARMS[2], ARMS[3]


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, its 95 % t interval (NaN with one seed), and how many seeds."""

    value: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.value:.2f}" + (f" [{self.low:.2f}, {self.high:.2f}]" if self.seeds > 1 else "")


def over_seeds(values: Sequence[float]) -> Mean:
    """The mean of one value a seed, with Student's t interval."""
    middle, n = fmean(values), len(values)
    if n < 2:
        return Mean(middle, math.nan, math.nan, n)
    reach = t_quantile((1 + LEVEL) / 2, n - 1) * stdev(values) / math.sqrt(n)
    return Mean(middle, middle - reach, middle + reach, n)


def by_goal(seeds: Sequence[Mapping[str, Any]], arm: str) -> dict[str, Mean]:
    """Mean reward of an arm under each goal, "" without one."""
    return {name: over_seeds([one["rewards"][arm][name] for one in seeds]) for name in ("", *map(str, GOALS))}


def follows(seeds: Sequence[Mapping[str, Any]], arm: str) -> tuple[Mean, Mean]:
    """(Spearman's correlation of goal and mean reward, reward under the goals 8 to 10 less that under 1 to 3)."""
    curves = [[one["rewards"][arm][str(value)] for value in GOALS] for one in seeds]
    ranks = [0.0 if len(set(curve)) == 1 else spearman(GOALS, curve) for curve in curves]
    return over_seeds(ranks), over_seeds([fmean(curve[7:]) - fmean(curve[:3]) for curve in curves])


def differences(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Mean]:
    """Paired by seed: the reward-augmented arms under the highest goal less each arm as it is used."""
    used = {RA: TOP, HALF: TOP}
    pairs = [(RA, ARMS[0]), (RA, ARMS[1]), (HALF, ARMS[0]), (RA, BASE)]
    return {f"{one} at goal {TOP} − {other}": over_seeds(
        [seed["rewards"][one][used[one]] - seed["rewards"][other][""] for seed in seeds]) for one, other in pairs}


def verdict(seeds: Sequence[Mapping[str, Any]]) -> str:
    """What was found, in two sentences."""
    _, rise = follows(seeds, RA)
    better = differences(seeds)[f"{RA} at goal {TOP} − {ARMS[0]}"]
    if better.seeds == 1:
        return f"One seed shows nothing: goals 8 to 10 less 1 to 3: {rise}; at goal {TOP} less plain DPO: {better}."
    first = ("A higher goal yields a higher reward" if rise.low > 0 else "No higher reward under a higher goal was shown")
    second = ("beats plain DPO" if better.low > 0 else "does worse than plain DPO" if better.high < 0
              else "cannot be told from plain DPO")
    return (f"{first}: goals 8 to 10 against 1 to 3 differ by {rise}. At goal {TOP} reward-augmented DPO {second}: the "
            f"difference is {better} ({better.seeds} seeds, 95 % intervals).")
