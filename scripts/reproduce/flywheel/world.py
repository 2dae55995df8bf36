"""The prompts of a seed, and battles on them by the evaluation that `pica eval arena` runs."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompts import GUIDE, KINDS, TOPICS, answers, tasks
from settings import JUDGE, LEVEL, Settings

from pica.eval.arena import Arena
from pica.eval.arena_config import ArenaConfig
from pica.synth.errors import UsageError
from pica.synth.models import open_model
from pica.synth.models.base import ModelConfig
from pica.synth.recipe import make

START = "start"
AUDITED = 8  # tasks on which the judge is tried
DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """The prompts of a seed as files of tasks below `folder`: those held out, and a part for each iteration."""

    settings: Settings
    folder: Path
    seed: int

    @property
    def held_out(self) -> Path:
        """Tasks that no training sees."""
        return self.folder / "held_out.jsonl"

    @property
    def rivals(self) -> Path:
        """The rivals' answers to all tasks."""
        return self.folder / "rivals.jsonl"

    def part(self, iteration: int) -> Path:
        """Tasks of an iteration, which counts from 1."""
        return self.folder / f"part{iteration}.jsonl"

    def deal(self) -> None:
        """Write the files: the topics in a seeded order, dealt one after another. Raises `UsageError` for too few."""
        settings = self.settings
        needed = settings.held_out + settings.iterations * settings.part
        if needed > len(TOPICS):
            raise UsageError(f"{settings.iterations} iterations need {needed} topics ({settings.held_out} held out, "
                             f"{settings.part} a part), and there are {len(TOPICS)}; give fewer")
        topics = random.Random(self.seed).sample(TOPICS, len(TOPICS))
        _write_tasks(self.held_out, topics[:settings.held_out])
        for number in range(settings.iterations):
            begin = settings.held_out + number * settings.part
            _write_tasks(self.part(number + 1), topics[begin:begin + settings.part])
        write_rows(self.rivals, [row for topic in topics for row in answers(topic)])

    def fight(self, tasks: Path, models: Mapping[str, str], out: Path) -> None:
        """Battles of the first of `models` (label -> checkpoint) with the others and every rival, judged 1 to 10 in both orders,
        as a dataset folder `out`."""
        self._arena(out, tasks=str(tasks), models=[self._contestant(label, path) for label, path in models.items()],
                    target=next(iter(models)), audit={"tasks": 0})

    def audit(self, out: Path) -> str:
        """What an audit of the judge finds on prompts whose expert is the first of the rivals, in a sentence."""
        manifest = self._arena(out, tasks=str(self.held_out), target=GUIDE, audit={"tasks": AUDITED},
                               categories=[kind.name for kind in KINDS if kind.expert == GUIDE])
        return str(manifest["notes"]["audit"]["sentence"])

    def _arena(self, out: Path, **given: Any) -> dict[str, Any]:
        """An evaluation with the rivals, in the folder `out`; its manifest."""
        config = ArenaConfig.model_validate({
            "answers": str(self.rivals), "verdict": "scores", "judge": JUDGE, "seed": self.seed, "level": LEVEL,
            "answer": {"temperature": 0.0, "max_tokens": self.settings.tokens}, "rounds": self.settings.rounds,
            "ledger": str(self.folder / "ledger.sqlite"), **given})
        return asyncio.run(make(Arena(config), out)).manifest

    def _contestant(self, label: str, path: str) -> dict[str, Any]:
        """A checkpoint as an evaluation takes it: its weights count by their content."""
        model = ModelConfig(name=f"hf/{path}", dtype=DTYPES[self.settings.precision])
        return {"name": model.name, "label": label, "dtype": model.dtype, "identity": open_model(model).identity}


def _write_tasks(file: Path, topics: Sequence[str]) -> None:
    write_rows(file, [task for topic in topics for task in tasks(topic)])


def write_rows(file: Path, rows: Sequence[Row]) -> Path:
    """Write JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file
