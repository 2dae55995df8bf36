"""Settings of every evaluation."""

from __future__ import annotations

from pydantic import Field

from pica.eval.audit.config import BesideConfig
from pica.eval.judging_config import JudgingConfig


class EvalConfig(JudgingConfig):
    """Settings of every evaluation."""

    rounds: int = Field(1000, ge=100, le=100_000, description="rounds of the bootstrap")
    audit: BesideConfig = Field(BesideConfig(), description="the audit of the judge that goes with the leaderboard")
