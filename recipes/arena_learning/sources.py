"""Where battles are read from: folders of evaluations, and data with their columns.

    check_battles(["E", "F"])    # raises `UsageError` for what holds no battles; reads the first row of each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from pica.eval.audit.bouts import NAME as AUDIT
from pica.synth.card import Role
from pica.synth.errors import UsageError
from pica.synth.source import Source, open_source

ALLOWED = "allowed: folders of `pica eval arena`, `arena-hard` and `wildbench mode=reward`"
EVALUATIONS = ("arena", "arena-hard", "wildbench", "checklist")
NEEDED = ("task", "category", "prompt", "model_a", "model_b", "answer_a", "answer_b", "games")


def check_battles(names: Sequence[str]) -> list[Source]:
    """The sources, each with battles in its first row; no further row is read. Raises `UsageError` for what is not there, is no
    evaluation or has no battles, and `FolderError` for an evaluation that is not finished or damaged."""
    return [_open(name) for name in names]


def writers_in(sources: Sequence[Source], labels: Sequence[str]) -> list[Role]:
    """Who wrote the answers of `labels`: the models of that label where an evaluation says them, else the label itself."""
    found = []
    for label in labels:
        models = [(source.manifest or {}).get("config", {}).get("models") or () for source in sources]
        names = [str(one["name"]) for some in models for one in some if str(one.get("label") or one["name"]) == label]
        found += [("answers" if name == label else f"answers ({label})", name) for name in dict.fromkeys(names or [label])]
    return found


def _open(name: str) -> Source:
    if not Path(name).exists():
        raise UsageError(f"battles: there is no file or folder {name}; {ALLOWED}")
    try:
        source = open_source(name)
    except UsageError as error:
        recipe = _recipe(Path(name))
        raise error if recipe in {"", *EVALUATIONS} else UsageError(_no_evaluation(name, recipe)) from None
    recipe, first = str((source.manifest or {}).get("recipe", "")), next(iter(source))
    if recipe == AUDIT:
        raise UsageError(f"{name} is the audit of a judge, whose battles are no data; {ALLOWED}")
    missing = [column for column in NEEDED if column not in first]
    if not missing and all(isinstance(first[column], str) for column in ("model_a", "model_b")):
        return source
    if {"contestant", "score"} <= set(first) and recipe:
        mode = " (mode=score)" if recipe == "wildbench" else ""
        raise UsageError(f"{name} is a {recipe} evaluation{mode}, which has no battles; {ALLOWED}")
    if recipe and recipe not in EVALUATIONS:
        raise UsageError(_no_evaluation(name, recipe))
    what = f"no column {missing[0]!r}" if missing else "its first row names no two models"
    raise UsageError(f"{name} holds no battles ({what}); {ALLOWED}")


def _no_evaluation(name: str, recipe: str) -> str:
    return f"{name} is no evaluation ({recipe} made it); {ALLOWED}"


def _recipe(folder: Path) -> str:
    """The recipe of a folder of ours; empty where it is none."""
    try:
        found: Any = orjson.loads((folder / "manifest.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return ""
    return str(found.get("recipe", "")) if isinstance(found, Mapping) else ""
