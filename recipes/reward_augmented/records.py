"""Between a labelled pair and the fields of its row; and goals for rows that had to wait until all scores were known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from pica.recipes.reward_augmented.relabel import OVERALL, Fit, Labelled, Rules, ScoredPair, relabel
from pica.synth.errors import Reject
from pica.synth.formats import Pair
from pica.synth.models.goal import Goal, Scale
from pica.synth.run import derive_seed
from pica.synth.table import Table

#: what `goal_fields` says: the fields of a row that depend on its goal
GOAL_FIELDS = ("id", "prompt", "chosen", "rejected", "score_chosen", "score_rejected", "goal", "goals", "goal_text", "goal_style",
           "side", "margin", "attributes", "attributes_chosen", "attributes_rejected", "prompt_cut")


def goal_fields(one: Labelled, pair_id: str) -> dict[str, Any]:
    """The fields of a row that depend on its goal."""
    pair, goal = one.pair, one.goal
    names = list(goal.attributes) if goal and goal.attributes else sorted({*pair.attributes_chosen} & {*pair.attributes_rejected})
    assert pair.score_chosen is not None and pair.score_rejected is not None
    margin = pair.score_chosen - pair.score_rejected
    return {
        "id": f"{pair_id}-{one.side}" if goal else pair_id, "prompt": pair.prompt, "chosen": pair.chosen,
        "rejected": pair.rejected, "score_chosen": pair.score_chosen, "score_rejected": pair.score_rejected,
        "goal": goal.value if goal and not goal.attributes else None,
        "goals": list(goal.values) if goal and goal.attributes else [],
        "goal_text": goal.text() if goal else "", "goal_style": goal.style if goal else None, "side": one.side,
        "margin": -margin if one.side == "loser" else margin, "attributes": names,
        "attributes_chosen": [pair.attributes_chosen[name] for name in names],
        "attributes_rejected": [pair.attributes_rejected[name] for name in names], "prompt_cut": one.cut}


def pair_of(row: dict[str, Any]) -> ScoredPair:
    """The pair of a row, as it stands there."""
    names = row["attributes"]
    return ScoredPair(row["prompt"], row["chosen"], row["rejected"], row["score_chosen"], row["score_rejected"],
                      dict(zip(names, row["attributes_chosen"], strict=True)),
                      dict(zip(names, row["attributes_rejected"], strict=True)))


def firsts(table: Table) -> Iterator[tuple[str, dict[str, Any]]]:
    """(split, first row) of every pair."""
    for _, rows in groupby(table.splits(), key=lambda item: item[1]["pair_id"]):
        yield next(rows)


def source_pairs(table: Table, rules: Rules) -> Iterator[Pair]:
    """Every pair once, the winner preferred, without goals."""
    for _, row in firsts(table):
        pair = pair_of(row)
        if row["goal_style"] is None:
            yield pair
            continue
        value = dict(zip(row["attributes"], row["goals"], strict=True)) if row["goals"] else row["goal"]
        goal = Goal(value=value, style=row["goal_style"], scale=rules.scale, decimals=rules.decimals)
        source = pair if row["side"] == "winner" else pair.swapped()
        yield Pair(goal.unwrap(source.prompt), source.chosen, source.rejected, source.score_chosen, source.score_rejected)


def ranges(table: Table, attributes: Sequence[str]) -> dict[str, Scale]:
    """Least and greatest score by attribute."""
    ends: dict[str, Scale] = {}
    for row in table.rows():
        for name, score in pair_of(row).scores:
            if name == OVERALL or name in attributes:
                low, high = ends.get(name, (score, score))
                ends[name] = min(low, score), max(high, score)
    return ends


def give_goals(table: Table, rules: Rules, fit: Fit | None, *, augment: Callable[[dict[str, Any]], bool]) -> None:
    """Relabel the pairs of `table`, which stand there once for each row that they may give, and drop what they do not.

    `augment`: whether a row's pair gets goals at all (not in the test split).
    """
    changed: list[dict[str, Any]] = []
    fates: list[tuple[str, str]] = []  # (reason, detail) of the rows to drop
    for _, group in groupby(table.rows(), key=lambda row: row["pair_id"]):
        rows = list(group)
        made, why = _relabelled(rows[0], rules, fit) if augment(rows[0]) else (rows, ("", ""))
        changed += [*made, *rows[len(made):]]
        fates += [("", "")] * len(made) + [why] * (len(rows) - len(made))
    for name in GOAL_FIELDS:
        table.set(name, [row[name] for row in changed])
    for reason in dict.fromkeys(reason for reason, _ in fates if reason):
        table.keep([found != reason for found, _ in fates], reason, [detail for _, detail in fates])
        fates = [fate for fate in fates if fate[0] != reason]


def _relabelled(row: dict[str, Any], rules: Rules, fit: Fit | None) -> tuple[list[dict[str, Any]], tuple[str, str]]:
    """(the goal fields of the pair's rows, why there are not more)."""
    try:
        made = relabel(pair_of(row), rules, seed=half_seed(row["seed"]), fit=fit)
    except Reject as reject:
        return [], (reject.reason, reject.detail)
    return [goal_fields(one, row["pair_id"]) for one in made], ("scores tie, the other row is kept", "")


def half_seed(seed: int) -> int:
    """What decides which row of a pair is kept where half of them are, from the seed of the pair."""
    return derive_seed(seed, "half")
