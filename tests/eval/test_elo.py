"""Online Elo against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from games import connected
from hypothesis import given, settings

from pica.eval.battles import Battles
from pica.eval.elo import elo
from pica.synth.errors import UsageError


@settings(max_examples=40, deadline=None)
@given(connected())
def test_elo_is_that_of_a_loop(battles: Battles) -> None:
    initial = {"m0": 1200.0}
    generator = np.random.default_rng(5)
    finals = []
    for order in (np.arange(len(battles)), *(generator.permutation(len(battles)) for _ in range(3))):
        rating = {model: initial.get(model, 1000.0) for model in battles.models}
        for game in order:
            a, b = battles.models[battles.a[game]], battles.models[battles.b[game]]
            expected = 1 / (1 + 10 ** ((rating[b] - rating[a]) / 400))
            change = 4 * battles.weight[game] * (battles.outcome[game] - expected)
            rating[a], rating[b] = rating[a] + change, rating[b] - change
        finals.append([rating[model] for model in battles.models])
    np.testing.assert_allclose(elo(battles, initial=initial).ratings, finals[0])
    shuffled = elo(battles, initial=initial, rounds=3, seed=5)
    np.testing.assert_allclose(shuffled.ratings, np.mean(finals[1:], axis=0))
    np.testing.assert_allclose([shuffled.lower, shuffled.upper], np.quantile(finals[1:], [0.025, 0.975], axis=0))


def test_elo_explains_itself_and_refuses_nonsense() -> None:
    battles = Battles.of(["a"], ["b"], [1])
    assert elo(battles, k=32).ratings.tolist() == [1016, 984]
    assert elo(battles).explain() == ("Online Elo of 2 models, K = 4, one pass in the order of the games; another order gives "
                                      "other ratings.")
    assert "mean over 2 shuffled orders" in elo(battles, rounds=2).explain()
    with pytest.raises(UsageError, match="k 0 and rounds 0"):
        elo(battles, k=0)
