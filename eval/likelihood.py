"""An interval of a bounded mean by empirical likelihood: one that holds far out in the tails, and with few values.

    lower, upper = likelihood_interval([1, 1, .5, 0, 1, 1], level=.999)

A bootstrap with 1,000 rounds knows nothing beyond one in 1,000, and a t-interval takes shares that are all wins or losses for
normal. Here a mean m is inside as long as some distribution on the bounds with that mean makes the values likely enough: at least
exp(-t^2 / 2) times as likely as the likeliest distribution of all (Owen, Empirical likelihood ratio confidence intervals for a
single functional, 1988; over all distributions on the bounds: Honda and Takemura, An asymptotically optimal bandit algorithm for
bounded support models, 2010). t is Student's with n - 1 degrees of freedom, in place of the normal: few values need a wider one.
There is nothing random in it. With wins and losses alone it is the interval of the binomial likelihood; a tie says nothing of one
half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pica.eval.battles import Floats, Ints
from pica.eval.distributions import t_quantile
from pica.eval.intervals import check_level
from pica.synth.errors import UsageError

_CLOSE = 1e-13    # relative width at which a bisection ends
_NONE = 1e-200    # a shift that is none


def likelihood_interval(values: Sequence[float] | Floats, *, bounds: tuple[float, float] = (0.0, 1.0),
                        level: float = 0.95) -> tuple[float, float]:
    """Both ends of the interval of the mean of independent values; NaN for fewer than 2. `bounds`: the smallest and the largest
    value there can be. Raises `UsageError` for values beyond them."""
    check_level(level)
    number, (low, high) = np.asarray(values, dtype=np.float64), bounds
    if not ((number >= low) & (number <= high)).all():
        raise UsageError(f"values from {number.min():g} to {number.max():g}; allowed: {low:g} to {high:g}")
    if len(number) < 2:
        return math.nan, math.nan
    kinds, count = np.unique((number - low) / (high - low), return_counts=True)
    allowed = t_quantile((1 - level) / 2, len(number) - 1) ** 2 / 2
    lower, upper = _lower(kinds, count, allowed), 1 - _lower(1 - kinds[::-1], count[::-1], allowed)
    return low + (high - low) * lower, low + (high - low) * upper


def _lower(kinds: Floats, count: Ints, allowed: float) -> float:
    """The smallest mean of a distribution on [0, 1] whose log likelihood is by no more than `allowed` below the largest.

    The likeliest distribution of a smaller mean gives value x the weight 1 / (shift + x), for a shift above 0, and nothing to
    values that were not seen. Once the shift is 0, further weight goes to 0, the smallest value there can be."""
    n = int(count.sum())
    if kinds[-1] == 0 or (kinds[0] == 0 and _cost(_NONE, kinds, count) <= allowed):
        return 0.0
    if kinds[0] > 0 and _cost(0.0, kinds, count) <= allowed:
        return math.exp((float(count @ np.log(kinds)) - allowed) / n)
    low, high = _NONE, 1.0
    while _cost(high, kinds, count) > allowed:
        low, high = high, 2 * high
    while high - low > _CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _cost(middle, kinds, count) > allowed else (low, middle)
    return n / float((count / (high + kinds)).sum()) - high


def _cost(shift: float, kinds: Floats, count: Ints) -> float:
    """How much log likelihood is lost by weights 1 / (shift + x) instead of equal ones."""
    mean = float(count @ (1 / (shift + kinds))) / count.sum()
    return float(count @ np.log(shift + kinds)) + float(count.sum()) * math.log(mean)
