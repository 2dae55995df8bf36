"""Faults on purpose, for the fake model and the fake server: latency, limits, errors, and broken answers.

The values are shares of all calls (0 to 1), drawn one after another from a generator with `fault_seed`; so a run that
sends the same calls in the same order meets the same faults.
"""

from __future__ import annotations

import random
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pica.synth.errors import UsageError

#: What can go wrong with a single call, in the order in which shares are laid side by side.
KINDS = ("error_429", "error_500", "reset", "truncate", "html", "wrong_choices", "empty", "hang", "malformed")


class FaultOptions(BaseModel):
    """How a fake misbehaves. All shares are of all calls and add up to at most 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency: float = Field(0, ge=0, description="seconds until an answer")
    jitter: float = Field(0, ge=0, description="up to this many seconds more, evenly spread")
    stragglers: tuple[float, float] = Field((0, 0), description="SHARE:SECONDS, calls that take that long instead")
    rate: float = Field(0, ge=0, description="calls a second let through; 0 is no limit; above it 429 with Retry-After")
    burst: float = Field(0, ge=0, description="calls let through at once under --rate; 0: as many as --rate")
    retry_after: float = Field(0.1, ge=0, description="seconds that error_429 asks for")
    error_429: float = Field(0, ge=0, le=1, description="share refused with 429, whatever the rate")
    error_500: float = Field(0, ge=0, le=1, description="share answered with HTTP 500")
    reset: float = Field(0, ge=0, le=1, description="share whose connection is cut")
    truncate: float = Field(0, ge=0, le=1, description="share whose JSON is cut in the middle")
    html: float = Field(0, ge=0, le=1, description="share answered with an HTML page and status 200")
    wrong_choices: float = Field(0, ge=0, le=1, description="share with one choice too few")
    empty: float = Field(0, ge=0, le=1, description="share whose text is empty")
    hang: float = Field(0, ge=0, le=1, description="share that is never answered")
    malformed: float = Field(0, ge=0, le=1, description="share with JSON that is no completion")
    fault_seed: int = Field(0, description="seed of the draws")

    @field_validator("stragglers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(value.split(":")) if isinstance(value, str) else value

    @classmethod
    def parse(cls, values: dict[str, Any], where: str) -> FaultOptions:
        """Options from text values. Raises `UsageError` that names the first bad one; `where` says what was read."""
        try:
            options = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise UsageError(f"unknown parameter {key!r} in {where}; known: {known}") from None
            raise UsageError(f"{key}={values[key]!r} in {where}: {first['msg']}; it is the "
                             f"{cls.model_fields[key].description}") from None
        if options.total > 1 or not 0 <= options.stragglers[0] <= 1:
            raise UsageError(f"the shares of faults in {where} add up to {options.total:g}; 1 is the most")
        return options

    @property
    def total(self) -> float:
        """The share of calls that meet any fault."""
        return float(sum(getattr(self, kind) for kind in KINDS))


class Faults:
    """Draws what happens to each call in turn."""

    def __init__(self, options: FaultOptions) -> None:
        self.options = options
        self._rng = random.Random(options.fault_seed)
        self._any = options.total > 0
        self._tokens = self._burst = options.burst or options.rate
        self._filled = time.monotonic()

    def refused(self) -> float | None:
        """Seconds to wait if the rate limit (a token bucket) refuses a call that arrives now, else None."""
        rate = self.options.rate
        if not rate:
            return None
        now = time.monotonic()
        self._tokens = min(max(self._burst, 1), self._tokens + (now - self._filled) * rate)
        self._filled = now
        if self._tokens < 1:
            return (1 - self._tokens) / rate
        self._tokens -= 1
        return None

    def kind(self) -> str:
        """The fault that the next call meets, or an empty string."""
        if not self._any:
            return ""
        draw = self._rng.random()
        for kind in KINDS:
            draw -= getattr(self.options, kind)
            if draw < 0:
                return kind
        return ""

    def delay(self) -> float:
        """Seconds until the next call is answered."""
        options = self.options
        share, seconds = options.stragglers
        if share and self._rng.random() < share:
            return seconds
        return options.latency + (options.jitter * self._rng.random() if options.jitter else 0)
