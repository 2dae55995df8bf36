"""From what the trainer saved to a checkpoint that every other command takes: adapters merged, weights in their dtype."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson

from pica.train.config import TrainConfig
from pica.train.stage import Head
from pica.train.weights import Start

_BYSTANDERS = ("training_args.bin", "README.md")


def finish_model(saved: Path, work: Path, config: TrainConfig, start: Start, head: Head, dtype: str) -> Path:
    """The folder with the model as it is to be used. With `lora`, `saved` holds the adapters and stays as it is."""
    for name in _BYSTANDERS:
        (saved / name).unlink(missing_ok=True)
    if config.lora is None:
        cast(saved, dtype)
        _note(saved / "config.json", lambda values: values.update(use_cache=True))  # trainers turn it off
        return saved
    whole = work / "whole"
    if config.lora.merge:
        _merge(saved, whole, start, head, dtype)
    else:
        shutil.copytree(saved, whole)
    for file in (work / "tokenizer").iterdir():
        shutil.copy2(file, whole / file.name)
    return whole


def _merge(adapter: Path, whole: Path, start: Start, head: Head, dtype: str) -> None:
    """Load the model that was started from, add the adapters' updates to its weights, save it."""
    import torch
    import transformers
    from peft import PeftModel

    kind: Any = transformers.AutoModelForCausalLM
    more: dict[str, Any] = {}
    if head == "score":
        kind, more = transformers.AutoModelForSequenceClassification, {"num_labels": 1}
    base = kind.from_pretrained(start.path, revision=start.revision or None, dtype=torch.float32, trust_remote_code=False, **more)
    merged = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    if merged.config.get_text_config().pad_token_id is None:  # a reward model finds its last token by it
        merged.config.get_text_config().pad_token_id = _padding(adapter)
    merged.to(getattr(torch, dtype)).save_pretrained(whole)


def _padding(adapter: Path) -> int | None:
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(adapter, trust_remote_code=False).pad_token_id
    return None if found is None else int(found)


def cast(folder: Path, dtype: str) -> None:
    """Store the floating-point weights in `folder` as `dtype`, a file at a time."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    wanted, size = getattr(torch, dtype), 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as held:
            notes = held.metadata()
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118  # it is no mapping
        other = {name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.dtype != wanted}
        if other:
            tensors = {name: tensor.to(wanted) if name in other else tensor for name, tensor in tensors.items()}
            save_file(tensors, file.with_suffix(".part"), metadata=notes)
            file.with_suffix(".part").replace(file)
        size += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    _note(folder / "model.safetensors.index.json", lambda index: index["metadata"].update(total_size=size))
    _note(folder / "config.json", lambda config: config.update(dtype=dtype))


def _note(file: Path, change: Any) -> None:
    if file.is_file():
        values = orjson.loads(file.read_bytes())
        change(values)
        file.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))
