"""The walk through all combinations of skills: each once, near-uniform, the same from the seed, lazily."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.recipes.skillmix.pairs import Combinations, Draws, Permutation, subset

SIZES = st.integers(1, 9).flatmap(lambda skills: st.tuples(st.just(skills), st.integers(1, skills)))


@given(st.integers(1, 300), st.text(max_size=8))
def test_a_permutation_has_every_number_once(n: int, key: str) -> None:
    order = Permutation(n, key)
    assert sorted(order[place] for place in range(len(order))) == list(range(n))
    for place in (-1, n):
        with pytest.raises(IndexError):
            order[place]


def test_a_permutation_follows_its_key_and_mixes() -> None:
    one, other = Permutation(1000, "a"), Permutation(1000, "b")
    first = [one[place] for place in range(1000)]
    assert first == [Permutation(1000, "a")[place] for place in range(1000)]
    assert first != [other[place] for place in range(1000)]
    assert sum(abs(value - place) for place, value in enumerate(first)) / 1000 == pytest.approx(333, abs=40)


@given(SIZES)
def test_subsets_are_in_lexicographic_order(size: tuple[int, int]) -> None:
    n, k = size
    assert [subset(rank, n, k) for rank in range(comb(n, k))] == list(combinations(range(n), k))


@given(SIZES, st.integers(0, 5))
@settings(deadline=None)
def test_every_combination_comes_once_from_either_end(size: tuple[int, int], seed: int) -> None:
    walk = Combinations(*size, seed)
    front = [walk.first(place) for place in range(walk.total)]
    assert sorted(front) == list(combinations(range(size[0]), size[1]))
    assert [walk.last(place) for place in range(walk.total)] == front[::-1]
    with pytest.raises(IndexError):
        walk.first(walk.total)


@given(SIZES, st.integers(0, 5))
@settings(deadline=None)
def test_the_uses_of_two_skills_never_differ_by_more_than_k(size: tuple[int, int], seed: int) -> None:
    skills, k = size
    walk, uses = Combinations(skills, k, seed), Counter(dict.fromkeys(range(skills), 0))
    for place in range(walk.total):
        uses.update(walk.first(place))
        assert max(uses.values()) - min(uses.values()) <= k


@given(st.permutations(range(40)))
def test_a_place_holds_the_same_whatever_is_asked_first(order: list[int]) -> None:
    walk, expected = Combinations(12, 3, 4), Combinations(12, 3, 4)
    assert {place: walk.first(place) for place in order} == {place: expected.first(place) for place in range(40)}


def test_a_hundred_million_combinations_are_not_made_first() -> None:
    walk = Combinations(1000, 3, 0)
    assert walk.total == 166_167_000
    found = [walk.first(place) for place in range(3000)]
    assert len(set(found)) == 3000
    assert set(Counter(skill for combination in found for skill in combination).values()) == {9}
    assert not set(found) & {walk.last(place) for place in range(300)}


def test_the_seed_decides() -> None:
    one, other = ([Combinations(60, 2, seed).first(place) for place in range(20)] for seed in (1, 2))
    assert one != other


@pytest.mark.parametrize(("skills", "k"), [(3, 4), (3, 0)])
def test_impossible_combinations(skills: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k} of {skills} skills: k must be 1 to 3"):
        Combinations(skills, k, 0)


@given(st.integers(2, 40), st.integers(0, 39), st.integers(1, 3), st.integers(1, 13), st.integers(0, 3))
@settings(deadline=None)
def test_draws(n: int, held_out: int, k: int, types: int, seed: int) -> None:
    held_out = min(held_out, n - 1)
    draws = Draws(11, k, types, n=n, held_out=held_out, seed=seed)
    rows = min(3 * n, draws.combinations.total)
    places = [draws.place(index) for index in range(rows)]
    for split in ("train", "test"):
        own = [index for index, place in enumerate(places) if place[0] == split]
        assert [places[index][1] for index in own] == list(range(len(own)))
        kinds = Counter(dict.fromkeys(range(types), 0))
        for index in own:
            kinds[draws.query_type(index)] += 1
            assert max(kinds.values()) - min(kinds.values()) <= 1
    assert sum(split == "test" for split, _ in places[:n]) == (held_out if rows >= n else sum(s == "test" for s, _ in places[:n]))
    assert len({draws.skills(index) for index in range(rows)}) == rows
