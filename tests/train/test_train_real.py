"""A few steps on the real small model: the loss falls, the margin rises, and a recipe uses what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lessons import Write

from pica.cli import main

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

BIRDS = ["magpie", "raven", "rook", "jay", "crow", "jackdaw", "chough", "nutcracker"]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def command(*words: str) -> None:
    assert main(["train", *words, "model=local", "device=cpu", "batch_size=2", "max_steps=3", "warmup=0", "log_steps=1",
                 "--quiet"]) == 0


def test_sft_lowers_the_loss_and_a_recipe_uses_the_model(lines: Write, tmp_path: Path) -> None:
    data = lines("talks", [{"messages": [
        {"role": "user", "content": f"Name a relative of the {bird}."},
        {"role": "assistant", "content": "All corvids: crow, jay, magpie, rook."}]} for bird in BIRDS])
    command("sft", f"data={data}", "learning_rate=1e-4", "--out", str(tmp_path / "M"))
    losses = [line["loss"] for line in metrics(tmp_path / "M")]
    assert losses[2] < losses[0] * 0.8
    assert main(["run", "magpie", f"teacher=hf/{tmp_path / 'M'}", "n=1", "instruction.max_tokens=8", "response.max_tokens=4",
                 "tags=[]", "response_never_stopped=keep", "sanitize.never_stopped=keep", "duplicates.embedder=hash", "--quiet",
                 "--out", str(tmp_path / "D")]) == 0


def test_dpo_raises_the_margin(lines: Write, tmp_path: Path) -> None:
    data = lines("pairs", [{"prompt": f"Is a {bird} a bird?", "chosen": "Yes, it is a corvid.", "rejected": "I would not know."}
                           for bird in BIRDS])
    command("dpo", f"data={data}", "learning_rate=1e-5", "--out", str(tmp_path / "M"))
    margins = [line["rewards/margins"] for line in metrics(tmp_path / "M")]
    assert margins[0] == 0 < margins[1] < margins[2]
