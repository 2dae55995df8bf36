"""Clusters of texts by k-means over their embeddings.

    found = cluster(embedder.embed(texts), 500, seed=0)
    found.label, found.sizes, found.centres
"""

from __future__ import annotations

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
    """Where every text belongs. `label`: int64 [n], clusters numbered from the largest. `distance`: float64 [n], squared, to
    the centre. `sizes`: int64 [clusters]. `centres`: float64 [clusters, d]. `settings`: what made them."""

    label: Ints
    distance: Floats
    sizes: Ints
    centres: Floats
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.sizes)


def cluster(vectors: Vectors, count: int, *, seed: int = 0, starts: int = 1) -> Clusters:
    """`count` clusters of the vectors (float32 [n, d]) by scikit-learn's k-means, in one thread, so that equal vectors in equal
    order give equal clusters. Raises `UsageError` where there are fewer different vectors than clusters, or no such package."""
    different = len(set(content_keys((row + np.float32(0)).tobytes() for row in vectors).tolist()))  # + 0: there is one zero
    if different < count:
        raise UsageError(f"clusters={count} and only {different:,} of {len(vectors):,} texts differ in their vectors; lower "
                         "clusters, or give more texts")
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
    return Clusters(number[label], distance, sizes[order].astype(np.int64), centres[order], settings)
