"""Estimates that do not trust the judge: corrected by a sample that people labelled.

    corrected(judge_all, judge_labelled, human_labelled)            # any score: prediction-powered inference (PPI++)
    prevalence(judge_all, judge_labelled, human_labelled)           # yes or no: Rogan-Gladen

The labelled items must be a random sample of all items; then both are right however wrong the judge is, and a good judge
only makes the interval narrower.

Angelopoulos and others, Prediction-Powered Inference (2023) and PPI++ (2023); Rogan and Gladen (1978), with the interval
of Lang and Reiczigel, Confidence limits for prevalence of disease adjusted for estimated sensitivity and specificity (2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pica.eval.battles import Floats, Ints
from pica.eval.distributions import normal_quantile, t_quantile
from pica.eval.intervals import check_level
from pica.synth.errors import UsageError


@dataclass(frozen=True)
class Corrected:
    """A corrected mean, and what made it.

    `value`, `lower`, `upper`: the estimate. `judge_only`: the judge's own mean. `human_only`: the labelled sample's mean,
    with `human_lower` and `human_upper`. `judge_weight`: how much the judge was let to say (lambda; 1 in plain PPI, 0 ignores
    it). `labelled`, `unlabelled`: items.
    """

    value: float
    lower: float
    upper: float
    judge_only: float
    human_only: float
    human_lower: float
    human_upper: float
    judge_weight: float
    labelled: int
    unlabelled: int
    level: float

    def explain(self) -> str:
        """In a sentence, what was corrected by how much."""
        return (f"{self.value:.4g} [{self.lower:.4g}, {self.upper:.4g}]: the judge's mean over {self.unlabelled} items "
                f"({self.judge_only:.4g}) corrected by {self.labelled} human labels (by themselves {self.human_only:.4g} "
                f"[{self.human_lower:.4g}, {self.human_upper:.4g}]); the judge has weight {self.judge_weight:.3g}.")


@dataclass(frozen=True)
class Prevalence:
    """A share of yes corrected for the judge's errors.

    `value`: Rogan-Gladen's estimate, kept within [0, 1]. `lower`, `upper`: its interval. `observed`: the judge's own share.
    `sensitivity`: how often it says yes where people do; `specificity`: how often no where people do.
    """

    value: float
    lower: float
    upper: float
    observed: float
    sensitivity: float
    specificity: float
    items: int
    labelled: int
    level: float

    def explain(self) -> str:
        """In a sentence, what was corrected by how much."""
        return (f"{self.value:.4g} [{self.lower:.4g}, {self.upper:.4g}]: the judge says yes to {self.observed:.4g} of "
                f"{self.items} items; by {self.labelled} human labels it finds {self.sensitivity:.3g} of the yes and "
                f"{self.specificity:.3g} of the no.")


def corrected(judge: Sequence[float] | Floats, judge_labelled: Sequence[float] | Floats, human: Sequence[float] | Floats, *,
              tuned: bool = True, level: float = 0.95) -> Corrected:
    """The mean of people's scores over all items, from the judge's on items without labels and both on a labelled sample.

    `judge`: of the items without labels. `judge_labelled`, `human`: of the labelled ones. `tuned`: weigh the judge so that
    the variance is least (PPI++), else plain PPI. UsageError with fewer than 2 items on either side.
    """
    check_level(level)
    rest, guess, truth = (np.asarray(column, dtype=np.float64) for column in (judge, judge_labelled, human))
    if len(guess) != len(truth) or len(truth) < 2 or len(rest) < 2:
        raise UsageError(f"{len(rest)} items without labels, {len(guess)} judged and {len(truth)} human labels; needs 2 or more "
                         "items of both kinds, and both scores for every labelled item")
    n, m = len(truth), len(rest)
    weight = _least_variance(rest, guess, truth) if tuned else 1.0
    left = truth - weight * guess
    value = weight * float(rest.mean()) + float(left.mean())
    error = math.sqrt(weight ** 2 * float(rest.var(ddof=1)) / m + float(left.var(ddof=1)) / n)
    bar = t_quantile(0.5 + level / 2, n - 1)
    alone, own = float(truth.mean()), bar * float(truth.std(ddof=1)) / math.sqrt(n)
    return Corrected(value, value - bar * error, value + bar * error, float(rest.mean()), alone, alone - own, alone + own, weight,
                     n, m, level)


def prevalence(judge: Sequence[int] | Ints, judge_labelled: Sequence[int] | Ints, human: Sequence[int] | Ints, *,
               level: float = 0.95) -> Prevalence:
    """The share of items that people would say yes to, from the judge's yes or no on all items and both on a labelled sample.

    UsageError where no label is yes or none is no, or where the judge is no better than chance.
    """
    check_level(level)
    said, guess, truth = (_yes_or_no(column) for column in (judge, judge_labelled, human))
    if len(guess) != len(truth) or not len(said):
        raise UsageError(f"{len(said)} items, {len(guess)} judged and {len(truth)} human labels; needs items, and both "
                         "scores for every labelled item")
    yes, no = int(truth.sum()), int((1 - truth).sum())
    if not yes or not no:
        raise UsageError(f"{yes} human labels are yes and {no} are no; label items until there are some of both")
    sensitivity, specificity = float(guess[truth == 1].mean()), float(1 - guess[truth == 0].mean())
    if sensitivity + specificity <= 1:
        raise UsageError(f"the judge finds {sensitivity:.3g} of the yes and {specificity:.3g} of the no, which is no better than "
                         "chance: nothing can be corrected by it; use the human labels alone")
    observed = float(said.mean())
    value = min(1.0, max(0.0, (observed + specificity - 1) / (sensitivity + specificity - 1)))
    lower, upper = _lang_reiczigel(observed, len(said), (sensitivity, yes), (specificity, no), level)
    return Prevalence(value, lower, upper, observed, sensitivity, specificity, len(said), len(truth), level)


def _least_variance(rest: Floats, guess: Floats, truth: Floats) -> float:
    """PPI++'s weight of the judge, kept within [0, 1]."""
    spread = float(np.concatenate([rest, guess]).var(ddof=1)) * (1 + len(truth) / len(rest))
    together = float(np.cov(truth, guess)[0, 1])
    return min(1.0, max(0.0, together / spread)) if spread else 0.0


def _lang_reiczigel(observed: float, items: int, yes: tuple[float, int], no: tuple[float, int],
                    level: float) -> tuple[float, float]:
    """Lang and Reiczigel's limits: shares moved towards the middle, then a normal interval moved by a skewness term."""
    z = normal_quantile(0.5 + level / 2)
    wide, yes_n, no_n = items + z ** 2, yes[1] + 2, no[1] + 2
    p = (items * observed + z ** 2 / 2) / wide
    se, sp = (yes[1] * yes[0] + 1) / yes_n, (no[1] * no[0] + 1) / no_n
    scale = se + sp - 1
    value = (p + sp - 1) / scale
    errors = se * (1 - se) / yes_n, sp * (1 - sp) / no_n
    moved = value + 2 * z ** 2 * (value * errors[0] - (1 - value) * errors[1])
    half = z * math.sqrt(p * (1 - p) / wide + value ** 2 * errors[0] + (1 - value) ** 2 * errors[1]) / scale
    return min(1.0, max(0.0, moved - half)), min(1.0, max(0.0, moved + half))


def _yes_or_no(column: Sequence[int] | Ints) -> Floats:
    values = np.asarray(column, dtype=np.float64)
    bad = values[(values != 0) & (values != 1)]
    if len(bad):
        raise UsageError(f"label {bad[0]:g}; allowed: 1 for yes, 0 for no")
    return values
