"""The conversation that makes a row: create, critique, refine. Every answer stays in it for the next turn to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pica.recipes.skillmix import schemas
from pica.recipes.skillmix.config import SkillMixConfig
from pica.recipes.skillmix.prompts import PROMPTS, examples
from pica.recipes.skillmix.skills import Entry
from pica.synth.errors import Reject
from pica.synth.models.base import Message, Sampling, assistant, user
from pica.synth.run import Draft
from pica.synth.structured import Unparsed, parse_json

AGAIN_TEMPERATURE = 0.7  # a greedy answer that could not be read would come again


@dataclass(frozen=True)
class Pair:
    """An instruction and its answer."""

    instruction: str
    response: str


@dataclass
class Conversation:
    """One row's conversation with the teacher. `rewrites`: answers that were asked for again."""

    draft: Draft
    config: SkillMixConfig
    messages: list[Message] = field(default_factory=list)
    rewrites: int = 0

    async def create(self, skills: Sequence[Entry], query_type: Entry) -> Pair:
        """The first version of both."""
        lines = "\n".join(_line(skill) for skill in skills)
        values = {"skills": lines, "query_type": _line(query_type)}
        if self.config.flow == "full":
            return await self._pair("create", PROMPTS["create"].fill(examples=examples(), **values))
        return await self._pair("create", PROMPTS["create_short"].fill(**values))

    async def critique(self) -> tuple[list[str], list[str]]:
        """(strengths, weaknesses) of the pair, by the teacher in the person's place."""
        found = await self._turn("critique", PROMPTS["critique"].fill(), schemas.CRITIQUE, schemas.CRITIQUE,
                                 self.config.critique, rewrite=False)
        return found["strengths"], found["weaknesses"]

    async def refine(self) -> Pair:
        """The better version of both."""
        return await self._pair("refine", PROMPTS["refine"].fill())

    async def _pair(self, step: str, prompt: str) -> Pair:
        found = await self._turn(step, prompt, schemas.PAIR, schemas.PAIR_READ, self.config.writing,
                                 rewrite=self.config.flow == "full")
        pair = Pair(found["instruction"].strip(), found["response"].strip())
        if not pair.instruction or not pair.response:
            raise Reject(f"{step}: empty {'response' if pair.instruction else 'instruction'}")
        return pair

    async def _turn(self, step: str, prompt: str, asked: dict[str, Any], read: dict[str, Any], sampling: Sampling, *,
                    rewrite: bool) -> dict[str, Any]:
        """The answer to `prompt`, asked for and read by these schemas; it stays in the conversation.

        One that cannot be read is asked for again: with `rewrite` in the conversation, as a shorter one; otherwise in its
        place. Raises `Reject` after `repairs` times.
        """
        self.messages.append(user(prompt))
        for attempt in range(self.config.repairs + 1):
            again = attempt > 0 and not rewrite and sampling.greedy
            used = sampling.model_copy(update={"temperature": AGAIN_TEMPERATURE}) if again else sampling
            answer = await self.draft.chat(step, self.config.teacher, self.messages, used, attempt=attempt, schema=asked)
            try:
                found = parse_json(answer.text, read)
            except Unparsed as error:
                problem = f"it was cut after {answer.completion_tokens} tokens" if answer.truncated else str(error)
                reason = f"{step}: cut" if answer.truncated else f"{step}: unreadable"
            else:
                self.messages.append(assistant(answer.text))
                return found
            if attempt == self.config.repairs:
                break
            self.rewrites += 1
            if rewrite:
                why = "it was cut" if answer.truncated else "it is not the JSON object that was asked for"
                self.messages += [assistant(answer.text), user(PROMPTS["rewrite"].fill(problem=why))]
        raise Reject(reason, problem)


def _line(entry: Entry) -> str:
    return f"{entry.name}: {entry.description}" if entry.description else entry.name
