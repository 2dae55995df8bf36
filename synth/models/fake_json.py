"""A valid JSON document for a JSON schema, drawn by a random generator. Part of the fake models.

A string whose property is one of `writers` is written by that function, so that it reads like an instruction, an answer or a
name; every other one is a few words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from pica.synth.errors import BadRequest

Schema = dict[str, Any]
Writers = Mapping[str, Callable[[random.Random], str]]
#: Keywords that limit values in ways this generator does not follow: it refuses them instead of answering wrongly.
UNSUPPORTED = ("pattern", "not", "if", "dependentRequired", "dependentSchemas", "uniqueItems", "patternProperties",
               "contains", "multipleOf", "format", "propertyNames")
WORDS = ("clear", "short", "useful", "vague", "specific", "careful", "plain", "honest", "detailed", "creative")


def instance(schema: Schema, rng: random.Random, writers: Writers | None = None) -> Any:
    """A value that follows `schema`. Raises `BadRequest` for a keyword it cannot follow (`UNSUPPORTED`)."""
    return _Document(schema, rng, writers or {}).value(schema)


class _Document:
    """A document being drawn: its whole schema, the generator, and who writes which property."""

    def __init__(self, root: Schema, rng: random.Random, writers: Writers) -> None:
        self._root, self._rng, self._writers = root, rng, writers

    def value(self, schema: Schema, depth: int = 0, name: str = "") -> Any:
        schema = _resolve(schema, self._root)
        for keyword in UNSUPPORTED:
            if schema.get(keyword):
                raise BadRequest(f"the fake model cannot follow the schema keyword {keyword!r}; leave it out of the schema")
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._rng.choice(schema["enum"])
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self.value(self._rng.choice(schema[choice]), depth, name)
        return self._typed(schema, depth, name)

    def _typed(self, schema: Schema, depth: int, name: str) -> Any:
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = self._rng.choice(kind)
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return _number(schema, self._rng, whole=kind == "integer")
            case "boolean":
                return self._rng.random() < 0.5
            case "null":
                return None
        return _string(schema, self._rng, self._writers.get(name))

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        return {key: self.value(part, depth + 1, key) for key, part in schema.get("properties", {}).items()
                if key in required or (depth < 4 and self._rng.random() < 0.5)}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        low = int(schema.get("minItems", 0))
        count = self._rng.randint(low, max(low, min(int(schema.get("maxItems", low + 3)), low + 3)))
        if depth > 6:
            count = low
        return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]


def _resolve(schema: Schema, root: Schema) -> Schema:
    """Follow `$ref` inside the document, and merge `allOf`."""
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#").strip("/").split("/"):
            target = target[part] if part else target
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    if "allOf" in schema:
        merged: Schema = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            merged |= _resolve(part, root)
        return merged
    return schema


def _number(schema: Schema, rng: random.Random, *, whole: bool) -> int | float:
    step = 1 if whole else 1e-3
    low = schema.get("minimum", schema["exclusiveMinimum"] + step if "exclusiveMinimum" in schema else None)
    high = schema.get("maximum", schema["exclusiveMaximum"] - step if "exclusiveMaximum" in schema else None)
    low = (high - 10 if high is not None else 0) if low is None else low
    high = low + 10 if high is None else high
    return rng.randint(int(low), int(high)) if whole else round(rng.uniform(low, high), 3)


def _string(schema: Schema, rng: random.Random, write: Callable[[random.Random], str] | None) -> str:
    low = int(schema.get("minLength", 0))
    text = write(rng) if write else " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 6)))
    while len(text) < low:
        text += " " + rng.choice(WORDS)
    return text[:max(low, int(schema.get("maxLength", len(text))))]
