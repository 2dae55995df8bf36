"""Battles made up for tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from pica.eval.battles import Battles, Floats


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


@st.composite
def connected(draw: st.DrawFn, weighted: bool = True) -> Battles:
    """Battles in which every pair of neighbours in a ring scored against each other, so that all ratings are finite."""
    n = draw(st.integers(2, 6))
    games = [(i, (i + 1) % n, 0.5, i) for i in range(n)]
    games += draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from([0.0, 0.5, 1.0]),
                                     st.integers(0, 7)).filter(lambda game: game[0] != game[1]), max_size=40))
    a, b, outcome, prompt = zip(*games, strict=True)
    weight = draw(st.lists(st.sampled_from([1, 3] if weighted else [1]), min_size=len(games), max_size=len(games)))
    return Battles.of([f"m{i}" for i in a], [f"m{i}" for i in b], outcome, weight=weight, prompt=prompt)
