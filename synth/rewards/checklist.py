"""Scores by a checklist: yes/no questions, answered by a judge in one call; the score is the share of yes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pica.synth.errors import UsageError
from pica.synth.models.base import Message, ModelConfig
from pica.synth.plan import Step
from pica.synth.prompts import Prompt, TooLong
from pica.synth.rewards.base import Row, Score, Scorer, request_and_answer
from pica.synth.rewards.judge import FOLDER, TOO_LONG, UNPARSED, grade
from pica.synth.run import Draft
from pica.synth.structured import Unparsed

NO_QUESTIONS: Final = "no questions"
TOKENS_A_QUESTION: Final = 128
_REASON: Final = {"type": "string", "minLength": 1, "maxLength": 240}
_ANSWER: Final = {"type": "object", "properties": {"reason": _REASON, "answer": {"type": "string", "enum": ["yes", "no"]}},
                  "required": ["reason", "answer"], "additionalProperties": False}


@cache
def checklist_prompt() -> Prompt:
    """The prompt that asks for an answer to every question of a checklist."""
    return Prompt.load(FOLDER / "checklist.txt")


@dataclass(frozen=True)
class Checklist(Scorer):
    """The share of `items` (questions that yes speaks for) to which the judge says yes: 0 to 1.

    `items` is the same list for every answer, or the name of the column that holds each row's own list. A reply that is
    not the JSON asked for, with one answer a question, is asked for again, `tries` times in all, and is unscored after
    that; so is a row whose list is empty. Raises `UsageError` for an empty list, and for a column that is not there.
    """

    judge: ModelConfig
    items: tuple[str, ...] | str
    tries: int = 3

    def __post_init__(self) -> None:
        if not self.items or (not isinstance(self.items, str) and not all(item.strip() for item in self.items)):
            raise UsageError("a checklist has no questions, or an empty one; give a list of them, or the column that has it")

    @property
    def name(self) -> str:
        """The judge, and where the questions come from."""
        which = f"of column {self.items}" if isinstance(self.items, str) else f"of {len(self.items)} questions"
        return f"{self.judge.name} (checklist {which}, 0 to 1)"

    @property
    def scale(self) -> tuple[float, float] | None:
        """0 to 1."""
        return (0.0, 1.0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column with each row's own questions, if they are not the same for all."""
        return (self.items,) if isinstance(self.items, str) else ()

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The judge."""
        return (self.judge,)

    async def score(self, draft: Draft, step: str, messages: Sequence[Message], row: Row | None = None) -> Score:
        """The share of yes."""
        items = self._items(row or {})
        if not items:
            return Score(None, reason=NO_QUESTIONS)
        try:
            prompt = checking(messages, items)
        except TooLong as error:
            return Score(None, reason=TOO_LONG, detail=str(error))
        schema = answers_schema(len(items))
        try:
            found = await grade(draft, step, self.judge, prompt, schema, tries=self.tries,
                                max_tokens=TOKENS_A_QUESTION * (len(items) + 1))
        except Unparsed as error:
            return Score(None, reason=UNPARSED, detail=str(error))
        return Score(sum(one["answer"] == "yes" for one in found["answers"]) / len(items))

    def _items(self, row: Row) -> Sequence[str]:
        if not isinstance(self.items, str):
            return self.items
        if self.items not in row:
            raise UsageError(f"no column {self.items!r} with a checklist; columns: {', '.join(row) or 'none'}")
        found = row[self.items]
        if not isinstance(found, list | tuple) or not all(isinstance(item, str) and item.strip() for item in found):
            raise UsageError(f"column {self.items!r} holds {str(found)[:80]!r}; a checklist is a list of questions")
        return found

    def plan(self, step: str, prompt_tokens: int, calls: float = 1) -> list[Step]:
        """One call an answer; typical lengths, eight questions where a column has them."""
        count = 8 if isinstance(self.items, str) else len(self.items)
        return [Step(step, self.judge, calls, 300 + 20 * count + prompt_tokens, 40 * count)]

    def describe(self) -> dict[str, Any]:
        """Judge, questions, and the prompt's content hash."""
        items = self.items if isinstance(self.items, str) else list(self.items)
        return {**super().describe(), "kind": "checklist", "judge": self.judge.name, "checklist": items,
                "prompt_hash": checklist_prompt().hash}


def checking(messages: Sequence[Message], items: Sequence[str]) -> str:
    """What to ask a judge of a conversation that ends with the answer. Raises `TooLong`."""
    numbered = "\n".join(f"{number}. {' '.join(item.split())}" for number, item in enumerate(items, 1))
    return checklist_prompt().fill(**request_and_answer(messages), items=numbered, count=str(len(items)))


def answers_schema(count: int) -> dict[str, Any]:
    """What the judge answers to a checklist of `count` questions."""
    answers = {"type": "array", "items": _ANSWER, "minItems": count, "maxItems": count}
    return {"type": "object", "properties": {"answers": answers}, "required": ["answers"], "additionalProperties": False}
