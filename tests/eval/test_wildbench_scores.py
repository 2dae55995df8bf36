"""WildBench's arithmetic against its published tables and small cases."""

from __future__ import annotations

import math
from typing import Any

import pytest
from goldens import golden, needs_golden

from pica.eval.elo import elo
from pica.eval.means import mean
from pica.eval.wildbench_scores import (
    WEIGHTS,
    Outcomes,
    adjusted,
    groups_of,
    mix,
    penalised,
    task_macro,
    virtual_battles,
    wb_elo,
    worth,
)
from pica.synth.errors import UsageError

BASELINES = ("gpt4t", "haiku", "llama")


def outcomes(row: dict[str, Any]) -> Outcomes:
    return Outcomes(*(row[key] for key in ("win_much", "win", "tie", "lose", "lose_much")))


@needs_golden
@pytest.mark.parametrize("limit", [-1, 500])
@pytest.mark.parametrize("baseline", BASELINES)
def test_published_rewards(baseline: str, limit: int) -> None:
    rows = golden(f"wildbench/pairwise-{baseline}-K={limit}.json")
    assert len(rows) > 50
    for row in rows.values():
        assert outcomes(row).reward(total=row["total"]) == pytest.approx(row["reward"], abs=1e-12)
        by_group = {group: outcomes(counts).reward() for group, counts in row["task_categorized_results"].items()}
        assert by_group == pytest.approx(row["task_categorized_rewards"], abs=1e-12)
        assert task_macro(by_group, official=True) == pytest.approx(row["task_macro_reward"], abs=1e-12)


@needs_golden
def test_published_scores() -> None:
    rows = golden("wildbench/score.json")
    assert len(rows) == 61
    for row in rows.values():
        assert adjusted(row["score"]) == pytest.approx(row["adjusted_score"], abs=1e-12)
        assert task_macro(row["task_categorized_scores"], official=True) == pytest.approx(row["task_macro_score"], abs=1e-12)


@needs_golden
@pytest.mark.parametrize("limit", [-1, 500])
def test_published_mixes(limit: int) -> None:
    rows = golden(f"wildbench/all_stat_wildbench.{limit}.json")
    assert len(rows) == 61
    for row in rows.values():
        rewards = {baseline: row[f"{baseline}_reward.K={limit}"] for baseline in BASELINES}
        assert mix(rewards, official=True) == pytest.approx(row[f"mixture_of_rewards.K={limit}"], abs=1e-9)


def test_rewards() -> None:
    made = Outcomes.of([2, 1, 1, 0, -1, -2, -2])
    assert made == Outcomes(1, 2, 1, 1, 2)
    assert (made.counted, made.reward(), made.reward(total=10)) == (7, -0.5 / 7, -0.05)
    assert mean(worth([2, 1, 1, 0, -1, -2, -2]), bounds=(-1, 1)).value == pytest.approx(made.reward())
    assert made.explain() == "WB-Reward -0.0714 over 7 battles: 1 much better, 2 better, 1 ties, 1 worse, 2 much worse."
    assert math.isnan(Outcomes.of([]).reward())
    with pytest.raises(UsageError, match="extent 3; allowed: 2, 1, 0, -1, -2"):
        Outcomes.of([3])


def test_only_slight_wins_of_the_longer_answer_are_bought() -> None:
    extent = [1, 1, 1, -1, -1, 2, -2, 0]
    length = [900, 501, 500, 0, 900, 900, 0, 900]
    baseline = [0, 0, 0, 900, 0, 0, 900, 0]
    assert penalised(extent, length, baseline, limit=500).tolist() == [0, 0, 1, 0, -1, 2, -2, 0]
    assert penalised(extent, length, baseline, limit=-1).tolist() == extent


def test_averages_over_tasks_and_baselines() -> None:
    assert groups_of(["Math", "Editing", "Data Analysis"]) == ["Creative Tasks", "Math & Data Analysis"]
    assert task_macro(dict.fromkeys(WEIGHTS, 0.3)) == pytest.approx(0.3)
    assert task_macro({"Creative Tasks": 0.2, "Coding & Debugging": 0.9}) == pytest.approx((0.1 + 1.125) / 1.75)
    assert task_macro({"Creative Tasks": 0.2, "Coding & Debugging": 0.9}, official=True) == pytest.approx((0.1 + 1.125) / 4.75)
    assert (mix({"a": 0.5, "b": 0.1}), mix({"a": 0.5, "b": None}, official=True)) == (pytest.approx(0.3), 0.25)
    assert math.isnan(task_macro({}))
    for wrong, says in ((lambda: mix({"a": 0.5, "b": None}), "no reward against b"), (lambda: mix({}), "against any baseline"),
                        (lambda: task_macro({"Maths": 1}), "unknown group of tasks 'Maths'"),
                        (lambda: groups_of(["Maths"]), "unknown WildBench tag 'Maths'")):
        with pytest.raises(UsageError, match=says):
            wrong()


def test_virtual_battles() -> None:
    scores = {"x": {"1": 8, "2": 5, "3": 9, "4": 7}, "y": {"1": 6, "2": 6, "3": 2}}
    lengths = {"x": {"1": 10, "2": 10, "3": 2000, "4": 10}, "y": {"1": 10, "2": 10, "3": 10}}
    battles = virtual_battles(scores, lengths)
    assert (battles.outcome.tolist(), battles.prompts) == ([1, 0.5, 0.5], 3)
    assert virtual_battles(scores, lengths, limit=None, margin=1).outcome.tolist() == [1, 0, 1]
    made, expected = wb_elo(battles, initial={"x": 1100}, rounds=8), elo(battles, k=4, initial={"x": 1100}, rounds=8, seed=42)
    assert made.ratings.tolist() == expected.ratings.tolist()
