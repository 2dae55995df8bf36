"""Exact neighbours against all pairs in float64, in numpy and in torch, with planted and equal vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.errors import UsageError
from pica.synth.filters.groups import content_keys
from pica.synth.filters.neighbours import nearest_in, neighbours


def unit(values):
    values = np.asarray(values, dtype=np.float64)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def random_vectors(n, d=16, seed=0, copies=0, near=0):
    rng = np.random.default_rng(seed)
    base = unit(rng.normal(size=(n, d)))
    twice = base[rng.integers(0, n, copies)]
    close = unit(base[rng.integers(0, n, near)] + 0.02 * rng.normal(size=(near, d)))
    return np.concatenate([base, twice, close])[rng.permutation(n + copies + near)]


def all_distances(a, b):
    return ((a.astype(np.float64)[:, None] - b.astype(np.float64)[None]) ** 2).sum(-1)


def naive(vectors, threshold):
    distances = all_distances(vectors, vectors)
    np.fill_diagonal(distances, np.inf)
    label = np.arange(len(vectors))
    for _ in range(len(vectors)):
        for a, b in np.argwhere(distances <= threshold):
            label[a] = label[b] = min(label[a], label[b])
    return distances, (distances <= threshold).sum(1), label


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
def test_all_pairs_agree_with_float64(device, tile):
    vectors = random_vectors(90, copies=20, near=30)
    distances, count, label = naive(vectors, 0.05)
    found = neighbours(vectors, threshold=0.05, tile=tile, device=device)
    assert np.allclose(found.min_distance, distances.min(1), atol=1e-6)
    assert np.allclose(distances[np.arange(len(vectors)), found.nearest], distances.min(1), atol=1e-6)
    assert found.repeat_count.tolist() == count.tolist()
    assert np.equal.outer(found.groups.label, found.groups.label).tolist() == np.equal.outer(label, label).tolist()
    assert 0 < count.sum() < len(vectors) ** 2
    assert found.groups.repeated > 0


CASES = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 5), st.integers(0, 5),
                  st.sampled_from([0.0, 0.05, 0.5, 1.9]))


@settings(deadline=None)
@given(CASES, st.integers(1, 9), st.randoms())
def test_shuffling_the_rows_changes_no_bit(case, tile, rng):
    seed, n, copies, near, threshold = case
    vectors = random_vectors(n, 3, seed, copies, near)
    order = list(range(len(vectors)))
    rng.shuffle(order)
    one = neighbours(vectors, threshold=threshold, tile=tile)
    other = neighbours(vectors[order], threshold=threshold, tile=tile)
    assert other.min_distance.tobytes() == one.min_distance[order].tobytes()
    assert other.repeat_count.tolist() == one.repeat_count[order].tolist()
    assert other.groups.label.tolist() == one.groups.label[order].tolist()
    assert other.groups.names == one.groups.names
    if len(vectors) > 1:  # equal vectors cannot be told apart, so the nearest is compared by its content
        assert vectors[order][other.nearest].tobytes() == vectors[one.nearest][order].tobytes()


@settings(deadline=None)
@given(CASES, st.integers(1, 9))
def test_small_cases_agree_with_float64(case, tile):
    seed, n, copies, near, threshold = case
    vectors = random_vectors(n, 3, seed, copies, near)
    distances, count, _ = naive(vectors, threshold)
    clear = np.abs(distances - threshold).min() > 1e-6 if threshold else True
    found = neighbours(vectors, threshold=threshold, tile=tile)
    if len(vectors) > 1:
        assert np.allclose(found.min_distance, distances.min(1), atol=1e-6)
        assert (found.nearest != np.arange(len(vectors))).all()
    assert not clear or found.repeat_count.tolist() == count.tolist()


def test_equal_vectors_are_at_zero_and_name_each_other():
    a, b = unit([[1, 2, 3], [3, -1, 0]])
    found = neighbours(np.array([a, b, a, a]), threshold=0)
    assert found.min_distance.tolist() == [0, pytest.approx(((a - b) ** 2).sum()), 0, 0]
    assert (found.nearest[[0, 2, 3]].tolist(), found.repeat_count.tolist()) == ([2, 0, 0], [2, 0, 2, 2])
    assert sorted(found.groups.sizes.tolist()) == [1, 3]


def test_equal_vectors_are_named_by_the_given_keys():
    vector = unit([[1, 2, 3]])[0]
    keys = content_keys(["p", "q", "r"])
    first, second = np.argsort(keys)[:2]
    found = neighbours(np.array([vector] * 3), keys=keys)
    assert found.nearest.tolist() == [second if row == first else first for row in range(3)]
    assert found.groups.names == (bytes(keys[first]).hex(),)


def test_minus_zero_is_zero():
    assert neighbours(np.array([[1, 0.0], [1, -0.0]], dtype=np.float32), threshold=0).repeat_count.tolist() == [1, 1]


def test_a_chain_is_one_group_and_its_ends_are_not_near():
    angles = np.arange(6) * 0.2
    found = neighbours(unit(np.stack([np.cos(angles), np.sin(angles)], 1)), threshold=0.05)
    assert len(found.groups) == 1
    assert found.repeat_count.tolist() == [1, 2, 2, 2, 2, 1]


def test_a_pair_just_within_and_one_just_beyond():
    inside, outside = 2 * np.arcsin(np.sqrt(0.05 - 1e-6) / 2), 2 * np.arcsin(np.sqrt(0.05 + 1e-6) / 2)
    for angle, count in ((inside, 1), (outside, 0)):
        found = neighbours(unit([[1, 0], [np.cos(angle), np.sin(angle)]]), threshold=0.05)
        assert found.repeat_count.tolist() == [count, count]
        assert (found.min_distance <= 0.05).tolist() == [bool(count)] * 2


def test_no_row_and_one_row():
    none = neighbours(np.empty((0, 4), dtype=np.float32))
    assert (len(none.min_distance), len(none.groups)) == (0, 0)
    one = neighbours(unit([[1, 2]]))
    assert (one.min_distance.tolist(), one.nearest.tolist(), one.repeat_count.tolist()) == ([np.inf], [-1], [0])


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("tile", [1, 5, 500])
def test_new_rows_against_old_ones(device, tile):
    new, old = random_vectors(30, seed=1), random_vectors(40, seed=2)
    old[3] = old[7] = new[5]
    distances = all_distances(new, old)
    found = nearest_in(new, old, threshold=0.5, tile=tile, device=device)
    assert np.allclose(found.distance, distances.min(1), atol=1e-6)
    assert found.nearest.tolist() == distances.argmin(1).tolist()
    assert found.count.tolist() == (distances <= 0.5).sum(1).tolist()
    assert (found.nearest[5], found.distance[5]) == (3, 0)


def test_nothing_to_compare_with():
    found = nearest_in(unit([[1, 2]]), np.empty((0, 2), dtype=np.float32))
    assert (found.distance.tolist(), found.nearest.tolist(), found.count.tolist()) == ([np.inf], [-1], [0])
    assert nearest_in(np.empty((0, 2), dtype=np.float32), unit([[1, 2]])).nearest.tolist() == []


@pytest.mark.parametrize(("vectors", "arguments", "message"), [
    ([[1.0, 0.0], [3.0, 4.0]], {}, "row 1 has length 5"),
    ([[float("nan"), 0.0]], {}, "row 0 has length nan"),
    ([[0.0, 0.0]], {}, "row 0 has length 0"),
    ([1.0, 0.0], {}, r"vectors of shape \(2,\)"),
    ([[1.0, 0.0]], {"threshold": -1}, "threshold -1 is no squared distance"),
    ([[1.0, 0.0]], {"threshold": 2}, "threshold 2 is no squared distance"),
    ([[1.0, 0.0]], {"tile": 0}, "a tile of 0 rows"),
    ([[1.0, 0.0]], {"device": "abacus"}, "unknown device 'abacus'"),
])
def test_bad_arguments_are_named(vectors, arguments, message):
    with pytest.raises(UsageError, match=message):
        neighbours(np.array(vectors, dtype=np.float32), **arguments)


def test_vectors_of_different_models_are_refused():
    with pytest.raises(UsageError, match="vectors of 2 numbers against a reference of 3"):
        nearest_in(unit([[1, 2]]), unit([[1, 2, 3]]))
