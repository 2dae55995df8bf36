"""The rows that the recipe makes."""

from __future__ import annotations

from typing import Annotated, Literal

from pica.recipes.skillmix.shirkers import Kind
from pica.synth.rows import SFTRow


class SkillMixRow(SFTRow, kw_only=True):
    """An instruction that needs its skills, its answer, and every step on the way."""

    instruction: Annotated[str, "the instruction"]
    skills: Annotated[list[str], "skills that the instruction shall need"]
    topics: Annotated[list[str], "topics of these skills"]
    query_type: Annotated[str, "kind of request", "category"]
    split: Annotated[Literal["train", "test"], "split of the row; no combination of skills is in both"]
    flow: Annotated[str, "messages of the conversation that made the row"]
    draft_instruction: Annotated[str | None, "the instruction before critique"]
    draft_response: Annotated[str | None, "the answer before critique"]
    critique_strengths: Annotated[list[str] | None, "what the critique praised"]
    critique_weaknesses: Annotated[list[str] | None, "what the critique found wanting"]
    rewrites: Annotated[int, "answers that were asked for again because they were cut or unreadable"]
    instruction_words: Annotated[int, "words of the instruction"]
    response_words: Annotated[int, "words of the answer"]
    draft_response_words: Annotated[int | None, "words of the answer before critique"]
    shirker: Annotated[Kind | None, "why the teacher's answer counts as low effort, where such rows are kept"]
    ablation: Annotated[Literal["none", "brief", "junk"], "whether the answer was replaced by a brief or a junk one"]
    replaced_response: Annotated[str | None, "the answer that stood here before it was replaced"]
    min_neighbor_distance: Annotated[float | None, "squared distance of embeddings to the nearest other instruction"] = None
    repeat_count: Annotated[int | None, "other instructions within the duplicate distance"] = None
    min_similar_id: Annotated[str | None, "id of the nearest other instruction"] = None
    embedder: Annotated[str | None, "model of the embeddings"] = None
