"""Small datasets for trainings of seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Write = Callable[..., Path]


def talks(n: int = 16) -> list[dict[str, Any]]:
    """Conversations of two turns."""
    return [{"messages": [{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": f"It is {i}."},
                          {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Quite sure."}]}
            for i in range(n)]


def pairs(n: int = 16) -> list[dict[str, Any]]:
    """Preference pairs as texts."""
    return [{"prompt": f"What is {i}?", "chosen": f"It is {i}.", "rejected": "No idea, sorry."} for i in range(n)]
