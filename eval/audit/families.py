"""Which family a model is of, for a judge's preference for its own kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

#: names that say nothing of their family
KIN = {"local": "smollm"}


def family_by(families: Mapping[str, str]) -> Callable[[str], str]:
    """A function from a label or a model's name to its family: what `families` says, else how the name begins."""
    def family(name: str) -> str:
        return families.get(name) or KIN.get(name) or named(name)

    return family


def named(name: str) -> str:
    """The letters with which the last part of a model's name begins: `openai/gpt-4o@URL` is `gpt`, `hf/Qwen/Qwen3` is `qwen`."""
    last = re.split(r"[@?]", name)[0].rstrip("/").rsplit("/", 1)[-1].lower()
    begins = re.match(r"[^\W\d_]+", last)
    return begins[0] if begins else last
