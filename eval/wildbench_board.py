"""The report of a WildBench evaluation: groups of tasks, WB-Elo or baselines, length penalties, the judges' leanings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import isnan

from pica.eval.report import judge_sections, neighbours
from pica.eval.wildbench_elo import WildBenchElo
from pica.eval.wildbench_figures import GROUP_NAMES, Figure, work_out
from pica.eval.wildbench_parts import parts_of
from pica.eval.wildbench_ranking import Ranking
from pica.eval.wildbench_scores import WEIGHTS
from pica.synth.report import Bars, Intervals, Section, Table

LIMITS = (-1, 500, 1000, 1500)  # length penalties that are compared: those of WildBench's leaderboard


def sections(ranking: Ranking) -> list[Section]:
    """What stands below the leaderboard."""
    order = [entry.model for entry in ranking.board.entries]
    found = [_groups(order, ranking)]
    if ranking.elo is not None and ranking.elo.ratings:
        found += _elo(ranking.elo, ranking.counting.level)
    if ranking.counting.mode == "score":
        return [*found, *neighbours(ranking.rows, order, ranking.counting.level), _given(ranking)]
    found += [_baselines(order, ranking), _penalties(order, ranking)]
    return [*found, *(judge_sections(ranking.leaning) if ranking.leaning else [])]


def _cell(figure: Figure | None) -> str:
    if figure is None or isnan(figure.value):
        return "-"
    return f"{figure.value:.1f}" if isnan(figure.lower) else f"{figure.value:.1f} ({figure.lower:.1f} to {figure.upper:.1f})"


def _groups(order: Sequence[str], ranking: Ranking) -> Section:
    mixed = {label: ranking.worked[label].mixed for label in order}
    shown = [group for group in GROUP_NAMES if any(group in figures.groups for figures in mixed.values())]
    lines = [[label, _cell(own.overall), _cell(own.macro), *(_cell(own.groups.get(group)) for group in shown)]
             for label, own in mixed.items()]
    note = (f"points with {ranking.counting.level:.0%} intervals; a task counts in every group that it has a tag of. Weights in "
            f"the average: {', '.join(f'{group} {weight:g}' for group, weight in WEIGHTS.items())}")
    return Table("By group of tasks", ["model", "all tasks", "average over groups", *shown], lines, note=note if shown else
                 "no task has a tag of WildBench, so there are no groups; tasks=FILE brings them")


def _elo(elo: WildBenchElo, level: float) -> list[Section]:
    order = sorted(elo.ratings.items(), key=lambda item: (-item[1].value, item[0]))
    note = (f"every two models on every task, from their scores: {elo.battles:,} virtual battles in {elo.rounds} shuffled "
            f"orders, K = 4, all models from 1000 on; {level:.0%} intervals over tasks and orders")
    items = [(label, one.value, None if isnan(one.lower) else one.lower, None if isnan(one.upper) else one.upper)
             for label, one in order]
    lines = [[label, _cell(one), one.n] for label, one in order]
    return [Intervals("WB-Elo", items, note=note), Table("WB-Elo in figures", ["model", "WB-Elo", "virtual battles"], lines)]


def _given(ranking: Ranking) -> Section:
    scores = [row["score"] for row in ranking.rows if row["score"] is not None]
    counts = Counter(scores)
    every = sorted({*map(float, range(1, 11)), *counts})
    return Bars("Scores given", [(f"{score:g}", counts[score]) for score in every])


def _baselines(order: Sequence[str], ranking: Ranking) -> Section:
    names = ranking.counting.baselines
    lines = [[label, *("itself" if label == name else _cell(part.overall)
                       for name, part in zip(names, ranking.worked[label].parts, strict=True))] for label in order]
    return Table("Rewards by baseline", ["model", *names], lines, note=f"points with {ranking.counting.level:.0%} intervals")


def _penalties(order: Sequence[str], ranking: Ranking) -> Section:
    """The mix under several length penalties."""
    limits = sorted({*LIMITS, ranking.counting.limit})
    lines = [[label, *(_under(ranking, label, limit) for limit in limits)] for label in order]
    header = ["model", *("no penalty" if limit < 0 else f"K={limit}" for limit in limits)]
    return Table("With a length penalty", header, lines,
                 note="a slight win of an answer that is longer by more than K characters is a tie")


def _under(ranking: Ranking, label: str, limit: int) -> str:
    parts = parts_of(ranking.own.get(label, ()), label, replace(ranking.counting, limit=limit))
    value = work_out(parts, replace(ranking.counting.how, rounds=1)).mixed.overall.value
    return "-" if isnan(value) else f"{value:.1f}"
