"""A goal: the score that an answer shall have, stated in the prompt of a model that was trained to reach it.

    goal = Goal(value=9, style="prefix")
    goal.wrap([user("Why is the sky blue?")])      # the goal, a blank line, the question

The same code conditions training data (`pica run reward-augmented`) and prompts (`teacher.goal=10` in any recipe), so a
trained model meets at inference what it met in training. Source: "Reward-Augmented Data Enhances Direct Preference
Alignment of LLMs" (ICML 2025, arXiv 2410.08067).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pica.synth.errors import UsageError

if TYPE_CHECKING:
    from pica.synth.models.base import Message
    from pica.synth.prompts import Prompt

Style = Literal["system", "prefix"]
Scale = tuple[float, float]

LARGEST = 1e12  # score that a scale may end at

_PROMPTS = Path(__file__).parent / "prompts"
_GAP = "\n\n"  # between a goal and the text that it stands before


class Goal(BaseModel):
    """The score asked for, or one an attribute. Written as a bare value: `teacher.goal=10`.

    What is None is taken from the training of a checkpoint (`for_model`), else it is `system`, 1 to 10, 1 decimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    bare: ClassVar[str] = "value"

    value: float | dict[str, float] = Field(description="score asked for, or a score for each attribute")
    style: Style | None = Field(None, description="system: in the system message; prefix: before the first user message")
    scale: Scale | None = Field(None, description="least and greatest score")
    decimals: int | None = Field(None, ge=0, le=6, description="decimals shown; halves are rounded to the even digit")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "" in given:  # goal=10 goal.style=prefix
            return {"value": given[""], **{name: value for name, value in given.items() if name}}
        if isinstance(given, Mapping) and isinstance(given.get("value"), bool):
            raise UsageError(f"the goal is {str(given['value']).lower()}; write a score, such as goal=10")
        return {"value": given} if isinstance(given, int | float | str) and not isinstance(given, bool) else given

    @model_validator(mode="after")
    def _check(self) -> Goal:
        check_scale(self.scale, self.decimals)
        if isinstance(self.value, dict) and not (self.value and all(name.strip() and name.isprintable() for name in self.value)):
            raise UsageError(f"goal.value names the attributes {list(self.value)}; give at least one, each a name of one line")
        for value in self.values:
            if not isfinite(value) or (self.scale and not self.scale[0] <= value <= self.scale[1]):
                allowed = f"{show(self.scale[0])} to {show(self.scale[1])}" if self.scale else "a finite number"
                raise UsageError(f"the goal {value:g} is outside of its scale; allowed: {allowed}")
        return self

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes; empty where the goal is one score."""
        return tuple(self.value) if isinstance(self.value, dict) else ()

    @property
    def values(self) -> tuple[float, ...]:
        """The scores asked for: one, or one an attribute in their order."""
        return tuple(self.value.values()) if isinstance(self.value, dict) else (self.value,)

    def stated(self, known: Mapping[str, Any] | None = None) -> Goal:
        """The goal with everything stated: its own settings, else those of `known`, else the defaults.

        Raises `UsageError` for a value outside of the scale, or a scale that its decimals cannot show.
        """
        if None not in (self.style, self.scale, self.decimals):
            return self
        given = {name: value for name, value in (known or {}).items() if name in _DEFAULTS and value is not None}
        own = self.model_dump(exclude_none=True)
        return Goal.model_validate({**_DEFAULTS, **given, **own})

    def for_model(self, name: str) -> Goal:
        """The goal as the checkpoint `hf/PATH` or `vllm/PATH` was trained to read it, where its folder says so.

        Raises `UsageError` for a value outside of that scale, or for other attributes than it was trained on.
        """
        trained = _trained(name)
        if trained:
            attributes = tuple(trained.get("attributes") or ())
            if set(attributes) != set(self.attributes):
                raise UsageError(f"{name} was trained on goals for {', '.join(attributes) or 'one score'} and is given one for "
                                 f"{', '.join(self.attributes) or 'one score'}; write "
                                 + (f"goal.value={{{attributes[0]}: 10, ...}}" if attributes else "goal=10"))
        try:
            return self.stated(trained)
        except ValueError as error:
            raise UsageError(f"goal of {name}: {_reason(error)}") from None

    def text(self) -> str:
        """The text that states the goal in a prompt."""
        goal = self.stated()
        assert goal.scale is not None
        shown = [show(value, goal.decimals) for value in goal.values]
        if goal.attributes:
            lines = "\n".join(f"- {name}: {value}" for name, value in zip(goal.attributes, shown, strict=True))
            return _prompt("goal_attributes").fill(low=show(goal.scale[0]), high=show(goal.scale[1]), scores=lines)
        return _prompt("goal").fill(low=show(goal.scale[0]), high=show(goal.scale[1]), scores=shown[0])

    def wrap(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation with the goal in it, once.

        `system`: a system message of its own, or in front of the text of the one that is there. `prefix`: in front of the
        first user message. Raises `UsageError` where a goal stands there already, or there is no place for one.
        """
        if bears_goal(messages):
            raise UsageError("a goal stands in the prompt already; give prompts without one, or ask for none")
        text, wrapped = self.text(), [message.copy() for message in messages]
        if self.stated().style == "system" and (not wrapped or wrapped[0]["role"] != "system"):
            return [{"role": "system", "content": text}, *wrapped]
        place = self._place(wrapped)
        wrapped[place]["content"] = text + _GAP + wrapped[place]["content"]
        return wrapped

    def unwrap(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation that `wrap` was given. Raises `UsageError` where this very goal is not in it."""
        text, plain = self.text(), [message.copy() for message in messages]
        place = self._place(plain)
        content = plain[place]["content"] if plain else ""
        if content == text and self.stated().style == "system":
            return plain[1:]
        if not content.startswith(text + _GAP):
            raise UsageError("the prompt does not start with this goal; give the goal that it was made with")
        plain[place]["content"] = content.removeprefix(text + _GAP)
        return plain

    def _place(self, messages: Sequence[Message]) -> int:
        """The message that the goal stands in."""
        if self.stated().style == "system":
            return 0
        place = next((place for place, message in enumerate(messages) if message["role"] == "user"), None)
        if place is None:
            raise UsageError("style=prefix puts the goal before the first user message, and there is none; use style=system")
        return place

    def describe(self) -> dict[str, Any]:
        """How goals like this one are shown, for manifests: style, scale, decimals, attributes."""
        goal = self.stated()
        assert goal.scale is not None
        return {"style": goal.style, "scale": list(goal.scale), "decimals": goal.decimals, "attributes": list(goal.attributes)}


_DEFAULTS: dict[str, Any] = {"style": "system", "scale": (1.0, 10.0), "decimals": 1}


def show(value: float, decimals: int | None = None) -> str:
    """A score as it stands in a prompt: rounded to `decimals` (None: not at all), halves to the even digit, without
    needless zeros."""
    number = Decimal(repr(float(value)))
    if decimals is not None:
        number = number.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def check_scale(scale: Scale | None, decimals: int | None = None) -> None:
    """Raises `UsageError` for a scale that is none, or whose ends are not numbers of so many decimals."""
    if scale is None:
        return
    low, high = scale
    if not -LARGEST <= low < high <= LARGEST:
        raise UsageError(f"scale=[{low:g}, {high:g}] is no scale; give the least and then the greatest score")
    for end in scale:
        if decimals is not None and Decimal(show(end, decimals)) != Decimal(repr(float(end))):
            raise UsageError(f"scale=[{low:g}, {high:g}] ends where decimals={decimals} cannot show; give more decimals")


def bears_goal(messages: Sequence[Message]) -> bool:
    """Whether a system or user message begins as a goal does."""
    openings = tuple(_opening(name) for name in ("goal", "goal_attributes"))
    return any(message["role"] != "assistant" and message["content"].startswith(openings) for message in messages)


@cache
def _prompt(name: str) -> Prompt:
    from pica.synth.prompts import Prompt  # which needs Message, from the module that needs Goal

    return Prompt.load(_PROMPTS / f"{name}.txt")


@cache
def _opening(name: str) -> str:
    return _prompt(name).text.partition("{{")[0]


def prompt_hash(attributes: bool) -> str:
    """A hash of the text that goals are written with, for manifests."""
    return _prompt("goal_attributes" if attributes else "goal").hash


def _trained(name: str) -> dict[str, Any]:
    """What the manifest of a trained folder says of its goals; empty where there is none."""
    provider, _, target = name.partition("/")
    file = Path(target).expanduser() / "manifest.json"
    if provider not in {"hf", "vllm"} or not file.is_file():
        return {}
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        goal = manifest.get("goal") or {}
        if goal and not (goal.get("style") in get_args(Style) and len(goal["scale"]) == 2):
            raise ValueError("its goal has no style or scale")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(f"{file} cannot be read ({error}); remove it and state style, scale and decimals of the goal") from None
    return dict(goal)


def _reason(error: ValueError) -> str:
    """The first line of an error that a person needs, of ours or pydantic's."""
    problems = getattr(error, "errors", None)
    return str(problems()[0]["msg"]).removeprefix("Value error, ") if problems is not None else str(error)
