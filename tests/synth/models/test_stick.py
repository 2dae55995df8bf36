"""`stick/NAME`: the best of several answers by a checklist of its own, or an answer written again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pica.synth.errors import BadRequest, Malformed, UsageError
from pica.synth.models import PROVIDERS, ModelConfig, Request, Sampling, open_model, user
from pica.synth.models.base import Answer
from pica.synth.models.fake import ScriptedModel

HOT = Sampling(temperature=1.0)


class Author:
    """Writes numbered answers; its checks count the stars in an answer: so many items are met."""

    def __init__(self, answers: list[str], items: int = 3) -> None:
        self.answers, self.items, self.written = answers, items, 0

    def __call__(self, request: Request, sample: int) -> str:
        text = request.messages[-1]["content"]
        if request.schema is None:
            self.written += 1
            return self.answers[min(self.written, len(self.answers)) - 1]
        if "items" in request.schema["properties"]:
            return orjson.dumps({"items": [f"item {k}" for k in range(self.items)]}).decode()
        stars = text.count("*")
        return orjson.dumps({"answers": [{"reason": "counted", "answer": "yes" if k < stars else "no"}
                                         for k in range(self.items)]}).decode()


@pytest.fixture
def stick(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(author: Any, **extra: Any) -> tuple[Any, ScriptedModel]:
        inner = ScriptedModel("author", author)
        monkeypatch.setitem(PROVIDERS, "author", ("test_stick", "author_of", "a script"))
        global AUTHOR  # noqa: PLW0603
        AUTHOR = inner
        return open_model(ModelConfig(name="stick/author/one", extra=extra)), inner

    return make


AUTHOR: ScriptedModel


def author_of(target: str, config: ModelConfig) -> ScriptedModel:
    return AUTHOR


async def test_best_takes_the_first_answer_that_meets_most(stick: Any) -> None:
    model, inner = stick(Author(["*", "**", "** later"]), samples=3)
    (answer,) = await model.generate(Request(task="chat", messages=(user("Shine."),), sampling=HOT, seed=1))
    assert answer.text == "**"
    assert orjson.loads(answer.reasoning) == {"checklist": ["item 0", "item 1", "item 2"], "met": [True, True, False],
                                              "met_by_sample": [1, 2, 2]}
    assert len(inner.requests) == 1 + 3 + 3
    seeds = [request.seed for request in inner.requests if request.schema is None]
    assert len(set(seeds)) == 3 and None not in seeds
    assert answer.completion_tokens > 3, "the tokens of all calls"


async def test_refining_ends_when_every_item_is_met(stick: Any) -> None:
    model, inner = stick(Author(["*", "**", "***", "never"]), mode="refine", rounds=4)
    (answer,) = await model.generate(Request(task="chat", messages=(user("Shine."),), sampling=HOT, seed=1))
    assert answer.text == "***" and orjson.loads(answer.reasoning)["met_by_round"] == [1, 2, 3]
    refining = [request.messages[0]["content"] for request in inner.requests if "NOT met" in request.messages[0]["content"]]
    assert len(refining) == 2 and "item 2: NOT met. counted" in refining[1]


async def test_the_same_request_makes_the_same_calls(stick: Any) -> None:
    request = Request(task="chat", messages=(user("Shine."),), sampling=HOT, seed=1, n=2)
    seen = []
    for _ in range(2):
        model, inner = stick(Author(["*"]), samples=2)
        await model.generate(request)
        seen.append(sorted((str(one.seed), one.messages[-1]["content"]) for one in inner.requests))
    assert seen[0] == seen[1]


async def test_a_checklist_that_cannot_be_read_is_no_answer(stick: Any) -> None:
    model, inner = stick(lambda request, sample: "I would rather not.", tries=2)
    with pytest.raises(Malformed, match="no valid answer in 2 tries"):
        await model.generate(Request(task="chat", messages=(user("Shine."),), sampling=HOT, seed=1))
    assert len(inner.requests) == 2


async def test_what_makes_no_sense_is_refused(stick: Any) -> None:
    model, _ = stick(Author(["*"]))
    with pytest.raises(BadRequest, match=r"at temperature 0 are all the same; give a temperature, or extra\.mode=refine"):
        await model.generate(Request(task="chat", messages=(user("Shine."),), sampling=Sampling(temperature=0)))
    with pytest.raises(BadRequest, match="no schema holds it"):
        await model.generate(Request(task="chat", messages=(user("Shine."),), sampling=HOT, schema={"type": "object"}))
    with pytest.raises(UsageError, match=r"extra\.mode='worst'.*allowed: best, refine"):
        stick(Author(["*"]), mode="worst")
    with pytest.raises(UsageError, match=r"extra\.samples=0; give a whole number from 1"):
        stick(Author(["*"]), samples=0)


async def test_other_tasks_are_the_models_own(stick: Any) -> None:
    model, inner = stick(lambda request, sample: Answer(text="continued"))
    (answer,) = await model.generate(Request(task="complete", prompt="Once"))
    assert answer.text == "continued" and len(inner.requests) == 1


def test_settings_are_part_of_the_identity(stick: Any) -> None:
    identities = {stick(Author(["*"]), **extra)[0].identity for extra in ({}, {"samples": 4}, {"mode": "refine"},
                                                                          {"mode": "refine", "rounds": 2})}
    assert len(identities) == 4
