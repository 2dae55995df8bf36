"""Scores by a reward model: a classifier whose heads are rewards (`hf/PATH`, `openai/NAME` on a server that pools)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

from pica.synth.errors import UsageError
from pica.synth.models.base import Message, ModelConfig
from pica.synth.rewards.base import Row, Score, Scorer, check_weights, weighted
from pica.synth.run import Draft

_UNNAMED = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class RewardModel(Scorer):
    """Scores by the reward model `model`, on its own scale.

    A model with one head gives one score. With several, each head is an attribute: `attributes` names them in the order
    of the heads; left out, the checkpoint's own labels count. `weights`: attribute -> weight of the value, which is
    their weighted sum; without weights it is the mean of all attributes. Raises `UsageError` for bad weights.
    """

    model: ModelConfig
    attributes: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", tuple(self.attributes) or labels(self.model))
        check_weights(self.attributes, self.weights, repr(self.model.name))

    @property
    def name(self) -> str:
        """The model; the scale is its own."""
        return f"{self.model.name} (its own scale)"

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The reward model."""
        return (self.model,)

    async def score(self, draft: Draft, step: str, messages: Sequence[Message], row: Row | None = None) -> Score:
        """The model's value, or that of its attributes. Unscored where it gives none, or one that is no number."""
        values = await draft.score(step, self.model, messages)
        if not values or not all(map(isfinite, values)):
            return Score(None, reason="not a number" if values else "no value", detail=str(list(values))[:200])
        if len(values) == 1 and not self.attributes:
            return Score(values[0])
        if len(values) != len(self.attributes):
            raise UsageError(f"{self.model.name} gives {len(values)} values and {len(self.attributes)} are named "
                             f"({', '.join(self.attributes) or 'none'}); give attributes=[...], one name a value, in their order")
        named = dict(zip(self.attributes, values, strict=True))
        return Score(weighted(named, self.weights), named)

    def describe(self) -> dict[str, Any]:
        """Model, attributes and weights."""
        return {**super().describe(), "kind": "reward model", "model": self.model.name, "weights": dict(self.weights)}


def labels(model: ModelConfig) -> tuple[str, ...]:
    """The names of a local checkpoint's heads, in order; empty where it names none, or has a single one."""
    file = Path(model.name.partition("/")[2]).expanduser() / "config.json"
    if model.name.partition("/")[0] not in {"hf", "vllm"} or not file.is_file():
        return ()
    try:
        found: dict[str, str] = orjson.loads(file.read_bytes()).get("id2label") or {}
    except (orjson.JSONDecodeError, AttributeError):
        raise UsageError(f"{file} is no JSON object; is the checkpoint cut short?") from None
    names = tuple(str(found[number]) for number in sorted(found, key=int))
    return () if len(names) < 2 or any(map(_UNNAMED.fullmatch, names)) else names
