"""What a campaign's models answer like, from round to round: signs of collapse, and how far they went from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pica.eval.collapse import Baseline, answers_of, compare, prompts_of
from pica.recipes.flywheel.config import START
from pica.recipes.flywheel.fighter import Fighter
from pica.recipes.flywheel.steps import Steps

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Look:
    """Figures for the record, and what a reader must know."""

    figures: dict[str, float | None]
    warnings: list[str] = field(default_factory=list)


def look(steps: Steps, folder: Path, model: Fighter, start: Fighter) -> Look:
    """The answers of `model` in the evaluation in `folder`, beside those of the start, which may be the model itself."""
    config = steps.config.collapse
    first = steps.rows(steps.root / START / "evaluation")
    baseline = Baseline.of(answers_of(first, START), prompts_of(first), embedder=steps.embedder(config.embedder),
                           seed=steps.config.seed)
    if model is start:
        return Look(baseline.shape.to_json())
    shape = baseline.measure(answers_of(steps.rows(folder / "evaluation"), model.label))
    figures, warnings = shape.to_json(), compare(baseline.shape, shape)
    if config.kl:
        notes = steps.divergence(folder / "divergence", model, start)
        figures, warnings = {**figures, **notes["kl"]}, [*warnings, *notes.get("warnings", [])]
    return Look(figures, warnings)
