"""What a reproduction is run with: two presets, whose fields the command line may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: who is fought, by label: a writer that opens as asked and takes up the topic, one that repeats the request, one that says the
#: same to everything, and one that writes broken JSON
RIVALS = {
    "writer": "fake/magpie", "echo": "fake/echo", "slogan": "fake/fixed?text=Here+is+a+good+answer.", "babble": "fake/nonsense",
}
JUDGE = "fake/judge?prefers=checklist"  # the answer in which more words of the author's notes occur is better
LEVEL = 0.95


@dataclass(frozen=True)
class Settings:
    """The same for both arms of every seed.

    `model`: a checkpoint for `pica train`. `held_out`: prompts that no training sees; `part`: prompts of an iteration.
    `tokens`: of an answer at most, everybody's. `winner`: of several rivals that won, whose answer is taken (see
    `pica.recipes.arena_learning.rules`). `batch`: rows of an optimizer step. `rate`: learning rate. `rounds`: of the bootstrap.
    """

    model: str = "local"
    iterations: int = 3
    held_out: int = 54
    part: int = 36
    tokens: int = 24
    winner: Literal["score", "gap", "rating", "random"] = "rating"
    epochs: float = 1.0
    batch: int = 4
    rate: float = 3e-5
    rounds: int = 1000


CHOSEN = Settings()
SMALLEST = Settings(held_out=6, part=4, tokens=16, rounds=100)
