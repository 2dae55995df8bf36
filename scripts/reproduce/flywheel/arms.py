"""One seed of the reproduction: arms that learn as many rows of the same battles, and differ in which.

| arm | prompts | whose answer |
|---|---|---|
| `selected` | those that the target lost | the rival's with the best score |
| `drawn` | drawn | the rival's with the best score |
| `unselected` | drawn, the same | a rival's, drawn |
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from statistics import fmean
from typing import Any

from prompts import RIVALS
from settings import Settings
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

SELECTED, DRAWN, RANDOM = ARMS = ("selected", "drawn", "unselected")
LONGEST = 256  # tokens of prompt and answer together


def label(arm: str, iteration: int) -> str:
    """What a model is called; before the first iteration it is the start, in every arm."""
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
    audit = world.audit(world.folder / "audit")
    world.fight(world.held_out, {START: begin}, world.folder / START)
    battles = _rows(world.folder / START)
    models: dict[str, dict[str, Any]] = {START: {"rows": 0, "steps": 0}}
    paths = dict.fromkeys(ARMS, begin)
    for iteration in range(1, settings.iterations + 1):
        count, data = rows_of(world, iteration, paths[SELECTED])
        met: dict[str, str] = {}  # the other arms' models of this iteration
        for arm in ARMS:
            name, folder = label(arm, iteration), world.folder / f"{arm}{iteration}"
            others = {START: begin, label(arm, iteration - 1): paths[arm], **met}
            steps = learn(world, paths[arm], data[arm], folder / "model") if count else 0
            met[name] = paths[arm] = str(folder / "model") if count else paths[arm]
            world.fight(world.held_out, {name: paths[arm], **others}, folder / "evaluation")
            own = _rows(folder / "evaluation")
            battles += own
            models[name] = {"rows": count, "steps": steps, "record": record(_between(own, name, START), name)}
    return {"seed": seed, "audit": audit, "models": models, "battles": battles}


def rows_of(world: World, iteration: int, target: str) -> tuple[int, dict[str, Path]]:
    """Let the checkpoint `target` fight on the iteration's part; how many rows each arm learns from, and where they are."""
    fought, chosen = world.folder / f"battles{iteration}", world.folder / f"data{iteration}"
    world.fight(world.part(iteration), {label(SELECTED, iteration - 1): target}, fought)
    count = select(iteration, label(SELECTED, iteration - 1), fought, chosen)
    return count, {SELECTED: chosen, **controls(world, iteration, fought, count)}


def select(iteration: int, target: str, fought: Path, out: Path) -> int:
    """Make the dataset of the target's lost battles in `out` by the recipe `arena-learning` with the paper's thresholds; how
    many rows."""
    config = ArenaLearningConfig.model_validate({
        "battles": [str(fought)], "target": target, "use": "sft", "preset": "first" if iteration == 1 else "later",
        "winner": "score"})
    try:
        return int(asyncio.run(make(ArenaLearning(config), out)).manifest["rows"]["out"])
    except NothingSelected:
        return 0


def controls(world: World, iteration: int, fought: Path, count: int) -> dict[str, Path]:
    """Files of the controls, by arm, with as many rows as were selected: prompts of the same part, drawn, the same for both."""
    rng = random.Random(f"{world.seed} {iteration}")
    by_task: dict[str, list[tuple[float, str, Row]]] = {}
    for row in _rows(fought):
        side = "a" if row["model_a"] in RIVALS else "b"
        score = fmean(game[f"score_{side}"] for game in row["games"])
        said = {"messages": [*row["prompt"], assistant(row[f"answer_{side}"])]}
        by_task.setdefault(row["task"], []).append((score, row[f"model_{side}"], said))
    drawn = rng.sample(sorted(by_task), count)
    rows: dict[str, list[Row]] = {DRAWN: [], RANDOM: []}
    for task in drawn:
        said = sorted(by_task[task], key=lambda one: one[:2])
        rows[DRAWN].append(rng.choice([one for one in said if one[0] == said[-1][0]])[2])
        rows[RANDOM].append(rng.choice(said)[2])
    return {arm: write_rows(world.folder / f"{arm}{iteration}.jsonl", made) for arm, made in rows.items()}


def learn(world: World, start: str, data: Path, out: Path) -> int:
    """Fine-tune the checkpoint `start` into the folder `out`; how many optimizer steps."""
    settings = world.settings
    config = SFTStageConfig.model_validate({
        "data": str(data), "model": f"hf/{start}", "learning_rate": settings.rate, "epochs": settings.epochs,
        "batch_size": settings.batch, "per_device_batch_size": settings.batch, "max_length": LONGEST, "too_long": "error",
        "schedule": "linear", "warmup": 0.2, "precision": settings.precision, "gradient_checkpointing": "off",
        "seed": world.seed, "checkpoint_steps": 1_000_000})
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
