"""What a scorer is, and what it says of an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any

from pica.synth.errors import UsageError
from pica.synth.models.base import Message, ModelConfig
from pica.synth.plan import Step
from pica.synth.run import Draft, Run

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """What a scorer says of one answer.

    `value`: the score, or None where there is none: then `reason` is a short constant phrase (it is counted) and
    `detail` what is special about this case. `attributes`: the scores of single attributes, by name.
    """

    value: float | None
    attributes: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""


class Scorer(ABC):
    """Who scores answers. A subclass states `name` and `score`, and what of the rest is not the default."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Who scores, and on what scale: goes into columns and manifests."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the single scores behind the value; empty where there is one score."""
        return ()

    @property
    def scale(self) -> tuple[float, float] | None:
        """Least and greatest value; None where there is no bound."""
        return None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the row that are looked at."""
        return ()

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The models that are asked."""
        return ()

    async def prepare(self, run: Run) -> None:  # noqa: B027  # most scorers need nothing
        """Get ready for this run: called once, before the first answer is scored."""

    @abstractmethod
    async def score(self, draft: Draft, step: str, messages: Sequence[Message], row: Row | None = None) -> Score:
        """The score of the last message, which is the assistant's. `step` names the call within the row; `row` holds the
        other columns of the data, for scorers that compare with one. Errors of calls pass through."""

    def plan(self, step: str, prompt_tokens: int, calls: float = 1) -> list[Step]:
        """The calls for `calls` answers, for `--plan`. `prompt_tokens`: of the conversation with its answer."""
        return [Step(step, model, calls, prompt_tokens, 0) for model in self.models]

    def describe(self) -> dict[str, Any]:
        """What decided the scores, for manifests."""
        return {"name": self.name, "scale": self.scale, "attributes": list(self.attributes)}


def weighted(attributes: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """One value for several attributes: the sum of weight times score, or their mean where there are no weights."""
    if not weights:
        return fsum(attributes.values()) / len(attributes)
    return fsum(weight * attributes[name] for name, weight in weights.items())


def check_weights(attributes: Sequence[str], weights: Mapping[str, float], who: str) -> None:
    """Raises `UsageError` for a name that stands twice, and for a weight of an attribute that is none."""
    twice = sorted({name for name in attributes if attributes.count(name) > 1})
    if twice or not all(attributes):
        raise UsageError(f"the attributes of {who} name {twice[0] if twice else ''!r} "
                         f"{'twice' if twice else 'among others'}; give each a name of its own")
    if unknown := [name for name in weights if name not in attributes]:
        raise UsageError(f"weights of {who} name {unknown[0]!r}; its attributes: {', '.join(attributes) or 'none are named'}")


def request_and_answer(messages: Sequence[Message]) -> dict[str, str]:
    """The request (`instruction`) and the last answer (`response`) as texts.

    Where more than one message stands before the answer, the request is all of them with their roles.
    """
    *before, answer = messages
    assert before and answer["role"] == "assistant", "a conversation to be scored ends with the assistant's answer"
    request = before[0]["content"] if len(before) == 1 else "\n\n".join(f"{m['role']}: {m['content']}" for m in before)
    return {"instruction": request, "response": answer["content"]}
