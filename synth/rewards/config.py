"""Rewards as data: what a user writes in a config, checked, and made into scorers.

    rewards=[{model: hf/RM}, {judge: openai/NAME, rubric: helpful}, {rule: length, target: 200, weight: 0.5}]

The first key of an entry says what it is: `model`, `judge`, `checklist` (with a `judge`), `implicit` (with a `reference`)
or `rule`, of which there are `length`, `format`, `exact` and `distinct`. Each has a `weight`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError

from pica.synth.errors import UsageError
from pica.synth.models.base import ModelConfig

if TYPE_CHECKING:
    from pica.synth.rewards.base import Scorer


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression ({error})") from None
    return pattern


AModel = Annotated[ModelConfig, BeforeValidator(_named)]
Pattern = Annotated[str, BeforeValidator(_compiles)]


class RewardConfig(BaseModel, ABC):
    """What every entry of `rewards` has. `kind` is the key that tells entries apart."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    kind: ClassVar[str] = ""

    weight: float = Field(1.0, allow_inf_nan=False, description="what its score is multiplied with in the sum")

    @abstractmethod
    def scorer(self) -> Scorer:
        """The scorer that this entry states. Raises `UsageError`."""


class ModelReward(RewardConfig):
    """A reward model."""

    kind = "model"

    model: AModel = Field(description="the reward model: hf/PATH, or a server that pools")
    attributes: tuple[str, ...] = Field((), description="names of its heads, in order; default: the checkpoint's labels")
    weights: dict[str, float] = Field({}, description="attribute: weight in its value; default: their mean")

    def scorer(self) -> Scorer:
        """See `RewardModel`."""
        from pica.synth.rewards.model import RewardModel

        return RewardModel(self.model, self.attributes, self.weights)


class JudgeReward(RewardConfig):
    """A judge with a rubric."""

    kind = "judge"

    judge: AModel = Field(description="the model that grades")
    rubric: str = Field("helpful", description="helpful, aspects, or a text file")
    attributes: tuple[str, ...] = Field((), description="what is graded apart, for rubrics that can")
    weights: dict[str, float] = Field({}, description="attribute: weight in its value; default: their mean")
    tries: int = Field(3, ge=1, le=20, description="tries until an answer is unscored")
    max_tokens: int = Field(512, ge=16, description="tokens the judge's answer may have")

    def scorer(self) -> Scorer:
        """See `Judge`."""
        from pica.synth.rewards.judge import Judge

        return Judge(self.judge, self.rubric, self.tries, self.attributes, self.weights, self.max_tokens)


class ChecklistReward(RewardConfig):
    """Yes/no questions."""

    kind = "checklist"

    checklist: tuple[str, ...] | str = Field(description="the questions, or the column that holds each row's own")
    judge: AModel = Field(description="the model that answers them")
    tries: int = Field(3, ge=1, le=20, description="tries until an answer is unscored")

    def scorer(self) -> Scorer:
        """See `Checklist`."""
        from pica.synth.rewards.checklist import Checklist

        return Checklist(self.judge, self.checklist, self.tries)


class ImplicitReward(RewardConfig):
    """A DPO model's implicit reward."""

    kind = "implicit"

    implicit: AModel = Field(description="the model trained by DPO")
    reference: AModel = Field(description="what it was trained from")
    beta: float = Field(0.1, gt=0, allow_inf_nan=False, description="beta of its training")
    per_token: bool = Field(False, description="divide by the tokens of the answer")

    def scorer(self) -> Scorer:
        """See `Implicit`."""
        from pica.synth.rewards.implicit import Implicit

        return Implicit(self.implicit, self.reference, self.beta, self.per_token)


class LengthReward(RewardConfig):
    """Nearness to a length."""

    kind = "length"

    rule: Literal["length"]
    target: int = Field(ge=1, description="the length that scores 1")
    unit: Literal["words", "characters"] = Field("words", description="what is counted")

    def scorer(self) -> Scorer:
        """See `rules.length`."""
        from pica.synth.rewards.rules import Rule, length

        return Rule(f"length {self.target} {self.unit}", partial(length, target=self.target, unit=self.unit), (0, 1))


class FormatReward(RewardConfig):
    """A pattern that the answer must hold."""

    kind = "format"

    rule: Literal["format"]
    pattern: Pattern = Field(description="regular expression (Python's) that is searched; a dot also matches a line's end")

    def scorer(self) -> Scorer:
        """See `rules.format_match`."""
        from pica.synth.rewards.rules import Rule, format_match

        return Rule(f"format {self.pattern}", partial(format_match, pattern=re.compile(self.pattern, re.DOTALL)), (0, 1))


class ExactReward(RewardConfig):
    """The right answer."""

    kind = "exact"

    rule: Literal["exact"]
    column: str = Field(description="column that holds the right answer")
    extract: Pattern = Field("", description="regular expression; only its last match in the answer is compared")

    def scorer(self) -> Scorer:
        """See `rules.exact`."""
        from pica.synth.rewards.rules import Rule, exact

        pattern = re.compile(self.extract, re.DOTALL) if self.extract else None
        return Rule(f"exact {self.column}", partial(exact, column=self.column, extract=pattern), (0, 1), (self.column,))


class DistinctReward(RewardConfig):
    """No repetition."""

    kind = "distinct"

    rule: Literal["distinct"]
    ngram: int = Field(3, ge=1, description="words that count as one when repeated")

    def scorer(self) -> Scorer:
        """See `rules.distinct`."""
        from pica.synth.rewards.rules import Rule, distinct

        return Rule(f"distinct {self.ngram}-grams", partial(distinct, ngram=self.ngram), (0, 1))


MODELS: tuple[type[RewardConfig], ...] = (ChecklistReward, ImplicitReward, ModelReward, JudgeReward)  # first key wins
RULES: tuple[type[RewardConfig], ...] = (LengthReward, FormatReward, ExactReward, DistinctReward)


def parse_reward(value: Any) -> RewardConfig:
    """The entry that `value` (a mapping, or an entry already) states. Raises `UsageError` that says what is wrong."""
    if isinstance(value, RewardConfig):
        return value
    if not isinstance(value, Mapping):
        raise UsageError(f"reward {value!r} is no mapping; write {{model: hf/RM}}, {{judge: openai/NAME}} or {{rule: length, "
                         "target: 200}")
    cls = _class(value)
    if unknown := [str(key) for key in value if key not in cls.model_fields]:
        near = get_close_matches(unknown[0], cls.model_fields, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UsageError(f"unknown key {unknown[0]!r} in the {cls.kind} reward{hint} Known: {', '.join(cls.model_fields)}")
    try:
        return cls.model_validate(dict(value))
    except ValidationError as error:
        problems = (f"{'.'.join(str(part) for part in one['loc'])}: {one['msg'][0].lower()}{one['msg'][1:]}"
                    for one in error.errors())
        raise UsageError(f"the {cls.kind} reward: {'; '.join(problems)}") from None


def _class(value: Mapping[str, Any]) -> type[RewardConfig]:
    if "rule" in value:
        found = next((cls for cls in RULES if cls.kind == value["rule"]), None)
        if found is None:
            raise UsageError(f"unknown rule {value['rule']!r}; known: {', '.join(cls.kind for cls in RULES)}")
        return found
    found = next((cls for cls in MODELS if cls.kind in value), None)
    if found is None:
        raise UsageError(f"a reward with the keys {', '.join(map(str, value)) or '(none)'} says not what it is; it needs one of "
                         f"{', '.join(cls.kind for cls in MODELS)}, rule")
    return found


#: An entry of a config's list of rewards: `rewards: tuple[Reward, ...]`.
Reward = Annotated[SerializeAsAny[RewardConfig], BeforeValidator(parse_reward)]


def scorer_of(rewards: Sequence[RewardConfig]) -> Scorer:
    """One scorer for a list of rewards: their weighted sum, or the only one as it is. Raises `UsageError` for none."""
    if not rewards:
        raise UsageError("no rewards; give rewards=[{model: hf/RM}] or another of model, judge, checklist, implicit, rule")
    if len(rewards) == 1 and rewards[0].weight == 1:
        return rewards[0].scorer()
    from pica.synth.rewards.combine import Combined

    return Combined(tuple((reward.scorer(), reward.weight) for reward in rewards))
