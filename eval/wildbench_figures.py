"""WildBench's figures with their intervals: over all tasks, by group of tasks, averaged over groups, mixed over baselines.

    figures = work_out([part], How())
    figures.mixed.overall.value

A `Part` holds a model's values against one opponent (of scores there is none): points of WB-Score, or of rewards. Intervals
draw tasks, with all that was judged of them, against all opponents at once. `official` counts as the published tables do:
answers that are empty or were cut are no part of groups; rewards leave them out, but are divided by all that was judged; an
average over groups is divided by all weights; and a mix takes a baseline without results for 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pica.eval.battles import Floats, Ints
from pica.eval.intervals import tails
from pica.eval.wildbench_scores import WEIGHTS

GROUP_NAMES = tuple(WEIGHTS)
_LOADS = np.array(list(WEIGHTS.values()))
_BATCH = 1 << 22


@dataclass(frozen=True)
class How:
    """How values become figures. `bounds`: the least and greatest value there can be. `shrink`: officially, the overall figure
    leaves answers out of the sum (rewards), or not (scores); it is always divided by all."""

    official: bool = False
    bounds: tuple[float, float] = (-80.0, 100.0)
    shrink: bool = False
    level: float = 0.95
    rounds: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Part:
    """Values by task, with the groups that a task counts in. `kept`: false for those that are officially left out. `itself`: the
    opponent is the model itself, which comes to 0 by definition."""

    itself: bool = False
    task: list[str] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    groups: list[Sequence[str]] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)

    def add(self, task: str, value: float, groups: Sequence[str], kept: bool) -> None:
        """One value more."""
        self.task.append(task)
        self.value.append(value)
        self.groups.append(groups)
        self.kept.append(kept)

    def totals(self, names: Sequence[str], how: How) -> Floats:
        """float64 [tasks, 1 + groups, 2]: sums and divisors by task, of the overall figure first."""
        value, kept = np.array(self.value), np.array(self.kept, dtype=bool) | (not how.official)
        member = np.array([[group in own for group in GROUP_NAMES] for own in self.groups], dtype=bool)
        below = np.column_stack([np.ones(len(value)), member.reshape(-1, len(GROUP_NAMES)) & kept[:, None]])
        load = below.copy()
        load[:, 0] = kept | (not how.shrink)
        found = np.zeros((len(names), below.shape[1], 2))
        code = np.searchsorted(np.array(names), np.array(self.task, dtype=str))
        np.add.at(found[:, :, 0], code, load * value[:, None])
        np.add.at(found[:, :, 1], code, below)
        return found


@dataclass(frozen=True)
class Figure:
    """A figure with its interval, NaN where there is none. `n`: values."""

    value: float
    lower: float
    upper: float
    n: int


@dataclass(frozen=True)
class Figures:
    """A model's figures. `macro`: averaged over groups by WildBench's weights. Groups without a value are absent."""

    overall: Figure
    macro: Figure
    groups: Mapping[str, Figure]


@dataclass(frozen=True)
class WorkedOut:
    """A model's figures against each opponent, and mixed over them. `tasks`: how many."""

    mixed: Figures
    parts: Sequence[Figures]
    tasks: int


def work_out(parts: Sequence[Part], how: How) -> WorkedOut:
    """The figures of one model, NaN where there are no values."""
    names = sorted({task for part in parts for task in part.task})
    totals = np.stack([part.totals(names, how) for part in parts], axis=1)
    itself = np.array([part.itself for part in parts])
    value = _statistics(totals.sum(axis=0)[None], itself, how)[0]
    lower, upper = _ends(_statistics(_draws(totals, how), itself, how), value, how, len(names)) if len(names) > 1 \
        else (np.full(value.shape, np.nan),) * 2
    counts: Ints = totals[..., 1].sum(axis=0).astype(np.int64)
    counts = np.concatenate([counts, counts.sum(axis=0, keepdims=True)])
    made = [_figures(*ends) for ends in zip(value, lower, upper, counts, strict=True)]
    return WorkedOut(made[-1], made[:-1], len(names))


def _draws(totals: Floats, how: How) -> Floats:
    """float64 [rounds, parts, columns, 2]: sums over tasks drawn anew; tasks alike are drawn by kind."""
    tasks = len(totals)
    kinds, count = np.unique(totals.reshape(tasks, -1), axis=0, return_counts=True)
    generator = np.random.default_rng(how.seed)
    batch = max(1, _BATCH // len(kinds))
    drawn = [generator.multinomial(tasks, count / tasks, min(batch, how.rounds - begin)) @ kinds
             for begin in range(0, how.rounds, batch)]
    return np.concatenate(drawn).reshape(-1, *totals.shape[1:])


def _statistics(sums: Floats, itself: Floats, how: How) -> Floats:
    """float64 [draws, parts + 1, columns + 1]: of every part and of their mean; overall, groups, the average over groups."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = sums[..., 0] / sums[..., 1]
        groups = ratio[..., 1:]
        there = ~np.isnan(groups)
        load = _LOADS.sum() if how.official else (there * _LOADS).sum(axis=-1)
        macro = np.where(there.any(axis=-1), np.nansum(groups * _LOADS, axis=-1) / load, np.nan)
    found = np.concatenate([ratio, macro[..., None]], axis=-1)
    found[:, itself] = 0.0
    mixed = (np.nan_to_num(found) if how.official else found).mean(axis=1, keepdims=True)
    return np.concatenate([found, mixed], axis=1)


def _ends(draws: Floats, value: Floats, how: How, tasks: int) -> tuple[Floats, Floats]:
    """Both ends of every figure. Where all values are the least or the greatest that there can be, drawing shows no spread, and
    the other end is as `pica.eval.means.mean` has it; of a mix, the mean of its parts' ends."""
    lower, upper = np.full((2, *value.shape), np.nan)
    least, greatest = how.bounds
    away = (greatest - least) * (1 - ((1 - how.level) / 2) ** (1 / tasks))
    for part, column in np.ndindex(value.shape):
        own = draws[:, part, column]
        own = own[~np.isnan(own)]
        if np.isnan(value[part, column]) or not len(own):
            continue
        lower[part, column], upper[part, column] = np.quantile(own, tails(how.level, tasks))
        if own.min() == own.max():
            if part == len(value) - 1:
                lower[part, column], upper[part, column] = lower[:-1, column].mean(), upper[:-1, column].mean()
            elif own[0] == greatest:
                lower[part, column] = greatest - away
            elif own[0] == least:
                upper[part, column] = least + away
    return lower, upper


def _figures(value: Floats, lower: Floats, upper: Floats, counts: Ints) -> Figures:
    n = [*counts, counts[1:].sum()]
    made = [Figure(float(value[place]), float(lower[place]), float(upper[place]), int(n[place])) for place in range(len(value))]
    groups = {group: made[1 + place] for place, group in enumerate(GROUP_NAMES) if counts[1 + place]}
    return Figures(made[0], made[-1], groups)
