"""Maximum likelihood of Bradley-Terry from counts by pair, for many sets of counts at once.

The log-likelihood of strengths x is the sum over pairs of wins * log s(x_i - x_j) + losses * log s(x_j - x_i) with
s(t) = 1 / (1 + exp(-t)). It is concave, and Newton's method with steps shortened by log(1 + b) / b, where b is the
largest change of any difference, converges from anywhere (Sun and Tran-Dinh, Generalized self-concordant functions,
2019: the logistic loss has nu = 2). Close to the maximum the steps are whole, so convergence is quadratic. Many sets that
differ little from each other, as the draws of a bootstrap do, first share the second derivative at their common start: that
brings nearly all of them there with a few matrix products.

Where a model won or lost all of its games the maximum lies at infinity. Strengths then grow until the gradient is
negligible (some 25 logits); `reach` tells such models exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pica.eval.battles import Bools, Floats, Ints, Pairs
from pica.synth.errors import PicaError

#: A model's expected wins differ from its wins by at most this share of its games when a fit has converged.
EXACT = 1e-11
_STEPS = 500
#: Steps with a shared second derivative before a set is solved by itself.
_SHARED_STEPS = 25
#: Float64 numbers in one of the working arrays of a batch (32 MB).
_BATCH = 1 << 22


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    result: Floats = np.where(x >= 0, 1.0, small) / (1 + small)
    return result


def maximise(pairs: Pairs, wins: Floats, total: Floats, *, prior: float = 0.0, start: Floats | None = None,
             tolerance: float = EXACT) -> Floats:
    """float64 [sets, models]: strengths in logits, of mean zero unless there is a prior.

    `wins`, `total`: float64 [sets, pairs], in the order of `pairs`. `prior`: tied games of every model against an
    opponent of strength zero. `start`: float64 [models] to begin from; directions that no game speaks of stay as
    there. `tolerance`: see `EXACT`.
    """
    sets = len(wins)
    begin_at = np.zeros(pairs.models) if start is None else start
    strength = np.tile(begin_at, (sets, 1))
    shared = None
    if sets > 1:
        middle = derivatives(pairs, wins.mean(axis=0)[None], total.mean(axis=0)[None], prior, begin_at[None])[1]
        shared = np.linalg.inv(_invertible(middle, prior)[0])
    batch = max(1, _BATCH // max(pairs.models ** 2, len(pairs.i)))
    for begin in range(0, sets, batch):
        some = slice(begin, begin + batch)
        games = np.maximum(_net(pairs, total[some], 1.0) + prior, np.finfo(np.float64).tiny)
        goal = tolerance * games
        rest = np.arange(sets)[some]
        if shared is not None:
            rest = rest[_approach(pairs, wins[some], total[some], prior, strength[some], shared, goal=goal)]
        strength[rest] = _climb(pairs, wins[rest], total[rest], prior, np.tile(begin_at, (len(rest), 1)), goal[rest - begin])
    return strength if prior else strength - strength.mean(axis=1, keepdims=True)


def _approach(pairs: Pairs, wins: Floats, total: Floats, prior: float, strength: Floats, shared: Floats, *,
              goal: Floats) -> Ints:
    """Moves strengths (in place) by steps with a shared inverse; the sets that this did not bring to their goal."""
    active = np.arange(len(wins))
    for _ in range(_SHARED_STEPS):
        gradient = _gradient(pairs, wins[active], total[active], prior, strength[active])
        still = ~(np.abs(gradient) <= goal[active]).all(axis=1)
        active, gradient = active[still], gradient[still]
        if not len(active):
            break
        strength[active] += gradient @ shared
    return active


def _climb(pairs: Pairs, wins: Floats, total: Floats, prior: float, strength: Floats, goal: Floats) -> Floats:
    """Newton steps on a batch until no gradient exceeds its goal; sets that are there rest."""
    active = np.arange(len(wins))
    for _ in range(_STEPS):
        gradient, hessian = derivatives(pairs, wins[active], total[active], prior, strength[active])
        still = ~(np.abs(gradient) <= goal[active]).all(axis=1)
        active = active[still]
        if not len(active):
            return strength
        step = np.linalg.solve(_invertible(hessian[still], prior), gradient[still][:, :, None])[:, :, 0]
        change = np.maximum(np.maximum(step.max(axis=1), 0) - np.minimum(step.min(axis=1), 0), 1e-300)
        strength[active] += step * (np.log1p(change) / change)[:, None]
    raise PicaError(f"Bradley-Terry did not converge in {_STEPS} steps; weights of games that differ by many orders of "
                    "magnitude can do that: bring them closer together")


def derivatives(pairs: Pairs, wins: Floats, total: Floats, prior: float, strength: Floats) -> tuple[Floats, Floats]:
    """Gradient [sets, models] of the log-likelihood and minus its second derivative [sets, models, models]."""
    chance = sigmoid(strength[:, pairs.i] - strength[:, pairs.j])
    apart = _both_ways(pairs, total * chance * (1 - chance))
    own = apart.sum(axis=2)
    if prior:
        alone = sigmoid(strength)
        own += prior * alone * (1 - alone)
    hessian = -apart
    hessian[:, np.arange(pairs.models), np.arange(pairs.models)] = own
    return _gradient(pairs, wins, total, prior, strength), hessian


def _gradient(pairs: Pairs, wins: Floats, total: Floats, prior: float, strength: Floats) -> Floats:
    """float64 [sets, models]: scores less expected scores."""
    surplus = wins - total * sigmoid(strength[:, pairs.i] - strength[:, pairs.j])
    gradient = _net(pairs, surplus, -1.0)
    if prior:
        gradient += prior * (0.5 - sigmoid(strength))
    return gradient


def reach(beat: Bools) -> Bools:
    """bool [..., models, models]: whether a chain of games leads from one model to the other; `beat` holds single games."""
    linked: Bools = beat | np.eye(beat.shape[-1], dtype=bool)
    for via in range(beat.shape[-1]):  # Warshall
        linked |= linked[..., :, via, None] & linked[..., None, via, :]
    return linked


def beaten(pairs: Pairs, wins: Floats, total: Floats) -> Bools:
    """bool [sets, models, models]: whether the first scored anything against the second."""
    grid: NDArray[np.bool_] = np.zeros((len(wins), pairs.models, pairs.models), dtype=bool)
    grid[:, pairs.i, pairs.j] = wins > 0
    grid[:, pairs.j, pairs.i] = total - wins > total * 1e-12
    return grid


def _both_ways(pairs: Pairs, values: Floats) -> Floats:
    """[sets, models, models] with `values` at (i, j) and (j, i)."""
    grid = np.zeros((len(values), pairs.models, pairs.models))
    grid[:, pairs.i, pairs.j] = values
    grid[:, pairs.j, pairs.i] = values
    return grid


def _net(pairs: Pairs, values: Floats, sign: float) -> Floats:
    """[sets, models]: the values of a model's pairs added up, times `sign` where it is the second."""
    made = np.zeros((len(values), pairs.models))
    begins = np.flatnonzero(np.diff(pairs.i, prepend=-1))
    made[:, pairs.i[begins]] = np.add.reduceat(values, begins, axis=1)
    order = np.argsort(pairs.j, kind="stable")
    second = pairs.j[order]
    begins = np.flatnonzero(np.diff(second, prepend=-1))
    made[:, second[begins]] += sign * np.add.reduceat(values[:, order], begins, axis=1)
    return made


def _invertible(hessian: Floats, prior: float) -> Floats:
    """With what no game speaks of (the common shift; models that did not meet) made harmless."""
    size = hessian.shape[1]
    scale = np.maximum(np.einsum("rii->r", hessian) / size, 1e-300)[:, None, None]
    shift = 0.0 if prior else 1 / size
    whole: Floats = hessian + scale * (shift + 1e-13 * np.eye(size))
    return whole
