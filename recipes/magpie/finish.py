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
from pica.synth.embed import Embedder
from pica.synth.errors import UsageError
from pica.synth.filters import select
from pica.synth.filters.groups import Groups, keep_one
from pica.synth.progress import Progress
from pica.synth.table import Table


@dataclass(frozen=True)
class Tools:
    """What `finish` needs besides the rows: evaluation prompts by file, and an embedder where distances are wanted."""

    evaluations: dict[str, list[str]]
    embedder: Embedder | None


def tools(config: MagpieConfig) -> Tools:
    """Files, packages and weights, so that a missing one shows before the first call. Raises `UsageError`."""
    evaluations = {name: _prompts(Path(name)) for name in config.decontaminate}
    if "language" in config.tags:
        from pica.synth.filters.language import detect

        detect([])
    if config.duplicates.minhash:
        from pica.synth.filters.minhash import near_duplicates

        near_duplicates([""], threshold=config.duplicates.minhash)
    if config.duplicates.embedder == "none":
        return Tools(evaluations, None)
    from pica.synth.embed import open_embedder

    return Tools(evaluations, open_embedder(config.duplicates.embedder))


def finish(config: MagpieConfig, table: Table, tools: Tools, progress: Progress) -> None:
    """Everything, in the order: language, contamination, filters, exact copies, near copies, distances, selection."""
    if "language" in config.tags:
        _languages(config, table)
    if config.decontaminate:
        _decontaminate(tools, table)
    _filter(config, table)
    _drop_copies(config, table, tools, progress)
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


def _decontaminate(tools: Tools, table: Table) -> None:
    from pica.synth.filters.decontaminate import EvalIndex

    index = EvalIndex(tools.evaluations)
    found = index.overlaps(table.column("instruction"))
    table.keep([overlap is None for overlap in found], "holds an evaluation prompt",
               [overlap.explain() if overlap else "" for overlap in found])


def _prompts(path: Path) -> list[str]:
    """Evaluation prompts: one a line, or JSON lines with `prompt`, `instruction` or `question`."""
    import orjson

    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"decontaminate: cannot read {path}: {why}; give text files, one prompt a line, or .jsonl") from None
    if path.suffix != ".jsonl":
        return lines
    prompts = []
    for number, line in enumerate(lines, 1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{path} line {number} is not JSON: {error}") from None
        keys = ("prompt", "instruction", "question") if isinstance(row, dict) else ()
        text = next((row[key] for key in keys if isinstance(row.get(key), str)), None)
        if text is None:
            raise UsageError(f"{path} line {number} has no text under prompt, instruction or question")
        prompts.append(text)
    return prompts


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


def _drop_copies(config: MagpieConfig, table: Table, tools: Tools, progress: Progress) -> None:
    duplicates = config.duplicates
    if duplicates.exact and len(table):
        from pica.synth.filters.exact import exact_groups

        _keep_one(table, exact_groups(table.column("instruction")), "copy")
    if duplicates.minhash and len(table):
        from pica.synth.filters.minhash import near_duplicates

        _keep_one(table, near_duplicates(table.column("instruction"), threshold=duplicates.minhash), "near copy (MinHash)")
    if tools.embedder is not None and len(table) > 1:
        _distances(config, table, tools.embedder, progress)


def _distances(config: MagpieConfig, table: Table, embedder: Embedder, progress: Progress) -> None:
    from pica.synth.filters.groups import content_keys
    from pica.synth.filters.neighbours import neighbours

    instructions, ids = table.columns("instruction", "id")
    progress.say(f"measuring distances of {len(ids):,} instructions with {config.duplicates.embedder}")
    found = neighbours(embedder.embed(instructions), threshold=config.duplicates.distance, keys=content_keys(instructions))
    table.set("min_neighbor_distance", [round(float(value), 6) for value in found.min_distance])
    table.set("repeat_count", [int(value) for value in found.repeat_count])
    table.set("min_similar_id", [ids[place] for place in found.nearest])
    table.set("embedder", [embedder.name] * len(ids))
    if embedder.truncated:
        table.notes.setdefault("warnings", []).append(
            f"{embedder.truncated:,} instructions are longer than {embedder.name} reads; their distance goes by their beginning")
    if config.duplicates.distance:
        _keep_one(table, found.groups, "near copy (embedding)")


def _keep_one(table: Table, groups: Groups, reason: str) -> None:
    rewards, ids = table.columns("instruct_reward", "id")
    keep = keep_one(groups, [nan if reward is None else reward for reward in rewards], ids=ids)
    names = {int(label): name for label, name, kept in zip(groups.label, ids, keep, strict=True) if kept}
    table.keep(keep.tolist(), reason, [f"of {names[int(label)]}" for label in groups.label])


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
