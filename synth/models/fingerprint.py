"""What stands for local weights in a ledger key: a hash of their content, not of where they lie.

Small files (configuration, tokenizer, chat template) are hashed whole. Weights count by size, by their header (names,
types and shapes of all tensors) and by the SHA-256 of their first and last megabyte: a fine-tuned copy differs in all
of these regions, and a 140 GB model takes no longer than a small one. Moving or copying a folder changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from pica.synth.errors import UsageError

_EDGE = 1 << 20
_SMALL = 64 << 20
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx")
_COUNTED = (*_WEIGHTS, ".json", ".jinja", ".model", ".txt", ".vocab", ".tiktoken")
#: what trainers leave beside the weights, and Pica's own record of a training; it changes no answer
_BYSTANDERS = re.compile(r"settings\.json|manifest\.json|trainer_state\.json|training_args\.bin|.*_results\.json"
                         r"|(optimizer|scheduler|scaler|rng_state).*")
#: folders that belong to a model: the modules of sentence-transformers, and several chat templates
_MODULES = re.compile(r"\d+_\w+|additional_chat_templates")


def fingerprint(path: Path) -> str:
    """16 hexadecimal digits for the content of a weights file or a checkpoint folder.

    Raises `UsageError` where there is nothing at `path`, or nothing in the folder that a model is made of.
    """
    if path.is_file():
        return _of_file(path)[:16]
    if not path.is_dir():
        raise UsageError(f"no model at {str(path)!r}: give a weights file or a checkpoint folder that exists")
    files = sorted((file.relative_to(path).as_posix(), file) for file in _model_files(path))
    if not files:
        raise UsageError(f"no model in {str(path)!r}: a checkpoint folder holds config.json, a tokenizer and weights")
    whole = hashlib.sha256()
    for name, file in files:
        whole.update(f"{name}\0{_of_file(file)}\n".encode())
    return whole.hexdigest()[:16]


def _model_files(folder: Path) -> list[Path]:
    """The files that decide what the model answers."""
    found = []
    for entry in folder.iterdir():
        if entry.is_dir() and _MODULES.fullmatch(entry.name):
            found += [file for file in entry.rglob("*") if file.is_file() and file.suffix in _COUNTED]
        elif entry.is_file() and entry.suffix in _COUNTED and not _BYSTANDERS.fullmatch(entry.name):
            found.append(entry)
    return found


def _of_file(path: Path) -> str:
    stat = path.stat()
    return _hashed(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hashed(path: Path, size: int, mtime_ns: int) -> str:
    """The file's hash. `mtime_ns` is there so that a changed file is read again."""
    del mtime_ns
    digest = hashlib.sha256(f"{size}\n".encode())
    with path.open("rb") as file:
        if path.suffix not in _WEIGHTS and size <= _SMALL:
            digest.update(file.read())
            return digest.hexdigest()
        if path.suffix == ".safetensors":
            header = int.from_bytes(file.read(8), "little")
            digest.update(file.read(min(header, size, 256 << 20)))
        digest.update(file.read(_EDGE))
        file.seek(max(0, size - _EDGE))
        digest.update(file.read(_EDGE))
    return digest.hexdigest()
