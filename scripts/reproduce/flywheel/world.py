"""The prompts of a seed, and battles on them by the evaluation that `pica eval arena` runs."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings import JUDGE, LEVEL, RIVALS, Settings

from pica import recipes
from pica.eval.arena import Arena, ArenaConfig
from pica.synth.errors import UsageError
from pica.synth.models import open_model
from pica.synth.models.base import ModelConfig
from pica.synth.recipe import make
from pica.synth.source import open_source

PROMPTS = Path(recipes.__path__[0]) / "flywheel" / "prompts" / "tiny.jsonl"
START = "start"
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

    def part(self, iteration: int) -> Path:
        """Tasks of an iteration, which counts from 1."""
        return self.folder / f"part{iteration}.jsonl"

    def deal(self) -> None:
        """Write the files: the prompts in a seeded order, dealt one after another. Raises `UsageError` for too few."""
        settings = self.settings
        tasks = list(open_source(str(PROMPTS)))
        needed = settings.held_out + settings.iterations * settings.part
        if needed > len(tasks):
            raise UsageError(f"{settings.iterations} iterations need {needed} prompts ({settings.held_out} held out, "
                             f"{settings.part} a part), and there are {len(tasks)}; give fewer")
        random.Random(self.seed).shuffle(tasks)
        write_rows(self.held_out, tasks[:settings.held_out])
        for number in range(settings.iterations):
            begin = settings.held_out + number * settings.part
            write_rows(self.part(number + 1), tasks[begin:begin + settings.part])

    def fight(self, tasks: Path, models: Mapping[str, str], out: Path, *, everybody: bool = False, audit: int = 0,
              ) -> dict[str, Any]:
        """Battles of the first of `models` (label -> checkpoint) with the others and every rival, judged 1 to 10 in both orders,
        as a dataset folder `out`; its manifest. `everybody`: of all with all, so that rivals are rated as well. `audit`: tasks
        on which the judge is tried, with the writer's answers."""
        rivals = [{"name": name, "label": label} for label, name in RIVALS.items()]
        config = ArenaConfig.model_validate({
            "tasks": str(tasks), "models": [*rivals, *(contestant(label, path) for label, path in models.items())],
            "target": "" if everybody else next(iter(models)), "verdict": "scores", "judge": JUDGE, "seed": self.seed,
            "answer": {"temperature": 0.0, "max_tokens": self.settings.tokens}, "audit": {"tasks": audit}, "level": LEVEL,
            "rounds": self.settings.rounds, "ledger": str(self.folder / "ledger.sqlite")})
        return asyncio.run(make(Arena(config), out)).manifest


def contestant(label: str, path: str) -> dict[str, Any]:
    """A checkpoint as an evaluation takes it: its weights count by their content."""
    model = ModelConfig(name=f"hf/{path}")
    return {"name": model.name, "label": label, "identity": open_model(model).identity}


def write_rows(file: Path, rows: Sequence[Row]) -> Path:
    """Write JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file
