"""Rows selected from a simulated population of battles: falling with k, and with the iterations of a target that learns.

Published, of 30K prompts an iteration: 14.6K with k=3, then 11.3K and 7.8K with k=1 (arXiv 2407.10627).
"""

from __future__ import annotations

import random

import pytest
from arena_battles import battle

from pica.recipes.arena_learning.rules import Rules
from pica.recipes.arena_learning.select import Fought, Selected, fought, select

PROMPTS = 600
RIVALS = {"command": 1.0, "qwen": 1.3, "openchat": 0.8}
#: the target's strength in each iteration, in points; its rivals stay as they are
ITERATIONS = (-1.0, 1.5, 2.1)
PUBLISHED = ((3, 14.6 / 30), (1, 11.3 / 30), (1, 7.8 / 30))


def scores(rng: random.Random, mine: float, theirs: float, first: bool) -> tuple[float, float]:
    """What a judge says that likes the first place a little, whole points from 1 to 10."""
    noisy = (6 + mine + 0.3 * first + rng.gauss(0, 0.8), 6 + theirs + 0.3 * (not first) + rng.gauss(0, 0.8))
    mine, theirs = (float(min(10, max(1, round(value)))) for value in noisy)
    return mine, theirs


def population(seed: int, strength: float) -> list[tuple[Fought, ...]]:
    """The battles of a target of this strength, prompt by prompt; its answers vary more than its rivals'."""
    rng = random.Random(f"{seed} {strength}")
    found = []
    for task in range(PROMPTS):
        own = rng.gauss(strength, 1.6)
        against = {rival: rng.gauss(theirs, 1.0) for rival, theirs in RIVALS.items()}
        rows = [battle(rival, *(scores(rng, own, theirs, first) for first in (True, False)), task=str(task))
                for rival, theirs in against.items()]
        found.append(fought(rows, "mine", Rules()))
    return found


def selected(battles: list[tuple[Fought, ...]], rules: Rules, *, dpo: bool = False) -> int:
    """Prompts that are selected."""
    return sum(isinstance(select(some, rules, "dpo" if dpo else "sft", seed=0), Selected) for some in battles)


@pytest.mark.parametrize("seed", range(3))
def test_fewer_rows_with_every_k_and_every_iteration(seed: int) -> None:
    by_iteration = [population(seed, strength) for strength in ITERATIONS]
    table = [[selected(battles, Rules(k=k)) for k in range(9)] for battles in by_iteration]
    for row in table:
        assert row == sorted(row, reverse=True) and row[0] > row[3] > row[6]
    for k in range(6):
        column = [row[k] for row in table]
        assert column == sorted(column, reverse=True) and column[0] > column[-1]
    presets = [selected(by_iteration[0], Rules()), *(selected(battles, Rules(preset="later")) for battles in by_iteration[1:])]
    assert presets == [table[0][3], table[1][1], table[2][1]]
    assert presets[0] > presets[1] > presets[2]
    assert [count / PROMPTS for count in presets] == pytest.approx([share for _, share in PUBLISHED], abs=0.08)
    pairs = [selected(battles, Rules(), dpo=True) for battles in by_iteration]
    assert pairs == [row[2] for row in table]
