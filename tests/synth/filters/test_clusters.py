"""k-means: numbers, distances and centres against their definitions, the same again, and texts that are too much alike."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from pica.synth.embed import HashEmbedder
from pica.synth.errors import UsageError
from pica.synth.filters.clusters import cluster

pytest.importorskip("sklearn", reason='scikit-learn is not installed; pip install "pica[filters]"')


def test_numbered_by_size_with_distances_to_the_means():
    points = np.array([[0, 0], [0, 1], [9, 9], [9, 10], [9, 11], [-9, 9]], dtype=np.float32)
    found = cluster(points, 3)
    assert found.label.tolist() == [1, 1, 0, 0, 0, 2]
    assert found.sizes.tolist() == [3, 2, 1]
    assert found.centres == pytest.approx(np.array([[9, 10], [0, 0.5], [-9, 9]]))
    assert found.distance.tolist() == pytest.approx([0.25, 0.25, 1, 0, 1, 0])
    assert found.settings == {"method": "k-means", "clusters": 3, "starts": 1, "rounds": 2, "seed": 0}
    assert len(found) == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**53 - 1), st.integers(1, 40), st.integers(1, 7), st.integers(1, 3))
def test_everything_lies_in_the_cluster_of_the_nearest_centre(seed, n, count, starts):
    vectors = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    count = min(count, n)
    found = cluster(vectors, count, seed=seed, starts=starts)
    apart = ((vectors[:, None].astype(np.float64) - found.centres) ** 2).sum(2)
    assert found.distance == pytest.approx(apart.min(axis=1), abs=1e-5)
    assert found.distance == pytest.approx(apart[np.arange(n), found.label])
    assert found.sizes.tolist() == np.bincount(found.label, minlength=count).tolist()
    first = [found.label.tolist().index(label) for label in range(count)]
    assert sorted(range(count), key=lambda label: (-found.sizes[label], first[label])) == list(range(count))


def test_the_same_again():
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    one, same, other = (cluster(vectors, 7, seed=seed) for seed in (3, 3, 4))
    assert one.label.tolist() == same.label.tolist() and one.distance.tolist() == same.distance.tolist()
    assert one.centres.tolist() == same.centres.tolist()
    assert one.label.tolist() != other.label.tolist()


def test_more_starts_find_better_clusters():
    vectors = np.random.default_rng(1).normal(size=(200, 2)).astype(np.float32)
    once, often = (sum(cluster(vectors, 12, seed=seed, starts=starts).distance.sum() for seed in range(3)) for starts in (1, 10))
    assert often < 0.99 * once


def test_threads_change_no_bit():
    """Sums of several threads differ in their last bits, so there is one, whatever the machine offers."""
    vectors = np.random.default_rng(0).normal(size=(5000, 16)).astype(np.float32)
    with threadpool_limits(limits=1):
        one = cluster(vectors, 9)
    with threadpool_limits(limits=2):
        two = cluster(vectors, 9)
    assert one.centres.tobytes() == two.centres.tobytes()


def test_clusters_of_equal_size_go_by_their_first_member():
    points = np.array([[5, 0], [0, 0], [0, 9], [0, 1], [5, 1], [0, 8]], dtype=np.float32)
    for seed in range(5):
        assert cluster(points, 3, seed=seed).label.tolist() == [0, 1, 2, 1, 0, 2]


def test_texts_that_the_embedder_cannot_tell_apart():
    vectors = HashEmbedder().embed(["One two", "one TWO", "three"])
    assert cluster(vectors, 2).label.tolist() == [0, 0, 1]
    with pytest.raises(UsageError, match="clusters=3 and only 2 of 3 texts differ in their vectors; lower clusters"):
        cluster(vectors, 3)


def test_there_is_one_zero():
    with pytest.raises(UsageError, match="only 1 of 2 texts differ"):
        cluster(np.array([[1, 0], [1, -0.0]], dtype=np.float32), 2)


def test_without_the_package_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(UsageError, match=r"k-means needs the package scikit-learn; install it: pip install 'pica\[filters\]'"):
        cluster(np.eye(3, dtype=np.float32), 2)
