"""A dataset folder is what `datasets` and TRL take as it is: real trainers, real steps, weights that move."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest

from pica.recipes.magpie.config import MagpieConfig
from pica.recipes.magpie.recipe import Magpie
from pica.synth.config import parse_config
from pica.synth.recipe import make

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]  # the trainers' own warnings are not ours to mend


def dataset(folder: Path, **settings: Any) -> Any:
    """A Magpie folder by the fake model, loaded as a user would."""
    from datasets import load_dataset

    config = parse_config(MagpieConfig, {"n": 16, "teacher": "fake/magpie", "filters": {"safe": False},
                                         "duplicates": {"embedder": "hash"}, **settings})
    asyncio.run(make(Magpie(config), folder))
    return load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "cache"))


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    """A random Llama of two layers with the embedded model's tokenizer and chat template."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from pica.synth.models.embedded import checkpoint_path

    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=2, bos_token_id=tokenizer.bos_token_id,
                         eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return LlamaForCausalLM(config), tokenizer


def train(trainer: Any) -> tuple[float, float]:
    """(loss, how far the weights moved)."""
    import torch

    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    loss = trainer.train().training_loss
    moved = sum(float(torch.linalg.vector_norm(after.detach() - old))
                for old, after in zip(before, trainer.model.parameters(), strict=True))
    return loss, moved


def settings(folder: Path) -> dict[str, Any]:
    return {"output_dir": str(folder), "max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-2,
            "report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", "logging_steps": 1,
            "disable_tqdm": True}


def test_sft_trainer_takes_the_folder(tmp_path: Path, tiny: tuple[Any, Any]) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = dataset(tmp_path / "sft", turns=2)
    assert rows[0]["messages"][-1]["role"] == "assistant" and len(rows[0]["messages"]) == 4
    model, tokenizer = tiny
    args = SFTConfig(max_length=256, **settings(tmp_path / "m"))
    loss, moved = train(SFTTrainer(model, args=args, train_dataset=rows, processing_class=tokenizer))
    assert 0 < loss < 20 and moved > 0


def test_dpo_trainer_takes_the_preference_folder(tmp_path: Path, tiny: tuple[Any, Any]) -> None:
    from trl import DPOConfig, DPOTrainer

    rows = dataset(tmp_path / "dpo", preferences={"k": 3})
    assert {"prompt", "chosen", "rejected", "score_chosen", "score_rejected"} <= set(rows.column_names)
    assert all(row["score_chosen"] > row["score_rejected"] for row in rows)
    model, tokenizer = tiny
    args = DPOConfig(max_length=256, **settings(tmp_path / "m"))
    loss, moved = train(DPOTrainer(model, copy.deepcopy(model), args=args, train_dataset=rows,
                                   processing_class=tokenizer))
    assert 0 < loss < 20 and moved > 0
