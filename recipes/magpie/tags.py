"""What models say of an instruction or an answer: tags, safety, reward. Structured answers, parsed or left out, never guessed."""

from __future__ import annotations

import re
from math import isfinite
from pathlib import Path
from typing import Any

from pica.recipes.magpie import schemas
from pica.recipes.magpie.config import MagpieConfig
from pica.synth.errors import Reject
from pica.synth.models.base import Message, ModelConfig, Sampling, assistant, user
from pica.synth.prompts import Prompt, TooLong
from pica.synth.rewards import Judge, load_rubric, request_and_answer
from pica.synth.rewards.judge import RETRY_TEMPERATURE, TOO_LONG
from pica.synth.run import Draft, together
from pica.synth.structured import Unparsed, ask_json

PROMPTS = {path.stem: Prompt.load(path) for path in sorted((Path(__file__).parent / "prompts").glob("*.txt"))}
PROMPTS["reward_judge"] = load_rubric("helpful")
_GUARD_UNSAFE = re.compile(r"\s*unsafe\b(?:\s*\n\s*([\w ,-]{1,80}))?", re.IGNORECASE)
_GUARD_SAFE = re.compile(r"\s*safe\b", re.IGNORECASE)


class Tagger:
    """Asks for the tags of one config."""

    def __init__(self, config: MagpieConfig) -> None:
        self.config = config
        self._greedy = Sampling(temperature=0.0, max_tokens=config.tag_tokens)
        self._again = Sampling(temperature=RETRY_TEMPERATURE, max_tokens=config.tag_tokens)
        assert config.tagger is not None and config.judge is not None
        self.tagger, self.judge = config.tagger, config.judge
        self.grader = Judge(self.judge, "helpful", config.tag_tries, max_tokens=config.tag_tokens)

    async def structured(self, draft: Draft, step: str, model: ModelConfig, prompt: str, texts: dict[str, str],
                         unparsed: list[str]) -> dict[str, Any]:
        """The answer to prompt file `prompt`, as its schema has it; empty, and noted in `unparsed`, if there is none."""
        schema = schemas.SCHEMAS[prompt]
        try:
            message = user(PROMPTS[prompt].fill(**texts))
        except TooLong as error:
            raise Reject(f"too long for {prompt}", str(error)) from None
        try:
            return await ask_json(
                lambda attempt: draft.chat(step, model, [message], self._again if attempt else self._greedy,
                                           attempt=attempt, schema=schema), schema, tries=self.config.tag_tries)
        except Unparsed:
            unparsed.append(step)
            return {}

    async def of_instruction(self, draft: Draft, instruction: str) -> dict[str, Any]:
        """Difficulty, quality and category."""
        unparsed: list[str] = []
        wanted = [tag for tag in ("difficulty", "quality", "category") if tag in self.config.tags]
        answers = await together(*(
            self.structured(draft, tag, self.tagger, f"tag_{tag}", {"instruction": instruction}, unparsed)
            for tag in wanted))
        found = {key: value for answer in answers for key, value in answer.items()}
        names = {"explanation": "quality_explanation", "primary_tag": "task_category", "other_tags": "other_task_category"}
        fields = {names.get(key, key): value for key, value in found.items()}
        return {**fields, "unparsed": sorted(unparsed), "tagger": self.tagger.name if wanted else None}

    async def safety(self, draft: Draft, messages: list[Message]) -> dict[str, Any]:
        """Whether the conversation is safe: by the guard model's own protocol, or by the judge."""
        if "safety" not in self.config.tags:
            return {}
        guard, unparsed = self.config.guard, list[str]()
        if guard is not None:
            answer = await draft.chat("safety", guard, messages, Sampling(temperature=0.0, max_tokens=64))
            return {**_guard_verdict(answer.text), "safety_model": guard.name}
        found = await self.structured(draft, "safety", self.judge, "safety_judge", request_and_answer(messages), unparsed)
        return {"safety": found.get("verdict"), "safety_category": found.get("category"), "unparsed": unparsed,
                "safety_model": self.judge.name}

    async def reward(self, draft: Draft, step: str, messages: list[Message]) -> tuple[float | None, list[str]]:
        """(reward of the last answer, names of what could not be parsed): by the reward model, or the judge's 1 to 10."""
        if self.config.reward is not None:
            values = await draft.score(step, self.config.reward, messages)
            return (values[0], []) if values and isfinite(values[0]) else (None, [step])
        score = await self.grader.score(draft, step, messages)
        if score.reason == TOO_LONG:
            raise Reject("too long for reward_judge", score.detail)
        return score.value, [] if score.value is not None else [step]

    @property
    def reward_name(self) -> str:
        """Who gives rewards, and on what scale."""
        if self.config.reward is not None:
            return f"{self.config.reward.name} (its own scale)"
        return self.grader.name


def _guard_verdict(text: str) -> dict[str, Any]:
    if unsafe := _GUARD_UNSAFE.match(text):
        return {"safety": "unsafe", "safety_category": (unsafe[1] or "").strip() or None}
    if _GUARD_SAFE.match(text):
        return {"safety": "safe", "safety_category": "none"}
    return {"safety": None, "unparsed": ["safety"]}


def conversation(instruction: str, answer: str) -> list[Message]:
    """One turn."""
    return [user(instruction), assistant(answer)]
