"""Checklists that a model writes for a conversation, before anybody has answered it (TICK, arXiv:2410.03608)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pica.synth.prompts import Prompt
from pica.synth.rewards.judge import FOLDER

LEAST: Final = 2  # items of a checklist
MOST: Final = 8
#: what a model that writes a checklist answers
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object", "additionalProperties": False, "required": ["items"], "properties": {
        "items": {"type": "array", "minItems": LEAST, "maxItems": MOST, "items": {"type": "string", "minLength": 3}}}}


@cache
def writing_prompt() -> Prompt:
    """The prompt that asks for a checklist."""
    return Prompt.load(FOLDER / "write_checklist.txt")


def writing(conversation: str) -> str:
    """What to ask a model, so that it writes a checklist for `conversation`. Raises `TooLong`."""
    return writing_prompt().fill(conversation=conversation, least=str(LEAST), most=str(MOST))


def items_of(found: Mapping[str, Any]) -> list[str]:
    """The items of an answer that follows `SCHEMA`, each once."""
    return list(dict.fromkeys(item.strip() for item in found["items"] if item.strip()))
