"""What a reproduction is run with: two presets, whose fields the command line may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

JUDGE = "fake/judge?prefers=checklist"  # the answer in which more words of the author's notes occur is better
LEVEL = 0.95


@dataclass(frozen=True)
class Settings:
    """The same for all arms of every seed.

    `model`: a checkpoint for `pica train`. `held_out`: topics that no training sees; `part`: topics of an iteration; every topic
    has a prompt of each kind. `tokens`: of an answer at most. `epochs`, `batch` (rows of an optimizer step), `rate`: of a
    training. `precision`: of arithmetic; weights are trained in float32. `rounds`: of the bootstrap.
    """

    model: str = "local"
    iterations: int = 3
    held_out: int = 6
    part: int = 5
    tokens: int = 24
    epochs: float = 2.0
    batch: int = 4
    rate: float = 4e-5
    precision: Literal["bf16", "fp32"] = "bf16"
    rounds: int = 1000


CHOSEN = Settings()
SMALLEST = Settings(held_out=1, part=1, tokens=16, rounds=100, epochs=1.0)
