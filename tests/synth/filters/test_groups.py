"""Groups, union-find and who survives, against naive second implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.errors import UsageError
from pica.synth.filters.groups import KEY_BYTES, UnionFind, content_key, content_keys, groups_of, keep_one

ODD_TEXTS = ["", "\0", "\0\0", "a", "a\0", "\ud800", "\udfff", "é", "e\u0301", "x" * 1_000_000]
EDGES = st.integers(1, 12).flatmap(lambda n: st.tuples(
    st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20)))


def naive_components(n, edges):
    label = list(range(n))
    for _ in range(n):
        for a, b in edges:
            label[a] = label[b] = min(label[a], label[b])
    return label


@settings(deadline=None)
@given(EDGES)
def test_union_find_names_components_by_their_smallest_member(case):
    n, edges = case
    joined = UnionFind(n)
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    joined.union(pairs[:, 0], pairs[:, 1])
    assert joined.roots().tolist() == naive_components(n, edges)


@settings(deadline=None)
@given(EDGES)
def test_union_find_does_not_care_how_the_pairs_arrive(case):
    n, edges = case
    joined = UnionFind(n)
    for a, b in reversed(edges):
        joined.union(np.array([b]), np.array([a]))
    assert joined.roots().tolist() == naive_components(n, edges)


def test_a_long_chain_is_one_component():
    joined = UnionFind(100_000)
    order = np.random.default_rng(0).permutation(99_999)
    for part in np.array_split(order, 3):
        joined.union(part, part + 1)
    assert not joined.roots().any()


def test_content_keys_tell_odd_texts_apart():
    assert len({content_key(text) for text in ODD_TEXTS}) == len(ODD_TEXTS)
    keys = content_keys(ODD_TEXTS)
    assert [bytes(key).ljust(KEY_BYTES, b"\0") for key in keys] == [content_key(text) for text in ODD_TEXTS]
    assert len(np.unique(keys)) == len(ODD_TEXTS)
    assert content_key("a").hex() == "27c35e6e9373877f29e562464e46497e"  # the same on every machine
    assert content_key("a", salt=b"1") != content_key("a")


def test_no_rows_and_one_row():
    none = groups_of(np.empty(0, dtype=np.int64), content_keys([]), {})
    assert (len(none), none.rows, none.repeated, none.names, keep_one(none).tolist()) == (0, 0, 0, (), [])
    one = groups_of(np.array([7]), content_keys(["a"]), {"method": "test"})
    assert (len(one), one.names, keep_one(one).tolist()) == (1, (content_key("a").hex(),), [True])
    assert one.explain() == "1 rows in 1 groups (0 repeat another row; largest 1); method test."


ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", "c", "\0"]),
                          st.sampled_from([0.0, 1.0, float("nan")])), max_size=14)


@settings(deadline=None)
@given(ROWS, st.randoms())
def test_labels_and_survivors_follow_the_rows_when_they_are_shuffled(rows, rng):
    ids = [f"id{i}" for i in range(len(rows))]
    # groups must be functions of the content: rows of equal text share a group
    root_of = {text: root for root, text, _ in rows}
    rows = [(root_of[text], text, score) for _, text, score in rows]
    order = list(range(len(rows)))
    rng.shuffle(order)

    def survivors(which):
        roots = np.array([rows[i][0] for i in which], dtype=np.int64)
        made = groups_of(roots, content_keys(rows[i][1] for i in which), {})
        keep = keep_one(made, [rows[i][2] for i in which], ids=[ids[i] for i in which])
        return {ids[i]: (int(made.label[at]), made.names[made.label[at]], bool(keep[at])) for at, i in enumerate(which)}

    assert survivors(order) == survivors(range(len(rows)))


@settings(deadline=None)
@given(ROWS)
def test_the_survivor_is_the_one_a_plain_sort_would_choose(rows):
    ids = [f"id{i}" for i in range(len(rows))]
    made = groups_of(np.array([row[0] for row in rows], dtype=np.int64), content_keys(row[1] for row in rows), {})
    keep = keep_one(made, [row[2] for row in rows], ids=ids)
    for root in {row[0] for row in rows}:
        members = [i for i, row in enumerate(rows) if row[0] == root]
        first = min(members, key=lambda i: (np.isnan(rows[i][2]), -np.nan_to_num(rows[i][2]), content_key(rows[i][1]),
                                            content_key(ids[i])))
        assert [i for i in members if keep[i]] == [first]


@settings(deadline=None)
@given(ROWS)
def test_groups_are_numbered_by_their_smallest_key(rows):
    made = groups_of(np.array([row[0] for row in rows], dtype=np.int64), content_keys(row[1] for row in rows), {})
    smallest = [min(content_key(rows[i][1]) for i in made.members(group)) for group in range(len(made))]
    assert smallest == sorted(smallest)
    assert made.names == tuple(key.hex() for key in smallest)
    assert made.sizes.tolist() == [len(made.members(group)) for group in range(len(made))]
    assert made.repeated == len(rows) - len({row[0] for row in rows})


def test_infinite_priorities_rank_above_no_priority():
    made = groups_of(np.zeros(2, dtype=np.int64), content_keys(["a", "b"]), {})
    assert keep_one(made, [float("nan"), float("-inf")]).tolist() == [False, True]
    assert keep_one(made, [float("-inf"), float("nan")]).tolist() == [True, False]


def test_wrong_lengths_are_refused():
    made = groups_of(np.zeros(2, dtype=np.int64), content_keys(["a", "b"]), {})
    with pytest.raises(UsageError, match="one number for each of the 2 rows"):
        keep_one(made, [1.0])
    with pytest.raises(UsageError, match="1 ids for 2 rows"):
        keep_one(made, ids=["x"])
    with pytest.raises(UsageError, match="1 content keys for 2 rows"):
        groups_of(np.zeros(2, dtype=np.int64), content_keys(["a"]), {})
