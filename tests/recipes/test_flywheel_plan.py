"""What a campaign would do: sums over steps and iterations, unknown figures kept unknown, a text that a person can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from campaigns import settings
from tiny_llama import build_tiny

from pica.recipes.arena_learning.sources import NEEDED
from pica.recipes.flywheel.ahead import plan
from pica.recipes.flywheel.config import FlywheelConfig
from pica.recipes.flywheel.plan import MOST_LINES, TIMES, FlywheelPlan, PlannedStep, TrainEstimate, plan_campaign
from pica.synth.config import parse_config
from pica.synth.errors import UsageError
from pica.synth.models.base import ModelConfig
from pica.synth.plan import Plan, Step

LOCAL = ModelConfig(name="local")
PAID = ModelConfig(name="openai/judge", price_prompt=1.0, price_completion=2.0)  # dollars a million tokens
UNPRICED = ModelConfig(name="openai/judge")
STAGES = ("sft", "dpo", "reward", "online")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


def battles(rows: int, judge: ModelConfig = PAID) -> Plan:
    """An answer of 300 tokens and two verdicts of 150 a row."""
    return Plan(rows, [Step("answer", LOCAL, 1, 200, 300), Step("judge", judge, 2, 1000, 150)])


def training(stage: str = "sft", rows: int = 100, parameters: int | None = 1_000_000, device: str = "cpu") -> TrainEstimate:
    return TrainEstimate(stage, rows, rows // 10, rows * 500, parameters, device)


def turn(rows: int, judge: ModelConfig = PAID) -> dict[str, Any]:
    """An iteration of all stages."""
    steps: dict[str, Any] = {}
    for stage in STAGES:
        if stage != "online":
            steps[f"battles-{stage}"] = battles(rows, judge)
        steps[stage] = training(stage, rows)
    return {**steps, "evaluation": battles(200, judge)}


def test_a_campaign_is_the_sum_of_its_steps() -> None:
    plan = plan_campaign({"evaluation": battles(10)}, [{"battles-sft": battles(100), "sft": training()}] * 2, ["a note"])
    assert plan.iterations[0] == plan.iterations[1] == (
        PlannedStep("battles-sft", 300, 220_000, 60_000, cost=0.26, seconds=100 * (300 / 150 + 300 / 5000)),
        PlannedStep("sft", train_rows=100, train_steps=10, train_tokens=50_000, seconds=6 * 1e6 * 50_000 / 1e11))
    assert [step.name for step in plan.start] == ["evaluation"]
    assert plan.whole.to_json() == {
        "name": "total", "calls": 630, "prompt_tokens": 462_000, "completion_tokens": 126_000, "train_rows": 200,
        "train_steps": 20, "train_tokens": 100_000, "cost": pytest.approx(0.546), "seconds": pytest.approx(20.6 + 2 * (206 + 3))}
    assert plan.notes == ["a note"]


@pytest.mark.parametrize(("stage", "device", "parameters", "seconds"), [
    ("sft", "cpu", 10**8, 300.0), ("dpo", "cpu", 10**8, 600.0), ("reward", "cpu", 10**8, 300.0), ("online", "cpu", 10**8, 1200.0),
    ("sft", "cuda", 10**9, 3.0), ("sft", "cuda:1", 10**9, 3.0), ("sft", "mps", 10**8, 15.0), ("sft", "cpu", None, None),
    ("sft", "abacus", 10**8, None)])
def test_the_time_of_a_training(stage: str, device: str, parameters: int | None, seconds: float | None) -> None:
    assert TrainEstimate(stage, 100, 10, 50_000, parameters, device).seconds == seconds
    assert stage in TIMES


def test_what_is_unknown_of_a_step_is_unknown_of_the_whole() -> None:
    free = plan_campaign({}, [{"battles-sft": battles(100), "sft": training(parameters=None)}])
    assert (free.whole.cost, free.whole.seconds) == (0.26, None)
    assert "\ncost   $0.26\ntime   about 3m26s, and that of sft, which is unknown\n" in free.text()
    paid = plan_campaign({}, [{"battles-sft": battles(100, UNPRICED), "battles-dpo": battles(50), "sft": training()}])
    assert (paid.whole.cost, paid.whole.calls) == (None, 450)
    assert ("\ncost   unknown: state price_prompt and price_completion of every model that is paid for, beside $0.13 for the "
            "rest\n" in paid.text())


def test_the_text_of_a_small_plan() -> None:
    plan = plan_campaign({"evaluation": battles(10)}, [{"battles-sft": battles(100), "sft": training()}] * 3, ["prompts 310"])
    assert [line.rstrip() for line in plan.text().splitlines()] == [
        "3 iterations; rows and steps are at most, as if every battle were lost and selected;",
        "all else is an estimate: typical lengths, and no second try of a call or a verdict",
        "",
        "step                    calls  prompt tokens   completion     rows   steps  train tokens      cost     time",
        "start",
        "  evaluation               30         22,000        6,000        -       -             -     $0.03      21s",
        "iterations 1 to 3, each (x 3)",
        "  battles-sft             300        220,000       60,000        -       -             -     $0.26    3m26s",
        "  sft                       -              -            -      100      10        50,000         -       3s",
        "",
        "total                     930        682,000      186,000      300      30       150,000     $0.81   10m48s",
        "",
        "cost   $0.81",
        "time   about 10m48s",
        "prompts 310",
        "nothing was asked and nothing was trained"]


def lines_of(plan: FlywheelPlan) -> list[str]:
    found = plan.text().splitlines()
    assert len(found) <= MOST_LINES and max(map(len, found)) <= 120
    return found


def test_iterations_that_are_alike_are_shown_once() -> None:
    lines = lines_of(plan_campaign({"evaluation": battles(200)}, [turn(3000), *[turn(1000)] * 8]))
    assert [line for line in lines if line.startswith(("start", "iteration"))] == [
        "start", "iteration 1", "iterations 2 to 9, each (x 8)"]


def test_nine_different_iterations_are_summed_by_iteration_and_by_step() -> None:
    plan = plan_campaign({"evaluation": battles(200)}, [turn(1000 * number) for number in range(1, 10)])
    lines = lines_of(plan)
    first, second = lines.index("by iteration"), lines.index("by step, all iterations together")
    assert [line[:18].strip() for line in lines[first + 1:second]] == ["start", *(f"iteration {n}" for n in range(1, 10))]
    by_step = lines[second + 1:lines.index("", second)]
    assert [line[:18].strip() for line in by_step] == [
        "battles-sft", "sft", "battles-dpo", "dpo", "battles-reward", "reward", "online", "evaluation"]
    calls = [int(line[18:29].replace(",", "").replace("-", "0")) for line in lines[first + 1:] if line.startswith("  ")]
    start = plan.start[0].calls
    assert sum(calls[:10]) == sum(calls[10:]) + start == plan.whole.calls


def test_the_plan_for_programs_holds_every_figure() -> None:
    plan = plan_campaign({"evaluation": battles(10)}, [{"battles-sft": battles(100, UNPRICED), "sft": training()}], ["a note"])
    found = json.loads(json.dumps(plan.to_json()))
    assert list(found) == ["at_most", "total", "start", "iterations", "notes"]
    assert (found["at_most"], found["notes"], found["total"]["cost"]) == (
        ["train_rows", "train_steps"], ["a note"], None)
    assert found["iterations"] == [[
        {"name": "battles-sft", "calls": 300, "prompt_tokens": 220_000, "completion_tokens": 60_000, "train_rows": 0,
         "train_steps": 0, "train_tokens": 0, "cost": None, "seconds": 206.0},
        {"name": "sft", "calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "train_rows": 100, "train_steps": 10,
         "train_tokens": 50_000, "cost": 0.0, "seconds": 3.0}]]


# ---- of a campaign's settings ----


@pytest.mark.parametrize(("more", "first", "second"), [
    ({}, [2, 2, 4, 2], [2, 2, 4, 2]), ({"dpo": {"wins": True}}, [2, 4, 4, 2], [2, 4, 4, 2]),
    ({"reward": {"wins": False}}, [2, 2, 4, 2], [2, 2, 4, 2]),
    ({"accumulate": True}, [2, 2, 4, 2], [4, 4, 8, 4])])
def test_rows_are_as_many_as_battles_can_bring(tmp_path: Path, model: Path, more: dict[str, Any], first: list[int],
                                               second: list[int]) -> None:
    """Parts of 2 prompts and two rivals; the earlier evaluation has 3 battles, learnt from once."""
    given = tmp_path / "battles.jsonl"
    battle = dict.fromkeys(NEEDED, "t")
    given.write_text(f"{json.dumps(battle)}\n" * 3, encoding="utf-8")
    for battles, extra in (([], 0), ([str(given)], 3)):
        values = settings(tmp_path, model, stages=list(STAGES), online={"train": {"max_length": 64}}, battles=battles,
                          part_size=2, **{
            "sft": {}, "dpo": {}, **more})
        found = plan(parse_config(FlywheelConfig, values)).to_json()["iterations"]
        rows = [[step["train_rows"] for step in steps if step["name"] in STAGES] for steps in found]
        again = extra if more.get("accumulate") else 0
        assert rows == [[count + extra for count in first], [count + again for count in second]]


@pytest.mark.parametrize(("more", "said"), [
    ({"iterations": 5}, "24 prompts less held_out=8 are too few for 5 iterations of 1 parts of 4"),
    ({"battles": ["nowhere"]}, "battles: there is no file or folder nowhere"),
    ({"part_size": 0, "iterations": 17}, "24 prompts less held_out=8 are too few for 17 iterations of 1 parts; give")])
def test_what_cannot_work_shows_in_the_plan(tmp_path: Path, model: Path, more: dict[str, Any], said: str) -> None:
    assert plan(parse_config(FlywheelConfig, settings(tmp_path, model, iterations=4))).to_json()["iterations"]
    with pytest.raises(UsageError, match=said):
        plan(parse_config(FlywheelConfig, settings(tmp_path, model, **more)))
