"""The distribution of a stream of numbers in bounded memory, for histograms of any number of rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from pica.synth.report.parts import Histogram
from pica.synth.report.scales import bin_edges, log_edges
from pica.synth.report.text import count, quantity

_CELLS = 4096
_FINEST, _LIMIT = -100, 1e250


class Distribution:
    """Counts numbers in cells whose width is a power of two, doubled whenever more than 4,096 cells are in use.

    The result does not depend on the order of the numbers. n, least, greatest and mean are exact; quantiles and bins
    are right to a cell, which is 2^-100 wide until 4,096 of them are in use. With `log`, cells are equal in magnitude
    and values <= 0 count as missing.
    """

    def __init__(self, values: Iterable[float | None] = (), *, log: bool = False) -> None:
        self.log = log
        self.n = self.missing = 0
        self.least, self.greatest = math.inf, -math.inf
        self._cells: Counter[int] = Counter()
        self._exponent, self._whole = _FINEST, True
        self._partials: list[float] = []
        for value in values:
            self.add(value)

    def add(self, value: float | None) -> None:
        """Count a number; None, NaN and magnitudes above 1e250 are counted in `missing`."""
        if value is None or not abs(value) <= _LIMIT or (self.log and value <= 0):
            self.missing += 1
            return
        self.n += 1
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)
        self._whole = self._whole and value == math.floor(value)
        self._sum(float(value))
        self._cells[math.floor(self._place(value))] += 1
        while len(self._cells) > _CELLS:
            self._coarsen()

    @property
    def mean(self) -> float:
        """The arithmetic mean; NaN of nothing."""
        return math.fsum(self._partials) / self.n if self.n else math.nan

    def quantile(self, q: float) -> float:
        """The value below which the share `q` lies, to within a cell; NaN of nothing."""
        rank, seen = q * (self.n - 1), 0
        for cell in sorted(self._cells):
            seen += self._cells[cell]
            if seen > rank:
                return min(max(self._value(cell), self.least), self.greatest)
        return math.nan

    def histogram(self, title: str, *, unit: str = "", note: str = "", field: str = "", bins: int = 30) -> Histogram:
        """The distribution as a section of a report, over about `bins` bins with round edges."""
        edges, counts = self.binned(bins)
        return Histogram(title, (edges, counts), unit, note, self.log, field, self.summary(unit))

    def binned(self, bins: int = 30) -> tuple[list[float], list[int]]:
        """(edges, counts) with one more edge than counts; a bin holds its lower edge. Empty lists of nothing."""
        if not self.n:
            return [], []
        ends = self.least, self.greatest
        edges = log_edges(*ends, bins) if self.log else bin_edges(*ends, bins, whole=self._whole)
        counts = [0] * (len(edges) - 1)
        borders, i = [self._place(edge) for edge in edges[1:-1]], 0
        for cell in sorted(self._cells):
            while i < len(borders) and cell + 1 > borders[i]:  # exact: Python compares an int and a float by value
                i += 1
            counts[i] += self._cells[cell]
        return edges, counts

    def summary(self, unit: str = "") -> str:
        """n, least, median, mean and greatest in one line, and how many values were missing."""
        if not self.n:
            return f"no values, {count(self.missing)} missing" if self.missing else "no values"
        parts = [f"n {count(self.n)}", f"min {quantity(self.least)}", f"median {quantity(self.quantile(0.5))}",
                 f"mean {quantity(self.mean)}", f"max {quantity(self.greatest, unit)}"]
        return " · ".join(parts + ([f"{count(self.missing)} missing"] if self.missing else []))

    def _place(self, value: float) -> float:
        return math.ldexp(math.log2(value) if self.log else value, -self._exponent)

    def _value(self, cell: int) -> float:
        place = math.ldexp(cell, self._exponent)
        return float(2.0**place) if self.log else place

    def _coarsen(self) -> None:
        merged: Counter[int] = Counter()
        for cell, n in self._cells.items():
            merged[cell >> 1] += n
        self._cells, self._exponent = merged, self._exponent + 1

    def _sum(self, value: float) -> None:
        """Shewchuk's exact running sum, so that the mean does not depend on the order."""
        i = 0
        for partial in self._partials:
            big, small = (value, partial) if abs(value) >= abs(partial) else (partial, value)
            high = big + small
            low = small - (high - big)
            if low:
                self._partials[i] = low
                i += 1
            value = high
        self._partials[i:] = [value]
