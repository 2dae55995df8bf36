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
from pica.eval.leaderboard import UNBOUNDED, Entry, Leaderboard
from pica.eval.ratings import fit
from pica.eval.standing import Standing, stand
from pica.recipes.flywheel.records import Rating

DIGITS = 2  # of a rating point: finer figures than any interval, the same on every machine

Row = dict[str, Any]


@dataclass(frozen=True)
class Rated:
    """What `rate` found. `ratings`: of every model, in the order of a leaderboard: best first, those that no game tells of last.
    `method`: how they came about. `warnings`: what a reader must know. `by_iteration`: the ratings, on the same scale, of those
    that met in an iteration."""

    ratings: list[Rating]
    method: str
    warnings: list[str]
    by_iteration: dict[int, list[Rating]]


def rate(rows: Mapping[int, Sequence[Row]], *, anchor: str = "start", anchor_rating: float = 1000.0, level: float = 0.95,
         rounds: int = 1000, seed: int = 0, prior: float = 0.0, strong: float = 1.0) -> Rated:
    """Bradley-Terry ratings of all models, 400 points for odds of ten to one, rounded to hundredths of a point.

    `rows`: by iteration, battles on the same prompts (see `pica.eval.battle_rows.BattleRow`); iteration 0 is of the model that
    the campaign starts from. A pair that met on a task in several iterations counts once. Ends of intervals are those of the
    lead over `anchor`, so its own is a point. `prior`: tied games of every model against an average one. With 0, a model that
    won or lost everything has no rating (of a start that did, the others' mean is `anchor_rating`), the others are rated as if it
    were not there, and an end is open where draws have nothing to bound it (see `pica.eval.standing`). `strong`: how often a
    verdict `much better` counts. Neither the order of rows nor that of sides decides anything.
    """
    battles, warnings = _once(rows)
    games = battles_of(battles, strong=strong)
    labels = sorted({label for row in battles for label in _pair(row)})
    home = anchor if comparable(games, anchor) else None
    names = comparable(games, home)
    if not names:
        warnings.append("no model has a rating: no held-out game has a verdict that can be read")
        return _told(None, labels, rows, "No game has a verdict.", warnings)
    if home is None:
        warnings.append(f"{anchor} has no game with a verdict, so {anchor_rating:g} is the mean of all ratings")
    if left_out := [label for label in labels if label not in names]:
        warnings.append(f"no rating of {', '.join(left_out)}: no game with a verdict against the others")
        games = battles_of([row for row in battles if _pair(row) <= set(names)], strong=strong)
    if home is not None and _home(games, home, prior) is None:
        warnings.append(f"{anchor} has no finite rating against most others, so {anchor_rating:g} is the mean of theirs")
        home = None
    standing = stand(games, anchor=home, anchor_rating=anchor_rating, prior=prior, rounds=rounds, level=level, seed=seed)
    warnings += [f"no finite rating of {label}: {why}" for label, why in standing.ratings.unbounded.items()]
    if standing.ends is None:
        warnings.append("only one prompt has a verdict, so there are no intervals; hold out more prompts")
    lead = f" An interval is that of the lead over '{home}'." if home and standing.ends else ""
    return _told(standing, labels, rows, f"{standing.method}{lead}", warnings)


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


def _home(games: Battles, anchor: str | None, prior: float) -> str | None:
    """The anchor, unless more models have a finite rating without it: it may have won or lost all of its games."""
    beside, without = (len(fit(games, anchor=one, prior=prior).unbounded) for one in (anchor, None))
    return anchor if beside <= without else None


def _records(standing: Standing | None, labels: Sequence[str]) -> list[Rating]:
    """A record of every label, in the order of a leaderboard."""
    entries = [_entry(standing, label) for label in (standing.order(labels) if standing else labels)]
    return [Rating(one.model, _finite(one.score), _finite(one.lower), _finite(one.upper), one.n, one.more[UNBOUNDED] or "")
            for one in Leaderboard.ranked(entries, "", "").entries]


def _entry(standing: Standing | None, label: str) -> Entry:
    """A label's entry, rounded: what differs by less is equal, and goes by name."""
    if standing is None or label not in standing.ratings.models:
        return Entry(label, None, None, None, 0, more={UNBOUNDED: None})
    *figures, why = standing.of(label)
    score, lower, upper = (None if value is None else round(value, DIGITS) for value in figures)
    return Entry(label, score, lower, upper, int(standing.ratings.games[standing.ratings.code(label)]), more={UNBOUNDED: why})


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _told(standing: Standing | None, labels: Sequence[str], rows: Mapping[int, Sequence[Row]], method: str,
          warnings: list[str]) -> Rated:
    every = _records(standing, labels)
    met = {number: set[str]().union(*map(_pair, some)) for number, some in sorted(rows.items())}
    return Rated(every, method, warnings, {number: [one for one in every if one.model in names] for number, names in met.items()})
