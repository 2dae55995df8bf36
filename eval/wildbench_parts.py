"""From WildBench's rows to values: points of scores, or of rewards against each baseline after the length penalty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pica.eval.battle_rows import verdicts_of
from pica.eval.judge import Label
from pica.eval.wildbench_config import Mode
from pica.eval.wildbench_figures import GROUP_NAMES, How, Part
from pica.eval.wildbench_scores import GROUPS, WORTH, groups_of, penalised

Row = Mapping[str, Any]
RULE = "rule"  # who judges an empty answer without a call
#: how much better answer b is
EXTENT: Mapping[Label, int] = {"b>>a": 2, "b>a": 1, "a=b": 0, "a>b": -1, "a>>b": -2}


@dataclass(frozen=True)
class Counting:
    """How judgments become figures. `baselines`: of rewards. `limit`: of the length penalty, -1: none. `elo_rounds`: 0: no
    WB-Elo."""

    mode: Mode = "score"
    official: bool = False
    baselines: Sequence[str] = ()
    limit: int = -1
    level: float = 0.95
    rounds: int = 1000
    seed: int = 0
    elo_rounds: int = 128

    @property
    def how(self) -> How:
        """For the arithmetic."""
        bounds = (-80.0, 100.0) if self.mode == "score" else (-100.0, 100.0)
        return How(self.official, bounds, self.mode == "reward", self.level, self.rounds, self.seed)


def by_label(rows: Sequence[Row], mode: Mode) -> dict[str, list[Row]]:
    """The rows of every model; a battle is of both."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for label in (row["contestant"],) if mode == "score" else (row["model_b"], row["model_a"]):
            found[label].append(row)
    return found


def groups_in(row: Row) -> Sequence[str]:
    """The groups that the row's task counts in. Tags that WildBench does not have belong to none; groups stand for themselves."""
    return _groups(tuple(row["tags"]))


@lru_cache(maxsize=4096)
def _groups(tags: tuple[str, ...]) -> Sequence[str]:
    known = {*groups_of(tag for tag in tags if tag in GROUPS), *tags}
    return tuple(group for group in GROUP_NAMES if group in known)


def parts_of(own: Sequence[Row], label: str, counting: Counting) -> list[Part]:
    """A model's values: points of its scores, or of its rewards against every baseline."""
    if counting.mode == "score":
        part = Part()
        for row in own:
            if row["score"] is not None:
                part.add(row["task"], (row["score"] - 5) * 20, groups_in(row), not row["left_out"])
        return [part]
    return [_rewards(against(own, label, baseline), label, baseline, counting.limit) for baseline in counting.baselines]


def against(own: Sequence[Row], label: str, baseline: str) -> list[Row]:
    """The rows of a model against a baseline; where the two only met the other way round, those."""
    found = [row for row in own if row["model_a"] == baseline and row["model_b"] == label]
    return found or [row for row in own if row["model_a"] == label and row["model_b"] == baseline]


def _rewards(rows: Sequence[Row], label: str, baseline: str, limit: int) -> Part:
    part = Part(itself=label == baseline)
    for row, extent in extents(rows, label, limit):
        part.add(row["task"], 100 * WORTH[extent], groups_in(row), not row["left_out"])
    return part


def extents(rows: Sequence[Row], label: str, limit: int) -> Iterator[tuple[Row, int]]:
    """Each verdict in the rows of a model: (the row, how much better the model was), after the length penalty, which needs the
    answers."""
    found = [(row, verdict) for row in rows for verdict in verdicts_of(row)[0] if verdict is not None]
    sign = [1 if row["model_b"] == label else -1 for row, _ in found]
    given = np.array([EXTENT[verdict] for _, verdict in found], dtype=np.int64) * np.array(sign, dtype=np.int64)
    lead = [row["length_b"] - row["length_a"] if row["answers_known"] else 0 for row, _ in found]
    longer = np.array(lead, dtype=np.int64) * np.array(sign, dtype=np.int64)
    extent = penalised(given, longer, np.zeros(len(found), dtype=np.int64), limit=limit)
    return zip((row for row, _ in found), extent.tolist(), strict=True)
