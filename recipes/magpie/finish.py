"""What Magpie does with all rows at once: copies, distances, filters, selection, splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from pica.recipes.magpie.config import MagpieConfig
from pica.recipes.magpie.schemas import DIFFICULTIES, QUALITIES
from pica.synth.filters import select
from pica.synth.filters.copies import CopyFilter
from pica.synth.filters.evaluations import drop_overlaps, read_prompts
from pica.synth.progress import Progress
from pica.synth.table import Table


@dataclass(frozen=True)
class Tools:
    """What `finish` needs besides the rows: evaluation prompts by file, and what finds copies."""

    evaluations: dict[str, list[str]]
    copies: CopyFilter


def tools(config: MagpieConfig) -> Tools:
    """Files, packages and weights, so that a missing one shows before the first call. Raises `UsageError`."""
    evaluations = {name: read_prompts(Path(name)) for name in config.decontaminate}
    if "language" in config.tags:
        from pica.synth.filters.language import check_codes

        check_codes(config.filters.languages, "filters.languages")
    return Tools(evaluations, CopyFilter(config.duplicates))


def finish(config: MagpieConfig, table: Table, tools: Tools, progress: Progress) -> None:
    """Everything, in the order: language, contamination, filters, exact copies, near copies, distances, selection."""
    if "language" in config.tags:
        _languages(config, table)
    if config.decontaminate:
        drop_overlaps(table, tools.evaluations)
    _filter(config, table)
    tools.copies.drop(table, progress, reward="instruct_reward")
    _select(config, table)
    if config.test_share:
        table.split([_split(name, config.test_share) for name in table.column("id")])


def _languages(config: MagpieConfig, table: Table) -> None:
    from pica.synth.filters.language import detect

    codes = [found.language for found in detect(table.column("instruction"))]
    table.set("language", codes)
    if config.filters.languages:
        wanted = set(config.filters.languages)
        table.keep([code in wanted for code in codes], "language not wanted", [f"language {code}" for code in codes])


def _filter(config: MagpieConfig, table: Table) -> None:
    filters = config.filters
    if filters.safe and "safety" in config.tags:
        values, category = table.columns("safety", "safety_category")
        table.keep([value != "unsafe" for value in values], "unsafe", [str(name) for name in category])
    if filters.min_quality is not None:
        _at_least(table, "input_quality", QUALITIES, filters.min_quality)
    if filters.min_difficulty is not None:
        _at_least(table, "difficulty", DIFFICULTIES, filters.min_difficulty)
    if filters.min_reward is not None:
        _above(table, "instruct_reward", filters.min_reward)
    if filters.min_reward_difference is not None:
        _above(table, "reward_difference", filters.min_reward_difference)


def _at_least(table: Table, column: str, order: Sequence[str], least: str) -> None:
    table.keep([value is not None for value in table.column(column)], f"no {column}")
    values = table.column(column)
    table.keep([order.index(value) >= order.index(least) for value in values], f"{column} below {least}",
               [f"{column} {value}" for value in values])


def _above(table: Table, column: str, threshold: float) -> None:
    table.keep([value is not None for value in table.column(column)], f"no {column}")
    values = table.column(column)
    table.keep([value > threshold for value in values], f"{column} not above {threshold:g}",
               [f"{column} {value:g}" for value in values])


def _select(config: MagpieConfig, table: Table) -> None:
    by, n = config.select.by, config.n
    if by == "first" or len(table) <= (0 if by in {"quotas", "half easy"} else n):
        return
    columns = ("id", "output_length", "instruct_reward", "task_category", "difficulty")
    ids, lengths, rewards, categories, difficulties = table.columns(*columns)
    found = _selection(config, ids, lengths, rewards, categories, difficulties)
    table.notes["selection"] = found.explain()
    table.keep(found.keep.tolist(), f"not selected ({by})")


def _selection(config: MagpieConfig, ids: list[str], lengths: list[int], rewards: list[float | None],
               categories: list[str | None], difficulties: list[str | None]) -> select.Selection:
    n = config.n
    if config.select.by == "longest":
        return select.longest(lengths, n, ids=ids)
    if config.select.by == "best":
        return select.best(np.array([nan if reward is None else reward for reward in rewards]), n, ids=ids)
    if config.select.by == "random":
        return select.random(ids, n, seed=config.seed)
    if config.select.by == "quotas":
        return select.quotas(categories, config.select.quotas, n=n, ids=ids, score=np.array(lengths))
    halves = select.merge(difficulties, {"easy": ["very easy", "easy"], "hard": ["medium", "hard", "very hard"]})
    return select.quotas(halves, {"easy": 0.5, "hard": 0.5}, n=n, ids=ids, score=np.array(lengths))


def _split(name: str, share: float) -> str:
    """A row's split by the hash of its id: the same whatever other rows there are."""
    place = int.from_bytes(blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48
    return "test" if place < share else "train"


def settings(config: MagpieConfig) -> dict[str, Any]:
    """What decided which rows stay, for the card."""
    return {"preset": config.preset, **config.filters.model_dump(), "select": config.select.by,
            "duplicates": config.duplicates.model_dump()}
