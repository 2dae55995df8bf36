"""Where a campaign lies. Its steps name one another by their whole paths, so in a folder that was moved these are written anew
before anything is compared with them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pica.synth.folder import DatasetFolder

STEPS = ("pool", "start/*", "iterations/*/*")
RECORDS = ("config.json", "settings.json", "manifest.json")  # files of steps that hold settings


def root_of(folder: DatasetFolder) -> Path:
    """The whole path of the folder, the same from wherever it is given."""
    return Path(os.path.abspath(folder.path))


def follow(folder: DatasetFolder) -> None:
    """Bring the paths in the records of a campaign's steps to where its folder is now. A kill on the way does no harm."""
    known, root = folder.read("config.json"), root_of(folder)
    old = known.get("place") if isinstance(known, dict) and known.get("recipe") == "flywheel" else None
    if not old or old == str(root):
        return
    # not what a kill left rewritten; after a provider's name, or in the middle of a phrase too
    path = re.compile(rf"(^(?:hf/|vllm/)?|\s)(?!{re.escape(str(root))}[/\\]){re.escape(old)}(?=[/\\])")
    for file in sorted(file for step in STEPS for name in RECORDS for file in root.glob(f"{step}/{name}")):
        _rewrite(folder, file.relative_to(root).as_posix(), path, str(root))
    note(folder)


def note(folder: DatasetFolder) -> None:
    """Keep where the folder is, beside its settings."""
    known, place = folder.read("config.json"), str(root_of(folder))
    if known.get("place") != place:
        folder.write_json("config.json", {**known, "place": place})


def _rewrite(folder: DatasetFolder, name: str, path: re.Pattern[str], root: str) -> None:
    """Change the paths in a record of a step. The config.json of a model is none: it belongs to the weights."""
    found = folder.read(name)
    if isinstance(found, dict) and ("recipe" in found or "stage" in found):
        moved = _moved(found, path, root)
        if moved != found:
            folder.write_json(name, moved)


def _moved(value: Any, path: re.Pattern[str], root: str) -> Any:
    if isinstance(value, str):
        return path.sub(lambda match: f"{match[1]}{root}", value)
    if isinstance(value, dict):
        return {_moved(key, path, root): _moved(inner, path, root) for key, inner in value.items()}
    return [_moved(inner, path, root) for inner in value] if isinstance(value, list) else value
