"""A battle from the target's side: whatever side it stood on, and however two orders and several judges make one gap.

    fought(rows, "mine", rules)    # rows: the battles of one prompt, as `pica eval` writes them

Pure functions: nothing here asks a model. Per order, the scores of a jury are the means over its members that gave some, and the
order counts only where these are more than half of all members. Where a judge gives outcomes alone, what more than half of all
members say counts `rules.better` or `rules.much` points for the winner. `rules.swap` then makes one gap of the orders:

| swap | gap |
|---|---|
| `mean` | the mean of the orders that count |
| `agree` | their mean, where all orders that were played count and name one winner, or all a tie; else none |
| `both` | the smallest of all orders that were played, each of which must count; else none |

Numbers are rounded to nine digits, so that a gap of 3 is 3 whatever means it was made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, Literal

from pica.eval.battle import MIRROR, majority
from pica.recipes.arena_learning.rules import Rules

Row = Mapping[str, Any]

UNSCORED, DISAGREE = "no verdict in enough orders", "the orders disagree"


@dataclass(frozen=True)
class Turn:
    """One order of a battle. `gap`: the rival's score less the target's; None where too few members gave a verdict. Scores are
    None where the judge gives outcomes. `unscored`: members without a verdict, of `members`."""

    target_first: bool
    gap: float | None
    target_score: float | None
    rival_score: float | None
    members: int
    unscored: int


@dataclass(frozen=True)
class Fought:
    """A battle of the target with a rival.

    `gap`: by how much the target lost, all orders together; negative where it won, None where there is none (`problem` says why).
    `lead`: likewise by how much it won; it is -gap, except that `swap=both` takes the smaller margin of either. `target_score`,
    `rival_score`: means over the orders that count, None where the judge gives outcomes. `known`: whether both answers are.
    """

    rival: str
    target_answer: str
    rival_answer: str
    gap: float | None
    lead: float | None
    target_score: float | None
    rival_score: float | None
    turns: tuple[Turn, ...]
    problem: Literal["", "no verdict in enough orders", "the orders disagree"] = ""
    known: bool = True
    judges: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()

    @property
    def unscored(self) -> int:
        """Verdicts that could not be read."""
        return sum(turn.unscored for turn in self.turns)

    @property
    def equal(self) -> bool:
        """Whether both said the same."""
        return self.target_answer.strip() == self.rival_answer.strip()


def fought(rows: Iterable[Row], target: str, rules: Rules, rivals: Sequence[str] = ()) -> tuple[Fought, ...]:
    """The target's battles among `rows`, by label of the rival; `rivals`: only those (empty: all)."""
    found = []
    for row in rows:
        for own, other in (("a", "b"), ("b", "a")):
            rival = row[f"model_{other}"]
            if row[f"model_{own}"] == target and rival != target and (not rivals or rival in rivals):
                found.append(_fought(row, own, other, rules))
    return tuple(sorted(found, key=lambda one: one.rival))


def _fought(row: Row, own: str, other: str, rules: Rules) -> Fought:
    games = row["games"]
    orders = sorted({game["order"] for game in games}, key=lambda order: order[0] != own)
    scored = any(game.get("score_a") is not None for game in games)
    read = _by_scores if scored else _by_outcome
    turns = tuple(read([game for game in games if game["order"] == order], own, rules) for order in orders)
    gaps = [turn.gap for turn in turns if turn.gap is not None]
    complete = len(gaps) == len(turns)
    problem, gap, lead = _combined(gaps, complete, rules)
    return Fought(
        rival=row[f"model_{other}"], target_answer=row[f"answer_{own}"], rival_answer=row[f"answer_{other}"], gap=gap, lead=lead,
        target_score=mean([turn.target_score for turn in turns]), rival_score=mean([turn.rival_score for turn in turns]),
        turns=turns, problem=problem, known=row.get("answers_known") is not False,
        judges=tuple(dict.fromkeys(game["judge"] for game in games)), calls=tuple(dict.fromkeys(row.get("calls") or ())))


def _combined(gaps: Sequence[float], complete: bool, rules: Rules) -> tuple[Any, float | None, float | None]:
    """(problem, gap, lead) of the orders that count."""
    if not gaps or (not complete and rules.swap != "mean"):
        return UNSCORED, None, None
    if rules.swap == "both":
        return "", min(gaps), -max(gaps) + 0.0
    if rules.swap == "agree" and len({(gap > 0) - (gap < 0) for gap in gaps}) > 1:
        return DISAGREE, None, None
    gap = mean(gaps)
    assert gap is not None
    return "", gap, -gap + 0.0


def _by_scores(games: Sequence[Row], own: str, rules: Rules) -> Turn:
    """An order in which judges gave scores."""
    other = "b" if own == "a" else "a"
    given = [(game[f"score_{own}"], game[f"score_{other}"]) for game in games
             if game["verdict"] is not None and game["score_a"] is not None and game["score_b"] is not None]
    first, lost = _first(games, own), len(games) - len(given)
    if 2 * len(given) <= len(games):
        return Turn(first, None, None, None, len(games), lost)
    target, rival = mean([score for score, _ in given]), mean([score for _, score in given])
    gap = mean([theirs - mine for mine, theirs in given])
    return Turn(first, gap, target, rival, len(games), lost)


def _by_outcome(games: Sequence[Row], own: str, rules: Rules) -> Turn:
    """An order in which judges gave outcomes."""
    verdict = majority([game["verdict"] for game in games])
    lost = sum(game["verdict"] is None for game in games)
    if verdict is not None and own == "b":
        verdict = MIRROR[verdict]
    points = {"a>>b": -rules.much, "a>b": -rules.better, "a=b": 0.0, "b>a": rules.better, "b>>a": rules.much}
    return Turn(_first(games, own), None if verdict is None else points[verdict], None, None, len(games), lost)


def _first(games: Sequence[Row], own: str) -> bool:
    return str(games[0]["order"]).startswith(own)


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are numbers, to nine digits; None of none."""
    known = [value for value in values if value is not None]
    return round(fsum(known) / len(known), 9) + 0.0 if known else None
