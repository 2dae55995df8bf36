"""Settings of an audit: by itself (`pica audit`), and beside a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pica.eval.audit.attacks import BESIDE, BY_NAME
from pica.eval.judging_config import Contestant, JudgingConfig, embedded

TASKS_OF_EMBEDDED = 6  # the fewest that can clear a judge


def check_attacks(names: Sequence[str]) -> list[str]:
    """The names, if every one is known. Raises `ValueError`."""
    for name in names:
        if name not in BY_NAME:
            raise ValueError(f"unknown attack {name!r}; known: {', '.join(BY_NAME)}")
    return list(names)


class BesideConfig(BaseModel):
    """The audit that goes with a leaderboard."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bare: ClassVar[str] = "tasks"  # audit=0

    tasks: int = Field(8, ge=0, description="tasks on which the judge is tried; 0: no audit")
    attacks: list[str] = Field(list(BESIDE), description="what it is tried with; `pica audit --help` names all")

    @field_validator("attacks")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        return check_attacks(names)


class SearchConfig(BaseModel):
    """The search for words that win a judge over, put before an answer that says nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bare: ClassVar[str] = "steps"  # search=100

    steps: int = Field(0, ge=0, le=100_000, description="substitutions to try; 0: no search")
    tasks: int = Field(4, ge=1, le=1000, description="tasks that the search sees; its attack is tried on the rest")
    words: int = Field(24, ge=1, le=500, description="words of the prefix")


class AuditConfig(JudgingConfig):
    """Settings of an audit."""

    summary: ClassVar[str] = "answers that must lose, battles that must be even, and what the judge leans to"
    reads: ClassVar[tuple[str, ...]] = (*JudgingConfig.reads, "labels")

    n: int = Field(20, ge=0, le=1_000_000_000, description="tasks, from the first on; 0: all (with judge=local: 6)")
    models: list[Contestant] = Field([], description="who gives the honest answers; several also meet each other. Default: "
                                                     "local, unless answers are given")
    rounds: int = Field(1000, ge=100, le=100_000, description="rounds of the bootstrap")
    verdict: Literal["pairwise", "scores", "score"] = Field("pairwise", description="what the judge gives: one of five outcomes, "
                                                            "1 to 10 for each of two answers, or for a single one")
    attacks: list[str] = Field(list(BY_NAME), description="what the judge is tried with")
    search: SearchConfig = Field(SearchConfig(), description="a random search for words that win the judge over")
    families: dict[str, str] = Field({}, description="family of a model or judge by its label or name, for self-preference; "
                                                     "default: how its name begins")
    labels: str = Field("", description="file with people's verdicts: task, model_a, model_b, outcome (a, b or tie)")

    @field_validator("attacks")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        return check_attacks(names)

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Honest answers are the given ones, else the embedded model's, unless models are named. A judge on a laptop is tried on
        fewer tasks."""
        if not values.get("answers") and "models" not in values:
            values = {"models": ["local"], **values}
        if embedded(values.get("judge")):
            values = {"n": TASKS_OF_EMBEDDED, **values}
        return super().expand(values)
