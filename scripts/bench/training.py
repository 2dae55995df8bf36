"""Tokens a second of `pica train sft` beside TRL's SFTTrainer called directly: the same model, rows, batches and settings.

    .venv/bin/python scripts/bench/training.py [--model FOLDER] [--steps 60] [--rounds 5]

Rounds alternate, so that what else the machine does meets both alike. Timed are the optimizer steps after the first.
Without --model a random Llama of 12 million parameters is trained. The ratio should be at least 0.98.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

SEED_TEXT = "The magpie looks at the mirror, and the mirror looks back. What does it see? A bird with a white belly."


def build(folder: Path) -> Path:
    """A random Llama with a byte-level tokenizer and a plain chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.train_from_iterator([SEED_TEXT], trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                               "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=384, intermediate_size=1024, num_hidden_layers=7,
                                 num_attention_heads=6, num_key_value_heads=6, eos_token_id=tokenizer.eos_token_id,
                                 pad_token_id=tokenizer.pad_token_id)).save_pretrained(folder)
    return folder


def rows(path: Path, count: int) -> Path:
    """Conversations of many lengths."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            talk = [{"role": "user", "content": f"Question {number}: {SEED_TEXT[: 10 + number * 7 % 80]}"},
                    {"role": "assistant", "content": " ".join([SEED_TEXT] * (1 + number % 3))}]
            file.write(json.dumps({"messages": talk}) + "\n")
    return path


def by_pica(model: Path, data: Path, out: Path, steps: int) -> float:
    """Tokens a second of `pica train`, from its own metrics."""
    from pica.synth.config import load_config
    from pica.train.run import train
    from pica.train.stage import load_stage

    stage = load_stage("sft")
    config = load_config(stage.config_class, words=[
        f"data={data}", f"model={model}", "batch_size=8", "per_device_batch_size=4", f"max_steps={steps}", "loss=all",
        "device=cpu", "gradient_checkpointing=off", "log_steps=10", f"checkpoint_steps={10 * steps}", "max_length=1024"])
    train(stage, config, out)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return float((lines[-1]["num_tokens"] - lines[0]["num_tokens"]) / (lines[-1]["seconds"] - lines[0]["seconds"]))


def by_trl(model: Path, data: Path, out: Path, steps: int) -> float:
    """Tokens a second of TRL's own trainer on the same rows."""
    import datasets
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):  # type: ignore[misc]
        """When each line was logged, and after how many tokens."""

        marks: list[tuple[float, float]] = []  # noqa: RUF012

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> None:
            if logs and "num_tokens" in logs and "loss" in logs:
                self.marks.append((time.monotonic(), float(logs["num_tokens"])))

    clock = Clock()
    clock.marks = []
    arguments = SFTConfig(output_dir=str(out), max_steps=steps, per_device_train_batch_size=4, gradient_accumulation_steps=2,
                          learning_rate=2e-5, lr_scheduler_type="cosine", warmup_steps=0.1, seed=0, data_seed=0, bf16=False,
                          use_cpu=True, gradient_checkpointing=False, save_strategy="no", logging_steps=10,
                          logging_first_step=True, report_to="none", disable_tqdm=True, max_length=1024,
                          model_init_kwargs={"dtype": "float32"}, dataloader_pin_memory=False)
    held = datasets.Dataset.from_list([json.loads(line) for line in data.read_text().splitlines()])
    trainer = SFTTrainer(str(model), args=arguments, train_dataset=held, callbacks=[clock],
                         processing_class=AutoTokenizer.from_pretrained(model))
    trainer.train()
    (began, before), (ended, after) = clock.marks[0], clock.marks[-1]
    return (after - before) / (ended - began)


def main() -> int:
    """Run the rounds; print a line each and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="checkpoint folder to train instead of a random one")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    from pica.train.worker import calm, no_telemetry

    no_telemetry()
    ratios = []
    with tempfile.TemporaryDirectory() as work, calm():
        folder = Path(work)
        model = options.model or build(folder / "model")
        data = rows(folder / "rows.jsonl", 400)
        for number in range(options.rounds):
            order = [by_pica, by_trl] if number % 2 == 0 else [by_trl, by_pica]
            speed = {run.__name__: run(model, data, folder / f"{run.__name__}-{number}", options.steps) for run in order}
            ratios.append(speed["by_pica"] / speed["by_trl"])
            print(f"round {number + 1}: pica {speed['by_pica']:,.0f} tokens/s, TRL {speed['by_trl']:,.0f}, "
                  f"ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f} (least {min(ratios):.3f}, greatest {max(ratios):.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
