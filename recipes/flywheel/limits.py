"""Settings of the gates, which `pica.recipes.flywheel.gates` goes by, and the caps of a campaign."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pica.synth.budget import Budget
from pica.synth.errors import UsageError

OTHER = "other"  # key of `category_drop` for categories that it does not name
DROP = 0.1       # of a category that nothing is said of


class CampaignBudget(Budget):
    """Caps over all steps of a campaign, whatever they are, and all runs of it. None is no cap."""

    seconds: float | None = Field(None, gt=0, description="time of all work, trainings included: one that has begun stops after "
                                                          "a step, with a checkpoint, and a higher cap goes on from there")


def percent(level: float) -> str:
    """A level as people read it, with two digits of what it may miss: 95%, 97.5%, 99.946%."""
    return f"{round(100 * level, 1 - math.floor(math.log10(100 * (1 - level)))):.12g}%"


class GatesConfig(BaseModel):
    """When a new model replaces the old one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: float = Field(0.0, ge=0, lt=0.5, description="share of the win above one half that the lower end of the new model's "
                                                         "interval must clear")
    level: float = Field(0.95, gt=0.5, lt=1, description="level of that interval")
    error_rate: Literal["per-decision", "familywise"] = Field(
        "per-decision", description="what the level is of: each decision by itself, or all decisions of the campaign together, "
        "however many there will be (decision i may err in 1 / (i (i + 1)) of the cases in which all may)")
    least: int = Field(6, ge=2, description="held-out prompts with a verdict without which nothing is promoted; of 5 not even "
                                            "5 wins show anything at 95%")
    unscored: float = Field(0.2, ge=0, le=1, description="largest share of battles without a verdict; with more nothing is "
                                                         "promoted, since what is missing may be what was lost")
    category_drop: float | dict[str, float] = Field(DROP, description="how far a category's share of the win may be below one "
                                                    f"half: one number, or numbers by category with `{OTHER}` for the rest")
    category_least: int = Field(5, ge=1, description="prompts with a verdict from which on a category is judged")
    category_by: Literal["share", "upper"] = Field("share", description="what of a category must not be below that: its share, "
                                                   "or the upper end of its interval, so that few prompts refuse less by luck")
    embedder: str = Field("none", description="training data is also compared with evaluation prompts by these embeddings, such "
                                              "as minilm; none: by words alone")
    distance: float = Field(0.05, ge=0, lt=2, description="squared distance of embeddings up to which a prompt counts as one of "
                                                          "the evaluation's")
    judge: Literal["passes", "not-fails", "off"] = Field("passes", description="what the audit of the judge must say; not-fails: "
                                                         "that it cannot tell is enough; off: nothing")

    @field_validator("category_drop")
    @classmethod
    def _shares(cls, value: float | dict[str, float]) -> float | dict[str, float]:
        """Limits are shares of the win."""
        for name, limit in (value.items() if isinstance(value, dict) else [("", value)]):
            if not 0 <= limit <= 0.5:
                raise ValueError(f"{f'{name}: ' if name else ''}{limit:g} is no share to fall by; allowed: 0 to 0.5")
        return value

    def level_of(self, decision: int) -> float:
        """The level of the interval of a decision, counted from 1.

        Alpha spending: of 1 - level, a familywise decision i has 1 / (i (i + 1)), half, a sixth, a twelfth, which sum to 1 over
        all i. So by the union bound the chance that an interval of the campaign misses is at most 1 - level, whatever depends
        on what (Foster and Stine, 2008; Tian and Ramdas, Online control of the familywise error rate, 2021).
        """
        assert decision > 0, "decisions count from 1"
        return self.level if self.error_rate == "per-decision" else 1 - (1 - self.level) / (decision * (decision + 1))

    def lucky(self, decisions: int) -> float:
        """At most the chance that one of so many decisions promotes a model that is no better: only the lower end promotes, so
        half of what the intervals may miss."""
        return min(1.0, sum(1 - self.level_of(decision) for decision in range(1, decisions + 1)) / 2)

    def floor(self, category: str) -> float:
        """The share of the win that a category must have."""
        drop = self.category_drop
        return 0.5 - (drop.get(category, drop.get(OTHER, DROP)) if isinstance(drop, dict) else drop)

    def check(self, categories: Collection[str]) -> None:
        """Raise `UsageError` for a limit of a category that the held-out prompts do not have."""
        named = set(self.category_drop) - {OTHER} if isinstance(self.category_drop, dict) else set()
        if unknown := sorted(named - set(categories)):
            raise UsageError(f"category_drop names {unknown[0]!r}, which no held-out prompt is of; known: "
                             f"{', '.join(sorted(filter(None, categories))) or 'none'}, and {OTHER} for the rest")
