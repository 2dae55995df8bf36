"""The two distributions that intervals need, without scipy: normal (standard library) and Student's t."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
#: Beyond this many degrees of freedom t is the normal distribution to seven digits.
_LARGE = 1_000_000


def normal_cdf(x: float) -> float:
    """P(Z <= x) of a standard normal."""
    return _NORMAL.cdf(x)


def normal_quantile(p: float) -> float:
    """The x with P(Z <= x) = p, 0 < p < 1."""
    return _NORMAL.inv_cdf(p)


def t_cdf(x: float, freedom: int) -> float:
    """P(T <= x) of Student's t, by 64-point Gauss-Legendre over the angle atan(x / sqrt(freedom))."""
    if freedom > _LARGE:
        return normal_cdf(x)
    half = math.atan(x / math.sqrt(freedom)) / 2
    area = half * float(np.sum(_WEIGHTS * np.cos(half * (_NODES + 1)) ** (freedom - 1)))
    return 0.5 + area * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)


def t_quantile(p: float, freedom: int) -> float:
    """The x with P(T <= x) = p, 0 < p < 1, by bisection to 1e-12."""
    if freedom > _LARGE:
        return normal_quantile(p)
    low, high = -1.0, 1.0
    while t_cdf(low, freedom) > p:
        low *= 2
    while t_cdf(high, freedom) < p:
        high *= 2
    while high - low > 1e-12 * max(1.0, abs(low)):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, freedom) < p else (low, middle)
    return (low + high) / 2
