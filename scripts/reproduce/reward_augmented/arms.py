"""One seed of the reproduction: a base policy, pairs of its answers, four trainings on them, and the rewards of each."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from policy import LONGEST, sample, write_tiny
from settings import Settings
from task import SCALE, Habits, answer, form, prompts, reward

from pica.recipes.reward_augmented.relabel import OVERALL, Labelled, Rules, ScoredPair, plain, relabel
from pica.synth.models.base import Message, assistant, user
from pica.synth.models.goal import Goal
from pica.train.config import DataSource, TrainConfig
from pica.train.dpo import DPOStageConfig
from pica.train.run import train
from pica.train.sft import SFTStageConfig
from pica.train.stage import load_stage

HELD_OUT = 12  # prompts that no training sees
GOALS = tuple(range(1, 11))
ARMS = ("DPO", "DPO, twice the steps", "reward-augmented", "reward-augmented, half")
BASE = "base policy"
Curves = dict[str, dict[str, float]]  # arm -> goal (none: "") -> mean reward


def goal(value: float) -> Goal:
    """A goal as the pairs are relabelled with."""
    return Goal(value=value, style="system", scale=SCALE, decimals=0)


def run_seed(settings: Settings, out: Path, seed: int) -> dict[str, Any]:
    """Everything of one seed, in a folder below `out`: {"seed", "rewards": Curves, "steps", "rows", "pairs"}.

    What is trained there already is not trained again.
    """
    _calm()
    folder = out / f"seed{seed}"
    known, held = split(seed)
    base = base_policy(settings, seed, known, folder)
    pairs = make_pairs(settings, seed, known, base)
    rewards, steps, rows = {BASE: measure(settings, seed, base, held)}, {}, {}
    for number, (arm, (data, epochs)) in enumerate(arms_of(pairs, seed).items()):
        file = _write(folder / f"arm{number}.jsonl", [_preference(one) for one in data])
        out = folder / f"arm{number}"
        manifest = train(load_stage("dpo"), DPOStageConfig(
            **_shared(file, base, seed, settings.batch), learning_rate=settings.rate, beta=settings.beta, epochs=epochs,
            precompute_reference=False), out).manifest
        steps[arm], rows[arm] = manifest["steps"], len(data)
        rewards[arm] = measure(settings, seed, out, held)
    return {"seed": seed, "rewards": rewards, "steps": steps, "rows": rows, "pairs": _described(pairs)}


def split(seed: int) -> tuple[list[str], list[str]]:
    """(prompts to train on, held-out prompts)."""
    every = prompts()
    random.Random(seed).shuffle(every)
    return every[HELD_OUT:], every[:HELD_OUT]


def base_policy(settings: Settings, seed: int, known: Sequence[str], folder: Path) -> Path:
    """A policy fine-tuned on answers of every quality, half of them under a goal that is sometimes theirs."""
    rng, rows = random.Random(seed), []
    for prompt in rng.choices(known, k=settings.corpus):
        said, messages = answer(prompt, Habits(), rng), [user(prompt)]
        if rng.random() < settings.goal_share:
            true = rng.random() < settings.goal_truth
            messages = goal(reward(prompt, said) if true else rng.choice(GOALS)).wrap(messages)
        rows.append({"messages": [*messages, assistant(said)]})
    model = settings.model
    if model == "tiny":
        model = str(folder / "tiny")
        write_tiny(folder / "tiny", [goal(value).text() for value in GOALS], width=settings.width, layers=settings.layers,
                   seed=seed)
    file = _write(folder / "corpus.jsonl", rows)
    config = SFTStageConfig(**_shared(file, model, seed, settings.sft_batch), learning_rate=settings.sft_rate)
    return train(load_stage("sft"), config, folder / "base").folder


def make_pairs(settings: Settings, seed: int, known: Sequence[str], base: Path) -> list[ScoredPair]:
    """Pairs of answers of the base policy, sampled without a goal and scored by the reward; ties are not drawn."""
    asked = [prompt for prompt in known for _ in range(settings.answers)]
    said: dict[str, list[str]] = {prompt: [] for prompt in known}
    answers = sample(base, [[user(prompt)] for prompt in asked], seed=seed, tokens=settings.tokens)
    for prompt, text in zip(asked, answers, strict=True):
        said[prompt].append(text)
    rng = random.Random(seed)
    choices = [pair for prompt, texts in said.items() for pair in _choices(settings, prompt, texts)]
    if not choices:
        raise SystemExit("the base policy's answers make no pair; give it a larger corpus, or --pairs any")
    return [_scored(*pair) for pair in rng.choices(choices, k=settings.pairs)]


def _choices(settings: Settings, prompt: str, texts: Sequence[str]) -> list[tuple[str, str, str]]:
    """(prompt, better, worse) of every two answers that `settings.choice` lets through."""
    marked = [(reward(prompt, text), form(text), text) for text in texts if text.strip()]
    return [(prompt, text, worse) for high, shape, text in marked for low, other, worse in marked
            if high > low and not (settings.choice == "close" and high - low > 2)
            and not (settings.choice == "same-form" and shape != other)]


def _scored(prompt: str, better: str, worse: str) -> ScoredPair:
    return ScoredPair([user(prompt)], [assistant(better)], [assistant(worse)], reward(prompt, better), reward(prompt, worse))


def arms_of(pairs: Sequence[ScoredPair], seed: int) -> dict[str, tuple[list[Labelled], float]]:
    """(rows, epochs) of each arm."""
    rules = Rules(scale=SCALE, source={OVERALL: SCALE}, decimals=0)
    half = Rules(scale=SCALE, source={OVERALL: SCALE}, decimals=0, half=True)
    rng = random.Random(seed)
    as_they_are = [plain(pair) for pair in pairs]
    return dict(zip(ARMS, [
        (as_they_are, 1.0), (as_they_are, 2.0), ([row for pair in pairs for row in relabel(pair, rules)], 1.0),
        ([row for pair in pairs for row in relabel(pair, half, seed=rng.randrange(2))], 1.0)], strict=True))


def measure(settings: Settings, seed: int, policy: Path, held: Sequence[str]) -> dict[str, float]:
    """Mean reward on the held-out prompts by goal, without one under ""."""
    asked = [(value, prompt) for value in (None, *GOALS) for prompt in held for _ in range(settings.samples)]
    texts = sample(policy, [_ask(prompt, value) for value, prompt in asked], seed=seed + 1_000_003, tokens=settings.tokens)
    rewards: dict[str, list[float]] = {}
    for (value, prompt), text in zip(asked, texts, strict=True):
        rewards.setdefault("" if value is None else str(value), []).append(reward(prompt, text))
    return {name: fmean(values) for name, values in rewards.items()}


def _ask(prompt: str, value: float | None) -> list[Message]:
    return [user(prompt)] if value is None else goal(value).wrap([user(prompt)])


def _shared(file: Path, model: str | Path, seed: int, batch: int) -> dict[str, Any]:
    """What every training is told. A model of our own is trained in batches as large as they are stated."""
    name = f"hf/{model}" if isinstance(model, Path) or Path(model).is_dir() else model
    fields = TrainConfig(data=(DataSource(source=str(file)),), model=name, seed=seed, batch_size=batch,
                         per_device_batch_size=batch, max_length=LONGEST, too_long="error", gradient_checkpointing="off",
                         checkpoint_steps=1_000_000, precision="fp32")
    return {name: getattr(fields, name) for name in fields.model_fields_set}


def _preference(row: Labelled) -> dict[str, Any]:
    return {"prompt": row.pair.prompt, "chosen": row.pair.chosen, "rejected": row.pair.rejected}


def _write(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _described(pairs: Sequence[ScoredPair]) -> dict[str, float]:
    return {"chosen": fmean(pair.score_chosen or 0 for pair in pairs),
            "rejected": fmean(pair.score_rejected or 0 for pair in pairs)}


def _calm() -> None:
    """One thread a process (the tensors are small, and seeds run side by side), and no bars."""
    import datasets
    import torch
    import transformers

    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
