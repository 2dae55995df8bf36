"""A valid JSON document for a JSON schema, drawn by a random generator. Part of the fake models."""

from __future__ import annotations

import random
from typing import Any

from pica.synth.errors import BadRequest

Schema = dict[str, Any]
#: Keywords that limit values in ways this generator does not follow: it refuses them instead of answering wrongly.
UNSUPPORTED = ("pattern", "not", "if", "dependentRequired", "dependentSchemas", "uniqueItems", "patternProperties",
               "contains", "multipleOf", "format", "propertyNames")
WORDS = ("clear", "short", "useful", "vague", "specific", "careful", "plain", "honest", "detailed", "creative")


def instance(schema: Schema, rng: random.Random, root: Schema | None = None, depth: int = 0) -> Any:
    """A value that follows `schema`. Raises `BadRequest` for a keyword it cannot follow (`UNSUPPORTED`)."""
    root = schema if root is None else root
    schema = _resolve(schema, root)
    for keyword in UNSUPPORTED:
        if schema.get(keyword):
            raise BadRequest(f"the fake model cannot follow the schema keyword {keyword!r}; leave it out of the schema")
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return instance(rng.choice(schema[choice]), rng, root, depth)
    return _typed(schema, rng, root, depth)


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


def _typed(schema: Schema, rng: random.Random, root: Schema, depth: int) -> Any:
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = rng.choice(kind)
    match kind:
        case "object":
            return _object(schema, rng, root, depth)
        case "array":
            return _array(schema, rng, root, depth)
        case "integer" | "number":
            return _number(schema, rng, whole=kind == "integer")
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
    return _string(schema, rng)


def _object(schema: Schema, rng: random.Random, root: Schema, depth: int) -> dict[str, Any]:
    required = schema.get("required", ())
    return {key: instance(part, rng, root, depth + 1) for key, part in schema.get("properties", {}).items()
            if key in required or (depth < 4 and rng.random() < 0.5)}


def _array(schema: Schema, rng: random.Random, root: Schema, depth: int) -> list[Any]:
    low = int(schema.get("minItems", 0))
    count = rng.randint(low, max(low, min(int(schema.get("maxItems", low + 3)), low + 3)))
    if depth > 6:
        count = low
    return [instance(schema.get("items", {}), rng, root, depth + 1) for _ in range(count)]


def _number(schema: Schema, rng: random.Random, *, whole: bool) -> int | float:
    step = 1 if whole else 1e-3
    low = schema.get("minimum", schema["exclusiveMinimum"] + step if "exclusiveMinimum" in schema else None)
    high = schema.get("maximum", schema["exclusiveMaximum"] - step if "exclusiveMaximum" in schema else None)
    low = (high - 10 if high is not None else 0) if low is None else low
    high = low + 10 if high is None else high
    return rng.randint(int(low), int(high)) if whole else round(rng.uniform(low, high), 3)


def _string(schema: Schema, rng: random.Random) -> str:
    low = int(schema.get("minLength", 0))
    text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 6)))
    while len(text) < low:
        text += " " + rng.choice(WORDS)
    return text[:max(low, int(schema.get("maxLength", len(text))))]
