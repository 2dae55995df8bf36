"""One seed of the reproduction: two arms that learn from the same battles, one from those that were lost, one from any."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from settings import RIVALS, Settings
from world import START, Row, World, write_rows

from pica.eval.battle_rows import record
from pica.recipes.arena_learning.config import ArenaLearningConfig
from pica.recipes.arena_learning.recipe import ArenaLearning, NothingSelected
from pica.synth.models.base import assistant
from pica.synth.recipe import make
from pica.synth.source import open_source
from pica.train.run import train
from pica.train.sft import SFTStageConfig
from pica.train.stage import load_stage
from pica.train.weights import find_model

SELECTED, RANDOM = ARMS = ("selected", "unselected")
AUDITED = 8  # held-out tasks on which the judge is tried
LONGEST = 256  # tokens of prompt and answer together


def label(arm: str, iteration: int) -> str:
    """What a model is called; before the first iteration it is the start, in both arms."""
    return f"{arm} {iteration}" if iteration else START


def run_seed(settings: Settings, out: Path, seed: int) -> dict[str, Any]:
    """Everything of one seed, in a folder below `out`: {"seed", "audit", "models": {label: {"rows", "steps", "record"}},
    "battles"}, the battles being those on held-out prompts (see `pica.eval.battle_rows`).

    What is there already is not made again.
    """
    world = World(settings, out / f"seed{seed}", seed)
    world.deal()
    _calm()
    begin = find_model(settings.model, "").path
    manifest = world.fight(world.held_out, {START: begin}, world.folder / START / "evaluation", audit=AUDITED)
    battles = _rows(world.folder / START / "evaluation")
    models: dict[str, dict[str, Any]] = {START: {"rows": 0, "steps": 0}}
    paths = dict.fromkeys(ARMS, begin)
    for iteration in range(1, settings.iterations + 1):
        target = label(SELECTED, iteration - 1)
        fought, chosen = world.folder / f"battles{iteration}", world.folder / f"data{iteration}"
        world.fight(world.part(iteration), {target: paths[SELECTED]}, fought, everybody=True)
        count = select(settings, iteration, target, fought, chosen)
        data = {SELECTED: chosen, RANDOM: unselected(world, iteration, fought, count)}
        for arm in ARMS:
            name, folder = label(arm, iteration), world.folder / f"{arm}{iteration}"
            steps = learn(world, paths[arm], data[arm], folder / "model") if count else 0
            paths[arm] = str(folder / "model") if count else paths[arm]
            world.fight(world.held_out, {name: paths[arm], START: begin}, folder / "evaluation")
            own = _rows(folder / "evaluation")
            battles += own
            models[name] = {"rows": count, "steps": steps, "record": record(_between(own, name, START), name)}
    return {"seed": seed, "audit": manifest["notes"]["audit"]["sentence"], "models": models, "battles": battles}


def select(settings: Settings, iteration: int, target: str, fought: Path, out: Path) -> int:
    """Make the dataset of the target's lost battles in `out` by the recipe `arena-learning` with the paper's thresholds; how
    many rows."""
    config = ArenaLearningConfig.model_validate({
        "battles": [str(fought)], "target": target, "use": "sft", "preset": "first" if iteration == 1 else "later",
        "winner": settings.winner})
    try:
        return int(asyncio.run(make(ArenaLearning(config), out)).manifest["rows"]["out"])
    except NothingSelected:
        return 0


def unselected(world: World, iteration: int, fought: Path, count: int) -> Path:
    """A file with as many rows as were selected: prompts of the same part, drawn, with the answers of rivals, drawn."""
    rng = random.Random(f"{world.seed} {iteration}")
    by_task: dict[str, dict[str, Row]] = {}
    for row in _rows(fought):
        for side in "ab":
            if row[f"model_{side}"] in RIVALS:
                said = {"messages": [*row["prompt"], assistant(row[f"answer_{side}"])]}
                by_task.setdefault(row["task"], {})[row[f"model_{side}"]] = said
    drawn = rng.sample(sorted(by_task), count)
    return write_rows(world.folder / f"unselected{iteration}.jsonl",
                      [by_task[task][rng.choice(sorted(by_task[task]))] for task in drawn])


def learn(world: World, start: str, data: Path, out: Path) -> int:
    """Fine-tune the checkpoint `start` into the folder `out`; how many optimizer steps."""
    settings = world.settings
    config = SFTStageConfig.model_validate({
        "data": str(data), "model": f"hf/{start}", "learning_rate": settings.rate, "epochs": settings.epochs,
        "batch_size": settings.batch, "per_device_batch_size": settings.batch, "max_length": LONGEST, "too_long": "error",
        "schedule": "constant", "warmup": 0, "precision": "fp32", "gradient_checkpointing": "off", "seed": world.seed,
        "checkpoint_steps": 1_000_000})
    return int(train(load_stage("sft"), config, out).manifest["steps"])


def _rows(folder: Path) -> list[Row]:
    return list(open_source(str(folder)))


def _between(battles: list[Row], one: str, other: str) -> list[Row]:
    return [row for row in battles if {row["model_a"], row["model_b"]} == {one, other}]


def _calm() -> None:
    """No bars."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
