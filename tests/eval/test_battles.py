"""Battles: coding, counting, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pica.eval.battles import Battles
from pica.synth.errors import UsageError


def test_battles_are_coded_by_name() -> None:
    battles = Battles.of(["z", "a", "z"], ["a", "m", "m"], [1, None, 0.5], weight=[3, 1, 1], prompt=["p2", "p1", "p0"])
    assert battles.models == ("a", "m", "z")
    assert (battles.a.tolist(), battles.b.tolist()) == ([2, 2], [0, 1])
    assert (battles.outcome.tolist(), battles.weight.tolist()) == ([1, 0.5], [3, 1])
    assert (battles.prompt.tolist(), battles.prompts, battles.row.tolist()) == ([1, 0], 2, [0, 2])
    assert battles.unscored == (1, 1, 0)
    assert (len(battles), battles.games.tolist()) == (2, [1, 1, 2])


def test_codes_and_names_make_the_same_battles() -> None:
    names = ["x", "b", "q"]
    a, b = np.array([0, 1, 2]), np.array([1, 2, 0])
    by_code = Battles.of(a, b, np.array([1, np.nan, 0.0]), models=names, prompt=np.array([70_000_000, 5, 5]))
    by_name = Battles.of([names[i] for i in a], [names[i] for i in b], [1, None, 0], prompt=["z", "a", "a"])
    for field in ("models", "unscored", "prompts"):
        assert getattr(by_code, field) == getattr(by_name, field)
    for field in ("a", "b", "outcome", "weight", "prompt", "row"):
        assert getattr(by_code, field).tolist() == getattr(by_name, field).tolist()


def test_pairs_add_up_both_directions() -> None:
    pairs = Battles.of(["a", "b", "b", "c"], ["b", "a", "a", "a"], [1, 0.5, 1, 0], weight=[3, 1, 1, 2]).pairs()
    assert (pairs.i.tolist(), pairs.j.tolist()) == ([0, 0], [1, 2])
    assert (pairs.wins.tolist(), pairs.total.tolist()) == ([3.5, 2], [5, 2])


def test_games_of_weight_zero_are_left_out() -> None:
    battles = Battles.of(["a", "a"], ["b", "b"], [1, 0], weight=[0, 1])
    assert (len(battles), battles.unscored, battles.row.tolist()) == (1, (0, 0), [1])


@pytest.mark.parametrize(("arguments", "says"), [
    ({"model_a": ["a", "a"]}, "differ in length: 2 model_a, 1 model_b"),
    ({"outcome": [1.5]}, "game 0: outcome 1.5; allowed: 0"),
    ({"model_b": ["a"]}, "game 0: model 'a' against itself"),
    ({"weight": [-1]}, "game 0: weight -1"),
    ({"weight": [float("nan")]}, "game 0: weight nan"),
    ({"models": ["a", "a"], "model_a": [0], "model_b": [1]}, "named twice: a"),
    ({"models": ["a", "b"], "model_a": np.array([0]), "model_b": np.array([2])}, "from 0 to 1"),
])
def test_bad_battles_are_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        Battles.of(**{"model_a": ["a"], "model_b": ["b"], "outcome": [1], **arguments})


def test_an_unknown_model_and_no_verdict_at_all() -> None:
    with pytest.raises(UsageError, match="no battle of model 'c'; models with battles: a, b"):
        Battles.of(["a"], ["b"], [1]).code("c")
    with pytest.raises(UsageError, match=r"no game has a verdict \(1 unscored\)"):
        Battles.of(["a"], ["b"], [None]).pairs()
