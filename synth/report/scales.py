"""Round numbers for axes and bins."""

from __future__ import annotations

import math


def neat(value: float) -> float:
    """`value` without the dust of binary arithmetic: 0.3 instead of 0.30000000000000004, and no negative zero."""
    return float(f"{value:.14g}") + 0.0


def step_of(span: float, steps: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that covers `span` in about `steps` steps."""
    if not 1e-290 < span < math.inf:
        return 1.0
    raw = span / steps
    power = 10.0 ** math.floor(math.log10(raw))
    return next((m * power for m in (1.0, 2.0, 5.0) if raw <= m * power * (1 + 1e-9)), 10.0 * power)


def ticks(low: float, high: float, steps: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, both included where they are round."""
    step = step_of(high - low, steps)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [neat(i * step) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from `low` to `high`, with their 2 and 5 where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    every = max(1, (last - first) // 6)
    marks = [f * 10.0**e for e in range(first, last + 1, every) for f in factors]
    return [m for m in marks if low * (1 - 1e-9) <= m <= high * (1 + 1e-9)]


def bin_edges(low: float, high: float, bins: int, *, whole: bool) -> list[float]:
    """Edges of about `bins` equal bins with round edges that cover `low` to `high`; `whole` numbers get whole bins."""
    step = step_of(high - low or abs(high) or 1.0, bins)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.floor(high / step + 1e-9) + 1
    return [neat(i * step) for i in range(first, last + 1)]


def log_edges(low: float, high: float, bins: int) -> list[float]:
    """Edges of bins of equal ratio that cover `low` to `high`, both > 0; the ratio is a root of ten."""
    decades = max(math.log10(high / low), 0.1)
    per = next((p for p in (20, 10, 5, 4, 2, 1) if decades * p <= bins), 1)
    first, last = math.floor(math.log10(low) * per + 1e-9), math.floor(math.log10(high) * per + 1e-9) + 1
    return [neat(10.0 ** (i / per)) for i in range(first, last + 1)]
