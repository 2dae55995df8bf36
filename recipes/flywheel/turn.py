"""An iteration under way: what it has come to so far, until its decision is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pica.recipes.flywheel.fighter import Fighter, label_of
from pica.recipes.flywheel.records import Gate, Iteration, StepRecord


@dataclass
class Turn:
    """An iteration under way."""

    number: int
    folder: Path
    best: Fighter
    model: Fighter
    reward: Fighter | None = None
    battles: str = ""  # those that reward model and online training share
    steps: list[StepRecord] = field(default_factory=list)
    data: dict[str, int] = field(default_factory=dict)
    learnt: list[str] = field(default_factory=list)  # as in `Iteration`
    warnings: list[str] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The candidate's label."""
        return label_of(self.number)

    def record(self, **more: Any) -> Iteration:
        """The iteration as it stands."""
        values: dict[str, Any] = {"data": self.data, "learnt": self.learnt, "gates": self.gates, "warnings": self.warnings,
                                  "steps": self.steps, **more}
        return Iteration(number=self.number, started_from=self.best.label, candidate=self.label, **values)
