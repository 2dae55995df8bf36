"""What style does to a leaderboard of battles: its effects with intervals, and the ratings if all answers were alike in style.

    effects = style_effects(rows)
    effects.sections()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pica.eval.battle_rows import battles_of, verdicts_of
from pica.eval.battles import Floats
from pica.eval.connected import comparable
from pica.eval.ratings import POINTS, fit
from pica.eval.style_control import FEATURES, StyleControl, StyleIntervals, bootstrap_style, fit_style
from pica.synth.errors import PicaError
from pica.synth.report import Intervals, Section, Table
from pica.synth.style import measure

MOST_ROUNDS = 200  # of the bootstrap: every round fits all battles again
TITLE = "Style effects"
SETTLED = 15.0     # logits: an end beyond is none, style told the outcome of that draw
TOGETHER = 0.02    # of the greatest spread in any direction of the features: below, some of them always go together


@dataclass(frozen=True)
class Effect:
    """What one unit of a feature's scaled difference is worth, in logits, with its interval."""

    feature: str
    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Moved:
    """A model's rating as the answers are, and with style held equal, in points."""

    model: str
    plain: float
    equal: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class StyleEffects:
    """Effects, and models by their rating with style held equal. `same`: features in which answers do not differ. `together`:
    those that go together, so that nobody can tell their effects apart. `problem`: why there are none at all. `games`: what they
    come from. `rounds`: draws of tasks behind the intervals, 0 where there are too few tasks for any."""

    effects: Sequence[Effect] = ()
    same: Sequence[str] = ()
    together: Sequence[str] = ()
    moved: Sequence[Moved] = ()
    problem: str = ""
    games: int = 0
    rounds: int = 0
    level: float = 0.95

    def sections(self) -> list[Section]:
        """For a report."""
        if self.problem:
            return [Table(TITLE, ["why there are none"], [[self.problem]])]
        drawn = (f"with {self.level:.0%} intervals of {self.rounds:,} draws of tasks" if self.rounds else
                 "without intervals, which need two tasks or more")
        note = (f"log odds of winning for one typical difference more of a feature, {drawn}, from {self.games:,} games. Above 0 "
                "the judge favours more of it, be it the style or what comes with it. Length in characters, the others by "
                "length; counted as Arena-Hard does")
        note += f". The answers do not differ in {', '.join(self.same)}" if self.same else ""
        note += f". In these answers {' and '.join(self.together)} go together; their effects cannot be told apart" \
            if self.together else ""
        items = [(effect.feature, effect.value, effect.lower, effect.upper) for effect in self.effects]
        return [Intervals(TITLE, items, note=note), self._ratings()]

    def _ratings(self) -> Table:
        plain = {one.model: place for place, one in enumerate(sorted(self.moved, key=lambda one: -one.plain), 1)}
        rows = [[one.model, place, _shown(one.equal), f"{_shown(one.lower)} to {_shown(one.upper)}", _shown(one.plain),
                 _signed(one.equal - one.plain), plain[one.model]] for place, one in enumerate(self.moved, 1)]
        header = ["model", "place", "rating, style equal", "interval", "rating as it is", "change", "place as it is"]
        return Table("The leaderboard with style held equal", header, rows, note=(
            "Bradley-Terry ratings, 400 points are odds of ten to one, their mean 1,000 on both sides: how strong models would "
            "look if their answers were equally long and formatted alike"))


def style_effects(rows: Sequence[dict[str, Any]], *, strong: float = 1.0, level: float = 0.95, rounds: int = MOST_ROUNDS,
                  seed: int = 0) -> StyleEffects:
    """The effects of style in battle rows. What cannot be fitted has a `problem` instead."""
    known = [row for row in rows if row.get("answers_known", True)]
    if not known:
        return StyleEffects(problem="the answers are not known" if rows else "there are no battles")
    rated = set(comparable(battles_of(known, strong=strong)))
    used = [row for row in known if {row["model_a"], row["model_b"]} <= rated]
    if not used:
        return StyleEffects(problem="no game has a verdict")
    battles, styles = battles_of(used, strong=strong), _styles(used)
    try:
        control = fit_style(battles, *styles)
        drawn = min(rounds, MOST_ROUNDS) if battles.prompts > 1 else 0
        ends = bootstrap_style(control, rounds=drawn, level=level, seed=seed) if drawn else None
        plain = fit(battles)
    except PicaError as error:
        return StyleEffects(problem=str(error))
    same, together = _blurred(control.cells.features)
    effects = [_effect(control, ends, place) for place, feature in enumerate(FEATURES) if feature not in {*same, *together}]
    return StyleEffects(effects, same, together, _moved(control, ends, plain.points), "", len(battles), drawn, level)


def _styles(rows: Sequence[dict[str, Any]]) -> tuple[Floats, Floats]:
    """float64 [games, 4] of both answers, a row for each verdict."""
    found: dict[str, tuple[int, ...]] = {}
    sides: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = ([], [])
    for row in rows:
        games = len(verdicts_of(row)[0])
        for side, of_side in zip("ab", sides, strict=True):
            text = row[f"answer_{side}"]
            if text not in found:
                style = measure(text)
                found[text] = (style.characters, style.headers, style.lists, style.bold)
            of_side.extend([found[text]] * games)
    return np.array(sides[0], dtype=np.float64), np.array(sides[1], dtype=np.float64)


def _blurred(features: Floats) -> tuple[list[str], list[str]]:
    """Features that never differ, and those of which one follows from the others."""
    varies = np.abs(features).max(axis=0) > 0
    names = [feature for feature, one in zip(FEATURES, varies, strict=True) if one]
    same = [feature for feature in FEATURES if feature not in names]
    if not names:
        return same, []
    spread, directions = np.linalg.svd(features[:, varies], full_matrices=False)[1:]
    flat = directions[spread < TOGETHER * spread.max()]
    return same, [name for place, name in enumerate(names) if (np.abs(flat[:, place]) > 0.1).any()]


def _effect(control: StyleControl, ends: StyleIntervals | None, place: int) -> Effect:
    return Effect(FEATURES[place], float(control.effects[place]), _end(ends.lower[place]) if ends else None,
                  _end(ends.upper[place]) if ends else None)


def _moved(control: StyleControl, ends: StyleIntervals | None, plain: Floats) -> list[Moved]:
    """Models by their rating with style held equal, best first."""
    points = control.ratings.points
    lower, upper = (ends.ratings.lower, ends.ratings.upper) if ends else (None, None)
    moved = [Moved(model, float(plain[code]), float(points[code]), _point(lower, code), _point(upper, code))
             for code, model in enumerate(control.ratings.models)]
    return sorted(moved, key=lambda one: (-one.equal, one.model))


def _point(ends: Floats | None, code: int) -> float | None:
    return None if ends is None or not np.isfinite(ends[code]) or abs(ends[code]) > SETTLED * POINTS else float(ends[code])


def _end(value: float) -> float | None:
    return float(value) if abs(value) < SETTLED else None


def _shown(value: float | None) -> str:
    return "-" if value is None else "unbounded" if not np.isfinite(value) else f"{value:.1f}"


def _signed(change: float) -> str:
    return f"{change:+.1f}" if np.isfinite(change) else "-"
