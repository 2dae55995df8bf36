"""Near-duplicate texts: MinHash signatures (rensa), banded into buckets, candidates verified, groups by union-find.

    groups = near_duplicates(texts, threshold=0.8)
    keep = keep_one(groups, priority=rewards)

Texts that are equal after normalisation are one document from the start, so a million copies of a sentence cost one
signature. Memory: 256 bytes of signature a different text (128 permutations), plus about 100 bytes a character of the
longest text while it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pica.synth.errors import UsageError
from pica.synth.filters.exact import normalise
from pica.synth.filters.groups import Groups, Keys, UnionFind, content_keys, groups_of
from pica.synth.filters.shingles import Unit, shingle_hashes

_CHUNK_TEXTS, _CHUNK_CHARS = 2048, 1 << 17
_CHUNK_PAIRS = 1 << 14
_RECALL = 0.995

Signatures = NDArray[np.uint16]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Banding:
    """How signatures are cut into bands: two texts are compared when all `rows` values of one band agree."""

    bands: int
    rows: int

    def recall(self, jaccard: float) -> float:
        """The chance that a pair with this Jaccard similarity is compared at all."""
        return float(1 - (1 - jaccard**self.rows) ** self.bands)


def banding(threshold: float, permutations: int) -> Banding:
    """The longest bands (so the fewest needless comparisons) that still find 99.5 % of pairs at the threshold."""
    for rows in range(permutations, 1, -1):
        found = Banding(permutations // rows, rows)
        if found.recall(threshold) >= _RECALL:
            return found
    raise UsageError(f"{permutations} permutations cannot find pairs as unlike as a threshold of {threshold}; "
                     "raise permutations or the threshold")


def near_duplicates(
    texts: Sequence[str],
    *,
    threshold: float = 0.8,
    shingle: int = 5,
    unit: Unit = "char",
    permutations: int = 128,
    seed: int = 0,
    verify: Literal["estimate", "exact"] = "estimate",
    keep_case: bool = False,
) -> Groups:
    """Groups of texts whose sets of shingles have a Jaccard similarity of at least `threshold`.

    `shingle` and `unit`: size of a shingle, in characters or words. Candidates are verified by the share of equal
    signature values (standard error `sqrt(J (1 - J) / permutations)` at most, 0.035 at 0.8), or with `verify="exact"`
    by the Jaccard similarity itself. Groups are connected components. Needs the package rensa.
    """
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold {threshold} is no Jaccard similarity to look for; give one above 0, up to 1")
    if verify not in {"estimate", "exact"}:
        raise UsageError(f"unknown verify {verify!r}; allowed: 'estimate', 'exact'")
    if not 2 <= permutations <= 4096:
        raise UsageError(f"{permutations} permutations; allowed: 2 to 4096")
    bands = banding(threshold, permutations)
    rows, copy_of = _different(texts, keep_case)
    documents = _Documents(texts, rows, keep_case, shingle, unit)
    signatures = documents.signatures(permutations, seed)
    found = UnionFind(len(rows))
    spread = 4 * np.sqrt(threshold * (1 - threshold) / permutations) if verify == "exact" else 0.0
    for left, right in _candidates(signatures, bands, found):
        alike = np.flatnonzero(_estimate(signatures, left, right) >= threshold - spread - 1e-9)
        if verify == "exact":
            alike = alike[documents.jaccard(left[alike], right[alike]) >= threshold - 1e-9]
        found.union(left[alike], right[alike])
    settings = {"method": "minhash", "threshold": threshold, "shingle": shingle, "unit": unit, "seed": seed,
                "permutations": permutations, "bands": bands.bands, "rows": bands.rows, "verify": verify,
                "keep_case": keep_case, "algorithm": f"rensa R-MinHash {_rensa().ALGORITHM_VERSION}"}
    return groups_of(found.roots()[copy_of], content_keys(texts), settings)


def _rensa() -> Any:
    try:
        from rensa import RMinHash
    except ImportError:
        raise UsageError("near duplicates need the package rensa; install it: pip install 'pica[filters]'") from None
    return RMinHash


def _different(texts: Sequence[str], keep_case: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One row of each set of equal texts, in the order of their keys, and the place of every row among them."""
    keys: Keys = content_keys(normalise(text, keep_case=keep_case) for text in texts)
    _, rows, copy_of = np.unique(keys, return_index=True, return_inverse=True)
    return rows.astype(np.int64), copy_of.astype(np.int64)


class _Documents:
    """The different texts, normalised and shingled when they are needed."""

    def __init__(self, texts: Sequence[str], rows: NDArray[np.int64], keep_case: bool, size: int, unit: Unit) -> None:
        self._texts, self._rows, self._keep_case, self._size, self._unit = texts, rows, keep_case, size, unit

    def _shingles(self, which: Sequence[int]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        levelled = [normalise(self._texts[self._rows[i]], keep_case=self._keep_case) for i in which]
        return shingle_hashes(levelled, self._size, self._unit)

    def signatures(self, permutations: int, seed: int) -> Signatures:
        """uint16 [different texts, permutations]: the low half of each value, which agrees by chance once in 65,536."""
        made = np.empty((len(self._rows), permutations), dtype=np.uint16)
        digest = _rensa().digest_matrix_from_flat_token_hashes
        for chunk in _runs((len(self._texts[row]) for row in self._rows), _CHUNK_TEXTS):
            hashes, offsets = self._shingles(chunk)
            values = digest(hashes, offsets.astype(np.uint64), permutations, seed % 2**64).to_rows()
            flat = np.fromiter(chain.from_iterable(values), dtype=np.uint32, count=len(chunk) * permutations)
            made[chunk.start:chunk.stop] = flat.astype(np.uint16).reshape(len(chunk), permutations)
        return made

    def jaccard(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact Jaccard similarities of the shingle sets of pairs."""
        out = np.empty(len(left))
        for part in self._pair_chunks(left, right):
            both = np.concatenate((left[part.start:part.stop], right[part.start:part.stop]))
            which, place = np.unique(both, return_inverse=True)
            hashes, offsets = self._shingles(which.tolist())
            sets = [np.unique(hashes[offsets[i]:offsets[i + 1]]) for i in range(len(which))]
            for at, i, j in zip(part, place[:len(part)].tolist(), place[len(part):].tolist(), strict=True):
                common = len(np.intersect1d(sets[i], sets[j], assume_unique=True))
                out[at] = common / (len(sets[i]) + len(sets[j]) - common)
        return out

    def _pair_chunks(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> Iterator[range]:
        pairs = zip(self._rows[left], self._rows[right], strict=True)
        return _runs((len(self._texts[i]) + len(self._texts[j]) for i, j in pairs), _CHUNK_TEXTS // 2)


def _runs(lengths: Iterable[int], most: int) -> Iterator[range]:
    """Consecutive places whose lengths sum to about `_CHUNK_CHARS`, `most` of them at most."""
    begin = chars = end = 0
    for end, length in enumerate(lengths, 1):
        chars += length
        if end - begin >= most or chars >= _CHUNK_CHARS:
            yield range(begin, end)
            begin, chars = end, 0
    if begin < end:
        yield range(begin, end)


def _estimate(signatures: Signatures, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    equal = signatures[left] == signatures[right]
    return np.asarray(equal.mean(axis=1), dtype=np.float64)


def _candidates(signatures: Signatures, bands: Banding, found: UnionFind) -> Iterator[Pairs]:
    """Pairs that share a bucket and are not yet known to be connected, at most `_CHUNK_PAIRS` at a time."""
    for band in range(bands.bands):
        values = signatures[:, band * bands.rows:(band + 1) * bands.rows]
        bucket = _bucket(values)
        order = np.argsort(bucket, kind="stable")
        yield from _pairs_in_runs(order, bucket[order], found)


def _bucket(values: Signatures) -> NDArray[np.uint64]:
    """One number for the values of a band; with more than four of them, equal by chance once in 2 ** 64."""
    number = np.zeros(len(values), dtype=np.uint64)
    for column in values.T:
        number *= np.uint64(0x9E3779B97F4A7C15)
        number ^= number >> np.uint64(29)
        number += column.astype(np.uint64) + np.uint64(1)
    return number


def _pairs_in_runs(order: NDArray[np.int64], bucket: NDArray[np.uint64], found: UnionFind) -> Iterator[Pairs]:
    """Every pair within a run of equal buckets, by growing distance; runs that are one component already drop out."""
    distance = 0
    while len(order):
        order, bucket = _unsettled(order, bucket, found.roots(order))
        distance += 1
        near = np.flatnonzero(bucket[distance:] == bucket[:-distance]) if distance < len(order) else order[:0]
        if len(near) == 0:
            return
        for begin in range(0, len(near), _CHUNK_PAIRS):
            left, right = order[near[begin:begin + _CHUNK_PAIRS]], order[near[begin:begin + _CHUNK_PAIRS] + distance]
            apart = found.roots(left) != found.roots(right)
            if apart.any():
                yield left[apart], right[apart]


def _unsettled(order: NDArray[np.int64], bucket: NDArray[np.uint64], roots: NDArray[np.int64],
               ) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The members of the buckets that hold more than one component."""
    begins = np.flatnonzero(np.concatenate(([True], bucket[1:] != bucket[:-1])))
    mixed = np.maximum.reduceat(roots, begins) != np.minimum.reduceat(roots, begins)
    stay = np.repeat(mixed, np.diff(np.append(begins, len(bucket))))
    return order[stay], bucket[stay]
