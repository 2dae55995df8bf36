"""A model that checks itself: `stick/NAME` answers with model NAME, writes a checklist for the task and checks its answers
against it. It gives the best of several (`extra.mode=best`, the default) or writes its answer again (`extra.mode=refine`).

    pica run magpie responder=stick/openai/NAME@URL responder.extra.samples=8 response.temperature=0.8 --out D

Settings in `extra`: `mode` (best, refine), `samples` (answers to choose from, 8), `rounds` (rewritings at most, 1), `tries`
(for a checklist or check that can be read, 3). Of answers that meet as many items the first is taken. Rewriting ends when every
item is met. What a checklist said stands in the answer's `reasoning`. Tokens are those of all calls together, which are one
call in the ledger.

Source: Cook and others, "TICKing All the Boxes" (2024): STICK. There each item is checked by a call of its own; here one call
checks all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pica.synth.errors import BadRequest, Malformed, UsageError
from pica.synth.models import open_model
from pica.synth.models.base import (
    Answer,
    Message,
    Model,
    ModelConfig,
    Renders,
    Request,
    Sampling,
    assistant,
    conversation_text,
    user,
)
from pica.synth.prompts import Prompt, TooLong
from pica.synth.rewards.checklist import TOKENS_A_QUESTION, answers_schema, checking, checklist_prompt
from pica.synth.rewards.written import SCHEMA, items_of, writing, writing_prompt
from pica.synth.run import derive_seed
from pica.synth.structured import Unparsed, ask_json

REFINE = Prompt.load(Path(__file__).parent / "prompts" / "stick_refine.txt")
SETTINGS = {"samples": 8, "rounds": 1, "tries": 3}
MODES = ("best", "refine")
CHECKLIST_TOKENS = 512
RETRY_TEMPERATURE = 0.7


@dataclass(frozen=True)
class Checked:
    """An answer and the verdicts on it: (reason, met) by item."""

    answer: Answer
    verdicts: Sequence[tuple[str, bool]]

    @property
    def met(self) -> int:
        """Items that it meets."""
        return sum(met for _, met in self.verdicts)


@dataclass
class Work:
    """The calls behind one answer to `request`: sample `number` of it. Seeds follow from the request's own."""

    model: Model
    request: Request
    number: int
    tries: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    served: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    async def ask(self, step: str, messages: Sequence[Message], sampling: Sampling,
                  schema: dict[str, Any] | None = None) -> Answer:
        """One call of the model."""
        seed = None if sampling.greedy else derive_seed(self.request.seed or 0, self.number, step)
        request = Request(task="chat", messages=tuple(messages), sampling=sampling, seed=seed, schema=schema)
        answer = (await self.model.generate(request))[0]
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.served = answer.model or self.served
        return answer

    async def json(self, step: str, prompt: str, schema: dict[str, Any], tokens: int) -> dict[str, Any]:
        """An answer that follows `schema`. Raises `Unparsed`."""
        async def ask(attempt: int) -> Answer:
            sampling = Sampling(temperature=RETRY_TEMPERATURE if attempt else 0.0, max_tokens=tokens)
            return await self.ask(f"{step} try {attempt}", (user(prompt),), sampling, schema)

        return await ask_json(ask, schema, tries=self.tries)

    async def checked(self, step: str, answer: Answer, items: Sequence[str]) -> Checked:
        """The answer with the verdicts of its own model."""
        prompt = checking([*self.request.messages, assistant(answer.text)], items)
        found = await self.json(step, prompt, answers_schema(len(items)), TOKENS_A_QUESTION * (len(items) + 1))
        return Checked(answer, [(one["reason"], one["answer"] == "yes") for one in found["answers"]])

    async def best(self, items: Sequence[str], samples: int) -> Checked:
        """The first of the answers that meet most items."""
        answers = await asyncio.gather(*(self.ask(f"answer {k}", self.request.messages, self.request.sampling)
                                         for k in range(samples)))
        checked = await asyncio.gather(*(self.checked(f"check {k}", one, items) for k, one in enumerate(answers)))
        self.notes["met_by_sample"] = [one.met for one in checked]
        return max(checked, key=lambda one: one.met)  # the first of equals

    async def refined(self, items: Sequence[str], rounds: int) -> Checked:
        """The answer, written again until every item is met, at most `rounds` times."""
        found = await self.checked("check", await self.ask("answer", self.request.messages, self.request.sampling), items)
        history = [found.met]
        for turn in range(rounds):
            if found.met == len(items):
                break
            verdicts = "\n".join(f"- {item}: {'met' if met else 'NOT met'}. {reason}"
                                 for item, (reason, met) in zip(items, found.verdicts, strict=True))
            prompt = REFINE.fill(conversation=conversation_text(self.request.messages), answer=found.answer.text,
                                 verdicts=verdicts)
            again = await self.ask(f"refine {turn}", (user(prompt),), self.request.sampling)
            found = await self.checked(f"check again {turn}", again, items)
            history.append(found.met)
        self.notes["met_by_round"] = history
        return found


class StickModel:
    """NAME with a checklist of its own. Does `chat`; every other task is NAME's. It can `render` where NAME can."""

    def __init__(self, target: str, config: ModelConfig) -> None:
        """`target` is what follows `stick/`. Raises `UsageError` for unknown settings."""
        extra = dict(config.extra)
        self.mode = extra.pop("mode", "best")
        if self.mode not in MODES:
            raise UsageError(f"extra.mode={self.mode!r} of {config.name!r}; allowed: {', '.join(MODES)}")
        self.samples, self.rounds, self.tries = (_whole(name, extra.pop(name, default)) for name, default in SETTINGS.items())
        self._model = open_model(config.model_copy(update={"name": target, "identity": "", "extra": extra}))
        self.name, self.slots = config.name, self._model.slots
        prompts = "-".join(prompt.hash for prompt in (REFINE, writing_prompt(), checklist_prompt()))
        how = f"best of {self.samples}" if self.mode == "best" else f"refine {self.rounds}"
        self.identity = config.identity or f"stick:{how}:{self.tries}:{prompts}:{self._model.identity}"

    async def generate(self, request: Request) -> Sequence[Answer]:
        """`request.n` answers. Raises what the model raises, and `Malformed` where no checklist or check can be read."""
        if request.task != "chat":
            return await self._model.generate(request)
        if request.schema is not None:
            raise BadRequest(f"{self.name} writes texts, and no schema holds it; give roles that tag or judge a plain model")
        if self.mode == "best" and request.sampling.greedy:
            raise BadRequest(f"{self.name} chooses among {self.samples} answers, which at temperature 0 are all the same; give a "
                             "temperature, or extra.mode=refine")
        return await asyncio.gather(*(self._one(request, number) for number in range(request.n)))

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The chat template of the model behind it."""
        if not isinstance(self._model, Renders):
            raise BadRequest(f"{self._model.name} cannot show its chat template; name one with template=FAMILY")
        return await self._model.render(messages, add_generation_prompt=add_generation_prompt)

    async def close(self) -> None:
        """Close the model behind it."""
        await self._model.close()

    async def _one(self, request: Request, number: int) -> Answer:
        work = Work(self._model, request, number, self.tries)
        try:
            prompt = writing(conversation_text(request.messages))
            items = items_of(await work.json("checklist", prompt, dict(SCHEMA), CHECKLIST_TOKENS))
            found = await (work.best(items, self.samples) if self.mode == "best" else work.refined(items, self.rounds))
        except Unparsed as error:
            raise Malformed(f"{self.name}: {error}") from None
        except TooLong as error:
            raise BadRequest(f"{self.name}: {error}") from None
        notes = {"checklist": items, "met": [met for _, met in found.verdicts], **work.notes}
        return Answer(text=found.answer.text, finish=found.answer.finish, prompt_tokens=work.prompt_tokens,
                      completion_tokens=work.completion_tokens, model=work.served, reasoning=orjson.dumps(notes).decode())


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"extra.{name}={value!r}; give a whole number from 1")
    return value
