"""Evaluation prompts from files, and the rows of a table that hold one dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from pica.synth.errors import UsageError
from pica.synth.table import Table

KEYS = ("prompt", "instruction", "question")


def read_prompts(path: Path) -> list[str]:
    """Evaluation prompts: one a line, or JSON lines with `prompt`, `instruction` or `question`. Raises `UsageError`."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"decontaminate: cannot read {path}: {why}; give text files, one prompt a line, or .jsonl") from None
    if path.suffix != ".jsonl":
        return lines
    prompts = []
    for number, line in enumerate(lines, 1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{path} line {number} is not JSON: {error}") from None
        keys = KEYS if isinstance(row, dict) else ()
        text = next((row[key] for key in keys if isinstance(row.get(key), str)), None)
        if text is None:
            raise UsageError(f"{path} line {number} has no text under prompt, instruction or question")
        prompts.append(text)
    return prompts


def drop_overlaps(table: Table, prompts: Mapping[str, Sequence[str]], *, column: str = "instruction",
                  reason: str = "holds an evaluation prompt") -> None:
    """Drop the rows alive whose `column` shares 13 words in a row, or a whole shorter prompt, with one of `prompts` (by
    the name of where they come from)."""
    from pica.synth.filters.decontaminate import EvalIndex

    found = EvalIndex(prompts).overlaps(table.column(column))
    table.keep([overlap is None for overlap in found], reason, [overlap.explain() if overlap else "" for overlap in found])
