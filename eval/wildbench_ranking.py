"""WildBench's leaderboard: every model's figures, from the rows of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from pica.eval.battle_rows import verdicts_of
from pica.eval.bias import Leanings, leanings
from pica.eval.leaderboard import Entry, Leaderboard
from pica.eval.wildbench_elo import WildBenchElo, rate
from pica.eval.wildbench_figures import GROUP_NAMES, Figure, WorkedOut, work_out
from pica.eval.wildbench_parts import RULE, Counting, Row, against, by_label, extents, parts_of
from pica.eval.wildbench_scores import Outcomes
from pica.eval.wildbench_told import method, metric, warnings


@dataclass(frozen=True)
class Ranking:
    """The leaderboard and what it came from. `own`: rows by label. `worked`: figures by label; of rewards, their parts are those
    against each baseline. `elo`: of scores. `leaning`: of the judges of rewards."""

    board: Leaderboard
    rows: Sequence[Row]
    counting: Counting
    own: Mapping[str, Sequence[Row]]
    worked: Mapping[str, WorkedOut]
    elo: WildBenchElo | None
    leaning: Leanings | None


def rank(rows: Sequence[Row], counting: Counting, *, expected: Mapping[str, int], told: Sequence[str] = ()) -> Ranking:
    """The ranking of score rows or reward rows. `expected`: judgments that there should be, by label, in order. `told`: what is
    known to be wrong with the input."""
    own = by_label(rows, counting.mode)
    worked = {label: work_out(parts_of(own.get(label, ()), label, counting), counting.how) for label in expected}
    elo = _elo(own, counting) if counting.mode == "score" and counting.elo_rounds and len(own) > 1 else None
    leaning = leanings(row for row in rows if not any(game["judge"] == RULE for game in row["games"])) \
        if counting.mode == "reward" else None
    entries = [_entry(label, _mine(own.get(label, ()), label, counting), one, expected[label], counting, elo)
               for label, one in worked.items()]
    board = Leaderboard.ranked(entries, metric(counting), method(counting, elo), level=counting.level, warnings=[
        *told, *warnings(rows, own, worked, counting), *(leaning.warnings() if leaning else ())])
    return Ranking(board, rows, counting, own, worked, elo, leaning)


def _mine(own: Sequence[Row], label: str, counting: Counting) -> Sequence[Row]:
    """The rows that count for a model."""
    if counting.mode == "score":
        return own
    return [row for baseline in counting.baselines for row in against(own, label, baseline)]


def _elo(own: Mapping[str, Sequence[Row]], counting: Counting) -> WildBenchElo:
    """WB-Elo; answers that are empty or were cut take no part, as published."""
    used = {label: [row for row in rows if row["score"] is not None and row["answers_known"] and not row["left_out"]]
            for label, rows in own.items()}
    scores = {label: {row["task"]: row["score"] for row in rows} for label, rows in used.items()}
    lengths = {label: {row["task"]: row["length"] for row in rows} for label, rows in used.items()}
    return rate(scores, lengths, rounds=counting.elo_rounds, level=counting.level, seed=counting.seed)


def _entry(label: str, mine: Sequence[Row], worked: WorkedOut, expected: int, counting: Counting,
           elo: WildBenchElo | None) -> Entry:
    found = [[row["score"]] if counting.mode == "score" else verdicts_of(row)[0] for row in mine]  # by row
    verdicts = [verdict for several in found for verdict in several]
    judged = sum(any(verdict is not None for verdict in several) for several in found)
    more: dict[str, Any] = {"tasks": worked.tasks, "coverage": round(judged / expected, 4) if expected else None}
    if counting.mode == "score":
        more["wb_score"] = _mean([row["score"] for row in mine if row["score"] is not None])
    else:
        for baseline, part in zip(counting.baselines, worked.parts, strict=True):
            more |= _columns(f"reward_{baseline}", part.overall)
    more |= _columns("task_macro", worked.mixed.macro)
    for group in GROUP_NAMES:
        more |= _columns(f"score_{group}", worked.mixed.groups[group]) if group in worked.mixed.groups else {}
    if elo is not None and label in elo.ratings:
        more |= _columns("wb_elo", elo.ratings[label])
    more |= _tally(mine, label, counting)
    overall = worked.mixed.overall
    return Entry(label, _known(overall.value), _known(overall.lower), _known(overall.upper), len(verdicts) - verdicts.count(None),
                 verdicts.count(None), max(expected - len(mine), 0), more)


def _tally(mine: Sequence[Row], label: str, counting: Counting) -> dict[str, Any]:
    """Counts and lengths of a model's rows."""
    sides = ["" if counting.mode == "score" else "_b" if row["model_b"] == label else "_a" for row in mine]
    texts = {row["task"]: (row[f"length{side}"], row[f"empty{side}"]) for row, side in zip(mine, sides, strict=True)
             if row["answers_known"]}
    found: dict[str, Any] = {"empty": sum(empty for _, empty in texts.values()),
                             "mean_length": _mean([length for length, _ in texts.values()])}
    if counting.mode == "reward":
        made = Outcomes.of(extent for _, extent in extents(mine, label, counting.limit))
        found |= {"won_much": made.win_much, "won": made.win, "tied": made.tie, "lost": made.lose, "lost_much": made.lose_much}
    return found


def _columns(name: str, figure: Figure) -> dict[str, float | None]:
    """A figure and its ends."""
    return {name: _known(figure.value), f"{name}_lower": _known(figure.lower), f"{name}_upper": _known(figure.upper)}


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
