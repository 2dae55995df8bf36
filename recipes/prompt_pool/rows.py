"""The rows of a pool: prompts, which are tasks too (`pica eval arena tasks=POOL split=part1`)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pica.synth.rows import Messages, Provenance


class PoolRow(Provenance, kw_only=True):
    """A prompt, with what its source says of it. `id` is a hash of the prompt."""

    prompt: Annotated[Messages, "the conversation to answer, ending with the user"]
    category: Annotated[str, "category in the source, if it has one", "category"] = ""
    tags: Annotated[list[str], "further categories or skills of the source"] = msgspec.field(default_factory=list)
    reference: Annotated[str, "what a good answer holds, if the source says so"] = ""
    checklist: Annotated[list[str], "requirements of a good answer, if the source has them"] = msgspec.field(default_factory=list)
    source: Annotated[str, "where the prompt was read", "category"]
    source_row: Annotated[int, "its row there, from 1", "plain"]
    words: Annotated[int, "words of the user's turns"] = 0
    characters: Annotated[int, "characters of the user's turns"] = 0
    language: Annotated[str | None, "ISO 639-1 code of the user's turns; und: undetermined", "category"] = None
    evaluation_distance: Annotated[float | None, "squared distance of embeddings to the nearest evaluation prompt"] = None
    evaluation_nearest: Annotated[str | None, "that prompt: the evaluation and its place there, from 0"] = None
    min_neighbor_distance: Annotated[float | None, "squared distance of embeddings to the nearest other prompt"] = None
    repeat_count: Annotated[int | None, "other prompts within the duplicate distance"] = None
    min_similar_id: Annotated[str | None, "id of the nearest other prompt"] = None
    embedder: Annotated[str | None, "model of the embeddings between prompts"] = None
