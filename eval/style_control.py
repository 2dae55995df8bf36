"""Ratings with style taken out: how strong models would look if their answers were alike in length and formatting.

    control = fit_style(battles, style_a, style_b, anchor="gpt-4-0314")
    control.ratings.against("gpt-4-0314"), control.effects
    intervals = bootstrap_style(control)

Bradley-Terry with four more terms: the chance that a beats b also depends on how much longer its answer is and how many
more headers, list items and bold spans it has. Fitted to convergence by Newton's method.

Conventions: `pica`, differences divided by their root mean square, so that ratings hold for answers of equal style;
`v2` and `v0.1`, Arena-Hard's, differences with their mean taken away, so that ratings hold for the average difference in style
between the candidates and the baseline. `v0.1` also has scikit-learn's L2 penalty (C = 1). The authors' optimiser for v2 stops
before it converges, up to about a point of win rate away: `v2-unconverged` does as it did, and is the one exception to the above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pica.eval.battles import Battles, Floats, Ints, tally
from pica.eval.intervals import CLOSE, Intervals, check_level, quantiles, tails
from pica.eval.lbfgs import START, unconverged
from pica.eval.newton import EXACT, sigmoid
from pica.eval.ratings import Ratings, check_connected, placed
from pica.eval.resample import By
from pica.synth.errors import PicaError, UsageError

#: The columns of styles and of effects.
FEATURES = ("length", "headers", "lists", "bold")
Convention = Literal["pica", "v2", "v2-unconverged", "v0.1"]
CONVENTIONS = get_args(Convention)
_STEPS = 200
#: An effect that moves some battle by this many logits tells its outcome from style alone.
_PERFECT = 15.0


@dataclass(frozen=True, eq=False)
class Cells:
    """Games added up where models, prompt and style are the same.

    `i`, `j`, `prompt`: int64 [cells]. `features`: float64 [cells, 4], scaled, of `i` against `j`. `wins` of `i`, `total`:
    float64 [cells]. `cell`, `score`: int64 and float64 [games], the cell of every game and what `i` scored in it. `penalty`:
    float64 [models + 4], twice what multiplies the square of each parameter.
    """

    models: int
    i: Ints
    j: Ints
    prompt: Ints
    features: Floats
    wins: Floats
    total: Floats
    cell: Ints
    score: Floats
    penalty: Floats


@dataclass(frozen=True, eq=False)
class StyleControl:
    """Ratings with style taken out, and what made them.

    `effects`: float64 [4], logits for one unit of the scaled difference in `FEATURES`; 0 where answers never differ.
    """

    ratings: Ratings
    effects: Floats
    convention: Convention
    battles: Battles
    cells: Cells

    def explain(self) -> str:
        """In a sentence or two, what these ratings are."""
        terms = ", ".join(f"{name} {effect:+.3f}" for name, effect in zip(FEATURES, self.effects, strict=True))
        where = "answers of equal style" if self.convention == "pica" else "the average difference in style from the baseline"
        return (f"{self.ratings.explain()} Style is taken out ({self.convention}): ratings are for {where}; effects in logits: "
                f"{terms}.")


@dataclass(frozen=True, eq=False)
class StyleIntervals:
    """Intervals of ratings with style taken out, and of the effects: `lower`, `upper`, float64 [4]."""

    ratings: Intervals
    lower: Floats
    upper: Floats


def differences(style_a: Sequence[Sequence[float]] | Floats, style_b: Sequence[Sequence[float]] | Floats, *,
                convention: Convention = "pica") -> Floats:
    """float64 [rows, 4]: how much more style a has than b, each in [-1, 1], before scaling.

    Styles: float [rows, 4], length (in tokens or characters), and counts of headers, list items and bold spans. Length is
    (a - b) / (a + b), 0 where both are 0; of the counts, v0.1 takes (a - b) / (a + b + 1), the others do that with
    counts per unit of length (plus 1).
    """
    a, b = np.asarray(style_a, dtype=np.float64), np.asarray(style_b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != len(FEATURES):
        raise UsageError(f"styles of shapes {a.shape} and {b.shape}; allowed: [rows, {len(FEATURES)}], {', '.join(FEATURES)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()) or (a < 0).any() or (b < 0).any():
        raise UsageError("a style is negative, NaN or infinite; allowed: counts of at least 0")
    if convention == "v0.1":
        return (a - b) / (a + b + 1)
    made = np.empty_like(a)
    both = a[:, 0] + b[:, 0]
    made[:, 0] = (a[:, 0] - b[:, 0]) / np.where(both > 0, both, 1)
    dense_a, dense_b = (style[:, 1:] / (style[:, :1] + 1) for style in (a, b))
    made[:, 1:] = (dense_a - dense_b) / (dense_a + dense_b + 1)
    return made


def fit_style(battles: Battles, style_a: Sequence[Sequence[float]] | Floats, style_b: Sequence[Sequence[float]] | Floats, *,
              anchor: str | None = None, anchor_rating: float = 1000.0, convention: Convention = "pica") -> StyleControl:
    """Ratings with style taken out.

    `style_a`, `style_b`: float [rows, 4], one for each row that `Battles.of` was given (see `differences`). All but `pica`
    need the baseline as anchor, and games against it only.
    """
    if convention not in CONVENTIONS:
        raise UsageError(f"unknown convention of style control '{convention}'; known: {', '.join(CONVENTIONS)}")
    pairs = battles.pairs()
    check_connected(battles, pairs)
    raw = differences(style_a, style_b, convention=convention)
    if len(raw) <= int(battles.row.max()):
        raise UsageError(f"{len(raw)} rows of style for battles made of {int(battles.row.max()) + 1} rows or more; give one each")
    features, swap = _oriented(battles, raw[battles.row], anchor, convention)
    cells = _cells(battles, _scaled(features, battles.weight, convention), swap, penalised=convention == "v0.1")
    solution = _solved(cells, cells.wins, cells.total, convention)
    effects = solution[pairs.models:]
    if np.abs(cells.features @ effects).max() > _PERFECT:
        raise UsageError("style alone tells the outcome of these battles, so its effect has no finite value; use more battles "
                         "or rate without style control")
    ratings = placed(battles, pairs, solution[:pairs.models], anchor=anchor, anchor_rating=anchor_rating,
                     penalised=convention == "v0.1")
    return StyleControl(ratings, effects, convention, battles, cells)


def bootstrap_style(control: StyleControl, *, by: By = "prompts", rounds: int = 1000, level: float = 0.95,
                    seed: int = 0) -> StyleIntervals:
    """Intervals by drawing prompts (or rows, each with its weight as copies) anew and fitting again.

    Time grows with rounds times cells, which are prompts times pairs of models that met.
    """
    check_level(level)
    cells, battles = control.cells, control.battles
    units = battles.prompts if by == "prompts" else int(battles.weight.sum())
    generator = np.random.default_rng(seed)
    start = np.concatenate([np.nan_to_num(control.ratings.strength, posinf=0.0, neginf=0.0), control.effects])
    draws = np.empty((rounds, len(start)))
    for number in range(rounds):
        wins, total = _drawn(control, by, generator)
        draws[number] = _solved(cells, wins, total, control.convention, start)
        games = tally(cells.i, total, cells.models) + tally(cells.j, total, cells.models)
        draws[number, :cells.models][games == 0] = np.nan
    n = cells.models
    ratings = Intervals(control.ratings, "bootstrap", by, units, rounds, seed, level, draws[:, :n], np.full((n, n), np.nan))
    lower, upper = quantiles(draws[:, n:], *tails(level, units if by == "prompts" else None))
    return StyleIntervals(ratings, lower, upper)


def _oriented(battles: Battles, features: Floats, anchor: str | None, convention: Convention) -> tuple[Floats, Ints]:
    """Features, turned where `a` becomes the second; by name, or so that the baseline is always second."""
    if convention == "pica":
        swap = battles.a > battles.b
    else:
        home = None if anchor is None else battles.code(anchor)
        swap = battles.a == home
        if not (swap | (battles.b == home)).all():
            raise UsageError(f"style control by {convention} compares with one baseline; give it as anchor, with games against "
                             "it only, or use pica")
    return np.where(swap[:, None], -features, features), swap.astype(np.int64)


def _scaled(features: Floats, weight: Floats, convention: Convention) -> Floats:
    """Features on the convention's scale; a constant one becomes 0."""
    total = weight.sum()
    if convention != "pica":
        features = features - weight @ features / total
    rows = total - 1 if convention.startswith("v2") else total
    spread = np.sqrt(weight @ features ** 2 / max(rows, 1))
    return np.where(spread > 1e-12, features / np.where(spread > 1e-12, spread, 1), 0.0)


def _cells(battles: Battles, features: Floats, swap: Ints, *, penalised: bool) -> Cells:
    """Games added up by pair and prompt, where their styles are the same (as those of both orders are)."""
    i, j = np.where(swap, battles.b, battles.a), np.where(swap, battles.a, battles.b)
    score = np.where(swap, 1 - battles.outcome, battles.outcome)
    n = len(battles.models)
    _, first, cell = np.unique((battles.prompt * n + i) * n + j, return_index=True, return_inverse=True)
    if (features != features[first][cell]).any():
        first = cell = np.arange(len(battles))
    penalty = np.zeros(n + len(FEATURES))
    if penalised:  # C = 1 on twice the rows; the authors' ratings are in units of ln 10 logits
        penalty[:n], penalty[n:] = 0.5 / np.log(10) ** 2, 0.5
    wins, total = tally(cell, battles.weight * score, len(first)), tally(cell, battles.weight, len(first))
    return Cells(n, i[first], j[first], battles.prompt[first], features[first], wins, total, cell, score, penalty)


def _drawn(control: StyleControl, by: By, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Wins and totals of the cells in one draw."""
    cells, battles = control.cells, control.battles
    if by == "prompts":
        times = generator.multinomial(battles.prompts, np.full(battles.prompts, 1 / battles.prompts))[cells.prompt]
        return cells.wins * times, cells.total * times
    rows = battles.weight.sum()
    drawn = generator.multinomial(int(rows), battles.weight / rows).astype(np.float64)
    return tally(cells.cell, drawn * cells.score, len(cells.i)), tally(cells.cell, drawn, len(cells.i))


def _solved(cells: Cells, wins: Floats, total: Floats, convention: Convention, start: Floats | None = None) -> Floats:
    """float64 [models + 4]: the convention's strengths and effects; from `start`, to 1e-5 points, where there is one."""
    size = cells.models + len(FEATURES)
    if convention != "v2-unconverged":
        return _maximum(cells, wins, total, np.zeros(size) if start is None else start, EXACT if start is None else CLOSE)

    def loss(solution: Floats) -> tuple[float, Floats]:
        logits = _logits(cells, solution)
        return float((total * np.logaddexp(0, logits) - wins * logits).sum()), -_summed(cells, wins - total * sigmoid(logits))[0]

    return unconverged(loss, np.full(size, START))


def _maximum(cells: Cells, wins: Floats, total: Floats, start: Floats, tolerance: float) -> Floats:
    """float64 [models + 4]: strengths and effects of greatest likelihood; steps as in `pica.eval.newton`."""
    n, solution = cells.models, start.copy()
    games = float(total.sum())
    for _ in range(_STEPS):
        chance = sigmoid(_logits(cells, solution))
        gradient = _summed(cells, wins - total * chance)[0] - cells.penalty * solution
        if np.abs(gradient).max() <= tolerance * games:
            return solution
        hessian = _curvature(cells, total * chance * (1 - chance)) + np.diag(cells.penalty)
        scale = np.trace(hessian) / len(hessian)
        hessian += 1e-13 * scale * np.eye(len(hessian))
        if not cells.penalty.any():
            hessian[:n, :n] += scale / n
        step = np.linalg.solve(hessian, gradient).astype(np.float64, copy=False)
        change = max(float(np.abs(_logits(cells, step)).max()), 1e-300)
        solution += step * (math.log1p(change) / change)
    raise PicaError(f"style control did not converge in {_STEPS} steps; rate without it, or use more battles")


def _logits(cells: Cells, solution: Floats) -> Floats:
    made: Floats = solution[cells.i] - solution[cells.j] + cells.features @ solution[cells.models:]
    return made


def _summed(cells: Cells, values: Floats) -> tuple[Floats, Floats]:
    """The transposed design times values [cells], and that for each feature times the values: [models + 4], [models + 4, 4]."""
    columns = np.column_stack([values, values[:, None] * cells.features])
    by_model = np.stack([tally(cells.i, column, cells.models) - tally(cells.j, column, cells.models)
                         for column in columns.T], axis=1)
    both = np.concatenate([by_model, cells.features.T @ columns])
    return both[:, 0], both[:, 1:]


def _curvature(cells: Cells, values: Floats) -> Floats:
    """float64 [models + 4, models + 4]: the design's weighted products."""
    n = cells.models
    grid = tally(cells.i * n + cells.j, values, n * n).reshape(n, n)
    grid = grid + grid.T
    whole = np.zeros((n + len(FEATURES),) * 2)
    whole[:n, :n] = np.diag(grid.sum(axis=1)) - grid
    whole[:, n:] = _summed(cells, values)[1]
    whole[n:, :n] = whole[:n, n:].T
    return whole
