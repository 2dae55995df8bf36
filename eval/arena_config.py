"""Settings of `pica eval arena`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pica.eval.evaluation_config import EvalConfig


class ArenaConfig(EvalConfig):
    """Settings of an arena."""

    summary: ClassVar[str] = "every model against every other, Bradley-Terry ratings with intervals"

    verdict: Literal["pairwise", "scores"] = Field("pairwise", description="what a judge gives: one of five outcomes, or "
                                                                           "1 to 10 each")
    target: str = Field("", description="label of the model that alone meets all others; default: every pair meets")
    anchor: str = Field("", description="label whose rating is anchor_rating; default: the mean of all is")
    anchor_rating: float = Field(1000.0, description="rating of the anchor")
    strong: float = Field(1.0, ge=1, le=100, description="how often a verdict `much better` counts (Arena-Hard: 3)")
    prior: float = Field(0.0, ge=0, le=100, description="tied games of every model against an average one; 0: none")


CONFIG = ArenaConfig
