"""Battles as the statistics see them: arrays, one entry a scored game between two models on one prompt.

    battles = Battles.of(model_a, model_b, outcome, prompt=prompt)
    pairs = battles.pairs()        # counts by pair of models: all that Bradley-Terry needs

Every function that rates models takes these. Games without a verdict are counted in `unscored` and enter nothing else.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pica.synth.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Counts by pair of models that met, each pair once (`i` < `j`, codes of models).

    `models`: how many models there are. `i`, `j`: int64 [pairs]. `wins`: float64 [pairs], the weight that `i` won, a tie
    counting half on either side. `total`: float64 [pairs], the weight of all their games.
    """

    models: int
    i: Ints
    j: Ints
    wins: Floats
    total: Floats


@dataclass(frozen=True, eq=False)
class Battles:
    """Scored games. Make them with `Battles.of`, which checks and codes what it is given.

    `models`: names, sorted. `a`, `b`: int64 [games], codes of the two models. `outcome`: float64 [games], 1 where a won,
    .5 for a tie, 0 where b won (anything between is a soft verdict). `weight`: float64 [games], how much a game counts.
    `prompt`: int64 [games], codes of the prompts, in the order of their names. `prompts`: how many prompts there are.
    `row`: int64 [games], where each game stood in what `of` was given. `unscored`: games without a verdict of every model.
    """

    models: tuple[str, ...]
    a: Ints
    b: Ints
    outcome: Floats
    weight: Floats
    prompt: Ints
    prompts: int
    row: Ints
    unscored: tuple[int, ...]

    @classmethod
    def of(cls, model_a: Sequence[str] | Ints, model_b: Sequence[str] | Ints, outcome: Sequence[float | None] | Floats, *,
           weight: Sequence[float] | Floats | None = None, prompt: Sequence[Hashable] | Ints | None = None,
           models: Sequence[str] | None = None) -> Battles:
        """Battles from one entry a game.

        `model_a`, `model_b`: names, or positions in `models` where that is given. `outcome`: the score of a in [0, 1];
        None or NaN where there is no verdict. `weight`: default 1 each; games of weight 0 are left out. `prompt`: what
        each game was about (default: every game has a prompt of its own). UsageError names the first bad entry.
        """
        n = len(model_a)
        score = np.array([np.nan if value is None else value for value in outcome], dtype=np.float64) \
            if not isinstance(outcome, np.ndarray) else outcome.astype(np.float64)
        load = np.ones(n) if weight is None else np.array(weight, dtype=np.float64)
        if not n == len(model_b) == len(score) == len(load) == (n if prompt is None else len(prompt)):
            raise UsageError(f"columns of battles differ in length: {n} model_a, {len(model_b)} model_b, {len(score)} outcome, "
                             f"{len(load)} weight, {n if prompt is None else len(prompt)} prompt; give one entry a game in each")
        names, a, b = _coded_models(model_a, model_b, models)
        _check_games(names, a, b, score, load)
        known = ~np.isnan(score)
        missing = np.bincount(np.concatenate([a[~known], b[~known]]), minlength=len(names))
        keep = known & (load > 0)
        row = np.flatnonzero(keep)
        if len(row) < n:
            a, b, score, load = a[row], b[row], score[row], load[row]
        codes, prompts = (np.arange(len(row)), len(row)) if prompt is None else _dense(codes_of(prompt)[row])
        return cls(names, a, b, score, load, codes, prompts, row, tuple(int(count) for count in missing))

    def __len__(self) -> int:
        """Scored games."""
        return len(self.a)

    @property
    def games(self) -> Ints:
        """int64 [models]: scored games of every model."""
        return np.bincount(self.a, minlength=len(self.models)) + np.bincount(self.b, minlength=len(self.models))

    def code(self, model: str) -> int:
        """The position of a model's name; UsageError lists the names there are."""
        if model not in self.models:
            raise UsageError(f"no battle of model '{model}'; models with battles: {', '.join(self.models)}")
        return self.models.index(model)

    def sides(self) -> tuple[Ints, Ints, Floats]:
        """(lower code, higher code, score of the lower) of every game."""
        swap = self.a > self.b
        return np.where(swap, self.b, self.a), np.where(swap, self.a, self.b), np.where(swap, 1 - self.outcome, self.outcome)

    def pairs(self) -> Pairs:
        """Counts by pair of models."""
        if not len(self):
            raise UsageError(f"no game has a verdict ({sum(self.unscored) // 2} unscored); ratings need at least one")
        n = len(self.models)
        low, high, score = self.sides()
        code = low * n + high
        total = tally(code, self.weight, n * n)
        wins = tally(code, self.weight * score, n * n)
        met = np.flatnonzero(total)
        return Pairs(n, met // n, met % n, wins[met], total[met])


def tally(code: Ints, values: Floats, size: int) -> Floats:
    """float64 [size]: the values added up by code."""
    return np.bincount(code, values, size).astype(np.float64, copy=False)  # of nothing, bincount makes whole numbers


def _coded_models(model_a: Sequence[str] | Ints, model_b: Sequence[str] | Ints,
                  models: Sequence[str] | None) -> tuple[tuple[str, ...], Ints, Ints]:
    """Sorted names, and both columns as positions in them."""
    if models is None:
        names = tuple(sorted({*map(str, model_a), *map(str, model_b)}))
        index = {name: code for code, name in enumerate(names)}
        return names, _looked_up(model_a, index), _looked_up(model_b, index)
    names = tuple(sorted(models))
    if len(set(names)) < len(names):
        raise UsageError(f"models are named twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    place = np.array([names.index(name) for name in models], dtype=np.int64)
    a, b = np.asarray(model_a), np.asarray(model_b)
    for codes in (a, b):
        if len(codes) and (codes.dtype.kind not in "iu" or codes.min() < 0 or codes.max() >= len(names)):
            raise UsageError(f"codes of models must be whole numbers from 0 to {len(names) - 1}, the positions in `models`")
    return names, place[a.astype(np.int64)], place[b.astype(np.int64)]


def _looked_up(column: Sequence[str] | Ints, index: dict[str, int]) -> Ints:
    return np.array([index[str(name)] for name in column], dtype=np.int64)


def codes_of(prompt: Sequence[Hashable] | Ints) -> Ints:
    """Prompts as numbers in the order of their names, so that the order of rows decides nothing."""
    if isinstance(prompt, np.ndarray) and prompt.dtype.kind in "iu":
        return prompt.astype(np.int64)
    index = {name: code for code, name in enumerate(sorted(set(prompt), key=lambda name: (str(name), repr(name))))}
    return np.array([index[name] for name in prompt], dtype=np.int64)


def _dense(codes: Ints) -> tuple[Ints, int]:
    """The same codes without gaps, in the same order, and how many differ."""
    if len(codes) and codes.min() >= 0 and codes.max() < 4 * len(codes):
        used = np.bincount(codes) > 0
        return (np.cumsum(used) - 1)[codes], int(used.sum())
    values, dense = np.unique(codes, return_inverse=True)
    return dense.astype(np.int64), len(values)


def _check_games(names: tuple[str, ...], a: Ints, b: Ints, outcome: Floats, weight: Floats) -> None:
    """UsageError for the first game that cannot be one."""
    own = np.flatnonzero(a == b)
    if len(own):
        raise UsageError(f"game {own[0]}: model '{names[a[own[0]]]}' against itself; leave such games out of ratings")
    bad = np.flatnonzero((outcome < 0) | (outcome > 1))
    if len(bad):
        raise UsageError(f"game {bad[0]}: outcome {outcome[bad[0]]:g}; allowed: 0 (b won) to 1 (a won), .5 for a tie, None")
    bad = np.flatnonzero(~np.isfinite(weight) | (weight < 0))
    if len(bad):
        raise UsageError(f"game {bad[0]}: weight {weight[bad[0]]:g}; allowed: finite numbers of at least 0")
