"""The rows of a test set, which are tasks (`pica eval arena tasks=W categories=[hard]`)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from pica.synth.rows import Messages, Provenance


class WizardRow(Provenance, kw_only=True):
    """A prompt of the test set. `id` is a hash of the prompt."""

    prompt: Annotated[Messages, "the conversation to answer, ending with the user"]
    category: Annotated[Literal["diverse", "hard"], "why it was chosen"]
    tags: Annotated[list[str], "category and tags in the source"] = msgspec.field(default_factory=list)
    reference: Annotated[str, "what a good answer holds, if the source says so"] = ""
    checklist: Annotated[list[str], "requirements of a good answer, if the source has them"] = msgspec.field(default_factory=list)
    cluster: Annotated[int, "number of its cluster, from 0, the largest first", "plain"]
    distance: Annotated[float, "squared distance of its embedding to the cluster's centre"]
    difficulty: Annotated[int | None, "0 to 10, by the judge; None where it was not rated"] = None
    difficulty_reason: Annotated[str | None, "why, by the judge"] = None
    judge: Annotated[str | None, "model that rated difficulty, and its scale"] = None
    embedder: Annotated[str, "model of the embeddings"]
    words: Annotated[int, "words of the user's turns"] = 0
    characters: Annotated[int, "characters of the user's turns"] = 0
    source: Annotated[str, "where the prompt was read", "category"]
    source_row: Annotated[int, "its row there, from 1", "plain"]
