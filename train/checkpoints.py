"""Checkpoints whose validity can be decided: one is good when its seal, written last, lists every file with its size.

    checkpoints/checkpoint-500/sealed.json     {"model.safetensors": 538090408, ...}

A training goes on from its newest good one. Two are kept, so that one that is cut short never is the last.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson

SEAL = "sealed.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint folder is of."""
    found = _NAME.fullmatch(checkpoint.name)
    assert found, checkpoint
    return int(found[1])


def checkpoints(root: Path) -> list[Path]:
    """The checkpoint folders in `root`, newest first."""
    found = [item for item in root.iterdir() if item.is_dir() and _NAME.fullmatch(item.name)] if root.is_dir() else []
    return sorted(found, key=step_of, reverse=True)


def seal(checkpoint: Path) -> None:
    """Bring everything in `checkpoint` to the disk, then the list of it."""
    sizes = {}
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        sizes[file.relative_to(checkpoint).as_posix()] = file.stat().st_size
    part = checkpoint / f".{SEAL}.part"
    with part.open("wb") as handle:
        handle.write(orjson.dumps(sizes))
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(checkpoint / SEAL)


def fault(checkpoint: Path) -> str:
    """Why a checkpoint cannot be used; empty when it is good."""
    try:
        sizes = orjson.loads((checkpoint / SEAL).read_bytes())
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, orjson.JSONDecodeError):
        return f"{SEAL} cannot be read"
    for name, size in sizes.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size:,} bytes, not {size:,}"
    return ""


def latest(root: Path, say: Callable[[str], None]) -> Path | None:
    """The newest good checkpoint, None where there is none. Newer ones that are not good are told of and removed."""
    for checkpoint in checkpoints(root):
        why = fault(checkpoint)
        if not why:
            return checkpoint
        say(f"{checkpoint.name} cannot be used ({why}); taking the one before")
        shutil.rmtree(checkpoint)
    return None


def rotate(root: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for checkpoint in checkpoints(root)[keep:]:
        shutil.rmtree(checkpoint, ignore_errors=True)
