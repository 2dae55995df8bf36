"""JSON schemas of the answers that Magpie asks a model for: tags and safety."""

from __future__ import annotations

from typing import Any, Final

#: Difficulty from least to most.
DIFFICULTIES: Final = ("very easy", "easy", "medium", "hard", "very hard")

#: Quality of an instruction from least to most.
QUALITIES: Final = ("very poor", "poor", "average", "good", "excellent")

#: Kinds of task.
CATEGORIES: Final = ("Information seeking", "Reasoning", "Planning", "Editing", "Coding & Debugging", "Math",
                     "Role playing", "Data analysis", "Creative writing", "Advice seeking", "Brainstorming", "Others")

#: What a conversation can be unsafe for; "none" goes with a safe one.
HARMS: Final = ("none", "violence", "crime", "weapons", "sexual", "minors", "hate", "self-harm", "privacy", "malware",
                "advice", "other")


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _choice(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


_SENTENCE: Final = {"type": "string", "minLength": 1, "maxLength": 240}

#: Answer to `tag_difficulty.txt`.
DIFFICULTY: Final = _object(intent=_SENTENCE, knowledge=_SENTENCE, difficulty=_choice(*DIFFICULTIES))

#: Answer to `tag_quality.txt`: the explanation comes first, so that it leads to the grade.
QUALITY: Final = _object(explanation=_SENTENCE, input_quality=_choice(*QUALITIES))

#: Answer to `tag_category.txt`.
CATEGORY: Final = _object(primary_tag=_choice(*CATEGORIES),
                          other_tags={"type": "array", "items": _choice(*CATEGORIES), "maxItems": 3})

#: Answer to `safety_judge.txt`.
SAFETY: Final = _object(verdict=_choice("safe", "unsafe"), category=_choice(*HARMS))

#: Prompt file -> schema of its answer.
SCHEMAS: Final = {"tag_difficulty": DIFFICULTY, "tag_quality": QUALITY, "tag_category": CATEGORY,
                  "safety_judge": SAFETY}
