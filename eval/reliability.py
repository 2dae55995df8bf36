"""Do raters agree beyond chance? Cohen's kappa for two, Krippendorff's alpha for any number with gaps.

    kappa(judge, human)                                  # two lists of labels
    alpha([judge, human, other], scale="nominal")        # None where a rater said nothing

Both are 1 for full agreement and 0 for what chance would give. Raw agreement says little where one label is common.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from pica.eval.battles import Floats
from pica.synth.errors import UsageError


def kappa(first: Sequence[Hashable], second: Sequence[Hashable], *, order: Sequence[Hashable] | None = None) -> float:
    """Cohen's kappa of two raters of the same items; NaN where both used one and the same label only.

    `order`: the labels from lowest to highest weighs a disagreement by the square of its distance (quadratic weights);
    without it every disagreement counts alike.
    """
    if len(first) != len(second) or not first:
        raise UsageError(f"{len(first)} labels and {len(second)} labels; kappa needs one of each for every item, at least 1")
    labels = list(dict.fromkeys([*first, *second])) if order is None else list(order)
    place = {label: number for number, label in enumerate(labels)}
    unknown = {*first, *second} - place.keys()
    if unknown:
        raise UsageError(f"label {sorted(map(repr, unknown))[0]} is not in the order {', '.join(map(repr, labels))}")
    table = np.zeros((len(labels), len(labels)))
    for one, other in zip(first, second, strict=True):
        table[place[one], place[other]] += 1
    table /= len(first)
    apart = np.subtract.outer(np.arange(len(labels)), np.arange(len(labels))).astype(np.float64) ** 2
    cost = np.minimum(apart, 1) if order is None else apart
    chance = float((cost * np.outer(table.sum(axis=1), table.sum(axis=0))).sum())
    return 1 - float((cost * table).sum()) / chance if chance else math.nan


def alpha(ratings: Sequence[Sequence[float | None]], *, scale: Literal["nominal", "interval"] = "nominal") -> float:
    """Krippendorff's alpha of raters (rows) over items (columns), None where a rater said nothing.

    `nominal`: values are names; `interval`: numbers whose squared distance counts. Items with fewer than two ratings say
    nothing. NaN where all ratings are equal, or no item has two.
    """
    width = {len(row) for row in ratings}
    if len(width) != 1:
        raise UsageError(f"raters with {sorted(width)} items; give every rater all items, None where there is no rating")
    grid = np.array([[np.nan if value is None else value for value in row] for row in ratings], dtype=np.float64)
    grid = grid[:, (~np.isnan(grid)).sum(axis=0) >= 2]
    values, code = np.unique(grid[~np.isnan(grid)], return_inverse=True)
    if len(values) < 2:
        return math.nan
    count = np.zeros((grid.shape[1], len(values)))
    np.add.at(count, (np.nonzero(~np.isnan(grid))[1], code), 1)
    cost: Floats = np.subtract.outer(values, values) ** 2
    if scale == "nominal":
        cost = (cost > 0).astype(np.float64)
    raters = count.sum(axis=1)
    together = (count / (raters - 1)[:, None]).T @ count  # a pair of one rating with itself costs nothing
    common = count.sum(axis=0)
    chance = float((cost * np.outer(common, common)).sum()) / (float(common.sum()) - 1)
    return 1 - float((cost * together).sum()) / chance
