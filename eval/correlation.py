"""Correlation of two lists of scores: Pearson, Spearman (ranks) and Kendall (pairs), ties allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pica.eval.battles import Floats
from pica.synth.errors import UsageError

Numbers = Sequence[float] | Floats


def ranks(values: Numbers) -> Floats:
    """float64 [n]: ranks from 1, equal values sharing the mean of theirs."""
    _, code, count = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    shared: Floats = (last - (count - 1) / 2)[code]
    return shared


def pearson(first: Numbers, second: Numbers) -> float:
    """Linear correlation in [-1, 1]; NaN where either list is constant."""
    x, y = _checked(first, second)
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return max(-1.0, min(1.0, float(x @ y) / scale)) if scale else math.nan


def spearman(first: Numbers, second: Numbers) -> float:
    """Correlation of ranks in [-1, 1]; NaN where either list is constant."""
    return pearson(ranks(first), ranks(second))


def kendall(first: Numbers, second: Numbers) -> float:
    """Kendall's tau-b in [-1, 1]: pairs in the same order less pairs in the other, corrected for ties; NaN where either list
    is constant."""
    x, y = _checked(first, second)
    i, j = np.triu_indices(len(x), 1)
    over, under = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    scale = math.sqrt(float(over @ over) * float(under @ under))
    return float(over @ under) / scale if scale else math.nan


def _checked(first: Numbers, second: Numbers) -> tuple[Floats, Floats]:
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(x) != len(y) or len(x) < 2:
        raise UsageError(f"lists of {len(x)} and {len(y)} scores; a correlation needs two lists of the same length, at least 2")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UsageError("a score is NaN or infinite; leave that item out of both lists")
    return x, y
