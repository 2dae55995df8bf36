"""Programmatic rewards: pure functions of a conversation and its row, each with a documented range.

    Rule("length 200 words", partial(length, target=200, unit="words"), (0, 1))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from pica.synth.errors import UsageError
from pica.synth.models.base import Message
from pica.synth.rewards.base import Row, Score, Scorer
from pica.synth.run import Draft

Unit = Literal["words", "characters"]
RewardFunction = Callable[[Sequence[Message], Row], float]


@dataclass(frozen=True)
class Rule(Scorer):
    """Scores by `function(messages, row)`, which asks nothing.

    `label` names it; `scale` is its range, if it has one; `columns` are those of the row that it looks at.
    A value that is no finite number is no score.
    """

    label: str
    function: RewardFunction
    scale: tuple[float, float] | None = None
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The label and the range."""
        return f"rule: {self.label} ({f'{self.scale[0]:g} to {self.scale[1]:g}' if self.scale else 'no bounds'})"

    async def score(self, draft: Draft, step: str, messages: Sequence[Message], row: Row | None = None) -> Score:
        """The function's value."""
        value = float(self.function(messages, row or {}))
        return Score(value) if isfinite(value) else Score(None, reason="not a number", detail=str(value))

    def describe(self) -> dict[str, Any]:
        """The label and the range."""
        return {**super().describe(), "kind": "rule"}


def length(messages: Sequence[Message], row: Row, *, target: int, unit: Unit = "words") -> float:
    """How near the answer's length is to `target`: 1 at it, falling evenly to 0 at nothing and at twice as long. 0 to 1."""
    text = messages[-1]["content"]
    size = len(text.split()) if unit == "words" else len(text)
    return max(0.0, 1.0 - abs(size - target) / target)


def format_match(messages: Sequence[Message], row: Row, *, pattern: re.Pattern[str]) -> float:
    """1 where the pattern is found in the answer, else 0. Anchor it by `\\A` and `\\Z` to match the whole answer."""
    return 1.0 if pattern.search(messages[-1]["content"]) else 0.0


def exact(messages: Sequence[Message], row: Row, *, column: str, extract: re.Pattern[str] | None = None) -> float:
    """1 where the answer is the text in `column`, else 0; case and white space do not count.

    `extract`: only the last match of this pattern in the answer is compared (its first group, if it has one).
    Raises `UsageError` where the row has no such column, or no text in it.
    """
    wanted = row.get(column)
    if not isinstance(wanted, str | int | float) or isinstance(wanted, bool):
        what = f"holds {str(wanted)[:60]!r}" if column in row else f"is not among {', '.join(row) or 'no columns'}"
        raise UsageError(f"column {column!r} for exact matches {what}; name a column of texts or numbers")
    given = messages[-1]["content"]
    if extract is not None:
        found = list(extract.finditer(given))
        if not found:
            return 0.0
        given = found[-1][1 if extract.groups else 0] or ""
    return 1.0 if _plain(given) == _plain(str(wanted)) else 0.0


def distinct(messages: Sequence[Message], row: Row, *, ngram: int = 3) -> float:
    """The share of the answer's word n-grams that are not repeats: 1 without repetition, near 0 for one word for ever.

    An answer of fewer words than `ngram` repeats nothing.
    """
    words = messages[-1]["content"].lower().split()
    grams = [tuple(words[i:i + ngram]) for i in range(len(words) - ngram + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
