"""The output folder of a training: at once a checkpoint (`hf/M`) and a record of how it came to be.

    settings.json      what was asked for, written first: it claims the folder
    config.json, model*.safetensors, tokenizer...    the model
    adapter/           the adapters, where they were trained alone
    README.md          model card          report.html, metrics.jsonl, rejected.jsonl
    checkpoints/       while it trains     .work/   what is needed only while it runs
    manifest.json      written last: its presence means "complete"
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from pica.synth.errors import FolderError
from pica.synth.folder import differences
from pica.synth.lock import FileLock

RECORDS = ("manifest.json", "settings.json", "report.html", "README.md", "metrics.jsonl", "rejected.jsonl", "adapter",
           "checkpoints", "tensorboard", ".work")
#: what trainers and tokenizers write for a model
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*", "vocab*",
               "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*", "adapter_config.json",
               "spiece.model", "*.tiktoken")


class ModelFolder:
    """The folder `path` (made if absent), held against other processes until `close`. `rank`: number of the machine."""

    def __init__(self, path: Path, *, own: tuple[str, ...] = (), rank: int = 0) -> None:
        self.path, self._own = path, own
        self.checkpoints = path / "checkpoints"
        self._made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = sorted(item.name for item in path.iterdir() if not item.name.startswith("."))
            if strangers and not (path / "settings.json").exists() and set(strangers) - {"checkpoints", *own}:
                raise FolderError(f"{path} holds something else ({', '.join(strangers[:3])}); give an empty or new folder "
                                  "with --out")
            name = ".lock" if not rank else f".lock-{rank}"
            self._lock = FileLock(path / name, what=f"folder {path}", error=FolderError)
        except OSError as error:
            raise FolderError(f"cannot write to {path} ({error.strerror}); give a folder that can be written with "
                              "--out") from None
        self.work = path / ".work" / str(rank)

    def refuse(self, wanted: dict[str, Any], *, update: bool) -> None:
        """Raise `FolderError` if the folder is of other settings; with `update`, empty it for the new ones."""
        found = self.read("settings.json")
        if found is None:
            return
        changes = list(differences({key: found.get(key) for key in wanted}, wanted))
        if changes and not update:
            raise FolderError(f"{self.path} holds another training: {'; '.join(changes)}. Give another --out, or --update to "
                              "begin anew there (its checkpoints are lost)")
        if changes:
            self.discard()

    def claim(self, wanted: dict[str, Any]) -> None:
        """Make this the folder of these settings."""
        if self.read("settings.json") is None:
            self.write_json("settings.json", {"id": uuid4().hex, **wanted})

    def discard(self) -> None:
        """Remove what a training wrote here."""
        for name in (*RECORDS, *self._own):
            item = self.path / name
            shutil.rmtree(item, ignore_errors=True) if item.is_dir() else item.unlink(missing_ok=True)
        for pattern in MODEL_FILES:
            for item in self.path.glob(pattern):
                item.unlink()

    def read(self, name: str) -> Any:
        """The JSON file `name`, or None when absent. Raises `FolderError` when it is damaged."""
        try:
            return orjson.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        except orjson.JSONDecodeError as error:
            raise FolderError(f"{self.path / name} is damaged ({error}); begin anew in another --out") from None

    def complete(self) -> dict[str, Any] | None:
        """The manifest, if the folder is complete and its weights are as long as they were written; else None."""
        manifest = self.read("manifest.json")
        if not isinstance(manifest, dict):
            return None
        whole = all((self.path / name).is_file() and (self.path / name).stat().st_size == size
                    for name, size in manifest["files"].items() if name.endswith(".safetensors"))
        return manifest if whole else None

    def take_in(self, folder: Path) -> None:
        """Move the files of `folder` (a saved model) here, as readable as any other file."""
        readable = (self.path / "settings.json").stat().st_mode
        for item in sorted(folder.iterdir()):
            item.chmod(readable)
            item.replace(self.path / item.name)
        folder.rmdir()

    def files(self) -> dict[str, int]:
        """Size in bytes of every file that makes up the model and its record."""
        found = [path for path in sorted(self.path.rglob("*")) if path.is_file() and path.name != "manifest.json"
                 and not path.relative_to(self.path).parts[0].startswith((".", "checkpoints"))]
        return {path.relative_to(self.path).as_posix(): path.stat().st_size for path in found}

    def write_text(self, name: str, text: str) -> None:
        """Write a file so that it is there whole or not at all."""
        partial = self.path / f".{name}.partial"
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / name)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file for people and programs."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Remove what was needed only while running, and let others in; a folder in which nothing began goes too."""
        shutil.rmtree(self.work, ignore_errors=True)
        if (self.path / ".work").is_dir() and not any((self.path / ".work").iterdir()):
            (self.path / ".work").rmdir()
        self._lock.release()
        if self._made and all(item.name.startswith(".lock") for item in self.path.iterdir()):
            shutil.rmtree(self.path, ignore_errors=True)
