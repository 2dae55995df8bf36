"""Online training: real steps of TRL's three trainers on a tiny random Llama, scored through the ledger."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from small import Scripted
from variants import classifier

from pica.synth.config import parse_config
from pica.synth.errors import BudgetSpent, Denied, TooManyFailures, UsageError
from pica.synth.ledger import read_calls
from pica.synth.models import open_model
from pica.synth.models.base import Request, Sampling, user
from pica.synth.models.fake import ScriptedModel
from pica.train.checkpoints import checkpoints, step_of
from pica.train.online import STAGE, OnlineConfig
from pica.train.report import read_metrics
from pica.train.run import train

pytestmark = pytest.mark.filterwarnings("ignore")  # the trainers' own warnings are not ours to mend

ROWS = [{"prompt": f"Say something about the number {number}.", "completion": "never"} for number in range(8)]


def config_of(**values: Any) -> OnlineConfig:
    return parse_config(OnlineConfig, {"method": "grpo", "batch_size": 2, "answer_tokens": 6, "max_length": 160, "log_steps": 1,
                                       "learning_rate": 1e-2, "max_steps": 2, "device": "cpu", "schedule": "constant",
                                       "warmup": 0, **values})


class Lab:
    """Trains the tiny model on eight prompts, as `pica train online` does."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.out = model, folder / "m"
        folder.mkdir(exist_ok=True)
        self.data = folder / "prompts.jsonl"
        self.write(ROWS)

    def write(self, rows: list[dict[str, Any]]) -> None:
        self.data.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def train(self, **values: Any) -> dict[str, Any]:
        return train(STAGE, config_of(data=str(self.data), model=str(self.model), **values), self.out).manifest

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return read_metrics(self.out / "metrics.jsonl")

    def moved(self) -> float:
        """How far the saved weights are from those that were started from."""
        from safetensors.torch import load_file

        before, after = (load_file(folder / "model.safetensors") for folder in (self.model, self.out))
        assert set(before) == set(after)
        return sum(float((after[name].float() - before[name].float()).norm()) for name in before)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of torch that wait for one another cost more than they bring to a model this small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def lab(tiny: Path, tmp_path: Path) -> Lab:
    return Lab(tiny, tmp_path)


def grade(request: Request) -> str:
    """A grade that follows from the whole prompt."""
    return orjson.dumps({"explanation": "Fine.", "score": 1 + sum(request.messages[0]["content"].encode()) % 10}).decode()


@pytest.fixture
def judge(scripted: Scripted) -> ScriptedModel:
    return scripted("judge", lambda request, sample: grade(request))[1]


@pytest.mark.parametrize(("method", "answers"), [("online_dpo", 2), ("rloo", 4), ("grpo", 8)])
async def test_steps_of_each_method(method: str, answers: int, lab: Lab, judge: ScriptedModel) -> None:
    manifest = lab.train(method=method, rewards=[{"judge": judge.name}])
    notes, calls = manifest["notes"]["online"], list(read_calls(lab.out / "ledger.sqlite"))
    assert notes["answers"] == {"scored": 2 * 2 * answers, "unscored": {}}  # steps x prompts x answers
    assert len(calls) == len(judge.requests) == notes["calls"]["made"] > answers
    assert notes["rewards"]["name"] == "scripted/judge (judge, 1 to 10)"
    assert manifest["steps"] == 2 and math.isfinite(manifest["loss"]["last"]) and lab.moved() > 0
    assert [line["unscored"] for line in lab.metrics] == [0.0, 0.0]
    assert all(1 <= line["score"] <= 10 for line in lab.metrics)
    assert "Score of the answers" in (lab.out / "report.html").read_text(encoding="utf-8")
    model = open_model(f"hf/{lab.out}")
    (answer,) = await model.generate(Request(task="chat", messages=(user("Hello"),), sampling=Sampling(max_tokens=4), seed=1))
    await model.close()
    assert answer.completion_tokens > 0


@pytest.mark.parametrize("method", ["online_dpo", "rloo"])
def test_a_judge_that_goes_away_stops_and_the_same_command_goes_on(method: str, lab: Lab, scripted: Scripted) -> None:
    """Nothing is asked twice, and the end is the same as without the interruption."""
    def reply(request: Request, sample: int) -> str:
        if len(model.requests) == limit:
            raise Denied("scripted/judge refuses the key; set OPENAI_API_KEY")
        return grade(request)

    limit = 10
    _, model = scripted("judge", reply)
    settings = {"method": method, "k": 2, "max_steps": 4, "rewards": [{"judge": "scripted/judge"}], "concurrency": 1}
    with pytest.raises(Denied, match=r"^scripted/judge refuses the key; set OPENAI_API_KEY; the checkpoint of step 2 is kept, "
                                     r"and the same command goes on from it$"):
        lab.train(**settings)
    assert [step_of(found) for found in checkpoints(lab.out / "checkpoints")] == [2]
    made = len(list(read_calls(lab.out / "ledger.sqlite")))
    limit = 10**9
    notes = lab.train(**settings)["notes"]["online"]
    asked = [(request.messages, request.seed) for request in model.requests if request is not model.requests[9]]
    assert len(asked) == len({repr(one) for one in asked}) == made + notes["calls"]["made"]
    assert notes["calls"]["cached"] >= 1
    scores, weights = [line["score"] for line in lab.metrics], lab.moved()
    whole = Lab(lab.model, lab.data.parent / "whole")
    whole.train(**settings)
    assert ([line["score"] for line in whole.metrics], whole.moved()) == (scores, pytest.approx(weights))


def test_a_pair_without_two_different_scores_teaches_nothing(lab: Lab) -> None:
    manifest = lab.train(method="online_dpo", max_steps=1, rewards=[{"rule": "format", "pattern": ""}])
    assert lab.moved() == 0 and manifest["loss"]["last"] == pytest.approx(math.log(2), abs=1e-4)
    assert [line["unused_pairs"] for line in lab.metrics] == [1.0]


def odd_ones_out(request: Request) -> str:
    """A grade for what is asked about even numbers; for others nothing that can be read."""
    number = int(request.messages[0]["content"].partition("the number ")[2][0])
    return "What?" if number % 2 else grade(request)


def test_answers_without_a_score_are_left_out(lab: Lab, scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    scripted("even", lambda request, sample: odd_ones_out(request))
    notes = lab.train(method="grpo", k=2, batch_size=4, rewards=[{"judge": "scripted/even", "tries": 2}])["notes"]["online"]
    assert notes["answers"] == {"scored": 8, "unscored": {"unparsed": 8}}
    assert sum(line["unscored"] for line in lab.metrics) == pytest.approx(1.0)
    assert min(line["reward"] for line in lab.metrics if "reward" in line) >= 1  # nor is it 0 in TRL's own mean
    assert "All reward functions returned None" not in caplog.text  # TRL would show each of them


def test_pairs_without_a_score_teach_nothing(lab: Lab, scripted: Scripted) -> None:
    lab.write(ROWS[1:2] * 2)
    scripted("even", lambda request, sample: odd_ones_out(request))
    manifest = lab.train(method="online_dpo", max_steps=1, rewards=[{"judge": "scripted/even", "tries": 1}])
    assert manifest["notes"]["online"]["answers"] == {"scored": 0, "unscored": {"unparsed": 4}}
    assert lab.moved() == 0


def test_a_judge_that_is_never_understood_stops_the_training(lab: Lab) -> None:
    with pytest.raises(TooManyFailures, match=r"^none of the last \d+ answers got a score from fake/nonsense \(judge, 1 to 10\), "
                                              r"the last because: unparsed"):
        lab.train(max_steps=8, rewards=[{"judge": "fake/nonsense", "tries": 1}])


def test_a_budget_stops_the_training(lab: Lab) -> None:
    with pytest.raises(BudgetSpent, match=r"budget.calls=5 does not cover the next call"):
        lab.train(rewards=[{"judge": "fake/magpie"}], budget={"calls": 5})
    assert len(list(read_calls(lab.out / "ledger.sqlite"))) <= 5


def test_time_is_capped_as_for_every_stage_and_scores_are_kept(lab: Lab) -> None:
    settings = {"method": "rloo", "k": 2, "rewards": [{"judge": "fake/judge"}]}
    with pytest.raises(BudgetSpent, match=r"^budget.seconds=1e-09 has passed at step 1 of 2 \("):
        lab.train(**settings, budget={"seconds": 1e-9, "calls": 100})
    scores = [line["score"] for line in lab.metrics]
    lab.train(**settings, budget={"calls": 100})
    assert len(scores) == 1 and [line["step"] for line in lab.metrics] == [1, 2]
    whole = Lab(lab.model, lab.data.parent / "whole")
    whole.train(**settings)
    assert [line["score"] for line in whole.metrics] == [line["score"] for line in lab.metrics] and whole.moved() == lab.moved()


def test_rewards_look_at_columns_of_the_data(lab: Lab) -> None:
    rewards = [{"rule": "exact", "column": "completion"}, {"rule": "length", "target": 3, "weight": 0.5}]
    notes = lab.train(method="rloo", k=2, rewards=rewards)["notes"]["online"]
    assert {name for name in lab.metrics[0] if name.startswith("score/")} == {
        "score/rule: exact completion (0 to 1)", "score/rule: length 3 words (0 to 1)"}
    assert notes["calls"] == {"made": 0, "cached": 0, "failed": 0} and notes["answers"]["scored"] == 8
    lab.write([{"prompt": row["prompt"]} for row in ROWS])
    with pytest.raises(UsageError, match="no column 'completion', which a reward needs"):
        lab.train(rewards=rewards)


def test_a_reward_model_in_this_process(lab: Lab, tmp_path: Path) -> None:
    folder = classifier(lab.model, tmp_path / "rm", "helpful", "short")
    notes = lab.train(method="online_dpo", rewards=[{"model": f"hf/{folder}", "weights": {"helpful": 2, "short": -1}}])["notes"]
    line = lab.metrics[-1]
    assert line["score"] == pytest.approx(2 * line["score/helpful"] - line["score/short"], abs=1e-5)
    assert notes["online"]["rewards"]["attributes"] == ["helpful", "short"]


def test_evaluation_scores_answers_too(lab: Lab) -> None:
    lab.train(k=2, rewards=[{"rule": "length", "target": 3}], eval_data=str(lab.data), eval_steps=1, max_steps=1)
    assert any("eval_reward" in line for line in lab.metrics)


def test_with_adapters(lab: Lab) -> None:
    lab.train(method="online_dpo", lora={"r": 2}, rewards=[{"rule": "length", "target": 3}], max_steps=1, learning_rate=0.1)
    assert lab.moved() > 0


def test_what_does_not_fit_is_said_before_the_model_is_loaded(lab: Lab) -> None:
    rewards = [{"rule": "distinct"}]
    for values, message in [({"batch_size": 10}, "the data has 8 prompts and a step takes batch_size=10; give batch_size=8 or"),
                            ({"answer_tokens": 4000}, "max_length=160 and answer_tokens=4000 are more than the 2048 tokens that"),
                            ({"max_length": 8}, "no row is left to learn from: .* 8 rows with 'too long'")]:
        with pytest.raises(UsageError, match=message):
            lab.train(rewards=rewards, **values)
        shutil.rmtree(lab.out, ignore_errors=True)


@pytest.mark.parametrize(("values", "message"), [
    ({"rewards": []}, "no rewards; give rewards="),
    ({"rewards": [{"rule": "lenght"}]}, "unknown rule 'lenght'; known: length, format, exact, distinct"),
    ({"method": "online_dpo", "k": 4}, "k=4: online_dpo compares 2 answers"),
    ({"method": "grpo", "k": 1}, "k=1: grpo compares answers to the same prompt"),
    ({"method": "online_dpo", "eval_data": "D"}, "TRL's online_dpo cannot evaluate while it trains"),
    ({"method": "online_dpo", "processes": 2, "parallel": "zero3"}, "cannot copy its reference under parallel=zero3"),
    ({"trl": {"num_generation": 3}}, "unknown key trl.num_generation; did you mean trl.num_generations"),
    ({"trl": {"num_generations": 3}}, "trl.num_generations is set by the stage's own field"),
    ({"trl": {"max_steps": 3}}, "trl.max_steps is set by Pica; use max_steps instead"),
    ({"method": "online_dpo", "trl": {"scale_rewards": "none"}}, "unknown key trl.scale_rewards"),
])
def test_what_cannot_be_is_said_before_a_model_is_loaded(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        STAGE.check(config_of(**{"rewards": [{"rule": "distinct"}], **values}))


def test_the_plan_says_who_scores_and_how_often() -> None:
    config = config_of(k=4, rewards=[{"judge": "fake/magpie"}, {"implicit": "hf/A/B", "reference": "hf/A/C"}])
    assert STAGE.plan(config) == [
        ("rewards", "1 x fake/magpie (judge, 1 to 10) + 1 x hf/A/B against hf/A/C (implicit reward, beta 0.1, no bounds)"),
        ("answers a step", "8"), ("calls a step", "8 of fake/magpie, 8 of hf/A/B, 8 of hf/A/C")]


def test_what_only_says_how_scores_are_asked_for_is_not_the_training_s_identity() -> None:
    one = config_of(rewards=[{"judge": {"name": "openai/J", "timeout": 5}}], concurrency=3, budget={"calls": 9})
    other = config_of(rewards=[{"judge": "openai/J"}])
    assert one.identity() == other.identity()
    assert one.identity() != config_of(rewards=[{"judge": "openai/K"}]).identity()
