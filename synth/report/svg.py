"""Pieces of charts as inline SVG.

Places are percentages, so a chart fills whatever width it gets while its text keeps its size. Colours come from the
page's style.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pica.synth.report.scales import neat, ticks
from pica.synth.report.text import attribute


class Scale:
    """Maps low..high to 0..1, by magnitude if `log`; where both are one value, it maps to the middle."""

    def __init__(self, low: float, high: float, *, log: bool = False) -> None:
        self.turn = math.log10 if log else float
        self.low, self.span = self.turn(low), self.turn(high) - self.turn(low)

    def __call__(self, value: float) -> float:
        """The place of `value`, a fraction of the axis."""
        return (self.turn(value) - self.low) / self.span if self.span else 0.5


def cover(low: float, high: float, steps: int) -> list[float]:
    """Round ticks, the outermost at or beyond both ends."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value, but for rounding
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    inner = ticks(low, high, steps)
    width = inner[1] - inner[0] if len(inner) > 1 else high - low
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    return [neat(i * width) for i in range(first, last + 1)]


def plot(label: str, body: str, size: str = "") -> str:
    """A drawing area; `label` says in words what it shows."""
    return f'<svg class="plot {size}" role="img" aria-label="{attribute(label)}">{body}</svg>'


def grid_y(marks: Iterable[tuple[float, str]]) -> str:
    """Horizontal lines with their labels left of them."""
    return "".join(f'<line class="grid" x1="0" x2="100%" y1="{pct(1 - y)}" y2="{pct(1 - y)}"/>'
                   f'<text x="-7" y="{pct(1 - y)}" dy="3.5" text-anchor="end">{text}</text>' for y, text in marks)


def axis_x(marks: Iterable[tuple[float, str]]) -> str:
    """The base line with ticks and labels below it."""
    shown = [(x, text) for x, text in marks if -1e-9 <= x <= 1 + 1e-9]
    return '<line class="base" x1="0" x2="100%" y1="100%" y2="100%"/>' + "".join(
        f'<line class="tick" x1="{pct(x)}" x2="{pct(x)}" y1="100%" y2="102.5%"/>'
        f'<text x="{pct(x)}" y="100%" dy="16" text-anchor="middle">{text}</text>' for x, text in shown)


def path(spots: Sequence[tuple[float, float]]) -> str:
    """The `d` of a polyline through fractions of the plot, in a view box of 1000 by 1000."""
    return "M" + "L".join(f"{1000 * x:.1f} {1000 - 1000 * y:.1f}" for x, y in spots)


def pct(fraction: float) -> str:
    """A fraction as a percentage."""
    return f"{100 * fraction:.4g}%"
