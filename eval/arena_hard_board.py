"""From Arena-Hard's judgments to scores: which verdicts count, what they come to, with style taken out where that is asked for.

Every prompt has one baseline, which is answer a of all its rows. Scores are shares of the win against the baseline of the prompt,
in [0, 1]; see `pica.eval.arena_hard_scores` for the conventions. They also differ in what becomes of a judgment of two games of
which one has no verdict: `v2` leaves it out whole, `v0.1` and `pica` only that game.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from pica.eval.arena_hard_scores import Convention, score
from pica.eval.battle_rows import verdicts_of
from pica.eval.battles import Battles, Floats
from pica.eval.judge import MUCH, WORTH
from pica.eval.judging_config import Ensemble
from pica.eval.means import Estimate
from pica.eval.style_control import FEATURES, StyleControl, bootstrap_style, fit_style
from pica.eval.style_control import Convention as StyleConvention
from pica.eval.winrate import win_rates
from pica.synth.errors import UsageError
from pica.synth.style import measure

Row = Mapping[str, Any]
OPPONENT = ""  # the baseline of the prompt, whichever model that is; no label is empty


@dataclass(frozen=True)
class Style:
    """Which features are taken out, and by whose definitions."""

    convention: StyleConvention = "pica"
    features: Sequence[str] = FEATURES


@dataclass(frozen=True)
class Counting:
    """How verdicts become scores. `strong`: how often `much better` counts. `level`: of the intervals."""

    convention: Convention = "pica"
    level: float = 0.95
    rounds: int = 1000
    seed: int = 0
    strong: int = 3
    ensemble: Ensemble = "each"
    style: Style | None = None


@dataclass(frozen=True)
class Played:
    """The games of some rows. `label`, `outcome` (of the baseline), `weight`, `row`: of those that count. `unscored`: games
    without a verdict, by label; `dropped`: games with one that the convention leaves out."""

    label: list[str] = field(default_factory=list)
    outcome: list[float] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    unscored: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def battles(self, rows: Sequence[Row]) -> Battles:
        """For the statistics, clustered by task."""
        return Battles.of([OPPONENT] * len(self.label), self.label, np.array(self.outcome), weight=np.array(self.weight),
                          prompt=[rows[place]["task"] for place in self.row])


def played(rows: Sequence[Row], how: Counting) -> Played:
    """The games of `rows` that count."""
    found = Played()
    for place, row in enumerate(rows):
        label = row["model_b"]
        for verdicts in verdicts_of(row, how.ensemble):
            missing = verdicts.count(None)
            found.unscored[label] += missing
            if missing and how.convention == "v2":
                found.dropped[label] += len(verdicts) - missing
                continue
            for verdict in verdicts:
                if verdict is not None:
                    found.label.append(label)
                    found.outcome.append(WORTH[verdict])
                    found.weight.append(how.strong if verdict in MUCH else 1)
                    found.row.append(place)
    return found


@dataclass(frozen=True)
class Effect:
    """What one unit of a feature's scaled difference is worth, in logits, with its interval."""

    feature: str
    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Scores:
    """Scores by label (those without one scored game are absent), and what they came from. `plain`: without style control, where
    there is any. `unit`: of length. `unstyled`: rows left out because their answers are not known."""

    scores: Mapping[str, Estimate]
    played: Played
    plain: Mapping[str, Estimate] = field(default_factory=dict)
    effects: Sequence[Effect] = ()
    unit: str = ""
    unstyled: int = 0


def scores_of(rows: Sequence[Row], how: Counting) -> Scores:
    """The scores of `rows`. Raises `UsageError` where style control is asked for and cannot be had."""
    games = played(rows, how)
    plain = _scores(games, rows, how)
    if how.style is None or not plain:
        return Scores(plain, games)
    return _Controlled(rows, how, games, plain).scores()


def _scores(games: Played, rows: Sequence[Row], how: Counting) -> dict[str, Estimate]:
    if not games.label:
        return {}
    battles = games.battles(rows)
    if how.convention == "pica":
        return win_rates(battles, OPPONENT, level=how.level, rounds=how.rounds, seed=how.seed)
    return score(battles, OPPONENT, convention=how.convention, rounds=how.rounds, seed=how.seed)


@dataclass(frozen=True)
class _Controlled:
    rows: Sequence[Row]
    how: Counting
    games: Played
    plain: Mapping[str, Estimate]

    @cached_property
    def style(self) -> Style:
        assert self.how.style is not None
        return self.how.style

    @cached_property
    def in_tokens(self) -> bool:
        """Lengths are tokens if they are known of every answer, else characters."""
        return all(row["tokens_a"] is not None and row["tokens_b"] is not None for row in self.rows if row["answers_known"])

    def scores(self) -> Scores:
        known = [number for number, place in enumerate(self.games.row) if self.rows[place]["answers_known"]]
        games = self.games
        some = Played([games.label[n] for n in known], [games.outcome[n] for n in known], [games.weight[n] for n in known],
                      [games.row[n] for n in known])
        if not some.label:
            raise UsageError("style control needs the answers, and neither answers=DIR nor the judgments hold them; give "
                             "answers=DIR, or leave out style_control")
        control = fit_style(some.battles(self.rows), *self._styles(some), anchor=OPPONENT, convention=self.style.convention)
        controlled, effects = self._estimates(control)
        left_out = len(set(games.row) - set(some.row))
        return Scores(controlled, games, self.plain, effects, "tokens" if self.in_tokens else "characters", left_out)

    def _styles(self, games: Played) -> tuple[Floats, Floats]:
        """float64 [games, 4] of the baseline and of the model, features that are not controlled left out."""
        by_row = {place: (self._style(place, "a"), self._style(place, "b")) for place in dict.fromkeys(games.row)}
        sides = np.array([by_row[place] for place in games.row], dtype=np.float64)
        wanted = np.array([feature in self.style.features for feature in FEATURES])
        if not wanted[0] and self.style.convention != "v0.1":  # counts are taken per unit of length, which then must be in them
            sides[..., 1:] /= sides[..., :1] + 1
        return sides[:, 0] * wanted, sides[:, 1] * wanted

    def _style(self, place: int, side: str) -> tuple[int, int, int, int]:
        row = self.rows[place]
        found = measure(row[f"answer_{side}"])
        return (row[f"tokens_{side}"] if self.in_tokens else found.characters), found.headers, found.lists, found.bold

    def _estimates(self, control: StyleControl) -> tuple[dict[str, Estimate], list[Effect]]:
        """Scores with their intervals: over prompts in our convention, over rows in the others; v2's score is the median of
        the draws."""
        how = self.how
        ends = bootstrap_style(control, by="prompts" if how.convention == "pica" else "rows", rounds=how.rounds, level=how.level,
                               seed=how.seed)
        home = control.battles.code(OPPONENT)
        value, (lower, upper) = control.ratings.against(OPPONENT), ends.ratings.against(OPPONENT)
        if how.convention == "v2":
            value = np.nanmedian(1 / (1 + np.exp(ends.ratings.draws[:, [home]] - ends.ratings.draws)), axis=0)
        estimates = {model: replace(self.plain[model], value=float(value[code]), lower=float(lower[code]),
                                    upper=float(upper[code]), n=int(control.battles.games[code]))
                     for code, model in enumerate(control.battles.models) if code != home}
        return estimates, [Effect(feature, float(effect), float(low), float(high)) for feature, effect, low, high
                           in zip(FEATURES, control.effects, ends.lower, ends.upper, strict=True)
                           if feature in self.style.features]
