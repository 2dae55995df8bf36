"""Small campaigns for tests: a tiny random Llama that learns from scripted rivals, for a scripted judge."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pica.recipes.flywheel.campaign import Outcome, run_campaign
from pica.recipes.flywheel.config import FlywheelConfig
from pica.synth.config import parse_config

TRAIN = {"learning_rate": 1e-3, "max_steps": 1, "batch_size": 2, "max_length": 128, "too_long": "truncate",
         "schedule": "constant", "warmup": 0, "device": "cpu", "bad_rows": "reject"}
STAGE = {"k": 0, "train": TRAIN}
#: with which fine-tuning teaches the short answer of the rival `no`, so that the first model replaces the start and the second
#: does not; DPO learns from battles that were won
PROMOTES = {
    "stages": ["sft", "dpo"], "judge": "fake/judge?prefers=short", "gates": {"judge": "off", "level": 0.6, "category_drop": 0.5},
    "sft": {"k": 0, "train": {**TRAIN, "max_length": 256, "max_steps": 12, "learning_rate": 1e-2}},
    "dpo": {"k": 0, "wins": True, "train": {**TRAIN, "max_length": 256, "max_steps": 3, "checkpoint_steps": 1,
                                            "learning_rate": 1e-4}}}
TOPICS = ("rivers", "candles", "bread", "violins", "glaciers", "bridges", "spiders", "clocks", "paper", "salt", "kites", "owls",
          "tea", "comets", "ink", "bees", "wells", "looms", "maps", "ferries", "mirrors", "turnips", "harbours", "lanterns")


def prompts(folder: Path, number: int = len(TOPICS)) -> Path:
    """A file with so many prompts, whose author wants the topic to be named."""
    file = folder / "prompts.jsonl"
    rows = [{"id": f"task-{topic}", "category": ("land", "home")[place % 2], "prompt": f"Please tell me something about {topic}.",
             "checklist": [f"Names {topic}."]} for place, topic in enumerate(TOPICS[:number])]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def settings(folder: Path, model: Path, **more: Any) -> dict[str, Any]:
    """Settings of a campaign of seconds, with `more` over them."""
    values = {
        "target": f"hf/{model}", "judge": "fake/judge?prefers=checklist",
        "rivals": [{"name": "fake/magpie", "label": "writer"}, {"name": "fake/fixed?text=No.", "label": "no"}],
        "data": [str(prompts(folder))], "pool": {"min_length": 0, "prefix": 0, "languages": [], "embedder": "none"},
        "held_out": 8, "part_size": 4, "iterations": 2, "stages": ["sft"], "sft": STAGE, "dpo": STAGE,
        "answer": {"max_tokens": 16}, "evaluation": {"audit": 0}, "gates": {"judge": "off"}, "rounds": 100,
        "collapse": {"embedder": "hash", "kl": 0}}
    return {**values, **more}


def run(values: Mapping[str, Any], out: Path, *, update: bool = False, clock: Callable[[], float] = time.monotonic) -> Outcome:
    """Run a campaign, or go on with it."""
    return run_campaign(parse_config(FlywheelConfig, dict(values)), out, update=update, clock=clock)


def read(out: Path) -> dict[str, Any]:
    """What campaign.json says."""
    found: dict[str, Any] = json.loads((out / "campaign.json").read_text(encoding="utf-8"))
    return found


def lasting(out: Path) -> dict[str, bytes]:
    """Every file that an iteration decided on and learnt from, by its place: rows, weights, decisions."""
    patterns = ("start/decision.json", "iterations/*/decision.json", "pool/data/*", "start/*/data/*", "iterations/*/*/data/*",
                "iterations/*/*/model.safetensors")
    return {path.relative_to(out).as_posix(): path.read_bytes() for pattern in patterns for path in sorted(out.glob(pattern))}
