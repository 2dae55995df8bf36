"""Structured answers: JSON that a model wrote, parsed strictly, checked against a schema, asked for again with a bound.

What is tolerated: white space, a code fence, and prose around the only top-level object. Anything else raises
`Unparsed`; there is never a default value, so an answer that cannot be read stays unread.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pica.synth.errors import UsageError
from pica.synth.models.base import Answer

#: What `check` understands. Everything else in a schema is an error, since it would go unchecked.
KEYWORDS = frozenset({"type", "enum", "const", "required", "properties", "items", "additionalProperties", "minimum",
                      "maximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems"})
_NOTES = frozenset({"title", "description", "$schema", "default", "examples"})
_OBJECT_START = re.compile(r'\{\s*"')
#: A string (perhaps cut short) or a brace; possessive, so that hostile text costs linear time.
_PIECES = re.compile(r'"(?:[^"\\]|\\.)*+\\?(?:"|\Z)|[{}]', re.DOTALL)
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


class Unparsed(ValueError):
    """An answer that is not the JSON it should be; the text says where and why."""


async def ask_json(ask: Callable[[int], Awaitable[Answer]], schema: Mapping[str, Any], *,
                   tries: int = 3) -> dict[str, Any]:
    """Asks up to `tries` times until the answer follows `schema`; `ask(k)` makes attempt k, with a seed of its own.

    Raises `Unparsed` with the reason of every attempt otherwise. Errors of the call itself pass through.
    """
    if tries < 1:
        raise UsageError(f"tries={tries}: at least 1")
    reasons = []
    for attempt in range(tries):
        answer = await ask(attempt)
        try:
            return parse_json(answer.text, schema)
        except Unparsed as error:
            reasons.append(f"{error}{' (cut by max_tokens)' if answer.truncated else ''}")
    raise Unparsed(f"no valid answer in {tries} tries: " + "; ".join(dict.fromkeys(reasons)))


def parse_json(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The only top-level JSON object in `text`, checked against `schema`. Raises `Unparsed` saying what is wrong where.

    NUL and lone surrogates in strings become U+FFFD.
    """
    start, end = _only_object(text)
    try:
        value = json.loads(text[start:end], object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Unparsed(f"not JSON at character {start + error.pos}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise Unparsed(f"not usable JSON: {str(error)[:200]}") from None
    check(value, schema)
    result: dict[str, Any] = value
    return result


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the key {twice[0][:80]!r} stands twice")
    return {writable(key): _writable(value) for key, value in pairs}


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return writable(value)
    return [_writable(v) for v in value] if isinstance(value, list) else value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _only_object(text: str) -> tuple[int, int]:
    """Where the only top-level object starts and ends; an object within strings or objects does not count."""
    stripped = text.strip()
    if stripped.startswith("{") and stripped.endswith("}"):
        start = len(text) - len(text.lstrip())
        if _closing(text, start) == start + len(stripped):
            return start, start + len(stripped)
    found: list[tuple[int, int]] = []
    position = 0
    while match := _OBJECT_START.search(text, position):
        end = _closing(text, match.start())
        if end is None:
            raise Unparsed(f"the object that starts at character {match.start()} is not closed")
        found.append((match.start(), end))
        position = end
    if len(found) != 1:
        raise Unparsed(f"{len(found) or 'no'} JSON objects in the answer of {len(text)} characters; one is expected")
    return found[0]


def _closing(text: str, start: int) -> int | None:
    """The end of the object that opens at `start`, braces within strings aside; None where it stays open."""
    depth = 0
    for piece in _PIECES.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(piece[0], 0)
        if depth == 0:
            return piece.end()
    return None


def check(value: Any, schema: Mapping[str, Any], path: str = "$") -> None:
    """Raises `Unparsed` where `value` does not follow `schema`, `UsageError` where the schema goes beyond `KEYWORDS`.

    As JSON Schema has it, but that 1.0 is not an integer, that True is no number, and that a text longer than `maxLength` is
    read all the same: the bound is for models that a grammar holds, which might never stop.
    """
    unknown = set(schema) - KEYWORDS - _NOTES
    if unknown:
        raise UsageError(f"schema keyword {sorted(unknown)[0]!r} at {path} would go unchecked; known: "
                         f"{', '.join(sorted(KEYWORDS))}")
    _check_type(value, schema, path)
    if "enum" in schema and not any(_same(value, allowed) for allowed in schema["enum"]):
        raise Unparsed(f"{path}: {_short(value)} is none of {_short(schema['enum'])}")
    if "const" in schema and not _same(value, schema["const"]):
        raise Unparsed(f"{path}: {_short(value)} is not {_short(schema['const'])}")
    if isinstance(value, dict):
        _check_object(value, schema, path)
    elif isinstance(value, list):
        _check_array(value, schema, path)
    elif isinstance(value, str):
        _check_range(len(value), schema, "minLength", "", f"{path}: length")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_range(value, schema, "minimum", "maximum", path)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}


def _check_type(value: Any, schema: Mapping[str, Any], path: str) -> None:
    wanted = schema.get("type")
    if wanted is None:
        return
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if unknown := set(names) - set(_TYPES):
        raise UsageError(f"schema type {sorted(unknown)[0]!r} at {path}; known: {', '.join(_TYPES)}")
    if not any(_TYPES[name](value) for name in names):
        raise Unparsed(f"{path}: {_short(value)} is not of type {' or '.join(names)}")


def _check_object(value: dict[str, Any], schema: Mapping[str, Any], path: str) -> None:
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        raise Unparsed(f"{path}: {', '.join(missing)} missing; keys: {_short(list(value))}")
    further = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            check(item, properties[name], f"{path}.{name}")
        elif further is False:
            raise Unparsed(f"{path}: unknown key {_short(name)}; known: {', '.join(properties)}")
        elif isinstance(further, Mapping):
            check(item, further, f"{path}.{name[:40]}")


def _check_array(value: list[Any], schema: Mapping[str, Any], path: str) -> None:
    _check_range(len(value), schema, "minItems", "maxItems", f"{path}: number of items")
    if schema.get("uniqueItems") and any(_same(a, b) for i, a in enumerate(value) for b in value[:i]):
        raise Unparsed(f"{path}: an item stands twice in {_short(value)}")
    for number, item in enumerate(value):
        check(item, schema.get("items", {}), f"{path}[{number}]")


def _check_range(size: float, schema: Mapping[str, Any], low: str, high: str, what: str) -> None:
    if low in schema and size < schema[low]:
        raise Unparsed(f"{what} {size} is below {schema[low]}")
    if high in schema and size > schema[high]:
        raise Unparsed(f"{what} {size} is above {schema[high]}")


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 120 else text[:117] + "..."


def writable(text: str) -> str:
    """The text with every NUL and lone surrogate replaced by U+FFFD, so that it can be encoded and sent."""
    return _UNWRITABLE.sub("\ufffd", text)
