"""What a bootstrap draws, in counts: prompts with all their games, or single rows.

Prompts that hold one game, and rows, are drawn by kind (same pair, same outcome, same weight), so that millions of
them cost what their few thousand kinds cost. Prompts with several games are drawn one by one, and their games added up
by pair with a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pica.eval.battles import Battles, Floats, Ints, Pairs, tally
from pica.synth.errors import UsageError

#: What is drawn. `rows` is what the authors of Arena-Hard draw: a game of weight 3 is three independent rows.
By = Literal["prompts", "rows"]
_BATCH = 1 << 22


@dataclass(frozen=True, eq=False)
class Units:
    """Units to draw with replacement.

    `count`: how many units there are (and how many a draw holds). `kinds`: int64 [k], how often each kind of unit with
    one game occurs; `pair`, `wins`, `total`: its pair (ascending) and what it adds there. `blocks`: how many other units
    there are; `row`, `row_pair`, `row_wins`, `row_total`: their games, by unit (ascending).
    """

    pairs: Pairs
    count: int
    kinds: Ints
    pair: Ints
    wins: Floats
    total: Floats
    blocks: int
    row: Ints
    row_pair: Ints
    row_wins: Floats
    row_total: Floats

    def draws(self, rounds: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
        """`rounds` draws, some at a time: wins and totals, float64 [draws, pairs]. The same seed, the same draws."""
        generator = np.random.default_rng(seed)
        chance = np.concatenate([self.kinds, np.ones(self.blocks)]) / self.count
        width = max(len(chance), 2 * len(self.pairs.i), 1)
        batch = max(1, _BATCH // width)
        for begin in range(0, rounds, batch):
            counts = generator.multinomial(self.count, chance, min(batch, rounds - begin)).astype(np.float64)
            yield self._added_up(counts)

    def _added_up(self, counts: Floats) -> tuple[Floats, Floats]:
        """Counts of kinds and blocks, float64 [draws, kinds + blocks], as counts by pair."""
        wins, total = np.zeros((2, len(counts), len(self.pairs.i)))
        if len(self.kinds):
            begins = np.flatnonzero(np.diff(self.pair, prepend=-1))
            single = counts[:, :len(self.kinds)]
            wins[:, self.pair[begins]] = np.add.reduceat(single * self.wins, begins, axis=1)
            total[:, self.pair[begins]] = np.add.reduceat(single * self.total, begins, axis=1)
        tile = max(1, _BATCH // len(self.pairs.i))
        for begin in range(0, self.blocks, tile):
            end = min(begin + tile, self.blocks)
            some = slice(*np.searchsorted(self.row, [begin, end]))
            drawn = counts[:, len(self.kinds) + begin:len(self.kinds) + end]
            wins += drawn @ self._table(some, self.row_wins, begin, end)
            total += drawn @ self._table(some, self.row_total, begin, end)
        return wins, total

    def _table(self, some: slice, values: Floats, begin: int, end: int) -> Floats:
        """float64 [blocks, pairs]: these games added up by block and pair."""
        width = len(self.pairs.i)
        place = (self.row[some] - begin) * width + self.row_pair[some]
        return tally(place, values[some], (end - begin) * width).reshape(end - begin, width)


def units_of(battles: Battles, by: By) -> Units:
    """The units of these battles: their prompts, or their rows (weights must then be whole numbers)."""
    pairs = battles.pairs()
    low, high, score = battles.sides()
    place = np.zeros(pairs.models ** 2, dtype=np.int64)
    place[pairs.i * pairs.models + pairs.j] = np.arange(len(pairs.i))
    pair = place[low * pairs.models + high]
    copies = np.ones(len(battles), dtype=np.int64)
    weight = battles.weight
    alone = np.ones(len(battles), dtype=bool)
    if by == "rows":
        copies, weight = _whole(weight), np.ones(len(battles))
    elif by == "prompts":
        alone = np.bincount(battles.prompt, minlength=battles.prompts)[battles.prompt] == 1
    else:
        raise UsageError(f"cannot draw by '{by}'; allowed: prompts, rows")
    kinds, first = _kinds(pair[alone], score[alone], weight[alone], copies[alone])
    singles, others = np.flatnonzero(alone)[first], np.flatnonzero(~alone)
    _, row = np.unique(battles.prompt[others], return_inverse=True)
    order = np.argsort(row, kind="stable")
    others, row = others[order], row[order].astype(np.int64)
    blocks = int(row[-1]) + 1 if len(row) else 0
    wins, count = score * weight, int(copies[alone].sum()) + blocks
    return Units(pairs, count, kinds, pair[singles], wins[singles], weight[singles],
                 blocks, row, pair[others], wins[others], weight[others])


def _kinds(pair: Ints, score: Floats, weight: Floats, copies: Ints) -> tuple[Ints, Ints]:
    """How often each distinct (pair, score, weight) occurs, and where first; by pair, ascending."""
    scores, score_code = np.unique(score, return_inverse=True)
    weights, weight_code = np.unique(weight, return_inverse=True)
    code = (pair * len(scores) + score_code) * len(weights) + weight_code
    _, first, kind = np.unique(code, return_index=True, return_inverse=True)
    return np.bincount(kind, copies, len(first)).astype(np.int64), first


def _whole(weight: Floats) -> Ints:
    whole = weight.astype(np.int64)
    broken = np.flatnonzero(whole != weight)
    if len(broken):
        raise UsageError(f"weight {weight[broken[0]]:g} of game {broken[0]} is no whole number, and rows are drawn as copies; "
                         "draw by prompts")
    return whole
