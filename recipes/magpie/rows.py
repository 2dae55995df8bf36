"""The rows that Magpie makes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pica.recipes.magpie.config import Difficulty, Quality
from pica.synth.rows import Messages, Provenance


class MagpieFields(Provenance, kw_only=True):
    """What every Magpie row says. Tags are None where they were not asked for or could not be parsed."""

    instruction: Annotated[str, "first user message"]
    instruction_edits: Annotated[list[str], "what sanitising removed from the sampled instruction"]
    instruction_model: Annotated[str, "model that wrote the user's messages"]
    input_temperature: Annotated[float, "temperature of the user's messages", "plain"]
    input_top_p: Annotated[float, "top-p of the user's messages", "plain"]
    pre_query_template: Annotated[str, "text that the instruction was sampled after"]
    control: Annotated[str, "topic, persona or task that the instruction was steered to", "category"] = ""
    turns: Annotated[int, "user turns", "plain"] = 1
    input_length: Annotated[int, "characters of the user's messages"] = 0
    output_length: Annotated[int, "characters of the answers"] = 0
    intent: Annotated[str | None, "what the user wants, by the tagger"] = None
    knowledge: Annotated[str | None, "what one must know to answer, by the tagger"] = None
    difficulty: Annotated[Difficulty | None, "of the instruction, by the tagger"] = None
    input_quality: Annotated[Quality | None, "of the instruction, by the tagger"] = None
    quality_explanation: Annotated[str | None, "why that quality"] = None
    task_category: Annotated[str | None, "kind of task, by the tagger", "category"] = None
    other_task_category: Annotated[list[str] | None, "further kinds that fit"] = None
    tagger: Annotated[str | None, "model that tagged difficulty, quality and category"] = None
    unparsed: Annotated[list[str], "tags whose answers could not be parsed"] = msgspec.field(default_factory=list)
    safety: Annotated[str | None, "safe or unsafe, of instruction and answer", "category"] = None
    safety_category: Annotated[str | None, "what is unsafe"] = None
    safety_model: Annotated[str | None, "model that judged safety"] = None
    language: Annotated[str | None, "ISO 639-1 code of the instruction; und: undetermined", "category"] = None
    instruct_reward: Annotated[float | None, "reward of the (chosen) answer"] = None
    reward_model: Annotated[str | None, "model that gave the reward, and its scale"] = None
    base_output: Annotated[str | None, "the base model's answer"] = None
    base_reward: Annotated[float | None, "reward of the base model's answer"] = None
    base_model: Annotated[str | None, "the base model"] = None
    reward_difference: Annotated[float | None, "reward minus the base answer's reward"] = None
    min_neighbor_distance: Annotated[float | None, "squared distance of embeddings to the nearest other instruction"] = None
    repeat_count: Annotated[int | None, "other instructions within the duplicate distance"] = None
    min_similar_id: Annotated[str | None, "id of the nearest other instruction"] = None
    embedder: Annotated[str | None, "model of the embeddings"] = None
    response_temperature: Annotated[float, "temperature of the answers", "plain"] = 0.0


class MagpieRow(MagpieFields, kw_only=True):
    """A conversation."""

    messages: Annotated[Messages, "the conversation, ending with the assistant"]


class MagpiePreferenceRow(MagpieFields, kw_only=True):
    """A preference pair with all its candidates."""

    prompt: Annotated[Messages, "the instruction"]
    chosen: Annotated[Messages, "the answer with the highest reward"]
    rejected: Annotated[Messages, "the answer with the lowest reward"]
    score_chosen: Annotated[float | None, "its reward"]
    score_rejected: Annotated[float | None, "its reward"]
    responses: Annotated[list[str], "all answers, in the order of their samples"]
    rewards: Annotated[list[float], "their rewards"]
