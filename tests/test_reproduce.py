"""The reproduction of reward augmentation: its reward, its statistics, and the whole command at its smallest."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from script_modules import module_of

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "reproduce" / "reward_augmented"
ARMS = ["DPO", "DPO, twice the steps", "reward-augmented", "reward-augmented, half"]


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """The script's modules, importable as they are for the script itself."""
    with module_of(SCRIPT, "figures") as figures:
        yield figures


@pytest.mark.parametrize(("text", "reward"), [
    ("tea, owl, iron", 2), ("tea, milk, cocoa", 4), ("tea , milk , tea", 3), ("They are tea, milk and cocoa.", 7),
    ("They are owl, iron and cod.", 4), ("Gladly! They are tea, milk and cocoa.", 10), ("Gladly! They are owl, cod and fig.", 7),
    ("They are tea, milk and", 1), ("", 1), ("tea milk cocoa", 1), ("Gladly! Gladly! They are tea, milk and cocoa.", 1),
])
def test_reward(script: ModuleType, text: str, reward: float) -> None:
    import task

    assert task.reward("Can you name three drinks?", text) == reward


def test_answers_of_the_corpus_span_the_scale(script: ModuleType) -> None:
    import task

    rng, habits = random.Random(0), task.Habits()
    rewards = {task.reward(prompt, task.answer(prompt, habits, rng)) for prompt in task.prompts() for _ in range(100)}
    assert rewards == set(range(1, 11))


def test_arms_hold_the_same_pairs(script: ModuleType) -> None:
    import arms

    pairs = [arms._scored("Name three fish.", "They are cod, eel and trout.", "cod, eel, trout"),
             arms._scored("Name three fish.", "cod, eel, trout", "cod, eel, iron")]
    built = arms.arms_of(pairs, seed=0)
    assert list(built) == ARMS
    assert [(len(rows), epochs) for rows, epochs in built.values()] == [(2, 1.0), (2, 2.0), (4, 1.0), (2, 1.0)]
    asked = [(row.pair.prompt[0]["content"].rpartition(" ")[2], row.pair.chosen[0]["content"]) for row in built[ARMS[2]][0]]
    assert asked == [("7", "They are cod, eel and trout."), ("4", "cod, eel, trout"), ("4", "cod, eel, trout"),
                     ("3", "cod, eel, iron")]


def test_statistics(script: ModuleType) -> None:
    mean = script.over_seeds([1.0, 2.0, 3.0])
    assert (mean.value, round(mean.low, 3), round(mean.high, 3), mean.seeds) == (2.0, -0.484, 4.484, 3)  # 4.303 / sqrt(3)
    curve = {"": 5.0, **{str(value): float(value) for value in range(1, 11)}}
    flat = dict.fromkeys(curve, 6.0)
    seeds = [{"rewards": {**dict.fromkeys(["base policy", *ARMS], flat), ARMS[2]: curve}} for _ in range(2)]
    assert [one.value for one in script.follows(seeds, ARMS[2])] == [1.0, 7.0]
    assert [one.value for one in script.follows(seeds, ARMS[0])] == [0.0, 0.0]
    assert script.differences(seeds)["reward-augmented at goal 10 − DPO"].low == 4.0
    assert "A higher goal yields a higher reward" in script.verdict(seeds) and "beats plain DPO" in script.verdict(seeds)
    worse = [{"rewards": {**seed["rewards"], ARMS[0]: dict.fromkeys(curve, 11.0)}} for seed in seeds]
    assert "does worse than plain DPO" in script.verdict(worse)


def test_the_command_runs_at_its_smallest(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--smallest", "--seeds", "1", "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    seed = results["seeds"][0]
    assert seed["rows"] == dict(zip(ARMS, [64, 64, 128, 64], strict=True))
    assert seed["steps"] == dict(zip(ARMS, [4, 8, 8, 4], strict=True))
    assert set(seed["rewards"]) == {"base policy", *ARMS}
    assert all(1 <= value <= 10 for curve in seed["rewards"].values() for value in curve.values())
    assert all(list(curve) == ["", *map(str, range(1, 11))] for curve in seed["rewards"].values())
    assert results["verdict"] in done.stdout
    assert "Reward by goal" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
