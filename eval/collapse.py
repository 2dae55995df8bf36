"""What a model's answers look like beside those of the model that a campaign started from: does it collapse?

    start = Baseline.of(answers_of(rows, "start"), prompts_of(rows), embedder=open_embedder("minilm"))
    shape = start.measure(answers_of(later_rows, "iteration 1"))
    shape.to_json()                    # flat numbers
    compare(start.shape, shape)        # warnings, a sentence each

A model that learns from its own battles can lose what its judge does not see: its answers grow, repeat themselves, resemble each
other, or all turn to one topic. Every number is measured in the same way for all models of a campaign: on the same prompts,
with the same topics, and n-grams at equal size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pica.eval.battles import Floats
from pica.eval.diversity import distinct, ngrams, repeated, self_similarity, topic_entropy, topics_of
from pica.eval.ratio import Ratio, ratio
from pica.synth.embed import Embedder
from pica.synth.errors import UsageError
from pica.synth.filters.decontaminate import words_of
from pica.synth.models.base import conversation_text

NGRAMS = (1, 2, 3, 4)
TOPICS = 20              # at most; fewer for few prompts

# what a warning is given for, beside the start
LENGTH = 1.5             # times as many words, or as few, with the whole interval on that side of 1
DISTINCT = 0.8           # of the start's distinct n-grams
SIMILARITY = 0.1         # more mean cosine
REPEATED = 0.1           # more answers that nearly equal another one
TOPIC_ENTROPY = 0.2      # less: of 32 answers it varies by 0.1 from one sampling to the next
EMPTY = 0.05             # more empty answers


@dataclass(frozen=True)
class Shape:
    """What answers look like; a number is None where it cannot be told.

    `answers`: how many. `empty`: share without any sign. `words`, `characters`: mean length, empty answers included.
    `length_ratio`: words over the start's, on the prompts that both answered. Of the answers that are not empty: `distinct`:
    different n-grams of words over all, by n, among as many as half the start's are. `self_similarity`: mean cosine of all
    pairs. `repeated`: share that nearly equals another one. `topic_entropy`: evenness over the start's topics, 0 to 1.
    """

    answers: int
    empty: float | None
    words: float | None
    characters: float | None
    length_ratio: Ratio
    distinct: Mapping[int, float | None]
    self_similarity: float | None
    repeated: float | None
    topic_entropy: float | None

    def to_json(self) -> dict[str, float | None]:
        """Flat, for programs and pages."""
        return {"answers": self.answers, "empty": self.empty, "words": self.words, "characters": self.characters,
                **self.length_ratio.flat("length_ratio"), **{f"distinct_{n}": share for n, share in self.distinct.items()},
                "self_similarity": self.self_similarity, "repeated": self.repeated, "topic_entropy": self.topic_entropy}


@dataclass(frozen=True, eq=False)
class Baseline:
    """The start's answers, and what all models are measured with.

    `answers`: by task. `sizes`: n-grams drawn, by n. `topics`: float64 [k, d], centres of its prompts and answers; None where
    there is no embedder, or nothing to find two topics in.
    """

    answers: Mapping[str, str]
    sizes: Mapping[int, int]
    topics: Floats | None
    embedder: Embedder | None

    @classmethod
    def of(cls, answers: Mapping[str, str], prompts: Mapping[str, str], *, embedder: Embedder | None = None,
           seed: int = 0) -> Baseline:
        """The baseline of the start's answers to these prompts, both by task."""
        if unknown := sorted(answers.keys() - prompts.keys()):
            raise UsageError(f"there is an answer to task {unknown[0]!r}, which is none of the {len(prompts):,} prompts")
        said, topics = _said(answers), None
        if embedder is not None and said:
            texts = [text for text in [*said, *(prompts[task] for task in sorted(answers))] if text.strip()]
            topics = topics_of(embedder.embed(texts), max(2, min(TOPICS, round(math.sqrt(len(said))))), seed=seed)
        sizes = {n: (ngrams(said, n).total() + 1) // 2 for n in NGRAMS}
        return cls(answers, sizes, topics if topics is not None and len(topics) > 1 else None, embedder)

    @cached_property
    def shape(self) -> Shape:
        """The shape of the start's own answers."""
        return self.measure(self.answers)

    def measure(self, answers: Mapping[str, str]) -> Shape:
        """The shape of a model's answers to the same prompts, by task."""
        n, said = len(answers), _said(answers)
        length = {task: len(words_of(text)) for task, text in answers.items()}
        shared = sorted(answers.keys() & self.answers.keys())
        vectors = self.embedder.embed(said) if self.embedder is not None and said else None
        return Shape(
            answers=n, empty=_share(n - len(said), n), words=_share(sum(length.values()), n),
            characters=_share(sum(map(len, answers.values())), n),
            length_ratio=ratio([length[task] for task in shared], [len(words_of(self.answers[task])) for task in shared]),
            distinct={k: distinct(said, k, size=size) if size else None for k, size in self.sizes.items()},
            self_similarity=None if vectors is None else self_similarity(vectors), repeated=repeated(said),
            topic_entropy=None if vectors is None or self.topics is None else topic_entropy(vectors, self.topics))


def _said(answers: Mapping[str, str]) -> list[str]:
    """The answers that are not empty, by task."""
    return [answers[task] for task in sorted(answers) if answers[task].strip()]


def _share(count: int, n: int) -> float | None:
    return count / n if n else None


def compare(start: Shape, now: Shape) -> list[str]:
    """What a reader must know of the change, most serious first: a sentence with the figures for each limit that is passed."""
    said = []
    for name, limit, what in (("empty", EMPTY, "answers are empty"), ("repeated", REPEATED, "answers nearly equal another one")):
        before, after = getattr(start, name), getattr(now, name)
        if before is not None and after is not None and after > before + limit:
            said.append(f"{after:.0%} of the {what}, {before:.0%} at the start")
    return [*said, *_meaning(start, now), *_length(now.length_ratio), *_distinct(start, now)]


def _meaning(start: Shape, now: Shape) -> list[str]:
    said, likeness, topics = [], (start.self_similarity, now.self_similarity), (start.topic_entropy, now.topic_entropy)
    if likeness[0] is not None and likeness[1] is not None and likeness[1] > likeness[0] + SIMILARITY:
        said.append(f"answers resemble each other: their mean cosine is {likeness[1]:.2f}, {likeness[0]:.2f} at the start")
    if topics[0] is not None and topics[1] is not None and topics[1] < topics[0] - TOPIC_ENTROPY:
        said.append(f"answers turn to fewer topics: their entropy is {topics[1]:.2f} of the most there can be, "
                    f"{topics[0]:.2f} at the start")
    return said


def _length(change: Ratio) -> list[str]:
    value, lower, upper = change.value, change.lower, change.upper
    if value is None or lower is None or upper is None:
        return []
    if (value > LENGTH and lower > 1) or (value < 1 / LENGTH and upper < 1):
        return [f"answers have {value:.2f} times ({lower:.2f} to {upper:.2f}) as many words as at the start"]
    return []


def _distinct(start: Shape, now: Shape) -> list[str]:
    """One sentence for all n-grams that became fewer, one for those that nothing can be told of."""
    fewer, unknown = [], []
    for n, before in start.distinct.items():
        after = now.distinct[n]
        if before is not None and after is None:
            unknown.append(f"{n}-grams")
        elif before is not None and after is not None and after < DISTINCT * before:
            fewer.append(f"{after:.0%} of {n}-grams ({before:.0%} at the start)")
    said = [f"answers repeat themselves: among equally many, fewer are different, {', '.join(fewer)}"] if fewer else []
    return said + ([f"the answers hold fewer than half as many {', '.join(unknown)} as at the start, so how many of them are "
                    "different cannot be compared"] if unknown else [])


def answers_of(rows: Sequence[Mapping[str, Any]], label: str) -> dict[str, str]:
    """The answers of whoever bears this label, by task, from battles (`pica.eval.battle_rows`)."""
    return {row["task"]: row[f"answer_{side}"] for row in rows for side in ("a", "b") if row[f"model_{side}"] == label}


def prompts_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The prompts of battles as texts, by task."""
    return {row["task"]: conversation_text(row["prompt"]) for row in rows}
