"""Clusters of prompts by k-means over their embeddings, and the draw of prompts from each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pica.synth.embed import Vectors
from pica.synth.errors import UsageError
from pica.synth.filters.groups import content_keys

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Where every prompt belongs. `label`: int64 [n], clusters numbered from the largest. `distance`: float64 [n], squared, to
    the centre. `sizes`: int64 [clusters]. `settings`: what made them."""

    label: Ints
    distance: Floats
    sizes: Ints
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.sizes)


def cluster(vectors: Vectors, count: int, *, seed: int = 0, starts: int = 1) -> Clusters:
    """`count` clusters of the vectors (float32 [n, d]) by scikit-learn's k-means, in one thread, so that equal vectors in equal
    order give equal clusters. Raises `UsageError` where there are fewer different vectors than clusters, or no such package."""
    different = len(set(content_keys(row.tobytes() for row in vectors).tolist()))
    if different < count:
        raise UsageError(f"clusters={count} and only {different:,} of {len(vectors):,} prompts differ; lower clusters, or give "
                         "more prompts")
    try:
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise UsageError("k-means needs the package scikit-learn; install it: pip install 'pica[filters]'") from None
    with threadpool_limits(limits=1):  # sums of several threads differ in their last bits from run to run
        found = KMeans(count, random_state=seed % 2**32, n_init=starts).fit(vectors)
    return _numbered(vectors, found.labels_.astype(np.int64), found.cluster_centers_.astype(np.float64),
                     {"method": "k-means", "clusters": count, "starts": starts, "rounds": int(found.n_iter_), "seed": seed})


def _numbered(vectors: Vectors, label: Ints, centres: Floats, settings: dict[str, Any]) -> Clusters:
    """Clusters by falling size, equals by their first member."""
    sizes = np.bincount(label, minlength=len(centres))
    first = np.full(len(centres), len(label))
    np.minimum.at(first, label, np.arange(len(label)))
    order = np.lexsort((first, -sizes))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    distance = np.concatenate([((vectors[begin:begin + 4096].astype(np.float64) - centres[label[begin:begin + 4096]]) ** 2).sum(1)
                               for begin in range(0, len(vectors), 4096)])
    return Clusters(number[label], distance, sizes[order].astype(np.int64), settings)


@dataclass(frozen=True)
class Drawn:
    """Places of prompts: `diverse` ones, and `candidates` for the hard ones; no place is in both. `short`: clusters that have
    fewer prompts than both ask for."""

    diverse: Sequence[int]
    candidates: Sequence[int]
    short: int


def draw(clusters: Clusters, *, diverse: int, candidates: int, nearest: bool = False) -> Drawn:
    """From each cluster `diverse` prompts, and of its other ones `candidates`; a smaller cluster gives what it has, diverse ones
    first. Prompts stand in a seeded order, so the first are drawn; with `nearest` the diverse ones lie nearest to the centre."""
    members: list[list[int]] = [[] for _ in range(len(clusters))]
    for place, label in enumerate(clusters.label.tolist()):
        members[label].append(place)
    first, then, short = [], [], 0
    for own in members:
        ranked = sorted(own, key=lambda place: (clusters.distance[place], place)) if nearest else own
        chosen = set(ranked[:diverse])
        first += ranked[:diverse]
        then += [place for place in own if place not in chosen][:candidates]
        short += len(own) < diverse + candidates
    return Drawn(first, then, short)
