"""L-BFGS with a fixed step and a fixed number of steps, as the optimiser of Arena-Hard v2's style control runs it.

It is here to repeat what those authors published, not to find a maximum: with their 50 steps of a tenth it stops short of
it. Use `pica.eval.style_control` with another convention for an answer that does not depend on where a search began.

Nocedal, Updating quasi-Newton matrices with limited storage (1980); step rule and stops as in torch.optim.LBFGS without a
line search.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pica.eval.battles import Floats

#: The authors' settings: steps, their length, the smallest change, and every parameter's start.
STEPS, RATE, SMALLEST, START = 50, 0.1, 1e-9, 0.5


def unconverged(loss: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats:
    """float64 [n]: where `STEPS` steps from `start` (float64 [n]) lead. `loss` gives a value and its gradient."""
    x = start.copy()
    value, gradient = loss(x)
    moves: list[tuple[Floats, Floats]] = []
    for number in range(STEPS):
        direction = _direction(gradient, moves)
        rate = RATE * min(1.0, 1.0 / float(np.abs(gradient).sum())) if number == 0 else RATE
        if float(gradient @ direction) > -SMALLEST:
            break
        move = rate * direction
        x = x + move
        before, value_before = gradient, value
        value, gradient = loss(x)
        if float((gradient - before) @ move) > 1e-10:
            moves.append((move, gradient - before))
        if np.abs(gradient).max() <= SMALLEST or np.abs(move).max() <= SMALLEST or abs(value - value_before) < SMALLEST:
            break
    return x


def _direction(gradient: Floats, moves: list[tuple[Floats, Floats]]) -> Floats:
    """Minus the gradient times the inverse of the second derivative that the moves so far show."""
    rest, shares = -gradient, []
    for move, change in reversed(moves):
        share = float(move @ rest) / float(change @ move)
        rest = rest - share * change
        shares.append(share)
    if moves:
        move, change = moves[-1]
        rest = rest * (float(change @ move) / float(change @ change))
    for (move, change), share in zip(moves, reversed(shares), strict=True):
        rest = rest + move * (share - float(change @ rest) / float(change @ move))
    return rest
