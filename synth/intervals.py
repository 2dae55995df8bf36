"""Intervals for a share and for a mean, 95% unless told."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054  # quantile 0.975 of the normal distribution


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); (0, 1) of nothing."""
    if not n:
        return 0.0, 1.0
    share, weight = successes / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    return middle - half if successes else 0.0, middle + half if successes < n else 1.0  # exact at the ends


def mean_interval(values: Sequence[float] | NDArray[np.float64], z: float = Z95) -> tuple[float, float, float]:
    """(mean, low, high) by the normal approximation; the ends are NaN with fewer than two values, all are with none."""
    array = np.asarray(values, dtype=np.float64)
    if array.size < 2:
        return (float(array[0]) if array.size else math.nan), math.nan, math.nan
    mean, error = float(array.mean()), float(array.std(ddof=1)) / math.sqrt(array.size)
    return mean, mean - z * error, mean + z * error
