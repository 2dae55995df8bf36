"""`pica eval agree E REFERENCE`: how well an evaluation ranks models as a reference does.

Spearman's and Kendall's correlation of the scores, agreement and differentiation by intervals (see `pica.eval.agreement`), and
their mean as Arena Learning takes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pica.eval.agreement import Agreement, Definition, Scores, Separability, agreement, separability
from pica.eval.boards import Board, read_board, read_labels
from pica.eval.correlation import kendall, spearman
from pica.synth.errors import UsageError

LEAST = 3  # models that both must have
#: what each definition of agreement counts, Arena Learning's first
DEFINITIONS: Mapping[Definition, str] = {
    "all": "+1, 0 where either cannot separate, -1, over all pairs (Arena Learning)",
    "half": "1, .5 where only the reference separates, 0, over pairs it separates (Arena-Hard's code)",
    "signed": "+1, 0, -1 over the same pairs (Arena-Hard's paper)",
    "order": "share of all pairs in the same order, intervals aside",
}


@dataclass(frozen=True)
class Separated:
    """What intervals tell, of the models that have one on both sides."""

    models: Sequence[str]
    agreement: Agreement
    evaluation: Separability
    reference: Separability


@dataclass(frozen=True)
class Agreed:
    """How an evaluation's leaderboard agrees with a reference. `models`: scored in both, best of the reference first.
    `same_order`: of all pairs, those in the same order. `separated`: None where fewer than two models have intervals on both
    sides. `without`: shared models that lack one. `unranked`: models that one of them names without a score."""

    evaluation: str
    reference: str
    models: Sequence[str]
    spearman: float
    kendall: float
    same_order: float
    separated: Separated | None
    without: Sequence[str]
    only_evaluation: Sequence[str]
    only_reference: Sequence[str]
    unranked: Sequence[str]

    @property
    def pairs(self) -> int:
        """Pairs of the shared models."""
        return len(self.models) * (len(self.models) - 1) // 2

    def score(self, definition: Definition) -> float:
        """The agreement by one of the definitions; NaN where it needs intervals and there are none."""
        if definition == "order":
            return self.same_order
        return self.separated.agreement.score(definition) if self.separated else math.nan

    @property
    def differentiation(self) -> float:
        """Of the pairs that the reference separates, the share that the evaluation separates too; NaN without intervals."""
        return self.separated.agreement.differentiation if self.separated else math.nan

    @property
    def average(self) -> float:
        """Arena Learning's: the mean of Spearman, agreement over all pairs, and differentiation; NaN without intervals."""
        return (self.spearman + self.score("all") + self.differentiation) / 3

    def text(self) -> str:
        """For a terminal."""
        lines = [f"{self.evaluation} against {self.reference}: {len(self.models)} models, {self.pairs} pairs",
                 _line("Spearman", self.spearman), _line("Kendall", self.kendall)]
        lines += [_line(f"agreement ({name})", self.score(name), what) for name, what in DEFINITIONS.items()]
        lines += [_line("differentiation", self.differentiation, "of pairs that the reference separates, those separated here"),
                  _line("average", self.average, "mean of Spearman, agreement (all), differentiation (Arena Learning)")]
        if self.separated:
            lines += [_line("separability", self.separated.evaluation.share, f"of {self.evaluation}"),
                      _line("", self.separated.reference.share, f"of {self.reference}"), self.separated.agreement.explain()]
        for what, names in self._aside():
            lines += [f"{what}: {', '.join(names)}"] if names else []
        return "\n".join(lines)

    def _aside(self) -> list[tuple[str, Sequence[str]]]:
        """Models that have no part in some of the figures."""
        return [("without an interval on both sides, so only in correlations and order", self.without),
                ("named without a score", self.unranked), (f"only in {self.evaluation}", self.only_evaluation),
                (f"only in {self.reference}", self.only_reference)]

    def to_json(self) -> dict[str, Any]:
        """For programs; numbers that do not exist are None."""
        told, apart = {name: _known(self.score(name)) for name in DEFINITIONS}, self.separated
        return {"evaluation": self.evaluation, "reference": self.reference, "models": list(self.models), "pairs": self.pairs,
                "spearman": _known(self.spearman), "kendall": _known(self.kendall), "agreement": told,
                "differentiation": _known(self.differentiation), "average": _known(self.average),
                "separability": {"evaluation": apart.evaluation.share, "reference": apart.reference.share} if apart else None,
                "with_intervals": list(apart.models) if apart else [], "without_intervals": list(self.without),
                "unranked": list(self.unranked), "only_evaluation": list(self.only_evaluation),
                "only_reference": list(self.only_reference)}


def agree(evaluation: Path, reference: Path, *, labels: Path | None = None) -> Agreed:
    """Compare the leaderboard of an evaluation with a reference: another evaluation's folder, or a .csv or .json file.

    `labels`: a JSON file that maps names of the reference to those of the evaluation. Raises `UsageError` for what cannot be
    read, and for fewer than three models that both score.
    """
    mine, theirs = read_board(evaluation), read_board(reference)
    return compare_boards(mine, theirs.renamed(read_labels(labels)) if labels else theirs)


def compare_boards(mine: Board, theirs: Board) -> Agreed:
    """How `mine` agrees with `theirs`. Raises `UsageError` for fewer than three models that both score."""
    shared = sorted(set(mine.standings) & set(theirs.standings), key=lambda name: (-theirs.standings[name].score, name))
    if len(shared) < LEAST:
        raise UsageError(f"{mine.name} and {theirs.name} share {len(shared)} models with a score ({', '.join(shared) or 'none'}) "
                         f"and {LEAST} are needed: {', '.join(mine.standings)}; {', '.join(theirs.standings)}. Where names "
                         'differ, give labels=FILE, a JSON object {"its name": "name here"}')
    known = [name for name in shared if mine.standings[name].ends and theirs.standings[name].ends]
    here, there = _points(mine, shared), _points(theirs, shared)
    everyone = {*mine.standings, *mine.unranked}, {*theirs.standings, *theirs.unranked}
    return Agreed(
        mine.name, theirs.name, shared, spearman(here.score, there.score), kendall(here.score, there.score),
        agreement(here, there).score("order"), _separated(mine, theirs, known) if len(known) > 1 else None,
        [name for name in shared if name not in known],
        [name for name in mine.standings if name not in everyone[1]],
        [name for name in theirs.standings if name not in everyone[0]],
        [*mine.unranked, *(name for name in theirs.unranked if name not in mine.unranked)])


def _separated(mine: Board, theirs: Board, models: Sequence[str]) -> Separated:
    here, there = _scores(mine, models), _scores(theirs, models)
    return Separated(models, agreement(here, there), separability(here), separability(there))


def _points(board: Board, models: Sequence[str]) -> Scores:
    """Scores alone, for what needs no interval."""
    values = [board.standings[name].score for name in models]
    return Scores.of(values, values, values)


def _scores(board: Board, models: Sequence[str]) -> Scores:
    ends = [board.standings[name].ends or (math.nan, math.nan) for name in models]
    return Scores.of([board.standings[name].score for name in models], [lower for lower, _ in ends], [upper for _, upper in ends])


def _line(name: str, value: float, what: str = "") -> str:
    shown = "-" if math.isnan(value) else f"{value:.4f}"
    return f"{name:<20}{shown:>8}{f'  {what}' if what else ''}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
