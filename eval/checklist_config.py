"""Settings of `pica eval checklist`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from pica.eval.evaluation_config import EvalConfig
from pica.synth.models.base import ModelConfig


class ChecklistConfig(EvalConfig):
    """Settings of checklists."""

    summary: ClassVar[str] = "answers checked item by item (TICK), pass rates with intervals"

    writer: ModelConfig | None = Field(None, description="writes checklists for tasks that have none; default: the first judge")
    rewrite: bool = Field(False, description="write checklists for all tasks, also for those that have one")

    @model_validator(mode="after")
    def _write(self) -> ChecklistConfig:
        if self.writer is None and self.judge:
            object.__setattr__(self, "writer", self.judge[0])
        return self


CONFIG = ChecklistConfig
