"""JSON schemas of what the recipe asks for."""

from __future__ import annotations

from typing import Any, Final

NAME_LENGTH: Final = 80
LINE_LENGTH: Final = 240
#: Characters that are asked for at least. Where the server holds a model to the schema, a weak one cannot stop at a word; what
#: is shorter all the same is read and left to the detector of low effort.
LEAST_INSTRUCTION: Final = 40
LEAST_RESPONSE: Final = 80


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_NAME: Final = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH}
_LINE: Final = {"type": "string", "minLength": 1, "maxLength": LINE_LENGTH}
_ENTRY: Final = _object(name=_NAME, description=_LINE)
_LINES: Final = {"type": "array", "items": _LINE, "minItems": 1, "maxItems": 4}

#: Answer to `topics.txt`, `skills_of_topic.txt` and `query_types.txt`.
LIST: Final = _object(items={"type": "array", "items": _ENTRY, "minItems": 1, "maxItems": 100})

#: Answer to `extract.txt`.
EXTRACT: Final = _object(topic=_NAME, skills={"type": "array", "items": _ENTRY, "minItems": 1, "maxItems": 5},
                         query_type=_ENTRY)

#: Answer to `create.txt`, `refine.txt` and `rewrite.txt`, as it is asked for.
PAIR: Final = _object(instruction={"type": "string", "minLength": LEAST_INSTRUCTION},
                      response={"type": "string", "minLength": LEAST_RESPONSE})

#: The same as it is read.
PAIR_READ: Final = _object(instruction={"type": "string"}, response={"type": "string"})

#: Answer to `critique.txt`.
CRITIQUE: Final = _object(strengths=_LINES, weaknesses=_LINES)
