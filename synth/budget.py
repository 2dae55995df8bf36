"""Hard caps on what a run may use. They are enforced in `pica.synth.purse`, before a call is made."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Budget(BaseModel):
    """Caps over all runs of one output folder (`seconds`: over this run). None is no cap."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int | None = Field(None, ge=1, description="calls that models may answer")
    tokens: int | None = Field(None, ge=1, description="tokens, prompt and completion together")
    cost: float | None = Field(None, gt=0, description="US dollars; every model in use needs its prices")
    seconds: float | None = Field(None, gt=0, description="time that this run may start calls for")
