"""How well one leaderboard agrees with another, and how well it tells models apart.

    separability(scores).share                            # pairs of models whose intervals do not overlap
    agreement(benchmark, reference).score("half")         # Arena-Hard's three definitions, and Arena Learning's two
    brier(draws.mean(axis=0), draws.var(axis=0), reference_scores)

From Li and others, From Crowdsourced Data to High-Quality Benchmarks (Arena-Hard, 2024), and Luo and others, Arena
Learning (2024). Intervals that only touch do not overlap, but models of equal score are never apart. A model whose score is
fixed, the anchor or the baseline, has an interval of no width; where that lies inside another's, the two overlap. (The authors'
code for agreement, though not the one for separability, takes them for separate, because the overlap has no length:
`fixed="separate"`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pica.eval.battles import Bools, Floats, Ints
from pica.eval.correlation import Numbers
from pica.eval.distributions import normal_cdf
from pica.synth.errors import UsageError

#: `half`: 1, .5 where the benchmark cannot separate, 0, over pairs that the reference separates (the authors' code).
#: `signed`: +1, 0, -1 over the same pairs (their paper and article); it is 2 * half - 1. `all`: +1, 0 where either cannot
#: separate, -1, over all pairs (Arena Learning's agreement). `order`: share of all pairs in the same order, intervals aside.
Definition = Literal["half", "signed", "all", "order"]
#: What an interval of no width inside another one is.
Fixed = Literal["overlap", "separate"]


@dataclass(frozen=True, eq=False)
class Scores:
    """A leaderboard: float64 [models] each, the same models in the same order wherever two are compared."""

    score: Floats
    lower: Floats
    upper: Floats

    @classmethod
    def of(cls, score: Sequence[float], lower: Sequence[float], upper: Sequence[float]) -> Scores:
        """Checks lengths, and that every score has an interval."""
        made = cls(*(np.asarray(column, dtype=np.float64) for column in (score, lower, upper)))
        if not len(made.score) == len(made.lower) == len(made.upper):
            raise UsageError(f"{len(made.score)} scores, {len(made.lower)} lower and {len(made.upper)} upper ends; give one each")
        if np.isnan([made.score, made.lower, made.upper]).any() or (made.lower > made.upper).any():
            raise UsageError("a score without an interval (NaN, or lower above upper); leave that model out on both sides")
        return made


@dataclass(frozen=True)
class Separability:
    """`separable` of `pairs` pairs of models have intervals that do not overlap."""

    separable: int
    pairs: int

    @property
    def share(self) -> float:
        """Separable pairs over all pairs, NaN with one model."""
        return self.separable / self.pairs if self.pairs else float("nan")

    def explain(self) -> str:
        """In a sentence, what this is."""
        return f"{self.share:.2%} of pairs of models ({self.separable} of {self.pairs}) have intervals that do not overlap."


@dataclass(frozen=True)
class Agreement:
    """How a benchmark orders pairs of models, beside a reference.

    Over the pairs that the reference separates: `agree`, `disagree`, `unsure` (the benchmark cannot separate them).
    `same_order`: of all `pairs`, those that both put in the same order, intervals aside. `both`: pairs that both separate.
    """

    agree: int
    disagree: int
    unsure: int
    same_order: int
    pairs: int

    @property
    def both(self) -> int:
        """Pairs that the reference and the benchmark separate."""
        return self.agree + self.disagree

    def score(self, definition: Definition = "half") -> float:
        """The agreement by one of the definitions (see `Definition`), NaN where it has no pair."""
        reference = self.both + self.unsure
        tops = {"half": (self.agree + 0.5 * self.unsure, reference), "signed": (self.agree - self.disagree, reference),
                "all": (self.agree - self.disagree, self.pairs), "order": (self.same_order, self.pairs)}
        if definition not in tops:
            raise UsageError(f"unknown definition of agreement '{definition}'; known: {', '.join(tops)}")
        top, bottom = tops[definition]
        return top / bottom if bottom else float("nan")

    @property
    def differentiation(self) -> float:
        """Arena Learning's: of the pairs that the reference separates, the share that the benchmark separates too."""
        reference = self.both + self.unsure
        return self.both / reference if reference else float("nan")

    def explain(self) -> str:
        """In a sentence, what was counted."""
        return (f"Of {self.both + self.unsure} pairs that the reference separates (of {self.pairs}), the benchmark orders "
                f"{self.agree} alike and {self.disagree} the other way; {self.unsure} it cannot separate.")


def separability(scores: Scores, *, fixed: Fixed = "overlap") -> Separability:
    """How many pairs of models have intervals that do not overlap."""
    apart = _apart(scores, fixed)
    return Separability(int(apart.sum()), len(apart))


def agreement(benchmark: Scores, reference: Scores, *, fixed: Fixed = "overlap") -> Agreement:
    """Compares two leaderboards of the same models in the same order."""
    _check_alike(len(benchmark.score), len(reference.score))
    i, j = pairs_of(len(benchmark.score))
    told, known = _apart(benchmark, fixed), _apart(reference, fixed)
    alike = (benchmark.score[i] - benchmark.score[j]) * (reference.score[i] - reference.score[j]) > 0
    return Agreement(int((known & told & alike).sum()), int((known & told & ~alike).sum()), int((known & ~told).sum()),
                     int(alike.sum()), len(i))


def brier(score: Numbers, variance: Numbers, reference: Numbers) -> float:
    """Mean squared error of the benchmark's certainty about the order of every pair; 0 is perfect, .25 is coin flips.

    `score`, `variance`: float [models], means and variances of a bootstrap, from which the certainty that one model is
    better follows by the normal distribution. `reference`: the scores whose order is the truth.
    """
    chance, truth = _order_chances(score, variance, reference)
    return float(np.mean((chance - truth) ** 2))


def log_loss(score: Numbers, variance: Numbers, reference: Numbers, *, clip: float = 2.0 ** -52) -> float:
    """Mean of -log of the certainty given to the true order of every pair; arguments as for `brier`, certainties clipped."""
    chance, truth = _order_chances(score, variance, reference)
    chance = np.clip(chance, clip, 1 - clip)
    return float(-np.mean(np.where(truth, np.log(chance), np.log1p(-chance))))


def pairs_of(n: int) -> tuple[Ints, Ints]:
    """Codes of every pair of n models, each once."""
    i, j = np.triu_indices(n, 1)
    return i.astype(np.int64), j.astype(np.int64)


def _order_chances(score: Numbers, variance: Numbers, reference: Numbers) -> tuple[Floats, Bools]:
    """For every pair: the certainty that the first is worse, and whether it is."""
    ahead, spread, truth = (np.asarray(column, dtype=np.float64) for column in (score, variance, reference))
    _check_alike(len(ahead), len(truth))
    i, j = pairs_of(len(truth))
    lead, width = ahead[j] - ahead[i], np.sqrt(spread[i] + spread[j])
    chance = [normal_cdf(lead / width) if width else 0.5 + np.sign(lead) / 2 for lead, width in zip(lead, width, strict=True)]
    return np.array(chance), truth[i] < truth[j]


def _apart(scores: Scores, fixed: Fixed) -> Bools:
    """For every pair: whether the intervals are apart."""
    lower, upper = scores.lower, scores.upper
    i, j = pairs_of(len(lower))
    apart: Bools = (upper[i] <= lower[j]) | (upper[j] <= lower[i])
    if fixed == "separate":
        apart |= np.minimum(upper[i], upper[j]) <= np.maximum(lower[i], lower[j])
    elif fixed != "overlap":
        raise UsageError(f"unknown rule for intervals of no width '{fixed}'; known: overlap, separate")
    apart &= scores.score[i] != scores.score[j]
    return apart


def _check_alike(first: int, second: int) -> None:
    if first != second:
        raise UsageError(f"{first} models on one side and {second} on the other; give the same models in the same order")
