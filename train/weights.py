"""The model that a training starts from: found, checked to be whole, and counted, before it is loaded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgspec
import orjson

from pica.synth.errors import FolderError, UsageError
from pica.synth.models import PROVIDERS
from pica.synth.models.hf import local_or_hub
from pica.train.stage import Head


class Start(msgspec.Struct, frozen=True):
    """What a training starts from. `path`: a folder or hub id; `identity` stands for the weights."""

    name: str
    path: str
    identity: str
    revision: str


class Size(msgspec.Struct, frozen=True):
    """What a model's config says of its size: parameters, layers, width, the dtype that it is stored in, and the tokens that it
    can see (None where it does not say)."""

    parameters: int
    layers: int
    width: int
    dtype: str
    context: int | None = None


def find_model(name: str, revision: str) -> Start:
    """The checkpoint that `name` means: `local`, a folder, or `hf/FOLDER-OR-ID`. Raises `UsageError`, `FolderError`."""
    if name == "local":
        from pica.synth.models.embedded import checkpoint_path

        path = str(checkpoint_path())
    else:
        path = _path(name)
    folder = Path(path).expanduser()
    if folder.is_dir():
        path = str(folder)
        check_folder(folder)
    return Start(name, path, local_or_hub(path, revision), revision)


def _path(name: str) -> str:
    kind, slash, rest = name.partition("/")
    if slash and kind == "hf":
        return rest
    if Path(name).expanduser().is_dir():
        return name
    if kind in PROVIDERS:
        hint = f"; for the same weights say hf/{rest}" if kind == "vllm" else ""
        raise UsageError(f"model={name} cannot be trained: its weights are not here as a checkpoint{hint}. Give local, a "
                         "checkpoint folder, or hf/ID-OR-PATH")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        raise UsageError(f"no folder {name!r}; for a model of the hub write model=hf/{name}")
    raise UsageError(f"unknown model {name!r}; give local, a checkpoint folder that exists, or hf/ID-OR-PATH")


def check_folder(folder: Path) -> None:
    """Raise unless the checkpoint in `folder` is whole: a finished training, every shard there and as long as it says."""
    if (folder / "settings.json").is_file() and not (folder / "manifest.json").is_file():
        raise FolderError(f"the training in {folder} has not ended (no manifest.json); give the command that began it again: "
                          "it goes on where it stopped")
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} is no checkpoint: it has no config.json; give a folder that transformers saved")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        for shard in sorted(set(orjson.loads(index.read_bytes())["weight_map"].values())):
            if not (folder / shard).is_file():
                raise FolderError(f"the checkpoint {folder} is cut short: {shard} is missing; copy it again")
    for file in sorted(folder.glob("*.safetensors")):
        if short := _cut_short(file):
            raise FolderError(f"the checkpoint {folder} is cut short: {file.name} {short}; copy it again")


def _cut_short(file: Path) -> str:
    """How much a safetensors file lacks, by its own header; empty when it is whole."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        first = handle.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if 8 + length > size:
            return f"has {size:,} bytes, which do not hold its header"
        try:
            header = orjson.loads(handle.read(length))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
            return "has a header that cannot be read"
    return f"has {size:,} bytes, not {8 + length + end:,}" if 8 + length + end != size else ""


def measure(start: Start, head: Head) -> Size:
    """The size of the model, from its config alone. Raises `UsageError` for a model of the wrong kind."""
    import torch
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(start.path, revision=start.revision or None, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:300]
        raise UsageError(f"transformers cannot read the config of {start.name!r} ({why}); give a checkpoint folder or a hub id "
                         "that it knows without trust_remote_code") from error
    made_for = (config.architectures or [""])[0]
    if head == "text" and "ForSequenceClassification" in made_for:
        raise UsageError(f"{start.name} is a reward model ({made_for}), which writes no text; give a language model")
    if head == "score" and "ForSequenceClassification" in made_for and config.num_labels != 1:
        raise UsageError(f"{start.name} gives {config.num_labels} numbers for a sequence and a reward model gives one; give a "
                         "language model, or a classifier with one label")
    kinds: dict[Head, Any] = {"text": transformers.AutoModelForCausalLM,
                              "score": transformers.AutoModelForSequenceClassification}
    stored = str(config.dtype or torch.float32).removeprefix("torch.")
    text = config.get_text_config()
    if head == "score":
        config.num_labels = 1
    try:
        with torch.device("meta"):
            model = kinds[head].from_config(config, trust_remote_code=False)
    except (ValueError, KeyError) as error:
        raise UsageError(f"transformers has no {'language' if head == 'text' else 'reward'} model of the kind of {start.name!r} "
                         f"({' '.join(str(error).split())[:200]})") from error
    return Size(sum(parameter.numel() for parameter in model.parameters()), int(getattr(text, "num_hidden_layers", 1)),
                int(getattr(text, "hidden_size", 1)), stored, getattr(text, "max_position_embeddings", None))
