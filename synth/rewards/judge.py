"""Scores by a judge: a language model, a rubric, and a grade from 1 to 10 as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pica.synth.errors import UsageError
from pica.synth.models.base import Message, ModelConfig, Sampling, user
from pica.synth.plan import Step
from pica.synth.prompts import Prompt, TooLong, fence
from pica.synth.rewards.base import Row, Score, Scorer, check_weights, request_and_answer, weighted
from pica.synth.run import Draft
from pica.synth.structured import Unparsed, ask_json

#: The judge's scale, least and greatest.
SCALE: Final = (1, 10)

RETRY_TEMPERATURE: Final = 0.7  # a greedy answer that could not be parsed would come again
TOO_LONG: Final = "too long for the judge"
UNPARSED: Final = "unparsed"

FOLDER: Final = Path(__file__).parent / "rubrics"

#: Rubrics that come with Pica: `helpful` gives one score, `aspects` one for each attribute that is named.
RUBRICS: Final = ("helpful", "aspects")

_SENTENCE: Final = {"type": "string", "minLength": 1, "maxLength": 240}
_GRADE: Final = {"type": "integer", "minimum": SCALE[0], "maximum": SCALE[1]}


def load_rubric(rubric: str) -> Prompt:
    """The prompt of a shipped rubric, or of the user's text file. Raises `UsageError` where there is none.

    A rubric has the fenced slots `{{instruction:fenced}}` and `{{response:fenced}}`, may have `{{attributes}}`, and asks
    for a JSON object with `explanation` (up to 240 characters) and `score`, or a key an attribute, from 1 to 10.
    """
    if rubric in RUBRICS:
        return Prompt.load(FOLDER / f"{rubric}.txt")
    if not Path(rubric).suffix and not Path(rubric).exists():
        near = get_close_matches(rubric, RUBRICS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown rubric {rubric!r}{hint} Known: {', '.join(RUBRICS)}, or a text file")
    prompt = Prompt.load(Path(rubric).expanduser())
    if unknown := set(prompt.slots) - {"instruction", "response", "attributes"}:
        raise UsageError(f"rubric {rubric} has the slot {min(unknown)!r}; known: instruction, response, attributes")
    for slot in ("instruction", "response"):
        if not fences(prompt, slot):
            raise UsageError(f"rubric {rubric} must hold {{{{{slot}:fenced}}}}, and that text nowhere outside of a fence")
    return prompt


def fences(prompt: Prompt, slot: str) -> bool:
    """Whether the slot's text stands in the prompt, and only between its marks."""
    probe = "\x01probe\x01"
    filled = prompt.filled({name: probe if name == slot else "" for name in prompt.slots})
    inside = filled.text.count(fence(probe, filled.marks.get(slot, "")))
    return inside > 0 and inside == filled.text.count(probe)


async def grade(draft: Draft, step: str, model: ModelConfig, prompt: str, schema: Mapping[str, Any], *, tries: int,
                max_tokens: int) -> dict[str, Any]:
    """What `model` answers to `prompt`, by `schema`: greedy first, then sampled. Raises `Unparsed` after `tries`."""
    greedy, again = (Sampling(temperature=warmth, max_tokens=max_tokens) for warmth in (0.0, RETRY_TEMPERATURE))
    return await ask_json(
        lambda attempt: draft.chat(step, model, [user(prompt)], again if attempt else greedy, attempt=attempt,
                                   schema=dict(schema)), schema, tries=tries)


@dataclass(frozen=True)
class Judge(Scorer):
    """Scores from 1 to 10 by the judge `model` and a `rubric`: a name of `RUBRICS`, or a text file (see `load_rubric`).

    `attributes`: a score for each of them in one answer, for rubrics that name them or have the slot `{{attributes}}`;
    the value is their weighted sum by `weights`, without weights their mean. An answer that is not the JSON asked for is
    asked for again, `tries` times in all, and is unscored after that; so is a text too long for the prompt.
    Raises `UsageError` for a bad rubric or weights.
    """

    model: ModelConfig
    rubric: str = "helpful"
    tries: int = 3
    attributes: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    max_tokens: int = 512

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", tuple(self.attributes))
        check_weights(self.attributes, self.weights, f"the judge {self.model.name}")
        if "attributes" in self.prompt.slots and not self.attributes:
            raise UsageError(f"rubric {self.rubric!r} grades attributes and none are named; give attributes=[...]")
        for key in self.schema["required"]:
            if f'"{key}"' not in self.prompt.text and ("attributes" not in self.prompt.slots or key == "explanation"):
                other = "; use rubric=aspects for attributes" if key in self.attributes else ""
                raise UsageError(f'rubric {self.rubric!r} never names the key "{key}" that its JSON answer must have{other}')

    @cached_property
    def prompt(self) -> Prompt:
        """The rubric's prompt."""
        return load_rubric(self.rubric)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of an answer: the explanation first, so that it leads to the grades."""
        properties = {"explanation": _SENTENCE, **dict.fromkeys(self.attributes or ("score",), _GRADE)}
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    @property
    def name(self) -> str:
        """Model, rubric and scale."""
        rubric = "" if self.rubric == "helpful" else f", rubric {Path(self.rubric).stem}"
        return f"{self.model.name} (judge{rubric}, {SCALE[0]} to {SCALE[1]})"

    @property
    def scale(self) -> tuple[float, float] | None:
        """1 to 10; none where weights change it."""
        return None if self.weights else SCALE

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The judge."""
        return (self.model,)

    async def score(self, draft: Draft, step: str, messages: Sequence[Message], row: Row | None = None) -> Score:
        """The grade, or the value of several."""
        texts = request_and_answer(messages)
        if "attributes" in self.prompt.slots:
            texts["attributes"] = ", ".join(f'"{name}": 1 to 10' for name in self.attributes)
        try:
            prompt = self.prompt.fill(**texts)
        except TooLong as error:
            return Score(None, reason=TOO_LONG, detail=str(error))
        try:
            found = await grade(draft, step, self.model, prompt, self.schema, tries=self.tries, max_tokens=self.max_tokens)
        except Unparsed as error:
            return Score(None, reason=UNPARSED, detail=str(error))
        if not self.attributes:
            return Score(float(found["score"]))
        named = {name: float(found[name]) for name in self.attributes}
        return Score(weighted(named, self.weights), named)

    def plan(self, step: str, prompt_tokens: int, calls: float = 1) -> list[Step]:
        """One call an answer; what the rubric and its JSON take are typical lengths."""
        return [Step(step, self.model, calls, 450 + prompt_tokens, 80)]

    def describe(self) -> dict[str, Any]:
        """Judge, rubric with its content hash, attributes and weights."""
        return {**super().describe(), "kind": "judge", "model": self.model.name, "rubric": self.rubric,
                "rubric_hash": self.prompt.hash, "weights": dict(self.weights)}
