"""Groups of rows that say the same thing, and which member of each survives.

A group is a connected component: when A resembles B and B resembles C, the three are one group even if A does not
resemble C. Groups are numbered by the smallest content key among their members, so shuffling the rows shuffles the
labels with them and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pica.synth.errors import UsageError

#: Bytes of a content key. Two of a trillion different texts share a key with a probability of about 1e-15.
KEY_BYTES = 16

Keys = NDArray[np.bytes_]


def content_key(text: str | bytes, *, salt: bytes = b"") -> bytes:
    """16 bytes that stand for a text: BLAKE2b of its UTF-8, lone surrogates included. `salt` is at most 64 bytes."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return blake2b(raw, digest_size=KEY_BYTES, key=salt).digest()


def content_keys(texts: Iterable[str | bytes], *, salt: bytes = b"") -> Keys:
    """The content keys of many texts, as an array of 16-byte strings. Reads the texts one at a time."""
    buffer = bytearray()
    for text in texts:
        buffer += content_key(text, salt=salt)
    return keys_of(buffer)


def keys_of(buffer: bytearray) -> Keys:
    """Keys that were written one after another, as an array over the same memory."""
    keys = np.frombuffer(buffer, dtype=f"S{KEY_BYTES}")
    keys.flags.writeable = False
    return keys


class UnionFind:
    """Disjoint sets over `0..n-1`, joined by arrays of pairs. The root of a set is its smallest member."""

    def __init__(self, n: int) -> None:
        self._parent: NDArray[np.int64] = np.arange(n, dtype=np.int64)

    def union(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
        """Joins the sets of `a[i]` and `b[i]` for every i."""
        while True:
            left, right = self._parent[a], self._parent[b]
            apart = left != right
            if not apart.any():
                return
            a, b, left, right = a[apart], b[apart], left[apart], right[apart]
            np.minimum.at(self._parent, np.maximum(left, right), np.minimum(left, right))
            self._compress()

    def _compress(self) -> None:
        while True:
            above = self._parent[self._parent]
            if np.array_equal(above, self._parent):
                return
            self._parent = above

    def roots(self, of: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The root of every element, or of those given, int64."""
        return self._parent.copy() if of is None else self._parent[of]


@dataclass(frozen=True, eq=False)
class Groups:
    """Which rows belong together.

    `label`: int64 [n], the group of every row, `0..len(groups)-1` in the order of the groups' smallest content keys.
    `sizes`: int64 [groups], members of every group. `keys`: the content key of every row.
    `settings`: what made the groups.
    """

    label: NDArray[np.int64]
    sizes: NDArray[np.int64]
    keys: Keys
    settings: Mapping[str, object]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def rows(self) -> int:
        """Rows that were grouped."""
        return len(self.label)

    @property
    def repeated(self) -> int:
        """Rows beyond the first of their group: what keeping one member of each group drops."""
        return self.rows - len(self)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The smallest content key of every group, in hex: a name that does not depend on the other groups."""
        first = np.full(len(self), -1, dtype=np.int64)
        order = np.argsort(self.keys, kind="stable")[::-1]
        first[self.label[order]] = order
        return tuple(bytes(key).ljust(KEY_BYTES, b"\0").hex() for key in self.keys[first])

    def members(self, group: int) -> NDArray[np.int64]:
        """The rows of one group, ascending."""
        return np.flatnonzero(self.label == group)

    def explain(self) -> str:
        """One sentence: what was grouped, how, and what came of it."""
        how = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        largest = int(self.sizes.max()) if len(self) else 0
        return f"{self.rows} rows in {len(self)} groups ({self.repeated} repeat another row; largest {largest}); {how}."


def groups_of(roots: NDArray[np.int64], keys: Keys, settings: Mapping[str, object]) -> Groups:
    """Groups from any array that is equal for the rows of a group (int64 [n]) and the rows' content keys."""
    if len(roots) != len(keys):
        raise UsageError(f"{len(keys)} content keys for {len(roots)} rows; give one for each")
    _, dense = np.unique(roots, return_inverse=True)
    order = np.argsort(keys, kind="stable")
    _, first = np.unique(dense[order], return_index=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first, kind="stable")] = np.arange(len(first))
    label = number[dense].astype(np.int64)
    sizes = np.bincount(label, minlength=len(first)).astype(np.int64)
    return Groups(label, sizes, keys, MappingProxyType(dict(settings)))


def keep_one(groups: Groups, priority: ArrayLike | None = None, *, ids: Sequence[str] | None = None,
             ) -> NDArray[np.bool_]:
    """Which rows survive when every group keeps one: bool [n].

    The member with the highest `priority` (float [n]; NaN counts as lowest) survives; among equals the smallest content
    key, then the smallest hash of `ids`. Rows that agree in all three cannot be told apart, and the first one stays.
    """
    score = np.zeros(groups.rows) if priority is None else np.asarray(priority, dtype=np.float64)
    if score.shape != (groups.rows,):
        raise UsageError(f"priority has shape {score.shape}; give one number for each of the {groups.rows} rows")
    if ids is not None and len(ids) != groups.rows:
        raise UsageError(f"{len(ids)} ids for {groups.rows} rows; give one for each")
    names = content_keys(ids) if ids is not None else np.zeros(groups.rows, dtype="S1")
    lowest = np.where(np.isnan(score), -np.inf, score)
    order = np.lexsort((names, groups.keys, -lowest, np.isnan(score), groups.label))
    best = np.ones(groups.rows, dtype=np.bool_)
    best[1:] = groups.label[order][1:] != groups.label[order][:-1]
    keep = np.zeros(groups.rows, dtype=np.bool_)
    keep[order[best]] = True
    return keep
