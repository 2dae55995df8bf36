"""Exact nearest neighbours of unit vectors, and the groups of those that lie within a threshold.

    found = neighbours(vectors, threshold=0.05)
    keep = keep_one(found.groups, priority=scores)

Distances are squared Euclidean, which is 2 - 2 cos for unit vectors: 0.05 is a cosine of 0.975 (Magpie's measure and
threshold). All pairs are compared, once each, in tiles of a matrix product; only tiles and columns of results are held.
The rows are worked through in the order of their content, so shuffling them shuffles the results and changes no bit.

Which row is nearest is decided by float32 products, so of two rows whose distances differ by less than 1e-6 either may
be named. The distance to it, and whether a pair lies within the threshold, are then measured from the difference of the
two vectors: equal vectors are at exactly 0, and the last bits of a product decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pica.synth.errors import UsageError
from pica.synth.filters.groups import Groups, Keys, UnionFind, content_keys, groups_of
from pica.synth.filters.tiles import NONE, Engine, open_engine

#: Rows of a tile; a tile of float32 products takes 16 MB.
TILE = 2048
#: Cosines this close to the threshold are measured again.
_CLOSE = 4e-6
#: Rows of a product that are looked at closely at a time.
_STRIP = 256
_UNIT = 1e-3

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What lies next to every row.

    `min_distance`: float32 [n], squared distance to the nearest other row (infinite for a lone row).
    `nearest`: int64 [n], that row (-1 for a lone row); among equal distances the vector with the smallest content key,
    among equal vectors the smallest of `keys`, then the first. `repeat_count`: int64 [n], other rows at a distance of
    at most the threshold. `groups`: connected components of rows within the threshold. `settings`: what made this.
    """

    min_distance: Vectors
    nearest: Ints
    repeat_count: Ints
    groups: Groups
    settings: Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Matches:
    """The nearest reference row of every query.

    `distance`: float32 [n], squared; infinite where there is no reference. `nearest`: int64 [n], -1 where there is
    none. `count`: int64 [n], reference rows at a distance of at most the threshold. `settings`: what made this.
    """

    distance: Vectors
    nearest: Ints
    count: Ints
    settings: Mapping[str, object]


def neighbours(vectors: Vectors, *, threshold: float = 0.05, tile: int = TILE, keys: Keys | None = None,
               device: str = "auto") -> Neighbours:
    """The nearest other row of every unit vector (float32 [n, d]), how many lie within `threshold`, and their groups.

    `keys`: the rows' content keys, by which groups are numbered (default: those of the vectors). `device`: `numpy`, a
    torch device, or `auto`: the GPU where torch is loaded and has one, else numpy. Time grows with n * n * d; memory
    beyond the input is about two tiles and a few columns.
    """
    vectors = _checked(vectors, threshold, tile)
    own = content_keys((row + np.float32(0)).tobytes() for row in vectors)  # + 0: there is one zero
    keys = own if keys is None else keys
    _, copy_of, copies = np.unique(own, return_inverse=True, return_counts=True)
    order = np.lexsort((keys, copy_of))
    first = np.cumsum(copies) - copies
    found = _sweep(vectors, order[first], copies, threshold=threshold, tile=tile, engine=open_engine(device))
    settings: dict[str, object] = {"method": "neighbours", "threshold": threshold, "distance": "squared L2"}
    distance, nearest = _spread(vectors, found.nearest, copy_of, copies, order)
    groups = groups_of(found.joined.roots()[copy_of], keys, settings)
    return Neighbours(distance, nearest, found.count[copy_of] + copies[copy_of] - 1, groups, MappingProxyType(settings))


def nearest_in(vectors: Vectors, reference: Vectors, *, threshold: float = 0.05, tile: int = TILE,
               device: str = "auto") -> Matches:
    """The nearest of `reference` (float32 [m, d]) to each of `vectors` (float32 [n, d]); among equals the first.

    For new rows against old ones, or texts against evaluation prompts. Both must hold unit vectors.
    """
    vectors, reference = _checked(vectors, threshold, tile), _checked(reference, threshold, tile)
    if vectors.shape[1] != reference.shape[1]:
        raise UsageError(f"vectors of {vectors.shape[1]} numbers against a reference of {reference.shape[1]}; embed "
                         "both with the same model")
    engine, best = open_engine(device), _Best(len(vectors))
    count = np.zeros(len(vectors), dtype=np.int64)
    for top in range(0, len(vectors), tile):
        mine = vectors[top:top + tile]
        loaded = engine.load(mine)
        for left in range(0, len(reference), tile):
            theirs = reference[left:left + tile]
            product = engine.product(loaded, engine.load(theirs))
            maxima = engine.row_max(product)
            best.improve(top, left, maxima, partial(engine.rows, product))
            for row, _ in _within(engine, product, maxima, mine, theirs, threshold=threshold):
                count[top:top + tile] += np.bincount(row, minlength=len(mine))
    settings = {"method": "nearest_in", "threshold": threshold, "distance": "squared L2"}
    return Matches(_distances(vectors, reference, best.nearest), best.nearest, count, MappingProxyType(settings))


class _Best:
    """The largest cosine of every row so far, and whose it is."""

    def __init__(self, n: int) -> None:
        self._cosine = np.full(n, NONE, dtype=np.float32)
        self.nearest: Ints = np.full(n, -1, dtype=np.int64)

    def improve(self, begin: int, offset: int, maxima: Vectors, rows: Callable[[Ints], Vectors]) -> None:
        """Takes a tile: the maxima of the rows from `begin`, whose columns stand for others from `offset` on."""
        better = np.flatnonzero(maxima > self._cosine[begin:begin + len(maxima)])
        if len(better):
            self._cosine[begin + better] = maxima[better]
            self.nearest[begin + better] = offset + rows(better).argmax(axis=1)


@dataclass(frozen=True)
class _Found:
    """Results over the different vectors; `count` counts rows, not vectors."""

    nearest: Ints
    count: Ints
    joined: UnionFind


def _sweep(vectors: Vectors, which: Ints, copies: Ints, *, threshold: float, tile: int, engine: Engine) -> _Found:
    """Compares the rows `which` with one another, tile by tile over the upper triangle."""
    best, joined, count = _Best(len(which)), UnionFind(len(which)), np.zeros(len(which), dtype=np.int64)
    for top in range(0, len(which), tile):
        mine = vectors[which[top:top + tile]]
        loaded = engine.load(mine)
        for left in range(top, len(which), tile):
            theirs = mine if left == top else vectors[which[left:left + tile]]
            product = engine.product(loaded, loaded if left == top else engine.load(theirs), same=left == top)
            maxima = engine.row_max(product)
            best.improve(top, left, maxima, partial(engine.rows, product))
            if left > top:
                best.improve(left, top, engine.column_max(product), partial(engine.columns, product))
            for row, column in _within(engine, product, maxima, mine, theirs, threshold=threshold):
                np.add.at(count, top + row, copies[left + column])
                if left > top:
                    np.add.at(count, left + column, copies[top + row])
                joined.union(top + row, left + column)
    return _Found(best.nearest, count, joined)


def _within(engine: Engine, product: object, maxima: Vectors, mine: Vectors, theirs: Vectors, *, threshold: float,
            ) -> Iterator[tuple[Ints, Ints]]:
    """The pairs of a tile within the threshold, strip by strip: rows of `mine`, rows of `theirs`."""
    cosine = 1 - threshold / 2
    near = np.flatnonzero(maxima >= cosine - _CLOSE)
    for begin in range(0, len(near), _STRIP):
        some = near[begin:begin + _STRIP]
        values = engine.rows(product, some)
        at, column = np.nonzero(values >= cosine - _CLOSE)
        row, sure = some[at], values[at, column] > cosine + _CLOSE
        for part in range(0, len(row), 1 << 14):
            unsure = part + np.flatnonzero(~sure[part:part + (1 << 14)])
            sure[unsure] = _squared(mine[row[unsure]], theirs[column[unsure]]) <= np.float32(threshold)
        yield row[sure], column[sure]


def _squared(a: Vectors, b: Vectors) -> Vectors:
    """Squared distances of pairs, measured in float64 and rounded once."""
    gap = a.astype(np.float64) - b
    return np.asarray(np.einsum("ij,ij->i", gap, gap), dtype=np.float32)


def _distances(vectors: Vectors, reference: Vectors, nearest: Ints) -> Vectors:
    out = np.full(len(vectors), np.inf, dtype=np.float32)
    rows = np.flatnonzero(nearest >= 0)
    for begin in range(0, len(rows), TILE):
        some = rows[begin:begin + TILE]
        out[some] = _squared(vectors[some], reference[nearest[some]])
    return out


def _spread(vectors: Vectors, found: Ints, copy_of: Ints, copies: Ints, order: Ints) -> tuple[Vectors, Ints]:
    """Distances and nearest rows of all rows, from the nearest among the different vectors."""
    first = np.cumsum(copies) - copies
    head = order[first]
    nearest = np.where(found >= 0, head[found], -1)[copy_of]
    repeated = copies[copy_of] > 1
    nearest[repeated] = head[copy_of[repeated]]
    again = np.flatnonzero(copies > 1)
    nearest[head[again]] = order[first[again] + 1]
    return _distances(vectors, vectors, nearest), nearest


def _checked(vectors: Vectors, threshold: float, tile: int) -> Vectors:
    if not 0 <= threshold < 2:
        raise UsageError(f"threshold {threshold} is no squared distance to call near; give one from 0 to below 2")
    if tile < 1:
        raise UsageError(f"a tile of {tile} rows is none; give 1 or more")
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise UsageError(f"vectors of shape {vectors.shape}; give one row of numbers for each text, [n, d]")
    with np.errstate(all="ignore"):
        length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    odd = np.flatnonzero(~(np.abs(length - 1) <= _UNIT))
    if len(odd):
        raise UsageError(f"row {odd[0]} has length {length[odd[0]]:.6g}, and {len(odd) - 1} more rows are no unit "
                         "vectors either; divide each row by its length, and leave out rows of zeros or not finite")
    return vectors
