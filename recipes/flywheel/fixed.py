"""What cannot change once a model of a campaign was measured: the prompts, and what measures.

Ratings compare the models of all iterations, and no model may have learnt from what another one is measured on. What feeds
training may change: the judge of its battles, its rivals, how a stage selects and learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pica.recipes.flywheel.config import START, FlywheelConfig
from pica.synth.errors import FolderError
from pica.synth.folder import differences

FIXED = ("seed", "n", "target", "data", "pool", "held_out", "tasks", "part_size")
#: settings of an evaluation that do not say how an answer is measured (or follow from those above)
FREE = ("seed", "tasks", "split", "models", "target", "audit", "level", "rounds", "anchor", "anchor_rating", "strong", "prior",
        "files")
LONGEST = 300  # characters that are quoted


def refuse_changes(config: FlywheelConfig, root: Path) -> None:
    """Raise `FolderError` where settings or files change that the iterations decided in `root` share with those to come."""
    if not (root / START / "decision.json").exists():
        return
    known = f"{root} has measured models already"
    old, new = _settings(root), config.identity()
    if changed := [name for name in FIXED if name in old and old[name] != new[name]]:
        raise FolderError(f"{known}, so {', '.join(changed)} cannot change there: they decide which prompts are held out, and "
                          "what ratings are compared with; give another --out")
    if told := pool_changes(config, root):
        raise FolderError(f"{known}, and its prompts would be others ({told[:LONGEST]}): what would be held out may have been "
                          "learnt from; give the prompts, gates.embedder and gates.distance as they were, or another --out")
    for evaluation in sorted(root.glob("*/evaluation")) + sorted(root.glob("iterations/*/evaluation")):
        if (evaluation.parent / "decision.json").exists():
            _same_measure(known, _settings(evaluation), config)


def pool_changes(config: FlywheelConfig, root: Path) -> str:
    """How the prompts in `root` would be made ready otherwise, in settings or contents; empty where they would not."""
    before = _settings(root / "pool")
    if not before:
        return ""
    return "; ".join(differences(before, config.pool_config(before["parts"] or 1).identity()))


def _same_measure(known: str, before: Mapping[str, Any], config: FlywheelConfig) -> None:
    """Raise `FolderError` unless models would be measured as in an evaluation with the settings `before`."""
    now = config.arena_config({"models": [rival.model_dump() for rival in config.rivals]}).identity()
    old, new = _measure(before), _measure(now)
    if changed := [name for name in old if name in new and old[name] != new[name]]:
        raise FolderError(f"{known}, and ratings compare all of them, so {', '.join(changed)} cannot change in measuring; keep "
                          f"it there with evaluation={{{changed[0]}: ...}}, so that it changes for the battles that feed a stage "
                          "alone, or give another --out")
    models = _by_label(before)
    if other := [label for label, one in _by_label(now).items() if models.get(label, one) != one]:
        raise FolderError(f"{known}, and the rival {other[0]!r} was another model then; give the new one a label of its own")


def _by_label(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {one["label"] or one["name"]: one for one in evaluation["models"]}


def _measure(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how answers are measured; files by their content."""
    files = evaluation.get("files", {})
    return {name: files.get(value, value) if isinstance(value, str) else value for name, value in evaluation.items()
            if name not in FREE}


def _settings(folder: Path) -> dict[str, Any]:
    """The settings that a folder was made with; none where it has none."""
    try:
        found: dict[str, Any] = orjson.loads((folder / "config.json").read_bytes())["config"]
        return found
    except (FileNotFoundError, KeyError, TypeError, orjson.JSONDecodeError):
        return {}
