"""A ratio of two means over prompts, with its interval: words now to words then, nats to tokens.

    longer = ratio([12, 30, 9], [10, 20, 8])     # of the same three prompts
    print(longer.value, longer.lower, longer.upper)

The value is sum(top) / sum(bottom), so that a prompt counts by its size. Its interval is that of a ratio estimator, linearised,
by Student's t (Cochran, Sampling Techniques, 3rd ed., section 6.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pica.eval.battles import Floats
from pica.eval.distributions import t_quantile
from pica.eval.intervals import check_level
from pica.synth.errors import UsageError


@dataclass(frozen=True)
class Ratio:
    """sum(top) / sum(bottom) and the ends of its interval, None where there are none. `n`: prompts."""

    value: float | None
    lower: float | None
    upper: float | None
    n: int
    level: float

    def flat(self, name: str) -> dict[str, float | None]:
        """The three numbers under `name`, `name_lower`, `name_upper`."""
        return {name: self.value, f"{name}_lower": self.lower, f"{name}_upper": self.upper}


def ratio(top: Sequence[float] | Floats, bottom: Sequence[float] | Floats, *, level: float = 0.95) -> Ratio:
    """The ratio of these sums, one number of each a prompt. There is none where the bottom is 0, and no interval for 1 prompt."""
    check_level(level)
    above, below = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    if len(above) != len(below):
        raise UsageError(f"{len(above)} numbers above and {len(below)} below; give one of each for every prompt")
    n = len(above)
    if not below.sum():
        return Ratio(None, None, None, n, level)
    value = float(above.sum() / below.sum())
    if n < 2:
        return Ratio(value, None, None, n, level)
    spread = float((above - value * below).std(ddof=1)) / float(below.mean())
    half = t_quantile(0.5 + level / 2, n - 1) * spread / math.sqrt(n)
    return Ratio(value, value - half, value + half, n, level)
