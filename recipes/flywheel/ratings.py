"""All models of a campaign on one scale: one joint fit over the held-out battles of every iteration.

Each iteration's model met the one that it started from and the rivals, so chains of games connect all of them, and one
Bradley-Terry fit anchored at the start makes iterations comparable. Intervals come from drawing prompts with all their games.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pica.eval.battle_rows import battles_of
from pica.eval.battles import Battles
from pica.eval.connected import comparable
from pica.eval.intervals import Intervals, bootstrap
from pica.eval.ratings import Ratings, fit
from pica.recipes.flywheel.records import Rating

#: Tied games of every model against an average one, where a model would have no finite rating otherwise.
RESCUE = 1.0
DIGITS = 2  # of a rating point: finer figures than any interval, the same on every machine

Row = dict[str, Any]


@dataclass(frozen=True)
class Rated:
    """What `rate` found. `ratings`: of every model, best first, those without a rating last. `method`: how they came about.
    `warnings`: what a reader must know. `by_iteration`: the ratings, on the same scale, of those that met in an iteration."""

    ratings: list[Rating]
    method: str
    warnings: list[str]
    by_iteration: dict[int, list[Rating]]


def rate(rows: Mapping[int, Sequence[Row]], *, anchor: str = "start", anchor_rating: float = 1000.0, level: float = 0.95,
         rounds: int = 1000, seed: int = 0, prior: float = 0.0, strong: float = 1.0) -> Rated:
    """Bradley-Terry ratings of all models, 400 points for odds of ten to one, rounded to hundredths of a point.

    `rows`: by iteration, battles on the same prompts (see `pica.eval.battle_rows.BattleRow`); iteration 0 is of the model that
    the campaign starts from. A pair that met on a task in several iterations counts once. Ends of intervals are those of the
    lead over `anchor`, so its own is a point. `prior`: tied games of every model against an average one; with 0, it is `RESCUE`
    where a model won or lost everything, and `method` says so. `strong`: how often a verdict `much better` counts. Neither the
    order of rows nor that of sides decides anything.
    """
    battles, warnings = _once(rows)
    games = battles_of(battles, strong=strong)
    labels = sorted({label for row in battles for label in _pair(row)})
    home = anchor if comparable(games, anchor) else None
    names = comparable(games, home)
    if not names:
        warnings.append("no model has a rating: no held-out game has a verdict that can be read")
        return _told({}, labels, rows, "No game has a verdict.", warnings)
    if home is None:
        warnings.append(f"{anchor} has no game with a verdict, so {anchor_rating:g} is the mean of all ratings")
    if left_out := [label for label in labels if label not in names]:
        warnings.append(f"no rating of {', '.join(left_out)}: no game with a verdict against the others")
        games = battles_of([row for row in battles if _pair(row) <= set(names)], strong=strong)
    ratings, rescue = _finite(games, home, anchor_rating, prior)
    if ratings.prompts < 2:
        warnings.append("only one prompt has a verdict, so there are no intervals; hold out more prompts")
        return _told(_by_label(ratings, None), labels, rows, f"{ratings.explain()}{rescue} One prompt has no interval.", warnings)
    ends = bootstrap(games, ratings, rounds=rounds, level=level, seed=seed)
    lead = f" An interval is that of the lead over '{home}'." if home else ""
    return _told(_by_label(ratings, ends), labels, rows, f"{ratings.explain()}{rescue} {ends.explain()}{lead}", warnings)


def _once(rows: Mapping[int, Sequence[Row]]) -> tuple[list[Row], list[str]]:
    """Every battle once, in an order of its own, and what to say of it. Of several battles of two models on a task, the first
    with a verdict stays, which is that of the earliest iteration."""
    kept: dict[tuple[str, tuple[str, ...]], Row] = {}
    unlike = 0
    for _, row in sorted(((number, row) for number, some in rows.items() for row in some), key=_place):
        key = str(row["task"]), tuple(sorted(_pair(row)))
        first = kept.setdefault(key, row)
        unlike += _answers(first) != _answers(row)
    warnings = [f"{unlike:,} held-out battles of two models that had met on the same task before bear other answers; only the "
                "earlier ones count"] if unlike else []
    return [kept[key] for key in sorted(kept)], warnings


def _place(numbered: tuple[int, Row]) -> tuple[str, bool, int, str, str]:
    number, row = numbered
    return str(row["task"]), row["outcome"] == "unscored", number, row["model_a"], repr(row["games"])


def _pair(row: Row) -> set[str]:
    return {row["model_a"], row["model_b"]}


def _answers(row: Row) -> dict[str, str]:
    return {row["model_a"]: row["answer_a"], row["model_b"]: row["answer_b"]}


def _finite(games: Battles, anchor: str | None, anchor_rating: float, prior: float) -> tuple[Ratings, str]:
    """Ratings without an infinite one among them, and what was done for that."""
    plain = fit(games, anchor=anchor, anchor_rating=anchor_rating, prior=prior)
    if not plain.unbounded:
        return plain, ""
    why = ", ".join(f"'{label}' {reason}" for label, reason in plain.unbounded.items())
    return (fit(games, anchor=anchor, anchor_rating=anchor_rating, prior=RESCUE),
            f" Without the tied games there would be no finite rating of all models ({why}); they draw ratings together.")


def _by_label(ratings: Ratings, ends: Intervals | None) -> dict[str, Rating]:
    """Records of the rated models, best first."""
    return {ratings.models[code]: Rating(
        ratings.models[code], _number(ratings.points[code]), _number(ends.lower[code]) if ends else None,
        _number(ends.upper[code]) if ends else None, int(ratings.games[code])) for code in ratings.order()}


def _number(value: float) -> float | None:
    return round(float(value), DIGITS) if math.isfinite(value) else None


def _told(rated: Mapping[str, Rating], labels: Sequence[str], rows: Mapping[int, Sequence[Row]], method: str,
          warnings: list[str]) -> Rated:
    every = {**rated, **{label: Rating(label, None, None, None, 0) for label in labels if label not in rated}}
    met = {number: set[str]().union(*map(_pair, some)) for number, some in sorted(rows.items())}
    return Rated(list(every.values()), method, warnings,
                 {number: [one for label, one in every.items() if label in names] for number, names in met.items()})
