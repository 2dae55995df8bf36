"""Prompts that are an evaluation's: found by shared words, and by the nearest evaluation prompt among embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pica.eval.tasks import SHIPPED, prompts_in
from pica.recipes.prompt_pool.config import PromptPoolConfig
from pica.recipes.prompt_pool.splits import splits_of
from pica.synth.embed import Embedder, open_embedder
from pica.synth.filters.decontaminate import EvalIndex, Overlap
from pica.synth.filters.evaluations import read_prompts
from pica.synth.filters.neighbours import nearest_in
from pica.synth.progress import Progress
from pica.synth.table import Table

CHUNK = 16_384  # texts whose vectors are held at a time
REASON = "holds an evaluation prompt"


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

    Raises `UsageError` for what is missing.
    """

    def __init__(self, config: PromptPoolConfig) -> None:
        self.config = config
        self.prompts = {name: evaluation_prompts(name) for name in config.decontaminate}
        self.words = EvalIndex(self.prompts, ngram=config.ngram)
        self.embedder: Embedder | None = open_embedder(config.embedder) if self.prompts and config.embedder != "none" else None

    def drop(self, table: Table, progress: Progress, *, column: str = "text") -> None:
        """Drop the rows whose `column` shares words with an evaluation prompt, or lies near one; note the distances of all."""
        if not self.prompts or not len(table):
            return
        texts: list[str] = table.column(column)
        progress.say(f"looking for {len(self.words):,} evaluation prompts in {len(texts):,} prompts")
        found = self.words.overlaps(texts)
        if self.embedder is not None:
            near = self._nearest(texts, self.embedder, progress)
            table.set("evaluation_distance", [round(one.distance, 6) for one in near])
            table.set("evaluation_nearest", [f"{one.evaluation} {one.place}" for one in near])
            found = [overlap or one.within(self.config.distance) for overlap, one in zip(found, near, strict=True)]
        table.keep([overlap is None for overlap in found], REASON, [overlap.explain() if overlap else "" for overlap in found])
        table.notes["evaluations"] = self._notes(texts, found)

    def _nearest(self, texts: Sequence[str], embedder: Embedder, progress: Progress) -> list[Nearest]:
        """The nearest evaluation prompt of every text."""
        places = [(name, place) for name, prompts in self.prompts.items() for place in range(len(prompts))]
        reference = embedder.embed([text for prompts in self.prompts.values() for text in prompts])
        found = []
        for begin in range(0, len(texts), CHUNK):
            progress.say(f"measuring distances with {embedder.name}: {begin:,} of {len(texts):,}")
            near = nearest_in(embedder.embed(texts[begin:begin + CHUNK]), reference, threshold=self.config.distance)
            for at, distance in zip(near.nearest.tolist(), near.distance.tolist(), strict=True):
                evaluation, place = places[at]
                found.append(Nearest(evaluation, place, distance))
        return found

    def _notes(self, texts: Sequence[str], found: Sequence[Overlap | None]) -> Mapping[str, Any]:
        """What was looked for, and how much of it was found by words and by nearness."""
        by = [overlap.how for overlap in found if overlap is not None]
        notes = {"prompts": {name: len(prompts) for name, prompts in self.prompts.items()}, "looked_at": len(texts),
                 "by_words": sum(how != "embedding" for how in by), "by_distance": by.count("embedding"),
                 "ngram": self.config.ngram, "embedder": self.embedder.name if self.embedder else None,
                 "distance": self.config.distance if self.embedder else None}
        if self.embedder is not None and self.embedder.truncated:
            notes["cut"] = self.embedder.truncated
        return notes
