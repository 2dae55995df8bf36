"""Battles as rows: what is kept of two answers to one task, and how verdicts are read out of it again.

Several judges are a jury (`majority`: what more than half of all say in an order) or count each by itself (`each`, Arena-Hard's
ensemble). With one judge the two are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from pica.eval.battle import Contest, Game, combine, majority
from pica.eval.battles import Battles
from pica.eval.judge import MUCH, WORTH, Label
from pica.eval.judging import Judging
from pica.eval.judging_config import Ensemble
from pica.eval.tasks import Task
from pica.synth.rows import Messages, Provenance
from pica.synth.run import Draft

Agreement = Literal["same", "differ", "single", "none"]


class BattleRow(Provenance, kw_only=True):
    """Two answers to one task, and what was said of them."""

    task: Annotated[str, "id of the task"]
    category: Annotated[str, "category of the task", "category"]
    prompt: Annotated[Messages, "the conversation that was answered"]
    model_a: Annotated[str, "who wrote answer a", "category"]
    model_b: Annotated[str, "who wrote answer b", "category"]
    answer_a: Annotated[str, "answer a"]
    answer_b: Annotated[str, "answer b"]
    games: Annotated[list[Game], "every judge's verdict in every order"]
    outcome: Annotated[Literal["a", "tie", "b", "unscored"], "who won, all orders together; orders that disagree are a tie"]
    share_a: Annotated[float | None, "a's share of the win, every order by itself"]
    agreement: Annotated[Agreement, "whether the orders agree on who is better"]
    flags: Annotated[list[str], "what was broken up or noticed in the answers"] = msgspec.field(default_factory=list)
    length_a: Annotated[int, "characters of answer a"] = 0
    length_b: Annotated[int, "characters of answer b"] = 0
    tags: Annotated[list[str], "further categories of the task, such as skills"] = msgspec.field(default_factory=list)


def battle_row(evaluation: Judging[Any], draft: Draft, task: Task, labels: tuple[str, str], contest: Contest,
               games: list[Game]) -> BattleRow:
    """The row of a battle that was judged by a jury."""
    return BattleRow(**battle_fields(evaluation, draft, task, labels, contest, games))


def battle_fields(evaluation: Judging[Any], draft: Draft, task: Task, labels: tuple[str, str], contest: Contest,
                  games: list[Game], *, ensemble: Ensemble = "majority") -> dict[str, Any]:
    """The fields of such a row, for row types that have more."""
    return {
        "id": evaluation.row_id(task.id, *labels), "recipe": evaluation.name, "model": ", ".join(labels),
        "seed": evaluation.config.seed, "calls": draft.calls, "task": task.id, "category": task.category,
        "prompt": list(task.conversation), "model_a": labels[0], "model_b": labels[1], "answer_a": contest.answer_a,
        "answer_b": contest.answer_b, "games": games, **(_jury if ensemble == "majority" else _apart)(games),
        "flags": sorted({flag for game in games for flag in game.flags}), "length_a": len(contest.answer_a),
        "length_b": len(contest.answer_b),
        "tags": list(task.tags)}


def _jury(games: Sequence[Game]) -> dict[str, Any]:
    agreed, average = combine(games, "agree"), combine(games, "average")
    return {"outcome": agreed.winner, "share_a": average.score, "agreement": _agreement(agreed.scored, agreed.consistent)}


def _apart(games: Sequence[Game]) -> dict[str, Any]:
    """As a jury's, with every judge's verdict counted by itself: an order goes to whom most of its verdicts favour."""
    by_order = {game.order: [WORTH[one.verdict] for one in games if one.order == game.order and one.verdict is not None]
                for game in games}
    scored = [worths for worths in by_order.values() if worths]
    if not scored:
        return {"outcome": "unscored", "share_a": None, "agreement": "none"}
    winners = ["a" if (mean := sum(worths) / len(worths)) > 0.5 else "b" if mean < 0.5 else "tie" for worths in scored]
    agreed = len(set(winners)) == 1
    every = [worth for worths in scored for worth in worths]
    return {"outcome": winners[0] if agreed else "tie", "share_a": sum(every) / len(every),
            "agreement": _agreement(len(scored), None if len(scored) == 1 else agreed)}


def _agreement(scored: int, consistent: bool | None) -> Agreement:
    return "none" if not scored else "single" if consistent is None else "same" if consistent else "differ"


def verdicts_of(row: Mapping[str, Any], ensemble: Ensemble = "majority") -> list[list[Label | None]]:
    """The verdicts that count in a row, one an order: of the jury, or of each judge."""
    games = row["games"]
    if ensemble == "majority":
        return [[majority([game["verdict"] for game in games if game["order"] == order])
                 for order in dict.fromkeys(game["order"] for game in games)]]
    judges = dict.fromkeys(game["judge"] for game in games)
    return [[game["verdict"] for game in games if game["judge"] == judge] for judge in judges]


def battles_of(rows: Sequence[dict[str, Any]], *, strong: float = 1.0) -> Battles:
    """The games of battle rows for the statistics: one an order, a jury's by strict majority, clustered by task. A verdict
    `much better` weighs `strong`."""
    one, other, outcome, weight, prompt = [], [], [], [], []
    for row in rows:
        for verdict in verdicts_of(row)[0]:
            one.append(row["model_a"])
            other.append(row["model_b"])
            prompt.append(row["task"])
            outcome.append(None if verdict is None else WORTH[verdict])
            weight.append(strong if verdict in MUCH else 1.0)
    return Battles.of(one, other, outcome, weight=np.array(weight), prompt=prompt)


def record(rows: Sequence[dict[str, Any]], model: str) -> dict[str, Any]:
    """Wins, ties and losses of battles, and the mean length of a model's answers, in characters."""
    wins = ties = losses = 0
    lengths = {}
    for row in rows:
        for side, other in (("a", "b"), ("b", "a")):
            if row[f"model_{side}"] == model:
                wins, losses = wins + (row["outcome"] == side), losses + (row["outcome"] == other)
                ties += row["outcome"] == "tie"
                lengths[row["task"]] = row[f"length_{side}"]
    return {"wins": wins, "ties": ties, "losses": losses, "mean_length": round(sum(lengths.values()) / max(len(lengths), 1), 1)}
