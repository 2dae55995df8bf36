"""Prompts that must not be learnt from: read from files, shipped tasks, data and evaluations, and looked for in others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pica.eval.tasks import prompts_in, said
from pica.recipes.arena_learning.config import ArenaLearningConfig, Prompts
from pica.synth.embed import Embedder, open_embedder
from pica.synth.filters.decontaminate import EvalIndex
from pica.synth.filters.evaluations import read_prompts
from pica.synth.models.base import Message


def overlaps(config: ArenaLearningConfig, prompts: Sequence[Sequence[Message]]) -> list[str]:
    """For every prompt the evidence that it holds one that must not be learnt from; empty where there is none.

    By words always (13 in a row, or all of a shorter prompt); with an embedder also by nearest neighbour. Raises `UsageError`.
    """
    if not config.decontaminate:
        return [""] * len(prompts)
    embedder: Embedder | None = None if config.embedder == "none" else open_embedder(config.embedder)
    held = {f"{one.source}{'' if one.split == 'train' else f' ({one.split})'}": _read(one) for one in config.decontaminate}
    index = EvalIndex(held, embedder=embedder, threshold=config.near)
    return [found.explain() if found else "" for found in index.overlaps([said(prompt) for prompt in prompts])]


def _read(wanted: Prompts) -> list[str]:
    """The prompts of one source, each once."""
    if wanted.source.endswith(".txt"):
        return read_prompts(Path(wanted.source))
    return prompts_in(wanted.source, wanted.split)
