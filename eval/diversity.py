"""How unlike each other texts are: distinct n-grams at equal size, likeness of vectors, near duplicates, entropy of topics.

    distinct(texts, 2, size=1000)      # of 1,000 pairs of words drawn from the texts, the share that are different
    self_similarity(vectors)           # mean cosine of all pairs
    repeated(texts)                    # share of texts that nearly equal another one
    topic_entropy(vectors, topics)     # from 0 (one topic) to 1 (all alike)

All are plain functions of what they are given; none depends on the order of the texts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from pica.eval.battles import Floats, Ints
from pica.synth.embed import Vectors
from pica.synth.filters.clusters import cluster
from pica.synth.filters.decontaminate import words_of
from pica.synth.filters.minhash import near_duplicates

#: Jaccard similarity of 5-grams of characters from which on two texts are near duplicates.
NEAR = 0.8


def ngrams(texts: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of `n` words occurs; none goes from one text into the next."""
    return Counter(gram for text in texts for gram in _runs(words_of(text), n))


def _runs(words: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i:i + n]) for i in range(len(words) - n + 1))


def distinct(texts: Sequence[str], n: int, *, size: int = 0) -> float | None:
    """Distinct-n (Li et al., 2016): different n-grams of words over all n-grams.

    More text has a smaller share of different ones, so texts are compared at one `size`: the share to be expected among so many
    n-grams drawn without replacement, which is exact (rarefaction: Hurlbert, 1971). 0: all that there are. None where
    the texts hold fewer, or none.
    """
    count = ngrams(texts, n)
    total = count.total()
    size = size or total
    if not size or total < size:
        return None
    often = Counter(count.values())
    return math.fsum(kinds * (1 - _missed(total, times, size)) for times, kinds in sorted(often.items())) / size


def _missed(total: int, times: int, size: int) -> float:
    """The chance that `size` of `total` drawn hold none of `times`: C(total - times, size) / C(total, size)."""
    if times > total - size:
        return 0.0
    log = math.lgamma(total - times + 1) - math.lgamma(total - times - size + 1)
    return math.exp(log - math.lgamma(total + 1) + math.lgamma(total - size + 1))


def self_similarity(vectors: Vectors) -> float | None:
    """Mean cosine of all pairs of unit vectors (float32 [n, d]), exactly and in one pass: |sum v|^2 = sum |v|^2 + all pairs
    twice. None of fewer than 2."""
    n = len(vectors)
    if n < 2:
        return None
    wide = vectors.astype(np.float64)
    total = wide.sum(axis=0)
    return float((total @ total - np.einsum("ij,ij->", wide, wide)) / (n * (n - 1)))


def repeated(texts: Sequence[str], *, near: float = NEAR) -> float | None:
    """The share of texts that another one equals or nearly equals (MinHash, `pica.synth.filters.minhash`). None of no text."""
    if not texts:
        return None
    groups = near_duplicates(texts, threshold=near)
    return float((groups.sizes[groups.label] > 1).mean())


def topic_entropy(vectors: Vectors, topics: Floats) -> float | None:
    """How evenly texts spread over topics (float64 [k, d], k > 1): the entropy of the nearest topic, over log k.

    Few texts look less even than they are; Miller and Madow's (topics seen - 1) / (2 n) nats are added for it. What is then
    above 1 is 1. None of no text.
    """
    if not len(vectors):
        return None
    share = np.bincount(nearest(vectors, topics)) / len(vectors)
    share = share[share > 0]
    entropy = -float((share * np.log(share)).sum()) + (len(share) - 1) / (2 * len(vectors))
    return min(1.0, entropy / math.log(len(topics)))


def nearest(vectors: Vectors | Floats, topics: Floats) -> Ints:
    """int64 [n]: the topic that each vector is nearest to; among equals the first."""
    apart = (topics * topics).sum(axis=1) - 2 * vectors.astype(np.float64) @ topics.T
    return np.asarray(apart.argmin(axis=1), dtype=np.int64)


def topics_of(vectors: Vectors, k: int, *, seed: int = 0) -> Floats:
    """The centres of `k` topics, float64 [k, d], by k-means (`pica.synth.filters.clusters`).

    Fewer where there are fewer different vectors. The order of the vectors changes nothing. Raises `UsageError` where
    scikit-learn is not installed.
    """
    different, times = np.unique(vectors, axis=0, return_counts=True)
    return cluster(np.repeat(different, times, axis=0), min(k, len(different)), seed=seed).centres
