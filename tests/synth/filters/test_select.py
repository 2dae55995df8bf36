"""The choice of rows against plain sorts, and what happens when there are too few."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.errors import UsageError
from pica.synth.filters.groups import content_key
from pica.synth.filters.select import best, longest, merge, quotas, random

SCORES = st.lists(st.sampled_from([0.0, 1.0, 2.5, -1.0, float("inf"), float("nan")]), max_size=12)


def ids_of(values):
    return [f"row-{i}" for i in range(len(values))]


def names(ids, keep):
    return {name for name, kept in zip(ids, keep, strict=True) if kept}


@settings(deadline=None)
@given(SCORES, st.integers(0, 14))
def test_best_is_what_a_plain_sort_gives(scores, n):
    ids = ids_of(scores)
    order = sorted((i for i in range(len(scores)) if not math.isnan(scores[i])),
                   key=lambda i: (-scores[i], content_key(ids[i], salt=b"0")))
    chosen = best(scores, n, ids=ids)
    assert names(ids, chosen.keep) == {ids[i] for i in order[:n]}
    assert (chosen.kept, chosen.candidates) == (min(n, len(order)), len(order))
    assert dict(chosen.shortfalls) == ({"all": n - len(order)} if n > len(order) else {})


CATEGORIES = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([0.0, 1.0, 2.0, float("nan")]),
                                st.booleans()), max_size=14)
WANTED = st.dictionaries(st.sampled_from(["a", "b", "d"]), st.integers(0, 6), min_size=1)


@settings(deadline=None)
@given(CATEGORIES, WANTED, st.sampled_from(["report", "shrink", "fill"]), st.booleans(), st.randoms())
def test_no_choice_depends_on_the_order_of_the_rows(rows, wanted, short, scored, rng):
    ids = ids_of(rows)
    order = list(range(len(rows)))
    rng.shuffle(order)

    def choices(which):
        name = [ids[i] for i in which]
        category, score, among = ([rows[i][column] for i in which] for column in range(3))
        made = [quotas(category, wanted, ids=name, score=score if scored else None, short=short,
                       among=np.array(among, dtype=bool)),
                longest(score, 3, ids=name), random(name, 4, seed=2)]
        return [(names(name, one.keep), one.explain(), dict(one.shortfalls)) for one in made]

    assert choices(order) == choices(range(len(rows)))


@settings(deadline=None)
@given(CATEGORIES, WANTED)
def test_quotas_take_the_best_of_each_category_and_report_what_lacks(rows, wanted):
    ids, category, score = ids_of(rows), [row[0] for row in rows], [row[1] for row in rows]
    chosen = quotas(category, wanted, ids=ids, score=score)
    keep = np.zeros(len(rows), dtype=bool)
    for name, count in wanted.items():
        keep |= best(score, count, ids=ids, among=np.array([one == name for one in category], dtype=bool)).keep
    assert chosen.keep.tolist() == keep.tolist()
    assert {name: chosen.counts[name] + chosen.shortfalls.get(name, 0) for name in wanted} == wanted


@settings(deadline=None)
@given(CATEGORIES, WANTED)
def test_fill_keeps_as_many_as_asked_for_if_the_named_categories_have_them(rows, wanted):
    chosen = quotas([row[0] for row in rows], wanted, ids=ids_of(rows), short="fill")
    there = sum(row[0] in wanted for row in rows)
    assert chosen.kept == min(sum(wanted.values()), there)
    assert sum(chosen.shortfalls.values()) == sum(wanted.values()) - chosen.kept
    assert all(rows[i][0] in wanted for i in np.flatnonzero(chosen.keep))


def test_shrink_keeps_the_proportions():
    category = ["a"] * 100 + ["b"] * 30
    chosen = quotas(category, {"a": 0.5, "b": 0.5}, n=100, ids=ids_of(category), short="shrink")
    assert (dict(chosen.counts), dict(chosen.shortfalls)) == ({"a": 30, "b": 30}, {"a": 20, "b": 20})


def test_half_easy_and_half_hard():
    levels = ["very easy", "easy", "medium", "hard", "very hard"] * 20 + [None] * 10
    merged = merge(levels, {"at most easy": ["very easy", "easy"]}, rest="above easy")
    chosen = quotas(merged, {"at most easy": 0.5, "above easy": 0.5}, n=60, ids=ids_of(levels), score=range(110))
    assert dict(chosen.counts) == {"at most easy": 30, "above easy": 30}
    assert not chosen.keep[100:].any()
    assert chosen.explain() == ("Kept 60 of 110 candidates: 30 'at most easy', 30 'above easy', by the highest score; "
                                "when short: report. By category: at most easy 30, above easy 30.")


def test_a_shortfall_is_said():
    chosen = quotas(["Math", "Code", "Math"], {"Math": 1, "Code": 3, "Art": 2}, ids=["a", "b", "c"])
    assert chosen.explain().endswith("Asked for 6; missing: Code 2, Art 2.")
    lacking = longest([1, 2], 5, ids=["a", "b"])
    assert lacking.explain() == "Kept 2 of 2 candidates: the longest 5. Asked for 5; missing: all 3."


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 1000))
def test_shares_that_sum_to_one_give_every_row(parts, n):
    shares = {f"c{i}": part / sum(parts) for i, part in enumerate(parts)}
    category = [name for name in shares for _ in range(n)]
    chosen = quotas(category, shares, n=n, ids=ids_of(category))
    assert chosen.kept == n
    assert all(abs(chosen.counts[name] - share * n) < 1 + 1e-6 for name, share in shares.items())


def test_longest_takes_the_longest():
    assert longest([5, 9, 1, 7], 2, ids=list("abcd")).keep.tolist() == [False, True, False, True]


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers())
def test_random_only_adds_rows_as_it_grows(a, b, seed):
    ids = ids_of(range(30))
    few, many = sorted([a, b])
    assert not (random(ids, few, seed=seed).keep & ~random(ids, many, seed=seed).keep).any()


def test_random_depends_on_the_seed_and_is_even():
    ids = ids_of(range(2000))
    kept = np.array([random(ids, 500, seed=seed).keep for seed in range(40)])
    assert len({row.tobytes() for row in kept}) == 40
    assert abs(kept.mean(0) - 0.25).max() < 0.3
    assert abs(kept[:, :1000].sum(1).mean() - 250) < 10


def test_no_rows():
    for chosen in (longest([], 3, ids=[]), random([], 0), quotas([], {"a": 1}, ids=[])):
        assert chosen.keep.tolist() == []
    assert longest([], 0, ids=[]).shortfalls == {}


@pytest.mark.parametrize(("call", "message"), [
    (lambda: best([1], -1, ids=["a"]), "-1 rows cannot be chosen"),
    (lambda: best([1, 2], 1, ids=["a"]), r"values of shape \(2,\) for 1 ids"),
    (lambda: best([1, 2], 1, ids=["a", "a"]), "id 'a' stands for more than one row"),
    (lambda: best([1], 1, ids=["a"], among=[1]), "give a bool for each"),
    (lambda: best([1], 1, ids=["a"], among=[True, True]), r"among has shape \(2,\)"),
    (lambda: quotas(["x"], {}, ids=["a"]), "quotas name no category"),
    (lambda: quotas(["x"], {"x": 0.5}, ids=["a"]), "say of how many rows with n"),
    (lambda: quotas(["x"], {"x": 1.5}, ids=["a"], n=3), "quota 1.5 of 'x'"),
    (lambda: quotas(["x"], {"x": True}, ids=["a"]), "quota True of 'x'"),
    (lambda: quotas(["x"], {"x": -1}, ids=["a"]), "quota -1 of 'x'"),
    (lambda: quotas(["x"], {"x": float("nan")}, ids=["a"], n=3), "quota nan of 'x'"),
    (lambda: quotas(["x"], {"x": 0.7, "y": 0.7}, ids=["a"], n=3), "shares sum to 1.4"),
    (lambda: quotas(["x"], {"x": 1}, ids=["a"], short="panic"), "unknown short 'panic'"),
    (lambda: quotas(["x"], {"x": 1}, ids=["a", "b"]), "1 categories for 2 rows"),
    (lambda: merge(["x"], {"a": ["x"], "b": ["x"]}), "category 'x' is put into both 'a' and 'b'"),
])
def test_bad_arguments_are_named(call, message):
    with pytest.raises(UsageError, match=message):
        call()
