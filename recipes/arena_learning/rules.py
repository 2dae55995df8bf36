"""Which lost battles become data: the rules, as settings. What they do is in `pica.recipes.arena_learning.select`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Use = Literal["sft", "dpo", "reward", "online"]

#: The paper's thresholds: lost by more than K points of ten. Those of reward models and online training are not stated.
PAPER_K: dict[str, dict[Use, float]] = {"first": {"sft": 3, "dpo": 2, "reward": 0, "online": 0},
                                        "later": {"sft": 1, "dpo": 2, "reward": 0, "online": 0}}


class Rules(BaseModel):
    """How battles of a target are selected. A gap is the rival's score less the target's, from -9 to 9."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["first", "later"] = Field("first", description="whose k counts where none is given: of the paper's first "
                                                                   "iteration (sft 3, dpo 2), or of a later one (sft 1, dpo 2)")
    k: float | None = Field(None, ge=0, le=9, description="lost by more than this many points; default: the preset's")
    at_k: Literal["skip", "take"] = Field("skip", description="what becomes of a gap of exactly k (with k=0: of a tie)")
    swap: Literal["mean", "agree", "both"] = Field("mean", description="how the two orders make one gap: their mean; their mean "
                                                   "where both name one loser, else no gap; the smaller one, so both must pass k")
    lost_to: Literal["any", "all", "mean"] = Field("any", description="several rivals: one gap must pass k, every one, or their "
                                                                      "mean")
    winner: Literal["score", "gap", "rating", "random"] = Field("score", description="whose answer is taken of several: "
                                                                "highest score, largest gap, best rating, drawn")
    wins: bool | None = Field(None, description="pairs also from battles that the target won by more than k; default: for a "
                                                "reward model only")
    better: float = Field(2, gt=0, le=9, description="points that `better` counts where the judge gave no scores")
    much: float = Field(4, gt=0, le=9, description="points that `much better` counts there")

    def k_for(self, use: Use) -> float:
        """The threshold for this use."""
        return PAPER_K[self.preset][use] if self.k is None else self.k
