"""Settings of `pica eval arena-hard`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from pica.eval.evaluation_config import EvalConfig
from pica.eval.judging_config import Ensemble
from pica.synth.models.base import ModelConfig

Feature = Literal["length", "headers", "lists", "bold", "markdown"]
TASKS_FOR_STYLE = 100  # judged tasks from which style_control=auto takes style out
#: what upstream fixes: level of the intervals, rounds of the bootstrap
UPSTREAM = {"v0.1": {"level": 0.95, "rounds": 100}, "v2": {"level": 0.9, "rounds": 100}}


class ArenaHardConfig(EvalConfig):
    """Settings of Arena-Hard."""

    reads: ClassVar[tuple[str, ...]] = (*EvalConfig.reads, "judgments")
    summary: ClassVar[str] = "models against a baseline, scored by Arena-Hard's conventions or ours"

    tasks: str = Field("", description="what is asked: Arena-Hard's question.jsonl or any tasks; default: what the judgments are "
                                       "of, else pica")
    judge: list[ModelConfig] = Field([], description="who judges what is not judged yet; several: see ensemble")
    judgments: str = Field("", description="judgments made before: a judge's folder with a file a model, or a folder of such")
    baseline: str | dict[str, str] = Field("", description="who all are compared with: a label, or one by category; default: as "
                                                           "the judgments say, else Arena-Hard's own")
    score: Literal["pica", "v0.1", "v2"] = Field("pica", description="how verdicts become scores; v0.1 and v2 fix the level")
    style_control: bool | Literal["auto", "pica", "v0.1", "v2", "v2-unconverged"] | list[Feature] = Field(
        "auto", description="take style out: true, features of length, headers, lists, bold (markdown: the last three), or a "
                            f"convention by name; auto: with score=pica, where every answer to {TASKS_FOR_STYLE} tasks or more "
                            "is known")
    parser: Literal["stored", "pica", "v0.1", "v2"] = Field("stored", description="how given judgments are read: their stored "
                                                                                  "label, or their text again")
    strong: int = Field(3, ge=1, le=100, description="how often a verdict `much better` counts")
    ensemble: Ensemble = Field("each", description="several judges: each counts by itself (Arena-Hard), or a strict majority")
    export: Literal["", "v0.1", "v2"] = Field("", description="write official files of this schema under official/")

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Upstream's conventions come with their own level and rounds."""
        fixed = UPSTREAM.get(str(values.get("score")), {})
        if fixed and "level" in values and values["level"] != fixed["level"]:
            raise ValueError(f"level={values['level']}: score={values['score']} has intervals of {fixed['level']:.0%}; leave "
                             "level out, or use score=pica")
        return super().expand({**fixed, **values})


CONFIG = ArenaHardConfig
