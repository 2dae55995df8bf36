"""A tiny random Llama, and small datasets, for trainings of seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import build_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model with SmolLM2's chat template."""
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


Write = Callable[..., Path]


@pytest.fixture
def lines(tmp_path: Path) -> Write:
    """Writes rows as JSON lines: `lines("name", [row, ...])` gives the file."""

    def write(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def talks(n: int = 16) -> list[dict[str, Any]]:
    """Conversations of two turns."""
    return [{"messages": [{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": f"It is {i}."},
                          {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Quite sure."}]}
            for i in range(n)]


def pairs(n: int = 16) -> list[dict[str, Any]]:
    """Preference pairs as texts."""
    return [{"prompt": f"What is {i}?", "chosen": f"It is {i}.", "rejected": "No idea, sorry."} for i in range(n)]
