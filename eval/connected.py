"""Which models can be rated together: those that chains of scored games connect."""

from __future__ import annotations

import numpy as np

from pica.eval.battles import Battles
from pica.eval.newton import reach


def groups(battles: Battles) -> list[tuple[str, ...]]:
    """Models that chains of scored games connect, the largest group first, equals by name. A model without any scored game is a
    group of its own."""
    n = len(battles.models)
    met = np.zeros((n, n), dtype=bool)
    met[battles.a, battles.b] = met[battles.b, battles.a] = True
    linked = reach(met) | np.eye(n, dtype=bool)
    found = {tuple(battles.models[code] for code in np.flatnonzero(linked[first])) for first in range(n)}
    return sorted(found, key=lambda group: (-len(group), group))


def comparable(battles: Battles, anchor: str | None = None) -> tuple[str, ...]:
    """The models that have a rating beside `anchor`; without one, the largest group. Empty where no game has a verdict."""
    found = [group for group in groups(battles) if len(group) > 1]
    return next((group for group in found if anchor is None or anchor in group), ())
