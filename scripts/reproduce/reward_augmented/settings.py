"""What a reproduction is run with: three presets, whose fields the command line may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: `any`: two answers of unequal reward; `close`: that differ by 2 points at most; `same-form`: of the same form
Pairs = Literal["any", "close", "same-form"]


@dataclass(frozen=True)
class Settings:
    """The same for every arm of every seed. Counts are of rows, `*_batch` of rows an optimizer step sees.

    `model`: a checkpoint for `pica train`, or `tiny`: a random Llama of `width` and `layers`. `goal_share`: of the corpus
    that the base policy learns from, how much stands under a goal; `goal_truth`: how many of those goals are the answer's
    own reward, the others being drawn at random. `answers`: samples of the base policy to each prompt that pairs are made
    of. `samples`: answers to each held-out prompt under each goal. `tokens`: of an answer at most.
    """

    model: str = "tiny"
    width: int = 64
    layers: int = 2
    corpus: int = 12_800
    sft_batch: int = 32
    sft_rate: float = 4e-3
    goal_share: float = 0.5
    goal_truth: float = 0.4
    choice: Pairs = "any"
    pairs: int = 1024
    answers: int = 32
    batch: int = 16
    rate: float = 3e-4
    beta: float = 1.0
    samples: int = 16
    tokens: int = 16


TINY = Settings()
SMALLEST = Settings(width=32, layers=1, corpus=1600, sft_rate=2e-2, pairs=64, answers=4, samples=1)
REAL = Settings(model="local", sft_rate=1e-4, rate=5e-6, beta=0.3, tokens=40)
