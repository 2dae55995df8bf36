"""What a campaign finds in its models' answers, against the answers themselves; and how its own models are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from campaigns import PROMOTES, read, run, settings
from tiny_llama import build_tiny

from pica.eval.ratio import ratio
from pica.recipes.flywheel.config import FlywheelConfig
from pica.recipes.flywheel.fighter import Fighter, start_of, trained
from pica.synth.config import parse_config
from pica.synth.embed import HashEmbedder
from pica.synth.filters.decontaminate import words_of
from pica.synth.models.base import ModelConfig
from pica.synth.source import open_source


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign whose first model answers `No.` to everything and is promoted for it."""
    folder = tmp_path_factory.mktemp("campaign")
    model = {"name": f"hf/{build_tiny(folder / 'tiny')}", "top_p": 0.9}
    run(settings(folder, folder, **{**PROMOTES, "stages": ["sft"]}, iterations=1, target=model,
                 collapse={"embedder": "hash", "kl": 2, "kl_tokens": 4}), folder / "F")
    return folder / "F"


def answers(folder: Path, label: str) -> dict[str, str]:
    """A model's answers by task, read from its battles."""
    return {row["task"]: row[f"answer_{side}"] for row in open_source(str(folder)) for side in "ab"
            if row[f"model_{side}"] == label}


def cosine(texts: list[str]) -> float:
    """The mean over all pairs."""
    vectors = HashEmbedder().embed(texts)
    pairs = [(one, other) for one in range(len(texts)) for other in range(one)]
    return float(sum(vectors[one] @ vectors[other] for one, other in pairs) / len(pairs))


def test_the_figures_are_those_of_the_answers(campaign: Path) -> None:
    start, now = answers(campaign / "start/evaluation", "start"), answers(campaign / "iterations/01/evaluation", "iteration 1")
    assert len(start) == 8 and set(now.values()) == {"No."}
    words = {task: len(words_of(text)) for task, text in start.items()}
    length = ratio([1] * 8, [words[task] for task in now])
    figures = [one["collapse"] for one in read(campaign)["iterations"]]
    assert [(one["answers"], one["empty"]) for one in figures] == [(8, 0), (8, 0)]
    assert (figures[0]["words"], figures[1]["words"]) == (sum(words.values()) / 8, 1)
    assert [figures[1][f"length_ratio{end}"] for end in ("", "_lower", "_upper")] == [length.value, length.lower, length.upper]
    assert figures[0]["self_similarity"] == pytest.approx(cosine(list(start.values())), abs=1e-6)
    assert figures[1]["self_similarity"] == pytest.approx(1)


def test_a_warning_names_the_start_and_now(campaign: Path) -> None:
    start = answers(campaign / "start/evaluation", "start")
    length = ratio([1] * 8, [len(words_of(text)) for text in start.values()])
    warnings = read(campaign)["warnings"]
    assert (f"iteration 1: answers resemble each other: their mean cosine is 1.00, {cosine(list(start.values())):.2f} at the "
            "start") in warnings
    assert (f"iteration 1: answers have {length.value:.2f} times ({length.lower:.2f} to {length.upper:.2f}) as many words as at "
            "the start") in warnings


def test_the_divergence_is_of_the_models_whatever_the_target_is_asked_with(campaign: Path) -> None:
    found = read(campaign)["iterations"][1]["collapse"]
    rows = list(open_source(str(campaign / "iterations/01/divergence")))
    assert found["kl_prompts"] == len(rows) == 2
    assert found["kl"] == pytest.approx(sum(row["logprob_model"] - row["logprob_start"] for row in rows) / 2) != 0
    asked = Fighter("start", ModelConfig(name="hf/x", temperature=0.7, top_p=0.9, dtype="bfloat16"), "hf/x").scored
    assert asked == ModelConfig(name="hf/x", dtype="bfloat16")


@pytest.mark.parametrize(("target", "engine", "extra"), [
    ("hf/there", "hf", {"slots": 4}), ("hf/there", "vllm", {}), ("vllm/there", "vllm", {"slots": 4}), ("local", "hf", {})])
def test_a_trained_model_is_asked_as_the_start(tmp_path: Path, target: str, engine: str, extra: dict[str, Any]) -> None:
    own = {"name": target, "temperature": 0.3, "context": 512, "identity": "mine", "revision": "v1", "extra": {"slots": 4}}
    config = parse_config(FlywheelConfig, settings(tmp_path, tmp_path, target=own, engine=engine))
    assert (start_of(config).model.extra, start_of(config).model.revision) == ({"slots": 4}, "v1")
    assert config.train_config("sft", [{"source": "D"}], start_of(config).weights, "v1").revision == "v1"
    assert trained("iteration 1", Path("/F/sft"), config) == Fighter("iteration 1", ModelConfig(
        name=f"{engine}//F/sft", temperature=0.3, context=512, extra=extra), "hf//F/sft")
