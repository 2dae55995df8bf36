"""Scorers as TRL reward functions: durable, resumable, and honest about what has no score."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from small import Scripted
from variants import another, classifier

from pica.synth.budget import Budget
from pica.synth.errors import BadRequest, BudgetSpent, LedgerError, TooManyFailures, UsageError
from pica.synth.ledger import read_calls
from pica.synth.models.base import ModelConfig, Request, assistant, user
from pica.synth.rewards import Implicit, Judge, RewardModel, Rule, Scorer
from pica.synth.rewards.rules import exact, length
from pica.train.rewards import LOST, Rewards

PROMPTS = [[user("One?")], [user("Two?")]]
ANSWERS = [[assistant("a b c")], [assistant("a")]]


@contextmanager
def opened(scorer: Scorer, folder: Path, **settings: Any) -> Iterator[Rewards]:
    rewards = Rewards(scorer, folder / "ledger.sqlite", **settings)
    try:
        yield rewards
    finally:
        rewards.close()


def graded(score: int) -> str:
    return orjson.dumps({"explanation": "Fine.", "score": score}).decode()


def by_length(request: Request, sample: int) -> str:
    """The number of words of the answer that is judged."""
    return graded(len(request.messages[0]["content"].rpartition("The answer:\n")[2].split("\n")[1].split()))


def test_conversations_and_texts_are_the_same(tmp_path: Path, scripted: Scripted) -> None:
    config, asked = scripted("judge", by_length)
    with opened(Judge(config), tmp_path) as rewards:
        assert rewards(PROMPTS, ANSWERS, trainer_state=None, log_metric=print) == [3.0, 1.0]
        assert rewards(["One?", "Two?"], ["a b c", "a"]) == [3.0, 1.0]
        assert rewards.report()["calls"] == {"made": 2, "cached": 2, "failed": 0}
    assert len(asked.requests) == 2 == len(list(read_calls(tmp_path / "ledger.sqlite")))


def test_a_second_training_asks_nothing_that_was_answered(tmp_path: Path, scripted: Scripted) -> None:
    config, asked = scripted("judge", lambda request, sample: "?" if request.sampling.greedy else graded(4))
    for made in (4, 0):  # each answer is asked for twice: the first reply cannot be read
        with opened(Judge(config, tries=2), tmp_path, concurrency=1) as rewards:
            assert rewards(PROMPTS, ANSWERS) == [4.0, 4.0]
            assert rewards.report()["calls"]["made"] == made
    assert len(asked.requests) == 4


def test_other_columns_come_as_one(tmp_path: Path) -> None:
    rows = [orjson.dumps({"gold": "A B C"}).decode(), orjson.dumps({"gold": "b"}).decode()]
    with opened(Rule("exact gold", partial(exact, column="gold"), (0, 1)), tmp_path) as rewards:
        assert rewards(PROMPTS, ANSWERS, row=rows) == [1.0, 0.0]
        with pytest.raises(UsageError, match="column 'gold' for exact matches is not among no columns"):
            rewards(PROMPTS, ANSWERS)


def test_a_request_that_can_never_succeed_leaves_its_answer_without_a_score(tmp_path: Path, scripted: Scripted) -> None:
    def reply(request: Request, sample: int) -> str:
        if "One?" in request.messages[0]["content"]:
            raise BadRequest("the prompt has 9000 tokens and the context is 4096")
        return graded(2)

    config, _ = scripted("judge", reply)
    with opened(Judge(config), tmp_path) as rewards:
        assert rewards(PROMPTS, ANSWERS) == [None, 2.0]
        assert rewards.report()["answers"] == {"scored": 1, "unscored": {"no answer: bad request": 1}}
        assert rewards.recent.take() == {"score": 2.0, "unscored": 0.5}
        assert rewards.recent.take() == {}


def test_a_row_of_answers_without_a_score_ends_the_training(tmp_path: Path) -> None:
    values = iter([float("nan")] * (LOST - 1) + [1.0] + [float("nan")] * LOST)
    with opened(Rule("drawn", lambda messages, row: next(values)), tmp_path) as rewards:
        assert rewards([PROMPTS[0]] * LOST, [ANSWERS[0]] * LOST) == [None] * (LOST - 1) + [1.0]
        with pytest.raises(TooManyFailures, match=rf"^none of the last {LOST} answers got a score from rule: drawn \(no bounds\)"
                                                  r", the last because: not a number \(nan\)$"):
            rewards([PROMPTS[0]] * LOST, [ANSWERS[0]] * LOST)


def test_what_is_kept_stands_in_the_error(tmp_path: Path) -> None:
    with opened(Judge(ModelConfig(name="fake/magpie")), tmp_path, budget=Budget(calls=1)) as rewards:
        rewards.on_failure = lambda: "the checkpoint of step 3 is kept"
        with pytest.raises(BudgetSpent, match=r"^budget.calls=1 does not cover .*; the checkpoint of step 3 is kept$"):
            rewards(PROMPTS, ANSWERS)


def test_a_ledger_has_one_writer_and_is_free_afterwards(tmp_path: Path) -> None:
    scorer = Rule("length", partial(length, target=3))
    with opened(scorer, tmp_path) as rewards:
        with pytest.raises(LedgerError, match="in use"):
            Rewards(scorer, tmp_path / "ledger.sqlite")
        rewards.close()  # harmless twice
    with pytest.raises(UsageError, match=r"budget.cost=1.0 needs the prices of fake/magpie"):
        Rewards(Judge(ModelConfig(name="fake/magpie")), tmp_path / "ledger.sqlite", budget=Budget(cost=1.0))
    with opened(scorer, tmp_path) as rewards:
        assert rewards(PROMPTS, ANSWERS) == [1.0, pytest.approx(1 / 3)]


def test_a_reward_model_gives_what_its_head_gives(tmp_path: Path, tiny: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = classifier(tiny, tmp_path / "rm", "helpful", "short")
    head, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    wanted = []
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
        text = tokenizer.apply_chat_template([*prompt, *answer], tokenize=False)
        with torch.inference_mode():
            helpful, short = head(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits[0].tolist()
        wanted.append((helpful + short) / 2)
    with opened(RewardModel(ModelConfig(name=f"hf/{folder}")), tmp_path) as rewards:
        assert rewards(PROMPTS, ANSWERS) == pytest.approx(wanted, abs=1e-5)
        assert set(rewards.recent.take()) == {"score", "score/helpful", "score/short", "unscored"}


def test_the_implicit_reward_is_that_of_the_two_models(tmp_path: Path, tiny: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, other = AutoTokenizer.from_pretrained(tiny), another(tiny, tmp_path / "other")

    def logprob(folder: Path, prompt: list[Any], answer: list[Any]) -> float:
        before = tokenizer(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))["input_ids"]
        whole = tokenizer(tokenizer.apply_chat_template([*prompt, *answer], tokenize=False), return_tensors="pt")["input_ids"]
        assert whole[0, :len(before)].tolist() == before
        with torch.inference_mode():
            logs = AutoModelForCausalLM.from_pretrained(folder)(whole).logits[0].log_softmax(-1)
        return sum(float(logs[at - 1, whole[0, at]]) for at in range(len(before), whole.shape[1]))

    wanted = [0.5 * (logprob(other, *pair) - logprob(tiny, *pair)) for pair in zip(PROMPTS, ANSWERS, strict=True)]
    policy, reference = ModelConfig(name=f"hf/{other}"), ModelConfig(name=f"hf/{tiny}")
    with opened(Implicit(policy, reference, beta=0.5), tmp_path) as rewards:
        assert rewards(PROMPTS, ANSWERS) == pytest.approx(wanted, abs=1e-4)
    assert abs(wanted[0]) > 1e-3
