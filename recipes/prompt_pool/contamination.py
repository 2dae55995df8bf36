"""Prompts that are an evaluation's, or hold a held-out one: found by shared words, and by nearness of embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pica.eval.shipped import SHIPPED
from pica.eval.tasks import prompts_in, said
from pica.recipes.prompt_pool.config import PromptPoolConfig
from pica.recipes.prompt_pool.splits import splits_of
from pica.synth.embed import Embedder, open_embedder
from pica.synth.filters.decontaminate import EvalIndex, Overlap
from pica.synth.filters.evaluations import read_prompts
from pica.synth.filters.neighbours import nearest_in
from pica.synth.progress import Progress
from pica.synth.rows import read_rows
from pica.synth.source import open_source
from pica.synth.table import Table

CHUNK = 16_384  # texts whose vectors are held at a time
REASON = "holds an evaluation prompt"
HELD = "holds a held-out prompt"


def evaluation_prompts(name: str) -> list[str]:
    """What the user says in each different prompt of an evaluation: shipped tasks, a .txt with one a line, or any data (of a
    folder of ours all splits). Raises `UsageError` for what cannot be read, and for a row without a prompt."""
    if Path(name).suffix == ".txt" and name not in SHIPPED:
        return list(dict.fromkeys(read_prompts(Path(name))))
    return list(dict.fromkeys(prompt for split in splits_of(name) for prompt in prompts_in(name, split)))


@dataclass(frozen=True)
class Nearest:
    """The evaluation prompt that lies nearest to a text: `evaluation` and `place` there, and its squared `distance`."""

    evaluation: str
    place: int
    distance: float

    def within(self, distance: float) -> Overlap | None:
        """It as an overlap, where it lies within `distance`."""
        near = self.distance <= distance
        return Overlap(self.evaluation, self.place, "embedding", distance=self.distance) if near else None


class Evaluations:
    """The prompts of the evaluations that a config names, ready to be looked for. Packages, weights and files are found here.

    `chunk`: texts that are embedded at a time. Raises `UsageError` for what is missing.
    """

    def __init__(self, config: PromptPoolConfig, *, chunk: int = CHUNK) -> None:
        self.config, self.chunk = config, chunk
        self.prompts = {name: evaluation_prompts(name) for name in config.decontaminate}
        self.embedder: Embedder | None = open_embedder(config.embedder) if self.prompts and config.embedder != "none" else None

    def drop(self, table: Table, progress: Progress, *, column: str = "text") -> None:
        """Drop the rows whose `column` shares words with an evaluation prompt, or lies near one; note the distances of all."""
        if not self.prompts or not len(table):
            return
        texts: list[str] = table.column(column)
        words = EvalIndex(self.prompts, ngram=self.config.ngram, among=texts)
        progress.say(f"looking for {len(words):,} evaluation prompts in {len(texts):,} prompts")
        found = words.overlaps(texts)
        if self.embedder is not None:
            near = self.nearest(texts, self.embedder, progress)
            table.set("evaluation_distance", [round(one.distance, 6) for one in near])
            table.set("evaluation_nearest", [f"{one.evaluation} {one.place}" for one in near])
            found = [overlap or one.within(self.config.distance) for overlap, one in zip(found, near, strict=True)]
        table.keep([overlap is None for overlap in found], REASON, [overlap.explain() if overlap else "" for overlap in found])
        table.notes["evaluations"] = self._notes(texts, found)
        if words.ignored:
            table.notes["evaluations"]["common"] = words.ignored

    def nearest(self, texts: Sequence[str], embedder: Embedder, progress: Progress) -> list[Nearest]:
        """The nearest evaluation prompt of every text."""
        places = [(name, place) for name, prompts in self.prompts.items() for place in range(len(prompts))]
        reference = embedder.embed([text for prompts in self.prompts.values() for text in prompts])
        found = []
        for begin in range(0, len(texts), self.chunk):
            progress.say(f"measuring distances with {embedder.name}: {begin:,} of {len(texts):,}")
            near = nearest_in(embedder.embed(texts[begin:begin + self.chunk]), reference, threshold=self.config.distance)
            for at, distance in zip(near.nearest.tolist(), near.distance.tolist(), strict=True):
                evaluation, place = places[at]
                found.append(Nearest(evaluation, place, distance))
        return found

    def _notes(self, texts: Sequence[str], found: Sequence[Overlap | None]) -> dict[str, Any]:
        """What was looked for, and how much of it was found by words and by nearness."""
        by = [overlap.how for overlap in found if overlap is not None]
        notes = {"prompts": {name: len(prompts) for name, prompts in self.prompts.items()}, "looked_at": len(texts),
                 "by_words": sum(how != "embedding" for how in by), "by_distance": by.count("embedding"),
                 "ngram": self.config.ngram, "embedder": self.embedder.name if self.embedder else None,
                 "distance": self.config.distance if self.embedder else None}
        if self.embedder is not None and self.embedder.truncated:
            notes["cut"] = self.embedder.truncated
        return notes


class HeldOut:
    """Keeps the held-out prompts of a pool, the first of its rows, out of its parts. Weights are found here."""

    def __init__(self, config: PromptPoolConfig, *, chunk: int = CHUNK) -> None:
        self.config, self.chunk = config, chunk
        known = config.held_out and config.held_embedder != "none"
        self.embedder: Embedder | None = open_embedder(config.held_embedder) if known else None

    def drop(self, table: Table, among: Sequence[str], progress: Progress, *, column: str = "text") -> None:
        """Drop the rows behind the held-out ones whose `column` holds one of them. `among`: see `compared`."""
        count = self.config.held_out
        texts: list[str] = table.column(column)
        if not count or not texts[count:]:
            return
        progress.say(f"looking for {count:,} held-out prompts in {len(texts) - count:,} others")
        index = EvalIndex({"held_out": texts[:count]}, ngram=self.config.ngram, embedder=self.embedder,
                          threshold=self.config.held_distance, among=among)
        found: list[Overlap | None] = [None] * count
        for begin in range(count, len(texts), self.chunk):
            found += index.overlaps(texts[begin:begin + self.chunk])
        table.keep([overlap is None for overlap in found], HELD, [overlap.explain() if overlap else "" for overlap in found])


def compared(folder: Path) -> Iterator[str]:
    """What the user says in every prompt of the pool in `folder` that was compared with evaluation prompts, those dropped for
    holding one as well: words that stand in many of these are no evidence."""
    for split in splits_of(str(folder)):
        yield from (said(row["prompt"]) for row in open_source(str(folder), split=split))
    for file in sorted(folder.glob("rejected/*.parquet")):
        yield from (said(row["prompt"]) for row in read_rows(file) if row["reject_reason"] in {REASON, HELD})
