"""A weighted sum of several scorers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from pica.synth.models.base import Message, ModelConfig
from pica.synth.plan import Step
from pica.synth.rewards.base import Row, Score, Scorer
from pica.synth.run import Draft, Run, together


@dataclass(frozen=True)
class Combined(Scorer):
    """The sum of weight times score over `parts`; unscored where any of them is. Its attributes are the parts' values."""

    parts: tuple[tuple[Scorer, float], ...]

    @property
    def name(self) -> str:
        """The parts with their weights."""
        return " + ".join(f"{weight:g} x {scorer.name}" for scorer, weight in self.parts)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The parts' names; one that stands twice is numbered."""
        names = [scorer.name for scorer, _ in self.parts]
        return tuple(name if names.count(name) == 1 else f"{name} #{names[:i].count(name) + 1}"
                     for i, name in enumerate(names))

    @property
    def scale(self) -> tuple[float, float] | None:
        """The sum's bounds, where every part has some."""
        ends = [sorted((weight * scorer.scale[0], weight * scorer.scale[1]))
                for scorer, weight in self.parts if scorer.scale is not None]
        return (fsum(low for low, _ in ends), fsum(high for _, high in ends)) if len(ends) == len(self.parts) else None

    @property
    def columns(self) -> tuple[str, ...]:
        """All parts' columns."""
        return tuple(dict.fromkeys(column for scorer, _ in self.parts for column in scorer.columns))

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """All parts' models."""
        return tuple(model for scorer, _ in self.parts for model in scorer.models)

    async def prepare(self, run: Run) -> None:
        """Prepare all parts."""
        await asyncio.gather(*(scorer.prepare(run) for scorer, _ in self.parts))

    async def score(self, draft: Draft, step: str, messages: Sequence[Message], row: Row | None = None) -> Score:
        """The sum, all parts asked at once."""
        scores: list[Score] = await together(*(scorer.score(draft, f"{step}_{i}", messages, row)
                                               for i, (scorer, _) in enumerate(self.parts)))
        for part, score in zip(self.attributes, scores, strict=True):
            if score.value is None:
                return Score(None, reason=score.reason, detail=f"{part}: {score.detail}")
        values = [score.value for score in scores if score.value is not None]
        return Score(fsum(weight * value for (_, weight), value in zip(self.parts, values, strict=True)),
                     dict(zip(self.attributes, values, strict=True)))

    def plan(self, step: str, prompt_tokens: int, calls: float = 1) -> list[Step]:
        """All parts' calls."""
        return [one for i, (scorer, _) in enumerate(self.parts) for one in scorer.plan(f"{step}_{i}", prompt_tokens, calls)]

    def describe(self) -> dict[str, Any]:
        """The parts and their weights."""
        return {**super().describe(), "kind": "sum",
                "parts": [{"weight": weight, **scorer.describe()} for scorer, weight in self.parts]}
